//! Images that are put together here: one with the changes of another disk in it, and ones held in memory.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ext2::format::{FormatOptions, Metadata, Tree, format};
use ext2::{Ext2, Ext2Error, Ino, MountOptions, Time};
use vm_block::remote::Hash;
use vm_block::{BlockDevice, BlockError, CHUNK_SIZE, ChunkId, OverlayStore, PAGE_SIZE, RamDevice, Transport, Urgency};

use crate::image::Image;
use crate::overlay::IndexedDbStore;

/// Pages in a chunk.
const CHUNK_PAGES: u64 = (CHUNK_SIZE / PAGE_SIZE) as u64;
/// Size of the disk that a directory of the browser's storage is; only what is written takes room.
const BLANK_BYTES: u64 = 4 << 30;

/// An image with the stored changes of a disk on it, which stay as they are: what an overlay over an overlay reads.
pub struct Layered {
    base: Image,
    changes: IndexedDbStore,
    identity: [u8; 32],
}

impl Layered {
    /// Puts changes over an image. `stamp` tells this state of the changes from every other.
    pub fn new(base: Image, changes: IndexedDbStore, stamp: &str) -> Self {
        let identity = *Hash::of(&[&base.identity()[..], b"layer", stamp.as_bytes()].concat()).as_bytes();
        Self { base, changes, identity }
    }

    /// The image below.
    pub fn base(&self) -> &Image {
        &self.base
    }

    /// What changes over this one are bound to.
    pub fn identity(&self) -> [u8; 32] {
        self.identity
    }

    /// Fetches a chunk of the base and puts the changed pages over it.
    pub async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError> {
        let first = u64::from(chunk.0) * CHUNK_PAGES;
        let keys = self.changes.keys_in(first..first + CHUNK_PAGES);
        if keys.is_empty() {
            return Box::pin(self.base.fetch(chunk, urgency)).await;
        }
        let whole = keys.len() as u64 == CHUNK_PAGES;
        let mut content = if whole {
            BytesMut::zeroed(CHUNK_SIZE)
        } else {
            BytesMut::from(Box::pin(self.base.fetch(chunk, urgency)).await?)
        };
        let damaged = || BlockError::Store("a page of the disk below is damaged".into());
        for (key, page) in keys.iter().zip(self.changes.load(&keys).await?) {
            let page = page.filter(|page| page.len() == PAGE_SIZE).ok_or_else(damaged)?;
            let at = usize::try_from(key.0 - first).map_err(|_| damaged())? * PAGE_SIZE;
            content.get_mut(at..at + PAGE_SIZE).ok_or_else(damaged)?.copy_from_slice(&page);
        }
        Ok(content.freeze())
    }
}

/// An image in memory.
pub struct Held {
    device: Rc<RamDevice>,
    identity: [u8; 32],
}

impl Held {
    /// The content of a file.
    pub fn file(content: &[u8]) -> Self {
        Self { device: Rc::new(RamDevice::from_bytes(content)), identity: *Hash::of(content).as_bytes() }
    }

    /// An empty file system that everybody may write to, always the same.
    pub async fn blank() -> Result<Self, Ext2Error> {
        let device = Rc::new(RamDevice::new(BLANK_BYTES));
        let tree = Tree::new(Metadata { mode: 0o777, ..Metadata::default() });
        let options =
            FormatOptions { uuid: *b"skiff directory1", label: b"files".to_vec(), ..FormatOptions::default() };
        format(&device, &options, &tree, async |_, _, _: &mut [u8]| Ok(())).await?;
        // Nobody looks for it in a directory of their own.
        let fs = Ext2::mount(Rc::clone(&device), MountOptions::default()).await?;
        let removed = fs.rmdir(Ino::ROOT, b"lost+found", Time::default()).await?;
        fs.release(removed.ino).await?;
        fs.sync().await?;
        drop(fs);
        let mut content = Vec::new();
        for page in device.written_pages() {
            let start = content.len() + 8;
            content.extend(page.to_le_bytes());
            content.resize(start + PAGE_SIZE, 0);
            device.read_at(page * PAGE_SIZE as u64, content.get_mut(start..).unwrap_or_default()).await?;
        }
        Ok(Self { device, identity: *Hash::of(&content).as_bytes() })
    }

    /// What changes over this one are bound to.
    pub fn identity(&self) -> [u8; 32] {
        self.identity
    }
}

impl Transport for Held {
    fn image_size(&self) -> u64 {
        self.device.size()
    }

    async fn fetch(&self, chunk: ChunkId, _urgency: Urgency) -> Result<Bytes, BlockError> {
        let mut content = BytesMut::zeroed(CHUNK_SIZE);
        let start = u64::from(chunk.0) * CHUNK_SIZE as u64;
        let there = self.device.size().saturating_sub(start).min(CHUNK_SIZE as u64);
        if let Some(part) = usize::try_from(there).ok().and_then(|there| content.get_mut(..there)) {
            self.device.read_at(start, part).await?;
        }
        Ok(content.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn the_empty_file_system_never_changes() {
        // Files that browsers keep lie over it: another one would make them unreadable.
        let mut context = Context::from_waker(Waker::noop());
        let mut making = pin!(Held::blank());
        // It only gives way to others now and then.
        let made = (0..1_000_000).find_map(|_| match making.as_mut().poll(&mut context) {
            Poll::Ready(made) => Some(made),
            Poll::Pending => None,
        });
        let blank = made.expect("memory does not wait").expect("an empty tree fits");
        assert_eq!(
            Hash::from_bytes(blank.identity()).to_string(),
            "1d440151210216c05b5d4aaf2dab106226f8c0042f7882b3b5f4b42257728323"
        );
        assert!(blank.device.written_pages().len() < 200);
    }
}
