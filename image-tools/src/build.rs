//! Making an image.

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use anyhow::{Context, Result, bail, ensure};
use block_proto::section::BuildInfo;
use block_proto::{Hash, ImageRef, TagRecord, valid_name, valid_tag};
use ext2::format::{FormatOptions, Tree, content_bytes, format, format_after};
use ext2::{Ext2, MountOptions, Time};
use vm_block::remote::native::NativeOptions;
use vm_block::{BlockError, FileDevice};

use crate::after::After;
use crate::chunk::{self, Chunked, Identity};
use crate::progress::Progress;
use crate::publish::LocalPush;
use crate::reader::Network;
use crate::source::data::DataReader;
use crate::source::tree::Files;
use crate::source::{Source, decompress, dir, docker, layers, oci};
use crate::store::Store;

/// Room for the guest to write, if nothing else is asked for.
pub const DEFAULT_FREE: u64 = 8 << 30;

/// How large the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As large as its content and this many free bytes.
    Free(u64),
    /// Exactly this many bytes.
    Total(u64),
}

/// How to make an image.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The image's name in the store.
    pub name: String,
    /// The tags that shall point at it.
    pub tags: Vec<String>,
    /// How large the disk is; for sources that are no disks.
    pub size: Size,
    /// zstd level of the chunks.
    pub level: i32,
    /// Seconds since the epoch; by default the latest modification in the source.
    pub created: Option<u64>,
    /// Paths that are read first, in the order of reading; they are put next to each other.
    pub first: Vec<Vec<u8>>,
    /// The version before: what did not change stays where it was, so that few chunks are new.
    pub after: Option<ImageRef>,
    /// How to reach its store.
    pub network: NativeOptions,
}

impl BuildOptions {
    /// The usual settings.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tags: vec!["latest".to_owned()],
            size: Size::Free(DEFAULT_FREE),
            level: block_proto::envelope::DEFAULT_LEVEL,
            created: None,
            first: Vec::new(),
            after: None,
            network: NativeOptions::default(),
        }
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Built {
    /// The manifest's hash.
    pub manifest: Hash,
    /// Bytes of the disk.
    pub size: u64,
    /// What was written.
    pub chunked: Chunked,
}

/// Makes an image from a source and writes it into a store.
pub fn build(source: &Source, store: &Store, options: &BuildOptions, progress: &dyn Progress) -> Result<Built> {
    ensure!(
        valid_name(&options.name),
        "`{}` cannot be a name: lower-case letters, digits, `.`, `_` and `-`",
        options.name
    );
    for tag in &options.tags {
        ensure!(valid_tag(tag), "`{tag}` cannot be a tag: letters, digits, `.`, `_` and `-`");
    }
    let tool = concat!("image-tools ", env!("CARGO_PKG_VERSION")).to_owned();
    let mut info = BuildInfo { tool, source: source.kind().to_owned(), ..BuildInfo::default() };
    let (disk, uuid, created) = match source {
        Source::Ext2(path) => {
            ensure!(options.after.is_none(), "a disk that is ext2 already is stored as it is, after no other version");
            let (disk, uuid) = existing(path)?;
            (Disk::Existing(disk), uuid, options.created.unwrap_or(0))
        }
        _ => {
            let files = collect(source, progress).with_context(|| format!("cannot read {source}"))?;
            info.config = files.config.clone();
            let created = options.created.unwrap_or_else(|| u64::try_from(files.newest).unwrap_or(0));
            // The same for all versions of an image, so that they share the chunks that have it.
            let mut uuid: [u8; 16] = *Hash::of(format!("skiff image {}", options.name).as_bytes())
                .as_bytes()
                .first_chunk()
                .expect("a hash is longer than a UUID");
            // A random UUID's version and variant, as e2fsck expects nothing else.
            uuid[6] = uuid[6] & 0x0f | 0x40;
            uuid[8] = uuid[8] & 0x3f | 0x80;
            (Disk::Made(make(files, store, options, uuid, created, progress)?), uuid, created)
        }
    };
    let file = disk.file();
    let size = file.metadata()?.len();
    let push = LocalPush::begin(store.root())?;
    let chunked = chunk::chunk(file, store, options.level, Identity { uuid, created, info: &info }, progress);
    let chunked = match chunked {
        Ok(chunked) => chunked,
        Err(error) => {
            push.abandon()?;
            return Err(error);
        }
    };
    let manifest = chunked.manifest.context("a chunked disk has a manifest")?;
    let record = |tag: &String| TagRecord {
        name: options.name.clone(),
        tag: tag.clone(),
        manifest,
        size,
        created,
        transport: vec!["ws".to_owned(), "http".to_owned()],
        endpoints: Vec::new(),
        sig: None,
    };
    push.finish(&options.name, manifest, || options.tags.iter().try_for_each(|tag| store.put_tag(&record(tag))))?;
    Ok(Built { manifest, size, chunked })
}

enum Disk {
    Existing(File),
    /// Deleted when dropped.
    Made(tempfile::NamedTempFile),
}

impl Disk {
    fn file(&self) -> &File {
        match self {
            Self::Existing(file) => file,
            Self::Made(file) => file.as_file(),
        }
    }
}

/// Opens an ext2 image and makes sure that it is one that can be mounted.
fn existing(path: &Path) -> Result<(File, [u8; 16])> {
    let shown = path.display();
    let device = FileDevice::open_read_only(path).with_context(|| format!("cannot open {shown}"))?;
    let fs = run_now(Ext2::mount(device, MountOptions::read_only()));
    let fs = fs.with_context(|| format!("{shown} has no ext2 file system that Skiff can use"))?;
    let file = File::open(path)?;
    ensure!(file.metadata()?.len().is_multiple_of(1024), "the size of {shown} is not a multiple of 1024");
    Ok((file, fs.superblock().uuid))
}

fn collect(source: &Source, progress: &dyn Progress) -> Result<Files> {
    let mut files = Files::new();
    match source {
        Source::Dir(path) => dir::add_directory(&mut files, path, progress)?,
        Source::Tar(path) => layers::add_archive(&mut files, &decompress::open(path, progress)?)?,
        Source::Oci(path) => oci::add_layout(&mut files, path, progress)?,
        Source::DockerArchive(path) => docker::add_archive(&mut files, path, progress)?,
        Source::Ext2(_) => bail!("a disk has no files to collect"),
    }
    Ok(files)
}

/// Writes the files into a new file system, in a temporary file beside the store.
fn make(
    mut files: Files,
    store: &Store,
    options: &BuildOptions,
    uuid: [u8; 16],
    created: u64,
    progress: &dyn Progress,
) -> Result<tempfile::NamedTempFile> {
    let mut first = Vec::new();
    for path in &options.first {
        first.extend(files.find(path)?);
    }
    let network = Network { options: options.network.clone(), ..Network::default() };
    let after = options.after.as_ref().map(|image| After::open(image, &network)).transpose()?;
    let content = content_bytes(&files.tree);
    let size = match (options.size, &after) {
        (Size::Total(size), _) => size / 4096 * 4096,
        // A disk that changes its size has other bitmaps, descriptors and copies of both: worth it only when it gets tight.
        (Size::Free(free), Some(after)) if after.size() >= content.saturating_add(free / 2) => after.size(),
        // Inode tables and bitmaps take a 60th; whole groups leave no odd one at the end.
        (Size::Free(free), _) => (content + free).saturating_mul(62).div_euclid(61).next_multiple_of(128 << 20),
    };
    ensure!(size > content, "the files take {content} bytes and the disk shall have {size}");
    let kept = after.as_ref().map(|after| after.keep(&files)).transpose()?;
    let disk = tempfile::Builder::new().prefix(".new-disk-").tempfile_in(store.root())?;
    let device = FileDevice::create(disk.path(), size).context("cannot make a temporary file beside the store")?;
    let made = Time { sec: i64::try_from(created).unwrap_or(0), nsec: 0 };
    let mut label = options.name.clone().into_bytes();
    label.truncate(16);
    let format_options = FormatOptions { uuid, label, made, first, ..FormatOptions::default() };
    let step = progress.step("writing files", Some(content));
    let mut reader = DataReader::default();
    let tree: &Tree = &files.tree;
    let read = async |node, offset, buf: &mut [u8]| {
        step.advance(buf.len() as u64);
        match files.data.get(&node) {
            Some(data) => reader.read(data, offset, buf).map_err(|error| BlockError::Store(error.to_string())),
            None => {
                buf.fill(0);
                Ok(())
            }
        }
    };
    let formatted = match (&after, &kept) {
        (Some(after), Some(kept)) => run_now(format_after(&device, &format_options, tree, &after.previous, kept, read)),
        _ => run_now(format(&device, &format_options, tree, read)),
    };
    formatted.context("cannot write the file system")?;
    drop(device);
    Ok(disk)
}

/// Runs a future over devices that never wait, such as files.
fn run_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = TaskContext::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        // It only gave up its turn; nothing else can be awaited here.
        std::thread::yield_now();
    }
}
