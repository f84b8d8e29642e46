//! The memory management unit: all address spaces, and the frames behind them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::flat::{self, FlatTables, TableId};
use crate::frame::{FramePool, OutOfFrames};
use crate::reserve::ReserveError;
use crate::rmap::ReverseMap;
use crate::table::{PageTable, Pte, bits};
use crate::tlb::Tlb;
use crate::{Access, FaultCause, FrameId, MmId, PAGE_SIZE, Prot, Vpn};

/// What a page table says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The frame behind the page.
    pub frame: FrameId,
    /// What accesses it permits.
    pub prot: Prot,
    /// Whether the page was stored to through this mapping since the bit was cleared.
    pub dirty: bool,
}

/// How [`Mmu::clone_range`] shares pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Both sides lose write permission, so that the first store of either faults and the kernel copies.
    CopyOnWrite,
    /// Both sides keep their permissions and see each other's stores.
    Shared,
}

pub(crate) struct Space {
    pub(crate) table: PageTable,
    pub(crate) bits: u8,
    pub(crate) flat: Option<TableId>,
    /// See [`Mmu::code_epoch`].
    epoch: u64,
}

/// All guest memory.
pub struct Mmu {
    pub(crate) pool: FramePool,
    pub(crate) rmap: ReverseMap,
    pub(crate) flats: FlatTables,
    pub(crate) tlb: Tlb,
    spaces: Vec<Option<Space>>,
    active: Option<MmId>,
    /// The words of the active space's flat table; only valid below `fast_limit`.
    pub(crate) fast_words: *const u32,
    /// Addresses below this one are in the flat table: `1 << 32` or, without one, zero.
    pub(crate) fast_limit: u64,
    /// The first byte of frame 0.
    pub(crate) base: *mut u8,
    pub(crate) code_writes: Vec<(FrameId, Range<u16>)>,
    epoch: u64,
    active_epoch: u64,
    /// How many spaces have an epoch, where there are several.
    shared_epochs: BTreeMap<u64, u32>,
    pub(crate) watches: Vec<crate::Watch>,
    pub(crate) watch_hits: u8,
}

impl Mmu {
    /// Creates a pool of `frames` frames (at most 4 GiB). Host memory is only touched as frames are handed out.
    pub fn new(frames: u32) -> Result<Self, ReserveError> {
        let pool = FramePool::new(frames)?;
        let base = pool.base();
        Ok(Self {
            pool,
            rmap: ReverseMap::new(),
            flats: FlatTables::new()?,
            tlb: Tlb::new(),
            spaces: Vec::new(),
            active: None,
            fast_words: std::ptr::null(),
            fast_limit: 0,
            base,
            code_writes: Vec::new(),
            epoch: 0,
            active_epoch: 0,
            shared_epochs: BTreeMap::new(),
            watches: Vec::new(),
            watch_hits: 0,
        })
    }

    // ---- frames ----

    /// Takes a frame with one reference and zero content.
    pub fn alloc_zeroed(&mut self) -> Result<FrameId, OutOfFrames> {
        Ok(FrameId(self.pool.take_zeroed(1)?.start))
    }

    /// Takes a run of frames that are neighbours, as many as asked or fewer, at least one; zero content.
    pub fn alloc_run(&mut self, wanted: u32) -> Result<Range<u32>, OutOfFrames> {
        self.pool.take_zeroed(wanted)
    }

    /// Takes a frame with one reference and the content of another.
    pub fn alloc_copy(&mut self, of: FrameId) -> Result<FrameId, OutOfFrames> {
        let frame = self.pool.take_stale()?;
        let (from, to) = (self.pool.start(of), self.pool.start(frame));
        // SAFETY: both are frames of the pool, and they differ unless `of` was free, which `copy` allows.
        unsafe { std::ptr::copy(from, to, PAGE_SIZE) };
        Ok(frame)
    }

    /// Adds a reference.
    pub fn retain(&mut self, frame: FrameId) {
        self.pool.retain(frame);
    }

    /// Drops a reference; the last one frees the frame.
    pub fn release(&mut self, frame: FrameId) {
        let held_code = self.pool.info(frame).code;
        if self.pool.release(frame) && held_code {
            self.note_code_write(frame, 0..PAGE_SIZE as u16);
        }
    }

    /// The number of references.
    pub fn refs(&self, frame: FrameId) -> u32 {
        self.pool.info(frame).refs
    }

    /// Frames that can still be handed out, and all there are.
    pub fn free_frames(&self) -> (u32, u32) {
        self.pool.counts()
    }

    /// The content of a frame.
    pub fn frame(&self, frame: FrameId) -> &[u8; PAGE_SIZE] {
        // SAFETY: a whole frame, aligned for bytes; stores need `&mut self`, so it does not change while borrowed.
        unsafe { &*self.pool.start(frame).cast() }
    }

    /// The content of a frame, to be changed by the kernel; counts as a code write when the frame holds code.
    pub fn frame_mut(&mut self, frame: FrameId) -> &mut [u8; PAGE_SIZE] {
        if self.pool.info(frame).code {
            self.note_code_write(frame, 0..PAGE_SIZE as u16);
        }
        // SAFETY: as in `frame`; `&mut self` makes it the only borrow.
        unsafe { &mut *self.pool.start(frame).cast() }
    }

    /// Writes bytes of a frame, all of them inside it; code made from them counts as written, no more.
    pub fn write_frame(&mut self, frame: FrameId, offset: usize, bytes: &[u8]) {
        self.store_in_frame(frame, offset, bytes);
    }

    // ---- address spaces ----

    /// Creates an empty address space of `1 << bits` bytes (32 for i386).
    pub fn create_space(&mut self, bits: u8) -> MmId {
        self.epoch += 1;
        let space = Space { table: PageTable::default(), bits, flat: None, epoch: self.epoch };
        let index = self.spaces.iter().position(Option::is_none).unwrap_or_else(|| {
            self.spaces.push(None);
            self.spaces.len() - 1
        });
        self.spaces[index] = Some(space);
        MmId(index as u32)
    }

    /// Drops an address space and its references to frames.
    pub fn destroy_space(&mut self, mm: MmId) {
        if self.active == Some(mm) {
            self.deactivate();
        }
        let Some(space) = self.spaces.get_mut(mm.0 as usize).and_then(Option::take) else { return };
        self.leave_epoch(space.epoch);
        if let Some(flat) = space.flat {
            self.flats.take_back(flat);
        }
        for (page, pte) in space.table.range(Vpn(0)..Vpn(u64::MAX)) {
            self.rmap.remove(&mut self.pool.info_mut(pte.frame()).mappings, mm, page);
            self.release(pte.frame());
        }
    }

    /// Makes an address space the one that loads, stores and fetches go to.
    pub fn activate(&mut self, mm: MmId) {
        if self.active != Some(mm) {
            self.tlb.flush();
        }
        let space = self.space(mm);
        let (bits, epoch, mut flat) = (space.bits, space.epoch, space.flat);
        self.active = Some(mm);
        self.active_epoch = epoch;
        self.fast_limit = 0;
        self.fast_words = std::ptr::null();
        self.watches.clear();
        if bits > 32 {
            return;
        }
        match flat {
            Some(id) => self.flats.touch(id),
            None => {
                let (id, loser) = self.flats.lend(mm);
                if let Some(loser) = loser.and_then(|mm| self.spaces.get_mut(mm.0 as usize)?.as_mut()) {
                    loser.flat = None;
                }
                self.space_mut(mm).flat = Some(id);
                flat = Some(id);
            }
        }
        if let Some(id) = flat {
            self.fast_words = self.flats.words(id);
            self.fast_limit = flat::WORDS * PAGE_SIZE as u64;
        }
    }

    fn deactivate(&mut self) {
        self.active = None;
        self.fast_limit = 0;
        self.fast_words = std::ptr::null();
        self.tlb.flush();
        self.epoch += 1;
        self.active_epoch = self.epoch;
    }

    /// The active address space.
    pub fn active(&self) -> Option<MmId> {
        self.active
    }

    /// Maps a page, taking over one reference to the frame. A page mapped there before is unmapped.
    ///
    /// # Panics
    ///
    /// If the page is outside the address space or the frame is free.
    pub fn map(&mut self, mm: MmId, page: Vpn, frame: FrameId, prot: Prot) {
        assert!(page.0 >> (self.space(mm).bits - 12) == 0, "the page is inside the address space");
        assert!(self.pool.info(frame).refs > 0, "only a frame in use can be mapped");
        let pte = Pte::new(frame, prot);
        if prot.execute && self.shares_epoch(mm) {
            self.bump_epoch(mm);
        }
        let before = self.space_mut(mm).table.set(page, pte);
        self.rmap.add(&mut self.pool.info_mut(frame).mappings, mm, page);
        if let Some(before) = before {
            self.drop_mapping(mm, page, before);
        }
        self.refresh(mm, page, pte);
    }

    /// Unmaps a page and drops its reference; returns what was there.
    pub fn unmap(&mut self, mm: MmId, page: Vpn) -> Option<Mapping> {
        let before = self.space_mut(mm).table.clear(page)?;
        self.set_fast(mm, page, 0);
        self.drop_mapping(mm, page, before);
        Some(before.mapping())
    }

    /// Unmaps all pages of a range; costs what is mapped, not what is spanned.
    pub fn unmap_range(&mut self, mm: MmId, pages: Range<Vpn>) {
        let mapped: Vec<Vpn> = self.space(mm).table.range(pages).map(|(page, _)| page).collect();
        for page in mapped {
            self.unmap(mm, page);
        }
    }

    /// Moves a mapping to another page, with its dirty bit; what was mapped there is unmapped.
    pub fn move_page(&mut self, mm: MmId, from: Vpn, to: Vpn) {
        if from == to {
            return;
        }
        let Some(pte) = self.space(mm).table.get(from) else { return };
        self.retain(pte.frame());
        self.map(mm, to, pte.frame(), pte.mapping().prot);
        self.set_pte(mm, to, pte);
        self.unmap(mm, from);
    }

    /// Changes what a mapped page permits.
    pub fn protect(&mut self, mm: MmId, page: Vpn, prot: Prot) {
        let Some(before) = self.space(mm).table.get(page) else { return };
        let after = before.with_prot(prot);
        if after == before {
            return;
        }
        let gains = after.has(bits::EXEC) && self.shares_epoch(mm);
        if before.has(bits::EXEC) != after.has(bits::EXEC) && (gains || before.has(bits::EXEC)) {
            self.bump_epoch(mm);
        }
        self.set_pte(mm, page, after);
    }

    /// Changes what the mapped pages of a range permit.
    pub fn protect_range(&mut self, mm: MmId, pages: Range<Vpn>, mut prot: impl FnMut(Vpn, Mapping) -> Prot) {
        for (page, mapping) in self.mapped_pages(mm, pages) {
            self.protect(mm, page, prot(page, mapping));
        }
    }

    /// Maps the pages of a range at the same addresses of another space, with a reference each.
    pub fn clone_range(&mut self, from: MmId, to: MmId, pages: Range<Vpn>, sharing: Sharing) {
        let mapped: Vec<(Vpn, Pte)> = self.space(from).table.range(pages).collect();
        for (page, mut pte) in mapped {
            if sharing == Sharing::CopyOnWrite && pte.has(bits::WRITE) {
                pte = Pte(pte.0 & !bits::WRITE);
                self.set_pte(from, page, pte);
            }
            self.retain(pte.frame());
            self.map(to, page, pte.frame(), pte.mapping().prot);
        }
    }

    /// What a page table says.
    pub fn mapping(&self, mm: MmId, page: Vpn) -> Option<Mapping> {
        self.space(mm).table.get(page).map(Pte::mapping)
    }

    /// The mapped pages of a range, in order.
    pub fn mapped_pages(&self, mm: MmId, pages: Range<Vpn>) -> Vec<(Vpn, Mapping)> {
        self.space(mm).table.range(pages).map(|(page, pte)| (page, pte.mapping())).collect()
    }

    /// How many pages of a space are mapped.
    pub fn resident(&self, mm: MmId) -> u32 {
        self.space(mm).table.present()
    }

    /// Every page a frame is mapped at.
    pub fn mappings_of(&self, frame: FrameId) -> Vec<(MmId, Vpn)> {
        self.rmap.iter(self.pool.info(frame).mappings).collect()
    }

    /// Clears the dirty bit of every mapping of a frame and makes the next store through each take the slow path, so that
    /// it is set again. Returns whether any was dirty.
    pub fn clean(&mut self, frame: FrameId) -> bool {
        let mut was_dirty = false;
        for (mm, page) in self.mappings_of(frame) {
            let Some(pte) = self.space(mm).table.get(page) else { continue };
            if pte.has(bits::DIRTY) {
                was_dirty = true;
                self.set_pte(mm, page, Pte(pte.0 & !bits::DIRTY));
            }
        }
        was_dirty
    }

    /// Unmaps a frame everywhere (reverse map), for truncation and reclaim.
    pub fn unmap_everywhere(&mut self, frame: FrameId) {
        for (mm, page) in self.mappings_of(frame) {
            self.unmap(mm, page);
        }
    }

    /// Changes with every event that may make an address-to-code translation stale in the active space: unmap, remap or
    /// loss of execute permission of an executable page. No two spaces share a value unless one was told to have the
    /// other's code, so look-ups keyed by address may be kept for a space that comes back with the same epoch.
    #[inline]
    pub fn code_epoch(&self) -> u64 {
        self.active_epoch
    }

    /// Tells that a space has all executable pages of another at the same addresses and no others, as after fork(2): what
    /// is known of the other's code holds for it, until its own executable pages change.
    pub fn inherit_code(&mut self, from: MmId, to: MmId) {
        let epoch = self.space(from).epoch;
        *self.shared_epochs.entry(epoch).or_insert(1) += 1;
        self.space_mut(to).epoch = epoch;
        if self.active == Some(to) {
            self.active_epoch = epoch;
        }
    }

    // ---- what the other files of this crate need ----

    /// The space of a handle.
    ///
    /// # Panics
    ///
    /// If the space was destroyed: the kernel keeps handles and spaces together.
    pub(crate) fn space(&self, mm: MmId) -> &Space {
        self.spaces.get(mm.0 as usize).and_then(Option::as_ref).expect("the address space exists")
    }

    pub(crate) fn space_mut(&mut self, mm: MmId) -> &mut Space {
        self.spaces.get_mut(mm.0 as usize).and_then(Option::as_mut).expect("the address space exists")
    }

    /// The frame behind a page for an access, by the page table; notes a store in the dirty bit and fills the fast
    /// tables.
    pub(crate) fn resolve(&mut self, mm: MmId, page: Vpn, access: Access) -> Result<FrameId, FaultCause> {
        let pte = self.space(mm).table.get(page).ok_or(FaultCause::NotMapped)?;
        let needed = match access {
            Access::Read => bits::READ,
            Access::Write => bits::WRITE,
            Access::Execute => bits::EXEC,
        };
        if !pte.has(needed) {
            return Err(FaultCause::Forbidden);
        }
        if access == Access::Write && !pte.has(bits::DIRTY) {
            self.set_pte(mm, page, Pte(pte.0 | bits::DIRTY));
        } else {
            self.refresh(mm, page, pte);
        }
        Ok(pte.frame())
    }

    /// Brings the fast tables up to date with an entry of the page table.
    pub(crate) fn refresh(&mut self, mm: MmId, page: Vpn, pte: Pte) {
        let word = pte.fast_word(self.pool.info(pte.frame()).code);
        self.set_fast(mm, page, word);
    }

    fn set_pte(&mut self, mm: MmId, page: Vpn, pte: Pte) {
        self.space_mut(mm).table.set(page, pte);
        self.refresh(mm, page, pte);
    }

    fn set_fast(&mut self, mm: MmId, page: Vpn, word: u32) {
        let space = self.space(mm);
        if let Some(flat) = space.flat {
            self.flats.set(flat, page, word);
        } else if self.active == Some(mm) {
            if word == 0 {
                self.tlb.update(page, 0);
            } else {
                self.tlb.set(page, word);
            }
        }
    }

    /// Forgets an entry that is no longer in the page table.
    fn drop_mapping(&mut self, mm: MmId, page: Vpn, pte: Pte) {
        if pte.has(bits::EXEC) {
            self.bump_epoch(mm);
        }
        self.rmap.remove(&mut self.pool.info_mut(pte.frame()).mappings, mm, page);
        self.release(pte.frame());
    }

    /// Whether another space has the same epoch. That has to end before this one gets executable pages the other has not.
    fn shares_epoch(&self, mm: MmId) -> bool {
        !self.shared_epochs.is_empty() && self.shared_epochs.contains_key(&self.space(mm).epoch)
    }

    fn leave_epoch(&mut self, epoch: u64) {
        if let Some(count) = self.shared_epochs.get_mut(&epoch) {
            *count -= 1;
            if *count == 1 {
                self.shared_epochs.remove(&epoch);
            }
        }
    }

    fn bump_epoch(&mut self, mm: MmId) {
        self.epoch += 1;
        let epoch = self.epoch;
        let old = std::mem::replace(&mut self.space_mut(mm).epoch, epoch);
        self.leave_epoch(old);
        if self.active == Some(mm) {
            self.active_epoch = epoch;
        }
    }
}

#[cfg(test)]
mod tests;
