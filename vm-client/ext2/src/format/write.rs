//! Writing what was planned.

use vm_block::{BlockDevice, BlockError};

use super::layout::{LOST_AND_FOUND, Place, Plan};
use super::space::data_start;
use super::tree::{Content, Metadata, NodeId, Tree};
use super::{BLOCK_SIZE, FormatOptions, Formatted};
use crate::dir::{entry_len, put_entry};
use crate::error::Ext2Error;
use crate::group::{Group, inode_place, inode_table_blocks};
use crate::inode::{EXTRA_SIZE, FileType, Ino, Inode, encode_device};
use crate::le::put_u32;
use crate::map::DIRECT;
use crate::superblock::{SUPERBLOCK_OFFSET, SuperState, Superblock, encode_new};
use crate::{Time, bitmap, symlink, xattr};

/// Bytes of data asked for at a time.
const PIECE: usize = 1 << 20;

/// Writes blocks, leaving out those that are zero.
struct Writer<'d, D> {
    device: &'d D,
}

impl<D: BlockDevice> Writer<'_, D> {
    async fn put(&self, block: u32, content: &[u8]) -> Result<(), Ext2Error> {
        let bs = BLOCK_SIZE as usize;
        self.device.reserve(content.len() as u64).await?;
        let _operation = self.device.begin();
        let offset = u64::from(block) * u64::from(BLOCK_SIZE);
        let mut start = 0;
        while start < content.len() {
            let zero = |at: usize| content.get(at..at + bs).is_none_or(|b| b.iter().all(|byte| *byte == 0));
            let mut end = start;
            while end < content.len() && !zero(end) {
                end += bs;
            }
            if let Some(run) = content.get(start..end).filter(|run| !run.is_empty()) {
                self.device.write_now(offset + start as u64, run)?;
            }
            start = end + bs;
        }
        Ok(())
    }
}

/// Writes everything.
pub(crate) async fn write<D: BlockDevice>(
    device: &D,
    sb: &Superblock,
    options: &FormatOptions,
    tree: &Tree,
    plan: &Plan,
    mut read: impl AsyncFnMut(NodeId, u64, &mut [u8]) -> Result<(), BlockError>,
) -> Result<Formatted, Ext2Error> {
    let writer = Writer { device };
    for id in std::iter::once(Tree::ROOT).chain(plan.order.iter().copied()).chain(own_lost_and_found(tree)) {
        let place = &plan.places[id];
        for (block, content) in node_blocks(sb, tree, plan, id, place) {
            writer.put(block, &content).await?;
        }
    }
    for (block, content) in lost_and_found_blocks(sb, plan) {
        writer.put(block, &content).await?;
    }
    for (block, (attributes, users)) in &plan.attribute_blocks {
        let mut content = xattr::encode_block(attributes, sb.bs());
        xattr::set_references(&mut content, *users);
        writer.put(*block, &content).await?;
    }
    for id in &plan.files {
        write_file(&writer, tree, plan, *id, &mut read).await?;
    }
    write_inodes(&writer, sb, options, tree, plan).await?;
    write_groups(&writer, sb, seconds(options.made), tree, plan).await
}

fn own_lost_and_found(tree: &Tree) -> Option<NodeId> {
    tree.child(Tree::ROOT, LOST_AND_FOUND)
}

async fn write_file<D: BlockDevice>(
    writer: &Writer<'_, D>,
    tree: &Tree,
    plan: &Plan,
    id: NodeId,
    read: &mut impl AsyncFnMut(NodeId, u64, &mut [u8]) -> Result<(), BlockError>,
) -> Result<(), Ext2Error> {
    let Content::File { size } = tree.node(id).content else { return Ok(()) };
    let mut rest = plan.places[id].blocks.as_slice();
    let mut at = 0;
    while let Some(first) = rest.first().copied() {
        let most = PIECE / BLOCK_SIZE as usize;
        if first == 0 {
            let hole = rest.iter().take_while(|block| **block == 0).count();
            at += hole as u64 * u64::from(BLOCK_SIZE);
            rest = rest.get(hole..).unwrap_or(&[]);
            continue;
        }
        let run = rest.iter().zip(first..).take(most).take_while(|(block, expected)| **block == *expected).count();
        let mut content = vec![0; run * BLOCK_SIZE as usize];
        let len = content.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
        read(id, at, content.get_mut(..len).unwrap_or(&mut [])).await?;
        writer.put(first, &content).await?;
        at += content.len() as u64;
        rest = rest.get(run..).unwrap_or(&[]);
    }
    Ok(())
}

/// Map blocks of any node, and the blocks of directories and long links.
fn node_blocks(sb: &Superblock, tree: &Tree, plan: &Plan, id: NodeId, place: &Place) -> Vec<(u32, Vec<u8>)> {
    let (_, mut out) = map_of(place);
    match &tree.node(id).content {
        Content::Directory => out.extend(directory_content(sb, tree, plan, id, place)),
        Content::Symlink { target } => {
            if let Some(block) = place.blocks.first() {
                let mut content = target.clone();
                content.resize(sb.bs(), 0);
                out.push((*block, content));
            }
        }
        _ => {}
    }
    out
}

fn directory_content(sb: &Superblock, tree: &Tree, plan: &Plan, id: NodeId, place: &Place) -> Vec<(u32, Vec<u8>)> {
    let parent = place.parent.map_or(Ino::ROOT.0, |parent| plan.places[parent].ino);
    let mut entries: Vec<(&[u8], u32, FileType)> =
        vec![(b".", place.ino, FileType::Directory), (b"..", parent, FileType::Directory)];
    if id == Tree::ROOT && !plan.lost_and_found.is_empty() {
        entries.push((LOST_AND_FOUND, sb.first_ino, FileType::Directory));
    }
    entries.extend(
        tree.children(id).map(|(name, child)| (name, plan.places[child].ino, tree.node(child).content.file_type())),
    );
    let mut out: Vec<(u32, Vec<u8>)> = Vec::new();
    let blocks = place.blocks.iter().copied();
    let mut todo = entries.into_iter().peekable();
    for block in blocks {
        let mut content = vec![0; sb.bs()];
        let mut at = 0;
        let mut fit = Vec::new();
        while let Some((name, _, _)) = todo.peek() {
            let len = entry_len(name.len());
            if at + len > sb.bs() {
                break;
            }
            fit.extend(todo.next().map(|entry| (at, len, entry)));
            at += len;
        }
        let last = fit.len().saturating_sub(1);
        for (n, (at, len, (name, ino, kind))) in fit.into_iter().enumerate() {
            let len = if n == last { sb.bs() - at } else { len };
            put_entry(sb, &mut content, at, len, Ino(ino), name, kind);
        }
        out.push((block, content));
    }
    debug_assert!(todo.peek().is_none(), "the plan counted the blocks of every directory");
    out
}

fn lost_and_found_blocks(sb: &Superblock, plan: &Plan) -> Vec<(u32, Vec<u8>)> {
    let mut out = Vec::new();
    for (n, block) in plan.lost_and_found.iter().enumerate() {
        let content = if n == 0 {
            crate::dir::new_block(sb, Ino(sb.first_ino), Ino::ROOT)
        } else {
            let mut empty = vec![0; sb.bs()];
            put_entry(sb, &mut empty, 0, sb.bs(), Ino(0), b"", FileType::Unknown);
            empty
        };
        out.push((*block, content));
    }
    out
}

/// The pointers of an inode and the content of its map blocks.
fn map_of(place: &Place) -> ([u32; 15], Vec<(u32, Vec<u8>)>) {
    let mut pointers = [0; 15];
    let mut out = Vec::new();
    let (direct, mut rest) = place.blocks.split_at(place.blocks.len().min(DIRECT as usize));
    for (pointer, block) in pointers.iter_mut().zip(direct) {
        *pointer = *block;
    }
    let mut maps = place.maps.iter().copied();
    for (depth, pointer) in (1..=3_u32).zip(pointers.iter_mut().skip(12)) {
        if rest.is_empty() {
            break;
        }
        let here = rest.len().min((BLOCK_SIZE as usize / 4).pow(depth));
        let (now, later) = rest.split_at(here);
        *pointer = map_tree(depth, now, &mut maps, &mut out);
        rest = later;
    }
    (pointers, out)
}

fn map_tree(depth: u32, blocks: &[u32], maps: &mut impl Iterator<Item = u32>, out: &mut Vec<(u32, Vec<u8>)>) -> u32 {
    if blocks.iter().all(|block| *block == 0) {
        return 0;
    }
    let own = maps.next().unwrap_or(0);
    debug_assert_ne!(own, 0, "the plan counted the map blocks of every file");
    let mut content = vec![0; BLOCK_SIZE as usize];
    let below = (BLOCK_SIZE as usize / 4).pow(depth - 1);
    for (n, part) in blocks.chunks(below).enumerate() {
        let pointer =
            if depth == 1 { part.first().copied().unwrap_or(0) } else { map_tree(depth - 1, part, maps, out) };
        put_u32(&mut content, n * 4, pointer);
    }
    out.push((own, content));
    own
}

fn inode_of(sb: &Superblock, tree: &Tree, plan: &Plan, id: NodeId) -> Inode {
    let node = tree.node(id);
    let place = &plan.places[id];
    let Metadata { mode, uid, gid, mtime, atime, ctime } = node.metadata;
    let kind: u16 = match node.content.file_type() {
        FileType::Directory => 0x4000,
        FileType::Symlink => 0xa000,
        FileType::CharDevice => 0x2000,
        FileType::BlockDevice => 0x6000,
        FileType::Fifo => 0x1000,
        FileType::Socket => 0xc000,
        FileType::Regular | FileType::Unknown => 0x8000,
    };
    let mut inode = Inode::new(mode & 0xfff | kind, uid, gid, ctime, EXTRA_SIZE);
    inode.mtime = mtime;
    inode.atime = atime;
    inode.crtime = Some(ctime);
    inode.pointers = map_of(place).0;
    inode.file_acl = place.attribute_block;
    let held = place.blocks.iter().filter(|block| **block != 0).count();
    let blocks = held + place.maps.len() + usize::from(place.attribute_block != 0);
    inode.sectors = blocks as u64 * u64::from(sb.block_size / 512);
    inode.links = tree.names(id).min(u32::from(u16::MAX)) as u16;
    match &node.content {
        Content::Directory => {
            inode.size = place.blocks.len() as u64 * u64::from(sb.block_size);
            let subdirectories = tree.children(id).filter(|(_, c)| tree.node(*c).content == Content::Directory).count();
            let extra = usize::from(id == Tree::ROOT && !plan.lost_and_found.is_empty());
            inode.links = u16::try_from(2 + subdirectories + extra).unwrap_or(u16::MAX);
        }
        Content::File { size } => inode.size = *size,
        Content::Symlink { target } => {
            inode.size = target.len() as u64;
            if place.blocks.is_empty() {
                symlink::store_fast(&mut inode, target);
            }
        }
        Content::CharDevice(device) | Content::BlockDevice(device) => {
            let (old, wide) = encode_device(*device);
            inode.pointers = std::array::from_fn(|n| [old, wide].get(n).copied().unwrap_or(0));
        }
        Content::Fifo | Content::Socket => {}
    }
    inode
}

async fn write_inodes<D: BlockDevice>(
    writer: &Writer<'_, D>,
    sb: &Superblock,
    options: &FormatOptions,
    tree: &Tree,
    plan: &Plan,
) -> Result<(), Ext2Error> {
    let mut all: Vec<(u32, Inode, &[xattr::Attribute])> = std::iter::once(Tree::ROOT)
        .chain(plan.order.iter().copied())
        .chain(own_lost_and_found(tree))
        .map(|id| (plan.places[id].ino, inode_of(sb, tree, plan, id), plan.places[id].in_inode.as_slice()))
        .collect();
    if !plan.lost_and_found.is_empty() {
        let mut inode = Inode::new(0x41c0, 0, 0, options.made, EXTRA_SIZE);
        inode.links = 2;
        inode.size = plan.lost_and_found.len() as u64 * u64::from(sb.block_size);
        inode.sectors = inode.size / 512;
        for (pointer, block) in inode.pointers.iter_mut().zip(&plan.lost_and_found) {
            *pointer = *block;
        }
        all.push((sb.first_ino, inode, &[]));
    }
    all.sort_by_key(|(ino, _, _)| *ino);
    let mut current: Option<(u32, Vec<u8>)> = None;
    for (ino, inode, attributes) in all {
        let (group, block, offset) = inode_place(sb, Ino(ino))?;
        let block = group_of(sb, group).inode_table + block;
        if current.as_ref().is_none_or(|(open, _)| *open != block) {
            if let Some((done, content)) = current.take() {
                writer.put(done, &content).await?;
            }
            current = Some((block, vec![0; sb.bs()]));
        }
        let size = sb.inode_size as usize;
        if let Some(raw) = current.as_mut().and_then(|(_, content)| content.get_mut(offset..offset + size)) {
            inode.store(raw);
            xattr::store_in_inode(attributes, &inode, raw);
        }
    }
    match current {
        Some((block, content)) => writer.put(block, &content).await,
        None => Ok(()),
    }
}

/// A group's descriptor without its counts.
pub(crate) fn group_of(sb: &Superblock, number: u32) -> Group {
    let first = sb.group_start(number) + sb.backup_blocks(number);
    Group {
        block_bitmap: first,
        inode_bitmap: first + 1,
        inode_table: first + 2,
        free_blocks: 0,
        free_inodes: 0,
        used_dirs: 0,
    }
}

async fn write_groups<D: BlockDevice>(
    writer: &Writer<'_, D>,
    sb: &Superblock,
    made: u32,
    tree: &Tree,
    plan: &Plan,
) -> Result<Formatted, Ext2Error> {
    let mut directories = Vec::new();
    let mut inodes: Vec<u32> = (1..=sb.first_ino).collect();
    for id in std::iter::once(Tree::ROOT).chain(plan.order.iter().copied()) {
        let ino = plan.places[id].ino;
        inodes.extend((ino > sb.first_ino).then_some(ino));
        directories.extend((tree.node(id).content == Content::Directory).then_some(ino));
    }
    directories.push(sb.first_ino);
    inodes.sort_unstable();
    directories.sort_unstable();
    let mut descriptors = vec![0; sb.descriptor_blocks() as usize * sb.bs()];
    let mut empty = descriptors.clone();
    let (mut free_blocks, mut free_inodes) = (0, 0);
    for number in 0..sb.group_count() {
        let mut group = group_of(sb, number);
        let (start, len) = (sb.group_start(number), sb.group_len(number));
        let at = start as usize / 8;
        let mut blocks = plan.taken.get(at..at + sb.bs()).unwrap_or(&[]).to_vec();
        (len..sb.block_size * 8).for_each(|bit| bitmap::set(&mut blocks, bit));
        let first_ino = number * sb.inodes_per_group + 1;
        let mut used_inodes = vec![0; sb.bs()];
        let here = inodes.iter().skip(inodes.partition_point(|ino| *ino < first_ino));
        let here = here.take_while(|ino| **ino < first_ino + sb.inodes_per_group);
        here.for_each(|ino| bitmap::set(&mut used_inodes, ino - first_ino));
        group.free_inodes = bitmap::count_clear(&used_inodes, sb.inodes_per_group) as u16;
        (sb.inodes_per_group..sb.block_size * 8).for_each(|bit| bitmap::set(&mut used_inodes, bit));
        writer.put(group.block_bitmap, &blocks).await?;
        writer.put(group.inode_bitmap, &used_inodes).await?;
        let free = bitmap::count_clear(&blocks, len);
        group.free_blocks = free as u16;
        let before = |ino: u32| directories.partition_point(|d| *d < ino);
        group.used_dirs = (before(first_ino + sb.inodes_per_group) - before(first_ino)) as u16;
        free_blocks += free;
        free_inodes += u32::from(group.free_inodes);
        group.store(&mut descriptors, number as usize * 32);
        let unused = Group {
            free_blocks: (len - (data_start(sb, number) - start)) as u16,
            free_inodes: sb.inodes_per_group as u16,
            used_dirs: 0,
            ..group
        };
        unused.store(&mut empty, number as usize * 32);
    }
    let state = |free_blocks, free_inodes| SuperState {
        free_blocks,
        free_inodes,
        last_orphan: 0,
        revision: sb.revision,
        compat: sb.compat,
        ro_compat: sb.ro_compat,
    };
    // Copies tell of an empty file system, as they do under Linux, which never updates them: so they are the same in all
    // versions. Whoever has to use one counts anew.
    let overhead: u32 = (0..sb.group_count()).map(|number| data_start(sb, number) - sb.group_start(number)).sum();
    for number in (0..sb.group_count()).filter(|g| sb.has_super(*g)) {
        let (state, table) = match number {
            0 => (state(free_blocks, free_inodes), &descriptors),
            _ => (state(sb.blocks_count - overhead, sb.inodes_count - sb.first_ino), &empty),
        };
        let raw = encode_new(sb, &state, made, (number & 0xffff) as u16);
        let mut block = vec![0; sb.bs()];
        let at = if number == 0 { SUPERBLOCK_OFFSET as usize } else { 0 };
        crate::le::put(&mut block, at, &raw);
        writer.put(sb.group_start(number), &block).await?;
        writer.put(sb.group_start(number) + 1, table).await?;
    }
    debug_assert!(inode_table_blocks(sb) > 0);
    writer.device.flush().await?;
    let own = |block: u32| block < data_start(sb, sb.group_of_block(block));
    let last = (0..sb.blocks_count).rev().find(|block| bitmap::is_set(&plan.taken, *block) && !own(*block));
    Ok(Formatted {
        blocks: sb.blocks_count,
        free_blocks,
        inodes: sb.inodes_count,
        free_inodes,
        data_end: last.map_or(0, |last| last + 1),
    })
}

fn seconds(time: Time) -> u32 {
    u32::try_from(time.sec.clamp(0, i64::from(u32::MAX))).unwrap_or(0)
}
