//! Names of Unix sockets: paths and the abstract name space.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use linux_abi::fcntl::AT_FDCWD;
use linux_abi::socket::{SockAddr, UnixName};
use linux_abi::stat;

use super::Unix;
use crate::vfs::permission::{self, May};
use crate::vfs::{FileType, Follow, names, walk};
use crate::{Errno, Result, SyscallCx};

/// The sockets that have names, and all that there are.
#[derive(Default)]
pub(crate) struct Names {
    /// By device and inode number.
    by_inode: RefCell<HashMap<(u64, u64), Weak<Unix>>>,
    by_name: RefCell<HashMap<Vec<u8>, Weak<Unix>>>,
    all: RefCell<Vec<Weak<Unix>>>,
    last_automatic: Cell<u32>,
}

impl Names {
    pub(super) fn register(&self, unix: &Rc<Unix>) {
        let mut all = self.all.borrow_mut();
        if all.len() == all.capacity() {
            all.retain(|unix| unix.strong_count() > 0);
        }
        all.push(Rc::downgrade(unix));
    }

    /// Every socket that is not closed.
    pub(crate) fn all(&self) -> Vec<Rc<Unix>> {
        self.all.borrow().iter().filter_map(Weak::upgrade).filter(|unix| !unix.dead.get()).collect()
    }

    /// Gives up the name of a socket that closes.
    pub(super) fn forget(&self, unix: &Unix) {
        let is_it = |other: &Weak<Unix>| std::ptr::eq(other.as_ptr(), unix);
        match &*unix.name.borrow() {
            UnixName::Unnamed => {}
            UnixName::Abstract(name) => {
                let mut by_name = self.by_name.borrow_mut();
                if by_name.get(name).is_some_and(is_it) {
                    by_name.remove(name);
                }
            }
            UnixName::Path(_) => {
                let Some(place) = &*unix.place.borrow() else { return };
                let meta = place.inode().metadata();
                let mut by_inode = self.by_inode.borrow_mut();
                if by_inode.get(&(meta.dev, meta.ino)).is_some_and(is_it) {
                    by_inode.remove(&(meta.dev, meta.ino));
                }
            }
        }
    }

    fn take_abstract(&self, unix: &Unix, name: &[u8]) -> Result<()> {
        let mut by_name = self.by_name.borrow_mut();
        if by_name.get(name).and_then(Weak::upgrade).is_some_and(|other| !other.dead.get()) {
            return Err(Errno::EADDRINUSE);
        }
        by_name.insert(name.to_vec(), Weak::clone(&unix.this));
        drop(by_name);
        *unix.name.borrow_mut() = UnixName::Abstract(name.to_vec());
        Ok(())
    }
}

/// Gives a socket a name nobody has: five hexadecimal digits in the abstract name space.
pub(super) fn bind_automatically(unix: &Unix, cx: &SyscallCx) -> Result<()> {
    let names = &cx.kernel.net.unix;
    for _ in 0..=0xf_ffff {
        names.last_automatic.set((names.last_automatic.get() + 1) & 0xf_ffff);
        let name = format!("{:05x}", names.last_automatic.get());
        match names.take_abstract(unix, name.as_bytes()) {
            Err(Errno::EADDRINUSE) => {}
            done => return done,
        }
    }
    Err(Errno::ENOSPC)
}

/// bind(2).
pub(super) async fn bind(unix: &Unix, cx: &SyscallCx, address: SockAddr) -> Result<()> {
    let SockAddr::Unix(name) = address else { return Err(Errno::EINVAL) };
    let bound = *unix.name.borrow() != UnixName::Unnamed;
    match name {
        UnixName::Unnamed if bound => Ok(()),
        UnixName::Unnamed => bind_automatically(unix, cx),
        UnixName::Abstract(_) if bound => Err(Errno::EINVAL),
        UnixName::Abstract(name) => cx.kernel.net.unix.take_abstract(unix, &name),
        UnixName::Path(path) => {
            let made = names::create(cx, AT_FDCWD, &path, stat::S_IFSOCK | 0o777, 0).await;
            let place = made.map_err(|errno| if errno == Errno::EEXIST { Errno::EADDRINUSE } else { errno })?;
            if *unix.name.borrow() != UnixName::Unnamed {
                // It has a name already; a file that was in the way would have been told first.
                names::remove(cx, AT_FDCWD, &path, names::Remove::File).await?;
                return Err(Errno::EINVAL);
            }
            let meta = place.inode().metadata();
            cx.kernel.net.unix.by_inode.borrow_mut().insert((meta.dev, meta.ino), Weak::clone(&unix.this));
            *unix.place.borrow_mut() = Some(place);
            *unix.name.borrow_mut() = UnixName::Path(path);
            Ok(())
        }
    }
}

/// The socket with a name; ECONNREFUSED if there is none.
pub(super) async fn find(cx: &SyscallCx, name: &UnixName) -> Result<Rc<Unix>> {
    let names = &cx.kernel.net.unix;
    let found = match name {
        UnixName::Unnamed => None,
        UnixName::Abstract(name) => names.by_name.borrow().get(name).and_then(Weak::upgrade),
        UnixName::Path(path) => {
            let place = walk::resolve(cx, AT_FDCWD, path, Follow::Yes).await?;
            let meta = place.inode().metadata();
            permission::check(&meta, &cx.creds(), May::WRITE)?;
            if meta.file_type() != FileType::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            names.by_inode.borrow().get(&(meta.dev, meta.ino)).and_then(Weak::upgrade)
        }
    };
    found.filter(|unix| !unix.dead.get()).ok_or(Errno::ECONNREFUSED)
}
