//! User namespaces (user_namespaces(7)): which of the machine's ids a namespace has, and as which numbers.
//!
//! Credentials and inodes hold the ids of the initial namespace everywhere in this kernel; system calls translate what
//! programs give and see, by the caller's namespace.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::task::{Credentials, cap};
use crate::{Errno, Result};

/// What an id shows as that a namespace does not have.
pub const OVERFLOW_ID: u32 = 65_534;
/// No id at all: what stands for root where a namespace has none.
const INVALID_ID: u32 = u32::MAX;
/// How deep namespaces may be nested.
const MAX_LEVEL: u32 = 32;
/// Lines of a map at most.
const MAX_EXTENTS: usize = 340;

/// User or group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IdKind {
    User,
    Group,
}

/// A run of ids.
#[derive(Clone, Copy, Debug)]
struct Extent {
    inside: u32,
    /// The id in the initial namespace that `inside` stands for.
    kernel: u32,
    count: u32,
}

struct Inner {
    number: u32,
    parent: UserNs,
    level: u32,
    /// Effective user id of its maker.
    owner: u32,
    uids: RefCell<Vec<Extent>>,
    gids: RefCell<Vec<Extent>>,
    denies_setgroups: Cell<bool>,
}

/// A user namespace; the default is the initial one, which has all ids.
#[derive(Clone, Default)]
pub struct UserNs(Option<Rc<Inner>>);

impl PartialEq for UserNs {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for UserNs {}

impl fmt::Debug for UserNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user:[{}]", self.number())
    }
}

impl UserNs {
    /// Makes a namespace for who has these credentials; ENOSPC when they are nested too deep.
    pub(super) fn new_below(creds: &Credentials, number: u32) -> Result<Self> {
        let parent = creds.user_ns.clone();
        let level = parent.level() + 1;
        if level > MAX_LEVEL {
            return Err(Errno::ENOSPC);
        }
        let known = parent.inside(IdKind::User, creds.euid).and(parent.inside(IdKind::Group, creds.egid));
        known.ok_or(Errno::EPERM)?;
        let denies_setgroups = Cell::new(parent.denies_setgroups());
        Ok(Self(Some(Rc::new(Inner {
            number,
            parent,
            level,
            owner: creds.euid,
            uids: RefCell::default(),
            gids: RefCell::default(),
            denies_setgroups,
        }))))
    }

    /// Whether it is the initial one.
    pub fn is_initial(&self) -> bool {
        self.0.is_none()
    }

    /// The number that /proc/PID/ns/user shows.
    pub fn number(&self) -> u32 {
        self.0.as_ref().map_or(super::FIRST_USER, |inner| inner.number)
    }

    /// How many namespaces are above it.
    pub fn level(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.level)
    }

    /// The namespace above; that of the initial one is itself.
    pub fn parent(&self) -> Self {
        self.0.as_ref().map_or_else(Self::default, |inner| inner.parent.clone())
    }

    /// Effective user id of its maker.
    pub fn owner(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.owner)
    }

    fn map(&self, kind: IdKind) -> Option<&RefCell<Vec<Extent>>> {
        let inner = self.0.as_ref()?;
        Some(match kind {
            IdKind::User => &inner.uids,
            IdKind::Group => &inner.gids,
        })
    }

    /// The machine's id behind one of the namespace's; `None` if it has no such id.
    pub fn kernel(&self, kind: IdKind, id: u32) -> Option<u32> {
        let Some(map) = self.map(kind) else { return Some(id) };
        let map = map.borrow();
        let extent = map.iter().find(|extent| id.wrapping_sub(extent.inside) < extent.count)?;
        extent.kernel.checked_add(id - extent.inside)
    }

    /// As what the namespace has one of the machine's ids, if it has it.
    pub fn inside(&self, kind: IdKind, id: u32) -> Option<u32> {
        let Some(map) = self.map(kind) else { return Some(id) };
        let map = map.borrow();
        let extent = map.iter().find(|extent| id.wrapping_sub(extent.kernel) < extent.count)?;
        extent.inside.checked_add(id - extent.kernel)
    }

    /// What programs in the namespace see of one of the machine's ids.
    pub fn shown(&self, kind: IdKind, id: u32) -> u32 {
        self.inside(kind, id).unwrap_or(OVERFLOW_ID)
    }

    /// The machine's id of the namespace's root; an id that nobody has if it has none.
    pub fn root(&self) -> u32 {
        self.kernel(IdKind::User, 0).unwrap_or(INVALID_ID)
    }

    // ---- the files of /proc/PID ----

    /// Whether setgroups(2) is refused.
    pub fn denies_setgroups(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.denies_setgroups.get())
    }

    /// Whether setgroups(2) is possible: there are groups, and it was not given up.
    pub fn may_setgroups(&self) -> bool {
        !self.denies_setgroups() && self.map(IdKind::Group).is_none_or(|map| !map.borrow().is_empty())
    }

    /// Writes /proc/PID/setgroups.
    pub fn set_setgroups(&self, text: &[u8]) -> Result<()> {
        let denies = match text.trim_ascii() {
            b"deny" => true,
            b"allow" => false,
            _ => return Err(Errno::EINVAL),
        };
        let Some(inner) = &self.0 else { return if denies { Err(Errno::EPERM) } else { Ok(()) } };
        // What was given up does not come back, and what a map was made with stays.
        let refused = if denies { !inner.gids.borrow().is_empty() } else { inner.denies_setgroups.get() };
        if refused {
            return Err(Errno::EPERM);
        }
        inner.denies_setgroups.set(denies);
        Ok(())
    }

    /// What /proc/PID/uid_map and gid_map show to somebody in a namespace.
    pub fn show_map(&self, kind: IdKind, reader: &UserNs) -> Vec<u8> {
        let Some(map) = self.map(kind) else { return format!("{:>10} {:>10} {:>10}\n", 0, 0, u32::MAX).into_bytes() };
        let seen_from = if reader == self { self.parent() } else { reader.clone() };
        let map = map.borrow();
        let lines = map.iter().map(|extent| {
            let lower = seen_from.inside(kind, extent.kernel).unwrap_or(INVALID_ID);
            format!("{:>10} {lower:>10} {:>10}\n", extent.inside, extent.count)
        });
        lines.collect::<String>().into_bytes()
    }

    /// Writes /proc/PID/uid_map or gid_map, once in a namespace's life.
    pub fn set_map(&self, kind: IdKind, writer: &Credentials, text: &[u8]) -> Result<()> {
        let Some(inner) = &self.0 else { return Err(Errno::EPERM) };
        let map = self.map(kind).ok_or(Errno::EPERM)?;
        let in_reach = writer.user_ns == *self || writer.user_ns == inner.parent;
        if !in_reach || !map.borrow().is_empty() || !writer.capable_in(self, cap::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let lines = parse(text)?;
        if !self.permits(kind, writer, &lines) {
            return Err(Errno::EPERM);
        }
        let mut extents = Vec::with_capacity(lines.len());
        for (inside, lower, count) in lines {
            let (first, last) = (inner.parent.kernel(kind, lower), inner.parent.kernel(kind, lower + (count - 1)));
            let (Some(kernel), Some(last)) = (first, last) else { return Err(Errno::EPERM) };
            if last.checked_sub(kernel) != Some(count - 1) {
                return Err(Errno::EPERM);
            }
            extents.push(Extent { inside, kernel, count });
        }
        *map.borrow_mut() = extents;
        Ok(())
    }

    /// Who is not privileged above may map the own id alone.
    fn permits(&self, kind: IdKind, writer: &Credentials, lines: &[(u32, u32, u32)]) -> bool {
        let Some(inner) = &self.0 else { return false };
        if let [(_, lower, 1)] = lines
            && inner.owner == writer.euid
        {
            let kernel = inner.parent.kernel(kind, *lower);
            let own = match kind {
                IdKind::User => kernel == Some(writer.euid),
                IdKind::Group => inner.denies_setgroups.get() && kernel == Some(writer.egid),
            };
            if own {
                return true;
            }
        }
        let needed = match kind {
            IdKind::User => cap::SETUID,
            IdKind::Group => cap::SETGID,
        };
        writer.capable_in(&inner.parent, needed)
    }
}

/// Lines of three numbers: first id inside, first id above, how many. Runs must not overlap.
fn parse(text: &[u8]) -> Result<Vec<(u32, u32, u32)>> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let mut lines: Vec<(u32, u32, u32)> = Vec::new();
    for line in text.lines() {
        let numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>().map_err(|_| Errno::EINVAL));
        let numbers = numbers.collect::<Result<Vec<u32>>>()?;
        let [inside, lower, count] = numbers[..] else { return Err(Errno::EINVAL) };
        let fits = |first: u32| first != INVALID_ID && first.checked_add(count).is_some();
        if count == 0 || !fits(inside) || !fits(lower) {
            return Err(Errno::EINVAL);
        }
        let apart = |a: u32, b: u32, b_count: u32| a + (count - 1) < b || b + (b_count - 1) < a;
        if !lines.iter().all(|(i, l, n)| apart(inside, *i, *n) && apart(lower, *l, *n)) {
            return Err(Errno::EINVAL);
        }
        lines.push((inside, lower, count));
    }
    if lines.is_empty() || lines.len() > MAX_EXTENTS { Err(Errno::EINVAL) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(creds: &Credentials) -> Credentials {
        Credentials { user_ns: UserNs::new_below(creds, 7).unwrap(), ..creds.clone() }
    }

    #[test]
    fn who_is_nobody_special_maps_the_own_id_alone() {
        let user = Credentials::new(1000, 100);
        let mut inside = below(&user);
        (inside.cap_permitted, inside.cap_effective) = (u64::MAX, u64::MAX);
        let ns = inside.user_ns.clone();
        assert_eq!((ns.shown(IdKind::User, 1000), ns.kernel(IdKind::User, 0)), (OVERFLOW_ID, None));
        assert_eq!(ns.set_map(IdKind::User, &inside, b"0 0 1\n"), Err(Errno::EPERM));
        assert_eq!(ns.set_map(IdKind::User, &inside, b"0 1000 2\n"), Err(Errno::EPERM));
        assert_eq!(ns.set_map(IdKind::User, &inside, b"0 1000\n"), Err(Errno::EINVAL));
        assert_eq!(ns.set_map(IdKind::User, &inside, b"0 1000 1\n"), Ok(()));
        assert_eq!(ns.set_map(IdKind::User, &inside, b"0 1000 1\n"), Err(Errno::EPERM), "once only");
        assert_eq!((ns.shown(IdKind::User, 1000), ns.root(), ns.shown(IdKind::User, 0)), (0, 1000, OVERFLOW_ID));
        assert_eq!(ns.set_map(IdKind::Group, &inside, b"0 100 1\n"), Err(Errno::EPERM), "setgroups is not denied");
        assert_eq!(ns.set_setgroups(b"deny\n"), Ok(()));
        assert_eq!(ns.set_map(IdKind::Group, &inside, b"0 100 1\n"), Ok(()));
        assert_eq!(ns.set_setgroups(b"allow"), Err(Errno::EPERM));
        assert_eq!(ns.show_map(IdKind::User, &ns), b"         0       1000          1\n");
        assert!(inside.capable_in(&ns, cap::SYS_ADMIN) && !inside.capable(cap::SYS_ADMIN));
        assert!(user.capable_in(&ns, cap::SYS_ADMIN), "its maker has all rights from above");
        assert!(!Credentials::new(1001, 100).capable_in(&ns, cap::SYS_ADMIN));
    }

    #[test]
    fn maps_of_nested_namespaces_lead_to_the_machines_ids() {
        let root = Credentials::new(0, 0);
        let outer = below(&root);
        outer.user_ns.set_map(IdKind::User, &root, b"0 1000 100\n200 5000 10\n").unwrap();
        outer.user_ns.set_map(IdKind::Group, &root, b"0 0 4294967295").unwrap();
        let inner = Credentials { euid: 1005, user_ns: outer.user_ns.clone(), ..Credentials::new(0, 0) };
        let nested = below(&inner).user_ns;
        let above = Credentials { user_ns: outer.user_ns.clone(), ..root };
        assert_eq!(nested.set_map(IdKind::User, &above, b"0 95 10\n"), Err(Errno::EPERM), "ids that are not above");
        nested.set_map(IdKind::User, &above, b"0 200 5\n").unwrap();
        assert_eq!((nested.kernel(IdKind::User, 4), nested.kernel(IdKind::User, 5)), (Some(5004), None));
        assert_eq!(nested.show_map(IdKind::User, &UserNs::default()), b"         0       5000          5\n");
    }

    #[test]
    fn overlapping_runs_are_refused() {
        for text in ["0 0 2\n1 10 1\n", "0 0 2\n5 1 1\n", "0 0 0\n", "", "4294967295 0 1\n", "0 4294967290 10\n"] {
            assert_eq!(parse(text.as_bytes()), Err(Errno::EINVAL), "{text:?}");
        }
    }
}
