//! Images made by `mke2fs -d` from a host directory, read by us and compared with that directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use ext2::{DeviceNumber, Ext2, Ext2Error, FileType, Ino, MountOptions};
use vm_block::FileDevice;

use crate::host::{Random, Scratch, block_on, mke2fs, run, tool};

/// Fills a directory with every kind of file.
fn populate(root: &Path) {
    let mut random = Random(1);
    fs::create_dir(root).unwrap();
    for (name, len) in [("empty", 0), ("one", 1), ("block", 4096), ("direct", 12 * 1024), ("single", 200_000)] {
        fs::write(root.join(name), random.bytes(len)).unwrap();
    }
    fs::write(root.join("double"), random.bytes(3 << 20)).unwrap();
    let mut sparse = fs::File::create(root.join("sparse")).unwrap();
    for at in [70_000, 40 << 20, 100 << 20, (5_u64 << 30) / 2] {
        sparse.seek(SeekFrom::Start(at)).unwrap();
        sparse.write_all(&random.bytes(5000)).unwrap();
    }
    symlink("single", root.join("fast")).unwrap();
    symlink("x/".repeat(200), root.join("slow")).unwrap();
    symlink("y".repeat(59), root.join("longest-fast")).unwrap();
    symlink("y".repeat(60), root.join("shortest-slow")).unwrap();
    fs::create_dir_all(root.join("deep/er/still")).unwrap();
    fs::write(root.join("deep/er/still/file"), b"here").unwrap();
    fs::hard_link(root.join("one"), root.join("deep/one-more")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for n in 0..700 {
        fs::write(root.join(format!("many/a-rather-long-name-for-entry-{n:05}")), n.to_string()).unwrap();
    }
    // Devices need privileges that a test may not have; whatever could be made is compared.
    for (name, kind, major, minor) in [("null", "c", 1, 3), ("new-style", "b", 259, 300_000)] {
        let made = Command::new("mknod")
            .arg(root.join(name))
            .args([kind, &major.to_string(), &minor.to_string()])
            .output()
            .is_ok_and(|o| o.status.success());
        eprintln!("device {name}: {}", if made { "made" } else { "skipped" });
    }
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    let _ = Command::new("chown").arg("70000:80000").arg(root.join("block")).status();
}

async fn read_all(fs: &Ext2<FileDevice>, ino: Ino, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0xaa; len];
    let got = fs.read(ino, offset, &mut data).await.unwrap();
    data.truncate(got);
    data
}

/// Compares a directory with the host's, recursively; returns the number of entries seen.
async fn compare(fs: &Ext2<FileDevice>, dir: Ino, host: &Path) -> usize {
    let mut ours = BTreeMap::new();
    let mut cookie = 0;
    loop {
        let some = fs.read_dir(dir, cookie).await.unwrap();
        let Some(last) = some.last() else { break };
        cookie = last.next;
        for entry in some {
            let again = ours.insert(String::from_utf8(entry.name.clone()).unwrap(), entry.clone());
            assert_eq!(again, None, "an entry came twice");
        }
    }
    assert_eq!(ours.remove(".").map(|e| e.ino), Some(dir));
    assert!(ours.remove("..").is_some());
    ours.remove("lost+found");
    let theirs: BTreeMap<_, _> = fs::read_dir(host)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), e.path()))
        .collect();
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let mut seen = ours.len();
    for (name, entry) in ours {
        let path = &theirs[&name];
        let meta = fs::symlink_metadata(path).unwrap();
        let ino = fs.lookup(dir, name.as_bytes()).await.unwrap();
        assert_eq!(ino, entry.ino);
        assert_eq!(fs.lookup_now(dir, name.as_bytes()), Some(Ok(ino)));
        let inode = fs.inode(ino).await.unwrap();
        assert_eq!(u32::from(inode.mode), meta.mode(), "{name}");
        assert_eq!((inode.uid, inode.gid), (meta.uid(), meta.gid()), "{name}");
        assert_eq!(inode.mtime.sec, meta.mtime(), "{name}");
        if entry.file_type != FileType::Unknown {
            assert_eq!(entry.file_type, inode.file_type());
        }
        match inode.file_type() {
            FileType::Directory => seen += Box::pin(compare(fs, ino, path)).await,
            FileType::Symlink => {
                let target = fs::read_link(path).unwrap();
                assert_eq!(fs.read_link(ino).await.unwrap(), target.as_os_str().as_encoded_bytes());
            }
            FileType::Regular => {
                assert_eq!(inode.size, meta.len(), "{name}");
                assert_eq!(u64::from(inode.links), meta.nlink(), "{name}");
                compare_data(fs, ino, path, meta.len()).await;
            }
            FileType::CharDevice | FileType::BlockDevice => {
                let (major, minor) = (libc_major(meta.rdev()), libc_minor(meta.rdev()));
                assert_eq!(inode.rdev(), DeviceNumber { major, minor }, "{name}");
                assert_eq!(meta.file_type().is_char_device(), inode.file_type() == FileType::CharDevice);
            }
            other => assert!(other == FileType::Fifo && meta.file_type().is_fifo(), "{name}: {other:?}"),
        }
    }
    seen
}

fn libc_major(rdev: u64) -> u32 {
    (rdev >> 8 & 0xfff) as u32
}

fn libc_minor(rdev: u64) -> u32 {
    (rdev & 0xff | rdev >> 12 & 0xf_ff00) as u32
}

async fn compare_data(fs: &Ext2<FileDevice>, ino: Ino, path: &Path, len: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(path).unwrap();
    let mut random = Random(len);
    let check = async |offset: u64, count: usize| {
        let count = count.min((len - offset) as usize);
        let mut theirs = vec![0; count];
        file.read_exact_at(&mut theirs, offset).unwrap();
        assert!(read_all(fs, ino, offset, count + 10).await[..count] == theirs, "{path:?} at {offset}");
    };
    if len <= 8 << 20 {
        check(0, len as usize).await;
        for _ in 0..20 {
            check(random.below(len + 1), random.below(20_000) as usize).await;
        }
    } else {
        for at in [0, 60_000, 40 << 20, (40 << 20) - 4096, 100 << 20, (5_u64 << 30) / 2 - 10_000, len - 5] {
            check(at, 20_000).await;
        }
    }
}

#[test]
fn every_kind_of_file_reads_as_on_the_host() {
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    populate(&tree);
    let from = tree.to_str().unwrap();
    for args in [
        &["-b", "1024", "-I", "128"][..],
        &["-b", "2048", "-I", "256", "-O", "dir_index,filetype,sparse_super,large_file,ext_attr,resize_inode"],
        &["-b", "4096", "-I", "256", "-O", "^resize_inode,has_journal,filetype"],
        &["-b", "1024", "-I", "512", "-O", "meta_bg,^resize_inode,^sparse_super"],
        &["-b", "4096", "-r", "0"],
    ] {
        let image = scratch.path("image");
        let _ = fs::remove_file(&image);
        let rev0 = args.contains(&"0");
        if rev0 {
            // Revision 0 cannot hold the 2.5 GiB file.
            fs::rename(tree.join("sparse"), scratch.path("sparse-aside")).unwrap();
        }
        let mut all = args.to_vec();
        all.extend_from_slice(&["-d", from]);
        mke2fs(&image, "64M", &all);
        if args.iter().any(|a| a.contains("dir_index")) {
            // Lets e2fsck build the hash indexes that mke2fs does not.
            tool("e2fsck", &["-fyD", image.to_str().unwrap()]);
            let text = run("debugfs", &["-R", "htree_dump /many", image.to_str().unwrap()]);
            assert!(text.contains("Root node dump"), "{text}");
        }
        let seen = block_on(async {
            let device = FileDevice::open_read_only(&image).unwrap();
            let fs = Ext2::mount(device, MountOptions::read_only()).await.unwrap();
            compare(&fs, Ino::ROOT, &tree).await
        });
        assert!(seen > 710, "only {seen} entries with {args:?}");
        if rev0 {
            fs::rename(scratch.path("sparse-aside"), tree.join("sparse")).unwrap();
        }
    }
}

#[test]
fn features_beyond_ext2_are_refused_by_name() {
    let scratch = Scratch::new();
    for (features, read_only_works, word) in [
        ("extent", false, "extent"),
        ("64bit,extent", false, "64bit"),
        ("flex_bg", false, "flex_bg"),
        ("inline_data", false, "inline_data"),
        ("metadata_csum", true, "metadata_csum"),
        ("uninit_bg", true, "uninit_bg"),
        ("huge_file", true, "huge_file"),
    ] {
        let image = scratch.path("image");
        let _ = fs::remove_file(&image);
        mke2fs(&image, "8M", &["-I", "256", "-O", features]);
        let open = |options| block_on(Ext2::mount(FileDevice::open(&image).unwrap(), options)).map(|_| ());
        match open(MountOptions::default()) {
            Err(Ext2Error::Incompatible(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{features}: {other:?}"),
        }
        assert_eq!(open(MountOptions::read_only()).is_ok(), read_only_works, "{features}");
    }
    let image = scratch.path("journal");
    mke2fs(&image, "8M", &["-j"]);
    run("debugfs", &["-w", "-R", "feature needs_recovery", image.to_str().unwrap()]);
    match block_on(Ext2::mount(FileDevice::open(&image).unwrap(), MountOptions::read_only())).map(|_| ()) {
        Err(Ext2Error::Incompatible(text)) => assert!(text.contains("needs_recovery"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn attributes_read_as_debugfs_wrote_them() {
    let scratch = Scratch::new();
    for inode_size in ["128", "256"] {
        let image = scratch.path("image");
        let _ = fs::remove_file(&image);
        mke2fs(&image, "8M", &["-I", inode_size, "-O", "ext_attr"]);
        let note = scratch.path("note");
        fs::write(&note, "n".repeat(300)).unwrap();
        let commands = [
            format!("write {} file", note.display()),
            "ea_set file user.short value".to_owned(),
            "ea_set file security.selinux label".to_owned(),
            format!("ea_set -f {} file user.long", note.display()),
        ];
        for command in &commands {
            run("debugfs", &["-w", "-R", command, image.to_str().unwrap()]);
        }
        block_on(async {
            let fs = Ext2::mount(FileDevice::open(&image).unwrap(), MountOptions::read_only()).await.unwrap();
            let ino = fs.lookup(Ino::ROOT, b"file").await.unwrap();
            let mut names = fs.list_xattrs(ino).await.unwrap();
            names.sort();
            assert_eq!(names, [&b"security.selinux"[..], b"user.long", b"user.short"]);
            assert_eq!(fs.get_xattr(ino, b"user.short").await.unwrap(), b"value");
            assert_eq!(fs.get_xattr(ino, b"user.long").await.unwrap(), [b'n'; 300]);
            assert_eq!(fs.get_xattr(ino, b"user.none").await, Err(Ext2Error::NoAttribute));
        });
    }
}
