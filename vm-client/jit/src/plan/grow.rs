//! Which blocks make a region, and how each ends.
//!
//! Blocks are found from the entry on, nearest first. A function that is small is copied to where it is called: its blocks
//! are in a *scope* of their own, which knows where the function returns to. That it does is only likely, so the address it
//! returns to is compared; copies are right wherever they are. Jumps through registers out of such a function, which is
//! what the linkage tables of dynamic programs are, become calls.

use std::collections::{HashMap, HashSet};

use vm_cpu::assist::AssistId;
use vm_cpu::ir::{Block, Code, Form, Op, Slot};
use vm_cpu::reg;

use super::{CodeSource, End, FEWEST, Found, Limits, Node, Otherwise, Region, Target};

/// Functions that are copied at most, one inside another.
const DEEPEST: usize = 3;
/// The largest function that is copied.
const SMALL: Limits = Limits { blocks: 6, ops: 60 };

/// Plans the region at an address; nothing when there is no code to be had.
pub fn plan(source: &mut dyn CodeSource, entry: u32, limits: Limits) -> Option<Region> {
    let first = source.block(entry, usize::MAX)?;
    let mut growth = Growth {
        source,
        limits,
        ops: first.block.ops.len(),
        copied_ops: 0,
        found: vec![(OWN, first)],
        at: HashMap::from([((OWN, entry), 0)]),
        scopes: vec![Scope { parent: OWN, back: 0, function: entry }],
        copies: HashMap::new(),
        small: HashMap::new(),
        jumps: HashMap::new(),
    };
    growth.find();
    growth.cut();
    Some(growth.region())
}

/// The scope of what is not copied.
const OWN: usize = 0;

/// A function that is copied to one place that calls it.
struct Scope {
    /// The scope it is called from.
    parent: usize,
    /// The address it returns to.
    back: u32,
    function: u32,
}

/// A function that is copied where a call or jump leads to it: its scope and its address.
type Copied = (usize, u32);

struct Growth<'a> {
    source: &'a mut dyn CodeSource,
    limits: Limits,
    /// The blocks so far, each with its scope.
    found: Vec<(usize, Found)>,
    at: HashMap<(usize, u32), usize>,
    ops: usize,
    /// Those in copies.
    copied_ops: usize,
    scopes: Vec<Scope>,
    /// By scope and the address behind a call or jump.
    copies: HashMap<(usize, u32), Copied>,
    /// How many operations functions have that are small.
    small: HashMap<u32, Option<usize>>,
    /// Where jumps through registers lead that stay in the region, by the address behind the jump.
    jumps: HashMap<u32, Vec<u32>>,
}

impl Growth<'_> {
    fn find(&mut self) {
        let mut next = 0;
        while let Some((scope, found)) = self.found.get(next) {
            next += 1;
            let (scope, behind) = (*scope, found.block.end() as u32);
            let end = simple_end(&found.block);
            match end {
                End::Call(to, _) => self.copy(scope, behind, to, (scope, behind)),
                End::CallIndirect(_) => {
                    if let Some(to) = self.only_target(behind) {
                        self.copy(scope, behind, to, (scope, behind));
                    }
                }
                End::JumpIndirect(_) if scope == OWN => self.jump(behind),
                End::JumpIndirect(_) => {
                    let back = (self.scopes[scope].parent, self.scopes[scope].back);
                    if let Some(to) = self.only_target(behind) {
                        self.copy(scope, behind, to, back);
                    }
                }
                _ => {}
            }
            for target in outside(&end) {
                self.take(scope, target);
            }
        }
    }

    /// Adds a block, if there is room and it is worth it.
    fn take(&mut self, scope: usize, start: u32) {
        // What dispatches is slow in pieces.
        let times = if self.jumps.is_empty() { 1 } else { 4 };
        let room = self.found.len() < times * self.limits.blocks && self.ops < times * self.limits.ops;
        if self.at.contains_key(&(scope, start)) || !room || !self.source.is_warm(start) {
            return;
        }
        if let Some(found) = self.source.block(start, usize::MAX) {
            self.at.insert((scope, start), self.found.len());
            self.ops += found.block.ops.len();
            self.found.push((scope, found));
        }
    }

    /// Takes the blocks that a jump through a register of the region's own code leads to, if that is worth it.
    fn jump(&mut self, behind: u32) {
        let targets = self.source.jumps_from(behind);
        let compiled = targets.iter().filter(|&&target| self.source.is_entry(target)).count();
        if targets.len() >= FEWEST && 2 * compiled <= targets.len() {
            self.jumps.insert(behind, targets.clone());
            for target in targets {
                self.take(OWN, target);
            }
        }
    }

    /// Where a jump through a register led, if always to one place. What dynamic linking finds out first goes on right
    /// behind the jump, once.
    fn only_target(&mut self, behind: u32) -> Option<u32> {
        let targets = self.source.jumps_from(behind);
        let mut others = targets.into_iter().filter(|&target| target != behind);
        others.next().filter(|_| others.next().is_none())
    }

    /// Copies a function to the call or jump in front of an address if it is small; it returns to the address in the scope
    /// that come last.
    fn copy(&mut self, scope: usize, behind: u32, function: u32, (parent, back): (usize, u32)) {
        if self.copies.contains_key(&(scope, behind)) || self.is_under_way(scope, function) {
            return;
        }
        let Some(ops) = self.small_function(function) else { return };
        if 2 * (self.copied_ops + ops) > self.limits.ops || self.found.len() >= self.limits.blocks {
            return;
        }
        let inner = self.scopes.len();
        self.take(inner, function);
        if self.at.contains_key(&(inner, function)) {
            self.copied_ops += ops;
            self.scopes.push(Scope { parent, back, function });
            self.copies.insert((scope, behind), (inner, function));
        }
    }

    /// Whether a function is around a scope twice, or there are too many around it. Once it may be: that halves the calls of
    /// functions that call themselves.
    fn is_under_way(&self, mut scope: usize, function: u32) -> bool {
        let mut times = 0;
        for _ in 0..DEEPEST {
            times += u32::from(self.scopes[scope].function == function);
            if scope == OWN {
                return times > 1;
            }
            scope = self.scopes[scope].parent;
        }
        true
    }

    /// The operations of a function, if it is small and does nothing that copies cannot.
    fn small_function(&mut self, start: u32) -> Option<usize> {
        if let Some(&known) = self.small.get(&start) {
            return known;
        }
        let size = self.measure(start);
        self.small.insert(start, size);
        size
    }

    fn measure(&mut self, start: u32) -> Option<usize> {
        let (mut next, mut seen) = (vec![start], HashSet::from([start]));
        let (mut blocks, mut ops, mut comes_back) = (0, 0, false);
        while let Some(address) = next.pop() {
            let block = self.source.block(address, usize::MAX)?.block;
            blocks += 1;
            ops += block.ops.len();
            if blocks > SMALL.blocks || ops > SMALL.ops || block.ops.iter().any(changes_code_segment) {
                return None;
            }
            let end = simple_end(&block);
            match end {
                End::Exit => return None,
                // Tables of tables are left alone; a function that is but a jump is what programs are linked by.
                End::JumpIndirect(_) if address != start => return None,
                End::JumpIndirect(_) | End::Return => comes_back = true,
                _ => {}
            }
            for target in outside(&end) {
                if self.source.is_warm(target) && seen.insert(target) {
                    next.push(target);
                }
            }
        }
        comes_back.then_some(ops)
    }

    /// Ends blocks into whose middle another leads there, so that nothing is compiled twice.
    fn cut(&mut self) {
        let mut starts: Vec<(usize, u32)> = self.at.keys().copied().collect();
        starts.sort_unstable();
        for (scope, this) in &mut self.found {
            let start = this.block.start as u32;
            let after = starts.partition_point(|&s| s <= (*scope, start));
            let Some(&(_, other)) = starts.get(after).filter(|other| other.0 == *scope) else { continue };
            let offset = u64::from(other.wrapping_sub(start));
            if offset >= u64::from(this.block.len) {
                continue;
            }
            if let Some(insns) = this.block.insns.iter().position(|i| u64::from(i.offset) == offset)
                && let Some(shorter) = self.source.block(start, insns)
            {
                *this = shorter;
            }
        }
    }

    fn region(self) -> Region {
        let ends: Vec<End> = self.found.iter().map(|(scope, found)| self.end(*scope, &found.block)).collect();
        // Only those of the region's own code are looked for.
        let at: HashMap<u32, usize> =
            self.at.iter().filter(|((scope, _), _)| *scope == OWN).map(|((_, start), &node)| (*start, node)).collect();
        let nodes = self.found.into_iter().zip(ends);
        let nodes = nodes.map(|((scope, found), end)| Node { found, end, inlined: scope != OWN });
        let mut region = Region { nodes: nodes.collect(), tables: Vec::new(), entry: 0, detours: HashSet::new() };
        region.dispatch(&self.jumps, &at);
        region.make_entries();
        region
    }

    fn target(&self, scope: usize, address: u32) -> Target {
        self.at.get(&(scope, address)).map_or(Target::Out(address), |&node| Target::Node(node))
    }

    /// How a block ends in its scope.
    fn end(&self, scope: usize, block: &Block) -> End {
        let behind = block.end() as u32;
        let copied = self.copies.get(&(scope, behind)).map(|&(inner, to)| (to, self.target(inner, to)));
        let back = match &self.scopes[scope] {
            _ if scope == OWN => None,
            inner => Some((inner.back, self.target(inner.parent, inner.back))),
        };
        let mut end = simple_end(block);
        end.each(|target| {
            if let Target::Out(address) = *target {
                *target = self.target(scope, address);
            }
        });
        match (end, copied, back) {
            (End::Call(..), Some((_, copy)), _) => End::Jump(copy),
            (End::CallIndirect(then), Some((to, copy)), _) => End::Expect(to, copy, Otherwise::Call(then)),
            (End::Return, _, Some((address, then))) => End::Expect(address, then, Otherwise::Jump),
            (End::JumpIndirect(_), Some((to, copy)), Some((_, then))) => End::Expect(to, copy, Otherwise::Call(then)),
            // What comes back is behind the call that led to this function.
            (End::JumpIndirect(_), None, Some((_, then))) => End::CallIndirect(then),
            (End::Jump(Target::Out(address)), _, Some((_, then))) => End::Call(address, then),
            (end, ..) => end,
        }
    }
}

/// The addresses that a block with this end leads to.
fn outside(end: &End) -> impl Iterator<Item = u32> + use<> {
    end.targets().filter_map(|target| match target {
        Target::Out(address) => Some(address),
        Target::Node(_) => None,
    })
}

/// How a block ends as far as it tells by itself: all targets are outside.
fn simple_end(block: &Block) -> End {
    let target = |address: u64| Target::Out(address as u32);
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

/// Whether an operation may leave the flat code segment.
fn changes_code_segment(op: &Op) -> bool {
    let number = op.assist_number();
    op.code == Code::Assist && (number == AssistId::Transfer as u16 || number == AssistId::CheckCode as u16)
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
