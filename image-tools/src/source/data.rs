//! Where the bytes of files lie until they are written into the image.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use crate::holes;

/// A run of a file's bytes within an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it belongs in the file.
    pub(crate) at: u64,
    /// Where it lies in the archive.
    pub(crate) from: u64,
    /// Bytes.
    pub(crate) len: u64,
}

/// The bytes of one file.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// In a file of this machine.
    Host(PathBuf),
    /// In an archive; zeros between the pieces.
    Pieces(Arc<File>, Vec<Piece>),
}

impl Data {
    /// Which bytes are data, if some are not.
    pub(crate) fn ranges(&self) -> io::Result<Option<Vec<Range<u64>>>> {
        match self {
            Self::Pieces(_, pieces) => Ok(Some(pieces.iter().map(|piece| piece.at..piece.at + piece.len).collect())),
            Self::Host(path) => {
                let found = std::fs::metadata(path)?;
                // As large as its blocks: no need to open it.
                if found.blocks() * 512 >= found.len() {
                    return Ok(None);
                }
                holes::data_ranges(&File::open(path)?, found.len()).map(Some)
            }
        }
    }
}

/// Reads files' bytes; keeps the last host file open, since files are read from start to end.
#[derive(Default)]
pub(crate) struct DataReader {
    open: Option<(PathBuf, File)>,
}

impl DataReader {
    /// Fills `buf` with the bytes at `offset`.
    pub(crate) fn read(&mut self, data: &Data, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match data {
            Data::Host(path) => {
                if self.open.as_ref().is_none_or(|(open, _)| open != path) {
                    self.open = Some((path.clone(), File::open(path)?));
                }
                let Some((_, file)) = &self.open else { return Ok(()) };
                file.read_exact_at(buf, offset).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => io::Error::other(format!("{} became shorter", path.display())),
                    _ => error,
                })
            }
            Data::Pieces(file, pieces) => {
                buf.fill(0);
                let end = offset + buf.len() as u64;
                // Pieces are sorted.
                let first = pieces.partition_point(|piece| piece.at + piece.len <= offset);
                for piece in pieces.iter().skip(first).take_while(|piece| piece.at < end) {
                    let (from, to) = (piece.at.max(offset), (piece.at + piece.len).min(end));
                    let range = usize::try_from(from - offset).ok().zip(usize::try_from(to - offset).ok());
                    let Some(part) = range.and_then(|(from, to)| buf.get_mut(from..to)) else { continue };
                    file.read_exact_at(part, piece.from + (from - piece.at))?;
                }
                Ok(())
            }
        }
    }
}

/// A part of a file, as archives within archives are.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) file: Arc<File>,
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Extent {
    /// The whole of a file.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), start: 0, len })
    }

    /// Reads exactly; an error past the end.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, self.start + offset)
    }

    /// All bytes, of something that should be small.
    pub(crate) fn bytes(&self, limit: u64) -> io::Result<Vec<u8>> {
        if self.len > limit {
            return Err(io::Error::other(format!("{} bytes where at most {limit} make sense", self.len)));
        }
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads from start to end.
    pub(crate) fn reader(&self) -> ExtentReader {
        ExtentReader { extent: self.clone(), at: 0 }
    }
}

/// Sequential reading of an [`Extent`].
pub(crate) struct ExtentReader {
    extent: Extent,
    at: u64,
}

impl io::Read for ExtentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.extent.len - self.at).unwrap_or(usize::MAX);
        let len = left.min(buf.len());
        let Some(part) = buf.get_mut(..len) else { return Ok(0) };
        self.extent.file.read_exact_at(part, self.extent.start + self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_with_zeros_between() {
        let file = tempfile::tempfile().expect("makes a file");
        file.write_all_at(b"..abc.....defg", 0).expect("writes");
        let pieces = vec![Piece { at: 2, from: 2, len: 3 }, Piece { at: 8, from: 10, len: 4 }];
        let data = Data::Pieces(Arc::new(file), pieces);
        let mut reader = DataReader::default();
        let mut buf = [9; 14];
        reader.read(&data, 0, &mut buf).expect("reads");
        assert_eq!(&buf, b"\0\0abc\0\0\0defg\0\0");
        let mut buf = [9; 6];
        reader.read(&data, 4, &mut buf).expect("reads");
        assert_eq!(&buf, b"c\0\0\0de");
    }
}
