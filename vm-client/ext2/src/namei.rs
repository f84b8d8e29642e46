//! Changing names: create, link, unlink, rename.
//!
//! An inode whose last name goes is put on the orphan list and stays usable; the caller calls [`Ext2::release`] once nobody
//! has it open, at once if nobody does.

use vm_block::BlockDevice;

use crate::alloc::Purpose;
use crate::dir::{self, Found, NAME_MAX};
use crate::error::{Corrupt, Ext2Error};
use crate::fs::Ext2;
use crate::inode::{EXTRA_SIZE, FileType, OLD_INODE_SIZE, encode_device, flag};
use crate::le::{put, put_u32};
use crate::source::Source;
use crate::superblock::feature;
use crate::txn::Txn;
use crate::{DeviceNumber, Ino, Inode, Time, symlink};

/// Most names an inode can have.
pub(crate) const LINK_MAX: u16 = 32_000;

/// What a new inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInode {
    /// Type and permissions. [`Ext2::mkdir`] and [`Ext2::symlink`] set the type themselves.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which device, for device files.
    pub rdev: DeviceNumber,
}

/// An inode that lost a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlinked {
    /// The inode.
    pub ino: Ino,
    /// Names it still has. With none it waits on the orphan list for [`Ext2::release`].
    pub links: u16,
}

/// What a rename does if the new name exists (`renameat2`'s flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Fails with [`Ext2Error::Exists`].
    NoReplace,
    /// Swaps both; the new name must exist.
    Exchange,
}

impl<D: BlockDevice> Ext2<D> {
    /// Makes a regular file, device, named pipe or socket.
    pub async fn create(&self, dir: Ino, name: &[u8], new: NewInode, now: Time) -> Result<Ino, Ext2Error> {
        match FileType::of_mode(new.mode) {
            FileType::Directory | FileType::Symlink | FileType::Unknown => {
                return Err(Ext2Error::Invalid("not a type that create makes"));
            }
            _ => {}
        }
        let mut txn = self.change().await?;
        let (ino, inode) = txn.new_inode(dir, new, Purpose::Other, now).await?;
        txn.put_inode(ino, &inode).await?;
        txn.add_entry(dir, name, ino, inode.file_type(), now).await?;
        txn.commit().await?;
        Ok(ino)
    }

    /// Makes a file without a name (`O_TMPFILE`); it is an orphan until [`Ext2::link`] names it.
    pub async fn create_unnamed(&self, dir: Ino, new: NewInode, now: Time) -> Result<Ino, Ext2Error> {
        if FileType::of_mode(new.mode) != FileType::Regular {
            return Err(Ext2Error::Invalid("only regular files can be without a name"));
        }
        let mut txn = self.change().await?;
        let (ino, mut inode) = txn.new_inode(dir, new, Purpose::Other, now).await?;
        inode.links = 0;
        txn.list_orphan(ino, &mut inode);
        txn.put_inode(ino, &inode).await?;
        txn.commit().await?;
        Ok(ino)
    }

    /// Makes a directory.
    pub async fn mkdir(&self, dir: Ino, name: &[u8], new: NewInode, now: Time) -> Result<Ino, Ext2Error> {
        let new = NewInode { mode: new.mode & 0xfff | 0x4000, ..new };
        let mut txn = self.change().await?;
        let (ino, mut inode) = txn.new_inode(dir, new, Purpose::Directory, now).await?;
        let goal = txn.goal(ino, &inode, 0).await?;
        let (block, _) = txn.take_blocks(goal, 1).await?;
        txn.put(block, dir::new_block(&self.superblock, ino, dir));
        txn.attach(ino, &mut inode, 0, block, 1).await?;
        inode.size = u64::from(self.superblock.block_size);
        inode.links = 2;
        txn.put_inode(ino, &inode).await?;
        txn.add_entry(dir, name, ino, FileType::Directory, now).await?;
        txn.count_subdirectory(dir, 1).await?;
        txn.commit().await?;
        Ok(ino)
    }

    /// Makes a symbolic link.
    pub async fn symlink(
        &self,
        dir: Ino,
        name: &[u8],
        target: &[u8],
        new: NewInode,
        now: Time,
    ) -> Result<Ino, Ext2Error> {
        if target.is_empty() {
            return Err(Ext2Error::NotFound);
        }
        // Linux wants room for a NUL in the block.
        if target.len() >= self.superblock.bs() {
            return Err(Ext2Error::NameTooLong);
        }
        let new = NewInode { mode: new.mode & 0xfff | 0xa000, ..new };
        let mut txn = self.change().await?;
        let (ino, mut inode) = txn.new_inode(dir, new, Purpose::Other, now).await?;
        inode.size = target.len() as u64;
        if target.len() <= symlink::FAST_MAX {
            symlink::store_fast(&mut inode, target);
        } else {
            let goal = txn.goal(ino, &inode, 0).await?;
            let (block, _) = txn.take_blocks(goal, 1).await?;
            let mut content = vec![0; self.superblock.bs()];
            put(&mut content, 0, target);
            txn.put(block, content);
            txn.attach(ino, &mut inode, 0, block, 1).await?;
        }
        txn.put_inode(ino, &inode).await?;
        txn.add_entry(dir, name, ino, FileType::Symlink, now).await?;
        txn.commit().await?;
        Ok(ino)
    }

    /// Gives an inode, not a directory, one more name.
    pub async fn link(&self, ino: Ino, dir: Ino, name: &[u8], now: Time) -> Result<(), Ext2Error> {
        let mut txn = self.change().await?;
        let mut inode = txn.inode(ino).await?;
        if inode.is_dir() {
            return Err(Ext2Error::IsDirectory);
        }
        if inode.links >= LINK_MAX {
            return Err(Ext2Error::TooManyLinks);
        }
        if inode.links == 0 {
            txn.unlist_orphan(ino, &inode).await?;
            inode.dtime = 0;
        }
        inode.links += 1;
        inode.ctime = now;
        txn.put_inode(ino, &inode).await?;
        txn.add_entry(dir, name, ino, inode.file_type(), now).await?;
        txn.commit().await
    }

    /// Removes a name that is not a directory's.
    pub async fn unlink(&self, dir: Ino, name: &[u8], now: Time) -> Result<Unlinked, Ext2Error> {
        let mut txn = self.change().await?;
        let found = txn.must_find(dir, name).await?;
        let inode = txn.inode(found.ino).await?;
        if inode.is_dir() {
            return Err(Ext2Error::IsDirectory);
        }
        txn.remove_found(dir, found, now).await?;
        let gone = txn.drop_link(found.ino, inode, now).await?;
        txn.commit().await?;
        Ok(gone)
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, dir: Ino, name: &[u8], now: Time) -> Result<Unlinked, Ext2Error> {
        refuse_dots(name)?;
        let mut txn = self.change().await?;
        let found = txn.must_find(dir, name).await?;
        let inode = txn.inode(found.ino).await?;
        if !inode.is_dir() {
            return Err(Ext2Error::NotDirectory);
        }
        if !dir::is_empty(&txn, found.ino, &inode).await? {
            return Err(Ext2Error::NotEmpty);
        }
        txn.remove_found(dir, found, now).await?;
        txn.count_subdirectory(dir, -1).await?;
        let gone = txn.drop_link(found.ino, inode, now).await?;
        txn.commit().await?;
        Ok(gone)
    }

    /// Moves a name; returns what lost its name by being replaced.
    pub async fn rename(
        &self,
        old_dir: Ino,
        old_name: &[u8],
        new_dir: Ino,
        new_name: &[u8],
        mode: RenameMode,
        now: Time,
    ) -> Result<Option<Unlinked>, Ext2Error> {
        refuse_dots(old_name)?;
        refuse_dots(new_name)?;
        let mut txn = self.change().await?;
        let source = txn.must_find(old_dir, old_name).await?;
        let moved = txn.inode(source.ino).await?;
        let target = {
            let inode = txn.live_directory(new_dir).await?;
            dir::find(&txn, new_dir, &inode, new_name).await?
        };
        if moved.is_dir() && old_dir != new_dir {
            txn.refuse_loop(new_dir, source.ino).await?;
        }
        let replaced = match (target, mode) {
            (Some(_), RenameMode::NoReplace) => return Err(Ext2Error::Exists),
            (None, RenameMode::Exchange) => return Err(Ext2Error::NotFound),
            (Some(target), _) if target.ino == source.ino => return Ok(None),
            (Some(target), RenameMode::Exchange) => {
                let other = txn.inode(target.ino).await?;
                if other.is_dir() && old_dir != new_dir {
                    txn.refuse_loop(old_dir, target.ino).await?;
                }
                txn.point_entry(target, source.ino, moved.file_type()).await?;
                txn.point_entry(source, target.ino, other.file_type()).await?;
                txn.moved(target.ino, &other, new_dir, old_dir, now).await?;
                None
            }
            (Some(target), RenameMode::Replace) => {
                let other = txn.inode(target.ino).await?;
                match (moved.is_dir(), other.is_dir()) {
                    (true, false) => return Err(Ext2Error::NotDirectory),
                    (false, true) => return Err(Ext2Error::IsDirectory),
                    (true, true) if !dir::is_empty(&txn, target.ino, &other).await? => {
                        return Err(Ext2Error::NotEmpty);
                    }
                    _ => {}
                }
                txn.point_entry(target, source.ino, moved.file_type()).await?;
                txn.remove_found(old_dir, source, now).await?;
                if other.is_dir() {
                    txn.count_subdirectory(new_dir, -1).await?;
                }
                Some(txn.drop_link(target.ino, other, now).await?)
            }
            (None, RenameMode::Replace | RenameMode::NoReplace) => {
                txn.add_entry(new_dir, new_name, source.ino, moved.file_type(), now).await?;
                // The new entry may have been split off the one before, so look again.
                let source = txn.must_find(old_dir, old_name).await?;
                txn.remove_found(old_dir, source, now).await?;
                None
            }
        };
        txn.moved(source.ino, &moved, old_dir, new_dir, now).await?;
        for dir in [old_dir, new_dir] {
            txn.touch_directory(dir, now).await?;
        }
        txn.commit().await?;
        Ok(replaced)
    }
}

fn refuse_dots(name: &[u8]) -> Result<(), Ext2Error> {
    match name {
        b"." | b".." => Err(Ext2Error::Invalid("`.` and `..` stay where they are")),
        _ => Ok(()),
    }
}

impl<D: BlockDevice> Txn<'_, D> {
    /// Makes an inode for a child of `dir`; the caller writes it.
    async fn new_inode(
        &mut self,
        dir: Ino,
        new: NewInode,
        purpose: Purpose,
        now: Time,
    ) -> Result<(Ino, Inode), Ext2Error> {
        let parent = self.live_directory(dir).await?;
        let ino = self.take_inode(dir, purpose).await?;
        let before = Inode::parse(&self.inode_raw(ino).await?);
        let size = self.sb().inode_size as usize;
        let extra = if size > OLD_INODE_SIZE { self.sb().want_extra_isize.clamp(EXTRA_SIZE, 124) & !3 } else { 0 };
        let extra = if OLD_INODE_SIZE + usize::from(extra) <= size { extra } else { 0 };
        let mut inode = Inode::new(new.mode, new.uid, new.gid, now, extra);
        inode.generation = before.generation.wrapping_add(1);
        inode.flags = parent.flags & flag::INHERITED;
        if matches!(inode.file_type(), FileType::CharDevice | FileType::BlockDevice) {
            let (old, wide) = encode_device(new.rdev);
            inode.pointers = std::array::from_fn(|n| [old, wide].get(n).copied().unwrap_or(0));
        }
        self.put_inode_raw(ino, &vec![0; size]).await?;
        Ok((ino, inode))
    }

    /// A directory in which names can be made: one that has not been removed.
    async fn live_directory(&self, dir: Ino) -> Result<Inode, Ext2Error> {
        let inode = self.inode(dir).await?;
        if !inode.is_dir() {
            return Err(Ext2Error::NotDirectory);
        }
        if inode.links == 0 {
            return Err(Ext2Error::NotFound);
        }
        Ok(inode)
    }

    async fn must_find(&self, dir: Ino, name: &[u8]) -> Result<Found, Ext2Error> {
        let inode = self.inode(dir).await?;
        dir::find(self, dir, &inode, name).await?.ok_or(Ext2Error::NotFound)
    }

    /// Adds an entry where there is room, else in a new block.
    async fn add_entry(&mut self, dir: Ino, name: &[u8], ino: Ino, kind: FileType, now: Time) -> Result<(), Ext2Error> {
        if name.len() > NAME_MAX {
            return Err(Ext2Error::NameTooLong);
        }
        if name.is_empty() || name.contains(&0) || name.contains(&b'/') {
            return Err(Ext2Error::Invalid("not a file name"));
        }
        let mut inode = self.live_directory(dir).await?;
        let blocks = dir::block_count(self.sb(), &inode);
        let mut room = None;
        for lblock in 0..blocks {
            let (number, block) = dir::read_block(self, dir, &inode, lblock).await?;
            for raw in dir::entries(self.sb(), dir, lblock, &block) {
                let raw = raw?;
                if raw.ino != 0 && raw.name == name {
                    return Err(Ext2Error::Exists);
                }
                if room.is_none() && raw.rec_len.saturating_sub(raw.used()) >= dir::entry_len(name.len()) {
                    room = Some((number, (raw.offset, raw.used(), raw.rec_len)));
                }
            }
        }
        let sb = self.sb().clone();
        match room {
            Some((number, (offset, used, rec_len))) => {
                let block = self.edit(number).await?;
                if used > 0 {
                    crate::le::put_u16(block, offset + 4, used as u16);
                }
                dir::put_entry(&sb, block, offset + used, rec_len - used, ino, name, kind);
            }
            None => {
                if inode.size + u64::from(sb.block_size) > i32::MAX as u64 {
                    return Err(Ext2Error::NoSpace);
                }
                let goal = self.goal(dir, &inode, blocks).await?;
                let (number, _) = self.take_blocks(goal, 1).await?;
                let mut block = vec![0; sb.bs()];
                dir::put_entry(&sb, &mut block, 0, sb.bs(), ino, name, kind);
                self.put(number, block);
                self.attach(dir, &mut inode, blocks, number, 1).await?;
                inode.size += u64::from(sb.block_size);
            }
        }
        inode.flags &= !flag::INDEX;
        inode.mtime = now;
        inode.ctime = now;
        self.put_inode(dir, &inode).await
    }

    async fn remove_found(&mut self, dir: Ino, found: Found, now: Time) -> Result<(), Ext2Error> {
        dir::remove_entry(self.edit(found.block).await?, found.offset, found.previous);
        self.touch_directory(dir, now).await
    }

    /// Lets an existing entry point to another inode.
    async fn point_entry(&mut self, entry: Found, ino: Ino, kind: FileType) -> Result<(), Ext2Error> {
        let typed = self.sb().has_filetype();
        let block = self.edit(entry.block).await?;
        put_u32(block, entry.offset, ino.0);
        if typed {
            put(block, entry.offset + 7, &[kind.code()]);
        }
        Ok(())
    }

    async fn touch_directory(&mut self, dir: Ino, now: Time) -> Result<(), Ext2Error> {
        self.edit_inode(dir, |inode| {
            inode.flags &= !flag::INDEX;
            inode.mtime = now;
            inode.ctime = now;
        })
        .await
        .map(|_| ())
    }

    /// Counts the `..` of a subdirectory that came or went.
    async fn count_subdirectory(&mut self, dir: Ino, by: i16) -> Result<(), Ext2Error> {
        let mut inode = self.inode(dir).await?;
        if by > 0 && inode.links >= LINK_MAX {
            return Err(Ext2Error::TooManyLinks);
        }
        // A count of 1 means "too many to count" on file systems with `dir_nlink`, which we do not write.
        inode.links = inode.links.saturating_add_signed(by).max(2);
        self.put_inode(dir, &inode).await
    }

    /// Takes a name off an inode; a directory's last real name takes its `.` along.
    async fn drop_link(&mut self, ino: Ino, mut inode: Inode, now: Time) -> Result<Unlinked, Ext2Error> {
        if inode.links == 0 {
            return Err(Corrupt::Inode { ino, what: "has a name but no links" }.into());
        }
        inode.links = if inode.is_dir() { 0 } else { inode.links - 1 };
        inode.ctime = now;
        if inode.links == 0 {
            self.list_orphan(ino, &mut inode);
        }
        self.put_inode(ino, &inode).await?;
        Ok(Unlinked { ino, links: inode.links })
    }

    /// After a move between directories: a directory's `..` follows, and its parents' link counts.
    async fn moved(&mut self, ino: Ino, inode: &Inode, from: Ino, to: Ino, now: Time) -> Result<(), Ext2Error> {
        self.edit_inode(ino, |inode| inode.ctime = now).await?;
        if !inode.is_dir() || from == to {
            return Ok(());
        }
        let parent = self.dot_dot(ino, inode).await?;
        self.point_entry(parent, to, FileType::Directory).await?;
        self.count_subdirectory(from, -1).await?;
        self.count_subdirectory(to, 1).await
    }

    async fn dot_dot(&self, ino: Ino, inode: &Inode) -> Result<Found, Ext2Error> {
        let found = dir::find(self, ino, inode, b"..").await?;
        found.ok_or_else(|| Corrupt::Inode { ino, what: "is a directory without `..`" }.into())
    }

    /// Refuses to move a directory below itself: `dir` must not be `moved` or inside it.
    async fn refuse_loop(&self, dir: Ino, moved: Ino) -> Result<(), Ext2Error> {
        let mut at = dir;
        for _ in 0..self.sb().inodes_count {
            if at == moved {
                return Err(Ext2Error::Invalid("a directory cannot move below itself"));
            }
            if at == Ino::ROOT {
                return Ok(());
            }
            let inode = self.inode(at).await?;
            at = self.dot_dot(at, &inode).await?.ino;
        }
        Err(Corrupt::Inode { ino: dir, what: "is in a loop of directories" }.into())
    }

    /// Notes in the superblock that attributes are in use.
    pub(crate) fn need_attributes(&mut self) {
        self.state.revision = self.state.revision.max(1);
        self.state.compat |= feature::COMPAT_EXT_ATTR;
    }
}
