//! Moving file data between kernel buffers and the caller's memory.
//!
//! User memory is never touched under a lock, and data is taken from a file only once the memory it goes to was found to be
//! writable: a piece is at most [`PIECE`] bytes, its destination is populated, the file fills a kernel buffer, and the
//! buffer is copied out.

use linux_abi::layout::Width;
use vm_mem::{Access, VirtAddr};

use crate::vfs::{OpenFile, notify};
use crate::{Errno, Result, SyscallCx};

/// The most that one call moves (Linux's MAX_RW_COUNT).
pub(crate) const MAX_RW_COUNT: usize = 0x7fff_f000;
/// Entries a vector may have.
const UIO_MAXIOV: usize = 1024;
const PIECE: usize = 64 * 1024;

/// A part of the caller's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) addr: u64,
    pub(crate) len: usize,
}

/// The caller's memory that one call reads or writes, in order.
#[derive(Debug)]
pub(crate) struct UserBuffer {
    segments: Vec<Segment>,
    /// Bytes of the first segments that are dealt with.
    done: usize,
}

impl UserBuffer {
    /// One piece of memory.
    pub(crate) fn one(addr: u64, len: u64) -> Self {
        let len = usize::try_from(len).unwrap_or(MAX_RW_COUNT).min(MAX_RW_COUNT);
        Self { segments: vec![Segment { addr, len }], done: 0 }
    }

    /// What an array of `struct iovec` names.
    pub(crate) async fn iovec(cx: &SyscallCx, addr: u64, count: u64) -> Result<Self> {
        let count = usize::try_from(count).ok().filter(|count| *count <= UIO_MAXIOV).ok_or(Errno::EINVAL)?;
        let width = cx.width();
        let mut raw = vec![0; count * 2 * width.bytes()];
        cx.read_user(addr, &mut raw).await?;
        let mut segments = Vec::with_capacity(count);
        let mut total = 0usize;
        for entry in raw.chunks_exact(2 * width.bytes()) {
            let reader = linux_abi::layout::Reader::new(entry);
            let len = match width {
                Width::Bits32 => i64::from(reader.i32(4)),
                Width::Bits64 => reader.i64(8),
            };
            let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?.min(MAX_RW_COUNT - total);
            total += len;
            segments.push(Segment { addr: reader.word(width, 0), len });
        }
        Ok(Self { segments, done: 0 })
    }

    /// EFAULT unless at least the beginning can be written. The rest is found out when it is.
    pub(crate) async fn check_writable(&self, cx: &SyscallCx) -> Result<()> {
        self.next_accessible(cx, 1, Access::Write).await.map(|_| ())
    }

    /// The parts in order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// The next bytes, `max` at most, as parts of single segments.
    fn next(&self, max: usize) -> Vec<Segment> {
        let (mut skip, mut left) = (self.done, max);
        let mut parts = Vec::new();
        for segment in &self.segments {
            if skip >= segment.len {
                skip -= segment.len;
                continue;
            }
            let len = (segment.len - skip).min(left);
            if len == 0 {
                break;
            }
            parts.push(Segment { addr: segment.addr + skip as u64, len });
            skip = 0;
            left -= len;
        }
        parts
    }

    /// The next parts, cut where the memory cannot be accessed; EFAULT if that is at once.
    async fn next_accessible(&self, cx: &SyscallCx, max: usize, access: Access) -> Result<Vec<Segment>> {
        let mut parts = self.next(max);
        for index in 0..parts.len() {
            let Segment { addr, len } = parts[index];
            let present = match cx.mm().populate(VirtAddr(addr), len, access).await {
                Ok(present) => present.min(len),
                Err(errno) if index == 0 => return Err(errno),
                Err(_) => 0,
            };
            if present < len {
                parts[index].len = present;
                parts.truncate(index + 1);
                break;
            }
        }
        if parts.iter().all(|part| part.len == 0) && self.done < self.len() {
            return Err(Errno::EFAULT);
        }
        Ok(parts)
    }

    /// Copies to the next bytes.
    pub(crate) async fn put(&mut self, cx: &SyscallCx, data: &[u8]) -> Result<()> {
        let mut at = 0;
        for part in self.next(data.len()) {
            cx.write_user(part.addr, &data[at..at + part.len]).await?;
            at += part.len;
        }
        self.done += at;
        Ok(())
    }

    /// Copies the next bytes, `max` at most; fewer where the memory ends.
    pub(crate) async fn take(&mut self, cx: &SyscallCx, max: usize) -> Result<Vec<u8>> {
        let parts = self.next_accessible(cx, max, Access::Read).await?;
        let mut data = vec![0; parts.iter().map(|part| part.len).sum()];
        let mut at = 0;
        for part in parts {
            cx.read_user(part.addr, &mut data[at..at + part.len]).await?;
            at += part.len;
        }
        self.done += at;
        Ok(data)
    }
}

/// Reads from a file into the caller's memory, at the file's position or at an offset.
pub(crate) async fn read_file(
    cx: &SyscallCx,
    file: &OpenFile,
    at: Option<u64>,
    mut buffer: UserBuffer,
) -> Result<usize> {
    let total = buffer.len();
    let mut done = 0;
    let mut kernel_buffer = Vec::new();
    loop {
        let step = async {
            let parts = buffer.next_accessible(cx, PIECE, Access::Write).await?;
            let want = parts.iter().map(|part| part.len).sum::<usize>();
            kernel_buffer.resize(want, 0);
            let count = match at {
                None => file.read(cx, &mut kernel_buffer).await?,
                Some(offset) => {
                    let offset = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
                    file.read_at(cx, offset, &mut kernel_buffer).await?
                }
            };
            let data = kernel_buffer.get(..count).unwrap_or(&kernel_buffer);
            buffer.put(cx, data).await?;
            Ok((count, count < want))
        };
        match step.await {
            Ok((count, short)) => {
                done += count;
                // A stream may have more only after a wait.
                if short || done >= total || !file.file().seekable() {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    if done > 0 {
        file.vfs().notifier.changed(&file.path().dentry, notify::ACCESS);
    }
    Ok(done)
}

/// Writes the caller's memory to a file, at the file's position or at an offset.
pub(crate) async fn write_file(
    cx: &SyscallCx,
    file: &OpenFile,
    at: Option<u64>,
    mut buffer: UserBuffer,
) -> Result<usize> {
    let total = buffer.len();
    let mut done = 0;
    loop {
        let step = async {
            let data = buffer.take(cx, PIECE).await?;
            let count = match at {
                None => file.write(cx, &data).await?,
                Some(offset) => {
                    let offset = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
                    file.write_at(cx, offset, &data).await?
                }
            };
            Ok((count, count < data.len()))
        };
        match step.await {
            Ok((count, short)) => {
                done += count;
                if short || done >= total {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    if done > 0 {
        file.vfs().notifier.changed(&file.path().dentry, notify::MODIFY);
    }
    Ok(done)
}
