//! The working state of a running engine: the [`Cpu`] in the shape that operations want.

use vm_mem::PageFault;

use crate::flags::Flags;
use crate::ir::{Segments, Slot};
use crate::{Cpu, DebugRegisters, Exception, Fpu, Ldt, Mode, Segment, Selector, TlsDescriptor};

/// Why an operation could not be done or must not be followed by the next instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// A memory access failed; nothing has changed.
    Fault(PageFault),
    /// A fault: nothing has changed, the instruction pointer stays.
    Exception(Exception),
    /// A trap: the instruction is finished, the instruction pointer is behind it.
    After(Exception),
    /// No trap: the instruction is finished, and code goes on at this place of another code segment.
    Transferred(u64),
}

impl From<PageFault> for Trap {
    fn from(fault: PageFault) -> Trap {
        Trap::Fault(fault)
    }
}

impl From<Exception> for Trap {
    fn from(exception: Exception) -> Trap {
        Trap::Exception(exception)
    }
}

/// State while guest code runs. Slots index `regs` (see [`Slot`]), vector slots index `vec`. Generated code reads and
/// writes it in place.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Core {
    /// Integer slots. As many as a byte can number, so that no access is checked.
    pub regs: [u64; 256],
    /// Vector slots.
    pub vec: [u128; 32],
    /// The flags.
    pub flags: Flags,
    /// The x87 unit.
    pub fpu: Fpu,
    /// SSE control and status.
    pub mxcsr: u32,
    /// Visible parts of the segment registers.
    pub selectors: [u16; 6],
    /// Thread-local descriptors.
    pub tls: [TlsDescriptor; 3],
    /// The debug registers.
    pub debug: DebugRegisters,
    /// The resume flag: no breakpoint stops the first instruction.
    pub resume: bool,
    /// Instruction set.
    pub mode: Mode,
    /// Where to go on; only meaningful between blocks.
    pub rip: u64,
    /// Instructions that may still be run; counted down at the end of each block.
    pub fuel: i64,
    /// What repeated string instructions took from `fuel` beyond their own instruction.
    pub string_fuel: i64,
    /// All ones up to the width of an address.
    pub address_mask: u64,
    /// Local descriptors.
    pub ldt: Option<Ldt>,
    /// The instruction that was finished last moved or popped to the stack segment: no single-step trap comes between it
    /// and the next one, so that a stack can be changed as a whole (SDM volume 3, section 6.8.3).
    pub stack_loaded: bool,
}

impl Default for Core {
    fn default() -> Self {
        Self::new()
    }
}

impl Core {
    /// A core with nothing in it.
    pub fn new() -> Core {
        Core {
            regs: [0; 256],
            vec: [0; 32],
            flags: Flags::default(),
            fpu: Fpu::default(),
            mxcsr: 0x1f80,
            selectors: [0; 6],
            tls: [TlsDescriptor::default(); 3],
            debug: DebugRegisters::default(),
            resume: false,
            mode: Mode::I386,
            rip: 0,
            fuel: 0,
            string_fuel: 0,
            address_mask: 0xffff_ffff,
            ldt: None,
            stack_loaded: false,
        }
    }

    /// Takes over a guest thread.
    pub fn enter(&mut self, cpu: &Cpu) {
        self.address_mask = match cpu.mode {
            Mode::I386 => 0xffff_ffff,
            Mode::X86_64 => u64::MAX,
        };
        for (slot, &value) in self.regs.iter_mut().zip(&cpu.gpr) {
            *slot = value & self.address_mask;
        }
        self.regs[usize::from(Slot::ZERO.0)] = 0;
        for (i, s) in cpu.segments.iter().enumerate() {
            self.regs[usize::from(Slot::segment_base(i).0)] = s.base & self.address_mask;
            self.selectors[i] = s.selector;
        }
        self.vec[..16].copy_from_slice(&cpu.xmm);
        self.flags = Flags::from_eflags(cpu.eflags);
        self.fpu.clone_from(&cpu.fpu);
        self.mxcsr = cpu.mxcsr;
        self.tls = cpu.tls;
        self.ldt.clone_from(&cpu.ldt);
        self.debug = cpu.debug;
        self.resume = cpu.eflags & 0x1_0000 != 0;
        self.mode = cpu.mode;
        self.rip = cpu.rip & self.address_mask;
    }

    /// Gives the state back.
    pub fn leave(&self, cpu: &mut Cpu) {
        cpu.gpr.copy_from_slice(&self.regs[..16]);
        for (i, s) in cpu.segments.iter_mut().enumerate() {
            *s = Selector { selector: self.selectors[i], base: self.regs[usize::from(Slot::segment_base(i).0)] };
        }
        cpu.xmm.copy_from_slice(&self.vec[..16]);
        cpu.eflags = self.flags.to_eflags();
        cpu.fpu.clone_from(&self.fpu);
        cpu.mxcsr = self.mxcsr;
        cpu.rip = self.rip;
    }

    /// A slot.
    #[inline(always)]
    pub fn get(&self, slot: u8) -> u64 {
        self.regs[usize::from(slot)]
    }

    /// Sets a slot, all 64 bits.
    #[inline(always)]
    pub fn set(&mut self, slot: u8, value: u64) {
        self.regs[usize::from(slot)] = value;
    }

    /// Sets a general register by size: 8 and 16 bits replace the low bits, 32 bits clear the upper half.
    pub fn set_sized(&mut self, slot: u8, bytes: u8, value: u64) {
        let r = &mut self.regs[usize::from(slot)];
        *r = match bytes {
            1 => (*r & !0xff) | (value & 0xff),
            2 => (*r & !0xffff) | (value & 0xffff),
            4 => value & 0xffff_ffff,
            _ => value,
        };
    }

    /// A vector slot.
    #[inline(always)]
    pub fn v(&self, slot: u8) -> u128 {
        self.vec[usize::from(slot & 31)]
    }

    /// Sets a vector slot.
    #[inline(always)]
    pub fn set_v(&mut self, slot: u8, value: u128) {
        self.vec[usize::from(slot & 31)] = value;
    }

    /// The local descriptor of the code segment, if code runs in one: then the instruction pointer counts from its base.
    pub fn local_code(&self) -> Option<TlsDescriptor> {
        let selector = self.selectors[Segment::Cs as usize];
        if selector & Ldt::INDICATOR == 0 {
            return None;
        }
        Some(self.ldt.as_ref().and_then(|ldt| ldt.get(usize::from(selector >> 3))).unwrap_or_default())
    }

    /// What blocks may take for granted of the segment registers.
    pub fn segments(&self) -> Segments {
        let null = |(i, s): (usize, &u16)| if *s & !3 == 0 { 1 << i } else { 0 };
        match self.mode {
            Mode::I386 => Segments {
                flat: (0..4).all(|s| self.regs[usize::from(Slot::segment_base(s).0)] == 0),
                null: self.selectors.iter().enumerate().map(null).sum(),
            },
            Mode::X86_64 => Segments { flat: true, null: 0 },
        }
    }
}
