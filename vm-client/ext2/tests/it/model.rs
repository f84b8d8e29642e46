//! A file system in plain collections, driven by the same random operations as ours.

use std::collections::BTreeMap;

use ext2::{Ext2, Ext2Error, FileType, Ino, NewInode, RenameMode, SetAttr, SetXattr, Time};
use vm_block::BlockDevice;

use crate::host::Random;

const PIECE: u64 = 1024;

/// What an inode should hold.
#[derive(Clone, Default, Debug)]
pub(crate) struct Node {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) links: u16,
    pub(crate) size: u64,
    data: BTreeMap<u64, Vec<u8>>,
    pub(crate) target: Vec<u8>,
    pub(crate) entries: BTreeMap<Vec<u8>, Ino>,
    pub(crate) parent: Option<Ino>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Node {
    fn is_dir(&self) -> bool {
        self.mode & 0xf000 == 0x4000
    }

    fn is_file(&self) -> bool {
        self.mode & 0xf000 == 0x8000
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let within = (at % PIECE) as usize;
            let (now, later) = rest.split_at(rest.len().min(PIECE as usize - within));
            let piece = self.data.entry(at / PIECE).or_insert_with(|| vec![0; PIECE as usize]);
            piece[within..within + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
        self.size = self.size.max(offset + data.len() as u64);
    }

    fn zero(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        for (number, piece) in self.data.range_mut(from / PIECE..=to / PIECE) {
            for (n, byte) in piece.iter_mut().enumerate() {
                let at = number * PIECE + n as u64;
                if at >= from && at < to {
                    *byte = 0;
                }
            }
        }
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = (offset + len as u64).min(self.size).max(offset);
        let mut out = vec![0; (end - offset) as usize];
        for (number, piece) in self.data.range(offset / PIECE..=end / PIECE) {
            let start = number * PIECE;
            let (from, to) = (start.max(offset), (start + PIECE).min(end));
            if from < to {
                out[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&piece[(from - start) as usize..(to - start) as usize]);
            }
        }
        out
    }
}

/// The whole model.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<Ino, Node>,
    /// Unlinked inodes that are still open.
    pub(crate) open: Vec<Ino>,
    time: i64,
    pub(crate) no_space: u32,
}

impl Model {
    pub(crate) fn new() -> Self {
        let root = Node { mode: 0x41ed, links: 3, parent: Some(Ino::ROOT), ..Node::default() };
        let mut nodes = BTreeMap::new();
        nodes.insert(Ino::ROOT, root);
        Self { nodes, open: Vec::new(), time: 1_700_000_000, no_space: 0 }
    }

    fn pick(&self, random: &mut Random, want: impl Fn(&Node) -> bool) -> Option<Ino> {
        let fit: Vec<Ino> = self.nodes.iter().filter(|(_, n)| want(n)).map(|(i, _)| *i).collect();
        (!fit.is_empty()).then(|| fit[random.below(fit.len() as u64) as usize])
    }

    fn pick_entry(&self, random: &mut Random) -> Option<(Ino, Vec<u8>)> {
        let dir = self.pick(random, |n| n.is_dir() && n.links > 0 && !n.entries.is_empty())?;
        let names: Vec<_> = self.nodes[&dir].entries.keys().cloned().collect();
        Some((dir, names[random.below(names.len() as u64) as usize].clone()))
    }

    fn inside(&self, mut dir: Ino, of: Ino) -> bool {
        loop {
            if dir == of {
                return true;
            }
            if dir == Ino::ROOT {
                return false;
            }
            dir = self.nodes[&dir].parent.unwrap();
        }
    }

    fn drop_link(&mut self, ino: Ino) {
        let node = self.nodes.get_mut(&ino).unwrap();
        node.links = if node.is_dir() { 0 } else { node.links - 1 };
        if node.links == 0 {
            self.open.push(ino);
        }
    }

    /// Does one random operation on both and compares the results.
    pub(crate) async fn step<D: BlockDevice>(&mut self, fs: &Ext2<D>, random: &mut Random) {
        self.time += 1;
        let now = Time { sec: self.time, nsec: 5 };
        let dir = self.pick(random, |n| n.is_dir() && n.links > 0).unwrap();
        let name = {
            let len = if random.below(10) == 0 { 200 } else { 1 + random.below(20) };
            let mut name = format!("{:x}", random.below(40)).into_bytes();
            name.resize(name.len() + len as usize, b'n');
            name
        };
        let new = NewInode { mode: 0x81a4, uid: random.below(100_000) as u32, gid: 3, rdev: Default::default() };
        match random.below(100) {
            0..20 => {
                let mode = [0x81a4, 0x81a4, 0x81a4, 0x1180, 0xc180][random.below(5) as usize];
                let result = fs.create(dir, &name, NewInode { mode, ..new }, now).await;
                self.made(dir, name, result, Node { mode, uid: new.uid, links: 1, ..Node::default() });
            }
            20..28 => {
                let result = fs.mkdir(dir, &name, new, now).await;
                let node = Node { mode: 0x41a4, uid: new.uid, links: 2, parent: Some(dir), ..Node::default() };
                if self.made(dir, name, result, node) {
                    self.nodes.get_mut(&dir).unwrap().links += 1;
                }
            }
            28..33 => {
                let target = vec![b't'; [1, 59, 60, 61, 900][random.below(5) as usize]];
                let result = fs.symlink(dir, &name, &target, new, now).await;
                let node =
                    Node { mode: 0xa1a4, uid: new.uid, links: 1, size: target.len() as u64, target, ..Node::default() };
                self.made(dir, name, result, node);
            }
            33..38 => {
                let Some(ino) = self.pick(random, |n| !n.is_dir()) else { return };
                let result = fs.link(ino, dir, &name, now).await;
                if self.nodes[&dir].entries.contains_key(&name) {
                    assert_eq!(result, Err(Ext2Error::Exists));
                } else if self.worked(&result) {
                    self.open.retain(|o| *o != ino);
                    self.nodes.get_mut(&ino).unwrap().links += 1;
                    self.nodes.get_mut(&dir).unwrap().entries.insert(name, ino);
                }
            }
            38..50 => {
                let Some((dir, name)) = self.pick_entry(random) else { return };
                let ino = self.nodes[&dir].entries[&name];
                if self.nodes[&ino].is_dir() {
                    assert_eq!(fs.unlink(dir, &name, now).await, Err(Ext2Error::IsDirectory));
                    let result = fs.rmdir(dir, &name, now).await;
                    if self.nodes[&ino].entries.is_empty() {
                        assert_eq!(result.map(|u| u.links), Ok(0));
                        self.nodes.get_mut(&dir).unwrap().links -= 1;
                    } else {
                        assert_eq!(result, Err(Ext2Error::NotEmpty));
                        return;
                    }
                } else {
                    let gone = fs.unlink(dir, &name, now).await.unwrap();
                    assert_eq!((gone.ino, gone.links), (ino, self.nodes[&ino].links - 1));
                }
                self.nodes.get_mut(&dir).unwrap().entries.remove(&name);
                self.drop_link(ino);
            }
            50..60 => self.rename(fs, random, dir, name, now).await,
            60..80 => {
                let Some(ino) = self.pick(random, Node::is_file) else { return };
                let offset = match random.below(6) {
                    0 if random.below(8) == 0 => random.below(70 << 20),
                    0 => random.below(2 << 20),
                    1 => random.below(600_000),
                    2 => random.below(40) * 1024,
                    3 => self.nodes[&ino].size,
                    _ => random.below(20_000),
                };
                let most = [10, 1024, 4096, 30_000, 300_000][random.below(5) as usize];
                let len = random.below(most) as usize;
                let data = random.bytes(len);
                match fs.write(ino, offset, &data, now).await {
                    Ok(done) => {
                        if done < len {
                            self.no_space += 1;
                        }
                        if done > 0 {
                            self.nodes.get_mut(&ino).unwrap().write(offset, &data[..done]);
                        }
                    }
                    Err(error) => {
                        assert_eq!(error, Ext2Error::NoSpace);
                        self.no_space += 1;
                    }
                }
            }
            80..85 => {
                let Some(ino) = self.pick(random, Node::is_file) else { return };
                let old = self.nodes[&ino].size;
                let size = if random.below(2) == 0 { random.below(old + 1) } else { random.below(400_000) };
                fs.truncate(ino, size, now).await.unwrap();
                let node = self.nodes.get_mut(&ino).unwrap();
                if size < old {
                    node.zero(size, old);
                }
                node.size = size;
            }
            85..87 => {
                let Some(ino) = self.pick(random, Node::is_file) else { return };
                let (from, len) = (random.below(300_000), random.below(300_000));
                fs.punch_hole(ino, from, len, now).await.unwrap();
                let node = self.nodes.get_mut(&ino).unwrap();
                node.zero(from, (from + len).min(node.size));
            }
            87..90 => {
                let Some(ino) = self.pick(random, |_| true) else { return };
                let uid = random.below(1 << 20) as u32;
                fs.set_attr(ino, SetAttr { uid: Some(uid), ctime: Some(now), ..SetAttr::default() }).await.unwrap();
                self.nodes.get_mut(&ino).unwrap().uid = uid;
            }
            90..95 => {
                let Some(ino) = self.pick(random, |_| true) else { return };
                let name = format!("user.{}", random.below(6)).into_bytes();
                if random.below(3) == 0 {
                    let had = self.nodes.get_mut(&ino).unwrap().xattrs.remove(&name).is_some();
                    let result = fs.remove_xattr(ino, &name, now).await;
                    assert_eq!(result, if had { Ok(()) } else { Err(Ext2Error::NoAttribute) });
                } else {
                    let len = random.below(random.0 % 300 + 1) as usize;
                    let value = random.bytes(len);
                    let result = fs.set_xattr(ino, &name, &value, SetXattr::CreateOrReplace, now).await;
                    if self.worked(&result) {
                        self.nodes.get_mut(&ino).unwrap().xattrs.insert(name, value);
                    }
                }
            }
            _ => {
                let Some(ino) = self.open.pop() else { return };
                fs.release(ino).await.unwrap();
                self.nodes.remove(&ino);
                assert_eq!(fs.inode(ino).await, Err(Ext2Error::NotFound));
            }
        }
    }

    fn worked<T>(&mut self, result: &Result<T, Ext2Error>) -> bool {
        match result {
            Ok(_) => true,
            Err(Ext2Error::NoSpace) => {
                self.no_space += 1;
                false
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn made(&mut self, dir: Ino, name: Vec<u8>, result: Result<Ino, Ext2Error>, node: Node) -> bool {
        if self.nodes[&dir].entries.contains_key(&name) {
            // With no free inode that is noticed first.
            assert!(matches!(result, Err(Ext2Error::Exists | Ext2Error::NoSpace)), "{result:?}");
            return false;
        }
        if !self.worked(&result) {
            return false;
        }
        let ino = result.unwrap();
        assert!(self.nodes.insert(ino, node).is_none(), "inode {ino:?} was in use");
        self.nodes.get_mut(&dir).unwrap().entries.insert(name, ino);
        true
    }

    async fn rename<D: BlockDevice>(&mut self, fs: &Ext2<D>, random: &mut Random, dir: Ino, name: Vec<u8>, now: Time) {
        let Some((old_dir, old_name)) = self.pick_entry(random) else { return };
        let (dir, name) = if random.below(2) == 0 { (dir, name) } else { self.pick_entry(random).unwrap() };
        let mode = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange][random.below(3) as usize];
        let ino = self.nodes[&old_dir].entries[&old_name];
        let target = self.nodes[&dir].entries.get(&name).copied();
        let result = fs.rename(old_dir, &old_name, dir, &name, mode, now).await;
        let is_dir = self.nodes[&ino].is_dir();
        if is_dir && old_dir != dir && self.inside(dir, ino) {
            assert!(matches!(result, Err(Ext2Error::Invalid(_))), "{result:?}");
            return;
        }
        match (target, mode) {
            (Some(_), RenameMode::NoReplace) => assert_eq!(result, Err(Ext2Error::Exists)),
            (None, RenameMode::Exchange) => assert_eq!(result, Err(Ext2Error::NotFound)),
            (Some(target), _) if target == ino => assert_eq!(result, Ok(None)),
            (Some(target), RenameMode::Exchange) => {
                let other_is_dir = self.nodes[&target].is_dir();
                if other_is_dir && old_dir != dir && self.inside(old_dir, target) {
                    assert!(matches!(result, Err(Ext2Error::Invalid(_))), "{result:?}");
                    return;
                }
                assert_eq!(result, Ok(None));
                self.nodes.get_mut(&dir).unwrap().entries.insert(name, ino);
                self.nodes.get_mut(&old_dir).unwrap().entries.insert(old_name, target);
                self.reparent(ino, old_dir, dir);
                self.reparent(target, dir, old_dir);
            }
            (Some(target), _) => {
                let other = &self.nodes[&target];
                match (is_dir, other.is_dir()) {
                    (true, false) => return assert_eq!(result, Err(Ext2Error::NotDirectory)),
                    (false, true) => return assert_eq!(result, Err(Ext2Error::IsDirectory)),
                    (true, true) if !other.entries.is_empty() => return assert_eq!(result, Err(Ext2Error::NotEmpty)),
                    _ => {}
                }
                assert_eq!(result.map(|gone| gone.map(|g| g.ino)), Ok(Some(target)));
                if is_dir {
                    self.nodes.get_mut(&dir).unwrap().links -= 1;
                }
                self.nodes.get_mut(&old_dir).unwrap().entries.remove(&old_name);
                self.nodes.get_mut(&dir).unwrap().entries.insert(name, ino);
                self.drop_link(target);
                self.reparent(ino, old_dir, dir);
            }
            (None, _) => {
                if self.worked(&result) {
                    self.nodes.get_mut(&old_dir).unwrap().entries.remove(&old_name);
                    self.nodes.get_mut(&dir).unwrap().entries.insert(name, ino);
                    self.reparent(ino, old_dir, dir);
                }
            }
        }
    }

    fn reparent(&mut self, ino: Ino, from: Ino, to: Ino) {
        if self.nodes[&ino].is_dir() && from != to {
            self.nodes.get_mut(&ino).unwrap().parent = Some(to);
            self.nodes.get_mut(&from).unwrap().links -= 1;
            self.nodes.get_mut(&to).unwrap().links += 1;
        }
    }

    /// Compares everything.
    pub(crate) async fn compare<D: BlockDevice>(&self, fs: &Ext2<D>) {
        for (ino, node) in &self.nodes {
            let inode = fs.inode(*ino).await.unwrap_or_else(|e| panic!("{ino:?} {node:?}: {e}"));
            assert_eq!(inode.links, node.links, "links of {ino:?}");
            if *ino != Ino::ROOT {
                assert_eq!((inode.mode, inode.uid), (node.mode, node.uid), "{ino:?}");
            }
            let mut names = fs.list_xattrs(*ino).await.unwrap();
            names.sort();
            assert_eq!(names, node.xattrs.keys().cloned().collect::<Vec<_>>());
            for (name, value) in &node.xattrs {
                assert_eq!(&fs.get_xattr(*ino, name).await.unwrap(), value);
            }
            match inode.file_type() {
                FileType::Directory => self.compare_directory(fs, *ino, node).await,
                FileType::Symlink => assert_eq!(fs.read_link(*ino).await.unwrap(), node.target),
                FileType::Regular => {
                    assert_eq!(inode.size, node.size, "size of {ino:?}");
                    let mut at = 0;
                    while at < node.size {
                        let mut data = vec![1; 100_000];
                        let got = fs.read(*ino, at, &mut data).await.unwrap();
                        assert!(data[..got] == node.read(at, 100_000), "data of {ino:?} at {at}");
                        at += got as u64;
                    }
                }
                _ => {}
            }
        }
        let mut listed = fs.orphans();
        let mut open = self.open.clone();
        listed.sort();
        open.sort();
        assert_eq!(listed, open);
    }

    async fn compare_directory<D: BlockDevice>(&self, fs: &Ext2<D>, ino: Ino, node: &Node) {
        let mut found = BTreeMap::new();
        let mut cookie = 0;
        loop {
            let some = fs.read_dir(ino, cookie).await.unwrap();
            let Some(last) = some.last() else { break };
            cookie = last.next;
            found.extend(some.into_iter().map(|e| (e.name, e.ino)));
        }
        assert_eq!(found.remove(&b"."[..]), Some(ino));
        assert_eq!(found.remove(&b".."[..]), node.parent);
        found.remove(&b"lost+found"[..]);
        assert_eq!(found, node.entries, "entries of {ino:?}");
    }
}
