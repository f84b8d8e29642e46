//! The window around the stack pointer, and which registers point near it.

use vm_cpu::reg;
use vm_mem::Mmu;

use super::Inner;
use super::answers::window;
use crate::emit::StackRegisters;
use crate::plan::Region;

/// How far above the stack pointer a frame pointer is.
const FRAME_BYTES: u32 = 1 << 16;

impl Inner {
    /// Puts the window around the stack pointer; tells whether that was possible.
    pub(super) fn place_window(&mut self, mmu: &mut Mmu) -> bool {
        let stack = self.interpreter.core().regs[reg::RSP] as u32;
        let stamp = mmu.runs_stamp();
        if self.window_stamp == stamp && stack.wrapping_sub(self.state.window) < self.state.window_len {
            return true;
        }
        self.window_stamp = stamp;
        self.state.window_len = 0;
        if let Some(run) = window(mmu, stack, 1) {
            self.state.take_window(run);
            return true;
        }
        // Just below, the next push goes to another page.
        let below = window(mmu, stack.wrapping_sub(4), 1);
        below.map(|run| self.state.take_window(run)).is_some()
    }

    /// The registers, but for those of the stack, that point into it now.
    pub(super) fn near(&mut self) -> u8 {
        let core = self.interpreter.core();
        let stack = core.regs[reg::RSP] as u32;
        let points = |register: usize| (core.regs[register] as u32).wrapping_sub(stack) < FRAME_BYTES;
        (0..8).filter(|&r| r != reg::RSP && r != reg::RBP && points(r)).fold(0, |all, r| all | 1 << r)
    }

    /// Whether RBP points into the stack now.
    pub(super) fn is_framed(&mut self) -> bool {
        let core = self.interpreter.core();
        (core.regs[reg::RBP] as u32).wrapping_sub(core.regs[reg::RSP] as u32) < FRAME_BYTES
    }

    /// What points into the stack in a region, if RBP did when it was about to be run.
    pub(super) fn stack(&self, region: &Region, framed: bool) -> StackRegisters {
        let first = region.nodes.first().map(|node| (node.found.frame, node.start()));
        if first.is_some_and(|first| self.unfit.contains(&first)) {
            return StackRegisters::Unknown;
        }
        if framed { StackRegisters::Frame } else { StackRegisters::Pointer }
    }
}
