//! Is an image what its name says? Every hash, then the file system.

use std::collections::HashSet;

use anyhow::Result;
use ext2::{Ext2, Ext2Error, FileType, Ino, MountOptions};

use crate::device::ImageDevice;
use crate::progress::Progress;
use crate::reader::Reader;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Chunks whose hash is right.
    pub good: u64,
    /// What is wrong, in words.
    pub errors: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Reads all of an image and checks it.
pub fn verify(reader: &Reader, progress: &dyn Progress) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut bad = Vec::new();
    let chunks = reader.stored_chunks(&mut bad)?;
    verdict.errors.extend(bad.iter().map(ToString::to_string));
    let step = progress.step("verifying chunks", Some(chunks.len() as u64));
    reader.fetch_all(&chunks, |places, result| {
        step.advance(places.len() as u64);
        match result {
            Ok(_) => verdict.good += places.len() as u64,
            Err(error) => verdict.errors.push(error.to_string()),
        }
        Ok(())
    })?;
    drop(step);
    if verdict.is_good() {
        let _step = progress.step("checking the file system", None);
        verdict.errors.extend(reader.run(check(reader))?);
    }
    Ok(verdict)
}

/// Mounts the image and walks over every inode that has a name.
async fn check(reader: &Reader) -> Vec<String> {
    let mut errors = Vec::new();
    let device = ImageDevice::new(reader.remote().clone());
    let fs = match Ext2::mount(device, MountOptions::read_only()).await {
        Ok(fs) => fs,
        Err(error) => return vec![format!("file system: {error}")],
    };
    let mut todo = vec![(Ino::ROOT, String::new())];
    let mut seen = HashSet::from([Ino::ROOT]);
    while let Some((dir, path)) = todo.pop() {
        let entries = match fs.read_dir(dir, 0).await {
            Ok(entries) => entries,
            Err(error) => {
                errors.push(format!("directory {path}/: {error}"));
                continue;
            }
        };
        for entry in entries.iter().filter(|entry| entry.name != b"." && entry.name != b"..") {
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            if !seen.insert(entry.ino) {
                continue;
            }
            match touch(&fs, entry.ino).await {
                Ok(FileType::Directory) => todo.push((entry.ino, path)),
                Ok(_) => {}
                Err(error) => errors.push(format!("{path}: {error}")),
            }
        }
    }
    errors
}

/// Reads an inode, its attributes, and its ends, so that its maps are walked.
async fn touch(fs: &Ext2<ImageDevice>, ino: Ino) -> Result<FileType, Ext2Error> {
    let inode = fs.inode(ino).await?;
    let kind = inode.file_type();
    for name in fs.list_xattrs(ino).await? {
        fs.get_xattr(ino, &name).await?;
    }
    match kind {
        FileType::Regular if inode.size > 0 => {
            let mut byte = [0];
            fs.read(ino, 0, &mut byte).await?;
            fs.read(ino, inode.size - 1, &mut byte).await?;
        }
        FileType::Symlink => {
            fs.read_link(ino).await?;
        }
        FileType::Unknown => return Err(Ext2Error::Invalid("an inode without a type")),
        _ => {}
    }
    Ok(kind)
}
