//! Making a file system with a tree of files in it, for image-tools.
//!
//! The result depends on nothing but the arguments: same tree, same options, same bytes. The layout is made for images that
//! are fetched in 128 KiB chunks and compared between versions chunk by chunk:
//!
//! - metadata first: directories, long link targets, attributes and map blocks lie together before all data, in the order
//!   of their inodes: those of [`FormatOptions::first`], then those nearest to the root;
//! - then the files named in [`FormatOptions::first`], packed in that order;
//! - then the other small files, packed in path order. Some directories, chosen by a hash of their path, start on a chunk
//!   border, so that a file that grew shifts the data only up to the next of them;
//! - files of 64 KiB and more each start on a chunk border.
//!
//! A next version ([`format_after`]) keeps every file, directory and inode where it was; what is new goes where something was
//! removed, or to the end. So a small change makes few chunks new, which no layout from scratch can give: every shift by a
//! block changes all chunks behind it.
//!
//! Blocks of zeros are never written, so a sparse device stays sparse and their chunks cost nothing.
//!
//! ```no_run
//! # async fn example(device: vm_block::RamDevice) -> Result<(), ext2::Ext2Error> {
//! use ext2::format::{Content, FormatOptions, Metadata, Node, Tree, format};
//! let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
//! let etc = tree.add(Tree::ROOT, b"etc", Node::new(Metadata { mode: 0o755, ..Metadata::default() }, Content::Directory))?;
//! tree.add(etc, b"hostname", Node::new(Metadata { mode: 0o644, ..Metadata::default() }, Content::File { size: 6 }))?;
//! let options = FormatOptions { uuid: [7; 16], ..FormatOptions::default() };
//! format(&device, &options, &tree, async |_node, _offset: u64, buf: &mut [u8]| {
//!     buf.copy_from_slice(b"skiff\n");
//!     Ok(())
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```

mod layout;
mod previous;
mod space;
mod tree;
mod write;

pub use previous::{Kept, Previous};
pub use tree::{Content, Metadata, Node, NodeId, Tree};

use vm_block::{BlockDevice, BlockError};

use crate::Time;
use crate::error::Ext2Error;
use crate::group::inode_table_blocks;
use crate::superblock::{Superblock, feature};

/// Bytes in a block of a file system made here.
pub const BLOCK_SIZE: u32 = 4096;
/// Bytes of its inodes.
const INODE_SIZE: u32 = 256;
/// Blocks in a chunk of an image.
pub(crate) const CHUNK_BLOCKS: u32 = 32;
/// Files from this size on start on a chunk border.
pub(crate) const LARGE_FILE: u64 = 64 << 10;
/// A last group with less room for data than this is left out, as mke2fs does.
const LEAST_GROUP_DATA: u32 = 50;
const BLOCKS_PER_GROUP: u32 = BLOCK_SIZE * 8;
const INODES_PER_GROUP: u32 = 8192;

/// What to make. The size is the device's.
#[derive(Debug, Clone, Default)]
pub struct FormatOptions {
    /// Identity of the file system.
    pub uuid: [u8; 16],
    /// Label, at most 16 bytes.
    pub label: Vec<u8>,
    /// Time of making, kept in the superblock.
    pub made: Time,
    /// Least number of inodes; one for 16 KiB of size if that is more.
    pub inodes: u32,
    /// Files that are read first, in the order of reading; their data and metadata are packed in that order.
    pub first: Vec<NodeId>,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formatted {
    /// Blocks of the file system.
    pub blocks: u32,
    /// Blocks that are free.
    pub free_blocks: u32,
    /// Inodes of the file system.
    pub inodes: u32,
    /// Inodes that are free.
    pub free_inodes: u32,
    /// One past the last block in use by a file: blocks behind it are untouched but for group metadata.
    pub data_end: u32,
}

/// Makes a file system on a device that reads as zeros. `read` delivers the data of regular files: always whole pieces, each
/// file from its start to its end, one file after the other.
pub async fn format<D: BlockDevice>(
    device: &D,
    options: &FormatOptions,
    tree: &Tree,
    read: impl AsyncFnMut(NodeId, u64, &mut [u8]) -> Result<(), BlockError>,
) -> Result<Formatted, Ext2Error> {
    let sb = geometry(device.size(), options, tree)?;
    let plan = layout::plan(&sb, options, tree, None)?;
    write::write(device, &sb, options, tree, &plan, read).await
}

/// Makes the next version of a file system: what `kept` names stays where it was, so that the two differ in few chunks. The
/// device is another one, which reads as zeros.
pub async fn format_after<D: BlockDevice>(
    device: &D,
    options: &FormatOptions,
    tree: &Tree,
    previous: &Previous,
    kept: &Kept,
    read: impl AsyncFnMut(NodeId, u64, &mut [u8]) -> Result<(), BlockError>,
) -> Result<Formatted, Ext2Error> {
    let sb = geometry_after(device.size(), options, tree, previous)?;
    let plan = layout::plan(&sb, options, tree, Some(layout::After { previous, kept }))?;
    // The time of making is that of the first version: every copy of the superblock has it.
    let options = FormatOptions { made: Time { sec: previous.made.into(), nsec: 0 }, ..options.clone() };
    write::write(device, &sb, &options, tree, &plan, read).await
}

/// Bytes the tree's files, directories and maps take, without free space and group metadata.
pub fn content_bytes(tree: &Tree) -> u64 {
    let blocks: u64 = tree.ids().map(|id| layout::blocks_for(tree, id)).sum();
    blocks * u64::from(BLOCK_SIZE)
}

/// The same groups, perhaps more or fewer of them.
fn geometry_after(
    size: u64,
    options: &FormatOptions,
    tree: &Tree,
    previous: &Previous,
) -> Result<Superblock, Ext2Error> {
    let wanted = (tree.len() + 16).max(options.inodes.into());
    let mut sb = Superblock { uuid: options.uuid, label: options.label.clone(), state: 1, ..previous.sb.clone() };
    if u64::from(sb.blocks_count) != size / u64::from(BLOCK_SIZE) {
        let fresh = geometry(size, options, tree)?;
        sb.blocks_count = fresh.blocks_count;
        let last = sb.group_count() - 1;
        if sb.group_len(last) < sb.backup_blocks(last) + 2 + inode_table_blocks(&sb) + LEAST_GROUP_DATA {
            sb.blocks_count = sb.group_start(last);
        }
        if sb.blocks_count == 0 || sb.descriptor_blocks() != previous.sb.descriptor_blocks() {
            return Err(Ext2Error::Invalid("the size differs too much from the earlier version's"));
        }
        sb.inodes_count = sb.group_count() * sb.inodes_per_group;
    }
    if u64::from(sb.inodes_count) < wanted {
        return Err(Ext2Error::NoSpace);
    }
    Ok(sb)
}

fn geometry(size: u64, options: &FormatOptions, tree: &Tree) -> Result<Superblock, Ext2Error> {
    let blocks = u32::try_from(size / u64::from(BLOCK_SIZE))
        .map_err(|_| Ext2Error::Invalid("the device is larger than ext2 can be"))?;
    let mut sb = Superblock {
        inodes_count: 0,
        blocks_count: blocks,
        reserved_blocks: 0,
        first_data_block: 0,
        block_size: BLOCK_SIZE,
        blocks_per_group: BLOCKS_PER_GROUP,
        inodes_per_group: INODES_PER_GROUP,
        revision: 1,
        first_ino: 11,
        inode_size: INODE_SIZE,
        want_extra_isize: crate::inode::EXTRA_SIZE,
        compat: feature::COMPAT_EXT_ATTR,
        incompat: feature::INCOMPAT_FILETYPE,
        ro_compat: feature::RO_COMPAT_SPARSE_SUPER | feature::RO_COMPAT_LARGE_FILE,
        first_meta_bg: 0,
        reserved_gdt_blocks: 0,
        uuid: options.uuid,
        label: options.label.clone(),
        state: 1,
    };
    if sb.blocks_count < 64 {
        return Err(Ext2Error::NoSpace);
    }
    let wanted = (tree.len() + 16).max(options.inodes.into());
    loop {
        let groups = sb.group_count();
        let least = wanted.div_ceil(u64::from(groups)).next_multiple_of(16).min(u64::from(BLOCKS_PER_GROUP)) as u32;
        // A single short group gets inodes in proportion.
        let usual = if groups > 1 { INODES_PER_GROUP } else { (sb.blocks_count / 4).next_multiple_of(16).min(8192) };
        sb.inodes_per_group = usual.max(least);
        let last = groups - 1;
        let overhead = sb.backup_blocks(last) + 2 + inode_table_blocks(&sb);
        if sb.group_len(last) >= overhead + LEAST_GROUP_DATA {
            sb.inodes_count = groups * sb.inodes_per_group;
            if u64::from(sb.inodes_count) < wanted {
                return Err(Ext2Error::NoSpace);
            }
            return Ok(sb);
        }
        if groups == 1 {
            return Err(Ext2Error::NoSpace);
        }
        sb.blocks_count = sb.group_start(last);
    }
}
