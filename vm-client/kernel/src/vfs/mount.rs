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
    /// The mount namespace it is in; 0 is the initial one.
    namespace: Cell<u32>,
    /// Flags that stay, because it was copied for somebody with fewer rights than its maker.
    held: Cell<u32>,
    /// For the same reason it stays where it is.
    locked: Cell<bool>,
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

    /// The mount namespace it is in; 0 is the initial one.
    pub fn namespace(&self) -> u32 {
        self.namespace.get()
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
        Rc::new(Mount {
            id,
            root,
            source: source.to_owned(),
            flags,
            point: RefCell::default(),
            namespace: Cell::default(),
            held: Cell::default(),
            locked: Cell::default(),
        })
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
        mount.held.set(from.mount.held.get());
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
        mount.namespace.set(at.mount.namespace());
        self.tie(&mount, at);
        self.mounts.borrow_mut().push(mount);
        Ok(())
    }

    fn tie(&self, mount: &Rc<Mount>, at: Path) {
        at.dentry.mounted.set(at.dentry.mounted.get() + 1);
        self.by_point.borrow_mut().insert((at.mount.id, Rc::as_ptr(&at.dentry)), Rc::clone(mount));
        *mount.point.borrow_mut() = Some(at);
    }

    fn detach_point(&self, mount: &Rc<Mount>) {
        if let Some(point) = mount.point.borrow_mut().take() {
            point.dentry.mounted.set(point.dentry.mounted.get().saturating_sub(1));
            self.by_point.borrow_mut().remove(&(point.mount.id, Rc::as_ptr(&point.dentry)));
        }
    }

    /// Moves a mount to another place.
    pub fn move_to(&self, from: &Path, at: &Path) -> Result<()> {
        if !Rc::ptr_eq(&from.dentry, &from.mount.root) || from.mount.point().is_none() || from.mount.locked.get() {
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
        if at.mount.held.get() & !flags != 0 {
            return Err(Errno::EPERM);
        }
        at.mount.flags.set(flags & flags::KEPT);
        Ok(())
    }

    /// Unmounts; EBUSY when it is in use, unless `lazy`. The mount leaves the tree at once, its file system lives on until
    /// nothing uses it. Returns what was taken out of the tree.
    pub(super) fn unmount(&self, at: Path, lazy: bool) -> Result<Vec<Rc<Mount>>> {
        let Path { mount, dentry } = at;
        if !Rc::ptr_eq(&dentry, &mount.root) || mount.point().is_none() || mount.locked.get() {
            return Err(Errno::EINVAL);
        }
        drop(dentry);
        if !lazy {
            // The table's two references and the caller's own; what is mounted on it has one too.
            if Rc::strong_count(&mount) > 3 {
                return Err(Errno::EBUSY);
            }
        }
        let mut gone = Vec::new();
        self.take_down(&mount, &mut gone);
        Ok(gone)
    }

    /// Takes a mount out of the tree, with all that is mounted on it.
    fn take_down(&self, mount: &Rc<Mount>, gone: &mut Vec<Rc<Mount>>) {
        for child in self.list() {
            if child.point().is_some_and(|point| Rc::ptr_eq(&point.mount, mount)) {
                self.take_down(&child, gone);
            }
        }
        self.detach_point(mount);
        self.mounts.borrow_mut().retain(|m| !Rc::ptr_eq(m, mount));
        gone.push(Rc::clone(mount));
    }

    /// Whether a file system is in some tree.
    pub(super) fn uses(&self, fs: &Rc<dyn FileSystem>) -> bool {
        self.mounts.borrow().iter().any(|mount| Rc::ptr_eq(mount.fs(), fs))
    }

    /// The mounted file system of a block device.
    pub fn on_device(&self, rdev: u64) -> Option<Rc<dyn FileSystem>> {
        let mounts = self.mounts.borrow();
        let found = mounts.iter().find(|mount| mount.fs().root().metadata().dev == rdev)?;
        Some(Rc::clone(found.fs()))
    }

    // ---- mount namespaces ----

    /// Copies the mounts of a namespace into a new one, where they are held in place for `lesser` rights; returns the copies
    /// by the numbers of the originals.
    pub fn copy_namespace(&self, of: u32, number: u32, lesser: bool) -> HashMap<u32, Rc<Mount>> {
        const HELD: u32 = flags::RDONLY | flags::NOSUID | flags::NODEV | flags::NOEXEC;
        let all = self.list();
        let old = || all.iter().filter(|mount| mount.namespace() == of);
        let mut copies = HashMap::new();
        for mount in old() {
            let copy = self.detached(Rc::clone(&mount.root), &mount.source, mount.flags());
            copy.namespace.set(number);
            copy.held.set(mount.held.get() | if lesser { mount.flags() & HELD } else { 0 });
            copy.locked.set(lesser && mount.point().is_some());
            copies.insert(mount.id, copy);
        }
        for mount in old() {
            let Some(copy) = copies.get(&mount.id) else { continue };
            if let Some(point) = mount.point()
                && let Some(parent) = copies.get(&point.mount.id)
            {
                self.tie(copy, Path { mount: Rc::clone(parent), dentry: point.dentry });
            }
            self.mounts.borrow_mut().push(Rc::clone(copy));
        }
        copies
    }

    /// Takes a namespace's mounts away, as nobody is in it any more; returns them.
    pub(super) fn drop_namespace(&self, number: u32) -> Vec<Rc<Mount>> {
        let gone: Vec<_> = self.list().into_iter().filter(|mount| mount.namespace() == number).collect();
        for mount in &gone {
            self.detach_point(mount);
        }
        self.mounts.borrow_mut().retain(|mount| mount.namespace() != number);
        gone
    }

    /// The place that names start from in a namespace.
    pub fn root_of(&self, number: u32) -> Option<Path> {
        let mounts = self.mounts.borrow();
        let root = mounts.iter().find(|mount| mount.namespace() == number && mount.point().is_none())?;
        let path = Path { mount: Rc::clone(root), dentry: Rc::clone(&root.root) };
        drop(mounts);
        Some(self.cross(path))
    }

    /// pivot_root(2): `new` becomes the top of the tree in the place of `root`, which goes to `old`.
    pub fn pivot(&self, root: &Path, new: &Path, old: &Path) -> Result<()> {
        if Rc::ptr_eq(&new.mount, &root.mount) || Rc::ptr_eq(&old.mount, &root.mount) {
            return Err(Errno::EBUSY);
        }
        let is_root = |path: &Path| Rc::ptr_eq(&path.dentry, &path.mount.root);
        if !is_root(new) || !is_root(root) || new.mount.locked.get() {
            return Err(Errno::EINVAL);
        }
        let below = |mount: &Rc<Mount>, top: &Rc<Mount>| {
            let mut at = Some(Rc::clone(mount));
            while let Some(mount) = at {
                if Rc::ptr_eq(&mount, top) {
                    return true;
                }
                at = mount.point().map(|point| point.mount);
            }
            false
        };
        if new.mount.point().is_none() || !below(&old.mount, &new.mount) || !below(&new.mount, &root.mount) {
            return Err(Errno::EINVAL);
        }
        let top = root.mount.point();
        self.detach_point(&new.mount);
        self.detach_point(&root.mount);
        self.tie(&root.mount, old.clone());
        if let Some(top) = top {
            self.tie(&new.mount, top);
        }
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
