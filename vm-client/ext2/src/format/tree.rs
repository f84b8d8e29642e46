//! The tree of files an image is made from.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::dir::NAME_MAX;
use crate::error::Ext2Error;
use crate::xattr;
use crate::{DeviceNumber, FileType, Time};

/// A node of a [`Tree`]: what an inode will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// Permissions, owner and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the data.
    pub mtime: Time,
    /// Last access.
    pub atime: Time,
    /// Last change of the inode.
    pub ctime: Time,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A directory, empty at first.
    Directory,
    /// A regular file; its data is asked for when it is written.
    File {
        /// Bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Content {
    /// The type of the inode.
    pub fn file_type(&self) -> FileType {
        match self {
            Content::Directory => FileType::Directory,
            Content::File { .. } => FileType::Regular,
            Content::Symlink { .. } => FileType::Symlink,
            Content::CharDevice(_) => FileType::CharDevice,
            Content::BlockDevice(_) => FileType::BlockDevice,
            Content::Fifo => FileType::Fifo,
            Content::Socket => FileType::Socket,
        }
    }
}

/// A node's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Permissions, owner and times.
    pub metadata: Metadata,
    /// What it is.
    pub content: Content,
    /// Attributes by full name, as `security.capability`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Node {
    /// A node without attributes.
    pub fn new(metadata: Metadata, content: Content) -> Self {
        Self { metadata, content, xattrs: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Slot {
    node: Node,
    children: BTreeMap<Vec<u8>, NodeId>,
    names: u32,
    /// Blocks of a file that are no holes; `None` if it has none.
    data: Option<Vec<Range<u64>>>,
}

/// A tree of nodes with names; a node that is not a directory may have several.
#[derive(Debug)]
pub struct Tree {
    slots: Vec<Slot>,
}

impl Tree {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// Creates a tree of an empty root directory.
    pub fn new(root: Metadata) -> Self {
        let node = Node::new(root, Content::Directory);
        Self { slots: vec![Slot { node, children: BTreeMap::new(), names: 1, data: None }] }
    }

    /// Adds a node under a name that is free.
    pub fn add(&mut self, parent: NodeId, name: &[u8], node: Node) -> Result<NodeId, Ext2Error> {
        for full in node.xattrs.keys() {
            xattr::split_name(full)?;
        }
        if let Content::Symlink { target } = &node.content {
            if target.is_empty() {
                return Err(Ext2Error::Invalid("a link without a target"));
            }
            if target.len() >= super::BLOCK_SIZE as usize {
                return Err(Ext2Error::NameTooLong);
            }
        }
        let id = NodeId(self.slots.len());
        self.enter(parent, name, id)?;
        self.slots.push(Slot { node, children: BTreeMap::new(), names: 1, data: None });
        Ok(id)
    }

    /// Gives a node that is not a directory one more name.
    pub fn link(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Result<(), Ext2Error> {
        if self.node(node).content == Content::Directory {
            return Err(Ext2Error::IsDirectory);
        }
        if self.slots[node.0].names >= u32::from(crate::namei::LINK_MAX) {
            return Err(Ext2Error::TooManyLinks);
        }
        self.enter(parent, name, node)?;
        self.slots[node.0].names += 1;
        Ok(())
    }

    fn enter(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), Ext2Error> {
        if name.len() > NAME_MAX {
            return Err(Ext2Error::NameTooLong);
        }
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
            return Err(Ext2Error::Invalid("not a file name"));
        }
        let slot = &mut self.slots[parent.0];
        if slot.node.content != Content::Directory {
            return Err(Ext2Error::NotDirectory);
        }
        if slot.children.contains_key(name) {
            return Err(Ext2Error::Exists);
        }
        slot.children.insert(name.to_vec(), id);
        Ok(())
    }

    /// Removes a name, with everything below it if it is a directory.
    pub fn remove(&mut self, parent: NodeId, name: &[u8]) -> Result<(), Ext2Error> {
        let id = self.slots[parent.0].children.remove(name).ok_or(Ext2Error::NotFound)?;
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            self.slots[id.0].names -= 1;
            if self.slots[id.0].names == 0 {
                gone.extend(std::mem::take(&mut self.slots[id.0].children).into_values());
            }
        }
        Ok(())
    }

    /// Finds a name in a directory.
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.slots[parent.0].children.get(name).copied()
    }

    /// The names in a directory, sorted.
    pub fn children(&self, parent: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.slots[parent.0].children.iter().map(|(name, id)| (name.as_slice(), *id))
    }

    /// A node's description.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.slots[id.0].node
    }

    /// Changes a node's permissions, owner, times or attributes.
    pub fn set_metadata(&mut self, id: NodeId, metadata: Metadata, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) {
        let node = &mut self.slots[id.0].node;
        node.metadata = metadata;
        node.xattrs = xattrs;
    }

    /// Says which bytes of a file are data, in order. All others are holes: they read as zeros and take no room.
    pub fn set_data(&mut self, id: NodeId, ranges: impl IntoIterator<Item = Range<u64>>) {
        let Content::File { size } = self.slots[id.0].node.content else { return };
        let block = u64::from(super::BLOCK_SIZE);
        let mut data: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            let range = range.start / block..range.end.min(size).div_ceil(block);
            match data.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ if range.is_empty() => {}
                _ => data.push(range),
            }
        }
        self.slots[id.0].data = Some(data);
    }

    /// Blocks of a file that are data.
    pub(crate) fn data_blocks(&self, id: NodeId, size: u64) -> Vec<Range<u64>> {
        let whole = 0..size.div_ceil(super::BLOCK_SIZE.into());
        self.slots[id.0].data.clone().unwrap_or_else(|| if whole.is_empty() { Vec::new() } else { vec![whole] })
    }

    /// Nodes that have a name.
    pub(crate) fn len(&self) -> u64 {
        self.slots.iter().filter(|slot| slot.names > 0).count() as u64
    }

    /// Names of a node that is not a directory.
    pub(crate) fn names(&self, id: NodeId) -> u32 {
        self.slots[id.0].names
    }

    /// Every node that has a name, in no useful order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..self.slots.len()).filter(|n| self.slots[*n].names > 0).map(NodeId)
    }

    /// Every node once, in path order, directories before what they hold, with the parent and path of its first name.
    pub(crate) fn walk(&self) -> Vec<Visit> {
        let mut seen = vec![false; self.slots.len()];
        let mut out = Vec::new();
        let mut todo = vec![Visit { id: Self::ROOT, parent: Self::ROOT, path: Vec::new() }];
        while let Some(visit) = todo.pop() {
            if std::mem::replace(&mut seen[visit.id.0], true) {
                continue;
            }
            for (name, child) in self.slots[visit.id.0].children.iter().rev() {
                let path = [visit.path.as_slice(), b"/", name].concat();
                todo.push(Visit { id: *child, parent: visit.id, path });
            }
            out.push(visit);
        }
        out
    }

    /// Room for a value per node.
    pub(crate) fn table<T: Clone>(&self, value: T) -> Table<T> {
        Table(vec![value; self.slots.len()])
    }
}

/// A node met on a walk.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) id: NodeId,
    pub(crate) parent: NodeId,
    pub(crate) path: Vec<u8>,
}

/// A value per node.
#[derive(Debug)]
pub(crate) struct Table<T>(Vec<T>);

impl<T> std::ops::Index<NodeId> for Table<T> {
    type Output = T;

    fn index(&self, id: NodeId) -> &T {
        &self.0[id.0]
    }
}

impl<T> std::ops::IndexMut<NodeId> for Table<T> {
    fn index_mut(&mut self, id: NodeId) -> &mut T {
        &mut self.0[id.0]
    }
}
