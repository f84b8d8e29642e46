//! The border between the engine and whoever drives it.

use std::ops::Range;

use vm_mem::{FrameId, Mmu, PageFault};

use crate::Cpu;

/// How guest code asked for a system call. The instruction pointer is already behind the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `int 0x80`.
    Int80,
    /// `sysenter` (32-bit).
    Sysenter,
    /// `syscall` (64-bit).
    Syscall,
}

/// What raised a debug exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugCause {
    /// The trap flag was set when the last instruction began; the instruction pointer is behind it.
    SingleStep,
    /// `int1`; the instruction pointer is behind it.
    Int1,
    /// Breakpoints of DR0 to DR3 were hit, a bit for each. For accesses the instruction pointer is behind the instruction;
    /// for execution it is on it, and the next run must have the resume flag set to get past.
    Breakpoints(u8),
}

/// A processor exception other than a page fault (Intel SDM volume 3, table 6-1).
///
/// Faults leave the instruction pointer on the instruction; `Breakpoint` and `Overflow` are traps and leave it behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// #DE
    DivideError,
    /// #DB
    Debug(DebugCause),
    /// #BP, from `int3`.
    Breakpoint,
    /// #OF, from `into`.
    Overflow,
    /// #BR, from `bound`.
    BoundRange,
    /// #UD
    InvalidOpcode,
    /// #NP, with its error code.
    SegmentNotPresent(u16),
    /// #SS, with its error code.
    StackFault(u16),
    /// #GP
    Protection,
    /// #GP about a descriptor, with its error code.
    ProtectionOf(u16),
    /// #MF: an unmasked x87 exception is pending.
    FloatingPoint,
    /// #AC
    AlignmentCheck,
    /// #XM: an unmasked SSE exception.
    SimdFloatingPoint,
}

/// Why guest code stopped. Unless said otherwise state is exact: as before the instruction that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A system call; the instruction pointer is behind the instruction.
    Syscall(Gate),
    /// A memory access failed; after repairing the mapping the instruction is simply run again.
    Fault(PageFault),
    /// A processor exception.
    Exception(Exception),
    /// `rdtsc` or `rdtscp` was executed and the instruction pointer is behind it: the caller puts the counter into
    /// edx:eax (and, if `aux`, the processor number into ecx).
    ReadTsc {
        /// Whether the instruction was `rdtscp`.
        aux: bool,
    },
    /// The fuel is used up.
    OutOfFuel,
}

/// What an engine that compiles did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Time in the interpreter, in ns, as far as samples tell.
    pub interpreting_ns: u64,
    /// Time in the compiler, in ns.
    pub compiling_ns: u64,
    /// Instructions that were interpreted.
    pub interpreted: u64,
    /// Why compiled code was left, and how often.
    pub left: Vec<(&'static str, u64)>,
}

/// Something about code that was worth compiling, with addresses of the address space that was active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hot {
    /// Code was compiled that begins here.
    Start(u32),
    /// The block that begins here was part of it.
    Block(u32),
    /// A jump through a register led somewhere inside.
    Jump {
        /// The address behind the jump.
        behind: u32,
        /// Where it led.
        to: u32,
    },
}

/// What an earlier run found about the code in a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotPage {
    /// Offsets in the page where compiled code began.
    pub starts: Vec<u16>,
    /// Offsets of the blocks that were part of compiled code.
    pub blocks: Vec<u16>,
    /// Jumps through registers: the offset behind each (up to 4096), and how far from there it led.
    pub jumps: Vec<(u16, i32)>,
}

impl HotPage {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.blocks.is_empty() && self.jumps.is_empty()
    }
}

/// Runs guest code.
pub trait Engine {
    /// Runs at most about `fuel` instructions in the active address space of `mmu` and tells why it stopped.
    /// [`Cpu::retired`] counts the instructions finished.
    fn run(&mut self, cpu: &mut Cpu, mmu: &mut Mmu, fuel: u32) -> Exit;

    /// Drops everything derived from these bytes of a frame, because somebody other than running guest code changed them
    /// or the frame got a new use. Cheap when no code was ever cached from the frame.
    fn forget(&mut self, frame: FrameId, bytes: Range<u16>);

    /// What the engine counts, with names, for whoever wants to know where time goes.
    fn figures(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// What it did so far; nothing if it does not compile.
    fn work(&self) -> Option<Work> {
        None
    }

    /// Where the compiled code begins that an address of the active address space is part of; nothing if there is none.
    fn compiled_at(&self, _mmu: &Mmu, _address: u64) -> Option<u64> {
        None
    }

    /// What was compiled since this was asked last, in the address space of the last run.
    fn take_hot(&mut self) -> Vec<Hot> {
        Vec::new()
    }

    /// Tells what an earlier run found about the code in a frame, in place of what was told before. That it is used
    /// changes no result.
    fn expect(&mut self, _frame: FrameId, _page: HotPage) {}

    /// Instructions met that the engine does not know: name, and how often code with one was prepared.
    fn unknown_instructions(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}
