//! Getting a disk back out of a store.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use block_proto::CHUNK_SIZE;

use crate::progress::Progress;
use crate::reader::Reader;

/// The form of an exported disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One sparse file.
    File,
    /// `FILE.meta` with the size and `FILE.cNNNNNN.txt` for each chunk: what WebVM's GitHub device reads.
    Github,
}

/// Writes an image's disk to a path; returns the number of files written.
pub fn export(reader: &Reader, to: &Path, layout: Layout, progress: &dyn Progress) -> Result<u64> {
    let mut bad = Vec::new();
    let chunks = reader.stored_chunks(&mut bad)?;
    if let Some(error) = bad.first() {
        bail!("{error}");
    }
    let step = progress.step("exporting", Some(chunks.len() as u64));
    let size = reader.manifest().image_size;
    let out = match layout {
        Layout::File => Out::file(to, size)?,
        Layout::Github => Out::github(to, size, reader.manifest().chunk_count())?,
    };
    reader.fetch_all(&chunks, |places, result| {
        let bytes = result?;
        for place in places {
            out.put(place.0, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
            step.advance(1);
        }
        Ok(())
    })?;
    out.finish()
}

enum Out {
    File { file: File, size: u64 },
    Github { to: PathBuf, size: u64, written: std::cell::RefCell<Vec<bool>> },
}

impl Out {
    fn file(to: &Path, size: u64) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(to);
        let file = file.with_context(|| format!("cannot make {}", to.display()))?;
        file.set_len(size)?;
        Ok(Self::File { file, size })
    }

    fn github(to: &Path, size: u64, chunks: u32) -> Result<Self> {
        ensure!(chunks <= 0x100_0000, "this layout has room for {} chunks, the disk has {chunks}", 0x100_0000);
        let meta = beside(to, ".meta");
        ensure!(!meta.exists(), "{} exists already", meta.display());
        fs::write(&meta, format!("{size}\n")).with_context(|| format!("cannot make {}", meta.display()))?;
        let written = std::cell::RefCell::new(vec![false; chunks as usize]);
        Ok(Self::Github { to: to.to_owned(), size, written })
    }

    fn put(&self, number: u32, bytes: &[u8]) -> Result<()> {
        let offset = u64::from(number) * CHUNK_SIZE as u64;
        match self {
            Self::File { file, size } => Ok(file.write_all_at(cut(bytes, offset, *size), offset)?),
            Self::Github { to, size, written } => {
                if let Some(slot) = written.borrow_mut().get_mut(number as usize) {
                    *slot = true;
                }
                Ok(fs::write(beside(to, &format!(".c{number:06x}.txt")), cut(bytes, offset, *size))?)
            }
        }
    }

    fn finish(self) -> Result<u64> {
        match self {
            Self::File { file, .. } => {
                file.sync_all()?;
                Ok(1)
            }
            Self::Github { ref to, size, ref written } => {
                // This layout knows no holes.
                let zeros = vec![0; CHUNK_SIZE];
                let missing: Vec<u32> =
                    (0..).zip(written.borrow().iter()).filter(|(_, done)| !**done).map(|(number, _)| number).collect();
                for number in missing {
                    let offset = u64::from(number) * CHUNK_SIZE as u64;
                    fs::write(beside(to, &format!(".c{number:06x}.txt")), cut(&zeros, offset, size))?;
                }
                Ok(written.borrow().len() as u64 + 1)
            }
        }
    }
}

/// The last chunk is as long as the disk needs it to be.
fn cut(bytes: &[u8], offset: u64, size: u64) -> &[u8] {
    let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
    bytes.get(..left).unwrap_or(bytes)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
