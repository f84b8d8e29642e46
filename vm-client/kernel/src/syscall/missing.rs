//! Telling what programs asked for that does not exist here, by name.
//!
//! Handlers report through these functions when a request, an option or a command is one that nothing here knows; requests that
//! fail because the file is of another kind (TCGETS of a regular file) are no such thing.

use super::SyscallCx;
use crate::strace::flags;
use crate::{Errno, Result};

/// Requests that something here answers, beside those with names in [`flags::IOCTL`]: interfaces, routes and the like.
const ANSWERED: &[(u32, u32)] =
    &[(0x5401, 0x5418), (0x541a, 0x541b), (0x541d, 0x5422), (0x8904, 0x8905), (0x8910, 0x893f)];

/// Notes an ioctl(2) that nothing knows.
pub(super) fn ioctl(cx: &SyscallCx, request: u32, result: &Result<i64>) {
    if !matches!(result, Err(Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS)) {
        return;
    }
    let known = flags::IOCTL.iter().any(|(number, _)| *number == request)
        || linux_abi::ioctl::ANSWERED.contains(&request)
        || ANSWERED.iter().any(|(first, last)| (*first..=*last).contains(&request));
    if !known {
        let name = linux_abi::ioctl::name(request).map_or_else(|| unnamed_ioctl(request), str::to_owned);
        cx.kernel.count_missing("ioctl", name, cx.task.comm_text());
    }
}

/// `_IOC(dir, type, number, size)` taken apart (ioctl_list(2)).
fn unnamed_ioctl(request: u32) -> String {
    let (kind, number, size) = ((request >> 8) as u8, request & 0xff, request >> 16 & 0x3fff);
    let group = if kind.is_ascii_graphic() { format!("'{}'", char::from(kind)) } else { format!("{kind:#x}") };
    format!("{request:#x} (type {group}, number {number}, {size} bytes)")
}

/// Notes a socket option that nothing knows.
pub(super) fn socket_option<T>(cx: &SyscallCx, what: &'static str, level: u32, name: u32, result: &Result<T>) {
    if matches!(result, Err(Errno::ENOPROTOOPT)) {
        let level = match level {
            0 => "IPPROTO_IP".to_owned(),
            1 => "SOL_SOCKET".to_owned(),
            6 => "IPPROTO_TCP".to_owned(),
            17 => "IPPROTO_UDP".to_owned(),
            41 => "IPPROTO_IPV6".to_owned(),
            270 => "SOL_NETLINK".to_owned(),
            other => other.to_string(),
        };
        cx.kernel.count_missing(what, format!("{level} {name}"), cx.task.comm_text());
    }
}

/// Notes a socket that cannot be made.
pub(super) fn socket<T>(cx: &SyscallCx, family: u64, kind: u32, protocol: u64, result: &Result<T>) {
    if matches!(result, Err(Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT)) {
        let family = flags::one(family as u32, flags::FAMILY);
        cx.kernel.count_missing("socket", format!("{family} type {kind} protocol {protocol}"), cx.task.comm_text());
    }
}
