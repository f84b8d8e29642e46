//! What the links of /proc/PID/ns lead to: files that name a namespace, for setns(2), and keep it alive while open.

use std::any::Any;
use std::rc::Rc;

use linux_abi::stat;
use vm_rt::Io;

use super::{CgroupNamespace, FIRST_USER, MountNamespace, Namespaces, UserNs, UtsNamespace};
use crate::task::Task;
use crate::task::clone::flags;
use crate::vfs::{Anonymous, File, Inode, Metadata, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

/// A namespace that a file names; `None` is the initial one.
#[derive(Clone)]
pub(crate) enum Namespace {
    Cgroup(Option<Rc<CgroupNamespace>>),
    Ipc,
    Mount(Option<Rc<MountNamespace>>),
    Net,
    Pid,
    User(UserNs),
    Uts(Option<Rc<UtsNamespace>>),
}

/// Names of the links.
pub(crate) const NAMES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

impl Namespace {
    /// The namespace of a task behind a name.
    pub(crate) fn of(task: &Task, name: &str) -> Option<Self> {
        let own: Namespaces = (**task.namespaces.borrow()).clone();
        Some(match name {
            "cgroup" => Self::Cgroup(own.cgroup),
            "ipc" => Self::Ipc,
            "mnt" => Self::Mount(own.mounts),
            "net" => Self::Net,
            "pid" => Self::Pid,
            "user" => Self::User(task.credentials().user_ns.clone()),
            "uts" => Self::Uts(own.uts),
            _ => return None,
        })
    }

    /// Its name, number and flag of clone(2). The numbers of initial namespaces are Linux's.
    fn identity(&self) -> (&'static str, u32, u64) {
        match self {
            Self::Cgroup(own) => {
                ("cgroup", own.as_ref().map_or(FIRST_USER - 2, |cgroup| cgroup.number), flags::NEWCGROUP)
            }
            Self::Ipc => ("ipc", FIRST_USER + 2, flags::NEWIPC),
            Self::Mount(own) => ("mnt", own.as_ref().map_or(FIRST_USER + 3, |mounts| mounts.number), flags::NEWNS),
            Self::Net => ("net", 0xf000_0098, flags::NEWNET),
            Self::Pid => ("pid", FIRST_USER - 1, flags::NEWPID),
            Self::User(own) => ("user", own.number(), flags::NEWUSER),
            Self::Uts(own) => ("uts", own.as_ref().map_or(FIRST_USER + 1, |uts| uts.number), flags::NEWUTS),
        }
    }

    /// The flag of clone(2) that makes such a namespace.
    pub(crate) fn flag(&self) -> u64 {
        self.identity().2
    }

    /// The text of the link.
    pub(crate) fn label(&self) -> String {
        let (name, number, _) = self.identity();
        format!("{name}:[{number}]")
    }

    /// The place that the link leads to.
    pub(crate) fn place(self, cx: &SyscallCx) -> Path {
        let outside = cx.kernel.vfs.anonymous_path(Anonymous::Event, stat::S_IFREG | 0o444, &cx.creds(), cx.now());
        let meta = Metadata { ino: u64::from(self.identity().1), uid: 0, gid: 0, ..outside.inode().metadata() };
        let inode = Rc::new(NamespaceInode { meta, namespace: self });
        Path { dentry: crate::vfs::Dentry::root(Rc::clone(outside.mount.fs()), inode), mount: outside.mount }
    }
}

struct NamespaceInode {
    meta: Metadata,
    namespace: Namespace,
}

impl Inode for NamespaceInode {
    fn metadata(&self) -> Metadata {
        self.meta
    }

    fn open<'a>(self: Rc<Self>, _cx: &'a SyscallCx, flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        if flags.writable() {
            return Io::ready(Err(Errno::EPERM));
        }
        Io::ready(Ok(Rc::new(NamespaceFile(self.namespace.clone()))))
    }
}

/// An open namespace.
pub(crate) struct NamespaceFile(pub(crate) Namespace);

impl File for NamespaceFile {
    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        const NS_GET_NSTYPE: u32 = 0xb703;
        const NS_GET_OWNER_UID: u32 = 0xb704;
        match (request, &self.0) {
            (NS_GET_NSTYPE, namespace) => Io::ready(Ok(namespace.flag() as i64)),
            (NS_GET_OWNER_UID, Namespace::User(user)) => {
                let owner = cx.creds().user_ns.shown(super::IdKind::User, user.owner());
                Io::later(async move { cx.write_u32(arg, owner).await.map(|()| 0) })
            }
            (NS_GET_OWNER_UID, _) => Io::ready(Err(Errno::EINVAL)),
            _ => Io::ready(Err(Errno::ENOTTY)),
        }
    }

    fn description(&self) -> Option<String> {
        Some(self.0.label())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
