//! Archives may be compressed in any of the usual ways; what they are is seen from their first bytes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::data::Extent;
use crate::progress::{Progress, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
}

impl Compression {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }

    fn reader<'a>(self, input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
            Self::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(input)?),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        })
    }
}

/// Opens an archive for random access: as it is if that is possible, else copied, decompressed, into a temporary file.
pub(crate) fn open(path: &Path, progress: &dyn Progress) -> Result<Extent> {
    if path.as_os_str() == "-" {
        let step = progress.step("reading standard input", None);
        return spool(io::stdin().lock(), &*step).context("cannot read standard input");
    }
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let len = file.metadata()?.len();
    let regular = file.metadata()?.is_file();
    let mut start = [0; 6];
    if regular {
        let read = file.read(&mut start)?;
        file.rewind()?;
        if start.get(..read).is_some_and(|start| Compression::of(start) == Compression::None) {
            return Ok(Extent::whole(file)?);
        }
    }
    let step = progress.step("decompressing", regular.then_some(len));
    spool(file, &*step).with_context(|| format!("cannot decompress {shown}"))
}

/// The same for an archive within an archive.
pub(crate) fn open_extent(extent: &Extent) -> Result<Extent> {
    let mut start = [0; 6];
    let len = usize::try_from(extent.len).unwrap_or(usize::MAX).min(start.len());
    let head = start.get_mut(..len).unwrap_or_default();
    extent.read_at(0, head)?;
    if Compression::of(head) == Compression::None {
        return Ok(extent.clone());
    }
    spool(extent.reader(), &Nothing)
}

struct Nothing;

impl Step for Nothing {
    fn advance(&self, _units: u64) {}
}

fn spool(input: impl Read, step: &dyn Step) -> Result<Extent> {
    let mut input = BufReader::with_capacity(1 << 18, Counted { input, step });
    let compression = Compression::of(io::BufRead::fill_buf(&mut input)?);
    let mut reader = compression.reader(input)?;
    let mut file = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut buffer = vec![0; 1 << 18];
    let mut len = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let part = buffer.get(..read).unwrap_or_default();
        // Runs of zeros need no room.
        if part.iter().all(|byte| *byte == 0) {
            file.seek(io::SeekFrom::Current(read as i64))?;
        } else {
            file.write_all(part)?;
        }
        len += read as u64;
    }
    file.set_len(len)?;
    Ok(Extent::whole(file)?)
}

struct Counted<'a, R> {
    input: R,
    step: &'a dyn Step,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        self.step.advance(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compression_is_recognised_and_undone() {
        let plain: Vec<u8> = (0..300_000_u32).map(|i| (i / 900) as u8).chain(vec![0; 400_000]).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("compresses");
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).expect("compresses");
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&plain).expect("compresses");
        let zstd = zstd::stream::encode_all(&plain[..], 1).expect("compresses");
        let compressed = [
            plain.clone(),
            gzip.finish().expect("ends"),
            xz.finish().expect("ends"),
            bzip2.finish().expect("ends"),
            zstd,
        ];
        for (number, bytes) in compressed.iter().enumerate() {
            let mut file = tempfile::NamedTempFile::new().expect("makes a file");
            file.write_all(bytes).expect("writes");
            let opened = open(file.path(), &crate::NoProgress).expect("opens");
            assert_eq!(opened.bytes(1 << 30).expect("reads"), plain, "number {number}");
            let cut = tempfile::NamedTempFile::new().expect("makes a file");
            std::fs::write(cut.path(), &bytes[..bytes.len() / 2]).expect("writes");
            assert!(number == 0 || open(cut.path(), &crate::NoProgress).is_err(), "cut number {number}");
        }
    }
}
