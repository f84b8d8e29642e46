//! Names of flag bits and constants.

use linux_abi::fcntl::*;
use linux_abi::termios as tty;

/// Values and their names.
pub(crate) type Names = &'static [(u32, &'static str)];

macro_rules! names {
    ($($name:ident = $value:expr),* $(,)?) => { &[$(($value, stringify!($name))),*] };
}

/// The names of the bits that are set, what is left in hexadecimal, or 0.
pub(super) fn bits(value: u32, names: Names) -> String {
    let mut left = value;
    let mut out = Vec::new();
    for (bit, name) in names {
        if *bit != 0 && left & bit == *bit {
            out.push((*name).to_owned());
            left &= !bit;
        }
    }
    if left != 0 {
        out.push(format!("{left:#x}"));
    }
    if out.is_empty() {
        return names.iter().find(|(bit, _)| *bit == 0).map_or_else(|| "0".into(), |(_, name)| (*name).to_owned());
    }
    out.join("|")
}

/// The name of a value, or the value.
pub(crate) fn one(value: u32, names: Names) -> String {
    names
        .iter()
        .find(|(known, _)| *known == value)
        .map_or_else(|| format!("{value:#x}"), |(_, name)| (*name).to_owned())
}

/// Flags of open(2) with the mode of a new file.
pub(super) fn open(flags: u32, mode: u32) -> String {
    let access = one(flags & O_ACCMODE, names!(O_RDONLY = O_RDONLY, O_WRONLY = O_WRONLY, O_RDWR = O_RDWR));
    let rest = flags & !O_ACCMODE;
    let mut out = if rest == 0 { access } else { format!("{access}|{}", bits(rest, OPEN)) };
    if flags & O_CREAT != 0 {
        out.push_str(&format!(", {mode:#05o}").replace("0o", "0"));
    }
    out
}

const OPEN: Names = names!(
    O_CREAT = O_CREAT,
    O_EXCL = O_EXCL,
    O_NOCTTY = O_NOCTTY,
    O_TRUNC = O_TRUNC,
    O_APPEND = O_APPEND,
    O_NONBLOCK = O_NONBLOCK,
    O_SYNC = O_SYNC,
    O_DSYNC = O_DSYNC,
    O_ASYNC = O_ASYNC,
    O_DIRECT = O_DIRECT,
    O_LARGEFILE = O_LARGEFILE,
    O_NOFOLLOW = O_NOFOLLOW,
    O_NOATIME = O_NOATIME,
    O_CLOEXEC = O_CLOEXEC,
    O_PATH = O_PATH,
    O_TMPFILE = O_TMPFILE,
    O_DIRECTORY = O_DIRECTORY,
);

pub(super) const PIPE: Names = names!(O_CLOEXEC = O_CLOEXEC, O_NONBLOCK = O_NONBLOCK, O_DIRECT = O_DIRECT);

pub(super) const AT: Names = names!(
    AT_SYMLINK_NOFOLLOW = AT_SYMLINK_NOFOLLOW,
    AT_REMOVEDIR = AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW = AT_SYMLINK_FOLLOW,
    AT_NO_AUTOMOUNT = AT_NO_AUTOMOUNT,
    AT_EMPTY_PATH = AT_EMPTY_PATH,
);

pub(super) const STATX: Names = names!(
    AT_STATX_SYNC_AS_STAT = 0,
    AT_SYMLINK_NOFOLLOW = AT_SYMLINK_NOFOLLOW,
    AT_NO_AUTOMOUNT = AT_NO_AUTOMOUNT,
    AT_EMPTY_PATH = AT_EMPTY_PATH,
    AT_STATX_FORCE_SYNC = 0x2000,
    AT_STATX_DONT_SYNC = 0x4000,
);

pub(super) const STATX_MASK: Names = names!(
    STATX_ALL = 0xfff,
    STATX_BASIC_STATS = 0x7ff,
    STATX_TYPE = 1,
    STATX_MODE = 2,
    STATX_NLINK = 4,
    STATX_UID = 8,
    STATX_GID = 0x10,
    STATX_ATIME = 0x20,
    STATX_MTIME = 0x40,
    STATX_CTIME = 0x80,
    STATX_INO = 0x100,
    STATX_SIZE = 0x200,
    STATX_BLOCKS = 0x400,
    STATX_BTIME = 0x800,
    STATX_MNT_ID = 0x1000,
);

pub(super) const ACCESS: Names = names!(F_OK = 0, R_OK = 4, W_OK = 2, X_OK = 1);

pub(super) const PROT: Names = names!(PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4);

pub(super) const MAP: Names = names!(
    MAP_SHARED = 1,
    MAP_PRIVATE = 2,
    MAP_FIXED = 0x10,
    MAP_ANONYMOUS = 0x20,
    MAP_GROWSDOWN = 0x100,
    MAP_DENYWRITE = 0x800,
    MAP_EXECUTABLE = 0x1000,
    MAP_LOCKED = 0x2000,
    MAP_NORESERVE = 0x4000,
    MAP_POPULATE = 0x8000,
    MAP_STACK = 0x20000,
    MAP_FIXED_NOREPLACE = 0x100000,
);

pub(super) const MREMAP: Names = names!(MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4);

pub(super) const MADVISE: Names = names!(
    MADV_NORMAL = 0,
    MADV_RANDOM = 1,
    MADV_SEQUENTIAL = 2,
    MADV_WILLNEED = 3,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
    MADV_DONTFORK = 10,
    MADV_DOFORK = 11,
    MADV_HUGEPAGE = 14,
    MADV_NOHUGEPAGE = 15,
    MADV_DONTDUMP = 16,
);

pub(super) const CLONE: Names = names!(
    CLONE_VM = 0x100,
    CLONE_FS = 0x200,
    CLONE_FILES = 0x400,
    CLONE_SIGHAND = 0x800,
    CLONE_PTRACE = 0x2000,
    CLONE_VFORK = 0x4000,
    CLONE_PARENT = 0x8000,
    CLONE_THREAD = 0x10000,
    CLONE_NEWNS = 0x20000,
    CLONE_SYSVSEM = 0x40000,
    CLONE_SETTLS = 0x80000,
    CLONE_PARENT_SETTID = 0x100000,
    CLONE_CHILD_CLEARTID = 0x200000,
    CLONE_UNTRACED = 0x800000,
    CLONE_CHILD_SETTID = 0x1000000,
    SIGCHLD = 17,
);

pub(super) const WAIT: Names =
    names!(WNOHANG = 1, WSTOPPED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x1000000, __WALL = 0x40000000);

pub(super) const WHENCE: Names = names!(SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2, SEEK_DATA = 3, SEEK_HOLE = 4);

pub(super) const SIGMASK: Names = names!(SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2);

pub(super) const FCNTL: Names = names!(
    F_DUPFD = 0,
    F_GETFD = 1,
    F_SETFD = 2,
    F_GETFL = 3,
    F_SETFL = 4,
    F_GETLK = 5,
    F_SETLK = 6,
    F_SETLKW = 7,
    F_SETOWN = 8,
    F_GETOWN = 9,
    F_SETSIG = 10,
    F_GETSIG = 11,
    F_GETLK64 = 12,
    F_SETLK64 = 13,
    F_SETLKW64 = 14,
    F_OFD_GETLK = 36,
    F_OFD_SETLK = 37,
    F_OFD_SETLKW = 38,
    F_DUPFD_CLOEXEC = 1030,
    F_SETPIPE_SZ = 1031,
    F_GETPIPE_SZ = 1032,
    F_ADD_SEALS = 1033,
    F_GET_SEALS = 1034,
);

pub(super) const CLOCK: Names = names!(
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_PROCESS_CPUTIME_ID = 2,
    CLOCK_THREAD_CPUTIME_ID = 3,
    CLOCK_MONOTONIC_RAW = 4,
    CLOCK_REALTIME_COARSE = 5,
    CLOCK_MONOTONIC_COARSE = 6,
    CLOCK_BOOTTIME = 7,
);

pub(super) const TIMER: Names = names!(TIMER_ABSTIME = 1);

pub(super) const RESOURCE: Names = names!(
    RLIMIT_CPU = 0,
    RLIMIT_FSIZE = 1,
    RLIMIT_DATA = 2,
    RLIMIT_STACK = 3,
    RLIMIT_CORE = 4,
    RLIMIT_RSS = 5,
    RLIMIT_NPROC = 6,
    RLIMIT_NOFILE = 7,
    RLIMIT_MEMLOCK = 8,
    RLIMIT_AS = 9,
    RLIMIT_LOCKS = 10,
    RLIMIT_SIGPENDING = 11,
    RLIMIT_MSGQUEUE = 12,
    RLIMIT_NICE = 13,
    RLIMIT_RTPRIO = 14,
    RLIMIT_RTTIME = 15,
);

pub(super) const RANDOM: Names = names!(GRND_NONBLOCK = 1, GRND_RANDOM = 2, GRND_INSECURE = 4);

pub(super) const FUTEX: Names = names!(
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_REQUEUE = 3,
    FUTEX_CMP_REQUEUE = 4,
    FUTEX_WAKE_OP = 5,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_WAIT_PRIVATE = 128,
    FUTEX_WAKE_PRIVATE = 129,
    FUTEX_REQUEUE_PRIVATE = 131,
    FUTEX_CMP_REQUEUE_PRIVATE = 132,
    FUTEX_WAKE_OP_PRIVATE = 133,
    FUTEX_WAIT_BITSET_PRIVATE = 137,
    FUTEX_WAKE_BITSET_PRIVATE = 138,
    FUTEX_WAIT_BITSET_PRIVATE_CLOCK_REALTIME = 393,
);

pub(super) const RENAME: Names = names!(RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2, RENAME_WHITEOUT = 4);

pub(super) const FADVISE: Names = names!(
    POSIX_FADV_NORMAL = 0,
    POSIX_FADV_RANDOM = 1,
    POSIX_FADV_SEQUENTIAL = 2,
    POSIX_FADV_WILLNEED = 3,
    POSIX_FADV_DONTNEED = 4,
    POSIX_FADV_NOREUSE = 5,
);

pub(crate) const FAMILY: Names =
    names!(AF_UNSPEC = 0, AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16, AF_PACKET = 17,);

pub(super) const SOCKET_TYPE: Names = names!(
    SOCK_CLOEXEC = O_CLOEXEC,
    SOCK_NONBLOCK = O_NONBLOCK,
    SOCK_SEQPACKET = 5,
    SOCK_RAW = 3,
    SOCK_DGRAM = 2,
    SOCK_STREAM = 1,
);

pub(super) const SOCKETCALL: Names = names!(
    SYS_SOCKET = 1,
    SYS_BIND = 2,
    SYS_CONNECT = 3,
    SYS_LISTEN = 4,
    SYS_ACCEPT = 5,
    SYS_GETSOCKNAME = 6,
    SYS_GETPEERNAME = 7,
    SYS_SOCKETPAIR = 8,
    SYS_SEND = 9,
    SYS_RECV = 10,
    SYS_SENDTO = 11,
    SYS_RECVFROM = 12,
    SYS_SHUTDOWN = 13,
    SYS_SETSOCKOPT = 14,
    SYS_GETSOCKOPT = 15,
    SYS_SENDMSG = 16,
    SYS_RECVMSG = 17,
    SYS_ACCEPT4 = 18,
    SYS_RECVMMSG = 19,
    SYS_SENDMMSG = 20,
);

pub(super) const MESSAGE: Names = names!(
    MSG_OOB = 0x1,
    MSG_PEEK = 0x2,
    MSG_DONTROUTE = 0x4,
    MSG_CTRUNC = 0x8,
    MSG_TRUNC = 0x20,
    MSG_DONTWAIT = 0x40,
    MSG_EOR = 0x80,
    MSG_WAITALL = 0x100,
    MSG_ERRQUEUE = 0x2000,
    MSG_NOSIGNAL = 0x4000,
    MSG_MORE = 0x8000,
    MSG_WAITFORONE = 0x10000,
    MSG_CMSG_CLOEXEC = 0x4000_0000,
);

pub(super) const SHUTDOWN: Names = names!(SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2);

pub(super) const EPOLL: Names = names!(EPOLL_CLOEXEC = O_CLOEXEC);

pub(super) const EPOLL_CTL: Names = names!(EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3);

pub(crate) const IOCTL: Names = names!(
    TCGETS = tty::TCGETS,
    TCSETS = tty::TCSETS,
    TCSETSW = tty::TCSETSW,
    TCSETSF = tty::TCSETSF,
    TCGETA = tty::TCGETA,
    TCSBRK = tty::TCSBRK,
    TCXONC = tty::TCXONC,
    TCFLSH = tty::TCFLSH,
    TIOCEXCL = tty::TIOCEXCL,
    TIOCNXCL = tty::TIOCNXCL,
    TIOCSCTTY = tty::TIOCSCTTY,
    TIOCGPGRP = tty::TIOCGPGRP,
    TIOCSPGRP = tty::TIOCSPGRP,
    TIOCOUTQ = tty::TIOCOUTQ,
    TIOCSTI = tty::TIOCSTI,
    TIOCGWINSZ = tty::TIOCGWINSZ,
    TIOCSWINSZ = tty::TIOCSWINSZ,
    FIONREAD = tty::FIONREAD,
    FIONBIO = 0x5421,
    TIOCNOTTY = tty::TIOCNOTTY,
    TIOCGSID = tty::TIOCGSID,
    TCGETS2 = tty::TCGETS2,
    TCSETS2 = tty::TCSETS2,
    FIONCLEX = 0x5450,
    FIOCLEX = 0x5451,
    FIOASYNC = 0x5452,
    TIOCGPTN = tty::TIOCGPTN,
    TIOCSPTLCK = tty::TIOCSPTLCK,
    TIOCGPTPEER = tty::TIOCGPTPEER,
    FICLONE = 0x4004_9409,
    FS_IOC_FIEMAP = 0xc020_660b,
    FS_IOC_GETFLAGS = 0x8004_6601,
    FS_IOC_SETFLAGS = 0x4004_6602,
    VT_GETSTATE = 0x5603,
);
