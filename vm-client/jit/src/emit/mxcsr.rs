//! What the host's floating point is good for: locals that say so, made from MXCSR, and what is known of lanes beside them.
//!
//! As long as the locals say that the host will do, lanes that are known to be plain are. A block takes both over from the
//! blocks that lead to it, if all of them were emitted before; else it looks at MXCSR again, and knows nothing. Beginnings of
//! loops do: what made the assist take over, once, shall not do so for good.

use vm_cpu::ir::VSlot;
use wasm_encoder::ValType;

use super::Emitter;
use super::checks::Shape;
use super::local;
use crate::plan::{End, Otherwise, Target};

/// The locals that say what the host's arithmetic is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostFloat {
    /// Bit 0: it rounds as the processor does now. Bit 1: also, invalid operations and overflow have been noted.
    pub(super) rounds: u32,
    /// The range of ordinary results, or zero where the host does not round so.
    pub(super) single_limit: u32,
    /// The same of the upper halves of doubles.
    pub(super) double_limit: u32,
    /// The same for vectors, where there is arithmetic of vectors.
    pub(super) lanes: Option<LaneLimits>,
}

/// The ends of the ranges that begin at the least number, for each lane of a vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    pub(super) singles: u32,
    pub(super) doubles: u32,
}

/// What is known at the end of a block: of the lanes of each vector, if the locals are up to date.
type Known = Option<[u8; 32]>;

/// What blocks tell those behind them.
#[derive(Default)]
pub(super) struct Floats {
    /// Whether the locals are up to date.
    up_to_date: bool,
    /// What is known at the end of each node that was emitted.
    at_end: Vec<Known>,
    /// The nodes that lead to each; nothing for one that leads there by a call.
    ways_to: Vec<Vec<Option<usize>>>,
}

/// Ordinary singles, in twice their bits: from the second smallest exponent to below infinity.
const SINGLE_RANGE: u32 = 0xff00_0000 - (2 << 24);
/// The same for the upper halves of doubles.
const DOUBLE_RANGE: u32 = 0xffe0_0000 - (2 << 21);

/// What brings the least ordinary single, in twice its bits, to the least number; and the same for doubles.
pub(super) const SINGLES_SHIFT: i32 = i32::MIN.wrapping_sub(2 << 24);
pub(super) const DOUBLES_SHIFT: i64 = i64::MIN.wrapping_sub(2 << 53);

impl Emitter<'_> {
    /// Makes the locals, for a region with arithmetic, perhaps of vectors.
    pub(super) fn use_host_float(&mut self, vectors: bool) {
        let lanes = vectors
            .then(|| LaneLimits { singles: self.new_local(ValType::V128), doubles: self.new_local(ValType::V128) });
        self.host_float = Some(HostFloat {
            rounds: self.new_local(ValType::I32),
            single_limit: self.new_local(ValType::I32),
            double_limit: self.new_local(ValType::I32),
            lanes,
        });
        self.floats.at_end = vec![None; self.region.nodes.len()];
        self.floats.ways_to = vec![Vec::new(); self.region.nodes.len()];
        for &from in &self.shape.order {
            let node = &self.region.nodes[from];
            for (number, target) in self.region.targets(from).enumerate() {
                let Target::Node(to) = target else { continue };
                let called = match node.end {
                    End::Call(..) | End::CallIndirect(_) => true,
                    End::Expect(_, _, Otherwise::Call(_)) => number == 1,
                    _ => false,
                };
                self.floats.ways_to[to].push((!called && node.is_code()).then_some(from));
            }
        }
    }

    /// At the start of a block, which has arithmetic if `wanted`.
    pub(super) fn begin_floats(&mut self, node: usize, wanted: bool) {
        if self.host_float.is_none() {
            return;
        }
        let known = self.known_before(node);
        (self.floats.up_to_date, self.plain) = (known.is_some(), known.unwrap_or_default());
        if wanted && !self.floats.up_to_date {
            self.reload_mxcsr();
            self.floats.up_to_date = true;
        }
    }

    fn known_before(&self, node: usize) -> Known {
        if self.shape.is_loop[node] {
            return None;
        }
        let mut known: Known = None;
        for way in &self.floats.ways_to[node] {
            let end = self.floats.at_end[(*way)?]?;
            known = Some(known.map_or(end, |known| std::array::from_fn(|slot| known[slot] & end[slot])));
        }
        known
    }

    /// At the end of a block.
    pub(super) fn end_floats(&mut self, node: usize) {
        if let Some(end) = self.floats.at_end.get_mut(node) {
            *end = self.floats.up_to_date.then_some(self.plain);
        }
    }

    /// Looks at MXCSR for what the host's arithmetic will do. Nothing is known of lanes then.
    pub(super) fn reload_mxcsr(&mut self) {
        self.plain = [0; 32];
        let Some(host) = self.host_float else { return };
        let at = self.mxcsr_at();
        self.w().i32_const(0).i32_load(at).local_tee(local::SCRATCH);
        self.w().i32_const(0x7fa0).i32_and().i32_const(0x1fa0).i32_eq().local_tee(host.rounds);
        // Noted before: invalid operation and overflow.
        self.w().local_get(local::SCRATCH).i32_const(9).i32_and().i32_const(9).i32_eq().i32_and();
        self.w().i32_const(1).i32_shl().local_get(host.rounds).i32_or().local_set(host.rounds);
        self.set_limits();
    }

    /// Sets the limits of results to what the local says that knows whether the host rounds.
    pub(super) fn set_limits(&mut self) {
        let Some(host) = self.host_float else { return };
        let values = [(host.single_limit, SINGLE_RANGE), (host.double_limit, DOUBLE_RANGE)];
        for (limit, value) in values {
            self.w().i32_const(value as i32).i32_const(0).local_get(host.rounds).select().local_set(limit);
        }
        if let Some(lanes) = host.lanes {
            let (least, limit) = (i32::MIN, i32::MIN.wrapping_add(SINGLE_RANGE as i32));
            self.w().i32_const(limit).i32_const(least).local_get(host.rounds).select();
            self.w().i32x4_splat().local_set(lanes.singles);
            let (least, limit) = (i64::MIN, i64::MIN.wrapping_add(i64::from(DOUBLE_RANGE) << 32));
            self.w().i64_const(limit).i64_const(least).local_get(host.rounds).select();
            self.w().i64x2_splat().local_set(lanes.doubles);
        }
    }

    /// Pushes whether the host rounds as the processor would.
    pub(super) fn push_host_rounds(&mut self) {
        match self.host_float {
            Some(host) => self.w().local_get(host.rounds).i32_const(1).i32_and(),
            None => self.w().i32_const(0),
        };
    }

    /// Pushes whether invalid operations and overflow have been noted, and the host rounds.
    pub(super) fn push_noted(&mut self) {
        match self.host_float {
            Some(host) => self.w().local_get(host.rounds).i32_const(1).i32_shr_u(),
            None => self.w().i32_const(0),
        };
    }

    /// Lets the rest of the block take the assist if lanes that one has written, or those of `others`, are denormal.
    pub(super) fn check_assists_result(&mut self, dst: VSlot, shape: Shape, scratch: u32, others: &[u32]) {
        let Some(host) = self.host_float else { return };
        self.operand(dst, shape);
        self.w().local_set(scratch).local_get(host.rounds).i32_const(0).i32_const(1);
        self.and_plain(scratch, shape);
        for value in others {
            self.and_plain(*value, shape);
        }
        self.w().select().local_set(host.rounds);
        self.set_limits();
    }
}
