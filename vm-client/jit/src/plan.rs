//! Chooses what to compile: a region is one entry and the blocks it reaches by direct branches, falls and returns from
//! calls, as far as they were run before and the limits allow.

use std::collections::HashMap;

use vm_cpu::ir::{Block, Code, Form, Op, Slot};
use vm_cpu::reg;
use vm_mem::FrameId;

/// Where blocks come from.
pub trait CodeSource {
    /// The block at an address, of at most so many instructions; nothing when its bytes cannot be fetched.
    fn block(&mut self, start: u32, limit: usize) -> Option<Found>;
    /// Whether the block at an address is worth compiling.
    fn is_warm(&mut self, start: u32) -> bool;
}

/// A block and where its bytes are.
#[derive(Clone, Debug)]
pub struct Found {
    /// The block, not fused.
    pub block: Block,
    /// The frame of its first byte.
    pub frame: FrameId,
    /// The frame of the next page, if it goes over the end of the first.
    pub second: Option<FrameId>,
}

/// How large regions may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks.
    pub blocks: usize,
    /// Operations.
    pub ops: usize,
}

/// Where an edge leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a block of the region.
    Node(usize),
    /// Out of it, to an address.
    Out(u32),
}

/// How a block ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Goes on in one place.
    Jump(Target),
    /// Goes to the first if the condition of its last operation holds, else to the second.
    Branch(Target, Target),
    /// Calls an address; the return address was pushed.
    Call(u32, Target),
    /// Calls the address in the slot of its last operation.
    CallIndirect(Target),
    /// Returns to the address in the slot of its last operation.
    Return,
    /// Goes on at the address in the slot of its last operation.
    JumpIndirect,
    /// Leaves the engine.
    Exit,
}

impl End {
    /// The edges.
    pub fn targets(&self) -> impl Iterator<Item = Target> + use<> {
        match *self {
            End::Jump(a) | End::Call(_, a) | End::CallIndirect(a) => [Some(a), None],
            End::Branch(a, b) => [Some(a), Some(b)],
            End::Return | End::JumpIndirect | End::Exit => [None, None],
        }
        .into_iter()
        .flatten()
    }

    fn each(&mut self, mut f: impl FnMut(&mut Target)) {
        match self {
            End::Jump(a) | End::Call(_, a) | End::CallIndirect(a) => f(a),
            End::Branch(a, b) => {
                f(a);
                f(b);
            }
            End::Return | End::JumpIndirect | End::Exit => {}
        }
    }
}

/// A block of a region.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub found: Found,
    /// How it ends.
    pub end: End,
}

impl Node {
    /// Its address.
    pub fn start(&self) -> u32 {
        self.found.block.start as u32
    }
}

/// What is compiled as one function. The entry is the first node.
#[derive(Clone, Debug)]
pub struct Region {
    /// The blocks.
    pub nodes: Vec<Node>,
}

impl Region {
    /// The address of the entry.
    pub fn start(&self) -> u32 {
        self.nodes.first().map_or(0, Node::start)
    }

    /// The pages its bytes are in, each with its frame, without repetition.
    pub fn pages(&self) -> Vec<(u32, FrameId)> {
        let mut pages = Vec::new();
        for node in &self.nodes {
            let page = node.start() >> 12;
            pages.push((page, node.found.frame));
            if let Some(second) = node.found.second {
                pages.push(((page + 1) & 0xf_ffff, second));
            }
        }
        pages.sort_unstable_by_key(|&(page, frame)| (page, frame.0));
        pages.dedup();
        pages
    }

    /// The bytes of guest code in it.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.found.block.len)).sum()
    }

    /// Makes every edge to a node for which `cut` says so leave the region.
    pub fn cut_edges(&mut self, mut cut: impl FnMut(usize, usize) -> bool) {
        let starts: Vec<u32> = self.nodes.iter().map(Node::start).collect();
        for (from, node) in self.nodes.iter_mut().enumerate() {
            node.end.each(|target| {
                if let Target::Node(to) = *target
                    && cut(from, to)
                {
                    *target = Target::Out(starts[to]);
                }
            });
        }
    }
}

/// Plans the region at an address; nothing when there is no code to be had.
pub fn plan(source: &mut dyn CodeSource, entry: u32, limits: Limits) -> Option<Region> {
    let mut found: Vec<Found> = vec![source.block(entry, usize::MAX)?];
    let mut at: HashMap<u32, usize> = HashMap::from([(entry, 0)]);
    let mut ops = found[0].block.ops.len();
    let mut next = 0;
    while let Some(this) = found.get(next) {
        next += 1;
        for target in addresses(&this.block) {
            if at.contains_key(&target) || found.len() >= limits.blocks || ops >= limits.ops {
                continue;
            }
            if !source.is_warm(target) {
                continue;
            }
            if let Some(block) = source.block(target, usize::MAX) {
                at.insert(target, found.len());
                ops += block.block.ops.len();
                found.push(block);
            }
        }
    }
    // A block into whose middle another leads ends there, so that nothing is compiled twice.
    let mut starts: Vec<u32> = at.keys().copied().collect();
    starts.sort_unstable();
    for this in &mut found {
        let start = this.block.start as u32;
        let after = starts.partition_point(|&s| s <= start);
        let Some(&other) = starts.get(after) else { continue };
        let offset = u64::from(other.wrapping_sub(start));
        if offset >= u64::from(this.block.len) {
            continue;
        }
        if let Some(insns) = this.block.insns.iter().position(|i| u64::from(i.offset) == offset)
            && let Some(shorter) = source.block(start, insns)
        {
            *this = shorter;
        }
    }
    let nodes = found.into_iter().map(|found| {
        let end = end(&found.block, &at);
        Node { found, end }
    });
    Some(Region { nodes: nodes.collect() })
}

/// The addresses that a block leads to directly.
fn addresses(block: &Block) -> impl Iterator<Item = u32> + use<> {
    let nothing = HashMap::new();
    end(block, &nothing).targets().filter_map(|target| match target {
        Target::Out(address) => Some(address),
        Target::Node(_) => None,
    })
}

fn end(block: &Block, at: &HashMap<u32, usize>) -> End {
    let target = |address: u64| {
        let address = address as u32;
        at.get(&address).map_or(Target::Out(address), |&node| Target::Node(node))
    };
    let Some(last) = block.ops.last() else { return End::Exit };
    let behind = block.end();
    match last.code.info().form {
        Form::Jump if last.imm as u64 != behind && pushes(block, behind) => End::Call(last.imm as u32, target(behind)),
        Form::Jump => End::Jump(target(last.imm as u64)),
        Form::JumpReg if pushes(block, behind) => End::CallIndirect(target(behind)),
        Form::JumpReg if pops(block, last) => End::Return,
        Form::JumpReg => End::JumpIndirect,
        Form::Branch | Form::BranchReg => End::Branch(target(last.imm as u64), target(behind)),
        _ => End::Exit,
    }
}

const RSP: u8 = reg::RSP as u8;

/// The operations of the last instruction.
fn last_insn(block: &Block) -> &[Op] {
    let range = block.ops_of(block.insns.len().saturating_sub(1));
    block.ops.get(range).unwrap_or_default()
}

/// Whether the last instruction pushes the address behind it, as calls do.
fn pushes(block: &Block, address: u64) -> bool {
    last_insn(block).iter().any(|op| {
        op.code == Code::StoreI32
            && op.a == RSP
            && op.b == Slot::ZERO.0
            && op.store_disp() == -4
            && op.store_value() as u32 == address as u32
    })
}

/// Whether the jump goes where the top of the stack said, as returns do.
fn pops(block: &Block, jump: &Op) -> bool {
    last_insn(block).iter().any(|op| op.code == Code::Load32 && op.dst == jump.a && op.a == RSP && op.imm == 0)
}
