//! Looking for damage: a whole walk that trusts nothing, for `image-tools verify` and tests.
//!
//! It compares what inodes and directories say with bitmaps, counts and each other. It changes nothing; the repair is
//! `e2fsck`'s, or a new overlay.

mod blocks;
mod names;

use std::collections::BTreeMap;
use std::fmt;

use vm_block::BlockDevice;

use crate::error::Ext2Error;
use crate::fs::{Ext2, MountOptions};
use crate::group::inode_table_blocks;
use crate::source::Source;
use crate::{Ino, Inode, bitmap};
use blocks::BlockUse;

/// Findings beyond this number are only counted.
const MOST_FINDINGS: usize = 1000;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the superblock.
    Superblock,
    /// In a group's descriptor or bitmaps.
    Group(u32),
    /// In an inode or what hangs on it.
    Inode(Ino),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Superblock => write!(f, "superblock: {}", self.what),
            Place::Group(number) => write!(f, "group {number}: {}", self.what),
            Place::Inode(ino) => write!(f, "inode {}: {}", ino.0, self.what),
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
    /// Findings that were not kept because there were too many.
    pub more: u64,
    /// Inodes in use that are not reserved.
    pub inodes: u32,
    /// Directories among them, with the root.
    pub directories: u32,
    /// Blocks in use, metadata included.
    pub blocks: u32,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, place: Place, what: impl Into<String>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { place, what: what.into() });
        } else {
            self.more += 1;
        }
    }
}

/// Checks the file system on a device. An error means that it could not be read far enough to be checked.
pub async fn check<D: BlockDevice>(device: &D) -> Result<Report, Ext2Error> {
    let fs = Ext2::open(Borrowed(device), MountOptions::read_only()).await?;
    let mut checker = Checker {
        fs: &fs,
        report: Report::default(),
        used: BlockUse::new(&fs)?,
        inodes: BTreeMap::new(),
        attribute_users: BTreeMap::new(),
    };
    checker.read_inodes().await?;
    checker.walk_blocks().await?;
    checker.walk_names().await?;
    checker.compare_orphans().await?;
    checker.compare_groups().await?;
    Ok(checker.report)
}

struct Checker<'f, D> {
    fs: &'f Ext2<D>,
    report: Report,
    used: BlockUse,
    /// Inodes in use.
    inodes: BTreeMap<u32, Inode>,
    /// Users of each attribute block.
    attribute_users: BTreeMap<u32, u32>,
}

impl<D: BlockDevice> Checker<'_, D> {
    /// Reads every inode table and keeps the inodes that are in use.
    async fn read_inodes(&mut self) -> Result<(), Ext2Error> {
        let sb = &self.fs.superblock;
        let size = sb.inode_size as usize;
        let per_block = sb.block_size / sb.inode_size;
        for number in 0..sb.group_count() {
            let table = self.fs.group(number)?.inode_table;
            let mut content = vec![0; inode_table_blocks(sb) as usize * sb.bs()];
            self.fs.data(u64::from(table) * u64::from(sb.block_size), &mut content).await?;
            for (index, raw) in (0..sb.inodes_per_group).zip(content.chunks_exact(size)) {
                let ino = number * sb.inodes_per_group + index + 1;
                debug_assert!(per_block > 0);
                if raw.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let inode = Inode::parse(raw);
                if inode.links > 0 || (ino < sb.first_ino && inode.mode != 0) || self.in_use(number, index).await? {
                    self.inodes.insert(ino, inode);
                }
            }
        }
        Ok(())
    }

    async fn in_use(&self, group: u32, index: u32) -> Result<bool, Ext2Error> {
        let bits = self.fs.block(self.fs.group(group)?.inode_bitmap).await?;
        Ok(bitmap::is_set(&bits, index))
    }

    /// Follows the orphan list. An image at rest should have none.
    async fn compare_orphans(&mut self) -> Result<(), Ext2Error> {
        let mut next = self.fs.state.get().last_orphan;
        let mut left = self.fs.superblock.inodes_count;
        while next != 0 {
            let Some(inode) = self.inodes.get(&next).filter(|_| left > 0) else {
                self.report.add(Place::Superblock, "the orphan list leads nowhere");
                break;
            };
            self.report.add(Place::Inode(Ino(next)), "was unlinked while open and is still on the orphan list");
            next = inode.dtime;
            left -= 1;
        }
        Ok(())
    }

    /// Compares bitmaps and counts with what was found.
    async fn compare_groups(&mut self) -> Result<(), Ext2Error> {
        let sb = self.fs.superblock.clone();
        let (mut free_blocks, mut free_inodes) = (0, 0);
        for number in 0..sb.group_count() {
            let group = self.fs.group(number)?;
            let place = Place::Group(number);
            let (start, len) = (sb.group_start(number), sb.group_len(number));
            let bits = self.fs.block(group.block_bitmap).await?;
            let lost = (0..len).filter(|b| bitmap::is_set(&bits, *b) && !self.used.contains(start + b)).count();
            let stolen = (0..len).filter(|b| !bitmap::is_set(&bits, *b) && self.used.contains(start + b)).count();
            if lost > 0 {
                self.report.add(place, format!("{lost} blocks are marked in use but nothing uses them"));
            }
            if stolen > 0 {
                self.report.add(place, format!("{stolen} blocks in use are marked free"));
            }
            if (len..sb.block_size * 8).any(|b| !bitmap::is_set(&bits, b)) {
                self.report.add(place, "blocks behind the group's end are marked free");
            }
            let free = bitmap::count_clear(&bits, len);
            if free != u32::from(group.free_blocks) {
                self.report.add(place, format!("counts {} free blocks of {free}", group.free_blocks));
            }
            free_blocks += free;
            let first = number * sb.inodes_per_group + 1;
            let bits = self.fs.block(group.inode_bitmap).await?;
            for index in 0..sb.inodes_per_group {
                let ino = first + index;
                let used = ino < sb.first_ino || self.inodes.contains_key(&ino);
                if used != bitmap::is_set(&bits, index) {
                    let state = if used { "is in use but marked free" } else { "is free but marked in use" };
                    self.report.add(Place::Inode(Ino(ino)), state);
                }
            }
            let free = bitmap::count_clear(&bits, sb.inodes_per_group);
            if free != u32::from(group.free_inodes) {
                self.report.add(place, format!("counts {} free inodes of {free}", group.free_inodes));
            }
            free_inodes += free;
            let inside = self.inodes.range(first..first + sb.inodes_per_group);
            let directories = inside.filter(|(_, inode)| inode.is_dir()).count();
            if directories != usize::from(group.used_dirs) {
                self.report.add(place, format!("counts {} directories of {directories}", group.used_dirs));
            }
        }
        let state = self.fs.state.get();
        if state.free_blocks != free_blocks {
            let what = format!("counts {} free blocks of {free_blocks}", state.free_blocks);
            self.report.add(Place::Superblock, what);
        }
        if state.free_inodes != free_inodes {
            let what = format!("counts {} free inodes of {free_inodes}", state.free_inodes);
            self.report.add(Place::Superblock, what);
        }
        self.report.blocks = sb.blocks_count - sb.first_data_block - free_blocks;
        self.report.inodes = self.inodes.range(sb.first_ino..).count() as u32;
        self.report.directories = self.inodes.values().filter(|inode| inode.is_dir()).count() as u32;
        Ok(())
    }
}

/// A device that is only borrowed, read-only.
struct Borrowed<'d, D>(&'d D);

impl<D: BlockDevice> BlockDevice for Borrowed<'_, D> {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_only(&self) -> bool {
        true
    }
    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), vm_block::BlockError> {
        self.0.read_at(offset, buf).await
    }
    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), vm_block::BlockError>> {
        self.0.read_now(offset, buf)
    }
    fn write_now(&self, _offset: u64, _data: &[u8]) -> Result<(), vm_block::BlockError> {
        Err(vm_block::BlockError::ReadOnly)
    }
    async fn flush(&self) -> Result<(), vm_block::BlockError> {
        Ok(())
    }
}
