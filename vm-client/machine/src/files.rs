//! Files of the guest, for the host, while programs run.
//!
//! Everything is done as the built-in init would do it: as root, from the root of the tree, on whatever is mounted there,
//! with Linux's errors. Nothing waits for another program: fifos and terminals are opened without waiting.

use std::rc::{Rc, Weak};

use linux_abi::fcntl::{AT_FDCWD, O_DIRECTORY, O_NOCTTY, O_NONBLOCK, O_RDONLY};
use linux_abi::stat::S_IFDIR;
use vm_kernel::task::Pid;
use vm_kernel::vfs::notify::{self, Watcher};
use vm_kernel::vfs::{FileType, Follow, Inode, Metadata, OpenFile, OpenFlags, Vfs, attr, names, open, walk};
use vm_kernel::{Errno, Result, SyscallCx};

use crate::Machine;

/// The longest path name, as for system calls.
const PATH_MAX: usize = 4095;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileType,
    /// Its inode number.
    pub ino: u64,
}

/// Who is at a terminal, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The working directory, as an absolute path.
    pub directory: Vec<u8>,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process.
    pub pid: Pid,
}

/// A watch on a file or directory; it ends when it is dropped.
pub struct FileWatch {
    // Only kept: the notifier refers to it weakly.
    watcher: Option<Rc<HostWatcher>>,
    inode: Rc<dyn Inode>,
    vfs: Rc<Vfs>,
}

/// Gets the mask, the cookie and the name of an event.
type Changed = dyn Fn(u32, u32, &[u8]);

struct HostWatcher {
    changed: Box<Changed>,
}

impl Watcher for HostWatcher {
    fn mask(&self) -> u32 {
        let open_and_close = notify::ACCESS | notify::OPEN | notify::CLOSE_NOWRITE;
        0xfff & !open_and_close
    }

    fn event(&self, mask: u32, cookie: u32, name: Option<&[u8]>) {
        (self.changed)(mask, cookie, name.unwrap_or_default());
    }

    fn gone(&self) {
        (self.changed)(notify::IGNORED, 0, b"");
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        drop(self.watcher.take());
        self.vfs.notifier.prune(&self.inode);
    }
}

impl Machine {
    fn files_context(&self, path: &[u8]) -> Result<SyscallCx> {
        if path.len() > PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if path.contains(&0) {
            return Err(Errno::EINVAL);
        }
        self.kernel().init_context()
    }

    /// Opens a file; `flags` and `mode` are those of open(2) on i386. O_NONBLOCK and O_NOCTTY are added.
    pub async fn open_file(&self, path: &[u8], flags: u32, mode: u32) -> Result<Rc<OpenFile>> {
        let cx = self.files_context(path)?;
        open::open(&cx, AT_FDCWD, path, OpenFlags(flags | O_NONBLOCK | O_NOCTTY), mode).await
    }

    /// Reads at most `len` bytes, at an offset or, where a file has none, the next ones. Nothing is the end.
    pub async fn read_file(&self, file: &OpenFile, offset: u64, len: usize) -> Result<Vec<u8>> {
        let cx = self.kernel().init_context()?;
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        data.resize(len, 0);
        let seekable = file.file().seekable();
        let mut done = 0;
        while let Some(room) = data.get_mut(done..).filter(|room| !room.is_empty()) {
            let count = if seekable {
                let at = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
                file.read_at(&cx, at, room).await?
            } else {
                file.read(&cx, room).await?
            };
            done += count;
            if count == 0 || !seekable {
                break;
            }
        }
        data.truncate(done);
        Ok(data)
    }

    /// Writes all of `data` at the file's position, or at its end when it was opened with O_APPEND.
    pub async fn write_file(&self, file: &OpenFile, data: &[u8]) -> Result<()> {
        let cx = self.kernel().init_context()?;
        let mut rest = data;
        while !rest.is_empty() {
            let count = file.write(&cx, rest).await?;
            if count == 0 {
                return Err(Errno::EIO);
            }
            rest = rest.get(count..).unwrap_or_default();
            self.kernel().vfs.notifier.changed(&file.path().dentry, notify::MODIFY);
        }
        Ok(())
    }

    /// Gives an open file an owner.
    pub async fn chown_file(&self, file: &OpenFile, uid: u32, gid: u32) -> Result<()> {
        let cx = self.kernel().init_context()?;
        attr::chown(&cx, file.path(), Some(uid), Some(gid)).await
    }

    /// Attributes; those of a symbolic link itself with [`Follow::No`].
    pub async fn stat_file(&self, path: &[u8], follow: Follow) -> Result<Metadata> {
        let cx = self.files_context(path)?;
        Ok(walk::resolve(&cx, AT_FDCWD, path, follow).await?.inode().metadata())
    }

    /// The entries of a directory, without `.` and `..`.
    pub async fn read_directory(&self, path: &[u8]) -> Result<Vec<Entry>> {
        let cx = self.files_context(path)?;
        let file = open::open(&cx, AT_FDCWD, path, OpenFlags(O_RDONLY | O_DIRECTORY), 0).await?;
        let mut entries = Vec::new();
        let mut cookie = 0;
        loop {
            let some = file.inode().read_dir(&cx, cookie).await?;
            let Some(last) = some.last() else { return Ok(entries) };
            if last.next == cookie {
                // A directory that leads back to itself would never end.
                return Err(Errno::EUCLEAN);
            }
            cookie = last.next;
            entries.try_reserve(some.len()).map_err(|_| Errno::ENOMEM)?;
            let real = some.into_iter().filter(|entry| !matches!(&entry.name[..], b"." | b".."));
            entries.extend(real.map(|entry| Entry { name: entry.name, kind: entry.kind, ino: entry.ino }));
        }
    }

    /// Makes a directory; with `parents` also those above it, and then one that exists is no error.
    pub async fn make_directory(&self, path: &[u8], mode: u32, parents: bool) -> Result<()> {
        let cx = self.files_context(path)?;
        let mode = S_IFDIR | (mode & 0o7777);
        if parents {
            let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            for end in ends {
                match names::create(&cx, AT_FDCWD, path.get(..end).unwrap_or(path), S_IFDIR | 0o755, 0).await {
                    Ok(_) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        match names::create(&cx, AT_FDCWD, path, mode, 0).await {
            Err(Errno::EEXIST) if parents => {
                let there = walk::resolve(&cx, AT_FDCWD, path, Follow::Yes).await?;
                if there.dentry.is_dir() { Ok(()) } else { Err(Errno::EEXIST) }
            }
            made => made.map(drop),
        }
    }

    /// Removes a name: a file or an empty directory, or with `recursive` a directory with all that is in it.
    pub async fn remove_file(&self, path: &[u8], recursive: bool) -> Result<()> {
        let mut left = vec![(path.to_vec(), false)];
        while let Some((path, emptied)) = left.pop() {
            let cx = self.files_context(&path)?;
            let meta = self.stat_file(&path, Follow::No).await?;
            if meta.file_type() != FileType::Directory {
                names::remove(&cx, AT_FDCWD, &path, names::Remove::File).await?;
                continue;
            }
            if recursive && !emptied {
                let entries = self.read_directory(&path).await?;
                left.push((path.clone(), true));
                for entry in entries {
                    left.push(([&path[..], b"/", &entry.name].concat(), false));
                }
                continue;
            }
            names::remove(&cx, AT_FDCWD, &path, names::Remove::Directory).await?;
        }
        Ok(())
    }

    /// Renames; what has the new name is replaced as by rename(2).
    pub async fn rename_file(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let cx = self.files_context(from)?;
        self.files_context(to)?;
        names::rename(&cx, AT_FDCWD, from, AT_FDCWD, to, 0).await
    }

    /// Calls `changed` with the mask, the cookie and the name of inotify(7) whenever something happens to a file or, in a
    /// directory, to an entry. Opening, reading and closing what was only read is not told.
    pub async fn watch_file(&self, path: &[u8], changed: impl Fn(u32, u32, &[u8]) + 'static) -> Result<FileWatch> {
        let cx = self.files_context(path)?;
        let place = walk::resolve(&cx, AT_FDCWD, path, Follow::Yes).await?;
        let inode = Rc::clone(place.inode());
        let vfs = Rc::clone(&self.kernel().vfs);
        let watcher = Rc::new(HostWatcher { changed: Box::new(changed) });
        let weak: Weak<dyn Watcher> = Rc::<HostWatcher>::downgrade(&watcher);
        vfs.notifier.watch(&inode, weak);
        Ok(FileWatch { watcher: Some(watcher), inode, vfs })
    }

    /// Where the program is that has the foreground of a virtual terminal; ESRCH when there is none.
    pub fn place_at_terminal(&self, vt: usize) -> Result<Place> {
        let kernel = self.kernel();
        let tty = kernel.consoles.get(vt).ok_or(Errno::ENXIO)?;
        let leaders = [tty.foreground(), tty.session()];
        let found = leaders.into_iter().filter(|pid| *pid > 0).find_map(|pgrp| {
            let groups = kernel.processes.groups_of(pgrp);
            let leader = groups.iter().find(|group| group.pid == pgrp).or(groups.first())?;
            (!leader.is_zombie()).then(|| leader.leader()).flatten()
        });
        let task = found.ok_or(Errno::ESRCH)?;
        let creds = Rc::clone(&task.creds.borrow());
        let directory = task.fs_context().cwd().absolute();
        Ok(Place { directory, uid: creds.fsuid, gid: creds.fsgid, pid: task.group.pid })
    }
}
