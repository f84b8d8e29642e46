//! The machine state a case starts from and ends with.

/// Bytes of the memory window a case may use.
pub const WINDOW: usize = 1024;
/// Bytes of the stack a case may use.
pub const STACK: usize = 256;
/// Where the stack bytes are.
pub const STACK_BASE: u32 = 0x2003_0780;
/// Where code is put unless the form says otherwise.
pub const CODE_BASE: u32 = 0x1000_0100;
/// First byte of the two writable, executable code pages.
pub const CODE_PAGES: u32 = 0x1000_0000;

/// Registers, flags, floating-point state and memory; and how the code ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// General registers in encoding order.
    pub gpr: [u32; 8],
    /// Instruction pointer.
    pub eip: u32,
    /// Flags.
    pub eflags: u32,
    /// Selectors of es, ds, fs, gs.
    pub seg: [u16; 4],
    /// x87 control word.
    pub fcw: u16,
    /// x87 status word with TOP.
    pub fsw: u16,
    /// Abridged tag word: a set bit for each physical register that is not empty.
    pub ftw: u8,
    /// Physical x87 registers: significand, sign and exponent.
    pub st: [(u64, u16); 8],
    /// SSE control and status.
    pub mxcsr: u32,
    /// SSE registers.
    pub xmm: [u128; 8],
    /// Address of the memory window.
    pub window_base: u32,
    /// Content of the memory window.
    pub window: [u8; WINDOW],
    /// Content of the stack.
    pub stack: [u8; STACK],
    /// The exception that ended the code (3 is the breakpoint behind it).
    pub trap: u8,
    /// Its error code, for page faults (only the write and fetch bits and the protection bit are kept).
    pub error: u8,
    /// The address of a page fault.
    pub cr2: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            gpr: [0; 8],
            eip: CODE_BASE,
            eflags: 0x202,
            seg: [0x2b, 0x2b, 0x6b, 0x73],
            fcw: 0x37f,
            fsw: 0,
            ftw: 0,
            st: [(0, 0); 8],
            mxcsr: 0x1f80,
            xmm: [0; 8],
            window_base: 0x2000_0680,
            window: [0; WINDOW],
            stack: [0; STACK],
            trap: 3,
            error: 0,
            cr2: 0,
        }
    }
}

/// What part of the window from `base` on can be written; behind it is a read-only page or none.
pub fn writable_window(base: u32) -> usize {
    let limit = match base {
        0x2001_0000..=0x2001_0fff => 0x2001_1000,
        0x2002_0000..=0x2002_0fff => 0x2002_1000,
        _ => return WINDOW,
    };
    WINDOW.min((limit - base) as usize)
}

/// The byte at an address of the read-only page.
pub fn read_only_byte(addr: u32) -> u8 {
    (addr.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

impl State {
    /// The FXSAVE image of this state.
    pub fn fx_image(&self) -> [u8; 512] {
        let mut image = [0; 512];
        image[0..2].copy_from_slice(&self.fcw.to_le_bytes());
        image[2..4].copy_from_slice(&self.fsw.to_le_bytes());
        image[4] = self.ftw;
        image[24..28].copy_from_slice(&self.mxcsr.to_le_bytes());
        image[28..32].copy_from_slice(&0x2ffffu32.to_le_bytes());
        let top = usize::from(self.fsw >> 11 & 7);
        for i in 0..8 {
            let (mantissa, sign_exponent) = self.st[(top + i) % 8];
            let at = 32 + 16 * i;
            image[at..at + 8].copy_from_slice(&mantissa.to_le_bytes());
            image[at + 8..at + 10].copy_from_slice(&sign_exponent.to_le_bytes());
            let at = 160 + 16 * i;
            image[at..at + 16].copy_from_slice(&self.xmm[i].to_le_bytes());
        }
        image
    }

    /// Takes the floating-point state from an FXSAVE image.
    pub fn set_fx_image(&mut self, image: &[u8]) {
        let bytes = |at: usize, n: usize| {
            let mut value = 0u128;
            for i in (0..n).rev() {
                value = value << 8 | u128::from(image[at + i]);
            }
            value
        };
        self.fcw = bytes(0, 2) as u16;
        self.fsw = bytes(2, 2) as u16;
        self.ftw = image[4];
        self.mxcsr = bytes(24, 4) as u32;
        let top = usize::from(self.fsw >> 11 & 7);
        for i in 0..8 {
            self.st[(top + i) % 8] = (bytes(32 + 16 * i, 8) as u64, bytes(40 + 16 * i, 2) as u16);
            self.xmm[i] = bytes(160 + 16 * i, 16);
        }
    }
}
