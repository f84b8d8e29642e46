//! Root, working directory and umask of a task (Linux's `fs_struct`).

use std::cell::{Cell, RefCell};

use super::Path;

/// What clone(2) shares with CLONE_FS.
#[derive(Clone)]
pub struct FsContext {
    root: RefCell<Path>,
    cwd: RefCell<Path>,
    umask: Cell<u32>,
}

impl FsContext {
    /// A context at the root of the tree.
    pub fn new(root: Path) -> Self {
        Self { cwd: RefCell::new(root.clone()), root: RefCell::new(root), umask: Cell::new(0o022) }
    }

    /// Where absolute names start.
    pub fn root(&self) -> Path {
        self.root.borrow().clone()
    }

    /// Where relative names start.
    pub fn cwd(&self) -> Path {
        self.cwd.borrow().clone()
    }

    /// The permission bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.umask.get()
    }

    /// chroot(2).
    pub fn set_root(&self, root: Path) {
        let old = self.root.replace(root);
        drop(old);
    }

    /// chdir(2).
    pub fn set_cwd(&self, cwd: Path) {
        let old = self.cwd.replace(cwd);
        drop(old);
    }

    /// umask(2); returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        self.umask.replace(umask & 0o777)
    }
}
