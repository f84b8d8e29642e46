//! Path walking (path_resolution(7)).

use linux_abi::fcntl::AT_FDCWD;

use super::permission::{self, May};
use super::{FileType, Path};
use crate::{Errno, Result, SyscallCx};

/// The longest name of one component.
pub const NAME_MAX: usize = 255;
/// Symbolic links followed in one walk at most.
const MAX_LINKS: u32 = 40;
/// Text that expansion of symbolic links may leave to walk.
const MAX_REST: usize = 64 * 1024;

/// What happens when the last component is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The walk goes on where it leads.
    Yes,
    /// The link itself is meant.
    No,
}

/// The last component of a name, for calls that create or remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// An ordinary name.
    Name(Vec<u8>),
    /// The directory itself: `.`, or `/`.
    Dot,
    /// `..`
    DotDot,
}

/// Where a name is, whether or not it exists.
pub struct Parent {
    /// The directory.
    pub dir: Path,
    /// The name in it.
    pub last: Last,
    /// Whether slashes followed it, so that it has to be a directory.
    pub slash: bool,
}

/// Resolves a name relative to a directory descriptor (or AT_FDCWD). An empty name is ENOENT.
pub async fn resolve(cx: &SyscallCx, at: i32, name: &[u8], follow: Follow) -> Result<Path> {
    Walk::start(cx, at, name)?.finish(name, follow).await
}

/// Resolves all but the last component.
pub async fn resolve_parent(cx: &SyscallCx, at: i32, name: &[u8]) -> Result<Parent> {
    Walk::start(cx, at, name)?.parent(name).await
}

/// Like [`resolve`], but an empty name means what the descriptor refers to (AT_EMPTY_PATH).
pub async fn resolve_or_fd(cx: &SyscallCx, at: i32, name: &[u8], follow: Follow) -> Result<Path> {
    if !name.is_empty() {
        return resolve(cx, at, name, follow).await;
    }
    if at == AT_FDCWD { Ok(cx.fs().cwd()) } else { Ok(cx.files().get_any(at)?.path().clone()) }
}

/// A walk in progress.
pub(super) struct Walk<'a> {
    cx: &'a SyscallCx,
    root: Path,
    at: Path,
    links: u32,
}

impl<'a> Walk<'a> {
    pub(super) fn start(cx: &'a SyscallCx, at: i32, name: &[u8]) -> Result<Self> {
        let fs = cx.fs();
        let root = fs.root();
        let start = match name.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => root.clone(),
            Some(_) if at == AT_FDCWD => fs.cwd(),
            Some(_) => {
                let path = cx.files().get_any(at)?.path().clone();
                if !path.dentry.is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                path
            }
        };
        Ok(Self { cx, root, at: start, links: 0 })
    }

    /// Goes to the end of the name.
    pub(super) async fn finish(mut self, name: &[u8], follow: Follow) -> Result<Path> {
        self.run(name, follow, Stop::AtEnd).await?;
        Ok(self.at)
    }

    /// Goes to the directory of the last component.
    pub(super) async fn parent(&mut self, name: &[u8]) -> Result<Parent> {
        let stop = self.run(name, Follow::Yes, Stop::BeforeLast).await?;
        let (last, slash) = stop.unwrap_or((Last::Dot, false));
        Ok(Parent { dir: self.at.clone(), last, slash })
    }

    /// The walk: returns the last component if it was to stop there.
    async fn run(&mut self, name: &[u8], follow: Follow, stop: Stop) -> Result<Option<(Last, bool)>> {
        let mut rest = name.to_vec();
        if rest.first() == Some(&b'/') {
            self.at = self.root.clone();
        }
        let mut pos = 0;
        loop {
            pos += rest.get(pos..).unwrap_or_default().iter().take_while(|b| **b == b'/').count();
            let tail = rest.get(pos..).unwrap_or_default();
            if tail.is_empty() {
                return Ok(None);
            }
            let len = tail.iter().position(|b| *b == b'/').unwrap_or(tail.len());
            let component = &tail[..len];
            let slash = len < tail.len();
            let is_last = tail[len..].iter().all(|b| *b == b'/');
            if component.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            self.check_search()?;
            if is_last && stop == Stop::BeforeLast {
                let last = match component {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    name => Last::Name(name.to_vec()),
                };
                return Ok(Some((last, slash)));
            }
            let next_pos = pos + len;
            match component {
                b"." => {}
                b".." => self.up(),
                name => {
                    let child = self.step(name).await?.ok_or(Errno::ENOENT)?;
                    let kind = child.inode().metadata().file_type();
                    if kind == FileType::Symlink && (!is_last || slash || follow == Follow::Yes) {
                        if let Some(target) = self.follow(child).await? {
                            let mut longer = target;
                            longer.extend_from_slice(&rest[next_pos..]);
                            if longer.len() > MAX_REST {
                                return Err(Errno::ENAMETOOLONG);
                            }
                            rest = longer;
                            pos = 0;
                            continue;
                        }
                    } else {
                        self.at = child;
                    }
                    if (slash || !is_last) && !self.at.dentry.is_dir() {
                        return Err(Errno::ENOTDIR);
                    }
                }
            }
            pos = next_pos;
        }
    }

    /// Looks a name up in the directory the walk is at, without following links.
    async fn step(&self, name: &[u8]) -> Result<Option<Path>> {
        child(self.cx, &self.at, name).await
    }

    /// Follows a symbolic link: gives its target to be walked from where the walk is (its directory), or has gone to where
    /// a magic link leads.
    pub(super) async fn follow(&mut self, link: Path) -> Result<Option<Vec<u8>>> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        if let Some(jump) = link.inode().magic_link(self.cx).await {
            self.at = jump?;
            return Ok(None);
        }
        let target = link.inode().read_link(self.cx).await?;
        match target.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => self.at = self.root.clone(),
            Some(_) => {}
        }
        Ok(Some(target))
    }

    /// Where the walk is.
    pub(super) fn at(&self) -> &Path {
        &self.at
    }

    fn up(&mut self) {
        if self.at.is_same(&self.root) {
            return;
        }
        if let Some(up) = self.at.up() {
            self.at = self.cx.kernel.vfs.mounts.cross(up);
        }
    }

    fn check_search(&self) -> Result<()> {
        let meta = self.at.inode().metadata();
        if meta.file_type() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission::check(&meta, &self.cx.creds(), May::EXEC)
    }
}

/// Where a walk ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    AtEnd,
    BeforeLast,
}

/// The entry of this name in a directory, through mounts, without following links. Search permission was checked.
pub(super) async fn child(cx: &SyscallCx, dir: &Path, name: &[u8]) -> Result<Option<Path>> {
    let vfs = &cx.kernel.vfs;
    let found = vfs.dentries.lookup(cx, &dir.dentry, name).await?;
    Ok(found.map(|dentry| vfs.mounts.cross(Path { mount: dir.mount.clone(), dentry })))
}
