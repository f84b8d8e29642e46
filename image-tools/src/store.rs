//! Writing a store.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use block_proto::{Hash, TagRecord, envelope, key};
use bytes::Bytes;

/// A store in a directory, being written. Any web server can serve the directory as it is.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// What to do with a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new, and takes so many bytes.
    Written(u64),
    /// It was there already.
    Present,
}

impl Store {
    /// Opens a store, or makes an empty one.
    pub fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make the store {}", root.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Stores an object unless it is there; it is only put into its envelope if it is needed.
    pub fn put(&self, hash: &Hash, seal: impl FnOnce() -> Bytes) -> Result<Put> {
        let path = self.root.join(key::object(hash));
        // A machine that lost power may have left an empty file.
        let existing = match fs::metadata(&path) {
            Ok(found) if found.len() >= envelope::HEADER as u64 => return Ok(Put::Present),
            Ok(_) => Existing::Replace,
            Err(_) => Existing::Keep,
        };
        let stored = seal();
        self.write(&path, &stored, existing).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Put::Written(stored.len() as u64))
    }

    /// Points a tag at an image. Everything stored before is made durable first, so a tag never points at what is not there.
    pub fn put_tag(&self, record: &TagRecord) -> Result<()> {
        let root = File::open(&self.root)?;
        rustix::fs::syncfs(&root).context("cannot make the store durable")?;
        let path = self.root.join(key::tag(&record.name, &record.tag));
        self.write(&path, &record.emit(), Existing::Replace).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a file whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
        let folder = path.parent().expect("keys have folders");
        fs::create_dir_all(folder)?;
        // Readable by a web server under another user.
        let mode = Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new().prefix(".new-").permissions(mode).tempfile_in(folder)?;
        io::Write::write_all(&mut file, bytes)?;
        let persisted = match existing {
            Existing::Replace => file.persist(path),
            Existing::Keep => file.persist_noclobber(path),
        };
        match persisted {
            // Another process stored the same object meanwhile.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_once_and_never_again() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let store = Store::create(dir.path()).expect("makes a store");
        let hash = Hash::of(b"object");
        let put = store.put(&hash, || envelope::seal_raw(b"object")).expect("writes");
        assert_eq!(put, Put::Written(14));
        let again = store.put(&hash, || unreachable!("not sealed twice")).expect("finds");
        assert_eq!(again, Put::Present);
        let names: Vec<_> = fs::read_dir(dir.path().join("o").join(&hash.to_string()[..2])).expect("lists").collect();
        assert_eq!(names.len(), 1, "no temporary files stay");
    }

    #[test]
    fn an_empty_file_left_by_a_crash_is_replaced() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let store = Store::create(dir.path()).expect("makes a store");
        let hash = Hash::of(b"object");
        let path = dir.path().join(key::object(&hash));
        fs::create_dir_all(path.parent().expect("has a folder")).expect("makes it");
        fs::write(&path, b"").expect("writes");
        assert_eq!(store.put(&hash, || envelope::seal_raw(b"object")).expect("writes"), Put::Written(14));
    }
}
