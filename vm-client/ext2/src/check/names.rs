//! Who is named where.

use std::collections::{BTreeMap, HashSet};

use vm_block::BlockDevice;

use super::{Checker, Place};
use crate::dir;
use crate::error::Ext2Error;
use crate::{FileType, Ino, Inode};

/// What the walk through the directories has found.
#[derive(Default)]
struct Seen {
    names: BTreeMap<u32, u32>,
    /// The directory each directory is named in.
    parents: BTreeMap<u32, u32>,
}

impl<D: BlockDevice> Checker<'_, D> {
    /// Reads every directory and compares names with inodes.
    pub(super) async fn walk_names(&mut self) -> Result<(), Ext2Error> {
        let mut seen = Seen::default();
        let root = Place::Inode(Ino::ROOT);
        match self.inodes.get(&Ino::ROOT.0) {
            Some(inode) if inode.is_dir() => {}
            _ => self.report.add(root, "the root is not a directory"),
        }
        seen.parents.insert(Ino::ROOT.0, Ino::ROOT.0);
        let directories: Vec<(u32, Inode)> =
            self.inodes.iter().filter(|(_, i)| i.is_dir() && i.links > 0).map(|(n, i)| (*n, i.clone())).collect();
        // Entries first, so that `..` can be compared with where each directory is really named.
        let mut dot_dots = Vec::new();
        for (ino, inode) in &directories {
            if let Some(parent) = self.read_names(Ino(*ino), inode, &mut seen).await? {
                dot_dots.push((*ino, parent));
            }
        }
        for (ino, parent) in dot_dots {
            match seen.parents.get(&ino) {
                Some(real) if *real == parent => {}
                Some(real) => {
                    self.report.add(Place::Inode(Ino(ino)), format!("has `..` {parent} but is named in {real}"));
                }
                None => self.report.add(Place::Inode(Ino(ino)), "is a directory without a name"),
            }
        }
        self.compare_links(&seen);
        self.compare_roots(&seen, directories.iter().map(|(ino, _)| *ino));
        Ok(())
    }

    /// Reads one directory; returns its `..`.
    async fn read_names(&mut self, ino: Ino, inode: &Inode, seen: &mut Seen) -> Result<Option<u32>, Ext2Error> {
        let place = Place::Inode(ino);
        let sb = &self.fs.superblock;
        if inode.size == 0 || !inode.size.is_multiple_of(u64::from(sb.block_size)) {
            self.report.add(place, "is a directory whose size is not whole blocks");
            return Ok(None);
        }
        let mut names = HashSet::new();
        let mut parent = None;
        for lblock in 0..dir::block_count(sb, inode) {
            let block = match dir::read_block(self.fs, ino, inode, lblock).await {
                Ok((_, block)) => block,
                Err(error) => {
                    self.note_error(place, error)?;
                    break;
                }
            };
            for raw in dir::entries(sb, ino, lblock, &block) {
                let raw = match raw {
                    Ok(raw) => raw,
                    Err(error) => {
                        self.note_error(place, error)?;
                        break;
                    }
                };
                let expected = match (lblock, raw.offset) {
                    (0, 0) => Some(&b"."[..]),
                    (0, 12) => Some(&b".."[..]),
                    _ => None,
                };
                if expected.is_some_and(|name| raw.ino == 0 || raw.name != name) {
                    self.report.add(place, "does not start with `.` and `..`");
                }
                if raw.ino == 0 {
                    continue;
                }
                let text = String::from_utf8_lossy(raw.name).into_owned();
                if !names.insert(raw.name.to_vec()) {
                    self.report.add(place, format!("has the name {text:?} twice"));
                }
                if raw.name.contains(&0) || raw.name.contains(&b'/') {
                    self.report.add(place, format!("has the impossible name {text:?}"));
                }
                *seen.names.entry(raw.ino).or_default() += 1;
                let Some(target) = self.inodes.get(&raw.ino).filter(|target| target.links > 0) else {
                    self.report.add(place, format!("names {text:?}, inode {}, which is not in use", raw.ino));
                    continue;
                };
                let kind = FileType::of_code(raw.code);
                if sb.has_filetype() && kind != target.file_type() {
                    self.report.add(place, format!("names {text:?} as {kind:?}, which it is not"));
                }
                match raw.name {
                    b"." if raw.ino != ino.0 => self.report.add(place, "has a `.` that is not itself"),
                    b".." => parent = Some(raw.ino),
                    b"." => {}
                    _ if target.is_dir() && seen.parents.insert(raw.ino, ino.0).is_some() => {
                        self.report.add(place, format!("names {text:?}, a directory that has another name"));
                    }
                    _ => {}
                }
            }
        }
        Ok(parent)
    }

    fn compare_links(&mut self, seen: &Seen) {
        let first = self.fs.superblock.first_ino;
        let counted: Vec<(u32, u16)> = self.inodes.iter().map(|(ino, inode)| (*ino, inode.links)).collect();
        for (ino, links) in counted {
            let names = seen.names.get(&ino).copied().unwrap_or(0);
            let reserved = ino < first && ino != Ino::ROOT.0;
            if !reserved && names != u32::from(links) {
                self.report.add(Place::Inode(Ino(ino)), format!("counts {links} links of {names}"));
            }
        }
    }

    /// Every directory must lead up to the root.
    fn compare_roots(&mut self, seen: &Seen, directories: impl Iterator<Item = u32>) {
        let mut good = HashSet::from([Ino::ROOT.0]);
        for start in directories {
            let mut way = Vec::new();
            let mut at = start;
            let rooted = loop {
                if good.contains(&at) {
                    break true;
                }
                if way.contains(&at) {
                    break false;
                }
                way.push(at);
                match seen.parents.get(&at) {
                    Some(parent) => at = *parent,
                    None => break false,
                }
            };
            if rooted {
                good.extend(way);
            } else {
                self.report.add(Place::Inode(Ino(start)), "is a directory that is not below the root");
            }
        }
    }
}
