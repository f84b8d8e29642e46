//! Everything the other tasks need, in one go.

use anyhow::Result;

use crate::shell::say;
use crate::{apt, node, wasm_target};

/// Installs what is missing on this machine for all tasks.
pub(crate) fn everything() -> Result<()> {
    for_tests()?;
    apt::ensure(apt::BENCH)?;
    say("everything is in place");
    Ok(())
}

/// Installs what building the client needs.
pub(crate) fn for_client() -> Result<()> {
    wasm_target::ensure()?;
    node::ensure_packages()
}

/// Installs what the demo needs.
pub(crate) fn for_demo() -> Result<()> {
    apt::ensure(apt::DEMO)?;
    for_client()
}

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<()> {
    for_demo()?;
    apt::ensure(apt::TEST)
}
