//! How many chunks of a 1 GB image are new after one more small file; an example of `image-tools` measures it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::figures::Report;

/// The most of an image's chunks that may be new.
const MOST_NEW: f64 = 0.02;

/// Has it measured.
pub(crate) fn measure(program: &Path, quick: bool, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let json = dir.path().join("layout.json");
    let mut layout = Command::new(program);
    layout
        .env("LAYOUT_DIR", dir.path())
        .arg("--json")
        .arg(&json)
        .args(["--megabytes", if quick { "100" } else { "1000" }]);
    let output = layout.output().with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&std::fs::read(json)?)?;
    let share = |name: &str| found[name].as_f64().with_context(|| format!("no {name}"));
    let (after, scratch) = (share("after_share")?, share("scratch_share")?);
    let mke2fs = share("mke2fs_new")? / share("mke2fs_chunks")?.max(1.0);
    report.row(
        "one small file more in a 1 GB image: new chunks with `build --after` (from scratch, with mke2fs)",
        format!("{:.2} % ({:.2} %, {:.1} %)", after * 100.0, scratch * 100.0, mke2fs * 100.0),
        "at most 2 %",
        (after <= MOST_NEW).into(),
    );
    report.value("layout", found);
    Ok(())
}
