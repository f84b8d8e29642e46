//! Readiness of poll(2) and epoll(7).
#![expect(missing_docs, reason = "the names are Linux's own")]

use std::ops::{BitAnd, BitOr, BitOrAssign};

/// A set of poll events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready(pub u32);

impl Ready {
    pub const NONE: Ready = Ready(0);
    pub const IN: Ready = Ready(0x1);
    pub const PRI: Ready = Ready(0x2);
    pub const OUT: Ready = Ready(0x4);
    pub const ERR: Ready = Ready(0x8);
    pub const HUP: Ready = Ready(0x10);
    pub const NVAL: Ready = Ready(0x20);
    pub const RDNORM: Ready = Ready(0x40);
    pub const RDBAND: Ready = Ready(0x80);
    pub const WRNORM: Ready = Ready(0x100);
    pub const WRBAND: Ready = Ready(0x200);
    pub const RDHUP: Ready = Ready(0x2000);

    /// What a file that never blocks reports.
    pub const ALWAYS: Ready = Ready(0x1 | 0x4 | 0x40 | 0x100);

    /// Whether any of these events is set.
    pub fn intersects(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no event is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Ready {
    type Output = Ready;
    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitAnd for Ready {
    type Output = Ready;
    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0 & other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}
