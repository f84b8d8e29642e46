//! Chooses what to compile: a region is one entry and the blocks it reaches by direct branches, falls and returns from
//! calls, as far as they were run before and the limits allow. Small functions are part of the regions that call them:
//! `grow` has how blocks are found.

mod grow;

use std::collections::{HashMap, HashSet};

use vm_cpu::Mode;
use vm_cpu::ir::Block;
use vm_mem::FrameId;

pub use self::grow::plan;

/// Where blocks come from.
pub trait CodeSource {
    /// The block at an address, of at most so many instructions; nothing when its bytes cannot be fetched.
    fn block(&mut self, start: u32, limit: usize) -> Option<Found>;
    /// Whether the block at an address is worth compiling.
    fn is_warm(&mut self, start: u32) -> bool;
    /// Whether there is code already that can be entered at an address.
    fn is_entry(&mut self, start: u32) -> bool;
    /// Where the jump through a register that ends at an address led, in order.
    fn jumps_from(&mut self, behind: u32) -> Vec<u32>;
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
    /// Goes to the target if the slot of its last operation has the address, which is likely.
    Expect(u32, Target, Otherwise),
    /// Goes on at the address in the slot of its last operation; by way of a node that dispatches, if there is one.
    JumpIndirect(Option<usize>),
    /// Goes on at the node of a table of the region whose address is wanted; no block of the guest.
    Dispatch(usize),
    /// Leaves the engine.
    Exit,
}

/// What a block does whose last operation leads to another address than was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Otherwise {
    /// Goes on there.
    Jump,
    /// Calls that address.
    Call(Target),
}

impl End {
    /// The edges, but for those of a table.
    fn targets(&self) -> impl Iterator<Item = Target> + use<> {
        match *self {
            End::Jump(a) | End::Call(_, a) | End::CallIndirect(a) => [Some(a), None],
            End::Branch(a, b) => [Some(a), Some(b)],
            End::JumpIndirect(to) => [to.map(Target::Node), None],
            End::Expect(_, a, Otherwise::Jump) => [Some(a), None],
            End::Expect(_, a, Otherwise::Call(b)) => [Some(a), Some(b)],
            End::Return | End::Dispatch(_) | End::Exit => [None, None],
        }
        .into_iter()
        .flatten()
    }

    fn each(&mut self, mut f: impl FnMut(&mut Target)) {
        match self {
            End::Jump(a) | End::Call(_, a) | End::CallIndirect(a) | End::Expect(_, a, Otherwise::Jump) => f(a),
            End::Branch(a, b) | End::Expect(_, a, Otherwise::Call(b)) => {
                f(a);
                f(b);
            }
            End::Return | End::JumpIndirect(_) | End::Dispatch(_) | End::Exit => {}
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
    /// Whether it belongs to a function that the region calls.
    pub inlined: bool,
}

impl Node {
    /// Its address.
    pub fn start(&self) -> u32 {
        self.found.block.start as u32
    }

    /// Whether it stands for code of the guest.
    pub fn is_code(&self) -> bool {
        !matches!(self.end, End::Dispatch(_))
    }
}

/// What is compiled as one function. The first node is the code it begins with.
#[derive(Clone, Debug)]
pub struct Region {
    /// The blocks.
    pub nodes: Vec<Node>,
    /// The nodes each table leads to.
    pub tables: Vec<Vec<usize>>,
    /// The node that is entered: the first, or one that dispatches to it. By that one all nodes of its table are entered.
    pub entry: usize,
    /// Edges that lead to their node by way of the entry, which dispatches.
    pub detours: HashSet<(usize, usize)>,
}

impl Region {
    /// The address of the entry.
    pub fn start(&self) -> u32 {
        self.nodes.first().map_or(0, Node::start)
    }

    /// The edges of a node.
    pub fn targets(&self, node: usize) -> impl Iterator<Item = Target> + '_ {
        let end = self.nodes[node].end;
        let table = match end {
            End::Dispatch(table) => self.tables[table].as_slice(),
            _ => &[],
        };
        end.targets().chain(table.iter().map(|&to| Target::Node(to))).map(move |target| match target {
            Target::Node(to) if self.detours.contains(&(node, to)) => Target::Node(self.entry),
            _ => target,
        })
    }

    /// The pages its bytes are in, each with its frame, without repetition.
    pub fn pages(&self) -> Vec<(u32, FrameId)> {
        let mut pages = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_code()) {
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

    /// Its own blocks, each with its frame.
    pub fn blocks(&self) -> Vec<(FrameId, u32)> {
        let code = self.nodes.iter().filter(|node| node.is_code() && !node.inlined);
        code.map(|node| (node.found.frame, node.start())).collect()
    }

    /// The operations in it.
    pub fn ops(&self) -> usize {
        self.nodes.iter().map(|node| node.found.block.ops.len()).sum()
    }

    /// The addresses it calls or goes on at outside, as far as they are known.
    pub fn leads_to(&self) -> Vec<u32> {
        let mut outside = Vec::new();
        for node in &self.nodes {
            if let End::Call(to, _) = node.end {
                outside.push(to);
            }
            outside.extend(node.end.targets().filter_map(|target| match target {
                Target::Out(address) => Some(address),
                Target::Node(_) => None,
            }));
        }
        outside
    }

    /// The bytes of guest code in it.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.found.block.len)).sum()
    }

    /// Makes every edge to a node for which `cut` says so leave the region.
    pub fn cut_edges(&mut self, mut cut: impl FnMut(usize, usize) -> bool) {
        let starts: Vec<u32> = self.nodes.iter().map(Node::start).collect();
        for (from, node) in self.nodes.iter_mut().enumerate() {
            match &mut node.end {
                End::JumpIndirect(way) if way.is_some_and(|to| cut(from, to)) => *way = None,
                End::Dispatch(table) => self.tables[*table].retain(|&to| !cut(from, to)),
                _ => {}
            }
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

/// A jump through a register that led to fewer addresses is left to the table by address.
const FEWEST: usize = 2;

impl Region {
    /// The addresses it can be entered at, each with its frame; its start is the first.
    pub fn entries(&self) -> Vec<(u32, FrameId)> {
        let at = |node: usize| (self.nodes[node].start(), self.nodes[node].found.frame);
        let mut entries = vec![at(0)];
        if let End::Dispatch(table) = self.nodes[self.entry].end {
            entries.extend(self.tables[table].iter().filter(|&&node| node != 0).map(|&node| at(node)));
        }
        entries
    }

    /// Makes a node that dispatches the entry, where there is one or calls return to nodes: what has unwound, for want of
    /// fuel or depth, returns there.
    fn make_entries(&mut self) {
        let mut returns: Vec<usize> = Vec::new();
        for node in &self.nodes {
            if let End::Call(_, Target::Node(to))
            | End::CallIndirect(Target::Node(to))
            | End::Expect(_, _, Otherwise::Call(Target::Node(to))) = node.end
                && !self.nodes[to].inlined
            {
                returns.push(to);
            }
        }
        let dispatchers = (0..self.nodes.len()).filter(|&node| !self.nodes[node].is_code());
        match dispatchers.max_by_key(|&node| self.targets(node).count()) {
            Some(largest) => self.entry = largest,
            None if returns.is_empty() => return,
            None => self.entry = self.add_dispatcher(Vec::new()),
        }
        for node in [0].into_iter().chain(returns) {
            self.dispatch_to(node);
        }
    }

    /// Lets the entry, which dispatches, lead to a node.
    fn dispatch_to(&mut self, node: usize) {
        // Where one address is in several functions that are part of this, the first will do.
        let start = self.nodes[node].start();
        if let End::Dispatch(table) = self.nodes[self.entry].end
            && !self.tables[table].iter().any(|&other| self.nodes[other].start() == start)
        {
            self.tables[table].push(node);
        }
    }

    /// Makes edges lead by way of the entry, if that dispatches; tells whether it does.
    pub fn detour(&mut self, edges: &[(usize, usize)]) -> bool {
        if self.nodes[self.entry].is_code() {
            return false;
        }
        let mut any = false;
        for &(from, to) in edges {
            // What leads to a dispatcher or comes from one has set its mind already.
            if self.nodes[from].is_code() && self.nodes[to].is_code() {
                self.dispatch_to(to);
                any |= self.detours.insert((from, to));
            }
        }
        any
    }

    fn add_dispatcher(&mut self, targets: Vec<usize>) -> usize {
        let block = Block { start: 0, len: 0, mode: Mode::I386, insns: Vec::new(), ops: Vec::new() };
        let found = Found { block, frame: FrameId(u32::MAX), second: None };
        self.nodes.push(Node { found, end: End::Dispatch(self.tables.len()), inlined: false });
        self.tables.push(targets);
        self.nodes.len() - 1
    }

    /// Adds the nodes that dispatch: one for all the jumps that have a target in common.
    fn dispatch(&mut self, jumps: &HashMap<u32, Vec<u32>>, at: &HashMap<u32, usize>) {
        let mut groups: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        for (from, node) in self.nodes.iter().enumerate() {
            let Some(targets) = jumps.get(&(node.found.block.end() as u32)) else { continue };
            if node.end != End::JumpIndirect(None) || node.inlined {
                continue;
            }
            let mut sources = vec![from];
            let mut targets: Vec<usize> = targets.iter().filter_map(|target| at.get(target).copied()).collect();
            let (same, apart) = groups.into_iter().partition(|(_, t)| t.iter().any(|to| targets.contains(to)));
            groups = apart;
            let same: Vec<(Vec<usize>, Vec<usize>)> = same;
            for (s, t) in same {
                sources.extend(s);
                targets.extend(t);
            }
            targets.sort_unstable();
            targets.dedup();
            if targets.len() >= FEWEST {
                groups.push((sources, targets));
            }
        }
        for (sources, targets) in groups {
            let dispatcher = self.add_dispatcher(targets);
            for from in sources {
                self.nodes[from].end = End::JumpIndirect(Some(dispatcher));
            }
        }
    }
}
