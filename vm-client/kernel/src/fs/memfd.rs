//! Memory descriptors: memfd_create(2) and file seals.

use std::any::Any;
use std::rc::Rc;

use linux_abi::fcntl::{
    F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, O_LARGEFILE, O_RDWR,
};

use super::tmpfs::{TmpFs, TmpInode, TmpOptions};
use crate::vfs::{Dentry, FileSystem, Inode, OpenFile, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

/// Opens a new memory descriptor; `seals` are those it begins with.
pub async fn open(cx: &SyscallCx, name: &[u8], seals: u32) -> Result<Rc<OpenFile>> {
    let vfs = &cx.kernel.vfs;
    let mount = vfs.memory_mount(|| {
        let options = TmpOptions { size: u64::MAX, inodes: u64::MAX, ..TmpOptions::new(&cx.kernel.memory) };
        let fs: Rc<dyn FileSystem> = TmpFs::new(&cx.kernel.memory, vfs.new_device_number(), options, cx.now());
        fs
    });
    let any: &dyn Any = &**mount.root.inode();
    let root = any.downcast_ref::<TmpInode>().ok_or(Errno::EIO)?;
    let inode = root.unnamed_sibling(&cx.creds(), cx.now(), seals)?;
    let mut shown = b"memfd:".to_vec();
    shown.extend_from_slice(name);
    let as_inode: Rc<dyn Inode> = Rc::clone(&inode) as Rc<dyn Inode>;
    let dentry = Dentry::unlinked_child(&mount.root, &shown, as_inode);
    let flags = OpenFlags(O_RDWR | O_LARGEFILE);
    let file = inode.open(cx, flags).await?;
    Ok(OpenFile::new(vfs, file, Path { mount, dentry }, flags))
}

fn sealable(file: &OpenFile) -> Result<&TmpInode> {
    let any: &dyn Any = &**file.inode();
    any.downcast_ref::<TmpInode>().filter(|inode| inode.seals().is_some()).ok_or(Errno::EINVAL)
}

/// F_GET_SEALS.
pub fn seals(file: &OpenFile) -> Result<u32> {
    sealable(file)?.seals().ok_or(Errno::EINVAL)
}

/// Whether a file may not be mapped shared and writable (mmap(2)) because of a seal.
pub fn is_write_sealed(file: &OpenFile) -> bool {
    seals(file).is_ok_and(|seals| seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0)
}

/// F_ADD_SEALS.
pub fn add_seals(cx: &SyscallCx, file: &OpenFile, seals: u32) -> Result<()> {
    const KNOWN: u32 = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    if !file.flags().writable() {
        return Err(Errno::EPERM);
    }
    if seals & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = sealable(file)?;
    let old = inode.seals().ok_or(Errno::EINVAL)?;
    if old & F_SEAL_SEAL != 0 {
        return Err(Errno::EPERM);
    }
    let newly = seals & !old;
    if newly & F_SEAL_WRITE != 0 && inode.page_cache().is_some_and(|cache| cx.kernel.memory.is_mapped_writable(&cache))
    {
        return Err(Errno::EBUSY);
    }
    inode.set_seals(old | seals);
    Ok(())
}
