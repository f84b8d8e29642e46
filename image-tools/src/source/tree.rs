//! Building the tree of an image out of entries with paths.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use block_proto::section::ImageConfig;
use ext2::format::{Content, Metadata, Node, NodeId, Tree};
use ext2::{FileType, Time};

use super::data::Data;

/// Links followed while a path is resolved; Linux's own limit.
const LINKS_MAX: u32 = 40;

/// All files of an image before it is laid out.
pub(crate) struct Files {
    pub(crate) tree: Tree,
    pub(crate) data: HashMap<NodeId, Data>,
    /// What a container image says about its processes.
    pub(crate) config: ImageConfig,
    /// The latest modification of any file, which dates the image.
    pub(crate) newest: i64,
}

/// What to do where a path goes on and the tree does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Stop,
}

/// Owner, mode and times. Access and change times are the modification time: what a source has there depends on who read or
/// copied it, and the same inputs must give the same image.
pub(crate) fn metadata(mode: u16, uid: u32, gid: u32, mtime: Time) -> Metadata {
    Metadata { mode: mode & 0o7777, uid, gid, mtime, atime: mtime, ctime: mtime }
}

impl Files {
    pub(crate) fn new() -> Self {
        let root = metadata(0o755, 0, 0, Time::default());
        Self { tree: Tree::new(root), data: HashMap::new(), config: ImageConfig::default(), newest: 0 }
    }

    /// Puts a node at a path, in place of what is there; a directory over a directory keeps what is in it.
    pub(crate) fn put(&mut self, path: &[u8], node: Node, data: Option<Data>) -> Result<()> {
        self.newest = self.newest.max(node.metadata.mtime.sec);
        let parts = components(path)?;
        let is_directory = node.content == Content::Directory;
        let Some((name, parents)) = parts.split_last() else {
            ensure!(is_directory, "the root is not a directory");
            self.tree.set_metadata(Tree::ROOT, node.metadata, node.xattrs);
            return Ok(());
        };
        let parent = self.directory(parents)?;
        if let Some(found) = self.tree.child(parent, name) {
            if is_directory && self.is_directory(found) {
                self.tree.set_metadata(found, node.metadata, node.xattrs);
                return Ok(());
            }
            self.tree.remove(parent, name)?;
        }
        let id = self.tree.add(parent, name, node)?;
        if let Some(data) = data {
            if let Some(ranges) = data.ranges()? {
                self.tree.set_data(id, ranges);
            }
            self.data.insert(id, data);
        }
        Ok(())
    }

    /// Gives an existing node another name.
    pub(crate) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (parts, target_parts) = (components(path)?, components(target)?);
        let missing = || format!("the link's target {} does not exist", String::from_utf8_lossy(target));
        let (target_name, target_parents) = target_parts.split_last().with_context(missing)?;
        let target_parent = self.directory(target_parents)?;
        let node = self.tree.child(target_parent, target_name).with_context(missing)?;
        let (name, parents) = parts.split_last().context("a link in place of the root")?;
        let parent = self.directory(parents)?;
        match self.tree.child(parent, name) {
            // A link to itself changes nothing.
            Some(found) if found == node => return Ok(()),
            Some(_) => self.tree.remove(parent, name)?,
            None => {}
        }
        Ok(self.tree.link(parent, name, node)?)
    }

    /// Removes a path, if it is there, with everything below it.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<()> {
        let parts = components(path)?;
        let (name, parents) = parts.split_last().context("the root cannot be removed")?;
        let parent = self.directory(parents)?;
        if self.tree.child(parent, name).is_some() {
            self.tree.remove(parent, name)?;
        }
        Ok(())
    }

    /// Removes everything in a directory.
    pub(crate) fn empty(&mut self, path: &[u8]) -> Result<()> {
        let directory = self.directory(&components(path)?)?;
        let names: Vec<Vec<u8>> = self.tree.children(directory).map(|(name, _)| name.to_vec()).collect();
        names.iter().try_for_each(|name| self.tree.remove(directory, name))?;
        Ok(())
    }

    /// Finds a node by its path, following links on the way but not at the end.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Option<NodeId>> {
        let parts = components(path)?;
        let Some((name, parents)) = parts.split_last() else { return Ok(Some(Tree::ROOT)) };
        Ok(match self.walk(parents, Missing::Stop)? {
            Some(parent) if self.is_directory(parent) => self.tree.child(parent, name),
            _ => None,
        })
    }

    fn is_directory(&self, node: NodeId) -> bool {
        self.tree.node(node).content.file_type() == FileType::Directory
    }

    /// Walks to a directory; what is missing is made.
    fn directory(&mut self, parts: &[Vec<u8>]) -> Result<NodeId> {
        let shown = || format!("{} is not a directory", String::from_utf8_lossy(&parts.join(&b'/')));
        self.walk(parts, Missing::Make)?.with_context(shown)
    }

    /// Walks to a directory as `chroot` would: links are followed, but never out of the tree. `None` if it is none.
    fn walk(&mut self, parts: &[Vec<u8>], missing: Missing) -> Result<Option<NodeId>> {
        let mut todo: Vec<Vec<u8>> = parts.iter().rev().cloned().collect();
        let mut trail = vec![Tree::ROOT];
        let mut links = 0;
        while let Some(part) = todo.pop() {
            let at = trail.last().copied().unwrap_or(Tree::ROOT);
            if part == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let Some(next) = self.tree.child(at, &part) else {
                if missing == Missing::Stop {
                    return Ok(None);
                }
                let made = Node::new(metadata(0o755, 0, 0, Time::default()), Content::Directory);
                trail.push(self.tree.add(at, &part, made)?);
                continue;
            };
            match &self.tree.node(next).content {
                Content::Directory => trail.push(next),
                Content::Symlink { target } => {
                    links += 1;
                    ensure!(links <= LINKS_MAX, "too many links on the way");
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    let parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
                    let parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
                    todo.extend(parts.into_iter().rev());
                }
                _ => return Ok(None),
            }
        }
        Ok(trail.last().copied())
    }
}

/// The parts of a path in an archive. `..` could lead out of the image.
pub(crate) fn components(path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    ensure!(!parts.iter().any(|part| part == b".."), "the path {} has `..` in it", String::from_utf8_lossy(path));
    Ok(parts)
}

/// A node with attributes.
pub(crate) fn node(metadata: Metadata, content: Content, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> Node {
    Node { metadata, content, xattrs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Node {
        Node::new(metadata(0o644, 0, 0, Time { sec: 5, nsec: 0 }), Content::File { size: 0 })
    }

    fn directory() -> Node {
        Node::new(metadata(0o700, 1, 2, Time::default()), Content::Directory)
    }

    fn link(target: &str) -> Node {
        Node::new(metadata(0o777, 0, 0, Time::default()), Content::Symlink { target: target.into() })
    }

    #[test]
    fn paths_go_through_links_but_never_out() {
        let mut files = Files::new();
        files.put(b"./usr/bin/", directory(), None).expect("puts");
        files.put(b"bin", link("usr/bin"), None).expect("puts");
        files.put(b"up", link("../../../usr"), None).expect("puts");
        files.put(b"bin/ls", file(), None).expect("puts");
        files.put(b"/up/bin/cat", file(), None).expect("puts");
        assert!(files.find(b"usr/bin/ls").expect("walks").is_some());
        assert!(files.find(b"usr/bin/cat").expect("walks").is_some());
        assert!(files.put(b"../etc/passwd", file(), None).is_err());
        assert!(files.put(b"a/../../b", file(), None).is_err());
        files.put(b"loop", link("loop"), None).expect("puts");
        assert!(files.put(b"loop/x", file(), None).is_err());
        assert!(files.put(b"bin/ls/x", file(), None).is_err());
        assert_eq!(files.newest, 5);
    }

    #[test]
    fn a_directory_again_keeps_its_content_and_anything_else_replaces() {
        let mut files = Files::new();
        files.put(b"d/f", file(), None).expect("puts");
        files.put(b"d", directory(), None).expect("puts");
        assert!(files.find(b"d/f").expect("walks").is_some());
        let found = files.find(b"d").expect("walks").expect("is there");
        assert_eq!(files.tree.node(found).metadata.mode, 0o700);
        files.put(b"d", file(), None).expect("puts");
        assert!(files.find(b"d/f").expect("walks").is_none());
        files.link(b"e", b"d").expect("links");
        assert_eq!(files.find(b"e").expect("walks"), files.find(b"d").expect("walks"));
        assert!(files.link(b"e", b"absent").is_err());
        files.remove(b"e").expect("removes");
        assert!(files.find(b"d").expect("walks").is_some());
    }
}
