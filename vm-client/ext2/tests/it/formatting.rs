//! File systems we make, judged by `e2fsck`, `debugfs` and ourselves.

use ext2::format::{
    Content, FormatOptions, Metadata, Node, NodeId, Previous, Tree, content_bytes, format, format_after,
};
use ext2::{DeviceNumber, Ext2, Ext2Error, Ino, MountOptions, NewInode, Time};
use vm_block::{BlockError, FileDevice, RamDevice};

use crate::host::{Random, Scratch, assert_clean, block_on, run};

fn meta(mode: u16) -> Metadata {
    let time = Time { sec: 1_600_000_000, nsec: 7 };
    Metadata { mode, uid: 1000, gid: 70_000, mtime: time, atime: time, ctime: time }
}

fn dir() -> Node {
    Node::new(meta(0o755), Content::Directory)
}

fn file(size: u64) -> Node {
    Node::new(meta(0o644), Content::File { size })
}

/// The data every file has: a function of its size and the offset.
fn data_of(size: u64, offset: u64, buf: &mut [u8]) {
    for (n, byte) in buf.iter_mut().enumerate() {
        let at = offset + n as u64;
        // Some blocks are zeros.
        *byte = if at / 4096 % 3 == 2 { 0 } else { (at * 31 / 7 + size) as u8 };
    }
}

fn reader(tree: &Tree) -> impl AsyncFnMut(NodeId, u64, &mut [u8]) -> Result<(), BlockError> {
    async |id, offset, buf: &mut [u8]| {
        let Content::File { size } = tree.node(id).content else { panic!("only files have data") };
        data_of(size, offset, buf);
        Ok(())
    }
}

fn sample() -> Tree {
    sample_of(40, 20 << 20)
}

fn sample_of(directories: u64, big: u64) -> Tree {
    let mut tree = Tree::new(meta(0o755));
    let mut random = Random(4);
    let mut last = Tree::ROOT;
    for d in 0..directories {
        let parent = if d % 3 == 0 { Tree::ROOT } else { last };
        last = tree.add(parent, format!("directory-{d}").as_bytes(), dir()).unwrap();
        for f in 0..30 {
            let size = match random.below(10) {
                0 => 0,
                1..8 => random.below(20_000),
                _ => random.below(300_000),
            };
            tree.add(last, format!("file-{f}-{}", "x".repeat(f * 6)).as_bytes(), file(size)).unwrap();
        }
    }
    let big = tree.add(Tree::ROOT, b"big", file(big)).unwrap();
    tree.link(last, b"second-name", big).unwrap();
    for n in 0..5 {
        let mut node = file(10);
        node.xattrs.insert(b"user.same".to_vec(), vec![b's'; 400]);
        tree.add(last, format!("labelled-{n}").as_bytes(), node).unwrap();
    }
    let mut capable = file(100_000);
    capable.xattrs.insert(b"security.capability".to_vec(), vec![1; 20]);
    tree.add(Tree::ROOT, b"ping", capable).unwrap();
    let device = DeviceNumber { major: 300, minor: 70_000 };
    for (name, content) in [
        (&b"short"[..], Content::Symlink { target: b"big".to_vec() }),
        (b"long", Content::Symlink { target: vec![b'l'; 500] }),
        (b"null", Content::CharDevice(DeviceNumber { major: 1, minor: 3 })),
        (b"disk", Content::BlockDevice(device)),
        (b"pipe", Content::Fifo),
        (b"socket", Content::Socket),
    ] {
        tree.add(Tree::ROOT, name, Node::new(meta(0o600), content)).unwrap();
    }
    tree.add(Tree::ROOT, b"gone", dir()).unwrap();
    tree.remove(Tree::ROOT, b"gone").unwrap();
    tree
}

fn options() -> FormatOptions {
    FormatOptions {
        uuid: *b"a fixed identity",
        label: b"skiff".to_vec(),
        made: Time { sec: 1_600_000_001, nsec: 0 },
        ..FormatOptions::default()
    }
}

async fn compare<D: vm_block::BlockDevice>(fs: &Ext2<D>, tree: &Tree, dir: NodeId, ino: Ino) {
    for (name, id) in tree.children(dir) {
        let child = fs.lookup(ino, name).await.unwrap();
        let inode = fs.inode(child).await.unwrap();
        let node = tree.node(id);
        assert_eq!((inode.mode & 0xfff, inode.uid, inode.gid), (node.metadata.mode, 1000, 70_000));
        assert_eq!(inode.mtime, node.metadata.mtime);
        for (name, value) in &node.xattrs {
            assert_eq!(&fs.get_xattr(child, name).await.unwrap(), value);
        }
        match &node.content {
            Content::Directory => Box::pin(compare(fs, tree, id, child)).await,
            Content::File { size } => {
                assert_eq!(inode.size, *size);
                let mut ours = vec![0; *size as usize];
                let mut theirs = ours.clone();
                assert_eq!(fs.read(child, 0, &mut ours).await, Ok(*size as usize));
                data_of(*size, 0, &mut theirs);
                assert!(ours == theirs, "{}", String::from_utf8_lossy(name));
            }
            Content::Symlink { target } => assert_eq!(&fs.read_link(child).await.unwrap(), target),
            Content::CharDevice(device) | Content::BlockDevice(device) => assert_eq!(inode.rdev(), *device),
            Content::Fifo | Content::Socket => assert_eq!(inode.file_type(), node.content.file_type()),
        }
    }
}

#[test]
fn a_made_file_system_is_clean_and_holds_the_tree() {
    let scratch = Scratch::new();
    let tree = sample();
    let image = scratch.path("image");
    let made =
        block_on(format(&FileDevice::create(&image, 700 << 20).unwrap(), &options(), &tree, reader(&tree))).unwrap();
    assert_clean(&image);
    assert!(u64::from(made.data_end) * 4096 >= content_bytes(&tree));
    block_on(async {
        let fs = Ext2::mount(FileDevice::open(&image).unwrap(), MountOptions::default()).await.unwrap();
        compare(&fs, &tree, Tree::ROOT, Ino::ROOT).await;
        let new = NewInode { mode: 0x81a4, uid: 0, gid: 0, rdev: DeviceNumber::default() };
        let ino = fs.create(Ino::ROOT, b"after", new, Time::default()).await.unwrap();
        fs.write(ino, 0, &[1; 1_000_000], Time::default()).await.unwrap();
        let labelled = fs.lookup(Ino::ROOT, b"directory-39").await.unwrap();
        let _ = fs.read_dir(labelled, 0).await.unwrap();
    });
    assert_clean(&image);
    let text = run("dumpe2fs", &["-h", image.to_str().unwrap()]);
    for part in ["skiff", "61206669-7865-6420-6964-656e74697479", "ext_attr filetype sparse_super large_file"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn large_files_start_on_chunk_borders_and_same_inputs_give_same_bytes() {
    let tree = sample();
    let images: Vec<_> = (0..2)
        .map(|_| {
            let device = RamDevice::new(96 << 20);
            block_on(format(&device, &options(), &tree, reader(&tree))).unwrap();
            device.to_bytes()
        })
        .collect();
    assert!(images[0] == images[1]);
    let scratch = Scratch::new();
    let image = scratch.path("image");
    std::fs::write(&image, &images[0]).unwrap();
    assert_clean(&image);
    let blocks = run("debugfs", &["-R", "blocks big", image.to_str().unwrap()]);
    let first: u32 = blocks.split_whitespace().next().unwrap().parse().unwrap();
    assert!(first.is_multiple_of(32), "{first}");
}

#[test]
fn files_named_first_come_first() {
    let tree = sample();
    let dir = tree.child(Tree::ROOT, b"directory-39").unwrap();
    let first: Vec<NodeId> = [&b"labelled-3"[..], b"labelled-1"].iter().map(|n| tree.child(dir, n).unwrap()).collect();
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let options = FormatOptions { first, ..options() };
    block_on(format(&FileDevice::create(&image, 96 << 20).unwrap(), &options, &tree, reader(&tree))).unwrap();
    assert_clean(&image);
    let path = |name: &str| format!("blocks directory-39/{name}");
    let block =
        |name: &str| -> u32 { run("debugfs", &["-R", &path(name), image.to_str().unwrap()]).trim().parse().unwrap() };
    assert_eq!(block("labelled-3") + 1, block("labelled-1"));
    assert!(block("labelled-1") < block("labelled-0"));
}

#[test]
fn a_twenty_gigabyte_file_system_stays_sparse() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let mut tree = Tree::new(meta(0o755));
    tree.add(Tree::ROOT, b"huge", file(5 << 30)).unwrap();
    let zeros = async |_: NodeId, _: u64, _: &mut [u8]| Ok(());
    let made = block_on(format(&FileDevice::create(&image, 20 << 30).unwrap(), &options(), &tree, zeros)).unwrap();
    assert_eq!(made.blocks, 5 << 20);
    assert_clean(&image);
    use std::os::unix::fs::MetadataExt;
    let stored = std::fs::metadata(&image).unwrap().blocks() * 512;
    assert!(stored < 16 << 20, "{stored} bytes stored");
    block_on(async {
        let fs = Ext2::mount(FileDevice::open(&image).unwrap(), MountOptions::default()).await.unwrap();
        let ino = fs.lookup(Ino::ROOT, b"huge").await.unwrap();
        fs.write(ino, (5 << 30) - 3, b"end", Time::default()).await.unwrap();
        let mut end = [0; 8];
        assert_eq!(fs.read(ino, (5 << 30) - 5, &mut end).await, Ok(5));
        assert_eq!(&end[..5], b"\0\0end");
    });
    assert_clean(&image);
}

#[test]
fn a_tree_that_does_not_fit_is_refused() {
    let mut tree = Tree::new(meta(0o755));
    tree.add(Tree::ROOT, b"f", file(9 << 20)).unwrap();
    let device = RamDevice::new(8 << 20);
    assert_eq!(block_on(format(&device, &options(), &tree, reader(&tree))), Err(Ext2Error::NoSpace));
    assert_eq!(tree.add(Tree::ROOT, b"f", dir()), Err(Ext2Error::Exists));
}

/// Writes an image of a tree, after another one if there is one, and checks it.
fn version(scratch: &Scratch, name: &str, tree: &Tree, before: Option<&str>) -> Vec<u8> {
    let image = scratch.path(name);
    let device = FileDevice::create(&image, 32 << 20).unwrap();
    block_on(async {
        match before {
            None => format(&device, &options(), tree, reader(tree)).await.unwrap(),
            Some(before) => {
                let before = FileDevice::open_read_only(&scratch.path(before)).unwrap();
                let before = Ext2::mount(before, MountOptions::read_only()).await.unwrap();
                let previous = Previous::read(&before).await.unwrap();
                let kept = previous.keep(tree);
                let options = FormatOptions { made: Time { sec: 1_700_000_000, nsec: 0 }, ..options() };
                format_after(&device, &options, tree, &previous, &kept, reader(tree)).await.unwrap()
            }
        }
    });
    assert_clean(&image);
    block_on(async {
        let fs = Ext2::mount(FileDevice::open_read_only(&image).unwrap(), MountOptions::read_only()).await.unwrap();
        compare(&fs, tree, Tree::ROOT, Ino::ROOT).await;
    });
    std::fs::read(image).unwrap()
}

fn chunks_that_differ(one: &[u8], other: &[u8]) -> usize {
    one.chunks(128 << 10).zip(other.chunks(128 << 10)).filter(|(one, other)| one != other).count()
}

#[test]
fn a_small_change_makes_few_chunks_new() {
    let scratch = Scratch::new();
    let first = version(&scratch, "one", &sample_of(12, 5 << 20), None);
    assert!(version(&scratch, "same", &sample_of(12, 5 << 20), Some("one")) == first, "no change, no difference");

    let mut tree = sample_of(12, 5 << 20);
    let dir = tree.child(Tree::ROOT, b"directory-3").unwrap();
    tree.add(dir, b"another", file(5000)).unwrap();
    let second = version(&scratch, "two", &tree, Some("one"));
    // Superblock and descriptors, bitmaps, inodes, the directory, the data.
    let few = chunks_that_differ(&first, &second);
    assert!((1..=6).contains(&few), "{few} chunks differ");
    assert!(version(&scratch, "again", &tree, Some("one")) == second, "same inputs, same bytes");
    // From scratch everything behind the new file has moved.
    let scratched = chunks_that_differ(&first, &version(&scratch, "fresh", &tree, None));
    assert!(scratched > 2 * few, "{scratched} chunks differ from scratch");
}

#[test]
fn versions_follow_each_other_through_every_kind_of_change() {
    let scratch = Scratch::new();
    let mut tree = sample_of(12, 5 << 20);
    version(&scratch, "version-0", &tree, None);
    let mut random = Random(11);
    for number in 1..6 {
        for change in 0..12 {
            let parent = loop {
                let name = format!("directory-{}", random.below(12));
                // Some are below others; those at the top are enough here.
                if let Some(found) = tree.child(Tree::ROOT, name.as_bytes()) {
                    break found;
                }
            };
            let names: Vec<Vec<u8>> = tree.children(parent).map(|(name, _)| name.to_vec()).collect();
            let name = names.get(random.below(names.len() as u64) as usize).cloned();
            let size = random.below(300_000);
            match (random.below(5), name) {
                (0, Some(name)) => tree.remove(parent, &name).unwrap(),
                // Another size, or another type, under the same name.
                (1, Some(name)) => {
                    tree.remove(parent, &name).unwrap();
                    tree.add(parent, &name, file(size)).unwrap();
                }
                (2, Some(name)) => {
                    tree.remove(parent, &name).unwrap();
                    let link = Content::Symlink { target: vec![b't'; 100] };
                    tree.add(parent, &name, Node::new(meta(0o777), link)).unwrap();
                }
                (3, _) => {
                    let mut node = file(size);
                    node.xattrs.insert(b"user.large".to_vec(), vec![number as u8; 900]);
                    tree.add(parent, format!("labelled-{number}-{change}").as_bytes(), node).unwrap();
                }
                _ => {
                    let new = tree.add(parent, format!("new-{number}-{change}").as_bytes(), dir()).unwrap();
                    for n in 0..random.below(200) {
                        tree.add(new, format!("{n}{}", "y".repeat(100)).as_bytes(), file(n * 10)).unwrap();
                    }
                }
            }
        }
        version(&scratch, &format!("version-{number}"), &tree, Some(&format!("version-{}", number - 1)));
    }
}

#[test]
fn a_file_that_moved_keeps_its_blocks_if_it_is_said_to_be_the_same() {
    let scratch = Scratch::new();
    let mut tree = Tree::new(meta(0o755));
    let old = tree.add(Tree::ROOT, b"lib-1.so", file(3 << 20)).unwrap();
    tree.add(Tree::ROOT, b"other", file(1000)).unwrap();
    version(&scratch, "one", &tree, None);
    let mut tree = Tree::new(meta(0o755));
    let new = tree.add(Tree::ROOT, b"lib-2.so", file(3 << 20)).unwrap();
    assert_eq!(old, new, "only so that sizes and data are the same");
    let image = scratch.path("two");
    block_on(async {
        let before = FileDevice::open_read_only(&scratch.path("one")).unwrap();
        let before = Ext2::mount(before, MountOptions::read_only()).await.unwrap();
        let previous = Previous::read(&before).await.unwrap();
        let mut kept = previous.keep(&tree);
        let gone: Vec<(Ino, u64)> = previous.gone(&kept).collect();
        assert_eq!(gone.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [3 << 20, 1000]);
        assert_eq!(kept.new_files(&tree), [(new, 3 << 20)]);
        assert!(kept.put_file(new, gone[0].0) && !kept.put_file(new, gone[1].0));
        let device = FileDevice::create(&image, 96 << 20).unwrap();
        format_after(&device, &options(), &tree, &previous, &kept, reader(&tree)).await.unwrap();
    });
    assert_clean(&image);
    let blocks = |image: &str, name: &str| {
        run("debugfs", &["-R", &format!("blocks {name}"), scratch.path(image).to_str().unwrap()])
    };
    assert_eq!(blocks("one", "lib-1.so"), blocks("two", "lib-2.so"));
}

#[test]
fn a_disk_that_others_made_is_no_earlier_version() {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    crate::host::mke2fs(&image, "64M", &[]);
    let previous = block_on(async {
        let fs = Ext2::mount(FileDevice::open_read_only(&image).unwrap(), MountOptions::read_only()).await.unwrap();
        Previous::read(&fs).await.map(drop)
    });
    assert!(matches!(previous, Err(Ext2Error::Invalid(_))), "{previous:?}");
}
