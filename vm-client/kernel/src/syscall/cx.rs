//! What one system call may touch.

use std::future::Future;
use std::rc::Rc;

use linux_abi::layout::Width;
use vm_mem::VirtAddr;

use crate::mm::Mm;
use crate::task::Task;
use crate::{Errno, Kernel, Result};

/// The caller of a system call and its kernel. Cheap to clone.
#[derive(Clone)]
pub struct SyscallCx {
    /// The kernel.
    pub kernel: Rc<Kernel>,
    /// The calling task.
    pub task: Rc<Task>,
}

impl SyscallCx {
    /// The caller's address space.
    pub fn mm(&self) -> Rc<Mm> {
        self.task.mm().expect("a task in a system call has not ended and has an address space")
    }

    /// The size of a pointer in the structures of the call: that of the table the caller came through.
    pub fn width(&self) -> Width {
        Width::Bits32
    }

    /// Reads user memory; EFAULT if any byte cannot be read. Never call it under a lock.
    pub async fn read_user(&self, from: u64, to: &mut [u8]) -> Result<()> {
        self.mm().read(VirtAddr(from), to).await
    }

    /// Writes user memory likewise.
    pub async fn write_user(&self, to: u64, from: &[u8]) -> Result<()> {
        self.mm().write(VirtAddr(to), from).await
    }

    /// Reads a NUL-terminated string of at most `max` bytes without the NUL; `too_long` if there is no NUL within.
    pub async fn read_cstr(&self, from: u64, max: usize, too_long: Errno) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut at = from;
        loop {
            // To the page end at most: the string may end right before an unmapped page.
            let step = (4096 - (at % 4096) as usize).min(256).min(max + 1 - out.len());
            let mut piece = [0u8; 256];
            let piece = &mut piece[..step];
            self.read_user(at, piece).await?;
            if let Some(end) = piece.iter().position(|b| *b == 0) {
                out.extend_from_slice(&piece[..end]);
                return Ok(out);
            }
            out.extend_from_slice(piece);
            if out.len() > max {
                return Err(too_long);
            }
            at += step as u64;
        }
    }

    /// Reads a string, of which no more than the first `max` bytes matter.
    pub async fn read_prefix(&self, from: u64, max: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < max {
            let mut byte = [0];
            self.read_user(from + out.len() as u64, &mut byte).await?;
            if byte[0] == 0 {
                break;
            }
            out.push(byte[0]);
        }
        Ok(out)
    }

    /// Reads a path name (at most 4095 bytes, else ENAMETOOLONG).
    pub async fn read_path(&self, from: u64) -> Result<Vec<u8>> {
        self.read_cstr(from, 4095, Errno::ENAMETOOLONG).await
    }

    /// Reads a 32-bit word.
    pub async fn read_u32(&self, from: u64) -> Result<u32> {
        let mut word = [0; 4];
        self.read_user(from, &mut word).await?;
        Ok(u32::from_le_bytes(word))
    }

    /// Writes a 32-bit word.
    pub async fn write_u32(&self, to: u64, value: u32) -> Result<()> {
        self.write_user(to, &value.to_le_bytes()).await
    }

    /// Writes a `long`.
    pub async fn write_word(&self, to: u64, value: u64) -> Result<()> {
        self.write_user(to, value.to_le_bytes().get(..self.width().bytes()).unwrap_or_default()).await
    }

    /// Waits, unless a signal that is not blocked arrives first: then ERESTARTSYS, and the wait was dropped.
    pub async fn interruptible<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        self.task.interruptible(wait).await
    }
}
