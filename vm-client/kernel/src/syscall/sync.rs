//! Durability and hints: sync(2), fsync(2), fallocate(2), fadvise(2), readahead(2).

use super::attr::length;
use super::read_write::{offset, wide};
use super::table::{Args, Row, wait};
use crate::vfs::regular::check_file_limit;
use crate::vfs::{FileType, Mappable, OpenFile, SetAttr};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(36, "sync", sync),
    wait!(118, "fsync", fsync),
    wait!(148, "fdatasync", fsync),
    wait!(225, "readahead", readahead),
    wait!(250, "fadvise64", fadvise64),
    wait!(272, "fadvise64_64", fadvise64_64),
    wait!(314, "sync_file_range", sync_file_range),
    wait!(324, "fallocate", fallocate, "only mode 0 and FALLOC_FL_KEEP_SIZE"),
    wait!(344, "syncfs", syncfs),
];

async fn sync(cx: &SyscallCx, _: Args) -> Result<i64> {
    // sync(2) always succeeds; fsync(2) reports errors.
    let _ = cx.kernel.vfs.sync_all().await;
    Ok(0)
}

async fn syncfs(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.path().mount.fs().sync().await?;
    Ok(0)
}

/// Waits until what was written to a file, by write(2) or through mappings, is durable.
pub(super) async fn sync_file(file: &OpenFile) -> Result<()> {
    let meta = file.inode().metadata();
    match meta.file_type() {
        FileType::Regular | FileType::Directory | FileType::BlockDevice => {}
        _ => return Err(Errno::EINVAL),
    }
    if let Ok(Mappable::Cached(cache)) = file.file().mappable() {
        cache.flush().await?;
    }
    file.inode().sync().await
}

async fn fsync(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    match sync_file(&file).await {
        // A file system that cannot be written any more is an I/O error once for every open file (as Linux's `errseq_t` has
        // it), and then what it is: never a success, for nothing was forgotten and nothing is durable.
        Err(Errno::EIO) if file.path().mount.fs().read_only() && !file.tell_loss_once() => Err(Errno::EROFS),
        done => done.map(|()| 0),
    }
}

async fn sync_file_range(cx: &SyscallCx, [fd, low, high, len_low, len_high, flags]: Args) -> Result<i64> {
    let start = offset(low, high)?;
    let len = wide(len_low, len_high);
    if flags & !7 != 0 || start.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd as i32)?;
    if !matches!(file.inode().metadata().file_type(), FileType::Regular | FileType::Directory) {
        return Err(Errno::ESPIPE);
    }
    if let Ok(Mappable::Cached(cache)) = file.file().mappable() {
        cache.flush().await?;
    }
    Ok(0)
}

fn check_advice(cx: &SyscallCx, fd: u64, advice: u64) -> Result<()> {
    let file = cx.files().get(fd as i32)?;
    if file.inode().metadata().file_type() == FileType::Fifo {
        return Err(Errno::ESPIPE);
    }
    if advice as u32 > 5 { Err(Errno::EINVAL) } else { Ok(()) }
}

async fn fadvise64(cx: &SyscallCx, [fd, _, _, _, advice, _]: Args) -> Result<i64> {
    check_advice(cx, fd, advice)?;
    Ok(0)
}

async fn fadvise64_64(cx: &SyscallCx, [fd, _, _, _, _, advice]: Args) -> Result<i64> {
    check_advice(cx, fd, advice)?;
    Ok(0)
}

async fn readahead(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.check_readable()?;
    if file.inode().metadata().file_type() == FileType::Regular { Ok(0) } else { Err(Errno::EINVAL) }
}

async fn fallocate(cx: &SyscallCx, [fd, mode, low, high, len_low, len_high]: Args) -> Result<i64> {
    const KEEP_SIZE: u64 = 1;
    let start = offset(low, high)?;
    let len = length(len_low, len_high)?;
    let file = cx.files().get(fd as i32)?;
    if mode & !KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    file.check_writable()?;
    let end = start.checked_add(len).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
    match file.inode().metadata().file_type() {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE),
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    check_file_limit(cx, end)?;
    file.inode().allocate(start, len).await?;
    let meta = file.inode().metadata();
    if mode & KEEP_SIZE == 0 && end > meta.size {
        let now = cx.now();
        let change = SetAttr { size: Some(end), mtime: Some(now), ctime: now, ..SetAttr::default() };
        file.inode().set_attr(change).await?;
    }
    Ok(0)
}
