//! Why a file-system operation failed.

use vm_block::BlockError;

use crate::Ino;

/// Why an operation failed, in four families: the caller's mistake, a feature this crate does not have, a damaged file
/// system, and the device below.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ext2Error {
    /// There is no entry of that name, or no such inode in use.
    #[error("not found")]
    NotFound,
    /// There is an entry of that name already.
    #[error("exists already")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory cannot be used so.
    #[error("is a directory")]
    IsDirectory,
    /// The directory has entries.
    #[error("directory is not empty")]
    NotEmpty,
    /// A name has more than 255 bytes, or a link target more than a block.
    #[error("name is too long")]
    NameTooLong,
    /// The inode has as many links as the format can count.
    #[error("too many links")]
    TooManyLinks,
    /// No free block, or no free inode.
    #[error("no space left")]
    NoSpace,
    /// The offset is beyond what the format can address.
    #[error("file too large")]
    FileTooBig,
    /// The file system was mounted read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// The inode has no attribute of that name.
    #[error("no such attribute")]
    NoAttribute,
    /// Attributes of that kind do not exist on ext2.
    #[error("attribute name is not supported")]
    UnsupportedAttribute,
    /// An argument makes no sense; the text says which.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The file system is valid but needs something this crate does not have.
    #[error("unsupported file system: {0}")]
    Incompatible(String),
    /// The file system is damaged.
    #[error("corrupt file system: {0}")]
    Corrupt(Corrupt),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] BlockError),
    /// A non-waiting call would have had to wait. Waiting calls never return it.
    #[error("would have to wait")]
    WouldWait,
}

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corrupt {
    /// The superblock; the text says what about it.
    #[error("superblock: {0}")]
    Superblock(String),
    /// A group descriptor points out of the file system or contradicts the bitmaps.
    #[error("group {group}: {what}")]
    Group {
        /// The group.
        group: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// An inode.
    #[error("inode {}: {what}", ino.0)]
    Inode {
        /// The inode.
        ino: Ino,
        /// What is wrong.
        what: &'static str,
    },
    /// A pointer to a block that holds no data of files.
    #[error("inode {}: points to block {block}, {what}", ino.0)]
    Pointer {
        /// The inode whose tree has the pointer.
        ino: Ino,
        /// The block pointed to.
        block: u32,
        /// Why it cannot be.
        what: &'static str,
    },
    /// A directory entry.
    #[error("directory inode {}, offset {offset}: {what}", ino.0)]
    Entry {
        /// The directory.
        ino: Ino,
        /// Byte offset in the directory.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// An attribute block or the attributes in an inode.
    #[error("attributes of inode {}: {what}", ino.0)]
    Attributes {
        /// The inode.
        ino: Ino,
        /// What is wrong.
        what: &'static str,
    },
}

impl From<Corrupt> for Ext2Error {
    fn from(what: Corrupt) -> Self {
        Ext2Error::Corrupt(what)
    }
}
