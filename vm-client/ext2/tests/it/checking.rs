//! Our check against `e2fsck`: clean where it is clean, findings where an image was damaged; and no panic whatever the bytes.

use ext2::check::check;
use ext2::{Ext2, Ino, MountOptions, NewInode, RenameMode, SetXattr, Time};
use vm_block::{FileDevice, RamDevice};

use crate::host::{Random, Scratch, block_on, mke2fs, run, tool};
use crate::model::Model;

/// An image with some of everything.
fn sample(scratch: &Scratch, args: &[&str]) -> std::path::PathBuf {
    let image = scratch.path("sample");
    let _ = std::fs::remove_file(&image);
    mke2fs(&image, "4M", args);
    block_on(async {
        let fs = Ext2::mount(FileDevice::open(&image).unwrap(), MountOptions::default()).await.unwrap();
        let mut random = Random(11);
        let mut model = Model::new();
        for _ in 0..400 {
            model.step(&fs, &mut random).await;
        }
        for ino in model.open {
            fs.release(ino).await.unwrap();
        }
    });
    image
}

#[test]
fn what_e2fsck_finds_clean_is_clean() {
    let scratch = Scratch::new();
    for args in [
        &["-b", "1024", "-O", "ext_attr,filetype,resize_inode,sparse_super"][..],
        &["-b", "1024", "-r", "0"],
        &["-b", "4096", "-I", "256", "-O", "ext_attr,filetype,has_journal", "-J", "size=4"],
        &["-b", "1024", "-g", "512", "-O", "ext_attr,filetype,meta_bg,^resize_inode"],
    ] {
        let image = scratch.path("image");
        let _ = std::fs::remove_file(&image);
        mke2fs(&image, "16M", args);
        let report = block_on(check(&FileDevice::open_read_only(&image).unwrap())).unwrap();
        assert_eq!(report.findings, [], "{args:?}");
        assert_eq!(report.inodes, 1);
    }
    let image = sample(&scratch, &["-b", "1024", "-I", "256", "-O", "ext_attr,filetype"]);
    crate::host::assert_clean(&image);
    let report = block_on(check(&FileDevice::open_read_only(&image).unwrap())).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.inodes > 30 && report.directories > 5);
}

#[test]
fn every_kind_of_damage_is_found() {
    let scratch = Scratch::new();
    for (command, word) in [
        ("clri file", "not in use"),
        ("set_inode_field file links_count 3", "links"),
        ("set_inode_field file block[0] 900000", "outside"),
        ("set_inode_field file block[0] 5", "something else uses"),
        ("set_inode_field file blocks 77", "sectors"),
        ("set_inode_field file mode 0010644", "which it is not"),
        ("freeb 200 40", "marked free"),
        ("setb 5000", "nothing uses"),
        ("freei dir", "in use but marked free"),
        ("set_bg 0 free_blocks_count 3", "free blocks"),
        ("set_bg 0 used_dirs_count 9", "directories"),
        ("unlink file", "links"),
        ("link file dir/again", "links"),
        ("unlink dir", "without a name"),
    ] {
        let image = scratch.path("image");
        let _ = std::fs::remove_file(&image);
        mke2fs(&image, "8M", &["-b", "1024", "-O", "filetype,ext_attr"]);
        let content = scratch.path("content");
        std::fs::write(&content, vec![7; 30_000]).unwrap();
        let image = image.to_str().unwrap();
        run("debugfs", &["-w", "-R", &format!("write {} file", content.display()), image]);
        run("debugfs", &["-w", "-R", "mkdir dir", image]);
        assert_eq!(block_on(check(&FileDevice::open(image.as_ref()).unwrap())).unwrap().findings, []);
        run("debugfs", &["-w", "-R", command, image]);
        assert!(!tool("e2fsck", &["-fn", image]).status.success(), "{command} did no damage");
        let report = block_on(check(&FileDevice::open(image.as_ref()).unwrap())).unwrap();
        let found = report.findings.iter().any(|f| f.to_string().contains(word));
        assert!(found, "{command}: {:?}", report.findings);
    }
}

/// Reads and writes whatever can be reached; only errors are allowed.
async fn exercise(fs: &Ext2<RamDevice>, dir: Ino, depth: u32, budget: &mut u32) {
    let now = Time::default();
    let new = NewInode { mode: 0x81a4, uid: 0, gid: 0, rdev: Default::default() };
    let _ = fs.create(dir, b"made", new, now).await;
    let _ = fs.mkdir(dir, b"made-dir", new, now).await;
    let mut cookie = 0;
    while let Ok(some) = fs.read_dir(dir, cookie).await {
        let Some(last) = some.last() else { break };
        cookie = last.next;
        for entry in some {
            if *budget == 0 {
                return;
            }
            *budget -= 1;
            let ino = entry.ino;
            let Ok(inode) = fs.inode(ino).await else { continue };
            let mut buf = vec![0; 5000];
            let _ = fs.read(ino, 0, &mut buf).await;
            let _ = fs.read(ino, inode.size.saturating_sub(100), &mut buf).await;
            let _ = fs.read_link(ino).await;
            let _ = fs.list_xattrs(ino).await;
            let _ = fs.get_xattr(ino, b"user.1").await;
            let _ = fs.set_xattr(ino, b"user.1", &[1; 60], SetXattr::CreateOrReplace, now).await;
            let _ = fs.write(ino, 20_000, &[3; 3000], now).await;
            let _ = fs.truncate(ino, 7000, now).await;
            let _ = fs.rename(dir, &entry.name, Ino::ROOT, b"moved", RenameMode::Exchange, now).await;
            if inode.is_dir() && depth < 4 && entry.name != b"." && entry.name != b".." {
                Box::pin(exercise(fs, ino, depth + 1, budget)).await;
            }
            let _ = fs.rmdir(dir, &entry.name, now).await;
            if let Ok(gone) = fs.unlink(dir, &entry.name, now).await {
                let _ = fs.release(gone.ino).await;
            }
        }
    }
}

#[test]
fn damaged_images_give_errors_and_never_panic() {
    let scratch = Scratch::new();
    for (seed, args) in [
        (1, &["-b", "1024", "-I", "256", "-O", "ext_attr,filetype"][..]),
        (2, &["-b", "4096", "-I", "128", "-O", "ext_attr,filetype"]),
        (3, &["-b", "1024", "-g", "512", "-O", "ext_attr,meta_bg,^resize_inode"]),
    ] {
        let good = std::fs::read(sample(&scratch, args)).unwrap();
        let device = RamDevice::from_bytes(&good);
        // Damage only pages that hold something; the rest is free space.
        let pages = device.written_pages();
        let mut random = Random(seed);
        let mut mounted = 0;
        for _ in 0..120 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(60) {
                // Mostly early pages: superblock, descriptors, bitmaps, inode tables.
                let bound = if random.below(3) == 0 { pages.len() } else { pages.len().min(40) };
                let page = pages[random.below(bound as u64) as usize] as usize;
                let at = (page * 4096 + random.below(4096) as usize).min(bytes.len() - 4);
                match random.below(3) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes[at..at + 4].copy_from_slice(&(random.below(1 << 33) as u32).to_le_bytes()),
                    _ => bytes[at..at + 4].copy_from_slice(&(random.below(5000) as u32).to_le_bytes()),
                }
            }
            block_on(async {
                let _ = check(&RamDevice::from_bytes(&bytes)).await;
                let Ok(fs) = Ext2::mount(RamDevice::from_bytes(&bytes), MountOptions::default()).await else { return };
                mounted += 1;
                exercise(&fs, Ino::ROOT, 0, &mut 150).await;
            });
        }
        assert!(mounted > 30, "only {mounted} images could be mounted");
    }
}
