//! Changing what inodes say: owner, mode, times, flags, extended attributes.

use vm_block::BlockDevice;

use crate::error::Ext2Error;
use crate::fs::Ext2;
use crate::inode::flag;
use crate::source::Source;
use crate::txn::Txn;
use crate::xattr::{self, Attribute, Attributes};
use crate::{Ino, Inode, Time};

/// What to change of an inode; `None` leaves it. The change time is always set by the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits; the type stays.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of the data.
    pub mtime: Option<Time>,
    /// Last change of the inode.
    pub ctime: Option<Time>,
    /// Flags, of which those in [`flag::USER_MODIFIABLE`] are taken.
    pub flags: Option<u32>,
}

/// Whether an attribute may, must or must not exist before it is set (`setxattr`'s flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetXattr {
    /// Either.
    CreateOrReplace,
    /// Fails with [`Ext2Error::Exists`] if it is there.
    Create,
    /// Fails with [`Ext2Error::NoAttribute`] if it is not.
    Replace,
}

impl<D: BlockDevice> Ext2<D> {
    /// Changes an inode; returns it as it is then.
    pub async fn set_attr(&self, ino: Ino, change: SetAttr) -> Result<Inode, Ext2Error> {
        let mut txn = self.change().await?;
        let inode = txn
            .edit_inode(ino, |inode| {
                inode.mode = change.mode.map_or(inode.mode, |mode| inode.mode & 0xf000 | mode & 0xfff);
                inode.uid = change.uid.unwrap_or(inode.uid);
                inode.gid = change.gid.unwrap_or(inode.gid);
                inode.atime = change.atime.unwrap_or(inode.atime);
                inode.mtime = change.mtime.unwrap_or(inode.mtime);
                inode.ctime = change.ctime.unwrap_or(inode.ctime);
                if let Some(flags) = change.flags {
                    inode.flags = inode.flags & !flag::USER_MODIFIABLE | flags & flag::USER_MODIFIABLE;
                }
            })
            .await?;
        txn.commit().await?;
        Ok(inode)
    }

    /// Sets an attribute by its full name.
    pub async fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: SetXattr,
        now: Time,
    ) -> Result<(), Ext2Error> {
        let (index, name) = xattr::split_name(name)?;
        if name.len() > 255 {
            return Err(Ext2Error::NameTooLong);
        }
        let value = if xattr::acl::is_acl(index) { xattr::acl::to_stored(value)? } else { value.to_vec() };
        let mut txn = self.change().await?;
        let (inode, raw, mut all) = txn.attributes(ino).await?;
        match (all.find(index, name).is_some(), how) {
            (true, SetXattr::Create) => return Err(Ext2Error::Exists),
            (false, SetXattr::Replace) => return Err(Ext2Error::NoAttribute),
            _ => {}
        }
        all.remove(index, name);
        let new = Attribute { index, name: name.to_vec(), value };
        let size = self.superblock.inode_size as usize;
        all.in_inode.push(new);
        if !xattr::fits_in_inode(&all.in_inode, &inode, size) {
            all.in_block.extend(all.in_inode.pop());
        }
        if !xattr::fits_in_block(&all.in_block, self.superblock.bs()) {
            return Err(Ext2Error::NoSpace);
        }
        txn.need_attributes();
        txn.store_attributes(ino, inode, raw, &all, now).await?;
        txn.commit().await
    }

    /// Removes an attribute by its full name.
    pub async fn remove_xattr(&self, ino: Ino, name: &[u8], now: Time) -> Result<(), Ext2Error> {
        let (index, name) = xattr::split_name(name)?;
        let mut txn = self.change().await?;
        let (inode, raw, mut all) = txn.attributes(ino).await?;
        if !all.remove(index, name) {
            return Err(Ext2Error::NoAttribute);
        }
        txn.store_attributes(ino, inode, raw, &all, now).await?;
        txn.commit().await
    }
}

impl Attributes {
    fn remove(&mut self, index: u8, name: &[u8]) -> bool {
        let before = self.in_inode.len() + self.in_block.len();
        self.in_inode.retain(|a| a.index != index || a.name != name);
        self.in_block.retain(|a| a.index != index || a.name != name);
        self.in_inode.len() + self.in_block.len() < before
    }
}

impl<D: BlockDevice> Txn<'_, D> {
    async fn attributes(&self, ino: Ino) -> Result<(Inode, Vec<u8>, Attributes), Ext2Error> {
        let inode = self.inode(ino).await?;
        let raw = self.inode_raw(ino).await?;
        let all = xattr::read(self, ino, &inode, &raw).await?;
        Ok((inode, raw, all))
    }

    async fn store_attributes(
        &mut self,
        ino: Ino,
        mut inode: Inode,
        mut raw: Vec<u8>,
        all: &Attributes,
        now: Time,
    ) -> Result<(), Ext2Error> {
        let block_size = self.sb().bs();
        let old = inode.file_acl;
        let shared = old != 0 && xattr::references(&self.block(old).await?) > 1;
        if all.in_block.is_empty() || shared {
            self.drop_attribute_block(ino, &mut inode).await?;
        }
        if !all.in_block.is_empty() {
            if inode.file_acl == 0 {
                let goal = self.goal(ino, &inode, 0).await?;
                inode.file_acl = self.take_blocks(goal, 1).await?.0;
                inode.sectors += u64::from(self.sb().block_size / 512);
            }
            self.put(inode.file_acl, xattr::encode_block(&all.in_block, block_size));
        }
        inode.ctime = now;
        xattr::store_in_inode(&all.in_inode, &inode, &mut raw);
        inode.store(&mut raw);
        self.put_inode_raw(ino, &raw).await
    }
}
