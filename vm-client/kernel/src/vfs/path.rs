//! Places in the tree.

use std::rc::Rc;

use super::{Dentry, Inode, Mount};

/// A place in the tree: a name as seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mount: Rc<Mount>,
    /// The name.
    pub dentry: Rc<Dentry>,
}

impl Path {
    /// The inode.
    pub fn inode(&self) -> &Rc<dyn Inode> {
        self.dentry.inode()
    }

    /// Whether both are the same name seen through the same mount.
    pub fn is_same(&self, other: &Path) -> bool {
        Rc::ptr_eq(&self.mount, &other.mount) && Rc::ptr_eq(&self.dentry, &other.dentry)
    }

    /// The place above, through mount points; `None` at the top.
    pub(super) fn up(&self) -> Option<Path> {
        let mut at = self.clone();
        while Rc::ptr_eq(&at.dentry, &at.mount.root) {
            at = at.mount.point()?;
        }
        let dentry = at.dentry.parent()?;
        Some(Path { mount: at.mount, dentry })
    }

    /// The name from `root` down (Linux's `d_path`), and whether `root` was met on the way up.
    fn names_from(&self, root: &Path) -> (Vec<u8>, bool) {
        let mut parts: Vec<Box<[u8]>> = Vec::new();
        let mut at = self.clone();
        let reached = loop {
            if at.is_same(root) {
                break true;
            }
            if Rc::ptr_eq(&at.dentry, &at.mount.root) {
                match at.mount.point() {
                    Some(point) => at = point,
                    None => break false,
                }
                continue;
            }
            let Some(parent) = at.dentry.parent() else { break false };
            parts.push(at.dentry.name());
            at.dentry = parent;
        };
        let mut out = Vec::new();
        for part in parts.iter().rev() {
            out.push(b'/');
            out.extend_from_slice(part);
        }
        if out.is_empty() {
            out.push(b'/');
        }
        (out, reached)
    }

    /// The path name as seen from `root`, with `(unreachable)` before and ` (deleted)` behind it where due.
    pub fn display(&self, root: &Path) -> Vec<u8> {
        let (mut name, reached) = self.names_from(root);
        if !reached {
            name.splice(0..0, *b"(unreachable)");
        }
        if self.dentry.unlinked() {
            name.extend_from_slice(b" (deleted)");
        }
        name
    }

    /// The path name from the top of the tree, with ` (deleted)` behind it where due.
    pub fn absolute(&self) -> Vec<u8> {
        let mut mount = Rc::clone(&self.mount);
        while let Some(point) = mount.point() {
            mount = point.mount;
        }
        let dentry = Rc::clone(&mount.root);
        self.display_proc(&Path { mount, dentry })
    }

    /// The path name as /proc shows it: like [`Path::display`], without the mark for places outside the root.
    pub fn display_proc(&self, root: &Path) -> Vec<u8> {
        let (mut name, _) = self.names_from(root);
        if self.dentry.unlinked() {
            name.extend_from_slice(b" (deleted)");
        }
        name
    }
}
