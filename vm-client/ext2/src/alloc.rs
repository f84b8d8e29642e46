//! Finding and freeing blocks and inodes.
//!
//! A file's blocks follow each other if they can, starting in the group of its inode; a file's inode lies in the group of
//! its directory; directories spread out when there is little room beside their parent (Orlov's idea). Nothing is random:
//! the same operations on the same image give the same image.

use vm_block::BlockDevice;

use crate::error::{Corrupt, Ext2Error};
use crate::group::Group;
use crate::source::Source;
use crate::txn::Txn;
use crate::{Ino, bitmap};

/// What an inode is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Directory,
    Other,
}

impl<D: BlockDevice> Txn<'_, D> {
    /// Takes up to `want` blocks that follow each other, near `goal`; returns the first and how many.
    pub(crate) async fn take_blocks(&mut self, goal: u32, want: u32) -> Result<(u32, u32), Ext2Error> {
        let groups = self.sb().group_count();
        let goal = if goal > self.sb().first_data_block && goal < self.sb().blocks_count { goal } else { 0 };
        let home = self.sb().group_of_block(goal).min(groups - 1);
        for step in 0..groups {
            if self.state.free_blocks == 0 {
                break;
            }
            let number = (home + step) % groups;
            let mut group = self.group(number)?;
            if group.free_blocks == 0 {
                continue;
            }
            let start = self.sb().group_start(number);
            let len = self.sb().group_len(number);
            let from = if step == 0 { goal.saturating_sub(start) } else { 0 };
            let want = want.min(u32::from(group.free_blocks)).min(self.state.free_blocks).max(1);
            let found = bitmap::find_run(&self.block(group.block_bitmap).await?, from, want, len);
            let Some((bit, count)) = found else { continue };
            if (bit..bit + count).any(|b| group.owns(start + b, number, self.sb())) {
                return Err(Corrupt::Group { group: number, what: "its bitmap has its own structures free" }.into());
            }
            let bits = self.edit(group.block_bitmap).await?;
            (bit..bit + count).for_each(|b| bitmap::set(bits, b));
            group.free_blocks -= count as u16;
            self.put_group(number, group);
            self.state.free_blocks -= count;
            return Ok((start + bit, count));
        }
        Err(Ext2Error::NoSpace)
    }

    /// Frees blocks of an inode that follow each other.
    pub(crate) async fn free_blocks(&mut self, ino: Ino, first: u32, count: u32) -> Result<(), Ext2Error> {
        let bad = |block, what| Ext2Error::from(Corrupt::Pointer { ino, block, what });
        let end = first.checked_add(count).filter(|end| *end <= self.sb().blocks_count);
        let Some(end) = end.filter(|_| first > self.sb().first_data_block) else {
            return Err(bad(first, "which is outside the file system"));
        };
        let mut at = first;
        while at < end {
            let number = self.sb().group_of_block(at);
            let start = self.sb().group_start(number);
            let stop = end.min(start + self.sb().group_len(number));
            let mut group = self.group(number)?;
            if let Some(own) = (at..stop).find(|b| group.owns(*b, number, self.sb())) {
                return Err(bad(own, "which holds no data"));
            }
            let bits = self.edit(group.block_bitmap).await?;
            for block in at..stop {
                if !bitmap::is_set(bits, block - start) {
                    return Err(bad(block, "which is free"));
                }
                bitmap::clear(bits, block - start);
            }
            let freed = stop - at;
            group.free_blocks = group.free_blocks.saturating_add(freed as u16);
            self.put_group(number, group);
            self.state.free_blocks = self.state.free_blocks.saturating_add(freed);
            at = stop;
        }
        self.note_freed(first, count);
        Ok(())
    }

    /// Takes a free inode for a child of `parent`.
    pub(crate) async fn take_inode(&mut self, parent: Ino, purpose: Purpose) -> Result<Ino, Ext2Error> {
        if self.state.free_inodes == 0 {
            return Err(Ext2Error::NoSpace);
        }
        let groups = self.sb().group_count();
        let home = (parent.0.saturating_sub(1) / self.sb().inodes_per_group).min(groups - 1);
        let first = match purpose {
            Purpose::Directory => self.group_for_directory(parent, home)?,
            Purpose::Other => self.group_for_file(parent, home)?,
        };
        for step in 0..groups {
            let number = (first + step) % groups;
            let mut group = self.group(number)?;
            if group.free_inodes == 0 {
                continue;
            }
            let per_group = self.sb().inodes_per_group;
            let reserved = (self.sb().first_ino - 1).saturating_sub(number.saturating_mul(per_group));
            let found = bitmap::first_clear(&self.block(group.inode_bitmap).await?, reserved, per_group);
            let Some(bit) = found else { continue };
            bitmap::set(self.edit(group.inode_bitmap).await?, bit);
            group.free_inodes -= 1;
            if purpose == Purpose::Directory {
                group.used_dirs = group.used_dirs.saturating_add(1);
            }
            self.put_group(number, group);
            self.state.free_inodes -= 1;
            return Ok(Ino(number * per_group + bit + 1));
        }
        Err(Ext2Error::NoSpace)
    }

    /// Gives an inode's number back.
    pub(crate) async fn free_inode(&mut self, ino: Ino, purpose: Purpose) -> Result<(), Ext2Error> {
        if ino.0 < self.sb().first_ino || ino.0 > self.sb().inodes_count {
            return Err(Corrupt::Inode { ino, what: "is reserved and cannot be freed" }.into());
        }
        let number = (ino.0 - 1) / self.sb().inodes_per_group;
        let bit = (ino.0 - 1) % self.sb().inodes_per_group;
        let mut group = self.group(number)?;
        let bits = self.edit(group.inode_bitmap).await?;
        if !bitmap::is_set(bits, bit) {
            return Err(Corrupt::Inode { ino, what: "is in use but free in its bitmap" }.into());
        }
        bitmap::clear(bits, bit);
        group.free_inodes = group.free_inodes.saturating_add(1);
        if purpose == Purpose::Directory {
            group.used_dirs = group.used_dirs.saturating_sub(1);
        }
        self.put_group(number, group);
        self.state.free_inodes = self.state.free_inodes.saturating_add(1);
        Ok(())
    }

    fn all_groups(&self) -> Result<Vec<Group>, Ext2Error> {
        (0..self.sb().group_count()).map(|n| self.group(n)).collect()
    }

    /// The group of the parent if it has room, else one found by steps that double, else the parent's.
    fn group_for_file(&self, parent: Ino, home: u32) -> Result<u32, Ext2Error> {
        let has_room = |group: Group| group.free_inodes > 0 && group.free_blocks > 0;
        if has_room(self.group(home)?) {
            return Ok(home);
        }
        let groups = self.sb().group_count();
        let mut at = (home + parent.0 % groups) % groups;
        let mut step = 1;
        while step < groups {
            at = (at + step) % groups;
            if has_room(self.group(at)?) {
                return Ok(at);
            }
            step *= 2;
        }
        Ok(home)
    }

    /// For children of the root the group with most room and fewest directories; for others the first from the parent's on
    /// that is not much fuller than the average.
    fn group_for_directory(&self, parent: Ino, home: u32) -> Result<u32, Ext2Error> {
        let groups = self.all_groups()?;
        let count = groups.len() as u32;
        let mean_inodes = self.state.free_inodes / count;
        let mean_blocks = self.state.free_blocks / count;
        if parent == Ino::ROOT {
            let good = groups.iter().enumerate().filter(|(_, g)| {
                g.free_inodes > 0 && u32::from(g.free_inodes) >= mean_inodes && u32::from(g.free_blocks) >= mean_blocks
            });
            if let Some((number, _)) = good.min_by_key(|(number, g)| (g.used_dirs, *number)) {
                return Ok(number as u32);
            }
        }
        let directories: u32 = groups.iter().map(|g| u32::from(g.used_dirs)).sum();
        let most_directories = directories / count + self.sb().inodes_per_group / 16;
        let least_inodes = mean_inodes.saturating_sub(self.sb().inodes_per_group / 4);
        let least_blocks = mean_blocks.saturating_sub(self.sb().blocks_per_group / 4);
        let cyclic = || (0..count).map(|step| (home + step) % count).filter_map(|n| Some((n, groups.get(n as usize)?)));
        let fair = cyclic().find(|(_, g)| {
            g.free_inodes > 0
                && u32::from(g.used_dirs) < most_directories
                && u32::from(g.free_inodes) >= least_inodes
                && u32::from(g.free_blocks) >= least_blocks
        });
        Ok(fair.or_else(|| cyclic().find(|(_, g)| g.free_inodes > 0)).map_or(home, |(number, _)| number))
    }
}
