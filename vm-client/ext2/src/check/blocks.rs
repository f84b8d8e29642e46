//! Who uses which block.

use vm_block::BlockDevice;

use super::{Checker, Place};
use crate::error::Ext2Error;
use crate::fs::Ext2;
use crate::le::u32_at;
use crate::source::Source;
use crate::{Ino, Inode, xattr};

/// The inode that holds the blocks kept for a larger descriptor table.
const RESIZE_INODE: u32 = 7;

/// A bit per block: something uses it.
pub(super) struct BlockUse {
    words: Vec<u64>,
}

impl BlockUse {
    /// Starts with the groups' own structures.
    pub(super) fn new<D: BlockDevice>(fs: &Ext2<D>) -> Result<Self, Ext2Error> {
        let sb = &fs.superblock;
        let mut used = Self { words: vec![0; sb.blocks_count as usize / 64 + 1] };
        for number in 0..sb.group_count() {
            let group = fs.group(number)?;
            let start = sb.group_start(number);
            let own = start..start + sb.backup_blocks(number).min(sb.group_len(number));
            let table = group.inode_table..group.inode_table + crate::group::inode_table_blocks(sb);
            own.chain(table).chain([group.block_bitmap, group.inode_bitmap]).for_each(|block| {
                used.add(block);
            });
        }
        Ok(used)
    }

    pub(super) fn contains(&self, block: u32) -> bool {
        self.words.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    /// Marks a block; tells whether it was free until then.
    fn add(&mut self, block: u32) -> bool {
        let Some(word) = self.words.get_mut(block as usize / 64) else { return false };
        let fresh = *word >> (block % 64) & 1 == 0;
        *word |= 1 << (block % 64);
        fresh
    }
}

impl<D: BlockDevice> Checker<'_, D> {
    /// Follows the map and the attributes of every inode in use.
    pub(super) async fn walk_blocks(&mut self) -> Result<(), Ext2Error> {
        let sb = self.fs.superblock.clone();
        for (ino, inode) in self.inodes.clone() {
            let place = Place::Inode(Ino(ino));
            let mut blocks = 0;
            if inode.has_map(sb.block_size) || ino < sb.first_ino {
                for (slot, pointer) in inode.pointers.iter().copied().enumerate() {
                    let depth = (slot as u32).saturating_sub(11);
                    blocks += self.walk_tree(Ino(ino), pointer, depth).await?;
                }
            }
            if inode.file_acl != 0 {
                blocks += 1;
                self.walk_attributes(Ino(ino), &inode).await?;
            } else {
                let raw = self.fs.inode_raw(Ino(ino)).await?;
                if let Err(error) = xattr::read(self.fs, Ino(ino), &inode, &raw).await {
                    self.note_error(place, error)?;
                }
            }
            let sectors = blocks * u64::from(sb.block_size / 512);
            if sectors != inode.sectors && ino != RESIZE_INODE {
                self.report.add(place, format!("counts {} sectors of {sectors}", inode.sectors));
            }
            let limit = if inode.is_dir() { u64::from(u32::MAX) } else { crate::map::max_size(&sb) };
            if inode.size > limit {
                self.report.add(place, format!("has an impossible size of {} bytes", inode.size));
            }
        }
        for (block, users) in std::mem::take(&mut self.attribute_users) {
            let content = self.fs.block(block).await?;
            if xattr::references(&content) != users {
                let what = format!("attribute block {block} counts {} users of {users}", xattr::references(&content));
                self.report.add(Place::Superblock, what);
            }
        }
        Ok(())
    }

    /// Marks a tree of blocks; returns how many it has.
    async fn walk_tree(&mut self, ino: Ino, root: u32, depth: u32) -> Result<u64, Ext2Error> {
        let sb = &self.fs.superblock;
        if root == 0 {
            return Ok(0);
        }
        if root <= sb.first_data_block || root >= sb.blocks_count {
            self.report.add(Place::Inode(ino), format!("points to block {root}, which is outside the file system"));
            return Ok(0);
        }
        if !self.used.add(root) {
            if ino.0 != RESIZE_INODE {
                self.report.add(Place::Inode(ino), format!("points to block {root}, which something else uses"));
            }
            return Ok(1);
        }
        let mut count = 1;
        if depth > 0 {
            let content = self.fs.block(root).await?;
            for index in 0..content.len() / 4 {
                let pointer = u32_at(&content, index * 4);
                if pointer != 0 {
                    count += Box::pin(self.walk_tree(ino, pointer, depth - 1)).await?;
                }
            }
        }
        Ok(count)
    }

    async fn walk_attributes(&mut self, ino: Ino, inode: &Inode) -> Result<(), Ext2Error> {
        let block = inode.file_acl;
        let users = self.attribute_users.get(&block).copied().unwrap_or(0);
        let raw = self.fs.inode_raw(ino).await?;
        if let Err(error) = xattr::read(self.fs, ino, inode, &raw).await {
            return self.note_error(Place::Inode(ino), error);
        }
        if users == 0 && !self.used.add(block) {
            self.report.add(Place::Inode(ino), format!("has attributes in block {block}, which something else uses"));
        }
        self.attribute_users.insert(block, users + 1);
        Ok(())
    }

    /// Keeps damage as a finding; passes on a failing device.
    pub(super) fn note_error(&mut self, place: Place, error: Ext2Error) -> Result<(), Ext2Error> {
        match error {
            Ext2Error::Device(_) => Err(error),
            other => {
                self.report.add(place, other.to_string());
                Ok(())
            }
        }
    }
}
