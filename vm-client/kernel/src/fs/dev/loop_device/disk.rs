//! Loop devices under a file system.

use std::rc::Rc;

use vm_block::{BlockDevice, BlockError};

use super::{LoopDevice, lo};
use crate::{Errno, Result};

/// A loop device that a file system is mounted from.
pub(crate) struct MountedLoop(Rc<LoopDevice>);

impl MountedLoop {
    /// Takes the device into use; ENXIO without a file behind it.
    pub(crate) fn new(device: Rc<LoopDevice>) -> Result<Self> {
        device.place()?;
        device.enter();
        Ok(Self(device))
    }
}

impl Drop for MountedLoop {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl MountedLoop {
    fn check(&self, offset: u64, len: usize) -> std::result::Result<(), BlockError> {
        let size = self.0.size.get();
        let len = len as u64;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(BlockError::OutOfRange { offset, len, size }),
        }
    }
}

impl BlockDevice for MountedLoop {
    fn size(&self) -> u64 {
        self.0.size.get()
    }

    fn read_only(&self) -> bool {
        self.0.flags() & lo::READ_ONLY != 0
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::result::Result<(), BlockError> {
        self.check(offset, buf.len())?;
        self.0.read(offset, buf).await.map(drop).map_err(failed)
    }

    async fn reserve(&self, _bytes: u64) -> std::result::Result<(), BlockError> {
        self.0.make_room().await.map_err(failed)
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> std::result::Result<(), BlockError> {
        self.check(offset, data.len())?;
        self.0.put(offset, data);
        Ok(())
    }

    async fn flush(&self) -> std::result::Result<(), BlockError> {
        self.0.sync().await.map_err(failed)
    }
}

/// What a file system on the device is told of a failure of the file.
fn failed(errno: Errno) -> BlockError {
    match errno {
        Errno::ENOSPC => BlockError::StoreFull,
        errno => BlockError::Store(errno.to_string()),
    }
}
