//! Our changes, judged by `e2fsck`, `debugfs` and the model.

use std::future::Future;

use ext2::{DeviceNumber, Ext2, Ext2Error, Ino, MountOptions, NewInode, SetXattr, Time};
use vm_block::FileDevice;

use crate::host::{Random, Scratch, assert_clean, block_on, mke2fs, run};
use crate::model::Model;

const NOW: Time = Time { sec: 1_700_000_000, nsec: 123_456_789 };

fn new(mode: u16) -> NewInode {
    NewInode { mode, uid: 1000, gid: 100, rdev: DeviceNumber::default() }
}

async fn mount(image: &std::path::Path) -> Ext2<FileDevice> {
    Ext2::mount(FileDevice::open(image).unwrap(), MountOptions::default()).await.unwrap()
}

#[test]
fn random_operations_match_the_model_and_leave_a_clean_file_system() {
    // More rounds with other numbers, for a long search: EXT2_ROUNDS=50.
    let rounds = std::env::var("EXT2_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for round in 0..rounds {
        random_operations(round * 1000);
    }
}

fn random_operations(base: u64) {
    let scratch = Scratch::new();
    for (seed, size, steps, args) in [
        (1, "24M", 1500, &["-b", "1024", "-I", "128", "-O", "ext_attr"][..]),
        (2, "64M", 1500, &["-b", "4096", "-I", "256", "-O", "ext_attr,filetype,sparse_super,large_file,dir_index"]),
        (3, "32M", 1000, &["-b", "2048", "-I", "512", "-O", "ext_attr,filetype,^sparse_super,^resize_inode"]),
        (4, "16M", 1000, &["-b", "1024", "-r", "0"]),
        (5, "3M", 2000, &["-b", "1024", "-I", "256", "-g", "1024", "-O", "ext_attr,filetype", "-N", "300"]),
        (6, "3M", 1500, &["-b", "4096", "-O", "ext_attr,filetype", "-N", "60"]),
        (7, "20M", 1000, &["-b", "1024", "-g", "512", "-O", "ext_attr,filetype,meta_bg,^resize_inode"]),
    ] {
        let image = scratch.path("image");
        let _ = std::fs::remove_file(&image);
        mke2fs(&image, size, args);
        let mut random = Random(base + seed);
        let mut model = Model::new();
        block_on(async {
            let mut fs = mount(&image).await;
            for step in 0..steps {
                model.step(&fs, &mut random).await;
                if step % 500 == 499 {
                    model.compare(&fs).await;
                    while let Some(ino) = model.open.pop() {
                        fs.release(ino).await.unwrap();
                        model.nodes.remove(&ino);
                    }
                    drop(fs);
                    assert_clean(&image);
                    fs = mount(&image).await;
                    model.compare(&fs).await;
                }
            }
        });
        assert_clean(&image);
        if size == "3M" {
            assert!(model.no_space > 10, "the small image never got full");
        }
    }
}

#[test]
fn what_was_open_and_unlinked_is_freed_at_the_next_mount() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-O", "ext_attr,filetype"]);
    block_on(async {
        let fs = mount(&image).await;
        let before = fs.statfs();
        for name in [&b"a"[..], b"b", b"c", b"d"] {
            let ino = fs.create(Ino::ROOT, name, new(0x8180), NOW).await.unwrap();
            fs.write(ino, 300_000, &[7; 50_000], NOW).await.unwrap();
            fs.set_xattr(ino, b"user.x", &[1; 500], SetXattr::Create, NOW).await.unwrap();
        }
        fs.create_unnamed(Ino::ROOT, new(0x8180), NOW).await.unwrap();
        let mut gone = Vec::new();
        for name in [&b"a"[..], b"b", b"c", b"d"] {
            gone.push(fs.unlink(Ino::ROOT, name, NOW).await.unwrap().ino);
        }
        assert_eq!(fs.orphans().len(), 5);
        // One from the middle of the list goes in time.
        fs.release(gone[1]).await.unwrap();
        let mut data = [0; 10];
        assert_eq!(fs.read(gone[2], 340_000, &mut data).await, Ok(10));
        assert_eq!(data, [7; 10]);
        drop(fs);
        let fs = mount(&image).await;
        assert!(fs.orphans().is_empty());
        assert_eq!(fs.statfs(), before);
    });
    assert_clean(&image);
}

#[test]
fn a_long_file_is_freed_in_steps_that_a_crash_may_part() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "64M", &["-b", "1024", "-O", "filetype"]);
    block_on(async {
        let fs = mount(&image).await;
        let before = fs.statfs();
        let ino = fs.create(Ino::ROOT, b"long", new(0x8180), NOW).await.unwrap();
        fs.write(ino, 0, &vec![7; 20 << 20], NOW).await.unwrap();
        fs.write(ino, 1 << 30, &vec![7; 10 << 20], NOW).await.unwrap();
        let full = fs.statfs().free_blocks;
        fs.unlink(Ino::ROOT, b"long", NOW).await.unwrap();
        {
            let mut release = std::pin::pin!(fs.release(ino));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            for _ in 0..3 {
                assert!(release.as_mut().poll(&mut cx).is_pending());
            }
        }
        let between = fs.statfs().free_blocks;
        assert!(between > full + 8000 && between < before.free_blocks - 8000, "{between}");
        drop(fs);
        assert_eq!(mount(&image).await.statfs(), before);
    });
    assert_clean(&image);
}

#[test]
fn debugfs_sees_what_we_wrote() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-I", "256", "-O", "ext_attr,filetype"]);
    block_on(async {
        let fs = mount(&image).await;
        let ino = fs.create(Ino::ROOT, b"file", new(0x81b6), NOW).await.unwrap();
        fs.write(ino, 0, b"hello", NOW).await.unwrap();
        fs.set_xattr(ino, b"user.small", b"in the inode", SetXattr::Create, NOW).await.unwrap();
        fs.set_xattr(ino, b"user.large", &[b'v'; 600], SetXattr::Create, NOW).await.unwrap();
        fs.symlink(Ino::ROOT, b"link", &[b'x'; 100], new(0o777), NOW).await.unwrap();
        let wide = NewInode { rdev: DeviceNumber { major: 300, minor: 70_000 }, ..new(0x6180) };
        fs.create(Ino::ROOT, b"device", wide, NOW).await.unwrap();
    });
    assert_clean(&image);
    let debugfs = |command: &str| run("debugfs", &["-R", command, image.to_str().unwrap()]);
    assert_eq!(debugfs("cat file"), "hello");
    let stat = debugfs("stat file");
    for part in ["Mode:  0666", "User:  1000", "Group:   100", "Size: 5", "crtime: 0x6553f100:1d6f3454"] {
        assert!(stat.contains(part), "{part} in {stat}");
    }
    assert!(debugfs("ea_get file user.small").contains("in the inode"));
    assert!(debugfs("ea_get file user.large").contains(&"v".repeat(600)));
    assert!(debugfs("stat link").contains(&"x".repeat(100)) || debugfs("cat link").contains(&"x".repeat(100)));
    assert!(debugfs("stat device").contains("300:70000"), "{}", debugfs("stat device"));
}

#[test]
fn large_files_turn_the_feature_on() {
    let scratch = Scratch::new();
    for args in [&["-b", "4096", "-O", "^large_file"][..], &["-b", "1024", "-r", "0"]] {
        let image = scratch.path("image");
        let _ = std::fs::remove_file(&image);
        mke2fs(&image, "16M", args);
        block_on(async {
            let fs = mount(&image).await;
            let ino = fs.create(Ino::ROOT, b"big", new(0x81a4), NOW).await.unwrap();
            fs.write(ino, 3 << 30, b"beyond", NOW).await.unwrap();
            assert_eq!(fs.write(ino, fs.max_file_size(), b"x", NOW).await, Err(Ext2Error::FileTooBig));
            fs.write(ino, fs.max_file_size() - 1, b"x", NOW).await.unwrap();
            fs.truncate(ino, (3 << 30) + 3, NOW).await.unwrap();
            drop(fs);
            let fs = mount(&image).await;
            let mut data = [9; 10];
            assert_eq!(fs.read(ino, (3 << 30) - 2, &mut data).await, Ok(5));
            assert_eq!(&data[..5], b"\0\0bey");
        });
        assert_clean(&image);
    }
}

#[test]
fn an_indexed_directory_is_still_good_after_a_change() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let tree = scratch.path("tree");
    std::fs::create_dir_all(tree.join("many")).unwrap();
    for n in 0..2000 {
        std::fs::write(tree.join(format!("many/entry-number-{n}")), "").unwrap();
    }
    mke2fs(&image, "16M", &["-b", "1024", "-N", "3000", "-O", "dir_index,filetype", "-d", tree.to_str().unwrap()]);
    crate::host::tool("e2fsck", &["-fyD", image.to_str().unwrap()]);
    assert!(run("debugfs", &["-R", "stat many", image.to_str().unwrap()]).contains("Flags: 0x1000"));
    block_on(async {
        let fs = mount(&image).await;
        let dir = fs.lookup(Ino::ROOT, b"many").await.unwrap();
        for n in (0..2000).step_by(3) {
            let gone = fs.unlink(dir, format!("entry-number-{n}").as_bytes(), NOW).await.unwrap();
            fs.release(gone.ino).await.unwrap();
        }
        for n in 0..800 {
            fs.create(dir, format!("a-new-entry-{n}").as_bytes(), new(0x81a4), NOW).await.unwrap();
        }
        assert!(fs.lookup(dir, b"entry-number-1999").await.is_ok());
    });
    assert_clean(&image);
    assert!(run("debugfs", &["-R", "stat many", image.to_str().unwrap()]).contains("Flags: 0x0"));
}

#[test]
fn a_listing_is_stable_while_entries_come_and_go() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    mke2fs(&image, "8M", &["-b", "1024", "-O", "filetype"]);
    block_on(async {
        let fs = mount(&image).await;
        for n in 0..200 {
            fs.create(Ino::ROOT, format!("stays-{n:03}").as_bytes(), new(0x81a4), NOW).await.unwrap();
            fs.create(Ino::ROOT, format!("goes-{n:03}").as_bytes(), new(0x81a4), NOW).await.unwrap();
        }
        let mut cookie = 0;
        let mut seen = Vec::new();
        let mut round = 0;
        loop {
            let some = fs.read_dir(Ino::ROOT, cookie).await.unwrap();
            // Takes a few at a time and changes the directory in between.
            let Some(taken) = some.get(..some.len().min(3)).filter(|t| !t.is_empty()) else { break };
            cookie = taken.last().unwrap().next;
            seen.extend(taken.iter().filter(|e| e.name.starts_with(b"stays")).map(|e| e.name.clone()));
            for name in [format!("goes-{round:03}"), format!("goes-{:03}", 199 - round)] {
                let _ = fs.unlink(Ino::ROOT, name.as_bytes(), NOW).await;
            }
            let _ = fs.create(Ino::ROOT, format!("x{round}").as_bytes(), new(0x81a4), NOW).await;
            round += 1;
        }
        assert!(round > 50);
        seen.sort();
        let all: Vec<_> = (0..200).map(|n| format!("stays-{n:03}").into_bytes()).collect();
        assert_eq!(seen, all);
    });
}
