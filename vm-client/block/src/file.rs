//! A disk in a file of the host.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::pages::check_range;
use crate::{BlockDevice, BlockError};

/// A disk in a file of the host. Reads and writes block the thread, so this is for tools and tests, not for a VM in a page.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    size: u64,
    read_only: bool,
}

impl FileDevice {
    /// Opens an existing image for reading and writing.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(OpenOptions::new().read(true).write(true).open(path)?, false)
    }

    /// Opens an existing image for reading only.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?, true)
    }

    /// Creates (or empties) a sparse file of `size` zero bytes.
    pub fn create(path: &Path, size: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(size)?;
        Self::of(file, false)
    }

    fn of(file: File, read_only: bool) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size, read_only })
    }
}

fn store_error(error: &io::Error) -> BlockError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlockError::StoreFull,
        _ => BlockError::Store(error.to_string()),
    }
}

impl BlockDevice for FileDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.read_now(offset, buf).unwrap_or(Ok(()))
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        if let Err(error) = check_range(self.size, offset, buf.len()) {
            return Some(Err(error));
        }
        Some(self.file.read_exact_at(buf, offset).map_err(|e| store_error(&e)))
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        check_range(self.size, offset, data.len())?;
        self.file.write_all_at(data, offset).map_err(|e| store_error(&e))
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.file.sync_data().map_err(|e| store_error(&e))
    }
}
