//! Open directories: only getdents(2) and lseek(2) work on them.

use std::any::Any;

use vm_rt::Io;

use super::{File, IoMode};
use crate::{Errno, Result, SyscallCx};

/// An open directory. Its position is the cookie of [`super::Inode::read_dir`].
pub(super) struct Directory;

impl File for Directory {
    fn read<'a>(&'a self, _cx: &'a SyscallCx, _mode: IoMode, _buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        Io::ready(Err(Errno::EISDIR))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
