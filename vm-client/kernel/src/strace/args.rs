//! Arguments as text.

use linux_abi::signal::{SigSet, Signal};

use super::flags::{self, Names};
use crate::syscall::table::Args;
use crate::{Result, SyscallCx};

/// Bytes of a string that are shown, as strace does without `-s`.
const SHOWN: usize = 32;

/// What an argument is.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    /// A signed number.
    Int,
    /// An unsigned number.
    Uint,
    /// An address or other word in hexadecimal.
    Hex,
    /// A descriptor.
    Fd,
    /// The directory descriptor of an `*at` call.
    DirFd,
    /// A path name.
    Path,
    /// An array of strings that ends with a null pointer.
    Strings,
    /// Environment: only counted.
    Environment,
    /// Bytes going in; the argument with this index is their number.
    BytesIn(usize),
    /// Bytes coming out; the result is their number.
    BytesOut,
    /// A string coming out; the result is its length.
    StringOut,
    /// Permission bits.
    Mode,
    /// Flag bits by name.
    Flags(Names),
    /// One of several values.
    One(Names),
    /// Open flags, and the mode if a file may be made.
    OpenFlags,
    /// A signal number.
    Signal,
    /// A signal set going in.
    SigSet,
    /// A signal set coming out.
    SigSetOut,
    /// A 64-bit value in this and the next register.
    Long,
    /// The second half of a [`Arg::Long`]: shows nothing.
    Skip,
    /// A 64-bit file position coming out.
    PositionOut,
    /// `struct timespec` with 32-bit fields.
    Timespec,
    /// `struct timespec` with 64-bit fields.
    Timespec64,
    /// The same, coming out.
    Timespec64Out,
    /// Two descriptors coming out.
    TwoFds,
    /// A wait status coming out.
    WaitStatus,
    /// The request of ioctl(2).
    Ioctl,
    /// A structure coming out: shown as its address.
    Structure,
}

impl Arg {
    /// Whether it is known only after the call.
    pub(super) fn is_output(self) -> bool {
        matches!(
            self,
            Self::BytesOut
                | Self::StringOut
                | Self::SigSetOut
                | Self::PositionOut
                | Self::Timespec64Out
                | Self::TwoFds
                | Self::WaitStatus
        )
    }
}

/// The text of argument `index`. Memory that cannot be read is shown as its address.
pub(super) async fn text(cx: &SyscallCx, kind: Arg, args: &Args, index: usize, result: Option<&Result<i64>>) -> String {
    let value = args[index];
    let failed = result.is_some_and(|result| result.is_err());
    if kind.is_output() && (value == 0 || failed) {
        return address(value);
    }
    let out = match kind {
        Arg::Int => Some((value as u32 as i32).to_string()),
        Arg::Uint => Some((value as u32).to_string()),
        Arg::Hex | Arg::Structure => Some(address(value)),
        Arg::Fd => Some((value as u32 as i32).to_string()),
        Arg::DirFd => Some(match value as u32 as i32 {
            linux_abi::fcntl::AT_FDCWD => "AT_FDCWD".into(),
            fd => fd.to_string(),
        }),
        Arg::Path => path(cx, value).await,
        Arg::Strings => strings(cx, value).await,
        Arg::Environment => strings_count(cx, value).await,
        Arg::BytesIn(length) => bytes(cx, value, args[length] as usize).await,
        Arg::BytesOut | Arg::StringOut => match result {
            Some(Ok(count)) => bytes(cx, value, usize::try_from(*count).unwrap_or(0)).await,
            _ => None,
        },
        Arg::Mode => Some(format!("{:#05o}", value as u32).replace("0o", "0")),
        Arg::Flags(names) => Some(flags::bits(value as u32, names)),
        Arg::One(names) => Some(flags::one(value as u32, names)),
        Arg::OpenFlags => Some(flags::open(value as u32, args.get(index + 1).copied().unwrap_or(0) as u32)),
        Arg::Signal => Some(Signal::new(value as u32).map_or_else(|| value.to_string(), |signal| signal.to_string())),
        Arg::SigSet | Arg::SigSetOut => sigset(cx, value).await,
        Arg::Long => {
            let high = args.get(index + 1).copied().unwrap_or(0);
            Some((((high << 32) | (value & 0xffff_ffff)) as i64).to_string())
        }
        Arg::Skip => Some(String::new()),
        Arg::PositionOut => read(cx, value, 8).await.map(|b| format!("[{}]", i64::from_le_bytes(array(&b)))),
        Arg::Timespec => read(cx, value, 8).await.map(|b| {
            let word = |at: usize| i32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
            format!("{{tv_sec={}, tv_nsec={}}}", word(0), word(4))
        }),
        Arg::Timespec64 | Arg::Timespec64Out => read(cx, value, 16).await.map(|b| {
            let nsec = i32::from_le_bytes([b[8], b[9], b[10], b[11]]);
            format!("{{tv_sec={}, tv_nsec={nsec}}}", i64::from_le_bytes(array(&b)))
        }),
        Arg::TwoFds => read(cx, value, 8).await.map(|b| {
            let word = |at: usize| i32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
            format!("[{}, {}]", word(0), word(4))
        }),
        Arg::WaitStatus => read(cx, value, 4).await.map(|b| wait_status(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        Arg::Ioctl => Some(flags::one(value as u32, flags::IOCTL)),
    };
    out.unwrap_or_else(|| address(value))
}

fn address(value: u64) -> String {
    if value == 0 { "NULL".into() } else { format!("{:#x}", value as u32) }
}

fn array(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[..8]);
    out
}

async fn read(cx: &SyscallCx, addr: u64, len: usize) -> Option<Vec<u8>> {
    if addr == 0 {
        return None;
    }
    let mut out = vec![0; len];
    cx.read_user(addr, &mut out).await.ok()?;
    Some(out)
}

async fn path(cx: &SyscallCx, addr: u64) -> Option<String> {
    if addr == 0 {
        return None;
    }
    cx.read_path(addr).await.ok().map(|name| quoted(&name))
}

async fn bytes(cx: &SyscallCx, addr: u64, len: usize) -> Option<String> {
    let data = read(cx, addr, len.min(SHOWN)).await?;
    let more = if len > SHOWN { "..." } else { "" };
    Some(quoted(&data) + more)
}

async fn sigset(cx: &SyscallCx, addr: u64) -> Option<String> {
    let set = SigSet(u64::from_le_bytes(array(&read(cx, addr, 8).await?)));
    let members = (1..=64).filter_map(Signal::new);
    // strace shows what is missing when most are there.
    let (sign, inverted) = if set.0.count_ones() > 32 { ("~", true) } else { ("", false) };
    let names: Vec<String> = members
        .filter(|signal| set.contains(*signal) != inverted)
        .map(|signal| signal.to_string().trim_start_matches("SIG").to_owned())
        .collect();
    Some(format!("{sign}[{}]", names.join(" ")))
}

async fn strings(cx: &SyscallCx, mut addr: u64) -> Option<String> {
    let mut out = Vec::new();
    loop {
        let pointer = cx.read_u32(addr).await.ok()?;
        if pointer == 0 {
            return Some(format!("[{}]", out.join(", ")));
        }
        if out.len() == SHOWN {
            return Some(format!("[{}, ...]", out.join(", ")));
        }
        out.push(path(cx, u64::from(pointer)).await?);
        addr += 4;
    }
}

async fn strings_count(cx: &SyscallCx, addr: u64) -> Option<String> {
    let mut count = 0;
    while cx.read_u32(addr + 4 * count).await.ok()? != 0 {
        count += 1;
    }
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{:#x} /* {count} var{plural} */", addr as u32))
}

fn wait_status(status: u32) -> String {
    let signal = |number: u32| Signal::new(number).map_or_else(|| number.to_string(), |signal| signal.to_string());
    match (status & 0x7f, status & 0xff, status) {
        (_, _, 0xffff) => "[{WIFCONTINUED(s)}]".into(),
        (0, _, _) => format!("[{{WIFEXITED(s) && WEXITSTATUS(s) == {}}}]", (status >> 8) & 0xff),
        (_, 0x7f, _) => format!("[{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}]", signal((status >> 8) & 0xff)),
        (by, _, _) => {
            let core = if status & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" };
            format!("[{{WIFSIGNALED(s) && WTERMSIG(s) == {}{core}}}]", signal(by))
        }
    }
}

/// A C string literal, octal escapes as strace writes them.
fn quoted(data: &[u8]) -> String {
    let mut out = String::from("\"");
    for (index, byte) in data.iter().enumerate() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => {
                // Three digits only where a digit follows that would be read as part of it.
                let digit_follows = data.get(index + 1).is_some_and(|next| matches!(next, b'0'..=b'7'));
                out.push_str(&if digit_follows { format!("\\{byte:03o}") } else { format!("\\{byte:o}") });
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_strace_does() {
        // Compared with `strace -e write printf ...`.
        assert_eq!(quoted(b"a\"b\\c\n\t\x01\x007\x7f\xff"), r#""a\"b\\c\n\t\1\0007\177\377""#);
    }

    #[test]
    fn wait_statuses_are_taken_apart() {
        assert_eq!(wait_status(0x0300), "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]");
        assert_eq!(wait_status(0x008b), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]");
        assert_eq!(wait_status(0x147f), "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTSTP}]");
    }
}
