//! Reading stored pages before they are wanted.
//!
//! A read of one page from a store costs mostly its round trip, so what a session before this one wrote is loaded in large
//! pieces right after opening, as far as the memory for stored pages goes. Guests read most of it soon: it is what they
//! worked on last.

use crate::{BlockDevice, OverlayStore, PAGE_SIZE, PageKey};

use super::Overlay;

/// Pages loaded with one call, so that demand can go in between.
const AT_ONCE: usize = 256;

impl<B: BlockDevice, S: OverlayStore> Overlay<B, S> {
    /// Loads stored pages in order until memory is full. A store that fails is left to those who need its pages.
    pub(super) async fn warm_up(&self) {
        let mut next = 0;
        let mut room = self.clean.borrow().free();
        while room > 0 {
            let settled = self.settled.get();
            let keys: Vec<PageKey> = {
                let stored = self.stored.borrow();
                stored.range(next..u64::MAX).take(room.min(AT_ONCE)).map(PageKey).collect()
            };
            let Some(last) = keys.last() else { return };
            next = last.0 + 1;
            let Ok(pages) = self.store.load(&keys).await else { return };
            // A commit meanwhile has put newer pages there.
            if self.settled.get() == settled {
                let mut clean = self.clean.borrow_mut();
                for (key, page) in keys.iter().zip(pages) {
                    if let Some(page) = page.filter(|page| page.len() == PAGE_SIZE) {
                        clean.insert(key.0, page);
                    }
                }
            }
            room = room.min(self.clean.borrow().free());
        }
    }
}
