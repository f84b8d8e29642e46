//! Where the previous version of a file system has everything, so that the next one can leave it there.
//!
//! [`Previous`] is read from a file system that [`format`](super::format) made. [`Kept`] says which node of the new tree goes
//! on where which inode was: the one of the same path and type, and those the caller adds because the content is the same.

use std::collections::{BTreeMap, BTreeSet};

use vm_block::BlockDevice;

use super::tree::{Content, NodeId, Table, Tree};
use super::write::group_of;
use super::{BLOCK_SIZE, BLOCKS_PER_GROUP, INODE_SIZE};
use crate::error::{Corrupt, Ext2Error};
use crate::fs::Ext2;
use crate::inode::{FileType, Ino, Inode};
use crate::le::u32_at;
use crate::map::{DIRECT, check_pointer};
use crate::source::Source;
use crate::superblock::{SUPERBLOCK_OFFSET, Superblock, feature};

/// A file system of an earlier version.
#[derive(Debug)]
pub struct Previous {
    pub(crate) sb: Superblock,
    /// When the first version was made, in seconds; copies of the superblock keep it.
    pub(crate) made: u32,
    pub(crate) nodes: BTreeMap<u32, Old>,
}

/// An inode of it.
#[derive(Debug, Default)]
pub(crate) struct Old {
    pub(crate) file_type: Option<FileType>,
    pub(crate) size: u64,
    /// Blocks that are no holes: number within the file, number on the device; in order.
    pub(crate) blocks: Vec<(u64, u32)>,
    pub(crate) maps: Vec<u32>,
    pub(crate) attribute_block: u32,
    pub(crate) children: BTreeMap<Vec<u8>, u32>,
}

impl Old {
    /// All its blocks.
    pub(crate) fn all_blocks(&self) -> impl Iterator<Item = u32> {
        let data = self.blocks.iter().map(|(_, block)| *block);
        data.chain(self.maps.iter().copied()).chain(Some(self.attribute_block).filter(|block| *block != 0))
    }

    /// Where a block of it lies.
    pub(crate) fn block(&self, lblock: u64) -> Option<u32> {
        let index = self.blocks.binary_search_by_key(&lblock, |(number, _)| *number).ok()?;
        self.blocks.get(index).map(|(_, block)| *block)
    }
}

impl Previous {
    /// Reads where everything is. Refuses a file system that this crate did not lay out.
    pub async fn read<D: BlockDevice>(fs: &Ext2<D>) -> Result<Self, Ext2Error> {
        let sb = fs.superblock.clone();
        check_layout(fs)?;
        let mut time = [0; 4];
        fs.device.read_at(SUPERBLOCK_OFFSET + 264, &mut time).await?;
        let mut this = Self { sb, made: u32::from_le_bytes(time), nodes: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        let mut todo = vec![Ino::ROOT];
        while let Some(ino) = todo.pop() {
            if this.nodes.contains_key(&ino.0) {
                continue;
            }
            let inode = Source::inode(fs, ino).await?;
            let mut old = Old {
                file_type: Some(inode.file_type()),
                size: inode.size,
                attribute_block: inode.file_acl,
                ..Old::default()
            };
            if inode.has_map(BLOCK_SIZE) {
                read_map(fs, ino, &inode, &mut seen, &mut old).await?;
            }
            if inode.is_dir() {
                let mut cookie = 0;
                loop {
                    let entries = crate::dir::list(fs, ino, &inode, cookie).await?;
                    let Some(last) = entries.last() else { break };
                    cookie = last.next;
                    for entry in entries.into_iter().filter(|entry| entry.name != b"." && entry.name != b"..") {
                        todo.push(entry.ino);
                        old.children.insert(entry.name, entry.ino.0);
                    }
                }
            }
            this.nodes.insert(ino.0, old);
        }
        Ok(this)
    }

    /// Bytes of the file system.
    pub fn size(&self) -> u64 {
        u64::from(self.sb.blocks_count) * u64::from(BLOCK_SIZE)
    }

    /// Finds the nodes of a tree that were there before, by path and type.
    pub fn keep(&self, tree: &Tree) -> Kept {
        let mut kept = Kept { inodes: tree.table(None), taken: BTreeSet::new() };
        kept.put(Tree::ROOT, Ino::ROOT.0);
        let mut todo = vec![(Tree::ROOT, Ino::ROOT.0)];
        while let Some((node, ino)) = todo.pop() {
            let Some(old) = self.nodes.get(&ino) else { continue };
            for (name, child) in tree.children(node) {
                let Some(before) = old.children.get(name).copied() else { continue };
                let same =
                    self.nodes.get(&before).and_then(|old| old.file_type) == Some(tree.node(child).content.file_type());
                if same && kept.put(child, before) && tree.node(child).content == Content::Directory {
                    todo.push((child, before));
                }
            }
        }
        kept
    }

    /// Regular files that no node goes on from, with their sizes.
    pub fn gone(&self, kept: &Kept) -> impl Iterator<Item = (Ino, u64)> {
        let files = self.nodes.iter().filter(|(_, old)| old.file_type == Some(FileType::Regular) && old.size > 0);
        files.filter(|(ino, _)| !kept.taken.contains(ino)).map(|(ino, old)| (Ino(*ino), old.size))
    }
}

/// Which node goes on where which inode was.
#[derive(Debug)]
pub struct Kept {
    inodes: Table<Option<u32>>,
    taken: BTreeSet<u32>,
}

impl Kept {
    /// Regular files that have no predecessor, with their sizes, in path order.
    pub fn new_files(&self, tree: &Tree) -> Vec<(NodeId, u64)> {
        let files = tree.walk().into_iter().filter_map(|visit| match tree.node(visit.id).content {
            Content::File { size } if size > 0 => Some((visit.id, size)),
            _ => None,
        });
        files.filter(|(id, _)| self.inodes[*id].is_none()).collect()
    }

    /// Lets a file go on where another one was; false if either goes elsewhere already.
    pub fn put_file(&mut self, node: NodeId, ino: Ino) -> bool {
        self.put(node, ino.0)
    }

    pub(crate) fn inode(&self, node: NodeId) -> Option<u32> {
        self.inodes[node]
    }

    fn put(&mut self, node: NodeId, ino: u32) -> bool {
        let free = self.inodes[node].is_none() && self.taken.insert(ino);
        if free {
            self.inodes[node] = Some(ino);
        }
        free
    }
}

/// Whether the fixed parts lie where this crate puts them.
fn check_layout<D: BlockDevice>(fs: &Ext2<D>) -> Result<(), Ext2Error> {
    let sb = &fs.superblock;
    let ours = sb.block_size == BLOCK_SIZE
        && sb.inode_size == INODE_SIZE
        && sb.blocks_per_group == BLOCKS_PER_GROUP
        && (sb.revision, sb.first_ino, sb.first_data_block, sb.reserved_gdt_blocks) == (1, 11, 0, 0)
        && sb.compat == feature::COMPAT_EXT_ATTR
        && sb.incompat == feature::INCOMPAT_FILETYPE
        && sb.ro_compat == feature::RO_COMPAT_SPARSE_SUPER | feature::RO_COMPAT_LARGE_FILE;
    for number in 0..sb.group_count() {
        let (found, expected) = (Source::group(fs, number)?, group_of(sb, number));
        let same = found.block_bitmap == expected.block_bitmap
            && found.inode_bitmap == expected.inode_bitmap
            && found.inode_table == expected.inode_table;
        if !ours || !same {
            return Err(Ext2Error::Invalid("the earlier version was not laid out by this tool"));
        }
    }
    Ok(())
}

/// Follows a map in the order in which it is written.
async fn read_map<S: Source>(
    source: &S,
    ino: Ino,
    inode: &Inode,
    seen: &mut BTreeSet<u32>,
    old: &mut Old,
) -> Result<(), Ext2Error> {
    let sb = source.sb();
    let twice = |block| Corrupt::Pointer { ino, block, what: "which is in use already" };
    // Pointer, levels below it, first block of the file below it; the next one last.
    let mut todo: Vec<(u32, u32, u64)> = Vec::new();
    let mut start = DIRECT;
    for (depth, pointer) in (1..=3).zip(inode.pointers.iter().skip(DIRECT as usize)) {
        todo.push((*pointer, depth, start));
        start += sb.pointers().pow(depth);
    }
    todo.extend(inode.pointers.iter().copied().zip(0..DIRECT).map(|(pointer, lblock)| (pointer, 0, lblock)));
    todo.sort_by_key(|(_, _, lblock)| std::cmp::Reverse(*lblock));
    while let Some((pointer, depth, lblock)) = todo.pop() {
        if pointer == 0 {
            continue;
        }
        check_pointer(sb, ino, pointer)?;
        // A damaged map could lead round in circles.
        if !seen.insert(pointer) {
            return Err(twice(pointer).into());
        }
        if depth == 0 {
            old.blocks.push((lblock, pointer));
            continue;
        }
        old.maps.push(pointer);
        let content = source.block(pointer).await?;
        let below = sb.pointers().pow(depth - 1);
        let pointers = (0..sb.pointers()).map(|n| (u32_at(&content, n as usize * 4), depth - 1, lblock + n * below));
        todo.extend(pointers.rev());
    }
    Ok(())
}
