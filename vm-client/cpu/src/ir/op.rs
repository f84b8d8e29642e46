//! The operations of the IR: one table gives each its name, its operands and what it does to flags.
//!
//! An [`Op`] is 16 bytes: a code that already contains the operand size, up to six small operand fields, and one 64-bit
//! immediate. Operands are numbered *slots*: guest registers, segment bases, a constant zero and the temporaries of one
//! instruction share one numbering ([`Slot`]), vectors have another ([`VSlot`]).
//!
//! Results of 8 and 16 bits replace the low bits of the destination, results of 32 bits clear its upper half; so an x86
//! register write is one operation. Sized operations ignore the bits of their inputs above the size.

/// A 64-bit integer value: a guest register, a segment base, zero, or a temporary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Slot(pub u8);

impl Slot {
    /// Always zero; never written.
    pub const ZERO: Slot = Slot(16);
    /// The first temporary.
    pub const FIRST_TEMP: u8 = 32;

    /// The slot of a general register by its encoding number.
    pub fn gpr(number: usize) -> Slot {
        debug_assert!(number < 16);
        Slot((number & 15) as u8)
    }
    /// The slot with the base address of a segment.
    pub fn segment_base(segment: usize) -> Slot {
        debug_assert!(segment < 6);
        Slot(17 + (segment as u8))
    }
    /// Whether the slot is a temporary, which lives no longer than one instruction.
    pub fn is_temp(self) -> bool {
        self.0 >= Slot::FIRST_TEMP
    }
    /// Whether the slot is a general register.
    pub fn is_gpr(self) -> bool {
        self.0 < 16
    }
}

/// A 128-bit value: an SSE register (0 to 15) or a vector temporary (16 to 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct VSlot(pub u8);

impl VSlot {
    /// The first vector temporary.
    pub const FIRST_TEMP: u8 = 16;
    /// How many vector slots there are.
    pub const COUNT: u8 = 32;
}

/// The size of an integer operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Size {
    B8,
    B16,
    B32,
    B64,
}

impl Size {
    /// The size of so many bytes.
    pub fn from_bytes(bytes: usize) -> Option<Size> {
        match bytes {
            1 => Some(Size::B8),
            2 => Some(Size::B16),
            4 => Some(Size::B32),
            8 => Some(Size::B64),
            _ => None,
        }
    }
    /// Bytes of the size.
    pub fn bytes(self) -> u8 {
        1 << self as u8
    }
    /// Bits of the size.
    pub fn bits(self) -> u32 {
        8 << self as u32
    }
}

/// A condition as instructions encode it; the lowest bit inverts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the architecture's own")]
#[repr(u8)]
pub enum Cond {
    O,
    No,
    B,
    Ae,
    E,
    Ne,
    Be,
    A,
    S,
    Ns,
    P,
    Np,
    L,
    Ge,
    Le,
    G,
}

impl Cond {
    /// All conditions by number.
    pub const ALL: [Cond; 16] = [
        Cond::O,
        Cond::No,
        Cond::B,
        Cond::Ae,
        Cond::E,
        Cond::Ne,
        Cond::Be,
        Cond::A,
        Cond::S,
        Cond::Ns,
        Cond::P,
        Cond::Np,
        Cond::L,
        Cond::Ge,
        Cond::Le,
        Cond::G,
    ];
}

/// How an operation uses its operand fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `dst <- b + imm`
    Move,
    /// `dst <- a, b + imm`
    Binary,
    /// `a, b + imm`
    Compare,
    /// `dst <- a`
    Unary,
    /// `dst <- a, b, shifted by c + imm`
    Double,
    /// `dst <- (c != 0) ? a : b`
    Select,
    /// `dst <- condition c`
    Set,
    /// `dst <- condition c ? a : dst`
    CondMove,
    /// `dst <- memory[a + imm]`
    Load,
    /// `dst <- memory[d + a + (b << c) + imm]`
    LoadIndexed,
    /// `memory[a + imm] <- dst`
    Store,
    /// `memory[d + a + (b << c) + imm] <- dst`
    StoreIndexed,
    /// `memory[d + a + (b << c) + low half of imm] <- high half of imm`
    StoreImm,
    /// `dst <- a + (b << c) + imm`, without segment base
    Address,
    /// Traps unless `dst` (a number) bytes at `d + a + (b << c) + imm` can be stored to.
    Check,
    /// `vector dst <- vector a`
    VMove,
    /// `vector dst <- memory[d + a + (b << c) + imm]`
    VLoad,
    /// `memory[d + a + (b << c) + imm] <- vector dst`
    VStore,
    /// `dst <- vector a`
    VGet,
    /// `vector dst <- a`
    VPut,
    /// `dst <- flags`
    ReadFlags,
    /// `flags under mask imm <- a`
    WriteFlags,
    /// One flag from `a`.
    FlagBit,
    /// The assist with number `e << 8 | d`, operands `dst a b c imm`.
    Assist,
    /// Goes on at `imm`.
    Jump,
    /// Goes on at the address in `a`.
    JumpReg,
    /// Goes on at `imm` if the condition in the code holds, else behind the block.
    Branch,
    /// Goes on at `imm` depending on `a`, else behind the block.
    BranchReg,
    /// Leaves the engine, reason in `c`; the instruction pointer becomes `imm`.
    Exit,
    /// Several operations in one; only the interpreter makes them, in its own copy of a block.
    Fused,
}

/// What an operation does to the six arithmetic flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagUse {
    /// Nothing.
    None,
    /// Reads some.
    Reads,
    /// Replaces all without reading any.
    Sets,
    /// Replaces some (or, for a shift by zero, none).
    Updates,
}

macro_rules! codes {
    ($($text:literal $form:ident $flags:ident { $($code:ident $size:ident),* $(,)? })*) => {
        /// What an operation does, operand size included.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[expect(missing_docs, reason = "the table in this file and the forms say it")]
        #[repr(u16)]
        pub enum Code { $($($code),*),* }

        impl Code {
            /// All codes in order.
            pub const ALL: &[Code] = &[$($(Code::$code),*),*];

            /// Name, size, form and flag use, from the table.
            pub fn info(self) -> Info {
                match self {
                    $($(Code::$code => Info {
                        name: $text, size: Size::$size, form: Form::$form, flags: FlagUse::$flags,
                    }),*),*
                }
            }
        }
    };
}

/// The row of a code in the table.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Name without size.
    pub name: &'static str,
    /// Operand size; of the destination where two sizes are involved.
    pub size: Size,
    /// Use of the operand fields.
    pub form: Form,
    /// Effect on flags.
    pub flags: FlagUse,
}

codes! {
    "mov"   Move    None    { Mov8 B8, Mov16 B16, Mov32 B32, Mov64 B64 }
    "add"   Binary  None    { Add8 B8, Add16 B16, Add32 B32, Add64 B64 }
    "sub"   Binary  None    { Sub8 B8, Sub16 B16, Sub32 B32, Sub64 B64 }
    "and"   Binary  None    { And8 B8, And16 B16, And32 B32, And64 B64 }
    "or"    Binary  None    { Or8 B8, Or16 B16, Or32 B32, Or64 B64 }
    "xor"   Binary  None    { Xor8 B8, Xor16 B16, Xor32 B32, Xor64 B64 }
    "adc"   Binary  Reads   { Adc8 B8, Adc16 B16, Adc32 B32, Adc64 B64 }
    "sbb"   Binary  Reads   { Sbb8 B8, Sbb16 B16, Sbb32 B32, Sbb64 B64 }
    "shl"   Binary  None    { Shl8 B8, Shl16 B16, Shl32 B32, Shl64 B64 }
    "shr"   Binary  None    { Shr8 B8, Shr16 B16, Shr32 B32, Shr64 B64 }
    "sar"   Binary  None    { Sar8 B8, Sar16 B16, Sar32 B32, Sar64 B64 }
    "rol"   Binary  None    { Rol8 B8, Rol16 B16, Rol32 B32, Rol64 B64 }
    "ror"   Binary  None    { Ror8 B8, Ror16 B16, Ror32 B32, Ror64 B64 }
    "mul"   Binary  None    { Mul16 B16, Mul32 B32, Mul64 B64 }
    "addf"  Binary  Sets    { AddF8 B8, AddF16 B16, AddF32 B32, AddF64 B64 }
    "subf"  Binary  Sets    { SubF8 B8, SubF16 B16, SubF32 B32, SubF64 B64 }
    "andf"  Binary  Sets    { AndF8 B8, AndF16 B16, AndF32 B32, AndF64 B64 }
    "orf"   Binary  Sets    { OrF8 B8, OrF16 B16, OrF32 B32, OrF64 B64 }
    "xorf"  Binary  Sets    { XorF8 B8, XorF16 B16, XorF32 B32, XorF64 B64 }
    "cmpf"  Compare Sets    { CmpF8 B8, CmpF16 B16, CmpF32 B32, CmpF64 B64 }
    "testf" Compare Sets    { TestF8 B8, TestF16 B16, TestF32 B32, TestF64 B64 }
    "adcf"  Binary  Updates { AdcF8 B8, AdcF16 B16, AdcF32 B32, AdcF64 B64 }
    "sbbf"  Binary  Updates { SbbF8 B8, SbbF16 B16, SbbF32 B32, SbbF64 B64 }
    "incf"  Unary   Updates { IncF8 B8, IncF16 B16, IncF32 B32, IncF64 B64 }
    "decf"  Unary   Updates { DecF8 B8, DecF16 B16, DecF32 B32, DecF64 B64 }
    "shlf"  Binary  Updates { ShlF8 B8, ShlF16 B16, ShlF32 B32, ShlF64 B64 }
    "shrf"  Binary  Updates { ShrF8 B8, ShrF16 B16, ShrF32 B32, ShrF64 B64 }
    "sarf"  Binary  Updates { SarF8 B8, SarF16 B16, SarF32 B32, SarF64 B64 }
    "rolf"  Binary  Updates { RolF8 B8, RolF16 B16, RolF32 B32, RolF64 B64 }
    "rorf"  Binary  Updates { RorF8 B8, RorF16 B16, RorF32 B32, RorF64 B64 }
    "rclf"  Binary  Updates { RclF8 B8, RclF16 B16, RclF32 B32, RclF64 B64 }
    "rcrf"  Binary  Updates { RcrF8 B8, RcrF16 B16, RcrF32 B32, RcrF64 B64 }
    "rcl"   Binary  Reads   { Rcl8 B8, Rcl16 B16, Rcl32 B32, Rcl64 B64 }
    "rcr"   Binary  Reads   { Rcr8 B8, Rcr16 B16, Rcr32 B32, Rcr64 B64 }
    "mulf"  Binary  Sets    { MulF16 B16, MulF32 B32, MulF64 B64 }
    "shldf" Double  Updates { ShldF16 B16, ShldF32 B32, ShldF64 B64 }
    "shrdf" Double  Updates { ShrdF16 B16, ShrdF32 B32, ShrdF64 B64 }
    "shld"  Double  None    { Shld16 B16, Shld32 B32, Shld64 B64 }
    "shrd"  Double  None    { Shrd16 B16, Shrd32 B32, Shrd64 B64 }
    "bsff"  Binary  Updates { BsfF16 B16, BsfF32 B32, BsfF64 B64 }
    "bsrf"  Binary  Updates { BsrF16 B16, BsrF32 B32, BsrF64 B64 }
    "popcntf" Unary Sets    { PopcntF16 B16, PopcntF32 B32, PopcntF64 B64 }
    "bswap" Unary   None    { Bswap16 B16, Bswap32 B32, Bswap64 B64 }
    "eq"    Binary  None    { Eq8 B8, Eq16 B16, Eq32 B32, Eq64 B64 }
    "zx8"   Unary   None    { Zx8 B64 }
    "zx16"  Unary   None    { Zx16 B64 }
    "sx8"   Unary   None    { Sx8To16 B16, Sx8To32 B32, Sx8To64 B64 }
    "sx16"  Unary   None    { Sx16To32 B32, Sx16To64 B64 }
    "sx32"  Unary   None    { Sx32To64 B64 }
    "geth"  Unary   None    { GetH B8 }
    "seth"  Unary   None    { SetH B8 }
    "select" Select None    { Select B64 }
    "set"   Set     Reads   { SetCc B8 }
    "cmov"  CondMove Reads  { Cmov16 B16, Cmov32 B32, Cmov64 B64 }
    "load"  Load    None    { Load8 B8, Load16 B16, Load32 B32, Load64 B64 }
    "load"  LoadIndexed None { LoadX8 B8, LoadX16 B16, LoadX32 B32, LoadX64 B64 }
    "store" Store   None    { Store8 B8, Store16 B16, Store32 B32, Store64 B64 }
    "store" StoreIndexed None { StoreX8 B8, StoreX16 B16, StoreX32 B32, StoreX64 B64 }
    "store" StoreImm None   { StoreI8 B8, StoreI16 B16, StoreI32 B32, StoreI64 B64 }
    "lea"   Address None    { Lea16 B16, Lea32 B32, Lea64 B64 }
    "check" Check   None    { CheckStore B8 }
    "vmov"  VMove   None    { VMov B64 }
    "vload8" VLoad  None    { VLoad8 B8 }
    "vload16" VLoad None    { VLoad16 B16 }
    "vload32" VLoad None    { VLoad32 B32 }
    "vload64" VLoad None    { VLoad64 B64 }
    "vload128" VLoad None   { VLoad128 B64 }
    "vloada128" VLoad None  { VLoadA128 B64 }
    "vstore32" VStore None  { VStore32 B32 }
    "vstore64" VStore None  { VStore64 B64 }
    "vstore128" VStore None { VStore128 B64 }
    "vstorea128" VStore None { VStoreA128 B64 }
    "vget"  VGet    None    { VGet32 B32, VGet64 B64 }
    "vgethi" VGet   None    { VGetHi64 B64 }
    "vput"  VPut    None    { VPut32 B32, VPut64 B64 }
    "readflags" ReadFlags Reads { ReadFlags B32 }
    "writeflags" WriteFlags Updates { WriteFlags B32 }
    "setcf" FlagBit Updates { SetCf B8 }
    "setzf" FlagBit Updates { SetZf B8 }
    "assist" Assist Updates { Assist B64 }
    "jump"  Jump    None    { Jump B64 }
    "jump"  JumpReg None    { JumpReg B64 }
    "br.o"  Branch  Reads   { BrO B64 }
    "br.no" Branch  Reads   { BrNo B64 }
    "br.b"  Branch  Reads   { BrB B64 }
    "br.ae" Branch  Reads   { BrAe B64 }
    "br.e"  Branch  Reads   { BrE B64 }
    "br.ne" Branch  Reads   { BrNe B64 }
    "br.be" Branch  Reads   { BrBe B64 }
    "br.a"  Branch  Reads   { BrA B64 }
    "br.s"  Branch  Reads   { BrS B64 }
    "br.ns" Branch  Reads   { BrNs B64 }
    "br.p"  Branch  Reads   { BrP B64 }
    "br.np" Branch  Reads   { BrNp B64 }
    "br.l"  Branch  Reads   { BrL B64 }
    "br.ge" Branch  Reads   { BrGe B64 }
    "br.le" Branch  Reads   { BrLe B64 }
    "br.g"  Branch  Reads   { BrG B64 }
    "br.nz" BranchReg None  { BrNz B64 }
    "br.z"  BranchReg None  { BrZ B64 }
    "exit"  Exit    None    { Exit B64 }
    "push"  Fused   None    { Push B32 }
    "pop"   Fused   None    { Pop B32 }
    "call"  Fused   None    { Call B32 }
    "return" Fused  None    { Return B32 }
    "cmp.br.e" Fused Sets   { CmpBrE B32 }
    "cmp.br.ne" Fused Sets  { CmpBrNe B32 }
    "cmp.br.b" Fused Sets   { CmpBrB B32 }
    "cmp.br.ae" Fused Sets  { CmpBrAe B32 }
    "cmp.br.be" Fused Sets  { CmpBrBe B32 }
    "cmp.br.a" Fused Sets   { CmpBrA B32 }
    "cmp.br.l" Fused Sets   { CmpBrL B32 }
    "cmp.br.ge" Fused Sets  { CmpBrGe B32 }
    "cmp.br.le" Fused Sets  { CmpBrLe B32 }
    "cmp.br.g" Fused Sets   { CmpBrG B32 }
    "test.br.e" Fused Sets  { TestBrE B32 }
    "test.br.ne" Fused Sets { TestBrNe B32 }
    "test.br.s" Fused Sets  { TestBrS B32 }
    "test.br.ns" Fused Sets { TestBrNs B32 }
    "test.br.le" Fused Sets { TestBrLe B32 }
    "test.br.g" Fused Sets  { TestBrG B32 }
}

/// One operation. What the fields mean is the code's [`Form`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "the forms say what each field means")]
#[repr(C)]
pub struct Op {
    pub code: Code,
    pub dst: u8,
    pub a: u8,
    pub b: u8,
    pub c: u8,
    pub d: u8,
    pub e: u8,
    pub imm: i64,
}

impl Op {
    /// An operation with all operands zero-valued: slots [`Slot::ZERO`], numbers 0.
    pub fn new(code: Code) -> Op {
        let zero = Slot::ZERO.0;
        Op { code, dst: zero, a: zero, b: zero, c: 0, d: zero, e: 0, imm: 0 }
    }

    /// The number of the assist that an [`Code::Assist`] calls.
    pub fn assist_number(self) -> u16 {
        u16::from_le_bytes([self.d, self.e])
    }

    /// The displacement of a [`Form::StoreImm`].
    pub fn store_disp(self) -> i64 {
        i64::from(self.imm as i32)
    }

    /// The value of a [`Form::StoreImm`], and the target of a fused branch.
    pub fn store_value(self) -> i64 {
        self.imm >> 32
    }
}

/// Why an [`Code::Exit`] leaves, as the field `c` holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the engine's exits")]
#[repr(u8)]
pub enum ExitReason {
    Int80,
    Sysenter,
    Syscall,
    ReadTsc,
    ReadTscp,
    /// Faults: the instruction does not count as finished.
    InvalidOpcode,
    Protection,
    /// Traps: the instruction is finished.
    Breakpoint,
    Int1,
    /// Nothing to tell the caller: the instruction changed what the engine assumed (segment bases, the trap flag).
    Resync,
}

impl ExitReason {
    /// All reasons by number.
    pub const ALL: [ExitReason; 10] = [
        ExitReason::Int80,
        ExitReason::Sysenter,
        ExitReason::Syscall,
        ExitReason::ReadTsc,
        ExitReason::ReadTscp,
        ExitReason::InvalidOpcode,
        ExitReason::Protection,
        ExitReason::Breakpoint,
        ExitReason::Int1,
        ExitReason::Resync,
    ];

    /// Whether the instruction counts as not executed.
    pub fn is_fault(self) -> bool {
        matches!(self, ExitReason::InvalidOpcode | ExitReason::Protection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_is_sixteen_bytes() {
        assert_eq!(size_of::<Op>(), 16);
    }

    #[test]
    fn numbers_of_conditions_and_reasons_are_their_positions() {
        assert!(Cond::ALL.iter().enumerate().all(|(i, &c)| c as usize == i));
        assert!(ExitReason::ALL.iter().enumerate().all(|(i, &r)| r as usize == i));
        assert!(Code::ALL.iter().enumerate().all(|(i, &c)| c as usize == i));
    }
}
