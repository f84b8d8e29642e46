//! overlayfs: a writable directory over read-only ones (Documentation/filesystems/overlayfs.rst of Linux).
//!
//! [`OverlayFs`] knows the layers, [`OverlayInode`] shows one file of them: of the upper layer if it is there, else of the
//! topmost lower one; directories are merged. [`copy_up`] brings a file to the upper layer before its first change. What
//! was removed below is hidden by a character device 0:0, a directory that hides what is below by an extended attribute,
//! both as Linux writes them, so that layers can be carried from one to the other.
//!
//! The names of the upper layer are changed together with their dentries, so the layer can be looked at while it is used.
//! Directories with a part below cannot be renamed (EXDEV, as without `redirect_dir`), and names cannot be exchanged.

mod copy_up;
mod inode;
mod layers;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use linux_abi::fcntl::AT_FDCWD;
use vm_rt::Io;

pub use inode::OverlayInode;

use crate::vfs::{Dentry, FileSystem, FileType, Follow, Inode, StatFs, walk};
use crate::{Errno, Kernel, Result, SyscallCx};

const OVERLAYFS_MAGIC: u32 = 0x794c_7630;
/// As many lower layers as Linux allows.
const MAX_LAYERS: usize = 500;

/// A mounted overlay.
pub struct OverlayFs {
    kernel: Weak<Kernel>,
    dev: u64,
    root: OnceCell<Rc<OverlayInode>>,
    writable: bool,
    options: String,
    /// Inodes in use, by the inode they show.
    inodes: RefCell<HashMap<*const (), Weak<OverlayInode>>>,
}

impl OverlayFs {
    /// Makes one from the options of mount(2): `lowerdir=A:B,upperdir=C,workdir=D`.
    pub async fn mount(cx: &SyscallCx, options: &str) -> Result<Rc<Self>> {
        let (mut lower, mut upper, mut work) = (Vec::new(), None, None);
        for option in split(options, ',') {
            let (key, value) = option.split_once('=').unwrap_or((&option, ""));
            match key {
                "lowerdir" => {
                    for name in split(value, ':') {
                        lower.push(directory(cx, &name).await?);
                    }
                }
                "upperdir" => upper = Some(directory(cx, value).await?),
                "workdir" => work = Some(directory(cx, value).await?),
                "index" | "metacopy" | "redirect_dir" | "xino" | "nfs_export" | "userxattr" | "volatile" | "uuid" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        if lower.is_empty() || lower.len() > MAX_LAYERS || upper.is_some() != work.is_some() {
            return Err(Errno::EINVAL);
        }
        if let (Some(upper), Some(work)) = (&upper, &work) {
            let inside = |a: &Rc<Dentry>, b: &Rc<Dentry>| a.contains(b);
            if !Rc::ptr_eq(upper.fs(), work.fs())
                || inside(upper, work)
                || inside(work, upper)
                || upper.fs().read_only()
            {
                return Err(Errno::EINVAL);
            }
        }
        let fs = Rc::new(Self {
            kernel: Rc::downgrade(&cx.kernel),
            dev: cx.kernel.vfs.new_device_number(),
            root: OnceCell::new(),
            writable: upper.is_some(),
            options: options.to_owned(),
            inodes: RefCell::default(),
        });
        let root = fs.inode(None, b"", upper, lower)?;
        let _ = fs.root.set(root);
        Ok(fs)
    }

    fn kernel(&self) -> Result<Rc<Kernel>> {
        self.kernel.upgrade().ok_or(Errno::EIO)
    }

    /// A context with root's rights: who may change something was decided before.
    fn context(&self) -> Result<SyscallCx> {
        self.kernel()?.init_context()
    }

    /// The inode for what the layers have of a name.
    fn inode(
        self: &Rc<Self>,
        parent: Option<Rc<OverlayInode>>,
        name: &[u8],
        upper: Option<Rc<Dentry>>,
        lower: Vec<Rc<Dentry>>,
    ) -> Result<Rc<OverlayInode>> {
        let top = upper.as_ref().or(lower.first()).ok_or(Errno::ENOENT)?;
        let key = Rc::as_ptr(top.inode()).cast::<()>();
        if let Some(known) = self.inodes.borrow().get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let inode = OverlayInode::new(self, parent, name, upper, lower)?;
        self.remember(key, &inode);
        Ok(inode)
    }

    fn remember(&self, key: *const (), inode: &Rc<OverlayInode>) {
        let mut inodes = self.inodes.borrow_mut();
        if inodes.len() > 256 && inodes.len().is_power_of_two() {
            inodes.retain(|_, inode| inode.strong_count() > 0);
        }
        inodes.insert(key, Rc::downgrade(inode));
    }
}

impl FileSystem for OverlayFs {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn root(&self) -> Rc<dyn Inode> {
        let root = self.root.get().cloned();
        root.expect("mounting made the root")
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        Io::later(async move {
            let top = self.root.get().ok_or(Errno::EIO)?.real();
            let below = top.fs().statfs().await?;
            Ok(StatFs { magic: OVERLAYFS_MAGIC, ..below })
        })
    }

    fn options(&self) -> String {
        self.options.clone()
    }

    fn sync(&self) -> Io<'_, Result<()>> {
        Io::later(async move {
            let top = self.root.get().ok_or(Errno::EIO)?.real();
            top.fs().sync().await
        })
    }

    fn read_only(&self) -> bool {
        !self.writable
    }
}

async fn directory(cx: &SyscallCx, name: &str) -> Result<Rc<Dentry>> {
    let path = walk::resolve(cx, AT_FDCWD, name.as_bytes(), Follow::Yes).await?;
    if path.inode().metadata().file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    Ok(path.dentry)
}

/// The parts of a list; a backslash takes the meaning of what follows it.
fn split(list: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = list.chars();
    while let Some(letter) = letters.next() {
        let Some(last) = parts.last_mut() else { break };
        match letter {
            // Only the innermost list takes escapes off.
            '\\' if separator == ':' => last.extend(letters.next()),
            '\\' => {
                last.push('\\');
                last.extend(letters.next());
            }
            letter if letter == separator => parts.push(String::new()),
            letter => last.push(letter),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
