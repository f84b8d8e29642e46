//! Chooses what to compile: a region is one entry and the blocks it reaches by direct branches, falls and returns from
//! calls, as far as they were run before and the limits allow.

use std::collections::{HashMap, HashSet};

use vm_cpu::ir::{Block, Code, Form, Op, Slot};
use vm_cpu::{Mode, reg};
use vm_mem::FrameId;

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
    /// Goes on at the address in the slot of its last operation; by way of a node that dispatches, if there is one.
    JumpIndirect(Option<usize>),
    /// Goes on at the node of a table of the region whose address is wanted; no block of the guest.
    Dispatch(usize),
    /// Leaves the engine.
    Exit,
}

impl End {
    /// The edges, but for those of a table.
    fn targets(&self) -> impl Iterator<Item = Target> + use<> {
        match *self {
            End::Jump(a) | End::Call(_, a) | End::CallIndirect(a) => [Some(a), None],
            End::Branch(a, b) => [Some(a), Some(b)],
            End::JumpIndirect(to) => [to.map(Target::Node), None],
            End::Return | End::Dispatch(_) | End::Exit => [None, None],
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

    /// Its blocks, each with its frame.
    pub fn blocks(&self) -> Vec<(FrameId, u32)> {
        let code = self.nodes.iter().filter(|node| node.is_code());
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

/// Plans the region at an address; nothing when there is no code to be had.
pub fn plan(source: &mut dyn CodeSource, entry: u32, limits: Limits) -> Option<Region> {
    let mut found: Vec<Found> = vec![source.block(entry, usize::MAX)?];
    let mut at: HashMap<u32, usize> = HashMap::from([(entry, 0)]);
    let mut ops = found[0].block.ops.len();
    let mut next = 0;
    // Where jumps through registers lead, by the address behind the jump.
    let mut jumps: HashMap<u32, Vec<u32>> = HashMap::new();
    while let Some(this) = found.get(next) {
        next += 1;
        let mut targets: Vec<u32> = addresses(&this.block).collect();
        let mut room = limits;
        if end(&this.block, &HashMap::new()) == End::JumpIndirect(None) {
            let behind = this.block.end() as u32;
            targets = source.jumps_from(behind);
            let compiled = targets.iter().filter(|&&target| source.is_entry(target)).count();
            if targets.len() >= FEWEST && 2 * compiled <= targets.len() {
                jumps.insert(behind, targets.clone());
            } else {
                targets.clear();
            }
        }
        if !jumps.is_empty() {
            // What dispatches is slow in pieces.
            room = Limits { blocks: 4 * limits.blocks, ops: 4 * limits.ops };
        }
        for target in targets {
            if at.contains_key(&target) || found.len() >= room.blocks || ops >= room.ops {
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
    let mut region = Region { nodes: nodes.collect(), tables: Vec::new(), entry: 0, detours: HashSet::new() };
    region.dispatch(&jumps, &at);
    region.make_entries();
    Some(region)
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
            if let End::Call(_, Target::Node(to)) | End::CallIndirect(Target::Node(to)) = node.end {
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
        if let End::Dispatch(table) = self.nodes[self.entry].end
            && !self.tables[table].contains(&node)
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
        self.nodes.push(Node { found, end: End::Dispatch(self.tables.len()) });
        self.tables.push(targets);
        self.nodes.len() - 1
    }

    /// Adds the nodes that dispatch: one for all the jumps that have a target in common.
    fn dispatch(&mut self, jumps: &HashMap<u32, Vec<u32>>, at: &HashMap<u32, usize>) {
        let mut groups: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        for (from, node) in self.nodes.iter().enumerate() {
            let Some(targets) = jumps.get(&(node.found.block.end() as u32)) else { continue };
            if node.end != End::JumpIndirect(None) {
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
        Form::JumpReg => End::JumpIndirect(None),
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
