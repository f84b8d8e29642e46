//! The cache of lowered blocks.
//!
//! All operations live in one vector, blocks are ranges of it; when it is full, everything is dropped. A block is known by
//! the frame its code is in, its address, and what lowering took for granted. Two short cuts lead to blocks without that
//! key: links from block to block, and a table by address. Both hold the *stamp* of the moment they were made and are
//! ignored once it has changed: it contains the MMU's code epoch and the number of times blocks were dropped. A link within
//! a page needs no epoch: while a block runs, the page it is in is mapped as it was when the block was looked up.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use vm_mem::{FrameId, PAGE_SIZE};

use crate::ir::{Block, Code, Insn, Op};
use crate::reg;

/// The number of a cached block.
pub(super) type BlockId = u32;

/// Operations kept at most.
const MAX_OPS: usize = 1 << 20;

/// Entries of the table of jumps.
const JUMPS: usize = 1 << 13;

/// Entries of the table by address.
const TABLE_BITS: u32 = 14;

/// What a block was made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub frame: FrameId,
    /// The linear address; above it the base of a local code segment.
    pub start: u64,
    /// Mode and what is known of segments.
    pub flavour: u16,
}

/// The stamps of a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamps {
    /// For links anywhere, and the table by address.
    pub far: u64,
    /// For links within a page.
    pub near: u64,
}

impl Stamps {
    /// Stamps that no link has, so that every block returns.
    pub(super) const UNLINKED: Stamps = Stamps { far: u64::MAX - 1, near: u64::MAX - 1 };
}

/// A hash for keys made of small numbers. Guests choose the numbers and can only slow down themselves.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }
}

type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// A way from one block to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub block: BlockId,
    pub stamp: u64,
}

/// A stamp that never is.
const NEVER: u64 = u64::MAX;

impl Link {
    const NONE: Link = Link { block: 0, stamp: NEVER };
}

/// A block in the cache.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    /// First operation in the shared vector.
    pub first: u32,
    /// Number of instructions.
    pub insns: u32,
    /// The address behind it.
    pub end: u64,
    /// Where it goes: behind itself, and to its target.
    pub links: [Link; 2],
    key: Key,
    /// The address of the first instruction, within its code segment.
    start: u64,
    /// The frame of the second page, if the code goes over the end of the first.
    pub second: Option<FrameId>,
    /// Bytes of code.
    len: u16,
    /// Where its instructions are in the shared vector.
    insn_first: u32,
    ops: u32,
    /// Whether it ends with a jump or call through a register, which is no return.
    pub jumps: bool,
    /// How often it may still be reached before it counts as hot; see [`Cached::is_hot`].
    heat: Cell<u32>,
}

/// The heat of blocks that never get hot.
pub(super) const COLD: u32 = u32::MAX;

impl Cached {
    /// Counts that the block is reached; true once it was often enough.
    #[inline(always)]
    pub(super) fn is_hot(&self) -> bool {
        match self.heat.get() {
            0 => return true,
            COLD => {}
            n => self.heat.set(n - 1),
        }
        false
    }

    /// Whether it was reached often enough.
    pub(super) fn is_used_up(&self) -> bool {
        self.heat.get() == 0
    }

    /// How often it may still be reached.
    pub(super) fn heat(&self) -> u32 {
        self.heat.get()
    }

    /// Sets how often it may be reached.
    pub(super) fn set_heat(&self, heat: u32) {
        self.heat.set(heat);
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    rip: u64,
    link: Link,
}

/// See the module.
pub(super) struct Cache {
    pub ops: Vec<Op>,
    pub blocks: Vec<Cached>,
    insns: Vec<Insn>,
    table: Box<[Entry]>,
    by_key: KeyMap<Key, BlockId>,
    by_frame: KeyMap<FrameId, Vec<BlockId>>,
    /// Blocks or everything were dropped so many times.
    drops: u64,
    /// The heat of new blocks.
    pub heat: u32,
    /// Where jumps through registers led lately: the address behind the jump and its target. What falls on the same entry
    /// replaces what was there.
    jumps: Box<[Cell<(u32, u32)>]>,
}

impl Cache {
    pub(super) fn new() -> Cache {
        let none = Entry { rip: 0, link: Link::NONE };
        Cache {
            ops: Vec::new(),
            blocks: Vec::new(),
            insns: Vec::new(),
            table: vec![none; 1 << TABLE_BITS].into_boxed_slice(),
            by_key: KeyMap::default(),
            by_frame: KeyMap::default(),
            drops: 0,
            heat: COLD,
            jumps: vec![Cell::new((0, 0)); JUMPS].into_boxed_slice(),
        }
    }

    /// Notes where a jump through a register led. Long mode is not compiled, so 32 bits do.
    #[inline]
    pub(super) fn note_jump(&self, behind: u64, target: u64) {
        let (behind, target) = (behind as u32, target as u32);
        let hash = behind.wrapping_mul(0x9e37_79b1) ^ target.wrapping_mul(0x85eb_ca77);
        self.jumps[(hash >> 19) as usize & (JUMPS - 1)].set((behind, target));
    }

    /// Where the jump in front of an address led.
    pub(super) fn jumps_from(&self, behind: u32) -> impl Iterator<Item = u32> + '_ {
        self.jumps.iter().map(Cell::get).filter(move |jump| jump.0 == behind).map(|jump| jump.1)
    }

    /// The stamps of this moment.
    pub(super) fn stamps(&self, code_epoch: u64, flavour: u16) -> Stamps {
        // Drops and epochs share the rest: neither gets near the number that would make two moments look alike. Epochs
        // begin at 1, so that no near stamp is a far one.
        let near = (self.drops << 10) ^ u64::from(flavour);
        Stamps { far: ((code_epoch + 1) << 36) ^ near, near }
    }

    fn slot(rip: u64) -> usize {
        ((rip ^ (rip >> TABLE_BITS)) & ((1 << TABLE_BITS) - 1)) as usize
    }

    /// The block at an address, if the table by address knows it.
    #[inline]
    pub(super) fn quick(&self, rip: u64, stamp: u64) -> Option<BlockId> {
        let entry = &self.table[Self::slot(rip)];
        (entry.rip == rip && entry.link.stamp == stamp).then_some(entry.link.block)
    }

    /// Puts a block into the table by address.
    pub(super) fn remember(&mut self, rip: u64, block: BlockId, stamp: u64) {
        self.table[Self::slot(rip)] = Entry { rip, link: Link { block, stamp } };
    }

    pub(super) fn find(&self, key: Key) -> Option<BlockId> {
        self.by_key.get(&key).copied()
    }

    /// The blocks that get hot when they are reached so often at most.
    pub(super) fn warm(&self, flavour: u16, heat: u32) -> Vec<(FrameId, u64)> {
        let blocks = (0..).zip(&self.blocks).filter(|(_, block)| block.heat() <= heat && block.key.flavour == flavour);
        let cached = blocks.filter(|(id, block)| self.by_key.get(&block.key) == Some(id));
        cached.map(|(_, block)| (block.key.frame, block.key.start)).collect()
    }

    /// Whether another block could overflow the cache.
    pub(super) fn is_full(&self) -> bool {
        self.ops.len() >= MAX_OPS
    }

    pub(super) fn insert(&mut self, key: Key, second: Option<FrameId>, block: &Block) -> BlockId {
        let id = self.blocks.len() as BlockId;
        self.blocks.push(Cached {
            first: self.ops.len() as u32,
            insns: block.insns.len() as u32,
            end: block.end(),
            links: [Link::NONE; 2],
            key,
            start: block.start,
            second,
            len: block.len,
            insn_first: self.insns.len() as u32,
            ops: block.ops.len() as u32,
            jumps: jumps_anywhere(block),
            heat: Cell::new(self.heat),
        });
        self.ops.extend_from_slice(&block.ops);
        self.insns.extend_from_slice(&block.insns);
        self.by_key.insert(key, id);
        for frame in [Some(key.frame), second].into_iter().flatten() {
            self.by_frame.entry(frame).or_default().push(id);
        }
        id
    }

    /// The instruction that an operation belongs to: its index in the block, its address, and the operations of it that
    /// follow this one.
    pub(super) fn insn_at(&self, id: BlockId, op: usize) -> (usize, u64, Range<usize>) {
        let block = &self.blocks[id as usize];
        let first = block.first as usize;
        let insns = &self.insns[block.insn_first as usize..][..block.insns as usize];
        let index = crate::ir::insn_of(insns, op - first);
        let start = block.start.wrapping_add(insns.get(index).map_or(0, |i| u64::from(i.offset)));
        let end = insns.get(index + 1).map_or(block.ops as usize, |i| usize::from(i.first_op));
        (index, start, op + 1..first + end)
    }

    /// The address of an instruction of a block; of the end of the block for one past the last.
    pub(super) fn insn_address(&self, id: BlockId, index: usize) -> u64 {
        let block = &self.blocks[id as usize];
        let insns = &self.insns[block.insn_first as usize..][..block.insns as usize];
        insns.get(index).map_or(block.end, |i| block.start.wrapping_add(u64::from(i.offset)))
    }

    /// Drops the blocks made from these bytes; tells whether there were any.
    pub(super) fn forget(&mut self, frame: FrameId, bytes: Range<u16>) -> bool {
        let Some(ids) = self.by_frame.get(&frame) else { return false };
        let stale: Vec<BlockId> = ids.iter().copied().filter(|&id| self.touches(id, frame, &bytes)).collect();
        for &id in &stale {
            let block = &self.blocks[id as usize];
            let (key, second) = (block.key, block.second);
            if self.by_key.get(&key) == Some(&id) {
                self.by_key.remove(&key);
            }
            for frame in [Some(key.frame), second].into_iter().flatten() {
                if let Some(list) = self.by_frame.get_mut(&frame) {
                    list.retain(|&b| b != id);
                }
            }
        }
        if stale.is_empty() {
            return false;
        }
        self.drops += 1;
        true
    }

    fn touches(&self, id: BlockId, frame: FrameId, bytes: &Range<u16>) -> bool {
        let block = &self.blocks[id as usize];
        let start = (block.key.start & 0xfff) as u16;
        let end = start + block.len;
        let overlap = |from: u16, to: u16| from < bytes.end && bytes.start < to;
        (block.key.frame == frame && overlap(start, end.min(4096)))
            || (block.second == Some(frame) && end > 4096 && overlap(0, end - 4096))
    }

    /// Whether blocks were made from any of these bytes.
    pub(super) fn overlaps(&self, frame: FrameId, bytes: &Range<u16>) -> bool {
        self.by_frame.get(&frame).is_some_and(|ids| ids.iter().any(|&id| self.touches(id, frame, bytes)))
    }

    /// Whether no block is left of a frame that once had some; if so the frame is known no more.
    pub(super) fn is_emptied(&mut self, frame: FrameId) -> bool {
        let emptied = self.by_frame.get(&frame).is_some_and(Vec::is_empty);
        if emptied {
            self.by_frame.remove(&frame);
        }
        emptied
    }

    /// Whether blocks of a frame are cached.
    pub(super) fn has_code(&self, frame: FrameId) -> bool {
        self.by_frame.get(&frame).is_some_and(|blocks| !blocks.is_empty())
    }

    /// Makes a way from one block to another.
    pub(super) fn link(&mut self, from: BlockId, side: usize, to: BlockId, stamps: Stamps) {
        let block = |id: BlockId| self.blocks.get(id as usize);
        let page = |block: &Cached| block.key.start / PAGE_SIZE as u64;
        let near = match (block(from), block(to)) {
            (Some(a), Some(b)) => page(a) == page(b) && b.second.is_none(),
            _ => false,
        };
        let stamp = if near { stamps.near } else { stamps.far };
        if let Some(block) = self.blocks.get_mut(from as usize) {
            block.links[side & 1] = Link { block: to, stamp };
        }
    }

    /// Drops everything and tells the frames that had code.
    pub(super) fn clear(&mut self) -> Vec<FrameId> {
        self.ops.clear();
        self.blocks.clear();
        self.insns.clear();
        self.by_key.clear();
        self.drops += 1;
        self.by_frame.drain().map(|(frame, _)| frame).collect()
    }
}

/// Whether a block ends with a jump or call through a register that is no return.
fn jumps_anywhere(block: &Block) -> bool {
    let last = block.ops.len().saturating_sub(1);
    let Some(jump) = block.ops.last().filter(|op| op.code == Code::JumpReg) else { return false };
    let insn = block.insns.last().map_or(0, |insn| usize::from(insn.first_op));
    let stack = reg::RSP as u8;
    !block
        .ops
        .get(insn..last)
        .unwrap_or_default()
        .iter()
        .any(|op| matches!(op.code, Code::Load32 | Code::Load64) && op.dst == jump.a && op.a == stack && op.imm == 0)
}
