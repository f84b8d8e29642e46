//! User and group identities and capabilities (credentials(7), capabilities(7)).

use crate::namespace::{IdKind, UserNs};
use crate::vfs::Metadata;

/// Who a task acts as. Immutable: a change makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of credentials(7)")]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    pub groups: Vec<u32>,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub cap_inheritable: u64,
    pub cap_bounding: u64,
    pub cap_ambient: u64,
    pub user_ns: UserNs,
}

/// Capability numbers that are asked for here.
#[expect(missing_docs, reason = "the names are those of capabilities(7)")]
pub mod cap {
    pub const CHOWN: u32 = 0;
    pub const DAC_OVERRIDE: u32 = 1;
    pub const DAC_READ_SEARCH: u32 = 2;
    pub const FOWNER: u32 = 3;
    pub const FSETID: u32 = 4;
    pub const KILL: u32 = 5;
    pub const SETGID: u32 = 6;
    pub const SETUID: u32 = 7;
    pub const SETPCAP: u32 = 8;
    pub const NET_BIND_SERVICE: u32 = 10;
    pub const NET_ADMIN: u32 = 12;
    pub const NET_RAW: u32 = 13;
    pub const SYS_CHROOT: u32 = 18;
    pub const SYS_PTRACE: u32 = 19;
    pub const SYS_ADMIN: u32 = 21;
    pub const SYS_BOOT: u32 = 22;
    pub const SYS_NICE: u32 = 23;
    pub const SYS_RESOURCE: u32 = 24;
    pub const SYS_TIME: u32 = 25;
    pub const SYS_TTY_CONFIG: u32 = 26;
    pub const MKNOD: u32 = 27;
    pub const LAST: u32 = 40;
}

const ALL_CAPS: u64 = (1 << (cap::LAST + 1)) - 1;

impl Credentials {
    /// A user without capabilities, or root with all of them.
    pub fn new(uid: u32, gid: u32) -> Self {
        let caps = if uid == 0 { ALL_CAPS } else { 0 };
        Self {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups: Vec::new(),
            cap_permitted: caps,
            cap_effective: caps,
            cap_inheritable: 0,
            cap_bounding: ALL_CAPS,
            cap_ambient: 0,
            user_ns: UserNs::default(),
        }
    }

    /// Whether the capability is effective for what belongs to the whole machine.
    pub fn capable(&self, cap: u32) -> bool {
        self.has(cap) && self.user_ns.is_initial()
    }

    /// Whether the capability is effective for what belongs to the own user namespace.
    pub fn has(&self, cap: u32) -> bool {
        self.cap_effective & (1 << cap) != 0
    }

    /// Whether the capability is effective for what belongs to a user namespace: in it, or because it, or one that it is in,
    /// was made by this user in this user's namespace.
    pub fn capable_in(&self, owner: &UserNs, cap: u32) -> bool {
        let mut at = owner.clone();
        while at != self.user_ns {
            if at.level() <= self.user_ns.level() {
                return false;
            }
            let parent = at.parent();
            if parent == self.user_ns && at.owner() == self.euid {
                return true;
            }
            at = parent;
        }
        self.has(cap)
    }

    /// Whether the capability is effective for a file: the own user namespace has its owner and its group.
    pub fn capable_of(&self, file: &Metadata, cap: u32) -> bool {
        self.has(cap)
            && self.user_ns.inside(IdKind::User, file.uid).is_some()
            && self.user_ns.inside(IdKind::Group, file.gid).is_some()
    }

    /// Whether the group is the file-system group or a supplementary one.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }
}
