//! Deciding where everything goes: inode numbers, and the blocks of directories, links, attributes, maps and data.

use std::collections::BTreeMap;
use std::ops::Range;

use super::tree::{Content, NodeId, Table, Tree, Visit};
use super::{BLOCK_SIZE, CHUNK_BLOCKS, FormatOptions, LARGE_FILE};
use crate::dir::entry_len;
use crate::error::Ext2Error;
use crate::group::inode_table_blocks;
use crate::inode::{EXTRA_SIZE, Ino, Inode};
use crate::map::DIRECT;
use crate::superblock::Superblock;
use crate::xattr::{self, Attribute};
use crate::{Time, symlink};

pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";
/// mke2fs makes it this long, so that a check can reconnect files on a full file system.
const LOST_AND_FOUND_BLOCKS: u32 = 4;
/// One directory in so many starts its files on a chunk border.
const ANCHOR_EVERY: u64 = 8;

/// The most blocks the maps of a file reach.
const MOST_BLOCKS: u64 = DIRECT + (1 << 10) + (1 << 20) + (1 << 30);

/// Where a node goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(crate) ino: u32,
    /// Blocks of data, directory entries or link target, in order; 0 for a hole.
    pub(crate) blocks: Vec<u32>,
    /// Map blocks, in the order they are needed.
    pub(crate) maps: Vec<u32>,
    pub(crate) in_inode: Vec<Attribute>,
    pub(crate) attribute_block: u32,
    pub(crate) parent: Option<NodeId>,
}

/// Where everything goes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) places: Table<Place>,
    /// Nodes by inode number from the first free one on.
    pub(crate) order: Vec<NodeId>,
    /// Attribute blocks with their content and number of users.
    pub(crate) attribute_blocks: BTreeMap<u32, (Vec<Attribute>, u32)>,
    /// Blocks of a `lost+found` that the tree did not have.
    pub(crate) lost_and_found: Vec<u32>,
    /// Regular files in the order their data lies.
    pub(crate) files: Vec<NodeId>,
    /// Blocks in use, as ranges.
    pub(crate) used: Vec<(u32, u32)>,
    pub(crate) data_end: u32,
}

/// Hands out the data blocks of one group after the other.
struct Cursor<'s> {
    sb: &'s Superblock,
    next: u32,
    used: Vec<(u32, u32)>,
}

/// First block behind a group's own structures.
pub(crate) fn data_start(sb: &Superblock, group: u32) -> u32 {
    sb.group_start(group) + sb.backup_blocks(group) + 2 + inode_table_blocks(sb)
}

impl Cursor<'_> {
    fn take(&mut self, aligned: bool) -> Result<u32, Ext2Error> {
        let mut group = self.sb.group_of_block(self.next);
        if self.next >= self.sb.group_start(group) + self.sb.group_len(group) {
            group += 1;
        }
        let start = data_start(self.sb, group.min(self.sb.group_count() - 1));
        if self.next < start {
            // A file that crosses into a new group keeps its place within chunks.
            self.next = if aligned { start.next_multiple_of(CHUNK_BLOCKS) } else { start };
        }
        let block = self.next;
        if block >= self.sb.blocks_count {
            return Err(Ext2Error::NoSpace);
        }
        self.next += 1;
        match self.used.last_mut() {
            Some((_, end)) if *end == block => *end += 1,
            _ => self.used.push((block, block + 1)),
        }
        Ok(block)
    }

    fn take_many(&mut self, count: u64, aligned: bool) -> Result<Vec<u32>, Ext2Error> {
        if count > u64::from(self.sb.blocks_count) {
            return Err(Ext2Error::NoSpace);
        }
        (0..count).map(|_| self.take(aligned)).collect()
    }

    fn align(&mut self) {
        self.next = self.next.next_multiple_of(CHUNK_BLOCKS);
    }
}

/// Map blocks of a file with data in these blocks.
pub(crate) fn map_blocks(data: &[Range<u64>]) -> u64 {
    let pointers = u64::from(BLOCK_SIZE / 4);
    let mut start = DIRECT;
    let mut count = 0;
    for depth in 1..=3 {
        let end = start + pointers.pow(depth);
        for span in (1..=depth).map(|level| pointers.pow(level)) {
            // Neighbouring ranges may share a map block.
            let mut next = 0;
            for range in data {
                let (from, to) = (range.start.max(start), range.end.min(end));
                if from < to {
                    let (first, last) = (((from - start) / span).max(next), (to - 1 - start) / span);
                    count += (last + 1).saturating_sub(first);
                    next = last + 1;
                }
            }
        }
        start = end;
    }
    count
}

/// Blocks a directory with these names needs.
fn directory_blocks<'n>(names: impl Iterator<Item = &'n [u8]>) -> u64 {
    let mut blocks = 1;
    let mut room = BLOCK_SIZE as usize - 24;
    for name in names {
        let len = entry_len(name.len());
        if len > room {
            blocks += 1;
            room = BLOCK_SIZE as usize;
        }
        room -= len;
    }
    blocks
}

/// Blocks of a node's content that are no holes.
fn content_blocks(tree: &Tree, id: NodeId) -> Vec<Range<u64>> {
    let blocks = match &tree.node(id).content {
        Content::Directory => directory_blocks(tree.children(id).map(|(name, _)| name)),
        Content::File { size } => return tree.data_blocks(id, *size),
        Content::Symlink { target } => u64::from(target.len() > symlink::FAST_MAX),
        _ => 0,
    };
    std::iter::once(0..blocks).filter(|range| !range.is_empty()).collect()
}

/// Blocks of a node with its map.
pub(crate) fn blocks_for(tree: &Tree, id: NodeId) -> u64 {
    let blocks = content_blocks(tree, id);
    count(&blocks) + map_blocks(&blocks)
}

fn count(blocks: &[Range<u64>]) -> u64 {
    blocks.iter().map(|range| range.end - range.start).sum()
}

/// Decides everything.
pub(crate) fn plan(sb: &Superblock, options: &FormatOptions, tree: &Tree) -> Result<Plan, Ext2Error> {
    let walk = tree.walk();
    let mut places = tree.table(Place::default());
    for visit in &walk {
        places[visit.id].parent = Some(visit.parent);
    }
    let order = inode_order(options, tree, &walk, &places);
    let lost = tree.child(Tree::ROOT, LOST_AND_FOUND);
    if lost.is_some_and(|id| tree.node(id).content != Content::Directory) {
        return Err(Ext2Error::Invalid("/lost+found is not a directory"));
    }
    places[Tree::ROOT].ino = Ino::ROOT.0;
    for (id, ino) in order.iter().zip(12..) {
        places[*id].ino = ino;
    }
    if let Some(lost) = lost {
        places[lost].ino = sb.first_ino;
    }

    let mut cursor = Cursor { sb, next: 0, used: Vec::new() };
    let everything = || std::iter::once(Tree::ROOT).chain(order.iter().copied()).chain(lost);
    for id in everything().filter(|id| tree.node(*id).content == Content::Directory) {
        places[id].blocks = cursor.take_many(count(&content_blocks(tree, id)), false)?;
    }
    let lost_and_found = match lost {
        Some(_) => Vec::new(),
        None => cursor.take_many(LOST_AND_FOUND_BLOCKS.into(), false)?,
    };
    for id in everything().filter(|id| matches!(tree.node(*id).content, Content::Symlink { .. })) {
        places[id].blocks = cursor.take_many(count(&content_blocks(tree, id)), false)?;
    }
    let attribute_blocks = place_attributes(sb, tree, everything(), &mut places, &mut cursor)?;
    for id in everything() {
        places[id].maps = cursor.take_many(map_blocks(&content_blocks(tree, id)), false)?;
    }
    cursor.align();
    let files = place_files(options, tree, &walk, &mut places, &mut cursor)?;
    let data_end = cursor.next;
    Ok(Plan { places, order, attribute_blocks, lost_and_found, files, used: cursor.used, data_end })
}

/// Nodes read first with the directories on the way to them, then all others, those with short paths first: what a system
/// starts with is rarely deep in the tree, so its inodes, directories and maps share few chunks. Without root and
/// `lost+found`.
fn inode_order(options: &FormatOptions, tree: &Tree, walk: &[Visit], places: &Table<Place>) -> Vec<NodeId> {
    let mut seen = tree.table(false);
    seen[Tree::ROOT] = true;
    if let Some(lost) = tree.child(Tree::ROOT, LOST_AND_FOUND) {
        seen[lost] = true;
    }
    let mut order = Vec::new();
    for id in &options.first {
        let mut way = Vec::new();
        let mut at = *id;
        while let Some(parent) = places[at].parent.filter(|_| !seen[at]) {
            seen[at] = true;
            way.push(at);
            at = parent;
        }
        order.extend(way.into_iter().rev());
    }
    let mut rest: Vec<&Visit> = walk.iter().filter(|visit| !seen[visit.id]).collect();
    rest.sort_by_key(|visit| visit.path.iter().filter(|byte| **byte == b'/').count());
    order.extend(rest.into_iter().map(|visit| visit.id));
    order
}

/// Attributes go into the inode if they all fit there, else into a block shared by all nodes with the same ones.
fn place_attributes(
    sb: &Superblock,
    tree: &Tree,
    nodes: impl Iterator<Item = NodeId>,
    places: &mut Table<Place>,
    cursor: &mut Cursor<'_>,
) -> Result<BTreeMap<u32, (Vec<Attribute>, u32)>, Ext2Error> {
    /// Linux shares a block between at most this many.
    const MOST_USERS: u32 = 1024;
    let probe = Inode::new(0, 0, 0, Time::default(), EXTRA_SIZE);
    let mut blocks: BTreeMap<u32, (Vec<Attribute>, u32)> = BTreeMap::new();
    let mut newest: BTreeMap<Vec<Attribute>, u32> = BTreeMap::new();
    for id in nodes {
        let mut list = Vec::new();
        for (full, value) in &tree.node(id).xattrs {
            let (index, name) = xattr::split_name(full)?;
            let value = if xattr::acl::is_acl(index) { xattr::acl::to_stored(value)? } else { value.clone() };
            list.push(Attribute { index, name: name.to_vec(), value });
        }
        if list.is_empty() {
            continue;
        }
        if xattr::fits_in_inode(&list, &probe, sb.inode_size as usize) {
            places[id].in_inode = list;
            continue;
        }
        if !xattr::fits_in_block(&list, sb.bs()) {
            return Err(Ext2Error::NoSpace);
        }
        let shared = newest.get(&list).copied().filter(|b| blocks.get(b).is_some_and(|(_, users)| *users < MOST_USERS));
        let block = match shared {
            Some(block) => block,
            None => {
                let block = cursor.take(false)?;
                newest.insert(list.clone(), block);
                blocks.insert(block, (list, 0));
                block
            }
        };
        if let Some((_, users)) = blocks.get_mut(&block) {
            *users += 1;
        }
        places[id].attribute_block = block;
    }
    Ok(blocks)
}

fn place_files(
    options: &FormatOptions,
    tree: &Tree,
    walk: &[Visit],
    places: &mut Table<Place>,
    cursor: &mut Cursor<'_>,
) -> Result<Vec<NodeId>, Ext2Error> {
    let size = |id: NodeId| match tree.node(id).content {
        Content::File { size } => Some(size),
        _ => None,
    };
    let mut placed = tree.table(false);
    let mut files = Vec::new();
    let mut put = |id: NodeId, cursor: &mut Cursor<'_>, aligned: bool| -> Result<(), Ext2Error> {
        if !std::mem::replace(&mut placed[id], true) {
            let mut blocks = Vec::new();
            for range in content_blocks(tree, id) {
                let start = usize::try_from(range.start).ok().filter(|_| range.end <= MOST_BLOCKS);
                blocks.resize(start.ok_or(Ext2Error::FileTooBig)?, 0);
                blocks.extend(cursor.take_many(range.end - range.start, aligned)?);
            }
            places[id].blocks = blocks;
            files.push(id);
        }
        Ok(())
    };
    for id in options.first.iter().copied().filter(|id| size(*id).is_some()) {
        put(id, cursor, false)?;
    }
    cursor.align();
    for visit in walk {
        match size(visit.id) {
            None if tree.node(visit.id).content == Content::Directory && is_anchor(&visit.path) => cursor.align(),
            Some(size) if size < LARGE_FILE => put(visit.id, cursor, false)?,
            _ => {}
        }
    }
    for visit in walk.iter().filter(|visit| size(visit.id).is_some_and(|size| size >= LARGE_FILE)) {
        cursor.align();
        put(visit.id, cursor, true)?;
    }
    Ok(files)
}

/// Whether a directory's files start on a chunk border (FNV-1a of its path).
fn is_anchor(path: &[u8]) -> bool {
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    (hash >> 32).is_multiple_of(ANCHOR_EVERY)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are meant, some of one")]
mod tests {
    use super::*;

    #[test]
    fn map_blocks_are_counted_on_every_level() {
        for (data, maps) in [(12, 0), (13, 1), (12 + 1024, 1), (12 + 1024 + 1, 3), (12 + 1024 + 1025, 4)] {
            assert_eq!(map_blocks(&[0..data]), maps, "{data}");
        }
        let double = 12 + 1024 + (1 << 20);
        assert_eq!(map_blocks(&[0..double]), 1 + 1025);
        assert_eq!(map_blocks(&[0..double + 1]), 1 + 1025 + 3);
    }

    #[test]
    fn holes_need_no_map_blocks() {
        assert_eq!(map_blocks(&[]), 0);
        assert_eq!(map_blocks(&[0..3]), 0);
        // One in the second half of the single map, one far out in the triple one.
        assert_eq!(map_blocks(&[900..901, (1 << 25)..(1 << 25) + 1]), 1 + 3);
        // Two ranges that share their map blocks, and one that does not.
        assert_eq!(map_blocks(&[2000..2001, 2010..2011, 200_000..200_001]), 1 + 2);
    }
}
