//! The second extended file system, for reading and writing, over a [`vm_block::BlockDevice`].
//!
//! - [`Ext2`]: a mounted file system. Reading is in `read`, changing in `write` (data), `namei` (names) and `attr`.
//! - [`Inode`], [`Ino`], [`DirEntry`], [`FileType`], [`Time`]: what it hands out.
//! - [`Ext2Error`]: the caller's mistake, an unsupported feature by name, damage with its exact place, or the device.
//!
//! # Transactions
//!
//! Every change is a transaction (`txn`). It holds the file system's one lock for changes, works on private copies of the
//! blocks it touches, and may await and be dropped at any point without effect. When all is ready it reserves room on the
//! device, opens an operation there ([`BlockDevice::begin`](vm_block::BlockDevice::begin)) and publishes all its blocks
//! without awaiting. So what the device commits is always a state between two operations, which `e2fsck` finds clean.
//!
//! # What it knows
//!
//! Revisions 0 and 1; blocks of 1, 2 and 4 KiB; inodes of any size, with nanosecond and creation times where they fit;
//! sparse and large files; `filetype`, `sparse_super`, `large_file`, `ext_attr`, `resize_inode`, `meta_bg`, and
//! `has_journal` if the journal need not be replayed, as Linux's ext2. Directories are searched linearly; the index of a
//! `dir_index` directory is dropped when it is first changed. Anything else is refused by name.
//!
//! It knows nothing of the kernel: permissions, caches of names and pages, and which inodes are open are the caller's.

mod alloc;
mod attr;
mod bitmap;
pub mod check;
mod dir;
mod error;
pub mod format;
mod fs;
mod group;
mod inode;
mod le;
mod map;
mod namei;
mod orphan;
mod read;
mod source;
mod superblock;
mod symlink;
mod txn;
mod write;
mod xattr;

pub use attr::{SetAttr, SetXattr};
pub use dir::DirEntry;
pub use error::{Corrupt, Ext2Error};
pub use fs::{Ext2, MountOptions, StatFs};
pub use inode::{DeviceNumber, FileType, Ino, Inode, Time, flag};
pub use namei::{NewInode, RenameMode, Unlinked};
pub use superblock::Superblock;
