//! Files on their way from one process to another (SCM_RIGHTS, unix(7)), and those that can never arrive.
//!
//! A Unix socket that waits in a queue that only it, or others like it, could read is garbage although something refers to it. As
//! Linux does, a file all of whose references are on their way is a candidate; candidates that wait in the queue of a socket
//! somebody can read are not; what is left goes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use super::Socket;
use super::unix::Unix;
use crate::vfs::OpenFile;

/// Files that one message takes along. Counted as on their way until dropped.
pub(crate) struct Rights {
    files: Vec<Rc<OpenFile>>,
    counts: Rc<RefCell<Counts>>,
}

type Counts = HashMap<usize, (Weak<OpenFile>, usize)>;

/// All files on their way, with how often.
#[derive(Default)]
pub(crate) struct InFlight {
    counts: Rc<RefCell<Counts>>,
    collecting: Cell<bool>,
}

fn key(file: &Rc<OpenFile>) -> usize {
    Rc::as_ptr(file) as usize
}

impl InFlight {
    /// Sends files on their way.
    pub(crate) fn send(&self, files: Vec<Rc<OpenFile>>) -> Rc<Rights> {
        let mut counts = self.counts.borrow_mut();
        for file in &files {
            counts.entry(key(file)).or_insert_with(|| (Rc::downgrade(file), 0)).1 += 1;
        }
        drop(counts);
        Rc::new(Rights { files, counts: Rc::clone(&self.counts) })
    }

    /// How many are on their way.
    pub(crate) fn len(&self) -> usize {
        self.counts.borrow().values().map(|(_, count)| count).sum()
    }

    /// Drops what can never be received. Called when a Unix socket closes.
    pub(crate) fn collect(&self) {
        if self.counts.borrow().is_empty() || self.collecting.replace(true) {
            return;
        }
        let garbage = self.find_garbage();
        for unix in garbage {
            unix.forget_queue();
        }
        self.collecting.set(false);
    }

    fn find_garbage(&self) -> Vec<Rc<Unix>> {
        // Candidates: sockets with no reference but those in queues.
        let mut inside: HashMap<usize, (Rc<Unix>, usize)> = HashMap::new();
        for (key, (file, count)) in &*self.counts.borrow() {
            if file.strong_count() != *count {
                continue;
            }
            let Some(file) = file.upgrade() else { continue };
            if let Some(unix) = file.downcast::<Socket>().and_then(Socket::as_unix) {
                inside.insert(*key, (unix, *count));
            }
        }
        // References from the queues of candidates do not count.
        let children: HashMap<usize, Vec<usize>> = inside
            .iter()
            .map(|(parent, (unix, _))| (*parent, unix.files_in_queue().iter().map(key).collect()))
            .collect();
        for child in children.values().flatten() {
            if let Some((_, count)) = inside.get_mut(child) {
                *count = count.saturating_sub(1);
            }
        }
        // Those with references left wait where somebody can read, and so does what waits in them.
        let mut reachable: Vec<usize> =
            inside.iter().filter(|(_, (_, count))| *count > 0).map(|(key, _)| *key).collect();
        while let Some(parent) = reachable.pop() {
            if inside.remove(&parent).is_some()
                && let Some(children) = children.get(&parent)
            {
                reachable.extend(children.iter().filter(|child| inside.contains_key(child)));
            }
        }
        inside.into_values().map(|(unix, _)| unix).collect()
    }
}

impl Rights {
    /// The files.
    pub(crate) fn files(&self) -> &[Rc<OpenFile>] {
        &self.files
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        for file in &self.files {
            let key = key(file);
            if let Some((_, count)) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}
