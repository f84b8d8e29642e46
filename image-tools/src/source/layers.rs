//! Applying archives to a tree: one as it is, or several as the layers of a container image.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use ext2::format::Content;

use super::data::{Data, Extent};
use super::tar::{self, Entry, Kind};
use super::tree::{Files, metadata, node};

/// A file of this name says that another is gone.
const WHITEOUT: &[u8] = b".wh.";
/// A file of this name says that nothing of lower layers shows through its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Adds everything in an archive.
pub(crate) fn add_archive(files: &mut Files, archive: &Extent) -> Result<()> {
    tar::scan(archive)?.into_iter().try_for_each(|entry| add(files, archive, entry))
}

/// Adds a layer: first what it takes away from the layers below, then what it has.
pub(crate) fn add_layer(files: &mut Files, archive: &Extent) -> Result<()> {
    let (whiteouts, entries): (Vec<_>, Vec<_>) =
        tar::scan(archive)?.into_iter().partition(|entry| split(&entry.path).1.starts_with(WHITEOUT));
    for whiteout in whiteouts {
        let (folder, name) = split(&whiteout.path);
        let removed = match name {
            OPAQUE => files.empty(folder),
            // Other double-dotted names are the storage driver's own.
            name if name.starts_with(b".wh..wh.") => Ok(()),
            name => files.remove(&[folder, b"/", name.strip_prefix(WHITEOUT).unwrap_or(name)].concat()),
        };
        removed.with_context(|| format!("whiteout {}", String::from_utf8_lossy(&whiteout.path)))?;
    }
    entries.into_iter().try_for_each(|entry| add(files, archive, entry))
}

/// The folder and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

fn add(files: &mut Files, archive: &Extent, entry: Entry) -> Result<()> {
    let path = entry.path;
    let mut data = None;
    let content = match entry.kind {
        Kind::HardLink(target) => {
            let shown = || format!("hard link {}", String::from_utf8_lossy(&path));
            return files.link(&path, &target).with_context(shown);
        }
        Kind::Directory => Content::Directory,
        Kind::File => {
            data = Some(Data::Pieces(Arc::clone(&archive.file), entry.pieces));
            Content::File { size: entry.size }
        }
        Kind::Symlink(target) => Content::Symlink { target },
        Kind::CharDevice(device) => Content::CharDevice(device),
        Kind::BlockDevice(device) => Content::BlockDevice(device),
        Kind::Fifo => Content::Fifo,
    };
    let metadata = metadata(entry.mode, entry.uid, entry.gid, entry.mtime);
    let node = node(metadata, content, supported(entry.xattrs));
    files.put(&path, node, data).with_context(|| String::from_utf8_lossy(&path).into_owned())
}

/// The attributes that mean something on ext2; SELinux labels and overlay marks are those of another system.
pub(crate) fn supported(xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let keep = |name: &[u8]| {
        name.starts_with(b"user.")
            || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."))
            || (name.starts_with(b"security.") && name != b"security.selinux")
            || name == b"system.posix_acl_access"
            || name == b"system.posix_acl_default"
    };
    xattrs.into_iter().filter(|(name, _)| keep(name)).collect()
}
