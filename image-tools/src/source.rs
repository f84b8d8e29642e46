//! What an image is made from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) mod data;
pub(crate) mod decompress;
pub(crate) mod dir;
pub(crate) mod docker;
pub(crate) mod layers;
pub(crate) mod oci;
pub(crate) mod sparse;
pub(crate) mod tar;
pub(crate) mod tree;

/// Where the files of an image come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of this machine.
    Dir(PathBuf),
    /// A tar archive, plain or compressed; `-` is standard input.
    Tar(PathBuf),
    /// A directory in the OCI image layout.
    Oci(PathBuf),
    /// What `docker save` writes, plain or compressed; `-` is standard input.
    DockerArchive(PathBuf),
    /// A file system image that is ext2 already.
    Ext2(PathBuf),
}

impl Source {
    /// The word before the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dir(_) => "dir",
            Self::Tar(_) => "tar",
            Self::Oci(_) => "oci",
            Self::DockerArchive(_) => "docker-archive",
            Self::Ext2(_) => "ext2",
        }
    }

    /// The path after it.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Dir(path) | Self::Tar(path) | Self::Oci(path) | Self::DockerArchive(path) | Self::Ext2(path) => path,
        }
    }
}

/// The text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no source; say dir:DIRECTORY, tar:FILE, oci:LAYOUT, docker-archive:FILE or ext2:FILE")]
pub struct SourceError(String);

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let error = || SourceError(text.to_owned());
        let (kind, path) = text.split_once(':').filter(|(_, path)| !path.is_empty()).ok_or_else(error)?;
        let path = PathBuf::from(path);
        match kind {
            "dir" => Ok(Self::Dir(path)),
            "tar" => Ok(Self::Tar(path)),
            "oci" => Ok(Self::Oci(path)),
            "docker-archive" => Ok(Self::DockerArchive(path)),
            "ext2" => Ok(Self::Ext2(path)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.path().display())
    }
}
