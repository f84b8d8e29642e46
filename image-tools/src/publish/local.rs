//! Building an image in a directory counts as a push: a gc leaves it alone.

use anyhow::{Context, Result};
use block_proto::Hash;
use block_store::{Location, Options, Store};

use super::{Area, Kind, Lease, push};

/// A build that is under way.
pub(crate) struct LocalPush {
    runtime: tokio::runtime::Runtime,
    store: Store,
    lease: Lease,
}

impl LocalPush {
    /// Announces it, before anything relies on what is there.
    pub(crate) fn begin(directory: &std::path::Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let store = Store::open(&Location::Directory(directory.to_owned()), &Options::default())?;
        let lease = runtime.block_on(Lease::take(&store, &Area::public(), Kind::Push))?;
        Ok(Self { runtime, store, lease })
    }

    /// Makes sure that all of an image is there, and runs `tag` while nobody can take it away.
    pub(crate) fn finish(mut self, name: &str, manifest: Hash, tag: impl FnOnce() -> Result<()>) -> Result<()> {
        let confirmed = self.runtime.block_on(push::confirm(&self.store, name, manifest, &mut self.lease));
        let done = confirmed.and_then(|()| tag());
        let released = self.runtime.block_on(self.lease.release());
        done?;
        released
    }

    /// Gives up.
    pub(crate) fn abandon(self) -> Result<()> {
        self.runtime.block_on(self.lease.release())
    }
}
