//! What happened to files, told to those who watch (inotify(7)).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use super::{Dentry, FileType, Inode};

/// Data was read.
pub const ACCESS: u32 = 0x1;
/// Data was written.
pub const MODIFY: u32 = 0x2;
/// Attributes changed.
pub const ATTRIB: u32 = 0x4;
/// A file opened for writing was closed.
pub const CLOSE_WRITE: u32 = 0x8;
/// Any other file was closed.
pub const CLOSE_NOWRITE: u32 = 0x10;
/// A file was opened.
pub const OPEN: u32 = 0x20;
/// A name left the directory.
pub const MOVED_FROM: u32 = 0x40;
/// A name came to the directory.
pub const MOVED_TO: u32 = 0x80;
/// A name was created.
pub const CREATE: u32 = 0x100;
/// A name was removed.
pub const DELETE: u32 = 0x200;
/// The watched file is gone.
pub const DELETE_SELF: u32 = 0x400;
/// The watched file moved.
pub const MOVE_SELF: u32 = 0x800;
/// The file system was unmounted.
pub const UNMOUNT: u32 = 0x2000;
/// The watch was removed.
pub const IGNORED: u32 = 0x8000;
/// The event is about a directory.
pub const ISDIR: u32 = 0x4000_0000;

/// Something that wants to know.
pub trait Watcher {
    /// The events it wants.
    fn mask(&self) -> u32;
    /// Takes an event; `name` is that of a child of the watched directory.
    fn event(&self, mask: u32, cookie: u32, name: Option<&[u8]>);
    /// The file is gone: no more events follow.
    fn gone(&self);
}

type Key = (u64, u64);

/// All watchers of a machine by file.
#[derive(Default)]
pub struct Notifier {
    watchers: RefCell<HashMap<Key, Vec<Weak<dyn Watcher>>>>,
    last_cookie: Cell<u32>,
}

fn key(inode: &Rc<dyn Inode>) -> Key {
    let meta = inode.metadata();
    (meta.dev, meta.ino)
}

impl Notifier {
    /// Adds a watcher; it goes when it is dropped.
    pub fn watch(&self, inode: &Rc<dyn Inode>, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.watchers.borrow_mut();
        let of_file = watchers.entry(key(inode)).or_default();
        of_file.retain(|watcher| watcher.strong_count() > 0);
        of_file.push(watcher);
    }

    /// Forgets dropped watchers of a file.
    pub fn prune(&self, inode: &Rc<dyn Inode>) {
        let mut watchers = self.watchers.borrow_mut();
        let key = key(inode);
        if let Some(of_file) = watchers.get_mut(&key) {
            of_file.retain(|watcher| watcher.strong_count() > 0);
            if of_file.is_empty() {
                watchers.remove(&key);
            }
        }
    }

    /// A number that ties the two halves of a rename together.
    pub(super) fn next_cookie(&self) -> u32 {
        let cookie = self.last_cookie.get().wrapping_add(1).max(1);
        self.last_cookie.set(cookie);
        cookie
    }

    fn idle(&self) -> bool {
        self.watchers.borrow().is_empty()
    }

    fn tell(&self, inode: &Rc<dyn Inode>, mask: u32, cookie: u32, name: Option<&[u8]>) {
        let interested: Vec<Rc<dyn Watcher>> = match self.watchers.borrow().get(&key(inode)) {
            None => return,
            Some(of_file) => of_file.iter().filter_map(Weak::upgrade).collect(),
        };
        for watcher in interested {
            if watcher.mask() & mask & 0xfff != 0 {
                watcher.event(mask, cookie, name);
            }
        }
    }

    /// Something happened to a file: the watchers of the directory it is or was in hear it, then its own.
    pub fn changed(&self, dentry: &Rc<Dentry>, mask: u32) {
        if self.idle() {
            return;
        }
        self.name(dentry, mask, 0);
        self.tell(dentry.inode(), mask | dir_bit(dentry), 0, None);
    }

    /// Something happened to a name: the directory's watchers hear it.
    pub(super) fn name(&self, dentry: &Rc<Dentry>, mask: u32, cookie: u32) {
        if self.idle() {
            return;
        }
        if let Some(dir) = dentry.parent() {
            self.tell(dir.inode(), mask | dir_bit(dentry), cookie, Some(&dentry.name()));
        }
    }

    /// Only the file's own watchers hear it.
    pub(super) fn itself(&self, dentry: &Rc<Dentry>, mask: u32) {
        if !self.idle() {
            self.tell(dentry.inode(), mask, 0, None);
        }
    }

    /// The last name of a file went.
    pub(super) fn gone(&self, dentry: &Rc<Dentry>) {
        if self.idle() {
            return;
        }
        self.tell(dentry.inode(), DELETE_SELF, 0, None);
        let watchers = self.watchers.borrow_mut().remove(&key(dentry.inode()));
        for watcher in watchers.unwrap_or_default().iter().filter_map(Weak::upgrade) {
            watcher.gone();
        }
    }
}

fn dir_bit(dentry: &Rc<Dentry>) -> u32 {
    if dentry.inode().metadata().file_type() == FileType::Directory { ISDIR } else { 0 }
}
