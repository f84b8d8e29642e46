//! Terminal settings (termios(3), tty_ioctl(4)), kernel layout of i386.
#![expect(missing_docs, reason = "the names are Linux's own")]

// c_iflag
pub const IGNBRK: u32 = 0o1;
pub const BRKINT: u32 = 0o2;
pub const IGNPAR: u32 = 0o4;
pub const PARMRK: u32 = 0o10;
pub const INPCK: u32 = 0o20;
pub const ISTRIP: u32 = 0o40;
pub const INLCR: u32 = 0o100;
pub const IGNCR: u32 = 0o200;
pub const ICRNL: u32 = 0o400;
pub const IUCLC: u32 = 0o1000;
pub const IXON: u32 = 0o2000;
pub const IXANY: u32 = 0o4000;
pub const IXOFF: u32 = 0o10_000;
pub const IMAXBEL: u32 = 0o20_000;
pub const IUTF8: u32 = 0o40_000;

// c_oflag
pub const OPOST: u32 = 0o1;
pub const OLCUC: u32 = 0o2;
pub const ONLCR: u32 = 0o4;
pub const OCRNL: u32 = 0o10;
pub const ONOCR: u32 = 0o20;
pub const ONLRET: u32 = 0o40;
pub const TABDLY: u32 = 0o14_000;
pub const XTABS: u32 = 0o14_000;

// c_cflag
pub const CBAUD: u32 = 0o10_017;
pub const B38400: u32 = 0o17;
pub const CSIZE: u32 = 0o60;
pub const CS8: u32 = 0o60;
pub const CREAD: u32 = 0o200;
pub const PARENB: u32 = 0o400;
pub const HUPCL: u32 = 0o2000;

// c_lflag
pub const ISIG: u32 = 0o1;
pub const ICANON: u32 = 0o2;
pub const XCASE: u32 = 0o4;
pub const ECHO: u32 = 0o10;
pub const ECHOE: u32 = 0o20;
pub const ECHOK: u32 = 0o40;
pub const ECHONL: u32 = 0o100;
pub const NOFLSH: u32 = 0o200;
pub const TOSTOP: u32 = 0o400;
pub const ECHOCTL: u32 = 0o1000;
pub const ECHOPRT: u32 = 0o2000;
pub const ECHOKE: u32 = 0o4000;
pub const IEXTEN: u32 = 0o100_000;
pub const EXTPROC: u32 = 0o200_000;

// indices into c_cc
pub const VINTR: usize = 0;
pub const VQUIT: usize = 1;
pub const VERASE: usize = 2;
pub const VKILL: usize = 3;
pub const VEOF: usize = 4;
pub const VTIME: usize = 5;
pub const VMIN: usize = 6;
pub const VSTART: usize = 8;
pub const VSTOP: usize = 9;
pub const VSUSP: usize = 10;
pub const VEOL: usize = 11;
pub const VREPRINT: usize = 12;
pub const VWERASE: usize = 14;
pub const VLNEXT: usize = 15;
pub const VEOL2: usize = 16;

/// Number of control characters the kernel keeps.
pub const NCCS: usize = 19;

// ioctl(2) requests of tty_ioctl(4)
pub const TCGETS: u32 = 0x5401;
pub const TCSETS: u32 = 0x5402;
pub const TCSETSW: u32 = 0x5403;
pub const TCSETSF: u32 = 0x5404;
pub const TCGETA: u32 = 0x5405;
pub const TCSETA: u32 = 0x5406;
pub const TCSETAW: u32 = 0x5407;
pub const TCSETAF: u32 = 0x5408;
pub const TCSBRK: u32 = 0x5409;
pub const TCXONC: u32 = 0x540a;
pub const TCFLSH: u32 = 0x540b;
pub const TIOCEXCL: u32 = 0x540c;
pub const TIOCNXCL: u32 = 0x540d;
pub const TIOCSCTTY: u32 = 0x540e;
pub const TIOCGPGRP: u32 = 0x540f;
pub const TIOCSPGRP: u32 = 0x5410;
pub const TIOCOUTQ: u32 = 0x5411;
pub const TIOCSTI: u32 = 0x5412;
pub const TIOCGWINSZ: u32 = 0x5413;
pub const TIOCSWINSZ: u32 = 0x5414;
pub const FIONREAD: u32 = 0x541b;
pub const TIOCCONS: u32 = 0x541d;
pub const TIOCPKT: u32 = 0x5420;
pub const TIOCNOTTY: u32 = 0x5422;
pub const TIOCSETD: u32 = 0x5423;
pub const TIOCGETD: u32 = 0x5424;
pub const TCSBRKP: u32 = 0x5425;
pub const TIOCSBRK: u32 = 0x5427;
pub const TIOCCBRK: u32 = 0x5428;
pub const TIOCGSID: u32 = 0x5429;
pub const TCGETS2: u32 = 0x802c_542a;
pub const TCSETS2: u32 = 0x402c_542b;
pub const TCSETSW2: u32 = 0x402c_542c;
pub const TCSETSF2: u32 = 0x402c_542d;
pub const TIOCGPTN: u32 = 0x8004_5430;
pub const TIOCSPTLCK: u32 = 0x4004_5431;
pub const TIOCGDEV: u32 = 0x8004_5432;
pub const TIOCSIG: u32 = 0x4004_5436;
pub const TIOCVHANGUP: u32 = 0x5437;
pub const TIOCGPKT: u32 = 0x8004_5438;
pub const TIOCGPTLCK: u32 = 0x8004_5439;
pub const TIOCGEXCL: u32 = 0x8004_5440;
pub const TIOCGPTPEER: u32 = 0x5441;
pub const TIOCGLCKTRMIOS: u32 = 0x5456;
pub const TIOCSLCKTRMIOS: u32 = 0x5457;

/// Terminal settings (`struct ktermios`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; NCCS],
    pub ispeed: u32,
    pub ospeed: u32,
}

impl Default for Termios {
    /// Linux's `tty_std_termios`.
    fn default() -> Self {
        let mut cc = [0; NCCS];
        cc[VINTR] = 3;
        cc[VQUIT] = 0x1c;
        cc[VERASE] = 0x7f;
        cc[VKILL] = 0x15;
        cc[VEOF] = 4;
        cc[VMIN] = 1;
        cc[VSTART] = 0x11;
        cc[VSTOP] = 0x13;
        cc[VSUSP] = 0x1a;
        cc[VREPRINT] = 0x12;
        cc[13] = 0x0f;
        cc[VWERASE] = 0x17;
        cc[VLNEXT] = 0x16;
        Self {
            iflag: ICRNL | IXON,
            oflag: OPOST | ONLCR,
            cflag: B38400 | CS8 | CREAD | HUPCL,
            lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            cc,
            ispeed: 38400,
            ospeed: 38400,
        }
    }
}

impl Termios {
    /// Bytes of `struct termios` (TCGETS).
    pub const SIZE: usize = 36;
    /// Bytes of `struct termios2` (TCGETS2).
    pub const SIZE2: usize = 44;
    /// Bytes of `struct termio` (TCGETA).
    pub const SIZE_TERMIO: usize = 18;

    /// Encodes `struct termios2`; its first [`Termios::SIZE`] bytes are `struct termios`.
    pub fn encode(&self) -> [u8; Self::SIZE2] {
        let mut out = [0; Self::SIZE2];
        for (at, flag) in [self.iflag, self.oflag, self.cflag, self.lflag].into_iter().enumerate() {
            out[at * 4..at * 4 + 4].copy_from_slice(&flag.to_le_bytes());
        }
        out[16] = self.line;
        out[17..36].copy_from_slice(&self.cc);
        out[36..40].copy_from_slice(&self.ispeed.to_le_bytes());
        out[40..44].copy_from_slice(&self.ospeed.to_le_bytes());
        out
    }

    /// Decodes `struct termios`, keeping the speeds.
    pub fn decode(&self, bytes: &[u8; Self::SIZE]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut cc = [0; NCCS];
        cc.copy_from_slice(&bytes[17..36]);
        Self { iflag: word(0), oflag: word(4), cflag: word(8), lflag: word(12), line: bytes[16], cc, ..*self }
    }

    /// No settings at all: as a set of locks (TIOCSLCKTRMIOS), that nothing is locked.
    pub const NONE: Self =
        Self { iflag: 0, oflag: 0, cflag: 0, lflag: 0, line: 0, cc: [0; NCCS], ispeed: 0, ospeed: 0 };

    /// These settings, but for what is locked: there the old ones stay.
    pub fn keeping(&self, locked: &Self, old: &Self) -> Self {
        let keep = |new: u32, old: u32, locked: u32| (new & !locked) | (old & locked);
        let mut cc = self.cc;
        for ((new, old), locked) in cc.iter_mut().zip(old.cc).zip(locked.cc) {
            if locked != 0 {
                *new = old;
            }
        }
        Self {
            iflag: keep(self.iflag, old.iflag, locked.iflag),
            oflag: keep(self.oflag, old.oflag, locked.oflag),
            cflag: keep(self.cflag, old.cflag, locked.cflag),
            lflag: keep(self.lflag, old.lflag, locked.lflag),
            line: if locked.line != 0 { old.line } else { self.line },
            cc,
            ..*self
        }
    }

    /// Encodes `struct termio`, which has 16-bit flags and 8 control characters.
    pub fn encode_termio(&self) -> [u8; Self::SIZE_TERMIO] {
        let mut out = [0; Self::SIZE_TERMIO];
        for (at, flag) in [self.iflag, self.oflag, self.cflag, self.lflag].into_iter().enumerate() {
            out[at * 2..at * 2 + 2].copy_from_slice(&(flag as u16).to_le_bytes());
        }
        out[8] = self.line;
        out[9..17].copy_from_slice(&self.cc[..8]);
        out
    }

    /// Decodes `struct termio` over these settings.
    pub fn decode_termio(&self, bytes: &[u8; Self::SIZE_TERMIO]) -> Self {
        let low = |at: usize, old: u32| (old & 0xffff_0000) | u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let mut cc = self.cc;
        cc[..8].copy_from_slice(&bytes[9..17]);
        Self {
            iflag: low(0, self.iflag),
            oflag: low(2, self.oflag),
            cflag: low(4, self.cflag),
            lflag: low(6, self.lflag),
            line: bytes[8],
            cc,
            ..*self
        }
    }
}

/// Terminal size (`struct winsize`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Winsize {
    pub rows: u16,
    pub cols: u16,
    pub xpixel: u16,
    pub ypixel: u16,
}

impl Winsize {
    /// Encodes `struct winsize`.
    pub fn encode(&self) -> [u8; 8] {
        let mut out = [0; 8];
        for (at, value) in [self.rows, self.cols, self.xpixel, self.ypixel].into_iter().enumerate() {
            out[at * 2..at * 2 + 2].copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    /// Decodes `struct winsize`.
    pub fn decode(bytes: &[u8; 8]) -> Self {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self { rows: half(0), cols: half(2), xpixel: half(4), ypixel: half(6) }
    }
}
