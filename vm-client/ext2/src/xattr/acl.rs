//! POSIX ACLs: system calls pass version 2 (every entry has an id), ext2 stores version 1 (only named entries have one).

use crate::error::Ext2Error;
use crate::le::{u16_at, u32_at};

const STORED_VERSION: u32 = 1;
const CALL_VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// Whether an attribute number means an ACL.
pub(crate) fn is_acl(index: u8) -> bool {
    matches!(index, 2 | 3)
}

/// From the form on disk to that of system calls. A value that is not an ACL is passed on unchanged.
pub(crate) fn from_stored(value: &[u8]) -> Vec<u8> {
    if u32_at(value, 0) != STORED_VERSION {
        return value.to_vec();
    }
    let mut out = CALL_VERSION.to_le_bytes().to_vec();
    let mut at = 4;
    while at + 4 <= value.len() {
        let tag = u16_at(value, at);
        let named = matches!(tag, USER | GROUP);
        let id = if named { u32_at(value, at + 4) } else { NO_ID };
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&u16_at(value, at + 2).to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
        at += if named { 8 } else { 4 };
    }
    out
}

/// From the form of system calls to that on disk.
pub(crate) fn to_stored(value: &[u8]) -> Result<Vec<u8>, Ext2Error> {
    if u32_at(value, 0) != CALL_VERSION || value.len() < 4 || !(value.len() - 4).is_multiple_of(8) {
        return Err(Ext2Error::Invalid("not a POSIX ACL"));
    }
    let mut out = STORED_VERSION.to_le_bytes().to_vec();
    for entry in value.get(4..).unwrap_or(&[]).chunks_exact(8) {
        out.extend_from_slice(entry.get(..4).unwrap_or(&[]));
        if matches!(u16_at(entry, 0), USER | GROUP) {
            out.extend_from_slice(entry.get(4..).unwrap_or(&[]));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_survives_storing() {
        let mut call = CALL_VERSION.to_le_bytes().to_vec();
        for (tag, id) in [(0x01_u16, NO_ID), (USER, 1000), (0x04, NO_ID), (GROUP, 4), (0x10, NO_ID), (0x20, NO_ID)] {
            call.extend_from_slice(&tag.to_le_bytes());
            call.extend_from_slice(&5_u16.to_le_bytes());
            call.extend_from_slice(&id.to_le_bytes());
        }
        let stored = to_stored(&call).unwrap();
        assert_eq!(stored.len(), 4 + 4 * 4 + 2 * 8);
        assert_eq!(from_stored(&stored), call);
        assert!(to_stored(&stored).is_err());
    }
}
