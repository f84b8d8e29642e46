//! A mounted file system and its committed state.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vm_block::{BlockDevice, BlockError};
use vm_rt::Mutex;

use crate::Ino;
use crate::error::{Corrupt, Ext2Error};
use crate::group::{Group, inode_table_blocks};
use crate::source::{Block, BlockCache, Counter, Source};
use crate::superblock::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, SuperState, Superblock};

/// Bytes of metadata blocks kept in memory.
const CACHE_BYTES: usize = 4 << 20;

/// How to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// Refuses changes, and accepts features that only matter for writing.
    pub read_only: bool,
}

impl MountOptions {
    /// Mounts for reading only.
    pub fn read_only() -> Self {
        Self { read_only: true }
    }
}

/// What `statfs` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks for files and their maps.
    pub blocks: u32,
    /// Free blocks.
    pub free_blocks: u32,
    /// Free blocks not kept for the superuser.
    pub available_blocks: u32,
    /// Inodes.
    pub inodes: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Identity of the file system.
    pub uuid: [u8; 16],
}

/// A mounted ext2 file system on a block device.
///
/// Shared by reference: every method takes `&self`. Reading methods never wait for changing ones; changing methods run one
/// at a time, in the order they were called.
pub struct Ext2<D> {
    pub(crate) device: D,
    pub(crate) superblock: Superblock,
    pub(crate) state: Cell<SuperState>,
    pub(crate) groups: RefCell<Vec<Group>>,
    pub(crate) cache: BlockCache,
    /// Held by a transaction from its first read to its commit.
    pub(crate) changing: Mutex<()>,
    /// Commits so far.
    pub(crate) commits: Counter,
    /// Commits so far that freed blocks, so that a reader may have followed a stale pointer.
    pub(crate) frees: Counter,
    /// Unlinked inodes that are still open, in the order of the list on disk, its head last.
    pub(crate) orphans: RefCell<Vec<Ino>>,
    pub(crate) read_only: bool,
    /// Set when the device failed in the middle of a change: what is in core may not be what is on disk.
    pub(crate) broken: RefCell<Option<BlockError>>,
}

impl<D: BlockDevice> Ext2<D> {
    /// Mounts: checks the superblock and descriptors and, unless read-only, frees what was unlinked but still open when the
    /// file system was last used.
    pub async fn mount(device: D, options: MountOptions) -> Result<Self, Ext2Error> {
        let fs = Self::open(device, options).await?;
        if !fs.read_only {
            fs.free_orphans().await?;
        }
        Ok(fs)
    }

    /// Mounts without touching the orphan list.
    pub(crate) async fn open(device: D, options: MountOptions) -> Result<Self, Ext2Error> {
        let mut raw = vec![0; SUPERBLOCK_SIZE];
        if device.size() < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
            return Err(Corrupt::Superblock(format!("device has only {} bytes", device.size())).into());
        }
        device.read_at(SUPERBLOCK_OFFSET, &mut raw).await?;
        let (superblock, state) = Superblock::parse(&raw, device.size())?;
        let read_only = options.read_only || device.read_only();
        if !read_only && let Some(error) = superblock.refuses_writing() {
            return Err(error);
        }
        let groups = read_groups(&device, &superblock).await?;
        Ok(Self {
            cache: BlockCache::new(CACHE_BYTES / superblock.bs()),
            device,
            superblock,
            state: Cell::new(state),
            groups: RefCell::new(groups),
            changing: Mutex::new(()),
            commits: Counter::default(),
            frees: Counter::default(),
            orphans: RefCell::default(),
            read_only,
            broken: RefCell::default(),
        })
    }

    /// The superblock as it was at mount.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Whether changes are refused; a device may begin to do so at any time.
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.device.read_only()
    }

    /// The largest size a file can have.
    pub fn max_file_size(&self) -> u64 {
        crate::map::max_size(&self.superblock)
    }

    /// Counts blocks and inodes.
    pub fn statfs(&self) -> StatFs {
        let sb = &self.superblock;
        let state = self.state.get();
        let per_group = u64::from(inode_table_blocks(sb) + 2);
        let copies: u64 = (0..sb.group_count()).map(|group| u64::from(sb.backup_blocks(group))).sum();
        let overhead = u64::from(sb.first_data_block) + copies + per_group * u64::from(sb.group_count());
        StatFs {
            block_size: sb.block_size,
            blocks: u32::try_from(u64::from(sb.blocks_count).saturating_sub(overhead)).unwrap_or(0),
            free_blocks: state.free_blocks,
            available_blocks: state.free_blocks.saturating_sub(sb.reserved_blocks),
            inodes: sb.inodes_count,
            free_inodes: state.free_inodes,
            uuid: sb.uuid,
        }
    }

    /// Waits until every change made before is durable.
    pub async fn sync(&self) -> Result<(), Ext2Error> {
        Ok(self.device.flush().await?)
    }
}

async fn read_groups<D: BlockDevice>(device: &D, sb: &Superblock) -> Result<Vec<Group>, Ext2Error> {
    let mut groups = Vec::new();
    let mut block = vec![0; sb.bs()];
    let mut loaded = None;
    for number in 0..sb.group_count() {
        let (place, offset) = sb.descriptor_place(number);
        if place >= sb.blocks_count {
            return Err(Corrupt::Group { group: number, what: "its descriptor is outside the file system" }.into());
        }
        if loaded != Some(place) {
            device.read_at(u64::from(place) * u64::from(sb.block_size), &mut block).await?;
            loaded = Some(place);
        }
        groups.push(Group::parse(&block, offset, number, sb)?);
    }
    Ok(groups)
}

impl<D: BlockDevice> Source for Ext2<D> {
    fn sb(&self) -> &Superblock {
        &self.superblock
    }

    fn group(&self, number: u32) -> Result<Group, Ext2Error> {
        self.groups.borrow().get(number as usize).copied().ok_or(Ext2Error::NotFound)
    }

    fn is_orphan(&self, ino: Ino) -> bool {
        self.orphans.borrow().contains(&ino)
    }

    async fn block(&self, block: u32) -> Result<Block, Ext2Error> {
        let offset = u64::from(block) * u64::from(self.superblock.block_size);
        loop {
            if let Some(found) = self.cache.get(block) {
                return Ok(found);
            }
            let before = self.commits.get();
            let mut content = vec![0; self.superblock.bs()];
            self.device.read_at(offset, &mut content).await?;
            // A commit during the read may have changed the block; what was read is then not worth keeping.
            if self.commits.get() == before {
                let content = Rc::new(content);
                self.cache.insert(block, Rc::clone(&content));
                return Ok(content);
            }
        }
    }

    async fn data(&self, offset: u64, buf: &mut [u8]) -> Result<(), Ext2Error> {
        Ok(self.device.read_at(offset, buf).await?)
    }
}

/// The committed state, read without waiting: what is not at hand is [`Ext2Error::WouldWait`].
pub(crate) struct Now<'f, D>(pub(crate) &'f Ext2<D>);

impl<D: BlockDevice> Source for Now<'_, D> {
    fn sb(&self) -> &Superblock {
        &self.0.superblock
    }

    fn group(&self, number: u32) -> Result<Group, Ext2Error> {
        self.0.group(number)
    }

    fn is_orphan(&self, ino: Ino) -> bool {
        self.0.is_orphan(ino)
    }

    async fn block(&self, block: u32) -> Result<Block, Ext2Error> {
        if let Some(found) = self.0.cache.get(block) {
            return Ok(found);
        }
        let mut content = vec![0; self.0.superblock.bs()];
        self.data(u64::from(block) * u64::from(self.0.superblock.block_size), &mut content).await?;
        let content = Rc::new(content);
        self.0.cache.insert(block, Rc::clone(&content));
        Ok(content)
    }

    async fn data(&self, offset: u64, buf: &mut [u8]) -> Result<(), Ext2Error> {
        match self.0.device.read_now(offset, buf) {
            Some(done) => Ok(done?),
            None => Err(Ext2Error::WouldWait),
        }
    }
}
