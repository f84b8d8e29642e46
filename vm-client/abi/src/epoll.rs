//! epoll(7): operations, event flags beyond poll(2)'s, and `struct epoll_event`.
#![expect(missing_docs, reason = "the names are Linux's own")]

pub const EPOLL_CTL_ADD: u32 = 1;
pub const EPOLL_CTL_DEL: u32 = 2;
pub const EPOLL_CTL_MOD: u32 = 3;

pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
pub const EPOLLWAKEUP: u32 = 1 << 29;
pub const EPOLLONESHOT: u32 = 1 << 30;
pub const EPOLLET: u32 = 1 << 31;

/// `struct epoll_event`, packed: the same 12 bytes on i386 and x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    pub events: u32,
    pub data: u64,
}

impl EpollEvent {
    /// Bytes of the structure.
    pub const SIZE: usize = 12;

    /// The structure of these bytes.
    pub fn decode(raw: &[u8; Self::SIZE]) -> Self {
        let reader = crate::layout::Reader::new(raw);
        Self { events: reader.u32(0), data: reader.u64(4) }
    }

    /// The bytes of the structure.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut raw = [0; Self::SIZE];
        let mut writer = crate::layout::Writer::new(&mut raw);
        writer.u32(0, self.events);
        writer.u64(4, self.data);
        raw
    }
}
