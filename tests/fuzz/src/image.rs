//! Mutated file systems.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ext2::format::{Content, FormatOptions, Metadata, Node, Tree, format};
use ext2::{DeviceNumber, Ext2, Ext2Error, FileType, Ino, MountOptions, NewInode, RenameMode, SetXattr, Time};
use vm_block::RamDevice;

/// Inodes looked at: directories of a damaged file system may go round in circles.
const INODES_MAX: usize = 400;
const BLOCK: usize = 4096;

/// A small file system with something of everything, and the numbers of its blocks that are not zeros.
fn base() -> &'static (Vec<u8>, Vec<usize>) {
    static BASE: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    BASE.get_or_init(|| {
        let image = crate::now(make()).expect("memory never waits");
        let full = (0..image.len() / BLOCK).filter(|n| image[n * BLOCK..][..BLOCK].iter().any(|byte| *byte != 0));
        let full = full.collect();
        (image, full)
    })
}

async fn make() -> Vec<u8> {
    let meta = |mode| Metadata { mode, ..Metadata::default() };
    let directory = || Node::new(meta(0o755), Content::Directory);
    let file = |size| Node::new(meta(0o644), Content::File { size });
    let mut tree = Tree::new(meta(0o755));
    let deep = tree.add(Tree::ROOT, b"deep", directory()).expect("adds");
    let deeper = tree.add(deep, b"deeper", directory()).expect("adds");
    for n in 0..20_u32 {
        let name = format!("file-{n}-{}", "x".repeat(n as usize * 3));
        tree.add(deeper, name.as_bytes(), file(u64::from(n) * 300)).expect("adds");
    }
    // Direct, indirect and doubly indirect blocks, and holes.
    let large = tree.add(Tree::ROOT, b"large", file(5 << 20)).expect("adds");
    tree.set_data(large, [0..8192, 3_000_000..3_004_096, 5_000_000..5_008_192]);
    tree.link(deep, b"second", large).expect("links");
    let mut labelled = file(10);
    labelled.xattrs.insert(b"user.small".to_vec(), b"value".to_vec());
    labelled.xattrs.insert(b"user.large".to_vec(), vec![b'v'; 900]);
    tree.add(deep, b"labelled", labelled).expect("adds");
    for (name, content) in [
        (&b"short"[..], Content::Symlink { target: b"deep/deeper".to_vec() }),
        (b"long", Content::Symlink { target: vec![b'l'; 300] }),
        (b"null", Content::CharDevice(DeviceNumber { major: 1, minor: 3 })),
        (b"pipe", Content::Fifo),
    ] {
        tree.add(Tree::ROOT, name, Node::new(meta(0o600), content)).expect("adds");
    }
    let device = RamDevice::new(1 << 20);
    let data = async |_, offset: u64, buf: &mut [u8]| {
        buf.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = (at % 251) as u8 | 1);
        Ok(())
    };
    format(&device, &FormatOptions::default(), &tree, data).await.expect("has room");
    device.to_bytes()
}

/// Applies patches (block among those in use, offset, value) and uses what comes out of it: mounts, walks, checks, changes.
pub(crate) fn ext2_image(data: &[u8]) {
    let Some(patches) = crate::made::<Vec<(u16, u16, u8)>>(data) else { return };
    let (image, full) = base();
    let mut image = image.clone();
    for (block, offset, value) in patches {
        let block = full[usize::from(block) % full.len()];
        image[block * BLOCK + usize::from(offset) % BLOCK] = value;
    }
    let done = crate::now(async {
        let device = RamDevice::from_bytes(&image);
        let _ = ext2::check::check(&device).await;
        if let Ok(fs) = Ext2::mount(device, MountOptions::default()).await {
            let inodes = walk(&fs).await;
            change(&fs, &inodes).await;
            let _ = fs.sync().await;
            let _ = ext2::check::check(fs.device()).await;
        }
    });
    assert!(done.is_some(), "it never ended");
}

/// Reads everything that can be reached, within reason.
async fn walk(fs: &Ext2<RamDevice>) -> Vec<Ino> {
    let mut seen = BTreeSet::from([Ino::ROOT]);
    let mut todo = vec![Ino::ROOT];
    let mut buf = vec![0; 20_000];
    while let Some(ino) = todo.pop() {
        let Ok(inode) = fs.inode(ino).await else { continue };
        match inode.file_type() {
            FileType::Directory => {
                let mut cookie = 0;
                for _ in 0..200 {
                    let Ok(entries) = fs.read_dir(ino, cookie).await else { break };
                    let Some(last) = entries.last() else { break };
                    cookie = last.next;
                    for entry in entries {
                        if let Ok(found) = fs.lookup(ino, &entry.name).await
                            && seen.len() < INODES_MAX
                            && seen.insert(found)
                        {
                            todo.push(found);
                        }
                    }
                }
            }
            FileType::Regular => {
                for offset in [0, 60_000, 4 << 20, inode.size.saturating_sub(5), u64::MAX - 5] {
                    let _ = fs.read(ino, offset, &mut buf).await;
                }
            }
            FileType::Symlink => {
                let _ = fs.read_link(ino).await;
            }
            _ => {
                let _ = inode.rdev();
            }
        }
        if let Ok(names) = fs.list_xattrs(ino).await {
            for name in names {
                let _ = fs.get_xattr(ino, &name).await;
            }
        }
    }
    seen.into_iter().collect()
}

/// Changes a bit of everything; what fails, fails.
async fn change(fs: &Ext2<RamDevice>, inodes: &[Ino]) {
    let new = NewInode { mode: 0x81a4, uid: 0, gid: 0, rdev: DeviceNumber::default() };
    let now = Time::default();
    for (number, ino) in inodes.iter().take(12).enumerate() {
        let name = format!("new-{number}").into_bytes();
        if let Ok(created) = fs.create(*ino, &name, new, now).await {
            let _ = fs.write(created, 100_000, &[1; 9000], now).await;
            let _ = fs.set_xattr(created, b"user.x", &[2; 300], SetXattr::CreateOrReplace, now).await;
            let _ = fs.rename(*ino, &name, Ino::ROOT, b"renamed", RenameMode::Replace, now).await;
            let _ = fs.unlink(Ino::ROOT, b"renamed", now).await;
        }
        let _ = fs.write(*ino, 1 << 20, &[3; 5000], now).await;
        let _: Result<(), Ext2Error> = fs.truncate(*ino, 10, now).await;
    }
    for name in [&b"large"[..], b"short", b"deep", b"pipe"] {
        let _ = fs.unlink(Ino::ROOT, name, now).await;
    }
}
