//! Mounts and the tree they make (mount(2), mount_namespaces(7)).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::{Dentry, FileSystem, Path};
use crate::{Errno, Result};

/// Flags of a mount, as in mount(2).
#[expect(missing_docs, reason = "the names are Linux's own")]
pub mod flags {
    pub const RDONLY: u32 = 1;
    pub const NOSUID: u32 = 2;
    pub const NODEV: u32 = 4;
    pub const NOEXEC: u32 = 8;
    pub const SYNCHRONOUS: u32 = 16;
    pub const REMOUNT: u32 = 32;
    pub const NOATIME: u32 = 1 << 10;
    pub const NODIRATIME: u32 = 1 << 11;
    pub const BIND: u32 = 1 << 12;
    pub const MOVE: u32 = 1 << 13;
    pub const REC: u32 = 1 << 14;
    pub const UNBINDABLE: u32 = 1 << 17;
    pub const PRIVATE: u32 = 1 << 18;
    pub const SLAVE: u32 = 1 << 19;
    pub const SHARED: u32 = 1 << 20;
    pub const RELATIME: u32 = 1 << 21;
    pub const STRICTATIME: u32 = 1 << 24;
    /// Those a mount keeps.
    pub const KEPT: u32 = RDONLY | NOSUID | NODEV | NOEXEC | NOATIME | NODIRATIME | RELATIME;
}

/// A file system, or a part of one, at a place in the tree.
pub struct Mount {
    /// Number in /proc/PID/mountinfo.
    pub id: u32,
    /// The directory that appears at the mount point.
    pub root: Rc<Dentry>,
    /// What was mounted: the first column of /proc/mounts.
    pub source: String,
    flags: Cell<u32>,
    point: RefCell<Option<Path>>,
}

impl Mount {
    /// The file system.
    pub fn fs(&self) -> &Rc<dyn FileSystem> {
        self.root.fs()
    }

    /// Its [`flags`].
    pub fn flags(&self) -> u32 {
        self.flags.get()
    }

    /// Where it is mounted; `None` for the root and for mounts that are not in the tree.
    pub fn point(&self) -> Option<Path> {
        self.point.borrow().clone()
    }

    /// Whether nothing can be written through it.
    pub fn read_only(&self) -> bool {
        self.flags() & flags::RDONLY != 0 || self.fs().read_only()
    }
}

/// All mounts of a machine.
#[derive(Default)]
pub struct MountTable {
    mounts: RefCell<Vec<Rc<Mount>>>,
    by_point: RefCell<HashMap<(u32, *const Dentry), Rc<Mount>>>,
    last_id: Cell<u32>,
}

impl MountTable {
    /// Makes a mount that is not in the tree.
    pub fn detached(&self, root: Rc<Dentry>, source: &str, flags: u32) -> Rc<Mount> {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let flags = Cell::new(flags & flags::KEPT);
        Rc::new(Mount { id, root, source: source.to_owned(), flags, point: RefCell::default() })
    }

    /// Mounts the root of the tree, once.
    pub fn mount_root(&self, fs: Rc<dyn FileSystem>, source: &str, flags: u32) -> Path {
        let root = fs.root();
        let mount = self.detached(Dentry::root(fs, root), source, flags);
        self.mounts.borrow_mut().push(Rc::clone(&mount));
        let dentry = Rc::clone(&mount.root);
        Path { mount, dentry }
    }

    /// Mounts a file system.
    pub fn mount(&self, fs: Rc<dyn FileSystem>, at: &Path, source: &str, flags: u32) -> Result<Rc<Mount>> {
        let root = fs.root();
        let mount = self.detached(Dentry::root(fs, root), source, flags);
        self.attach(Rc::clone(&mount), at)?;
        Ok(mount)
    }

    /// Makes the part of the tree at `from` appear at `at` too.
    pub fn bind(&self, from: &Path, at: &Path, recursive: bool) -> Result<()> {
        let mount = self.detached(Rc::clone(&from.dentry), &from.mount.source, from.mount.flags());
        self.attach(Rc::clone(&mount), at)?;
        if recursive {
            let below: Vec<_> = self.mounts.borrow().iter().filter(|m| !Rc::ptr_eq(m, &mount)).cloned().collect();
            for child in below {
                let Some(point) = child.point() else { continue };
                if Rc::ptr_eq(&point.mount, &from.mount) && from.dentry.contains(&point.dentry) {
                    let at = Path { mount: Rc::clone(&mount), dentry: point.dentry };
                    self.bind(&Path { mount: Rc::clone(&child), dentry: Rc::clone(&child.root) }, &at, true)?;
                }
            }
        }
        Ok(())
    }

    fn attach(&self, mount: Rc<Mount>, at: &Path) -> Result<()> {
        if mount.root.is_dir() != at.dentry.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if at.dentry.unlinked() {
            return Err(Errno::ENOENT);
        }
        let at = self.cross(at.clone());
        at.dentry.mounted.set(at.dentry.mounted.get() + 1);
        self.by_point.borrow_mut().insert((at.mount.id, Rc::as_ptr(&at.dentry)), Rc::clone(&mount));
        *mount.point.borrow_mut() = Some(at);
        self.mounts.borrow_mut().push(mount);
        Ok(())
    }

    fn detach_point(&self, mount: &Rc<Mount>) {
        if let Some(point) = mount.point.borrow_mut().take() {
            point.dentry.mounted.set(point.dentry.mounted.get().saturating_sub(1));
            self.by_point.borrow_mut().remove(&(point.mount.id, Rc::as_ptr(&point.dentry)));
        }
    }

    /// Moves a mount to another place.
    pub fn move_to(&self, from: &Path, at: &Path) -> Result<()> {
        if !Rc::ptr_eq(&from.dentry, &from.mount.root) || from.mount.point().is_none() {
            return Err(Errno::EINVAL);
        }
        let mut up = Some(at.clone());
        while let Some(path) = up {
            if Rc::ptr_eq(&path.mount, &from.mount) {
                return Err(Errno::ELOOP);
            }
            up = path.mount.point();
        }
        self.detach_point(&from.mount);
        self.mounts.borrow_mut().retain(|m| !Rc::ptr_eq(m, &from.mount));
        self.attach(Rc::clone(&from.mount), at)
    }

    /// Changes the flags of a mount.
    pub fn remount(&self, at: &Path, flags: u32) -> Result<()> {
        if !Rc::ptr_eq(&at.dentry, &at.mount.root) {
            return Err(Errno::EINVAL);
        }
        at.mount.flags.set(flags & flags::KEPT);
        Ok(())
    }

    /// Unmounts; EBUSY when it is in use, unless `lazy`. The mount leaves the tree at once, its file system lives on until
    /// nothing uses it.
    pub fn unmount(&self, at: Path, lazy: bool) -> Result<()> {
        let Path { mount, dentry } = at;
        if !Rc::ptr_eq(&dentry, &mount.root) || mount.point().is_none() {
            return Err(Errno::EINVAL);
        }
        drop(dentry);
        let below: Vec<_> =
            self.list().into_iter().filter(|m| m.point().is_some_and(|p| Rc::ptr_eq(&p.mount, &mount))).collect();
        if !lazy {
            // The table's two references and the caller's own.
            if !below.is_empty() || Rc::strong_count(&mount) > 3 {
                return Err(Errno::EBUSY);
            }
        }
        for child in below {
            let root = Rc::clone(&child.root);
            self.unmount(Path { mount: child, dentry: root }, true)?;
        }
        self.detach_point(&mount);
        self.mounts.borrow_mut().retain(|m| !Rc::ptr_eq(m, &mount));
        Ok(())
    }

    /// What is seen at a place: the root of the topmost mount there, or the place itself.
    pub fn cross(&self, mut path: Path) -> Path {
        while path.dentry.mounted.get() > 0 {
            let key = (path.mount.id, Rc::as_ptr(&path.dentry));
            let Some(mount) = self.by_point.borrow().get(&key).cloned() else { break };
            path = Path { dentry: Rc::clone(&mount.root), mount };
        }
        path
    }

    /// All mounts of the tree, oldest first.
    pub fn list(&self) -> Vec<Rc<Mount>> {
        self.mounts.borrow().clone()
    }
}
