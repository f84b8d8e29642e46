//! A directory of this machine.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ext2::format::Content;
use ext2::{DeviceNumber, Time};

use super::data::Data;
use super::layers::supported;
use super::tree::{Files, metadata, node};
use crate::progress::{Progress, Step};

/// Adds everything below a directory. Order does not matter: the tree sorts.
pub(crate) fn add_directory(files: &mut Files, root: &Path, progress: &dyn Progress) -> Result<()> {
    let found = fs::metadata(root).with_context(|| format!("cannot read {}", root.display()))?;
    if !found.is_dir() {
        bail!("{} is not a directory", root.display());
    }
    let step = progress.step("listing files", None);
    let mut walk = Walk { files, names: HashMap::new(), step: &*step };
    walk.add(root, b"", &found)?;
    walk.directory(root, b"")
}

struct Walk<'a> {
    files: &'a mut Files,
    /// First path of each inode that has several.
    names: HashMap<(u64, u64), Vec<u8>>,
    step: &'a dyn Step,
}

impl Walk<'_> {
    fn directory(&mut self, host: &Path, path: &[u8]) -> Result<()> {
        let shown = || format!("cannot read {}", host.display());
        let mut entries = fs::read_dir(host).with_context(shown)?.collect::<Result<Vec<_>, _>>().with_context(shown)?;
        // Which of several names comes first must not depend on the directory's own order.
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let host = entry.path();
            let path = [path, b"/", entry.file_name().as_bytes()].concat();
            let found = fs::symlink_metadata(&host).with_context(|| format!("cannot read {}", host.display()))?;
            self.add(&host, &path, &found).with_context(|| host.display().to_string())?;
            if found.is_dir() {
                self.directory(&host, &path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, host: &Path, path: &[u8], found: &fs::Metadata) -> Result<()> {
        self.step.advance(1);
        if !found.is_dir() && found.nlink() > 1 {
            if let Some(first) = self.names.get(&(found.dev(), found.ino())) {
                return self.files.link(path, first);
            }
            self.names.insert((found.dev(), found.ino()), path.to_vec());
        }
        let kind = found.file_type();
        let mut data = None;
        let content = if kind.is_dir() {
            Content::Directory
        } else if kind.is_file() {
            data = Some(Data::Host(host.to_owned()));
            Content::File { size: found.len() }
        } else if kind.is_symlink() {
            Content::Symlink { target: fs::read_link(host)?.into_os_string().into_vec() }
        } else if kind.is_char_device() {
            Content::CharDevice(device(found))
        } else if kind.is_block_device() {
            Content::BlockDevice(device(found))
        } else if kind.is_fifo() {
            Content::Fifo
        } else {
            Content::Socket
        };
        let mtime = Time { sec: found.mtime(), nsec: u32::try_from(found.mtime_nsec()).unwrap_or(0) };
        let metadata = metadata((found.mode() & 0o7777) as u16, found.uid(), found.gid(), mtime);
        let xattrs = supported(xattrs(host).context("cannot read its attributes")?);
        self.files.put(path, node(metadata, content, xattrs), data)
    }
}

fn device(found: &fs::Metadata) -> DeviceNumber {
    let number = found.rdev();
    DeviceNumber { major: rustix::fs::major(number), minor: rustix::fs::minor(number) }
}

fn xattrs(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    use rustix::io::Errno;
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(len) => len,
        // A file system without them.
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    names.truncate(len);
    let mut found = BTreeMap::new();
    let mut value = vec![0; 64 << 10];
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(len) => {
                found.insert(name.to_vec(), value.get(..len).unwrap_or_default().to_vec());
            }
            // Some (trusted ones, without root) are listed but cannot be read.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
