//! mmap(2) and its relatives.

use std::rc::Rc;

use linux_abi::mman::{MAP_ANONYMOUS, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_TYPE, PROT_EXEC, PROT_WRITE};
use vm_mem::{FrameId, VirtAddr};

use super::table::{Args, Row, now, wait};
use crate::fs::memfd;
use crate::mm::{MappedFile, MappedObject, Mapping};
use crate::vfs::{Mappable, OpenFile, mount};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(45, "brk", brk),
    wait!(90, "mmap", old_mmap),
    now!(91, "munmap", munmap),
    now!(125, "mprotect", mprotect),
    wait!(144, "msync", msync),
    wait!(150, "mlock", mlock),
    now!(151, "munlock", munlock),
    wait!(152, "mlockall", mlockall),
    now!(153, "munlockall", munlockall),
    wait!(163, "mremap", mremap),
    wait!(192, "mmap2", mmap2),
    wait!(218, "mincore", mincore),
    wait!(219, "madvise", madvise, "advice about future use is accepted and ignored"),
    wait!(376, "mlock2", mlock2),
];

const PAGE: u64 = 4096;

async fn brk(cx: &SyscallCx, [to, ..]: Args) -> Result<i64> {
    Ok(cx.mm().brk(to).await as i64)
}

/// Takes its arguments in memory, the offset in bytes.
async fn old_mmap(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    let mut raw = [0; 24];
    cx.read_user(at, &mut raw).await?;
    let mut words = [0; 6];
    for (word, bytes) in words.iter_mut().zip(raw.as_chunks::<4>().0) {
        *word = u64::from(u32::from_le_bytes(*bytes));
    }
    if !words[5].is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    words[5] /= PAGE;
    mmap2(cx, words).await
}

async fn mmap2(cx: &SyscallCx, [addr, len, prot, flags, fd, offset]: Args) -> Result<i64> {
    let (prot, flags) = (prot as u32, flags as u32);
    let file = match flags & MAP_ANONYMOUS {
        0 => Some(mapping(&cx.task.fd_table().get(fd as i32)?, prot, flags)?),
        _ => None,
    };
    Ok(cx.mm().mmap(addr, len, prot, flags, file, offset).await? as i64)
}

/// What a mapping of an open file shows, if the file may be mapped so.
fn mapping(file: &Rc<OpenFile>, prot: u32, flags: u32) -> Result<Mapping> {
    if !file.flags().readable() {
        return Err(Errno::EACCES);
    }
    if prot & PROT_EXEC != 0 && file.path().mount.flags() & mount::flags::NOEXEC != 0 {
        return Err(Errno::EPERM);
    }
    let shared = matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
    let sealed = shared && memfd::is_write_sealed(file);
    if sealed && prot & PROT_WRITE != 0 {
        return Err(Errno::EPERM);
    }
    let object = Rc::clone(file) as Rc<dyn MappedObject>;
    Ok(match file.file().mappable()? {
        Mappable::Cached(cache) => {
            let writable = !shared || file.flags().writable() && !sealed;
            Mapping::File { file: Rc::new(MappedFile { cache, object }), writable }
        }
        Mappable::Zero => Mapping::Zero { object },
        Mappable::Frames(frames) => Mapping::Frames { name: "device", frames: Rc::<[FrameId]>::from(frames) },
    })
}

fn munmap(cx: &SyscallCx, [addr, len, ..]: Args) -> Result<i64> {
    cx.mm().munmap(addr, len).map(|()| 0)
}

fn mprotect(cx: &SyscallCx, [addr, len, prot, ..]: Args) -> Result<i64> {
    cx.mm().mprotect(addr, len, prot as u32).map(|()| 0)
}

async fn mremap(cx: &SyscallCx, [old, old_len, new_len, flags, new, _]: Args) -> Result<i64> {
    cx.mm().mremap(old, old_len, new_len, flags as u32, new).await.map(|addr| addr as i64)
}

async fn msync(cx: &SyscallCx, [addr, len, flags, ..]: Args) -> Result<i64> {
    cx.mm().msync(addr, len, flags as u32).await.map(|()| 0)
}

async fn mincore(cx: &SyscallCx, [addr, len, out, ..]: Args) -> Result<i64> {
    let pages = cx.mm().mincore(addr, len)?;
    cx.mm().write(VirtAddr(out), &pages).await.map(|()| 0)
}

async fn madvise(cx: &SyscallCx, [addr, len, advice, ..]: Args) -> Result<i64> {
    cx.mm().madvise(addr, len, advice as u32).await.map(|()| 0)
}

async fn mlock(cx: &SyscallCx, [addr, len, ..]: Args) -> Result<i64> {
    cx.mm().mlock(addr, len).await.map(|()| 0)
}

async fn mlock2(cx: &SyscallCx, [addr, len, flags, ..]: Args) -> Result<i64> {
    const MLOCK_ONFAULT: u64 = 1;
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    if flags == MLOCK_ONFAULT {
        return cx.mm().mlock_on_fault(addr, len).map(|()| 0);
    }
    mlock(cx, [addr, len, 0, 0, 0, 0]).await
}

fn munlock(cx: &SyscallCx, [addr, len, ..]: Args) -> Result<i64> {
    cx.mm().munlock(addr, len).map(|()| 0)
}

async fn mlockall(cx: &SyscallCx, [flags, ..]: Args) -> Result<i64> {
    cx.mm().mlockall(flags as u32).await.map(|()| 0)
}

fn munlockall(cx: &SyscallCx, _: Args) -> Result<i64> {
    cx.mm().munlockall();
    Ok(0)
}
