//! A store in a directory.

use std::io;
use std::path::{Path, PathBuf};

use block_proto::{Hash, ReadError, key};
use bytes::Bytes;

/// A directory whose files are named by the store's keys.
#[derive(Clone, Debug)]
pub struct DirStore {
    root: PathBuf,
}

impl DirStore {
    /// Opens a store.
    pub fn open(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", root.display())));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Reads an object, envelope and all.
    pub async fn object(&self, hash: &Hash) -> Result<Bytes, ReadError> {
        self.read(&key::object(hash)).await
    }

    /// Tells whether an object is there.
    pub async fn has(&self, hash: &Hash) -> Result<(), ReadError> {
        let path = self.root.join(key::object(hash));
        tokio::fs::metadata(path).await.map(drop).map_err(read_error)
    }

    /// Reads a tag record. The name and tag must have been checked.
    pub async fn tag(&self, name: &str, tag: &str) -> Result<Bytes, ReadError> {
        self.read(&key::tag(name, tag)).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, ReadError> {
        tokio::fs::read(self.root.join(key)).await.map(Bytes::from).map_err(read_error)
    }
}

fn read_error(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::NotFound,
        // The path is of no use to a client and none of its business.
        kind => ReadError::Upstream(format!("the store cannot be read: {kind}")),
    }
}
