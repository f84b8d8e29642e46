//! Over an overlay: whatever prefix of its commits survives, the file system is clean; and operations that wait do not
//! disturb each other.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use ext2::{DeviceNumber, Ext2, Ext2Error, Ino, MountOptions, NewInode, RenameMode, Time};
use vm_block::{BlockDevice, BlockError, Faulty, MemoryStore, Overlay, OverlayOptions, RamDevice, Shelf};

use crate::host::{Random, Scratch, assert_clean, block_on, mke2fs};
use crate::model::Model;

const BASE: [u8; 32] = [5; 32];
const NOW: Time = Time { sec: 1_700_000_000, nsec: 0 };

fn new() -> NewInode {
    NewInode { mode: 0x81a4, uid: 0, gid: 0, rdev: DeviceNumber::default() }
}

type Stack = Ext2<Rc<Overlay<Rc<RamDevice>, MemoryStore>>>;

async fn mount(base: &Rc<RamDevice>, shelf: &Rc<Shelf>, options: OverlayOptions) -> Stack {
    let overlay = Overlay::open(Rc::clone(base), BASE, MemoryStore::open(shelf, BASE), options).await.unwrap();
    Ext2::mount(Rc::new(overlay), MountOptions::default()).await.unwrap()
}

/// Writes a device out and lets e2fsck judge it.
async fn judge(device: &impl BlockDevice, image: &std::path::Path) {
    let mut bytes = vec![0; device.size() as usize];
    device.read_at(0, &mut bytes).await.unwrap();
    std::fs::write(image, bytes).unwrap();
    assert_clean(image);
}

#[test]
fn every_prefix_of_commits_is_a_clean_file_system() {
    let scratch = Scratch::new();
    for (seed, args) in [
        (21, &["-b", "4096", "-I", "256", "-O", "ext_attr,filetype", "-N", "256"][..]),
        (22, &["-b", "1024", "-O", "ext_attr,filetype", "-N", "256"]),
    ] {
        let image = scratch.path("image");
        let _ = std::fs::remove_file(&image);
        mke2fs(&image, "4M", args);
        let base = Rc::new(RamDevice::from_bytes(&std::fs::read(&image).unwrap()));
        let shelf = Shelf::new();
        let mut random = Random(seed);
        let mut model = Model::new();
        let snapshots = RefCell::new(Vec::new());
        block_on(async {
            // Little dirty memory, so that commits also happen because of it.
            let options = OverlayOptions { dirty_bytes: 600 << 10, clean_bytes: 64 << 10 };
            let fs = mount(&base, &shelf, options).await;
            while shelf.log().len() < 40 {
                model.step(&fs, &mut random).await;
                if random.below(12) == 0 {
                    fs.device().commit_now().await.unwrap();
                    snapshots.borrow_mut().push((shelf.log().len(), model.clone()));
                }
            }
        });
        let total = shelf.log().len();
        assert!(shelf.log().iter().any(|batch| !batch.delete.is_empty()));
        for commits in 0..=total {
            block_on(async {
                let fs = mount(&base, &shelf.replay(commits), OverlayOptions::default()).await;
                assert!(fs.orphans().is_empty());
                judge(fs.device(), &image).await;
                // Where the model was kept, what was committed is exactly that, less what was only open.
                let kept = snapshots.borrow().iter().rfind(|(at, _)| *at == commits).cloned();
                if let Some((_, mut model)) = kept {
                    for ino in std::mem::take(&mut model.open) {
                        model.nodes.remove(&ino);
                    }
                    model.compare(&fs).await;
                }
            });
        }
    }
}

/// Polls futures in turns, in a random order, until all are done.
fn race(mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>, random: &mut Random, mut between: impl FnMut()) {
    while !futures.is_empty() {
        let n = random.below(futures.len() as u64) as usize;
        if futures[n].as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            drop(futures.swap_remove(n));
        }
        between();
    }
}

/// A task that owns a directory and checks all it does there.
async fn work<D: BlockDevice>(fs: &Ext2<D>, task: u64) {
    let mut random = Random(task);
    let dir = fs.mkdir(Ino::ROOT, format!("task-{task}").as_bytes(), new(), NOW).await.unwrap();
    let mut live: Vec<(String, Ino, Vec<u8>)> = Vec::new();
    for n in 0..60 {
        let name = format!("{task}-{n}");
        let ino = fs.create(dir, name.as_bytes(), new(), NOW).await.unwrap();
        let data = random.bytes(1 + (random.0 % 20_000) as usize);
        assert_eq!(fs.write(ino, 0, &data, NOW).await, Ok(data.len()));
        live.push((name, ino, data));
        if n % 3 == 2 {
            let at = random.below(live.len() as u64) as usize;
            let (name, ino, data) = live.swap_remove(at);
            let mut seen = vec![0; data.len()];
            assert_eq!(fs.read(ino, 0, &mut seen).await, Ok(data.len()));
            assert!(seen == data);
            let moved = format!("{name}-moved");
            fs.rename(dir, name.as_bytes(), dir, moved.as_bytes(), RenameMode::NoReplace, NOW).await.unwrap();
            let gone = fs.unlink(dir, moved.as_bytes(), NOW).await.unwrap();
            assert_eq!(gone.ino, ino);
            fs.release(ino).await.unwrap();
        }
    }
    for (name, ino, data) in live {
        assert_eq!(fs.lookup(dir, name.as_bytes()).await, Ok(ino));
        let mut seen = vec![0; data.len()];
        assert_eq!(fs.read(ino, 0, &mut seen).await, Ok(data.len()));
        assert!(seen == data, "{name}");
    }
}

#[test]
fn commits_in_the_middle_of_waiting_operations_are_clean_too() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-b", "1024", "-O", "ext_attr,filetype"]);
    let base = Rc::new(RamDevice::from_bytes(&std::fs::read(&image).unwrap()));
    let shelf = Shelf::new();
    let store = MemoryStore::open(&shelf, BASE);
    let overlay = block_on(Overlay::open(Rc::clone(&base), BASE, store, OverlayOptions::default())).unwrap();
    let overlay = Rc::new(overlay);
    let fs = block_on(Ext2::mount(Faulty::new(Rc::clone(&overlay)), MountOptions::default())).unwrap();
    fs.device().delay(3);
    let mut random = Random(78);
    let mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    for task in 0..4 {
        futures.push(Box::pin(work(&fs, task)));
    }
    let mut turns = 0;
    race(futures, &mut random, || {
        turns += 1;
        if turns % 97 == 0 {
            block_on(overlay.commit_now()).unwrap();
        }
    });
    block_on(overlay.flush()).unwrap();
    let total = shelf.log().len();
    assert!(total > 30, "only {total} commits");
    for commits in (0..=total).filter(|n| n % 5 == 0 || *n == total) {
        block_on(async {
            let fs = mount(&base, &shelf.replay(commits), OverlayOptions::default()).await;
            judge(fs.device(), &image).await;
        });
    }
}

#[test]
fn operations_that_wait_do_not_disturb_each_other() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-b", "1024", "-O", "ext_attr,filetype"]);
    let base = RamDevice::from_bytes(&std::fs::read(&image).unwrap());
    let fs = block_on(Ext2::mount(Faulty::new(base), MountOptions::default())).unwrap();
    fs.device().delay(3);
    let mut random = Random(77);
    let worker = |task| work(&fs, task);
    let reader = async {
        for _ in 0..40 {
            for entry in fs.read_dir(Ino::ROOT, 0).await.unwrap() {
                if entry.name.starts_with(b"task") {
                    for inner in fs.read_dir(entry.ino, 0).await.unwrap() {
                        // It may be gone by now, but never look damaged.
                        match fs.inode(inner.ino).await {
                            Ok(_) | Err(Ext2Error::NotFound) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            }
        }
    };
    let mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = vec![Box::pin(reader)];
    for task in 0..5 {
        futures.push(Box::pin(worker(task)));
    }
    race(futures, &mut random, || {});
    assert!(fs.device().reads() > 100);
    block_on(judge(fs.device().inner(), &image));
}

#[test]
fn a_dropped_operation_has_changed_nothing() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-b", "1024", "-O", "ext_attr,filetype"]);
    let bytes = std::fs::read(&image).unwrap();
    for polls in 0..60 {
        let fs = block_on(Ext2::mount(Faulty::new(RamDevice::from_bytes(&bytes)), MountOptions::default())).unwrap();
        fs.device().delay(2);
        let before = fs.statfs();
        let mut done = false;
        {
            let mut mkdir: Pin<Box<dyn Future<Output = Result<Ino, Ext2Error>> + '_>> =
                Box::pin(fs.mkdir(Ino::ROOT, b"dir", new(), NOW));
            for _ in 0..polls {
                if !done && mkdir.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    done = true;
                    break;
                }
            }
        }
        if !done {
            assert_eq!(fs.statfs(), before);
            assert!(fs.device().inner().to_bytes() == bytes);
        }
        // The lock is free again.
        block_on(fs.create(Ino::ROOT, b"after", new(), NOW)).unwrap();
        assert_eq!(block_on(fs.lookup(Ino::ROOT, b"dir")).is_ok(), done);
    }
}

#[test]
fn a_failing_device_is_reported_and_changes_nothing() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-b", "1024", "-O", "ext_attr,filetype"]);
    let bytes = std::fs::read(&image).unwrap();
    let fs = block_on(Ext2::mount(Faulty::new(RamDevice::from_bytes(&bytes)), MountOptions::default())).unwrap();
    let broken = BlockError::Store("broken".to_owned());
    fs.device().fail_reserve(Some(broken.clone()));
    let error = Err(Ext2Error::Device(broken.clone()));
    assert_eq!(block_on(fs.create(Ino::ROOT, b"x", new(), NOW)), error);
    fs.device().fail_reserve(None);
    let ino = block_on(fs.create(Ino::ROOT, b"x", new(), NOW)).unwrap();
    block_on(fs.write(ino, 0, &[1; 1024], NOW)).unwrap();
    fs.device().fail_reads(0..8 << 20, Some(broken.clone()));
    // Metadata is cached, data is not.
    assert!(block_on(fs.inode(ino)).is_ok());
    assert_eq!(block_on(fs.read(ino, 0, &mut [0; 10])), Err(Ext2Error::Device(broken)));
    fs.device().fail_reads(0..0, None);
    assert_eq!(block_on(fs.read(ino, 0, &mut [0; 10])), Ok(10));
    block_on(judge(fs.device().inner(), &image));
}
