//! Namespaces (namespaces(7)): what a process can have of its own where others share the machine's.
//!
//! There are user namespaces ([`user`]), which belong to credentials, and those for names of the machine, mounts and
//! control groups, which tasks have ([`Namespaces`]). Namespaces of processes, networks and System V IPC do not exist: asking
//! for one is EINVAL, as on a kernel built without them. A mount namespace is a part of the one table of mounts, with its
//! number on each; [`file`](mod@file) is what /proc/PID/ns leads to.

pub(crate) mod file;
pub mod user;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

pub use user::{IdKind, UserNs};

use crate::kernel::Uts;
use crate::task::clone::flags;
use crate::task::{Credentials, cap};
use crate::vfs::{FsContext, Mount, Path};
use crate::{Errno, Kernel, Result, SyscallCx};

/// The number of the initial user namespace (Linux's `PROC_USER_INIT_INO`); the other initial ones are around it.
pub(crate) const FIRST_USER: u32 = 0xefff_fffd;

/// A namespace of host and domain name.
pub struct UtsNamespace {
    number: u32,
    owner: UserNs,
    names: RefCell<Uts>,
}

/// A mount namespace: the mounts that carry its number.
pub struct MountNamespace {
    number: u32,
    owner: UserNs,
    kernel: Weak<Kernel>,
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        if let Some(kernel) = self.kernel.upgrade() {
            kernel.vfs.drop_namespace(self.number);
        }
    }
}

/// A namespace that has nothing but its identity: there are no control groups beyond the root.
pub struct CgroupNamespace {
    number: u32,
    owner: UserNs,
}

/// What a task has of its own; the default is the initial namespaces.
#[derive(Clone, Default)]
pub struct Namespaces {
    uts: Option<Rc<UtsNamespace>>,
    mounts: Option<Rc<MountNamespace>>,
    cgroup: Option<Rc<CgroupNamespace>>,
}

impl Namespaces {
    /// The number that mounts of this task's namespace carry; 0 for the initial one.
    pub fn mount_number(&self) -> u32 {
        self.mounts.as_ref().map_or(0, |mounts| mounts.number)
    }

    /// Whose capabilities count for mount(2).
    pub fn mount_owner(&self) -> UserNs {
        self.mounts.as_ref().map_or_else(UserNs::default, |mounts| mounts.owner.clone())
    }

    /// Whose capabilities count for sethostname(2).
    pub fn uts_owner(&self) -> UserNs {
        self.uts.as_ref().map_or_else(UserNs::default, |uts| uts.owner.clone())
    }
}

impl SyscallCx {
    /// Works with the names of the machine as the caller sees them.
    pub fn with_uts<T>(&self, work: impl FnOnce(&mut Uts) -> T) -> T {
        match &self.task.namespaces.borrow().uts {
            Some(uts) => work(&mut uts.names.borrow_mut()),
            None => work(&mut self.kernel.uts.borrow_mut()),
        }
    }
}

/// What clone(2) or unshare(2) with flags for namespaces leads to.
pub(crate) struct Unshared {
    pub(crate) creds: Rc<Credentials>,
    pub(crate) namespaces: Rc<Namespaces>,
    /// The copy of each mount, by the number of the original.
    mounts: HashMap<u32, Rc<Mount>>,
}

impl Unshared {
    /// Puts a task's root and working directory into the new mount namespace.
    pub(crate) fn enter(&self, fs: &FsContext) {
        let moved = |path: Path| match self.mounts.get(&path.mount.id) {
            Some(mount) => Path { mount: Rc::clone(mount), ..path },
            None => path,
        };
        if !self.mounts.is_empty() {
            fs.set_root(moved(fs.root()));
            fs.set_cwd(moved(fs.cwd()));
        }
    }
}

/// Makes the namespaces that the flags ask for.
pub(crate) fn unshare(cx: &SyscallCx, wanted: u64) -> Result<Unshared> {
    const WITHOUT: u64 = flags::NEWPID | flags::NEWNET | flags::NEWIPC;
    let kernel = &cx.kernel;
    let mut creds = cx.creds();
    let mut namespaces = Rc::clone(&cx.task.namespaces.borrow());
    let mut mounts = HashMap::new();
    if wanted & flags::NEWUSER != 0 {
        if in_chroot(cx) {
            return Err(Errno::EPERM);
        }
        creds = Rc::new(enter_user(&creds, UserNs::new_below(&creds, kernel.new_namespace_number())?));
    }
    let others = wanted & flags::NAMESPACES & !flags::NEWUSER;
    if others == 0 {
        return Ok(Unshared { creds, namespaces, mounts });
    }
    if !creds.has(cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    if others & WITHOUT != 0 {
        kernel.count_missing("namespace", format!("{:#x}", others & WITHOUT), cx.task.comm_text());
        return Err(Errno::EINVAL);
    }
    let mut own = (*namespaces).clone();
    let owner = || creds.user_ns.clone();
    if others & flags::NEWUTS != 0 {
        let names = RefCell::new(cx.with_uts(|uts| uts.clone()));
        own.uts = Some(Rc::new(UtsNamespace { number: kernel.new_namespace_number(), owner: owner(), names }));
    }
    if others & flags::NEWCGROUP != 0 {
        own.cgroup = Some(Rc::new(CgroupNamespace { number: kernel.new_namespace_number(), owner: owner() }));
    }
    if others & flags::NEWNS != 0 {
        let number = kernel.new_namespace_number();
        // Who has fewer rights than the maker of the mounts must not uncover what they hide.
        let lesser = own.mount_owner() != creds.user_ns;
        mounts = kernel.vfs.mounts.copy_namespace(own.mount_number(), number, lesser);
        own.mounts = Some(Rc::new(MountNamespace { number, owner: owner(), kernel: kernel.weak() }));
    }
    namespaces = Rc::new(own);
    Ok(Unshared { creds, namespaces, mounts })
}

/// Credentials inside a user namespace: with all capabilities there, and with none elsewhere.
fn enter_user(old: &Credentials, user_ns: UserNs) -> Credentials {
    let all = Credentials::new(0, 0).cap_permitted;
    Credentials {
        cap_permitted: all,
        cap_effective: all,
        cap_bounding: all,
        cap_inheritable: 0,
        cap_ambient: 0,
        user_ns,
        ..old.clone()
    }
}

/// Whether the caller's root is not that of its mount namespace.
fn in_chroot(cx: &SyscallCx) -> bool {
    let root = cx.fs().root();
    !Rc::ptr_eq(&root.dentry, &root.mount.root) || root.mount.point().is_some()
}

/// setns(2) for one namespace.
pub(crate) fn enter(cx: &SyscallCx, namespace: &file::Namespace) -> Result<()> {
    use file::Namespace;
    let creds = cx.creds();
    let admin = |owner: &UserNs| creds.capable_in(owner, cap::SYS_ADMIN) && creds.has(cap::SYS_ADMIN);
    let mut own = (**cx.task.namespaces.borrow()).clone();
    match namespace {
        Namespace::User(target) => {
            if *target == creds.user_ns {
                return Err(Errno::EINVAL);
            }
            if cx.task.group.threads.borrow().len() > 1 || Rc::strong_count(&cx.fs()) > 2 {
                return Err(Errno::EINVAL);
            }
            if !creds.capable_in(target, cap::SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            *cx.task.creds.borrow_mut() = Rc::new(enter_user(&creds, target.clone()));
            return Ok(());
        }
        Namespace::Uts(target) => {
            if !admin(&target.as_ref().map_or_else(UserNs::default, |uts| uts.owner.clone())) {
                return Err(Errno::EPERM);
            }
            own.uts.clone_from(target);
        }
        Namespace::Cgroup(target) => {
            if !admin(&target.as_ref().map_or_else(UserNs::default, |cgroup| cgroup.owner.clone())) {
                return Err(Errno::EPERM);
            }
            own.cgroup.clone_from(target);
        }
        Namespace::Mount(target) => {
            let owner = target.as_ref().map_or_else(UserNs::default, |mounts| mounts.owner.clone());
            if !admin(&owner) || !creds.has(cap::SYS_CHROOT) {
                return Err(Errno::EPERM);
            }
            if Rc::strong_count(&cx.fs()) > 2 {
                return Err(Errno::EINVAL);
            }
            own.mounts.clone_from(target);
            let root = cx.kernel.vfs.mounts.root_of(own.mount_number()).ok_or(Errno::EINVAL)?;
            cx.fs().set_root(root.clone());
            cx.fs().set_cwd(root);
        }
        // There is one of each, and everybody is in it.
        Namespace::Ipc | Namespace::Net | Namespace::Pid if admin(&UserNs::default()) => return Ok(()),
        Namespace::Ipc | Namespace::Net | Namespace::Pid => return Err(Errno::EPERM),
    }
    *cx.task.namespaces.borrow_mut() = Rc::new(own);
    Ok(())
}
