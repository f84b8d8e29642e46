//! read(2), write(2), their vector and offset forms, and lseek(2).

use linux_abi::fcntl::O_APPEND;

use super::socket::{read_socket, write_socket};
use super::table::{Args, Row, wait};
use super::user_buffer::{UserBuffer, read_file, write_file};
use crate::net::Socket;
use crate::vfs::Whence;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(3, "read", read),
    wait!(4, "write", write),
    wait!(19, "lseek", lseek),
    wait!(140, "_llseek", llseek),
    wait!(145, "readv", readv),
    wait!(146, "writev", writev),
    wait!(180, "pread64", pread64),
    wait!(181, "pwrite64", pwrite64),
    wait!(333, "preadv", preadv),
    wait!(334, "pwritev", pwritev),
    wait!(378, "preadv2", preadv2, "only RWF_HIPRI, RWF_DSYNC, RWF_SYNC and RWF_APPEND"),
    wait!(379, "pwritev2", pwritev2, "only RWF_HIPRI, RWF_DSYNC, RWF_SYNC and RWF_APPEND"),
];

/// A 64-bit value from two registers.
pub(super) fn wide(low: u64, high: u64) -> u64 {
    (high << 32) | (low & 0xffff_ffff)
}

/// A file offset from two registers; EINVAL if it is negative.
pub(super) fn offset(low: u64, high: u64) -> Result<u64> {
    let offset = wide(low, high);
    if i64::try_from(offset).is_err() { Err(Errno::EINVAL) } else { Ok(offset) }
}

async fn read(cx: &SyscallCx, [fd, addr, len, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.check_readable()?;
    let buffer = UserBuffer::one(addr, len);
    if file.downcast::<Socket>().is_some() {
        return Ok(read_socket(cx, &file, buffer).await? as i64);
    }
    Ok(read_file(cx, &file, None, buffer).await? as i64)
}

async fn write(cx: &SyscallCx, [fd, addr, len, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.check_writable()?;
    let buffer = UserBuffer::one(addr, len);
    if file.downcast::<Socket>().is_some() {
        return Ok(write_socket(cx, &file, buffer).await? as i64);
    }
    Ok(write_file(cx, &file, None, buffer).await? as i64)
}

async fn readv(cx: &SyscallCx, [fd, iov, count, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.check_readable()?;
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    if file.downcast::<Socket>().is_some() {
        return Ok(read_socket(cx, &file, buffer).await? as i64);
    }
    Ok(read_file(cx, &file, None, buffer).await? as i64)
}

async fn writev(cx: &SyscallCx, [fd, iov, count, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.check_writable()?;
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    if file.downcast::<Socket>().is_some() {
        return Ok(write_socket(cx, &file, buffer).await? as i64);
    }
    Ok(write_file(cx, &file, None, buffer).await? as i64)
}

pub(super) async fn pread64(cx: &SyscallCx, [fd, addr, len, low, high, _]: Args) -> Result<i64> {
    let at = offset(low, high)?;
    let file = cx.files().get(fd as i32)?;
    file.check_readable()?;
    Ok(read_file(cx, &file, Some(at), UserBuffer::one(addr, len)).await? as i64)
}

pub(super) async fn pwrite64(cx: &SyscallCx, [fd, addr, len, low, high, _]: Args) -> Result<i64> {
    let at = offset(low, high)?;
    let file = cx.files().get(fd as i32)?;
    file.check_writable()?;
    Ok(write_file(cx, &file, Some(at), UserBuffer::one(addr, len)).await? as i64)
}

pub(super) async fn preadv(cx: &SyscallCx, [fd, iov, count, low, high, _]: Args) -> Result<i64> {
    let at = offset(low, high)?;
    let file = cx.files().get(fd as i32)?;
    file.check_readable()?;
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    Ok(read_file(cx, &file, Some(at), buffer).await? as i64)
}

pub(super) async fn pwritev(cx: &SyscallCx, [fd, iov, count, low, high, _]: Args) -> Result<i64> {
    let at = offset(low, high)?;
    let file = cx.files().get(fd as i32)?;
    file.check_writable()?;
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    Ok(write_file(cx, &file, Some(at), buffer).await? as i64)
}

/// Flags of preadv2(2) that change nothing here: RWF_HIPRI, RWF_DSYNC, RWF_SYNC.
const RWF_HARMLESS: u64 = 0x1 | 0x2 | 0x4;
const RWF_APPEND: u64 = 0x10;

/// The offset of preadv2(2) and pwritev2(2): -1 is the file's position.
fn offset_or_position(low: u64, high: u64) -> Result<Option<u64>> {
    if wide(low, high) == u64::MAX { Ok(None) } else { offset(low, high).map(Some) }
}

async fn preadv2(cx: &SyscallCx, [fd, iov, count, low, high, flags]: Args) -> Result<i64> {
    let at = offset_or_position(low, high)?;
    if flags & !RWF_HARMLESS != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let file = cx.files().get(fd as i32)?;
    file.check_readable()?;
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    Ok(read_file(cx, &file, at, buffer).await? as i64)
}

async fn pwritev2(cx: &SyscallCx, [fd, iov, count, low, high, flags]: Args) -> Result<i64> {
    let at = offset_or_position(low, high)?;
    if flags & !(RWF_HARMLESS | RWF_APPEND) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let file = cx.files().get(fd as i32)?;
    file.check_writable()?;
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    let at = if flags & RWF_APPEND != 0 && !file.flags().has(O_APPEND) { Some(file.file().size()) } else { at };
    let written = write_file(cx, &file, at, buffer).await?;
    if flags & (0x2 | 0x4) != 0 {
        super::sync::sync_file(&file).await?;
    }
    Ok(written as i64)
}

pub(super) fn whence(number: u64) -> Result<Whence> {
    Ok(match number {
        0 => Whence::Set,
        1 => Whence::Cur,
        2 => Whence::End,
        3 => Whence::Data,
        4 => Whence::Hole,
        _ => return Err(Errno::EINVAL),
    })
}

async fn lseek(cx: &SyscallCx, [fd, distance, from, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    let position = file.seek(whence(from)?, i64::from(distance as i32)).await?;
    i32::try_from(position).map(i64::from).map_err(|_| Errno::EOVERFLOW)
}

async fn llseek(cx: &SyscallCx, [fd, high, low, result, from, _]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    let position = file.seek(whence(from)?, wide(low, high) as i64).await?;
    cx.write_user(result, &position.to_le_bytes()).await?;
    Ok(0)
}
