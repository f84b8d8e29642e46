//! The pages of an ext2 file.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use ext2::Ino;
use vm_block::BlockDevice;
use vm_mem::PAGE_SIZE;
use vm_rt::Io;

use super::{Ext2Fs, errno, time};
use crate::mm::page_cache::PageSource;
use crate::vfs::Metadata;
use crate::{Errno, Result};

/// Reads and writes pages; shares the attributes with the inode, whose page cache owns it.
pub(super) struct Source<D: BlockDevice + 'static> {
    pub(super) fs: Weak<Ext2Fs<D>>,
    pub(super) ino: Ino,
    pub(super) meta: Rc<RefCell<Metadata>>,
}

impl<D: BlockDevice + 'static> Source<D> {
    fn fs(&self) -> Result<Rc<Ext2Fs<D>>> {
        self.fs.upgrade().ok_or(Errno::EIO)
    }
}

fn page_offset(index: u64) -> Result<u64> {
    index.checked_mul(PAGE_SIZE as u64).ok_or(Errno::EFBIG)
}

fn zero_rest(page: &mut [u8; PAGE_SIZE], read: usize) {
    if let Some(rest) = page.get_mut(read..) {
        rest.fill(0);
    }
}

impl<D: BlockDevice + 'static> PageSource for Source<D> {
    fn size(&self) -> u64 {
        self.meta.borrow().size
    }

    fn read_page<'a>(&'a self, index: u64, page: &'a mut [u8; PAGE_SIZE]) -> Io<'a, Result<()>> {
        let (fs, offset) = match self.fs().and_then(|fs| Ok((fs, page_offset(index)?))) {
            Ok(found) => found,
            Err(errno) => return Io::ready(Err(errno)),
        };
        match fs.disk.read_now(self.ino, offset, page) {
            Some(Ok(read)) => {
                zero_rest(page, read);
                Io::ready(Ok(()))
            }
            Some(Err(error)) => Io::ready(Err(errno(error))),
            None => Io::later(async move {
                let read = fs.disk.read(self.ino, offset, page).await.map_err(errno)?;
                zero_rest(page, read);
                Ok(())
            }),
        }
    }

    fn write_page<'a>(&'a self, index: u64, page: &'a [u8; PAGE_SIZE]) -> Io<'a, Result<()>> {
        Io::later(async move {
            let fs = self.fs()?;
            let offset = page_offset(index)?;
            let (size, nlink) = {
                let meta = self.meta.borrow();
                (meta.size, meta.nlink)
            };
            // What nobody will ever read again need not be written.
            if nlink == 0 || offset >= size {
                return Ok(());
            }
            let len = usize::try_from(size - offset).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
            let data = page.get(..len).unwrap_or(page);
            let written = fs.disk.write(self.ino, offset, data, time((fs.now)())).await.map_err(errno)?;
            fs.refresh(self.ino).await?;
            if written < len { Err(Errno::ENOSPC) } else { Ok(()) }
        })
    }
}
