//! The superblock: what the file system is and how large its parts are.

use crate::error::{Corrupt, Ext2Error};
use crate::le::{array_at, put, put_u16, put_u32, u16_at, u32_at};

/// Byte offset of the superblock on the device.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Bytes of the superblock.
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;

pub(crate) const MAGIC: u16 = 0xef53;

/// Fields of the superblock that change while mounted, by byte offset.
pub(crate) mod field {
    pub(crate) const FREE_BLOCKS: usize = 12;
    pub(crate) const FREE_INODES: usize = 16;
    pub(crate) const WRITE_TIME: usize = 48;
    pub(crate) const REVISION: usize = 76;
    pub(crate) const FIRST_INO: usize = 84;
    pub(crate) const INODE_SIZE: usize = 88;
    pub(crate) const COMPAT: usize = 92;
    pub(crate) const RO_COMPAT: usize = 100;
    pub(crate) const LAST_ORPHAN: usize = 232;
}

/// Feature bits; `COMPAT` ones never stop a mount.
pub(crate) mod feature {
    pub(crate) const COMPAT_EXT_ATTR: u32 = 0x8;
    pub(crate) const INCOMPAT_FILETYPE: u32 = 0x2;
    pub(crate) const INCOMPAT_META_BG: u32 = 0x10;
    pub(crate) const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
    pub(crate) const RO_COMPAT_LARGE_FILE: u32 = 0x2;
    pub(crate) const RO_COMPAT_BTREE_DIR: u32 = 0x4;
}

const INCOMPAT_SUPPORTED: u32 = feature::INCOMPAT_FILETYPE | feature::INCOMPAT_META_BG;
const RO_COMPAT_SUPPORTED: u32 =
    feature::RO_COMPAT_SPARSE_SUPER | feature::RO_COMPAT_LARGE_FILE | feature::RO_COMPAT_BTREE_DIR;

/// Names as `dumpe2fs` prints them.
const INCOMPAT_NAMES: [(u32, &str); 16] = [
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];
const RO_COMPAT_NAMES: [(u32, &str); 16] = [
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x4, "btree_dir"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "has_snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x8000, "verity"),
    (0x10000, "orphan_present"),
];

/// The superblock as it was at mount, checked. Counters and features that change are in [`SuperState`].
#[derive(Debug, Clone)]
pub struct Superblock {
    /// Inodes of the file system.
    pub inodes_count: u32,
    /// Blocks of the file system, the first included.
    pub blocks_count: u32,
    /// Blocks kept for the superuser.
    pub reserved_blocks: u32,
    /// The block that holds the superblock's group: 1 for 1 KiB blocks, 0 otherwise.
    pub first_data_block: u32,
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in a group.
    pub blocks_per_group: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// 0 or 1.
    pub revision: u32,
    /// First inode that is not reserved.
    pub first_ino: u32,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Bytes new inodes use beyond the first 128, if inodes are larger.
    pub want_extra_isize: u16,
    /// Features that are safe to ignore.
    pub compat: u32,
    /// Features one must know to read.
    pub incompat: u32,
    /// Features one must know to write.
    pub ro_compat: u32,
    /// First descriptor block kept in its own group, with the feature `meta_bg`.
    pub first_meta_bg: u32,
    /// Blocks kept behind the descriptors so that the table can grow.
    pub reserved_gdt_blocks: u32,
    /// The volume's identity.
    pub uuid: [u8; 16],
    /// The volume's label, without its zero padding.
    pub label: Vec<u8>,
    /// `s_state`: bit 0 valid, bit 1 errors.
    pub state: u16,
}

/// The part of the superblock that changes while mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SuperState {
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) last_orphan: u32,
    pub(crate) revision: u32,
    pub(crate) compat: u32,
    pub(crate) ro_compat: u32,
}

fn corrupt(what: impl Into<String>) -> Ext2Error {
    Corrupt::Superblock(what.into()).into()
}

impl Superblock {
    /// Reads and checks a superblock against a device of `device_size` bytes.
    pub(crate) fn parse(raw: &[u8], device_size: u64) -> Result<(Self, SuperState), Ext2Error> {
        if u16_at(raw, 56) != MAGIC {
            return Err(corrupt(format!("magic is {:#06x}, not {MAGIC:#06x}", u16_at(raw, 56))));
        }
        let log_block_size = u32_at(raw, 24);
        if log_block_size > 2 {
            return Err(Ext2Error::Incompatible(match log_block_size {
                3..=6 => format!("blocks of {} bytes", 1024_u32 << log_block_size),
                other => format!("block size code {other}"),
            }));
        }
        let revision = u32_at(raw, field::REVISION);
        if revision > 1 {
            return Err(Ext2Error::Incompatible(format!("revision {revision}")));
        }
        let dynamic = revision >= 1;
        let sb = Self {
            inodes_count: u32_at(raw, 0),
            blocks_count: u32_at(raw, 4),
            reserved_blocks: u32_at(raw, 8),
            first_data_block: u32_at(raw, 20),
            block_size: 1024 << log_block_size,
            blocks_per_group: u32_at(raw, 32),
            inodes_per_group: u32_at(raw, 40),
            revision,
            first_ino: if dynamic { u32_at(raw, field::FIRST_INO) } else { 11 },
            inode_size: if dynamic { u32::from(u16_at(raw, field::INODE_SIZE)) } else { 128 },
            want_extra_isize: if dynamic { u16_at(raw, 350) } else { 0 },
            compat: if dynamic { u32_at(raw, field::COMPAT) } else { 0 },
            incompat: if dynamic { u32_at(raw, 96) } else { 0 },
            ro_compat: if dynamic { u32_at(raw, field::RO_COMPAT) } else { 0 },
            first_meta_bg: u32_at(raw, 260),
            reserved_gdt_blocks: u32::from(u16_at(raw, 206)),
            uuid: array_at(raw, 104),
            label: raw.get(120..136).unwrap_or(&[]).iter().copied().take_while(|b| *b != 0).collect(),
            state: u16_at(raw, 58),
        };
        sb.check(device_size)?;
        let state = SuperState {
            free_blocks: u32_at(raw, field::FREE_BLOCKS),
            free_inodes: u32_at(raw, field::FREE_INODES),
            last_orphan: u32_at(raw, field::LAST_ORPHAN),
            revision,
            compat: sb.compat,
            ro_compat: sb.ro_compat,
        };
        Ok((sb, state))
    }

    fn check(&self, device_size: u64) -> Result<(), Ext2Error> {
        let unknown = self.incompat & !INCOMPAT_SUPPORTED;
        if unknown != 0 {
            return Err(Ext2Error::Incompatible(format!("feature {}", feature_names(unknown, &INCOMPAT_NAMES))));
        }
        let bits = self.block_size * 8;
        if !self.inode_size.is_power_of_two() || self.inode_size < 128 || self.inode_size > self.block_size {
            return Err(corrupt(format!("inode size is {}", self.inode_size)));
        }
        if self.first_data_block != u32::from(self.block_size == 1024) {
            return Err(corrupt(format!("first data block is {}", self.first_data_block)));
        }
        if self.blocks_count <= self.first_data_block + 1 {
            return Err(corrupt(format!("block count is {}", self.blocks_count)));
        }
        if u64::from(self.blocks_count) * u64::from(self.block_size) > device_size {
            let bytes = u64::from(self.blocks_count) * u64::from(self.block_size);
            return Err(corrupt(format!("{bytes} bytes of blocks on a device of {device_size}")));
        }
        if self.blocks_per_group < 8 || self.blocks_per_group > bits {
            return Err(corrupt(format!("blocks per group is {}", self.blocks_per_group)));
        }
        let per_block = self.block_size / self.inode_size;
        if self.inodes_per_group == 0
            || self.inodes_per_group > bits
            || self.inodes_per_group.div_ceil(per_block) >= self.blocks_per_group
        {
            return Err(corrupt(format!("inodes per group is {}", self.inodes_per_group)));
        }
        if self.group_count().checked_mul(self.inodes_per_group) != Some(self.inodes_count) {
            return Err(corrupt(format!("inode count is {}", self.inodes_count)));
        }
        if self.first_ino < 11 || self.first_ino > self.inodes_count {
            return Err(corrupt(format!("first inode is {}", self.first_ino)));
        }
        Ok(())
    }

    /// Says which features forbid writing, if any do.
    pub(crate) fn refuses_writing(&self) -> Option<Ext2Error> {
        let unknown = self.ro_compat & !RO_COMPAT_SUPPORTED;
        (unknown != 0).then(|| {
            let names = feature_names(unknown, &RO_COMPAT_NAMES);
            Ext2Error::Incompatible(format!("feature {names} can only be mounted read-only"))
        })
    }

    /// Groups of the file system.
    pub fn group_count(&self) -> u32 {
        (self.blocks_count - self.first_data_block).div_ceil(self.blocks_per_group)
    }

    /// Whether directory entries carry a file type.
    pub(crate) fn has_filetype(&self) -> bool {
        self.incompat & feature::INCOMPAT_FILETYPE != 0
    }

    /// Bytes in a block, as an index type.
    pub(crate) fn bs(&self) -> usize {
        self.block_size as usize
    }

    /// Block pointers in a block.
    pub(crate) fn pointers(&self) -> u64 {
        u64::from(self.block_size / 4)
    }

    /// First block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u32 {
        self.first_data_block.saturating_add(group.saturating_mul(self.blocks_per_group))
    }

    /// Blocks in a group; the last one may be short.
    pub(crate) fn group_len(&self, group: u32) -> u32 {
        self.blocks_per_group.min(self.blocks_count.saturating_sub(self.group_start(group)))
    }

    /// The group a block is in. The block must be at or after the first data block.
    pub(crate) fn group_of_block(&self, block: u32) -> u32 {
        block.saturating_sub(self.first_data_block) / self.blocks_per_group
    }

    /// Whether a group starts with a copy of the superblock.
    pub(crate) fn has_super(&self, group: u32) -> bool {
        self.ro_compat & feature::RO_COMPAT_SPARSE_SUPER == 0 || is_sparse_group(group)
    }

    /// Group descriptors in a block.
    pub(crate) fn descriptors_per_block(&self) -> u32 {
        self.block_size / 32
    }

    /// Blocks of the descriptor table.
    pub(crate) fn descriptor_blocks(&self) -> u32 {
        self.group_count().div_ceil(self.descriptors_per_block())
    }

    /// Where the descriptor of a group is: block and byte offset.
    pub(crate) fn descriptor_place(&self, group: u32) -> (u32, usize) {
        let per_block = self.descriptors_per_block();
        let index = group / per_block;
        let offset = (group % per_block) as usize * 32;
        if self.incompat & feature::INCOMPAT_META_BG == 0 || index < self.first_meta_bg {
            return (self.first_data_block.saturating_add(1).saturating_add(index), offset);
        }
        let first_group = index.saturating_mul(per_block);
        (self.group_start(first_group).saturating_add(u32::from(self.has_super(first_group))), offset)
    }

    /// Blocks at the start of a group taken by copies of superblock and descriptors.
    pub(crate) fn backup_blocks(&self, group: u32) -> u32 {
        let own = u32::from(self.has_super(group));
        let table = self.descriptor_blocks();
        let per_block = self.descriptors_per_block();
        if self.incompat & feature::INCOMPAT_META_BG != 0 {
            let index = group / per_block;
            if index >= self.first_meta_bg {
                let place = group % per_block;
                return own + u32::from(place == 0 || place == 1 || place == per_block - 1);
            }
            let old = table.min(self.first_meta_bg);
            return own * (1 + old + self.reserved_gdt_blocks);
        }
        own * (1 + table + self.reserved_gdt_blocks)
    }

    /// The block that holds the superblock, and its offset there.
    pub(crate) fn place(&self) -> (u32, usize) {
        let offset = SUPERBLOCK_OFFSET as u32;
        (offset / self.block_size, (offset % self.block_size) as usize)
    }
}

/// Whether a group has a copy of the superblock with `sparse_super`: 0, 1 and powers of 3, 5 and 7.
pub(crate) fn is_sparse_group(group: u32) -> bool {
    fn power_of(base: u32, mut n: u32) -> bool {
        while n > 1 && n.is_multiple_of(base) {
            n /= base;
        }
        n == 1
    }
    group <= 1 || power_of(3, group) || power_of(5, group) || power_of(7, group)
}

impl SuperState {
    /// Writes the changing fields into a superblock.
    pub(crate) fn store(&self, raw: &mut [u8], at: usize, old: &SuperState) {
        put_u32(raw, at + field::FREE_BLOCKS, self.free_blocks);
        put_u32(raw, at + field::FREE_INODES, self.free_inodes);
        if self.revision != old.revision {
            put_u32(raw, at + field::REVISION, self.revision);
            put_u32(raw, at + field::FIRST_INO, 11);
            put_u16(raw, at + field::INODE_SIZE, 128);
        }
        if self.revision >= 1 {
            put_u32(raw, at + field::COMPAT, self.compat);
            put_u32(raw, at + field::RO_COMPAT, self.ro_compat);
        }
        put_u32(raw, at + field::LAST_ORPHAN, self.last_orphan);
    }
}

fn feature_names(bits: u32, names: &[(u32, &str)]) -> String {
    let mut list = Vec::new();
    for bit in (0..32).map(|n| 1_u32 << n).filter(|bit| bits & bit != 0) {
        match names.iter().find(|(known, _)| *known == bit) {
            Some((_, name)) => list.push((*name).to_owned()),
            None => list.push(format!("{bit:#x}")),
        }
    }
    list.join(", ")
}

/// Encodes the fixed part of a superblock for a new file system.
pub(crate) fn encode_new(sb: &Superblock, state: &SuperState, made: u32, backup_group: u16) -> Vec<u8> {
    let mut raw = vec![0; SUPERBLOCK_SIZE];
    put_u32(&mut raw, 0, sb.inodes_count);
    put_u32(&mut raw, 4, sb.blocks_count);
    put_u32(&mut raw, 8, sb.reserved_blocks);
    put_u32(&mut raw, 20, sb.first_data_block);
    let log = sb.block_size.trailing_zeros().saturating_sub(10);
    put_u32(&mut raw, 24, log);
    put_u32(&mut raw, 28, log);
    put_u32(&mut raw, 32, sb.blocks_per_group);
    put_u32(&mut raw, 36, sb.blocks_per_group);
    put_u32(&mut raw, 40, sb.inodes_per_group);
    put_u32(&mut raw, field::WRITE_TIME, made);
    put_u16(&mut raw, 54, u16::MAX); // s_max_mnt_count: -1, never check by count
    put_u16(&mut raw, 56, MAGIC);
    put_u16(&mut raw, 58, sb.state);
    put_u16(&mut raw, 60, 1); // s_errors: continue
    put_u32(&mut raw, 64, made); // s_lastcheck
    put_u32(&mut raw, 72, 0); // s_creator_os: Linux
    put_u32(&mut raw, field::REVISION, sb.revision);
    put_u32(&mut raw, field::FIRST_INO, sb.first_ino);
    put_u16(&mut raw, field::INODE_SIZE, u16::try_from(sb.inode_size).unwrap_or(128));
    put_u16(&mut raw, 90, backup_group);
    put_u32(&mut raw, field::COMPAT, sb.compat);
    put_u32(&mut raw, 96, sb.incompat);
    put_u32(&mut raw, field::RO_COMPAT, sb.ro_compat);
    put(&mut raw, 104, &sb.uuid);
    let label = sb.label.get(..sb.label.len().min(16)).unwrap_or(&[]);
    put(&mut raw, 120, label);
    put(&mut raw, 252, &[1]); // s_def_hash_version: half MD4
    put_u32(&mut raw, 256, 0xc); // s_default_mount_opts: user_xattr, acl
    put_u32(&mut raw, 264, made); // s_mkfs_time
    if sb.inode_size > 128 {
        put_u16(&mut raw, 348, sb.want_extra_isize);
        put_u16(&mut raw, 350, sb.want_extra_isize);
    }
    state.store(&mut raw, 0, state);
    raw
}
