//! Group descriptors.

use crate::Ino;
use crate::error::{Corrupt, Ext2Error};
use crate::le::{put_u16, put_u32, u16_at, u32_at};
use crate::superblock::Superblock;

/// Where the parts of a group are and what is free in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) block_bitmap: u32,
    pub(crate) inode_bitmap: u32,
    pub(crate) inode_table: u32,
    pub(crate) free_blocks: u16,
    pub(crate) free_inodes: u16,
    pub(crate) used_dirs: u16,
}

impl Group {
    /// Reads a descriptor and checks that its parts lie in its own group, as ext2 without `flex_bg` has it.
    pub(crate) fn parse(raw: &[u8], at: usize, number: u32, sb: &Superblock) -> Result<Self, Ext2Error> {
        let group = Self {
            block_bitmap: u32_at(raw, at),
            inode_bitmap: u32_at(raw, at + 4),
            inode_table: u32_at(raw, at + 8),
            free_blocks: u16_at(raw, at + 12),
            free_inodes: u16_at(raw, at + 14),
            used_dirs: u16_at(raw, at + 16),
        };
        let first = sb.group_start(number);
        let end = first.saturating_add(sb.group_len(number));
        let bad = |what| Err(Corrupt::Group { group: number, what }.into());
        let inside = |block: u32| block >= first && block < end && block > sb.first_data_block;
        if !inside(group.block_bitmap) {
            return bad("its block bitmap is elsewhere");
        }
        if !inside(group.inode_bitmap) {
            return bad("its inode bitmap is elsewhere");
        }
        let table_len = inode_table_blocks(sb);
        match group.inode_table.checked_add(table_len) {
            Some(table_end) if inside(group.inode_table) && table_end <= end => Ok(group),
            _ => bad("its inode table is elsewhere"),
        }
    }

    /// Writes the descriptor.
    pub(crate) fn store(&self, raw: &mut [u8], at: usize) {
        put_u32(raw, at, self.block_bitmap);
        put_u32(raw, at + 4, self.inode_bitmap);
        put_u32(raw, at + 8, self.inode_table);
        put_u16(raw, at + 12, self.free_blocks);
        put_u16(raw, at + 14, self.free_inodes);
        put_u16(raw, at + 16, self.used_dirs);
    }

    /// Whether a block of this group holds one of the group's own structures.
    pub(crate) fn owns(&self, block: u32, number: u32, sb: &Superblock) -> bool {
        block == self.block_bitmap
            || block == self.inode_bitmap
            || block.checked_sub(self.inode_table).is_some_and(|n| n < inode_table_blocks(sb))
            || block.saturating_sub(sb.group_start(number)) < sb.backup_blocks(number)
    }
}

/// Blocks of a group's inode table.
pub(crate) fn inode_table_blocks(sb: &Superblock) -> u32 {
    sb.inodes_per_group.div_ceil(sb.block_size / sb.inode_size)
}

/// Where an inode is within the inode tables: group, block within the group's table, byte offset.
pub(crate) fn inode_place(sb: &Superblock, ino: Ino) -> Result<(u32, u32, usize), Ext2Error> {
    if ino.0 == 0 || ino.0 > sb.inodes_count {
        return Err(Ext2Error::NotFound);
    }
    let index = ino.0 - 1;
    let in_group = index % sb.inodes_per_group;
    let per_block = sb.block_size / sb.inode_size;
    Ok((index / sb.inodes_per_group, in_group / per_block, (in_group % per_block * sb.inode_size) as usize))
}
