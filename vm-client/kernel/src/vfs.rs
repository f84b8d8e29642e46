//! Files by name: the traits that every file system and every kind of open file implements, path walking, mounts and
//! descriptors.
//!
//! [`FileSystem`] gives a root [`Inode`]; an inode opens to a [`File`] (Linux's `file_operations`); a [`File`] in use is an
//! `OpenFile` (Linux's `struct file`: position, flags, path). Default methods answer the right errno, so a new file type
//! is short.

pub mod file;
pub mod inode;

pub use file::{File, IoMode};
pub use inode::{Dirent, FileSystem, FileType, Inode, Metadata, OpenFlags, SetAttr, StatFs};

use std::rc::Rc;

/// A place in the tree: an inode as seen through a mount. (To be refined by the VFS engineer.)
#[derive(Clone)]
pub struct Path {
    /// The inode.
    pub inode: Rc<dyn Inode>,
}

/// The descriptors of a process. (Placeholder, the VFS engineer replaces it.)
#[derive(Default)]
pub struct FdTable {}

/// Root, working directory and umask. (Placeholder, the VFS engineer replaces it.)
pub struct FsContext {}
