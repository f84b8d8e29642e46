//! Directory entries: names tied to inodes, and the bounded cache of them.
//!
//! A [`Dentry`] keeps its parent alive, so the way up from any open file is always known (getcwd(2), `..`, /proc/PID/fd).
//! The way down is weak: what the [`DentryCache`] and open files no longer hold goes away. Names known to be absent are
//! kept too, in a bounded list. The directory's lock makes a look-up and the changes of that directory exclude each other.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use vm_rt::Mutex;

use super::{FileSystem, FileType, Inode};
use crate::{Errno, Result, SyscallCx};

/// A name in a directory and the inode it stands for.
pub struct Dentry {
    inode: Rc<dyn Inode>,
    fs: Rc<dyn FileSystem>,
    place: RefCell<Place>,
    children: RefCell<HashMap<Box<[u8]>, Child>>,
    /// Held across look-ups and changes of this directory.
    pub(crate) lock: Mutex<()>,
    /// How many mounts sit on it.
    pub(super) mounted: Cell<u32>,
    used: Cell<bool>,
    /// Itself, while the cache keeps it.
    kept: RefCell<Option<Rc<Dentry>>>,
}

struct Place {
    parent: Option<Rc<Dentry>>,
    name: Box<[u8]>,
    unlinked: bool,
    /// Never had a name and may be given one (O_TMPFILE).
    linkable: bool,
}

enum Child {
    Present(Weak<Dentry>),
    Absent,
}

/// What the cache says of a name.
pub(super) enum Cached {
    Present(Rc<Dentry>),
    Absent,
    Unknown,
}

impl Dentry {
    /// The root of a file system, or a file that has no name at all (a pipe).
    pub fn root(fs: Rc<dyn FileSystem>, inode: Rc<dyn Inode>) -> Rc<Self> {
        Self::new(fs, inode, None, Box::default())
    }

    /// A file that has no name any more but shows one (a memory descriptor).
    pub(crate) fn unlinked_child(dir: &Rc<Dentry>, name: &[u8], inode: Rc<dyn Inode>) -> Rc<Self> {
        let dentry = Self::new(Rc::clone(&dir.fs), inode, Some(Rc::clone(dir)), name.into());
        dentry.place.borrow_mut().unlinked = true;
        dentry
    }

    /// A new file of a directory that has no name yet but may be given one.
    pub(super) fn unnamed_child(dir: &Rc<Dentry>, inode: Rc<dyn Inode>, linkable: bool) -> Rc<Self> {
        let name = format!("#{}", inode.metadata().ino);
        let dentry = Self::unlinked_child(dir, name.as_bytes(), inode);
        dentry.place.borrow_mut().linkable = linkable;
        dentry
    }

    /// Whether it may be given its first name.
    pub(super) fn is_linkable(&self) -> bool {
        self.place.borrow().linkable
    }

    fn new(fs: Rc<dyn FileSystem>, inode: Rc<dyn Inode>, parent: Option<Rc<Dentry>>, name: Box<[u8]>) -> Rc<Self> {
        Rc::new(Self {
            inode,
            fs,
            place: RefCell::new(Place { parent, name, unlinked: false, linkable: false }),
            children: RefCell::default(),
            lock: Mutex::default(),
            mounted: Cell::new(0),
            used: Cell::new(false),
            kept: RefCell::default(),
        })
    }

    /// The inode.
    pub fn inode(&self) -> &Rc<dyn Inode> {
        &self.inode
    }

    /// The file system it belongs to.
    pub fn fs(&self) -> &Rc<dyn FileSystem> {
        &self.fs
    }

    /// The directory it is in; `None` for a root.
    pub fn parent(&self) -> Option<Rc<Dentry>> {
        self.place.borrow().parent.clone()
    }

    /// Its name there.
    pub fn name(&self) -> Box<[u8]> {
        self.place.borrow().name.clone()
    }

    /// Whether the name was removed while the file was in use.
    pub fn unlinked(&self) -> bool {
        self.place.borrow().unlinked
    }

    /// Its path from the root of its file system.
    pub fn path_in_fs(&self) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut name = self.name();
        let mut parent = self.parent();
        while let Some(dir) = parent {
            parts.push(name);
            name = dir.name();
            parent = dir.parent();
        }
        let mut out: Vec<u8> = parts.iter().rev().flat_map(|part| [b"/", &**part].concat()).collect();
        if out.is_empty() {
            out.push(b'/');
        }
        out
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.inode.metadata().file_type() == FileType::Directory
    }

    /// Whether `other` is this dentry or below it.
    pub(crate) fn contains(self: &Rc<Self>, other: &Rc<Dentry>) -> bool {
        let mut at = Rc::clone(other);
        loop {
            if Rc::ptr_eq(self, &at) {
                return true;
            }
            let Some(up) = at.parent() else { return false };
            at = up;
        }
    }

    pub(super) fn cached(&self, name: &[u8]) -> Cached {
        match self.children.borrow().get(name) {
            None => Cached::Unknown,
            Some(Child::Absent) => Cached::Absent,
            Some(Child::Present(weak)) => match weak.upgrade() {
                Some(dentry) => {
                    dentry.used.set(true);
                    Cached::Present(dentry)
                }
                None => Cached::Unknown,
            },
        }
    }

    fn forget_dead_child(&self, name: &[u8]) {
        let mut children = self.children.borrow_mut();
        if matches!(children.get(name), Some(Child::Present(weak)) if weak.strong_count() == 0) {
            children.remove(name);
        }
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        // Not by recursion: a guest can nest directories deeper than the host's stack.
        let place = self.place.get_mut();
        let mut name = std::mem::take(&mut place.name);
        let mut parent = place.parent.take();
        while let Some(dentry) = parent.take() {
            dentry.forget_dead_child(&name);
            if Rc::strong_count(&dentry) == 1 {
                let mut place = dentry.place.borrow_mut();
                name = std::mem::take(&mut place.name);
                parent = place.parent.take();
            }
        }
    }
}

/// A directory and a name in it.
type Name = (Weak<Dentry>, Box<[u8]>);

/// Keeps recently used dentries, and recently missed names, in memory.
///
/// A kept dentry holds itself; the list is weak, so that a name that is removed goes at once, and its inode with it.
pub struct DentryCache {
    recent: RefCell<VecDeque<Weak<Dentry>>>,
    absent: RefCell<VecDeque<Name>>,
    capacity: usize,
}

impl Default for DentryCache {
    fn default() -> Self {
        Self::new(8192)
    }
}

impl DentryCache {
    /// Creates a cache that holds up to `capacity` names present and as many absent.
    pub fn new(capacity: usize) -> Self {
        Self { recent: RefCell::default(), absent: RefCell::default(), capacity }
    }

    /// Finds a name in a directory; `None` if there is no such name.
    pub(crate) async fn lookup(&self, cx: &SyscallCx, dir: &Rc<Dentry>, name: &[u8]) -> Result<Option<Rc<Dentry>>> {
        if dir.fs.cacheable() {
            match dir.cached(name) {
                Cached::Present(dentry) => return Ok(Some(dentry)),
                Cached::Absent => return Ok(None),
                Cached::Unknown => {}
            }
        }
        let _guard = dir.lock.lock().await;
        self.lookup_locked(cx, dir, name).await
    }

    /// The same, for a caller that holds the directory's lock.
    pub(crate) async fn lookup_locked(
        &self,
        cx: &SyscallCx,
        dir: &Rc<Dentry>,
        name: &[u8],
    ) -> Result<Option<Rc<Dentry>>> {
        let cacheable = dir.fs.cacheable();
        match dir.cached(name) {
            // A generated tree keeps only names that something is mounted on.
            Cached::Present(dentry) if cacheable || dentry.mounted.get() > 0 => return Ok(Some(dentry)),
            Cached::Absent if cacheable => return Ok(None),
            _ => {}
        }
        if dir.unlinked() {
            return Ok(None);
        }
        match dir.inode.lookup(cx, name).await {
            Ok(inode) => Ok(Some(self.insert(dir, name, inode))),
            Err(Errno::ENOENT) => {
                self.insert_absent(dir, name);
                Ok(None)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Records that a name stands for an inode.
    pub(crate) fn insert(&self, dir: &Rc<Dentry>, name: &[u8], inode: Rc<dyn Inode>) -> Rc<Dentry> {
        let dentry = Dentry::new(Rc::clone(&dir.fs), inode, Some(Rc::clone(dir)), name.into());
        dir.children.borrow_mut().insert(name.into(), Child::Present(Rc::downgrade(&dentry)));
        if dir.fs.cacheable() {
            *dentry.kept.borrow_mut() = Some(Rc::clone(&dentry));
            self.recent.borrow_mut().push_back(Rc::downgrade(&dentry));
            self.shrink();
        }
        dentry
    }

    /// Records that a directory has no such name.
    fn insert_absent(&self, dir: &Rc<Dentry>, name: &[u8]) {
        if !dir.fs.cacheable() {
            return;
        }
        dir.children.borrow_mut().insert(name.into(), Child::Absent);
        let mut absent = self.absent.borrow_mut();
        absent.push_back((Rc::downgrade(dir), name.into()));
        if absent.len() > self.capacity
            && let Some((dir, name)) = absent.pop_front()
            && let Some(dir) = dir.upgrade()
        {
            let mut children = dir.children.borrow_mut();
            if matches!(children.get(&name), Some(Child::Absent)) {
                children.remove(&name);
            }
        }
    }

    /// Records that a name was removed.
    pub(crate) fn unlink(&self, dentry: &Rc<Dentry>) {
        let (parent, name) = {
            let mut place = dentry.place.borrow_mut();
            place.unlinked = true;
            (place.parent.clone(), place.name.clone())
        };
        let kept = dentry.kept.borrow_mut().take();
        drop(kept);
        let Some(parent) = parent else { return };
        parent.children.borrow_mut().remove(&name);
        self.insert_absent(&parent, &name);
    }

    /// Records that a name moved to another place, where `replaced` (if any) was.
    pub(crate) fn rename(&self, dentry: &Rc<Dentry>, dir: &Rc<Dentry>, name: &[u8], replaced: Option<&Rc<Dentry>>) {
        if let Some(replaced) = replaced {
            self.unlink(replaced);
        }
        let (old_dir, old_name) = {
            let mut place = dentry.place.borrow_mut();
            (place.parent.replace(Rc::clone(dir)), std::mem::replace(&mut place.name, name.into()))
        };
        if let Some(old_dir) = old_dir {
            old_dir.children.borrow_mut().remove(&old_name);
            self.insert_absent(&old_dir, &old_name);
        }
        dir.children.borrow_mut().insert(name.into(), Child::Present(Rc::downgrade(dentry)));
    }

    /// Records that two names changed places.
    pub(super) fn exchange(&self, a: &Rc<Dentry>, b: &Rc<Dentry>) {
        std::mem::swap(&mut *a.place.borrow_mut(), &mut *b.place.borrow_mut());
        for dentry in [a, b] {
            if let Some(dir) = dentry.parent() {
                dir.children.borrow_mut().insert(dentry.name(), Child::Present(Rc::downgrade(dentry)));
            }
        }
    }

    /// Forgets the names of a file system that nothing else uses.
    pub(super) fn forget(&self, fs: &Rc<dyn FileSystem>) {
        let all: Vec<_> = self.recent.borrow().iter().filter_map(Weak::upgrade).collect();
        for dentry in all.iter().filter(|dentry| Rc::ptr_eq(&dentry.fs, fs)) {
            let kept = dentry.kept.borrow_mut().take();
            drop(kept);
        }
    }

    /// Forgets everything that nothing else uses.
    pub fn clear(&self) {
        let recent = std::mem::take(&mut *self.recent.borrow_mut());
        for dentry in recent.iter().filter_map(Weak::upgrade) {
            let kept = dentry.kept.borrow_mut().take();
            drop(kept);
        }
    }

    fn shrink(&self) {
        let mut second_chances = 16;
        while self.recent.borrow().len() > self.capacity {
            let oldest = self.recent.borrow_mut().pop_front();
            let Some(dentry) = oldest.and_then(|oldest| oldest.upgrade()) else { continue };
            if dentry.used.replace(false) && second_chances > 0 && dentry.kept.borrow().is_some() {
                second_chances -= 1;
                self.recent.borrow_mut().push_back(Rc::downgrade(&dentry));
                continue;
            }
            // Outside all borrows: the last reference to an inode may do work.
            let kept = dentry.kept.borrow_mut().take();
            drop(kept);
        }
    }
}

impl Drop for DentryCache {
    fn drop(&mut self) {
        self.clear();
    }
}
