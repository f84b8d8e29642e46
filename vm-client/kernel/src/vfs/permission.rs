//! Who may do what to a file (path_resolution(7), capabilities(7)).

use linux_abi::stat;

use super::{FileType, Metadata};
use crate::task::{Credentials, cap};
use crate::{Errno, Result};

/// What is wanted: read, write and execute (search) bits, as in access(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct May(pub u32);

impl May {
    /// Nothing: the file only has to exist.
    pub const EXIST: May = May(0);
    /// Execute a file, search a directory.
    pub const EXEC: May = May(1);
    /// Write.
    pub const WRITE: May = May(2);
    /// Read.
    pub const READ: May = May(4);
    /// Change the names in a directory.
    pub const CHANGE_DIR: May = May(1 | 2);
}

/// EACCES unless these credentials permit the access. (Read-only mounts are the caller's to check.)
pub fn check(meta: &Metadata, creds: &Credentials, may: May) -> Result<()> {
    let wanted = may.0 & 7;
    let granted = if creds.fsuid == meta.uid {
        meta.mode >> 6
    } else if creds.in_group(meta.gid) {
        meta.mode >> 3
    } else {
        meta.mode
    } & 7;
    if wanted & !granted == 0 {
        return Ok(());
    }
    let is_dir = meta.file_type() == FileType::Directory;
    let any_exec = meta.mode & 0o111 != 0;
    if creds.capable_of(meta, cap::DAC_OVERRIDE) && (is_dir || wanted & 1 == 0 || any_exec) {
        return Ok(());
    }
    if creds.capable_of(meta, cap::DAC_READ_SEARCH) && (wanted == 4 || (is_dir && wanted & 2 == 0)) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// EPERM unless they own the file or have CAP_FOWNER.
pub fn check_owner(meta: &Metadata, creds: &Credentials) -> Result<()> {
    if creds.fsuid == meta.uid || creds.capable_of(meta, cap::FOWNER) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Checks the removal of a name: write and search of the directory, and the rule of sticky directories.
pub fn check_delete(dir: &Metadata, victim: &Metadata, creds: &Credentials) -> Result<()> {
    check(dir, creds, May::CHANGE_DIR)?;
    let sticky = dir.mode & stat::S_ISVTX != 0;
    if sticky && creds.fsuid != victim.uid && creds.fsuid != dir.uid && !creds.capable_of(victim, cap::FOWNER) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// The mode after chmod(2): the set-group-ID bit is lost where the group is not the caller's.
pub fn mode_after_chmod(meta: &Metadata, mode: u32, creds: &Credentials) -> u32 {
    let mut mode = mode & 0o7777;
    if mode & stat::S_ISGID != 0
        && meta.file_type() != FileType::Directory
        && !creds.in_group(meta.gid)
        && !creds.capable_of(meta, cap::FSETID)
    {
        mode &= !stat::S_ISGID;
    }
    mode
}

/// Checks chown(2) and gives the mode after it, if that changes.
pub fn check_chown(meta: &Metadata, uid: Option<u32>, gid: Option<u32>, creds: &Credentials) -> Result<Option<u32>> {
    if !creds.capable_of(meta, cap::CHOWN) {
        let keeps_owner = uid.is_none_or(|uid| uid == meta.uid);
        let own_group = gid.is_none_or(|gid| gid == meta.gid || creds.in_group(gid));
        if creds.fsuid != meta.uid || !keeps_owner || !own_group {
            return Err(Errno::EPERM);
        }
    }
    Ok(mode_without_set_id(meta))
}

/// The mode a file gets when it is written to or given away: without set-ID bits; `None` if it has none.
pub fn mode_without_set_id(meta: &Metadata) -> Option<u32> {
    if meta.file_type() != FileType::Regular {
        return None;
    }
    let mut drop = meta.mode & stat::S_ISUID;
    // Without group execution the bit means mandatory locking, and stays.
    if meta.mode & 0o010 != 0 {
        drop |= meta.mode & stat::S_ISGID;
    }
    (drop != 0).then_some(meta.mode & 0o7777 & !drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> Metadata {
        Metadata { mode, uid: 1, gid: 1, ..Metadata::default() }
    }

    #[test]
    fn the_first_class_that_matches_decides() {
        let owner = Credentials::new(1, 1);
        let other = Credentials::new(2, 2);
        // The owner is refused although everybody else is not.
        assert_eq!(check(&file(0o100_077), &owner, May::READ), Err(Errno::EACCES));
        assert_eq!(check(&file(0o100_077), &other, May::READ), Ok(()));
    }

    #[test]
    fn root_executes_only_what_somebody_may_execute() {
        let root = Credentials::new(0, 0);
        assert_eq!(check(&file(0o100_000), &root, May::READ), Ok(()));
        assert_eq!(check(&file(0o100_644), &root, May::EXEC), Err(Errno::EACCES));
        assert_eq!(check(&file(0o100_645), &root, May::EXEC), Ok(()));
        assert_eq!(check(&file(0o040_000), &root, May::EXEC), Ok(()));
    }

    #[test]
    fn in_a_sticky_directory_only_owners_remove() {
        let dir = Metadata { mode: 0o041_777, uid: 0, gid: 0, ..Metadata::default() };
        assert_eq!(check_delete(&dir, &file(0o100_644), &Credentials::new(2, 2)), Err(Errno::EPERM));
        assert_eq!(check_delete(&dir, &file(0o100_644), &Credentials::new(1, 1)), Ok(()));
    }

    #[test]
    fn writing_drops_set_id_bits() {
        assert_eq!(mode_without_set_id(&file(0o106_755)), Some(0o755));
        assert_eq!(mode_without_set_id(&file(0o102_644)), None);
    }
}
