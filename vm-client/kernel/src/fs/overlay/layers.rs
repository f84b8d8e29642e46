//! What the layers have of a name, and how names of the lower ones are hidden.

use std::rc::Rc;

use linux_abi::stat;
use linux_abi::time::Timespec;

use super::OverlayInode;
use crate::vfs::{Dentry, FileType};
use crate::{Errno, Result, SyscallCx};

/// Set on a directory of which nothing below is seen.
pub(super) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// What attributes of this file system begin with; they are not shown.
pub(super) const PRIVATE: &[u8] = b"trusted.overlay.";

/// What the layers have of a name.
#[derive(Default)]
pub(super) struct Found {
    pub(super) upper: Option<Rc<Dentry>>,
    pub(super) lower: Vec<Rc<Dentry>>,
}

/// Whether it hides a name of the layers below.
pub(super) fn is_whiteout(dentry: &Dentry) -> bool {
    let meta = dentry.inode().metadata();
    meta.file_type() == FileType::CharDevice && meta.rdev == 0
}

async fn is_opaque(dentry: &Dentry) -> bool {
    dentry.inode().get_xattr(OPAQUE).await.is_ok_and(|value| value == b"y")
}

impl OverlayInode {
    /// Looks a name up in every layer of the directory.
    pub(super) async fn layers(&self, cx: &SyscallCx, name: &[u8]) -> Result<Found> {
        let dentries = &cx.kernel.vfs.dentries;
        let mut found = Found::default();
        if let Some(dir) = self.upper()
            && let Some(dentry) = dentries.lookup(cx, &dir, name).await?
        {
            if is_whiteout(&dentry) {
                return Ok(found);
            }
            let ends = !dentry.is_dir() || is_opaque(&dentry).await;
            found.upper = Some(dentry);
            if ends {
                return Ok(found);
            }
        }
        for dir in self.lower() {
            let Some(dentry) = dentries.lookup(cx, dir, name).await? else { continue };
            let merged = found.upper.is_some() || !found.lower.is_empty();
            if is_whiteout(&dentry) || merged && !dentry.is_dir() {
                break;
            }
            let ends = !dentry.is_dir() || is_opaque(&dentry).await;
            found.lower.push(dentry);
            if ends {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a lower layer would show the name if the upper one had nothing of it.
    pub(super) async fn shows_below(&self, cx: &SyscallCx, name: &[u8]) -> Result<bool> {
        for dir in self.lower() {
            if let Some(dentry) = cx.kernel.vfs.dentries.lookup(cx, dir, name).await? {
                return Ok(!is_whiteout(&dentry));
            }
        }
        Ok(false)
    }
}

/// Hides a name of the layers below. The caller holds the directory's lock.
pub(super) async fn hide(cx: &SyscallCx, dir: &Rc<Dentry>, name: &[u8], now: Timespec) -> Result<()> {
    let inode = dir.inode().create(name, stat::S_IFCHR, 0, &cx.creds(), now).await?;
    cx.kernel.vfs.dentries.insert(dir, name, inode);
    Ok(())
}

/// Takes away what hides a name, for another to take its place; tells whether something did. The caller holds the
/// directory's lock.
pub(super) async fn uncover(cx: &SyscallCx, dir: &Rc<Dentry>, name: &[u8], now: Timespec) -> Result<bool> {
    let dentries = &cx.kernel.vfs.dentries;
    match dentries.lookup_locked(cx, dir, name).await? {
        Some(dentry) if is_whiteout(&dentry) => {
            dir.inode().unlink(name, now).await?;
            dentries.unlink(&dentry);
            Ok(true)
        }
        Some(_) => Err(Errno::EEXIST),
        None => Ok(false),
    }
}

/// Lets nothing of the layers below be seen in a directory.
pub(super) async fn make_opaque(dentry: &Dentry, now: Timespec) -> Result<()> {
    dentry.inode().set_xattr(OPAQUE, b"y", 0, now).await
}
