//! The architectural state of one guest thread.

use std::cell::RefCell;
use std::rc::Rc;

/// Register numbers as instructions encode them.
pub mod reg {
    #![expect(missing_docs, reason = "the names are the architecture's own")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
}

/// Which instruction set the thread runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// 32-bit protected mode, flat segments.
    #[default]
    I386,
    /// 64-bit mode.
    X86_64,
}

/// Segment registers in encoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the architecture's own")]
pub enum Segment {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

/// A segment register: the visible selector and the cached base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The visible part.
    pub selector: u16,
    /// The cached base address.
    pub base: u64,
}

/// A descriptor of a segment: one of the three thread-local ones of the GDT, as `set_thread_area(2)` sets them, or of the
/// [`Ldt`]. The selectors are those of an x86-64 Linux kernel running a 32-bit program: GDT entries 12, 13, 14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsDescriptor {
    /// Whether the entry may be loaded.
    pub present: bool,
    /// Base address.
    pub base: u32,
    /// Limit, in the unit the flags say.
    pub limit: u32,
    /// The flag bits of `struct user_desc` (seg_32bit is bit 0), kept to be read back.
    pub flags: u32,
}

impl TlsDescriptor {
    /// The bits of `flags`: the size of code and of the stack, the kind of segment (2 bits), no writing or no reading,
    /// the limit in pages.
    const BIG: u32 = 1;
    const KIND: u32 = 6;
    const ONE_WAY: u32 = 8;
    const IN_PAGES: u32 = 16;
    const AVAILABLE: u32 = 64;

    /// Whether code may be fetched through it.
    pub fn is_code(&self) -> bool {
        self.flags & Self::KIND == 4 || self.flags & Self::KIND == 6
    }

    /// Whether code in it is 32-bit code.
    pub fn is_big(&self) -> bool {
        self.flags & Self::BIG != 0
    }

    /// Whether data can be read through it.
    pub fn is_readable(&self) -> bool {
        !self.is_code() || self.flags & Self::ONE_WAY == 0
    }

    /// Whether data can be written through it.
    pub fn is_writable(&self) -> bool {
        !self.is_code() && self.flags & Self::ONE_WAY == 0
    }

    /// The last byte that belongs to it (of a segment that grows down: the last that does not).
    pub fn byte_limit(&self) -> u32 {
        if self.flags & Self::IN_PAGES != 0 { self.limit << 12 | 0xfff } else { self.limit }
    }

    /// The upper half of the descriptor in memory, without its base (Intel SDM volume 3, figure 3-8): it is marked as
    /// accessed and its privilege is the user's.
    pub fn attributes(&self) -> u32 {
        let bit = |flag: u32, at: u32| if self.flags & flag != 0 { 1 << at } else { 0 };
        let writable = if self.flags & Self::ONE_WAY == 0 { 1 << 9 } else { 0 };
        let kind = (self.flags & Self::KIND) << 9;
        let present = if self.present { 0x8000 } else { 0 };
        let sizes = bit(Self::BIG, 22) | bit(Self::IN_PAGES, 23) | bit(Self::AVAILABLE, 20);
        0x7100 | present | kind | writable | sizes | (self.limit & 0xf_0000)
    }

    /// The descriptor as it is in memory.
    pub fn encode(&self) -> u64 {
        let low = u64::from(self.limit & 0xffff) | u64::from(self.base & 0xffff) << 16;
        let high = self.attributes() | (self.base >> 16 & 0xff) | (self.base & 0xff00_0000);
        low | u64::from(high) << 32
    }
}

/// A local descriptor table (modify_ldt(2)), shared by the threads of a process.
#[derive(Clone, Debug, Default)]
pub struct Ldt(Rc<RefCell<Vec<Option<TlsDescriptor>>>>);

impl Ldt {
    /// The most entries there can be.
    pub const ENTRIES: usize = 8192;

    /// The bit of a selector that asks for this table and not for the global one.
    pub const INDICATOR: u16 = 4;

    /// An entry that was set.
    pub fn get(&self, index: usize) -> Option<TlsDescriptor> {
        self.0.borrow().get(index).copied().flatten()
    }

    /// Sets an entry, or clears it. Registers that hold its selector keep what they have loaded.
    pub fn set(&self, index: usize, entry: Option<TlsDescriptor>) {
        let mut entries = self.0.borrow_mut();
        if index < Self::ENTRIES {
            if entries.len() <= index {
                entries.resize(index + 1, None);
            }
            entries[index] = entry;
        }
    }

    /// How many entries the table is long.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether no entry was ever set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same entries for a process of its own.
    pub fn duplicate(&self) -> Ldt {
        Ldt(Rc::new(RefCell::new(self.0.borrow().clone())))
    }
}

/// An 80-bit extended-precision number as the x87 stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct F80 {
    /// The significand with its explicit integer bit.
    pub mantissa: u64,
    /// Sign in bit 15, biased exponent in bits 14 to 0.
    pub sign_exponent: u16,
}

/// The x87 unit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Fpu {
    /// Physical registers R0 to R7 (not ST-relative). MMX registers are their mantissas.
    pub regs: [F80; 8],
    /// Control word.
    pub control: u16,
    /// Status word without TOP, which is in `top`.
    pub status: u16,
    /// Physical number of ST(0).
    pub top: u8,
    /// One bit per physical register: set when not empty (the abridged tag word of FXSAVE).
    pub valid: u8,
    /// Opcode of the last x87 instruction, 11 bits.
    pub last_opcode: u16,
    /// Address of the last x87 instruction.
    pub last_ip: u64,
    /// Address of its memory operand.
    pub last_data: u64,
}

impl Default for Fpu {
    /// The state after `fninit`.
    fn default() -> Self {
        Self {
            regs: [F80::default(); 8],
            control: 0x037f,
            status: 0,
            top: 0,
            valid: 0,
            last_opcode: 0,
            last_ip: 0,
            last_data: 0,
        }
    }
}

/// The debug registers (Intel SDM volume 3, section 17.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegisters {
    /// DR0 to DR3.
    pub address: [u64; 4],
    /// DR6. Engines do not write it: they say what was hit when they stop.
    pub status: u32,
    /// DR7.
    pub control: u32,
}

impl DebugRegisters {
    /// Whether any breakpoint is enabled, locally or globally.
    pub fn armed(&self) -> bool {
        self.control & 0xff != 0
    }

    /// The enabled ones: number, address, length in bytes, and what they watch for (`R/W` in DR7: 0 execution, 1 stores,
    /// 3 loads and stores).
    pub fn enabled(&self) -> impl Iterator<Item = (u8, u64, u64, u32)> + '_ {
        (0..4u8).zip(self.address).filter_map(|(index, address)| {
            let field = |shift: u32| self.control >> (shift + 4 * u32::from(index)) & 3;
            let on = self.control >> (2 * u32::from(index)) & 3 != 0;
            let length = [1, 2, 8, 4][field(18) as usize];
            on.then_some((index, address & !(length - 1), length, field(16)))
        })
    }
}

/// The registers of one guest thread.
///
/// Plain data: the kernel, ptrace and signal frames read and write it between runs. General registers are 64 bits wide in
/// either mode; in 32-bit mode the upper halves are zero.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// General registers in encoding order, see [`reg`].
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags in architectural layout. Engines may keep them lazily while running; between runs they are exact.
    pub eflags: u32,
    /// Segment registers, indexed by [`Segment`].
    pub segments: [Selector; 6],
    /// Descriptors that `mov %reg, %gs` and friends load from.
    pub tls: [TlsDescriptor; 3],
    /// The local ones, of a process that has made some.
    pub ldt: Option<Ldt>,
    /// The x87 unit.
    pub fpu: Fpu,
    /// SSE registers.
    pub xmm: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// The debug registers.
    pub debug: DebugRegisters,
    /// Instruction set.
    pub mode: Mode,
    /// Instructions finished since the thread began.
    pub retired: u64,
}

impl Default for Cpu {
    /// The state Linux starts an i386 program with.
    fn default() -> Self {
        let data = Selector { selector: 0x2b, base: 0 };
        let null = Selector::default();
        let code = Selector { selector: 0x23, base: 0 };
        Self {
            gpr: [0; 16],
            rip: 0,
            eflags: 0x202,
            segments: [data, code, data, data, null, null],
            tls: [TlsDescriptor::default(); 3],
            ldt: None,
            fpu: Fpu::default(),
            xmm: [0; 16],
            mxcsr: 0x1f80,
            debug: DebugRegisters::default(),
            mode: Mode::I386,
            retired: 0,
        }
    }
}
