//! Bringing files to the upper layer before they are changed.

use std::pin::Pin;
use std::rc::Rc;

use linux_abi::fcntl::O_WRONLY;
use linux_abi::stat;

use super::OverlayInode;
use super::layers::PRIVATE;
use crate::vfs::{Dentry, FileType, Inode, IoMode, OpenFlags, SetAttr};
use crate::{Errno, Result, SyscallCx};

/// Bytes copied at a time.
const STEP: usize = 64 * 1024;

impl OverlayInode {
    /// The file in the upper layer, brought there if need be, and the directories it is in before it.
    pub(super) fn copied_up(&self) -> Pin<Box<dyn Future<Output = Result<Rc<Dentry>>> + '_>> {
        Box::pin(async move {
            if let Some(upper) = self.upper() {
                return Ok(upper);
            }
            let fs = self.fs()?;
            if !fs.writable {
                return Err(Errno::EROFS);
            }
            let _guard = self.lock.lock().await;
            if let Some(upper) = self.upper() {
                return Ok(upper);
            }
            let parent = self.parent.as_ref().ok_or(Errno::EROFS)?;
            let dir = parent.copied_up().await?;
            let cx = fs.context()?;
            let upper = copy(&cx, &self.real(), &dir, &self.name).await?;
            fs.remember(Rc::as_ptr(upper.inode()).cast(), &self.this.upgrade().ok_or(Errno::EIO)?);
            self.set_upper(&upper);
            Ok(upper)
        })
    }
}

/// Makes a copy of a file, or an empty directory like it, in a directory of the upper layer.
async fn copy(cx: &SyscallCx, from: &Rc<Dentry>, dir: &Rc<Dentry>, name: &[u8]) -> Result<Rc<Dentry>> {
    let source = from.inode();
    let meta = source.metadata();
    let now = cx.now();
    let guard = dir.lock.lock().await;
    let inode = match meta.file_type() {
        FileType::Symlink => {
            let target = source.read_link(cx).await?;
            dir.inode().symlink(name, &target, &cx.creds(), now).await?
        }
        _ => dir.inode().create(name, meta.mode, meta.rdev, &cx.creds(), now).await?,
    };
    let copied = fill(cx, source, &inode).await;
    if let Err(errno) = copied {
        let _ = dir.inode().unlink(name, now).await;
        return Err(errno);
    }
    let dentry = cx.kernel.vfs.dentries.insert(dir, name, inode);
    drop(guard);
    Ok(dentry)
}

async fn fill(cx: &SyscallCx, source: &Rc<dyn Inode>, to: &Rc<dyn Inode>) -> Result<()> {
    let meta = source.metadata();
    if let Some(cache) = source.page_cache() {
        let file = Rc::clone(to).open(cx, OpenFlags(O_WRONLY)).await?;
        let mut buf = vec![0; STEP];
        let mut offset = 0;
        while offset < meta.size {
            let count = cache.read(offset, &mut buf).await?;
            let mut left = buf.get(..count).filter(|data| !data.is_empty()).ok_or(Errno::EIO)?;
            while !left.is_empty() {
                let taken = file.write(cx, IoMode { offset, ..IoMode::default() }, left).await?;
                left = left.get(taken..).filter(|_| taken > 0).unwrap_or_default();
                offset += taken as u64;
            }
        }
    }
    for name in source.list_xattr().await.unwrap_or_default() {
        if !name.starts_with(PRIVATE) {
            let value = source.get_xattr(&name).await?;
            to.set_xattr(&name, &value, 0, cx.now()).await?;
        }
    }
    let is_link = meta.mode & stat::S_IFMT == stat::S_IFLNK;
    to.set_attr(SetAttr {
        mode: (!is_link).then_some(meta.mode & 0o7777),
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        size: None,
        atime: Some(meta.atime),
        mtime: Some(meta.mtime),
        ctime: cx.now(),
    })
    .await
}
