//! Files that the host hands in, one by one, while the machine runs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use linux_abi::time::Timespec;
use vm_kernel::fs::hosted::{Found, Tree};
use vm_kernel::vfs::FileType;
use vm_kernel::{Errno, Result};
use vm_rt::Io;

/// The files; directories are those that a path of one names.
#[derive(Default)]
pub struct DataTree {
    files: RefCell<BTreeMap<Vec<u8>, File>>,
    versions: Cell<u64>,
}

struct File {
    content: Bytes,
    modified: Timespec,
    version: u64,
}

impl DataTree {
    /// Puts a file at a path (`/` between names, and perhaps before the first), in place of one that is there. ENOTDIR or
    /// EISDIR where the path contradicts another one, EINVAL if it is none.
    pub fn write(&self, path: &str, content: Bytes, now: Timespec) -> Result<()> {
        let path = path.trim_start_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.len() > 255 || part.contains('\0')) {
            return Err(Errno::EINVAL);
        }
        let mut files = self.files.borrow_mut();
        let path = path.as_bytes();
        if is_directory(&files, path) {
            return Err(Errno::EISDIR);
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        if slashes.filter_map(|at| path.get(..at)).any(|parent| files.contains_key(parent)) {
            return Err(Errno::ENOTDIR);
        }
        let version = self.versions.get() + 1;
        self.versions.set(version);
        files.insert(path.to_vec(), File { content, modified: now, version });
        Ok(())
    }
}

fn is_directory(files: &BTreeMap<Vec<u8>, File>, path: &[u8]) -> bool {
    path.is_empty() || below(files, path).next().is_some()
}

/// The paths below a directory, without it.
fn below<'a>(files: &'a BTreeMap<Vec<u8>, File>, path: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
    let from = prefix.clone();
    files.range(from..).map_while(move |(path, _)| path.strip_prefix(prefix.as_slice()))
}

impl Tree for DataTree {
    fn find<'a>(&'a self, path: &'a [u8]) -> Io<'a, Result<Found>> {
        let files = self.files.borrow();
        Io::ready(match files.get(path) {
            Some(file) => Ok(Found {
                kind: FileType::Regular,
                size: file.content.len() as u64,
                modified: file.modified,
                version: file.version,
            }),
            None if is_directory(&files, path) => {
                Ok(Found { kind: FileType::Directory, size: 0, modified: Timespec::default(), version: 0 })
            }
            None => Err(Errno::ENOENT),
        })
    }

    fn list<'a>(&'a self, path: &'a [u8]) -> Io<'a, Result<Vec<(Vec<u8>, FileType)>>> {
        let files = self.files.borrow();
        if !is_directory(&files, path) {
            return Io::ready(Err(Errno::ENOENT));
        }
        let mut names: BTreeMap<Vec<u8>, FileType> = BTreeMap::new();
        for rest in below(&files, path) {
            let (name, kind) = match rest.iter().position(|byte| *byte == b'/') {
                Some(at) => (rest.get(..at).unwrap_or(rest), FileType::Directory),
                None => (rest, FileType::Regular),
            };
            names.insert(name.to_vec(), kind);
        }
        Io::ready(Ok(names.into_iter().collect()))
    }

    fn read<'a>(&'a self, path: &'a [u8], offset: u64, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let files = self.files.borrow();
        let Some(file) = files.get(path) else { return Io::ready(Err(Errno::ENOENT)) };
        let rest = usize::try_from(offset).ok().and_then(|offset| file.content.get(offset..)).unwrap_or(&[]);
        let count = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Io::ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<T>(io: Io<'_, Result<T>>) -> Result<T> {
        match io {
            Io::Ready(value) => value.expect("is asked once"),
            Io::Later(_) => panic!("it is all in memory"),
        }
    }

    #[test]
    fn files_and_the_directories_they_name_are_found() {
        let tree = DataTree::default();
        let write = |path: &str, text: &'static str| tree.write(path, text.into(), Timespec::default());
        write("/a/b/one", "1").expect("writes");
        write("a/two", "22").expect("writes");
        write("/ab", "3").expect("writes");
        assert_eq!(now(tree.find(b"a/b")).expect("is there").kind, FileType::Directory);
        assert_eq!(now(tree.find(b"a/two")).expect("is there").size, 2);
        assert_eq!(now(tree.find(b"a/three")), Err(Errno::ENOENT));
        let names = |path: &[u8]| -> Vec<String> {
            let list = now(tree.list(path)).expect("lists");
            list.into_iter().map(|(name, kind)| format!("{} {kind:?}", String::from_utf8_lossy(&name))).collect()
        };
        assert_eq!(names(b""), ["a Directory", "ab Regular"]);
        assert_eq!(names(b"a"), ["b Directory", "two Regular"]);
        let before = now(tree.find(b"ab")).expect("is there").version;
        write("/ab", "four").expect("replaces");
        assert_ne!(now(tree.find(b"ab")).expect("is there").version, before);
        let mut buf = [0; 10];
        assert_eq!((now(tree.read(b"ab", 1, &mut buf)), &buf[..3]), (Ok(3), &b"our"[..]));
        assert_eq!(now(tree.read(b"ab", 9, &mut buf)), Ok(0));
    }

    #[test]
    fn paths_that_contradict_others_are_refused() {
        let tree = DataTree::default();
        let write = |path: &str| tree.write(path, Bytes::new(), Timespec::default());
        write("/a/b").expect("writes");
        assert_eq!(write("/a"), Err(Errno::EISDIR));
        assert_eq!(write("/a/b/c"), Err(Errno::ENOTDIR));
        for path in ["", "/", "/a//b", "/../x", "/a/./b", "a/", "x\0y"] {
            assert_eq!(write(path), Err(Errno::EINVAL), "{path:?}");
        }
    }
}
