//! Deciding where everything goes: inode numbers, and the blocks of directories, links, attributes, maps and data.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::previous::{Kept, Old, Previous};
use super::space::{Space, Start};
use super::tree::{Content, NodeId, Table, Tree, Visit};
use super::{BLOCK_SIZE, FormatOptions, LARGE_FILE};
use crate::dir::entry_len;
use crate::error::Ext2Error;
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
    /// All nodes but the root and `lost+found`, in the order in which inode numbers were given.
    pub(crate) order: Vec<NodeId>,
    /// Attribute blocks with their content and number of users.
    pub(crate) attribute_blocks: BTreeMap<u32, (Vec<Attribute>, u32)>,
    /// Blocks of a `lost+found` that the tree did not have.
    pub(crate) lost_and_found: Vec<u32>,
    /// Regular files in the order their data lies.
    pub(crate) files: Vec<NodeId>,
    /// A bit for each block that is in use, those of the groups included.
    pub(crate) taken: Vec<u8>,
}

/// The version before, and what goes on from it.
#[derive(Clone, Copy)]
pub(crate) struct After<'a> {
    pub(crate) previous: &'a Previous,
    pub(crate) kept: &'a Kept,
}

impl<'a> After<'a> {
    fn old(self, id: NodeId) -> Option<&'a Old> {
        self.previous.nodes.get(&self.kept.inode(id)?)
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
pub(crate) fn plan(
    sb: &Superblock,
    options: &FormatOptions,
    tree: &Tree,
    after: Option<After<'_>>,
) -> Result<Plan, Ext2Error> {
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
    number_inodes(sb, &order, after, &mut places)?;
    if let Some(lost) = lost {
        places[lost].ino = sb.first_ino;
    }

    let mut space = Space::new(sb);
    let everything = || std::iter::once(Tree::ROOT).chain(order.iter().copied()).chain(lost);
    let mut lost_and_found = Vec::new();
    let attribute_lists = attribute_lists(sb, tree, everything(), &mut places)?;
    let mut kept_attributes = vec![None; attribute_lists.len()];
    if let Some(after) = after {
        for id in everything() {
            claim(tree, id, after, &mut places[id], &mut space)?;
        }
        if lost.is_none()
            && let Some(old) = after.previous.nodes.get(&sb.first_ino)
        {
            let most = LOST_AND_FOUND_BLOCKS as usize;
            lost_and_found.extend(old.blocks.iter().take(most).map(|(_, b)| *b).filter(|b| space.claim(*b)));
        }
        for (kept, (_, users)) in kept_attributes.iter_mut().zip(&attribute_lists) {
            let mut had = users.iter().filter_map(|id| after.old(*id)).map(|old| old.attribute_block);
            *kept = had.find(|block| space.claim(*block));
        }
        space.release(after.previous.nodes.values().flat_map(Old::all_blocks));
    }

    for id in everything().filter(|id| tree.node(*id).content == Content::Directory) {
        fill(tree, id, Start::Anywhere, &mut places[id], &mut space)?;
    }
    if lost.is_none() {
        let missing = u64::from(LOST_AND_FOUND_BLOCKS) - lost_and_found.len() as u64;
        lost_and_found.extend(space.take_many(missing, Start::Anywhere)?);
    }
    for id in everything().filter(|id| matches!(tree.node(*id).content, Content::Symlink { .. })) {
        fill(tree, id, Start::Anywhere, &mut places[id], &mut space)?;
    }
    let attribute_blocks = place_attributes(attribute_lists, kept_attributes, &mut places, &mut space)?;
    for id in everything() {
        let needed = map_blocks(&content_blocks(tree, id));
        let missing = needed.saturating_sub(places[id].maps.len() as u64);
        let more = space.take_many(missing, Start::Anywhere)?;
        places[id].maps.extend(more);
    }
    if after.is_none() {
        space.align();
    }
    let files = place_files(options, tree, &walk, after, &mut places, &mut space)?;
    Ok(Plan { places, order, attribute_blocks, lost_and_found, files, taken: space.into_bitmap() })
}

/// Gives inode numbers: those of the previous version, then what it used and nobody goes on with, since that part of the
/// tables changes anyway, then the first behind all.
fn number_inodes(
    sb: &Superblock,
    order: &[NodeId],
    after: Option<After<'_>>,
    places: &mut Table<Place>,
) -> Result<(), Ext2Error> {
    let mut used = BTreeSet::new();
    let own = |ino: &u32| *ino > sb.first_ino && *ino <= sb.inodes_count;
    for id in order {
        if let Some(ino) = after.and_then(|after| after.kept.inode(*id)).filter(own)
            && used.insert(ino)
        {
            places[*id].ino = ino;
        }
    }
    let before: Vec<u32> =
        after.map(|after| after.previous.nodes.keys().copied().filter(own).collect()).unwrap_or_default();
    let behind = before.last().map_or(sb.first_ino, |last| *last) + 1;
    let freed: Vec<u32> = before.into_iter().filter(|ino| !used.contains(ino)).collect();
    // Numbers under the highest that were free before come last.
    let mut fresh = freed.into_iter().chain(behind..=sb.inodes_count).chain(sb.first_ino + 1..behind);
    for id in order.iter().filter(|id| places[**id].ino == 0).collect::<Vec<_>>() {
        let ino = fresh.find(|ino| used.insert(*ino)).ok_or(Ext2Error::NoSpace)?;
        places[*id].ino = ino;
    }
    Ok(())
}

/// Keeps the blocks a node had, those of its map included.
fn claim(tree: &Tree, id: NodeId, after: After<'_>, place: &mut Place, space: &mut Space<'_>) -> Result<(), Ext2Error> {
    let Some(old) = after.old(id) else { return Ok(()) };
    let data = content_blocks(tree, id);
    for range in &data {
        reach(range, &mut place.blocks)?;
        place.blocks.extend(range.clone().map(|lblock| old.block(lblock).filter(|b| space.claim(*b)).unwrap_or(0)));
    }
    if place.blocks.iter().all(|block| *block == 0) {
        place.blocks.clear();
    }
    let maps = usize::try_from(map_blocks(&data)).unwrap_or(usize::MAX);
    place.maps.extend(old.maps.iter().take(maps).copied().filter(|block| space.claim(*block)));
    Ok(())
}

/// Makes the list of a file's blocks long enough for a range to follow.
fn reach(range: &Range<u64>, blocks: &mut Vec<u32>) -> Result<(), Ext2Error> {
    let start = usize::try_from(range.start).ok().filter(|_| range.end <= MOST_BLOCKS);
    blocks.resize(start.ok_or(Ext2Error::FileTooBig)?, 0);
    Ok(())
}

/// Finds room for those blocks of a node that have none yet: behind what they follow, else together.
fn fill(tree: &Tree, id: NodeId, start: Start, place: &mut Place, space: &mut Space<'_>) -> Result<(), Ext2Error> {
    let data = content_blocks(tree, id);
    if place.blocks.is_empty() {
        for range in data {
            reach(&range, &mut place.blocks)?;
            place.blocks.extend(space.take_many(range.end - range.start, start)?);
        }
        return Ok(());
    }
    for range in data {
        let Some(part) = place.blocks.get_mut(range.start as usize..range.end as usize) else { continue };
        let mut last = None;
        let mut rest = part;
        while let Some(first) = rest.first().copied() {
            let run = rest.iter().take_while(|block| (**block == 0) == (first == 0)).count();
            let (now, later) = rest.split_at_mut(run);
            if first == 0 {
                let mut found = last.map_or_else(Vec::new, |last| space.extend(last, now.len() as u64));
                let missing = (now.len() - found.len()) as u64;
                found.extend(space.take_many(missing, start)?);
                now.copy_from_slice(&found);
            }
            last = now.last().copied();
            rest = later;
        }
    }
    Ok(())
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

/// Attributes that need a block, with the nodes that have them.
type AttributeLists = Vec<(Vec<Attribute>, Vec<NodeId>)>;

/// Attributes go into the inode if they all fit there, else into a block shared by all nodes with the same ones. Returns
/// those that need a block.
fn attribute_lists(
    sb: &Superblock,
    tree: &Tree,
    nodes: impl Iterator<Item = NodeId>,
    places: &mut Table<Place>,
) -> Result<AttributeLists, Ext2Error> {
    /// Linux shares a block between at most this many.
    const MOST_USERS: usize = 1024;
    let probe = Inode::new(0, 0, 0, Time::default(), EXTRA_SIZE);
    let mut lists: AttributeLists = Vec::new();
    let mut newest: BTreeMap<Vec<Attribute>, usize> = BTreeMap::new();
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
        let shared = newest.get(&list).and_then(|index| lists.get_mut(*index));
        match shared.filter(|(_, users)| users.len() < MOST_USERS) {
            Some((_, users)) => users.push(id),
            None => {
                newest.insert(list.clone(), lists.len());
                lists.push((list, vec![id]));
            }
        }
    }
    Ok(lists)
}

fn place_attributes(
    lists: AttributeLists,
    kept: Vec<Option<u32>>,
    places: &mut Table<Place>,
    space: &mut Space<'_>,
) -> Result<BTreeMap<u32, (Vec<Attribute>, u32)>, Ext2Error> {
    let mut blocks = BTreeMap::new();
    for ((list, users), kept) in lists.into_iter().zip(kept) {
        let block = match kept {
            Some(block) => block,
            None => space.take_many(1, Start::Anywhere)?.first().copied().ok_or(Ext2Error::NoSpace)?,
        };
        users.iter().for_each(|id| places[*id].attribute_block = block);
        blocks.insert(block, (list, u32::try_from(users.len()).unwrap_or(u32::MAX)));
    }
    Ok(blocks)
}

/// Finds room for the data of files that have none yet, or not enough.
fn place_files(
    options: &FormatOptions,
    tree: &Tree,
    walk: &[Visit],
    after: Option<After<'_>>,
    places: &mut Table<Place>,
    space: &mut Space<'_>,
) -> Result<Vec<NodeId>, Ext2Error> {
    let size = |id: NodeId| match tree.node(id).content {
        Content::File { size } => Some(size),
        _ => None,
    };
    let is_new = |places: &Table<Place>, id: NodeId| places[id].blocks.is_empty();
    let mut placed = tree.table(false);
    let mut files = Vec::new();
    let mut put = |id: NodeId, places: &mut Table<Place>, space: &mut Space<'_>, start: Start| {
        if !std::mem::replace(&mut placed[id], true) {
            files.push(id);
            return fill(tree, id, start, &mut places[id], space);
        }
        Ok(())
    };
    for id in options.first.iter().copied().filter(|id| size(*id).is_some()) {
        put(id, places, space, Start::Anywhere)?;
    }
    if after.is_none() {
        space.align();
    }
    for visit in walk {
        match size(visit.id) {
            None if after.is_none() && tree.node(visit.id).content == Content::Directory && is_anchor(&visit.path) => {
                space.align();
            }
            Some(size) if size < LARGE_FILE => put(visit.id, places, space, Start::Anywhere)?,
            _ => {}
        }
    }
    for visit in walk.iter().filter(|visit| size(visit.id).is_some_and(|size| size >= LARGE_FILE)) {
        if is_new(places, visit.id) {
            space.align();
        }
        put(visit.id, places, space, Start::Chunk)?;
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
