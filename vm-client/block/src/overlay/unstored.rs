//! Carrying away what a store does not take.

use bytes::Bytes;

use crate::{BlockDevice, BlockError, OverlayStore, PageKey};

use super::Overlay;
use super::page::DirtyPage;

/// What is written and not stored; with the stored pages, it is the device between two operations.
#[derive(Clone, Debug, Default)]
pub struct Unstored {
    /// Pages with content, in order.
    pub put: Vec<(PageKey, Bytes)>,
    /// Pages that are the base's again.
    pub delete: Vec<PageKey>,
}

impl<B: BlockDevice, S: OverlayStore> Overlay<B, S> {
    /// Collects what a commit made now would hold. No commit is made meanwhile.
    pub async fn unstored(&self) -> Result<Unstored, BlockError> {
        let _no_commit = self.committer.lock().await;
        self.take_back();
        loop {
            let ended = self.operations.ended.wait();
            if self.operations.open.get() == 0 {
                break;
            }
            ended.await;
        }
        let mut pages: Vec<(u64, DirtyPage)> =
            self.dirty.borrow().iter().map(|(page, content)| (*page, content.clone())).collect();
        let delete = self.deleted.borrow().iter().copied().map(PageKey).collect();
        let mut put = Vec::with_capacity(pages.len());
        for (number, content) in &mut pages {
            if !content.is_whole() {
                let clean = self.clean.borrow_mut().get(*number);
                let below = match clean {
                    Some(clean) => clean,
                    None => self.read_below(*number).await?,
                };
                content.fill_from(&below);
            }
            put.push((PageKey(*number), content.share()));
        }
        Ok(Unstored { put, delete })
    }
}
