//! Memory of another process: as it may be accessed (process_vm_readv(2)), and as debuggers access it, whatever its
//! protection (ptrace(2), /proc/PID/mem).

use linux_abi::Errno;
use vm_mem::{Access, FrameId, PAGE_SIZE, VirtAddr};

use super::fault::Force;
use super::{Mm, at};

impl Mm {
    /// Reads what can be read from an address on; EFAULT if not even the first byte.
    pub async fn read_some(&self, from: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let present = self.populate(VirtAddr(from), to.len(), Access::Read).await?.min(to.len());
        self.read(VirtAddr(from), &mut to[..present]).await?;
        Ok(present)
    }

    /// Writes what can be written likewise.
    pub async fn write_some(&self, to: u64, from: &[u8]) -> Result<usize, Errno> {
        let present = self.populate(VirtAddr(to), from.len(), Access::Write).await?.min(from.len());
        self.write(VirtAddr(to), &from[..present]).await?;
        Ok(present)
    }

    /// Reads as a debugger does; EIO if not even the first byte is mapped.
    pub async fn peek(&self, from: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < to.len() {
            let here = at(VirtAddr(from), done)?;
            let len = (PAGE_SIZE - here.offset()).min(to.len() - done);
            let Some(frame) = self.forced_frame(here, Access::Read).await else { break };
            let mmu = self.memory.mmu().borrow();
            to[done..done + len].copy_from_slice(&mmu.frame(frame)[here.offset()..here.offset() + len]);
            done += len;
        }
        if done == 0 && !to.is_empty() { Err(Errno::EIO) } else { Ok(done) }
    }

    /// Writes as a debugger does: a private page that is read-only gets a copy of its own. Code made from the bytes is
    /// forgotten.
    pub async fn poke(&self, to: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < from.len() {
            let here = at(VirtAddr(to), done)?;
            let len = (PAGE_SIZE - here.offset()).min(from.len() - done);
            if self.write(here, &from[done..done + len]).await.is_ok() {
                done += len;
                continue;
            }
            let Some(frame) = self.forced_frame(here, Access::Write).await else { break };
            self.memory.mmu().borrow_mut().write_frame(frame, here.offset(), &from[done..done + len]);
            done += len;
        }
        if done == 0 && !from.is_empty() { Err(Errno::EIO) } else { Ok(done) }
    }

    async fn forced_frame(&self, addr: VirtAddr, access: Access) -> Option<FrameId> {
        // What was made present may be taken away while something is read from a disk.
        for _ in 0..8 {
            self.repair(addr, access, Force::Yes).await.ok()?;
            if let Some(mapping) = self.memory.mmu().borrow().mapping(self.id, addr.page()) {
                return Some(mapping.frame);
            }
        }
        None
    }
}
