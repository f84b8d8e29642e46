//! Moving data between files: sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2).

use std::rc::Rc;

use linux_abi::fcntl::{O_APPEND, O_NONBLOCK};
use linux_abi::poll::Ready;

use super::table::{Args, Row, wait};
use super::user_buffer::{MAX_RW_COUNT, UserBuffer, read_file, write_file};
use crate::fs::pipe::PipeEnd;
use crate::vfs::{FileType, OpenFile, notify};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(187, "sendfile", sendfile),
    wait!(239, "sendfile64", sendfile64),
    wait!(313, "splice", splice),
    wait!(315, "tee", tee),
    wait!(316, "vmsplice", vmsplice),
    wait!(377, "copy_file_range", copy_file_range),
];

const PIECE: usize = 64 * 1024;
const SPLICE_F_NONBLOCK: u64 = 2;

/// Where one side of a copy is: at an offset of its own, or at the file's position.
#[derive(Clone, Copy)]
enum Place {
    Position,
    Offset(u64),
}

impl Place {
    fn advance(&mut self, by: usize) {
        if let Self::Offset(offset) = self {
            *offset = offset.saturating_add(by as u64);
        }
    }
}

async fn read(cx: &SyscallCx, file: &OpenFile, at: Place, buf: &mut [u8]) -> Result<usize> {
    match at {
        Place::Position => file.read(cx, buf).await,
        Place::Offset(offset) => file.read_at(cx, offset, buf).await,
    }
}

async fn write_all(cx: &SyscallCx, file: &OpenFile, at: &mut Place, data: &[u8]) -> (usize, Result<()>) {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let written = match *at {
            Place::Position => file.write(cx, rest).await,
            Place::Offset(offset) => file.write_at(cx, offset, rest).await,
        };
        match written {
            Ok(0) => break,
            Ok(count) => {
                done += count;
                at.advance(count);
            }
            Err(errno) => return (done, Err(errno)),
        }
    }
    (done, Ok(()))
}

/// Copies until the source ends, `len` is reached, or something fails after a part was copied. What was read but could not
/// be written is given back to a source that has a position.
async fn copy(
    cx: &SyscallCx,
    (from, mut from_at): (&OpenFile, Place),
    (to, mut to_at): (&OpenFile, Place),
    len: usize,
) -> Result<(usize, Place, Place)> {
    let len = len.min(MAX_RW_COUNT);
    let mut buffer = vec![0; len.min(PIECE)];
    let mut done = 0;
    while done < len {
        let want = (len - done).min(PIECE);
        let count = match read(cx, from, from_at, &mut buffer[..want]).await {
            Ok(0) => break,
            Ok(count) => count,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        };
        let (written, result) = write_all(cx, to, &mut to_at, &buffer[..count]).await;
        from_at.advance(written);
        if written < count && matches!(from_at, Place::Position) && from.file().seekable() {
            let mut position = from.lock_position().await;
            *position = position.saturating_sub((count - written) as u64);
        }
        done += written;
        match result {
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
            // Streams give what they have; waiting for more is the caller's choice.
            Ok(()) if written < count || !from.file().seekable() => break,
            Ok(()) => {}
        }
    }
    if done > 0 {
        from.vfs().notifier.changed(&from.path().dentry, notify::ACCESS);
        to.vfs().notifier.changed(&to.path().dentry, notify::MODIFY);
    }
    Ok((done, from_at, to_at))
}

async fn send(cx: &SyscallCx, [to, from, _, len, ..]: Args, at: Place) -> Result<(usize, Place)> {
    let from = cx.files().get(from as i32)?;
    let to = cx.files().get(to as i32)?;
    from.check_readable()?;
    to.check_writable()?;
    if to.flags().has(O_APPEND) {
        return Err(Errno::EINVAL);
    }
    if !from.file().seekable() || from.inode().metadata().file_type() == FileType::Directory {
        return Err(if matches!(at, Place::Offset(_)) { Errno::ESPIPE } else { Errno::EINVAL });
    }
    let (done, at, _) = copy(cx, (&from, at), (&to, Place::Position), len as usize).await?;
    Ok((done, at))
}

async fn sendfile(cx: &SyscallCx, args: Args) -> Result<i64> {
    if args[2] == 0 {
        return Ok(send(cx, args, Place::Position).await?.0 as i64);
    }
    let offset = cx.read_u32(args[2]).await? as i32;
    let at = Place::Offset(u64::try_from(offset).map_err(|_| Errno::EINVAL)?);
    let (done, at) = send(cx, args, at).await?;
    if let Place::Offset(offset) = at {
        cx.write_u32(args[2], u32::try_from(offset).map_err(|_| Errno::EOVERFLOW)?).await?;
    }
    Ok(done as i64)
}

async fn read_offset(cx: &SyscallCx, from: u64) -> Result<Place> {
    if from == 0 {
        return Ok(Place::Position);
    }
    let mut raw = [0; 8];
    cx.read_user(from, &mut raw).await?;
    let offset = u64::try_from(i64::from_le_bytes(raw)).map_err(|_| Errno::EINVAL)?;
    Ok(Place::Offset(offset))
}

async fn write_offset(cx: &SyscallCx, to: u64, at: Place) -> Result<()> {
    match at {
        Place::Position => Ok(()),
        Place::Offset(offset) => cx.write_user(to, &offset.to_le_bytes()).await,
    }
}

async fn sendfile64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let at = read_offset(cx, args[2]).await?;
    let (done, at) = send(cx, args, at).await?;
    write_offset(cx, args[2], at).await?;
    Ok(done as i64)
}

async fn copy_file_range(cx: &SyscallCx, [from, from_at, to, to_at, len, flags]: Args) -> Result<i64> {
    let from = cx.files().get(from as i32)?;
    let to = cx.files().get(to as i32)?;
    let from_place = read_offset(cx, from_at).await?;
    let to_place = read_offset(cx, to_at).await?;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    for file in [&from, &to] {
        match file.inode().metadata().file_type() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    from.check_readable()?;
    to.check_writable()?;
    if to.flags().has(O_APPEND) {
        return Err(Errno::EBADF);
    }
    let (source, target) = (from.inode().metadata(), to.inode().metadata());
    // Files that make their text when read have size 0: programs must fall back to reading them.
    if source.dev != target.dev {
        return Err(Errno::EXDEV);
    }
    if source.ino == target.ino {
        let place = |at, file: &OpenFile| match at {
            Place::Position => file.position_now(),
            Place::Offset(offset) => offset,
        };
        let (start, other) = (place(from_place, &from), place(to_place, &to));
        if start < other.saturating_add(len) && other < start.saturating_add(len) {
            return Err(Errno::EINVAL);
        }
    }
    let (done, from_place, to_place) =
        copy(cx, (&from, from_place), (&to, to_place), usize::try_from(len).unwrap_or(MAX_RW_COUNT)).await?;
    write_offset(cx, from_at, from_place).await?;
    write_offset(cx, to_at, to_place).await?;
    Ok(done as i64)
}

fn is_pipe(file: &OpenFile) -> bool {
    file.downcast::<PipeEnd>().is_some()
}

/// Waits until a pipe has room or bytes, so that nothing is taken from the other side in vain.
async fn wait_for(cx: &SyscallCx, file: &OpenFile, ready: Ready, nonblock: bool) -> Result<()> {
    let wanted = ready | Ready::HUP | Ready::ERR;
    loop {
        let change = file.file().wait(ready);
        if file.file().poll(ready).intersects(wanted) {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        cx.interruptible(change).await?;
    }
}

async fn splice(cx: &SyscallCx, [from, from_at, to, to_at, len, flags]: Args) -> Result<i64> {
    if len == 0 {
        return Ok(0);
    }
    if flags & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let from = cx.files().get(from as i32)?;
    let to = cx.files().get(to as i32)?;
    from.check_readable()?;
    to.check_writable()?;
    if !is_pipe(&from) && !is_pipe(&to) {
        return Err(Errno::EINVAL);
    }
    if (is_pipe(&from) && from_at != 0) || (is_pipe(&to) && to_at != 0) {
        return Err(Errno::ESPIPE);
    }
    let from_place = read_offset(cx, from_at).await?;
    let to_place = read_offset(cx, to_at).await?;
    if let (Some(source), Some(target)) = (from.downcast::<PipeEnd>(), to.downcast::<PipeEnd>())
        && Rc::ptr_eq(source.pipe(), target.pipe())
    {
        return Err(Errno::EINVAL);
    }
    let nonblock = |file: &OpenFile| flags & SPLICE_F_NONBLOCK != 0 || file.flags().has(O_NONBLOCK);
    let mut len = usize::try_from(len).unwrap_or(MAX_RW_COUNT);
    if let Some(end) = to.downcast::<PipeEnd>() {
        wait_for(cx, &to, Ready::OUT, nonblock(&to)).await?;
        // No more than the pipe takes at once.
        len = len.min((end.pipe().capacity() - end.pipe().len()).max(1));
    }
    if is_pipe(&from) {
        wait_for(cx, &from, Ready::IN, nonblock(&from)).await?;
    }
    let (done, from_place, to_place) = copy(cx, (&from, from_place), (&to, to_place), len).await?;
    write_offset(cx, from_at, from_place).await?;
    write_offset(cx, to_at, to_place).await?;
    Ok(done as i64)
}

async fn tee(cx: &SyscallCx, [from, to, len, flags, ..]: Args) -> Result<i64> {
    if flags & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let from = cx.files().get(from as i32)?;
    let to = cx.files().get(to as i32)?;
    from.check_readable()?;
    to.check_writable()?;
    let (Some(source), Some(target)) = (from.downcast::<PipeEnd>(), to.downcast::<PipeEnd>()) else {
        return Err(Errno::EINVAL);
    };
    if Rc::ptr_eq(source.pipe(), target.pipe()) {
        return Err(Errno::EINVAL);
    }
    let nonblock = |file: &OpenFile| flags & SPLICE_F_NONBLOCK != 0 || file.flags().has(O_NONBLOCK);
    wait_for(cx, &to, Ready::OUT, nonblock(&to)).await?;
    wait_for(cx, &from, Ready::IN, nonblock(&from)).await?;
    let room = target.pipe().capacity().saturating_sub(target.pipe().len());
    let data = source.pipe().peek(room.min(usize::try_from(len).unwrap_or(room)));
    if data.is_empty() {
        return Ok(0);
    }
    Ok(to.write(cx, &data).await? as i64)
}

async fn vmsplice(cx: &SyscallCx, [fd, iov, count, flags, ..]: Args) -> Result<i64> {
    if flags & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd as i32)?;
    if !is_pipe(&file) {
        return Err(Errno::EBADF);
    }
    let buffer = UserBuffer::iovec(cx, iov, count).await?;
    let moved = if file.flags().writable() {
        write_file(cx, &file, None, buffer).await?
    } else {
        read_file(cx, &file, None, buffer).await?
    };
    Ok(moved as i64)
}
