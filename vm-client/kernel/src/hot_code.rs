//! The list of hot code: what the engine compiled, by file, page and offset, so that a later machine with the same files
//! compiles it before it is hot.
//!
//! [`HotCode::note`] takes what the engine says it compiled ([`vm_cpu::Hot`]) and finds the files behind the addresses.
//! [`HotCode::page_came`] tells the engine ([`vm_cpu::Engine::expect`]) what is known of a page of a file when one is mapped.
//! Each page has a fingerprint of its bytes, and what is known of other bytes is not told; a wrong list could only cost time.
//! [`List`] is what is kept, and its form as bytes. Off, it costs one test for each run of the engine and each page fault.

mod list;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use vm_cpu::{Engine, Hot, HotPage};
use vm_mem::{FrameId, Mmu, VirtAddr, Vpn};

use crate::mm::Mm;
use crate::mm::vma::{Backing, Vma};
use list::Page;
pub use list::{List, ListError};

const PAGE: u64 = 4096;
/// Pages that one fault brings, [`Mm::fault`] maps no more.
const BLOCK: u64 = 16;

/// A page of a file: device, inode, index.
type FilePage = (u64, u64, u32);

/// See the module.
#[derive(Default)]
pub struct HotCode {
    on: Cell<bool>,
    list: RefCell<List>,
    /// Paths of the files met, by device and inode.
    paths: RefCell<HashMap<(u64, u64), Vec<u8>>>,
    /// What the engine was told of each frame.
    told: RefCell<HashMap<FrameId, FilePage>>,
    /// The list changed so many times.
    changes: Cell<u64>,
    counts: Cell<Counts>,
}

/// What became of the pages that a loaded list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pages the engine was told of.
    pub used: u64,
    /// Pages whose bytes are others now.
    pub changed: u64,
}

impl HotCode {
    /// Begins to keep a list, with what is in an earlier one.
    pub fn start(&self, list: List) {
        self.on.set(true);
        *self.list.borrow_mut() = list;
    }

    /// How many times the list changed.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// The list as bytes, for [`List::parse`].
    pub fn emit(&self) -> Vec<u8> {
        self.list.borrow().emit()
    }

    /// What became of the list so far.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Takes what was compiled in an address space.
    pub(crate) fn note(&self, mm: &Mm, mmu: &Mmu, hot: Vec<Hot>) {
        if hot.is_empty() || !self.on.get() {
            return;
        }
        let mut place: Option<(Vma, Vec<u8>)> = None;
        for hot in hot {
            // A jump counts where its last byte is.
            let address = match hot {
                Hot::Start(at) | Hot::Block(at) => u64::from(at),
                Hot::Jump { behind, .. } => u64::from(behind.wrapping_sub(1)),
            };
            if place.as_ref().is_none_or(|(area, _)| !(area.start..area.end).contains(&address)) {
                place = mm.area_at(address).and_then(|area| self.path(&area).map(|path| (area, path)));
            }
            let Some((area, path)) = &place else { continue };
            let Some(index) = page_index(area, address) else { continue };
            let Some(mapping) = mmu.mapping(mm.id(), VirtAddr(address).page()) else { continue };
            let mut list = self.list.borrow_mut();
            let Some(page) = list.page_mut(path, index, || fingerprint(mmu.frame(mapping.frame))) else { continue };
            let offset = (address % PAGE) as u16;
            match hot {
                Hot::Start(_) => page.add_start(offset),
                Hot::Block(_) => page.add_block(offset),
                Hot::Jump { behind, to } => page.add_jump(offset + 1, to.wrapping_sub(behind) as i32),
            }
        }
        self.changes.set(self.changes.get() + 1);
    }

    /// Tells the engine what is known of the pages that a fault brought.
    pub(crate) fn page_came(&self, mm: &Mm, address: u64, mmu: &Mmu, engine: &mut dyn Engine) {
        if !self.on.get() {
            return;
        }
        let Some(area) = mm.area_at(address).filter(|area| area.prot.execute) else { return };
        let Some(path) = self.path(&area) else { return };
        let Backing::File { file, .. } = &area.backing else { return };
        let first = (address / PAGE / BLOCK * BLOCK).max(area.start / PAGE);
        let end = (address / PAGE / BLOCK * BLOCK + BLOCK).min(area.end / PAGE);
        let mut told = self.told.borrow_mut();
        for page in first..end {
            let Some(index) = page_index(&area, page * PAGE) else { continue };
            let Some(mapping) = mmu.mapping(mm.id(), Vpn(page)) else { continue };
            let this = (file.object.dev(), file.object.ino(), index);
            if told.get(&mapping.frame) == Some(&this) {
                continue;
            }
            let known = self.known(&path, index, mmu, mapping.frame);
            // A frame that held something else has to be unlearnt.
            let before = told.insert(mapping.frame, this);
            if before.is_some() || known.is_some() {
                engine.expect(mapping.frame, known.unwrap_or_default());
            }
        }
    }

    /// What is known of a page, if it still has the same bytes.
    fn known(&self, path: &[u8], index: u32, mmu: &Mmu, frame: FrameId) -> Option<HotPage> {
        let mut list = self.list.borrow_mut();
        let page: &Page = list.page(path, index)?;
        let mut counts = self.counts.get();
        let same = page.fingerprint == fingerprint(mmu.frame(frame));
        let known = same.then(|| page.code.clone());
        if same {
            counts.used += 1;
        } else {
            counts.changed += 1;
            list.remove(path, index);
            self.changes.set(self.changes.get() + 1);
        }
        self.counts.set(counts);
        known
    }

    /// The path of the file behind an area.
    fn path(&self, area: &Vma) -> Option<Vec<u8>> {
        let object = &area.file()?.object;
        let mut paths = self.paths.borrow_mut();
        let path = paths.entry((object.dev(), object.ino())).or_insert_with(|| object.path());
        Some(path.clone())
    }
}

/// The index in its file of the page at an address.
fn page_index(area: &Vma, address: u64) -> Option<u32> {
    let Backing::File { first, .. } = &area.backing else { return None };
    u32::try_from(first + address.checked_sub(area.start)? / PAGE).ok()
}

/// A number that tells contents apart. Whoever makes two with the same one gets code compiled too early, no more.
fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash ^ (hash >> 29)
}
