//! unshare(2) and setns(2).

use std::rc::Rc;

use super::table::{Args, Row, now};
use crate::namespace::{self, file::NamespaceFile};
use crate::task::clone::flags;
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    now!(310, "unshare", unshare, "user, mount, UTS and control group namespaces"),
    now!(346, "setns", setns, "by the files of /proc/PID/ns"),
];

fn unshare(cx: &SyscallCx, [wanted, ..]: Args) -> Result<i64> {
    let mut wanted = wanted;
    if wanted
        & !(flags::NAMESPACES | flags::FS | flags::FILES | flags::SYSVSEM | flags::THREAD | flags::SIGHAND | flags::VM)
        != 0
    {
        return Err(Errno::EINVAL);
    }
    if wanted & flags::NEWUSER != 0 {
        wanted |= flags::THREAD | flags::FS;
    }
    if wanted & flags::NEWNS != 0 {
        wanted |= flags::FS;
    }
    let alone = cx.task.group.threads.borrow().len() <= 1;
    if wanted & (flags::THREAD | flags::SIGHAND | flags::VM) != 0 && !alone {
        return Err(Errno::EINVAL);
    }
    let unshared = namespace::unshare(cx, wanted)?;
    if wanted & flags::FS != 0 {
        let own = Rc::new((*cx.fs()).clone());
        unshared.enter(&own);
        *cx.task.fs.borrow_mut() = own;
    }
    if wanted & flags::FILES != 0 {
        let own = cx.files().fork();
        *cx.task.files.borrow_mut() = own;
    }
    *cx.task.creds.borrow_mut() = unshared.creds;
    let old = cx.task.namespaces.replace(unshared.namespaces);
    drop(old);
    Ok(0)
}

fn setns(cx: &SyscallCx, [fd, kind, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    let namespace = file.file().as_any().downcast_ref::<NamespaceFile>().ok_or(Errno::EINVAL)?;
    if kind != 0 && kind != namespace.0.flag() {
        return Err(Errno::EINVAL);
    }
    namespace::enter(cx, &namespace.0)?;
    Ok(0)
}
