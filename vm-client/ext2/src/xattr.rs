//! Extended attributes: in the free end of large inodes and in one block per inode, which equal inodes may share.
//!
//! Both places hold a list of entries that grows up and values that grow down. Names are stored without their prefix, which
//! is a number. POSIX ACLs are stored in a shorter form than the one system calls use; [`acl`] converts.

pub(crate) mod acl;

use crate::error::{Corrupt, Ext2Error};
use crate::inode::OLD_INODE_SIZE;
use crate::le::{put, put_u16, put_u32, u8_at, u16_at, u32_at};
use crate::source::Source;
use crate::{Ino, Inode};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of the header of an attribute block.
const BLOCK_HEADER: usize = 32;
/// Bytes of an entry before its name.
const ENTRY_HEADER: usize = 16;

/// Prefixes by number, as Linux has them.
const PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
    (7, b"system."),
];

/// An attribute as stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attribute {
    pub(crate) index: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Attribute {
    /// The name with its prefix; `None` for prefixes nobody knows.
    pub(crate) fn full_name(&self) -> Option<Vec<u8>> {
        let (_, prefix) = PREFIXES.iter().find(|(index, _)| *index == self.index)?;
        Some([prefix, self.name.as_slice()].concat())
    }

    fn entry_len(&self) -> usize {
        (ENTRY_HEADER + self.name.len()).next_multiple_of(4)
    }

    fn value_len(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    /// The order of entries in a block.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        (self.index, self.name.len(), &self.name).cmp(&(other.index, other.name.len(), &other.name))
    }
}

/// Splits a full name into prefix number and rest.
pub(crate) fn split_name(full: &[u8]) -> Result<(u8, &[u8]), Ext2Error> {
    for (index, prefix) in PREFIXES {
        if let Some(rest) = full.strip_prefix(prefix) {
            let whole = matches!(index, 2 | 3);
            if whole && !rest.is_empty() {
                continue;
            }
            if !whole && rest.is_empty() {
                return Err(Ext2Error::Invalid("attribute name is only a prefix"));
            }
            return Ok((index, rest));
        }
    }
    Err(Ext2Error::UnsupportedAttribute)
}

/// All attributes of an inode, by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) in_inode: Vec<Attribute>,
    pub(crate) in_block: Vec<Attribute>,
}

impl Attributes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.in_inode.iter().chain(&self.in_block)
    }

    pub(crate) fn find(&self, index: u8, name: &[u8]) -> Option<&Attribute> {
        self.iter().find(|a| a.index == index && a.name == name)
    }
}

/// Reads all attributes of an inode, given its raw slot.
pub(crate) async fn read<S: Source>(source: &S, ino: Ino, inode: &Inode, raw: &[u8]) -> Result<Attributes, Ext2Error> {
    let mut found = Attributes::default();
    if let Some(region) = inode_region(inode, raw)
        && u32_at(region, 0) == MAGIC
    {
        found.in_inode = parse_entries(ino, region.get(4..).unwrap_or(&[]), 0)?;
    }
    if inode.file_acl != 0 {
        crate::map::check_pointer(source.sb(), ino, inode.file_acl)?;
        let block = source.block(inode.file_acl).await?;
        check_block(ino, &block)?;
        found.in_block = parse_entries(ino, &block, BLOCK_HEADER)?;
    }
    Ok(found)
}

/// The end of an inode's slot that may hold attributes.
fn inode_region<'r>(inode: &Inode, raw: &'r [u8]) -> Option<&'r [u8]> {
    if inode.extra == 0 {
        return None;
    }
    raw.get(OLD_INODE_SIZE + usize::from(inode.extra)..).filter(|region| region.len() > 8)
}

/// Refuses a block that is not an attribute block.
pub(crate) fn check_block(ino: Ino, block: &[u8]) -> Result<(), Ext2Error> {
    if u32_at(block, 0) != MAGIC || u32_at(block, 8) != 1 {
        return Err(Corrupt::Attributes { ino, what: "attribute block has a bad header" }.into());
    }
    Ok(())
}

/// How many inodes use an attribute block.
pub(crate) fn references(block: &[u8]) -> u32 {
    u32_at(block, 4)
}

/// Sets how many inodes use an attribute block.
pub(crate) fn set_references(block: &mut [u8], count: u32) {
    put_u32(block, 4, count);
}

/// Parses a list of entries at `first`; value offsets count from the start of `region`.
fn parse_entries(ino: Ino, region: &[u8], first: usize) -> Result<Vec<Attribute>, Ext2Error> {
    let bad = |what| Err(Corrupt::Attributes { ino, what }.into());
    let mut found = Vec::new();
    let mut at = first;
    loop {
        if at + 4 > region.len() {
            return bad("entries run over their end");
        }
        if u32_at(region, at) == 0 {
            return Ok(found);
        }
        let name_len = usize::from(u8_at(region, at));
        let Some(name) = region.get(at + ENTRY_HEADER..at + ENTRY_HEADER + name_len) else {
            return bad("a name runs over the end");
        };
        if u32_at(region, at + 4) != 0 {
            return bad("a value is in another inode");
        }
        let value_at = usize::from(u16_at(region, at + 2));
        let value_len = u32_at(region, at + 8) as usize;
        let value = if value_len == 0 {
            &[]
        } else {
            match value_at.checked_add(value_len).and_then(|end| region.get(value_at..end)) {
                Some(value) => value,
                None => return bad("a value runs over the end"),
            }
        };
        found.push(Attribute { index: u8_at(region, at + 1), name: name.to_vec(), value: value.to_vec() });
        at += (ENTRY_HEADER + name_len).next_multiple_of(4);
    }
}

/// Bytes a list of attributes needs, without a header: entries, a terminator, values.
fn needed(attributes: &[Attribute]) -> usize {
    attributes.iter().map(|a| a.entry_len() + a.value_len()).sum::<usize>() + 4
}

/// Whether attributes fit in a block.
pub(crate) fn fits_in_block(attributes: &[Attribute], block_size: usize) -> bool {
    BLOCK_HEADER + needed(attributes) <= block_size
}

/// Whether attributes fit at the end of an inode's slot of `inode_size` bytes.
pub(crate) fn fits_in_inode(attributes: &[Attribute], inode: &Inode, inode_size: usize) -> bool {
    inode.extra != 0 && OLD_INODE_SIZE + usize::from(inode.extra) + 4 + needed(attributes) <= inode_size
}

/// Makes an attribute block used by one inode. The caller checked that it fits.
pub(crate) fn encode_block(attributes: &[Attribute], block_size: usize) -> Vec<u8> {
    let mut sorted = attributes.to_vec();
    sorted.sort_by(Attribute::order);
    let mut block = vec![0; block_size];
    put_u32(&mut block, 0, MAGIC);
    set_references(&mut block, 1);
    put_u32(&mut block, 8, 1);
    let hashes = encode_entries(&sorted, &mut block, BLOCK_HEADER, Hashing::Entries);
    let hash = if hashes.contains(&0) { 0 } else { hashes.iter().fold(0, |h: u32, e| h.rotate_left(16) ^ e) };
    put_u32(&mut block, 12, hash);
    block
}

/// Rewrites the attributes at the end of an inode's slot. The caller checked that they fit.
pub(crate) fn store_in_inode(attributes: &[Attribute], inode: &Inode, raw: &mut [u8]) {
    if inode.extra == 0 {
        return;
    }
    let Some(region) = raw.get_mut(OLD_INODE_SIZE + usize::from(inode.extra)..) else { return };
    region.fill(0);
    if attributes.is_empty() || region.len() <= 8 {
        return;
    }
    put_u32(region, 0, MAGIC);
    if let Some(rest) = region.get_mut(4..) {
        encode_entries(attributes, rest, 0, Hashing::None);
    }
}

/// Whether entries carry a hash: those in blocks do, those in inodes have zero there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hashing {
    Entries,
    None,
}

fn encode_entries(attributes: &[Attribute], region: &mut [u8], first: usize, hashing: Hashing) -> Vec<u32> {
    let mut at = first;
    let mut value_end = region.len() & !3;
    let mut hashes = Vec::new();
    for attribute in attributes {
        let hash = if hashing == Hashing::Entries { entry_hash(attribute) } else { 0 };
        hashes.push(hash);
        value_end -= attribute.value_len();
        let value_at = if attribute.value.is_empty() { 0 } else { value_end };
        put(region, at, &[(attribute.name.len() & 0xff) as u8, attribute.index]);
        put_u16(region, at + 2, (value_at & 0xffff) as u16);
        put_u32(region, at + 8, u32::try_from(attribute.value.len()).unwrap_or(0));
        put_u32(region, at + 12, hash);
        put(region, at + ENTRY_HEADER, &attribute.name);
        put(region, value_end, &attribute.value);
        at += attribute.entry_len();
    }
    hashes
}

/// The hash Linux keeps in each entry of a block, by which it finds blocks to share.
fn entry_hash(attribute: &Attribute) -> u32 {
    let mut hash: u32 = 0;
    for byte in &attribute.name {
        hash = hash.rotate_left(5) ^ u32::from(*byte);
    }
    for word in attribute.value.chunks(4) {
        let mut padded = [0; 4];
        for (to, from) in padded.iter_mut().zip(word) {
            *to = *from;
        }
        hash = hash.rotate_left(16) ^ u32::from_le_bytes(padded);
    }
    hash
}
