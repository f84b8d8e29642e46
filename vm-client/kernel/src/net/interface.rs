//! The one network interface, `lo`, and the requests of netdevice(7) about it.

use std::cell::Cell;

use linux_abi::layout::{Width, Writer};

use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

/// Name, number, flags (UP, LOOPBACK, RUNNING) and MTU of the interface.
pub(crate) const NAME: &[u8] = b"lo";
pub(crate) const INDEX: u32 = 1;
pub(crate) const FLAGS: u32 = 0x1 | 0x8 | 0x40;
pub(crate) const LOWER_UP: u32 = 0x1_0000;
pub(crate) const MTU: u32 = 65_536;
/// ARPHRD_LOOPBACK
pub(crate) const HARDWARE: u16 = 772;
pub(crate) const QUEUE_LENGTH: u32 = 1000;

/// What went over it: as much came in as went out.
#[derive(Default)]
pub(crate) struct Traffic {
    packets: Cell<u64>,
    bytes: Cell<u64>,
}

impl Traffic {
    /// Counts a packet.
    pub(crate) fn count(&self, bytes: usize) {
        self.packets.set(self.packets.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    /// Packets and bytes so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.packets.get(), self.bytes.get())
    }
}

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCSIFFLAGS: u32 = 0x8914;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCSIFADDR: u32 = 0x8916;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCSIFNETMASK: u32 = 0x891c;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
const SIOCETHTOOL: u32 = 0x8946;
const SIOCGIFMAP: u32 = 0x8970;
const SIOCDEVPRIVATE: u32 = 0x89f0;
const SIOCDEVPRIVATE_LAST: u32 = 0x89ff;
const SIOCGSTAMP: u32 = 0x8906;
const SIOCGSTAMPNS: u32 = 0x8907;
const SIOCADDRT: u32 = 0x890b;
const SIOCDELRT: u32 = 0x890c;
const SIOCDARP: u32 = 0x8953;
const SIOCGARP: u32 = 0x8954;

/// Bytes of an interface's name, its NUL included.
const NAME_SIZE: usize = 16;

/// Bytes of `struct ifreq`.
fn request_size(width: Width) -> usize {
    NAME_SIZE
        + match width {
            Width::Bits32 => 16,
            Width::Bits64 => 24,
        }
}

/// `struct sockaddr_in` of an address.
fn address(ip: [u8; 4]) -> [u8; 16] {
    let mut raw = [0; 16];
    raw[0] = 2;
    raw[4..8].copy_from_slice(&ip);
    raw
}

/// ioctl(2) of a socket, for what is not about the socket itself.
pub(crate) async fn ioctl(cx: &SyscallCx, request: u32, arg: u64) -> Result<i64> {
    match request {
        SIOCGIFCONF => return configuration(cx, arg).await,
        SIOCGSTAMP | SIOCGSTAMPNS => return Err(Errno::ENOENT),
        SIOCADDRT | SIOCDELRT => {
            return Err(if cx.creds().capable(cap::NET_ADMIN) { Errno::ENETUNREACH } else { Errno::EPERM });
        }
        SIOCGARP | SIOCDARP => return Err(Errno::ENXIO),
        SIOCGIFNAME..=SIOCGIFMAP | SIOCDEVPRIVATE..=SIOCDEVPRIVATE_LAST => {}
        _ => return Err(Errno::ENOTTY),
    }
    let mut raw = vec![0; request_size(cx.width())];
    cx.read_user(arg, &mut raw).await?;
    if request == SIOCGIFNAME {
        let index = linux_abi::layout::Reader::new(&raw).u32(NAME_SIZE);
        if index != INDEX {
            return Err(Errno::ENODEV);
        }
        raw[..NAME_SIZE].fill(0);
        raw[..NAME.len()].copy_from_slice(NAME);
        cx.write_user(arg, &raw).await?;
        return Ok(0);
    }
    let name = raw[..NAME_SIZE].split(|byte| *byte == 0 || *byte == b':').next().unwrap_or_default();
    if name != NAME {
        return Err(Errno::ENODEV);
    }
    let mut value = [0; 16];
    let mut writer = Writer::new(&mut value);
    match request {
        SIOCGIFFLAGS => writer.u16(0, FLAGS as u16),
        SIOCGIFADDR | SIOCGIFDSTADDR => value = address([127, 0, 0, 1]),
        SIOCGIFBRDADDR => value = address([0; 4]),
        SIOCGIFNETMASK => value = address([255, 0, 0, 0]),
        SIOCGIFMETRIC => {}
        SIOCGIFMTU => writer.u32(0, MTU),
        SIOCGIFHWADDR => writer.u16(0, HARDWARE),
        SIOCGIFINDEX => writer.u32(0, INDEX),
        SIOCGIFTXQLEN => writer.u32(0, QUEUE_LENGTH),
        SIOCGIFMAP => {}
        SIOCSIFFLAGS | SIOCSIFADDR | SIOCSIFNETMASK if !cx.creds().capable(cap::NET_ADMIN) => return Err(Errno::EPERM),
        // The interface is up and stays as it is; bringing it up is what programs ask for.
        SIOCSIFFLAGS => return Ok(0),
        SIOCETHTOOL | SIOCDEVPRIVATE..=SIOCDEVPRIVATE_LAST => return Err(Errno::EOPNOTSUPP),
        SIOCSIFADDR | SIOCSIFNETMASK => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::ENOTTY),
    }
    cx.write_user(arg + NAME_SIZE as u64, &value).await?;
    Ok(0)
}

/// SIOCGIFCONF: the interfaces that have an IPv4 address.
async fn configuration(cx: &SyscallCx, arg: u64) -> Result<i64> {
    let width = cx.width();
    let mut raw = vec![0; 2 * width.bytes()];
    cx.read_user(arg, &mut raw).await?;
    let reader = linux_abi::layout::Reader::new(&raw);
    let (room, at) = (reader.i32(0), reader.word(width, width.bytes()));
    let size = request_size(width);
    let mut used = size;
    if at != 0 {
        used = 0;
        if room >= size as i32 {
            let mut entry = vec![0; size];
            entry[..NAME.len()].copy_from_slice(NAME);
            entry[NAME_SIZE..NAME_SIZE + 16].copy_from_slice(&address([127, 0, 0, 1]));
            cx.write_user(at, &entry).await?;
            used = size;
        }
    }
    cx.write_u32(arg, used as u32).await?;
    Ok(0)
}
