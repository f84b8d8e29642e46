//! The disk after each commit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};

use ext2::{Ext2, Ext2Error, Ino, MountOptions};
use vm_block::{Batch, BlockDevice, BlockError, FileDevice, PAGE_SIZE};

use crate::image::{Image, check};
use crate::promise::{Content, Mark, Said};

/// How much was looked at.
#[derive(Default)]
pub struct Counts {
    pub states: usize,
    pub promises: usize,
}

/// Looks at a program's own files on a disk: the file with the disk, and the last mark in force there.
pub type Judge<'a> = &'a dyn Fn(&Path, &Mark);

/// Looks at the states after no commit, after the first, and so on to the last.
pub fn look_at_all(image: &Image, commits: &[Batch], said: &Said, judge: Judge<'_>) -> Counts {
    let mut disk = Disk::new(image);
    let mut counts = Counts::default();
    disk.look(0, said, judge, &mut counts);
    for (index, batch) in commits.iter().enumerate() {
        disk.apply(batch);
        disk.look(index + 1, said, judge, &mut counts);
    }
    counts
}

/// Looks at the state after all commits.
pub fn look_at_last(image: &Image, commits: &[Batch], said: &Said) -> Counts {
    let mut disk = Disk::new(image);
    let mut counts = Counts::default();
    commits.iter().for_each(|batch| disk.apply(batch));
    disk.look(commits.len(), said, &|_, _| {}, &mut counts);
    counts
}

/// A copy of the base with commits applied.
struct Disk {
    base: File,
    path: PathBuf,
    file: File,
}

impl Disk {
    fn new(image: &Image) -> Self {
        let path = image.path.with_extension("crashed");
        std::fs::copy(&image.path, &path).expect("the image can be copied");
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("the copy can be opened");
        Self { base: File::open(&image.path).expect("the image can be read"), path, file }
    }

    fn apply(&mut self, batch: &Batch) {
        let at = |page: u64| page * PAGE_SIZE as u64;
        for key in &batch.delete {
            let mut page = vec![0; PAGE_SIZE];
            self.base.read_exact_at(&mut page, at(key.0)).expect("the page is on the disk");
            self.file.write_all_at(&page, at(key.0)).expect("the copy can be written");
        }
        for (key, page) in &batch.put {
            self.file.write_all_at(page, at(key.0)).expect("the copy can be written");
        }
    }

    /// Mounts, which frees orphans, checks, and undoes what mounting has changed.
    fn look(&self, state: usize, said: &Said, judge: Judge<'_>, counts: &mut Counts) {
        let device = Undoing::new(&self.path);
        let fs = block_on(Ext2::mount(&device, MountOptions::default()));
        let fs = fs.unwrap_or_else(|error| panic!("after {state} commits the disk cannot be mounted: {error}"));
        assert!(fs.orphans().is_empty(), "after {state} commits mounting has left orphans");
        for promise in said.promises.iter().filter(|promise| promise.states.contains(&state)) {
            let found = block_on(content(&fs, &promise.path))
                .unwrap_or_else(|error| panic!("after {state} commits {} cannot be read: {error}", promise.path));
            let kept = found.map_or(promise.allowed.is_empty(), |found| promise.allowed.contains(&found));
            assert!(kept, "after {state} commits {} holds {found:?}: {promise:?}", promise.path);
            counts.promises += 1;
        }
        check(Command::new("e2fsck").arg("-fn").arg(&self.path));
        if let Some(mark) = said.marks.iter().rfind(|mark| mark.from <= state) {
            judge(&self.path, mark);
            counts.promises += 1;
        }
        device.undo();
        counts.states += 1;
    }
}

/// Size and hash of a file; `None` if there is none.
async fn content<D: BlockDevice>(fs: &Ext2<D>, path: &str) -> Result<Option<Content>, Ext2Error> {
    let mut ino = Ino::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        ino = match fs.lookup(ino, name.as_bytes()).await {
            Err(Ext2Error::NotFound) => return Ok(None),
            found => found?,
        };
    }
    let size = fs.inode(ino).await?.size;
    let mut bytes = vec![0; usize::try_from(size).expect("files are small")];
    let mut at = 0;
    while at < bytes.len() {
        match fs.read(ino, at as u64, &mut bytes[at..]).await? {
            0 => break,
            read => at += read,
        }
    }
    assert_eq!(at, bytes.len(), "{path} can be read to its end");
    Ok(Some(Content::of(&bytes)))
}

/// A file whose changes can be taken back.
struct Undoing {
    device: FileDevice,
    before: RefCell<BTreeMap<u64, Vec<u8>>>,
}

/// What [`Undoing`] remembers at once: the smallest write.
const UNIT: u64 = 1024;

impl Undoing {
    fn new(path: &Path) -> Self {
        Self { device: FileDevice::open(path).expect("the copy can be opened"), before: RefCell::default() }
    }

    fn undo(&self) {
        for (at, bytes) in self.before.take() {
            self.device.write_now(at, &bytes).expect("the copy can be written");
        }
    }
}

impl BlockDevice for &Undoing {
    fn size(&self) -> u64 {
        self.device.size()
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.device.read_at(offset, buf).await
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let mut before = self.before.borrow_mut();
        for at in (offset..offset + data.len() as u64).step_by(UNIT as usize) {
            if let Entry::Vacant(place) = before.entry(at) {
                let mut bytes = vec![0; UNIT as usize];
                self.device.read_now(at, &mut bytes).expect("files never wait")?;
                place.insert(bytes);
            }
        }
        self.device.write_now(offset, data)
    }

    async fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

/// Polls a future until it is done; files never wait.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
