//! What the programs promise of the disk, and for which states.

use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Content of a file: size and FNV-1a.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    pub size: u64,
    pub hash: u64,
}

impl Content {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        Self { size: bytes.len() as u64, hash }
    }
}

/// Something that holds in the states after so many commits.
#[derive(Clone, Debug)]
pub struct Promise {
    pub path: String,
    /// What the file may hold; nothing means that it is absent.
    pub allowed: Vec<Content>,
    pub states: RangeInclusive<usize>,
}

/// Something of a program's own that holds in every state after so many commits: rows of a database, a commit of git.
#[derive(Clone, Debug)]
pub struct Mark {
    pub text: String,
    pub from: usize,
}

/// Everything a run has promised.
pub struct Said {
    /// Of files, those first that begin first.
    pub promises: Vec<Promise>,
    /// In the order they were made.
    pub marks: Vec<Mark>,
}

/// Takes down what a program says.
#[derive(Default)]
pub struct Ledger {
    line: Vec<u8>,
    open: HashMap<String, Promise>,
    closed: Vec<Promise>,
    marks: Vec<Mark>,
    done: bool,
}

impl Ledger {
    /// Takes output of the program, when `count` commits are recorded, `strict` of them up to the last strict one.
    pub fn take(&mut self, output: &[u8], count: usize, strict: usize) {
        for &byte in output {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.line(&String::from_utf8(line).expect("programs print text"), count, strict);
            } else {
                self.line.push(byte);
            }
        }
    }

    fn line(&mut self, line: &str, count: usize, strict: usize) {
        let words: Vec<&str> = line.split(' ').collect();
        let content = |at: usize| Content {
            size: words[at].parse().expect("a size"),
            hash: u64::from_str_radix(words[at + 1], 16).expect("a hash"),
        };
        let (from, allowed) = match words[0] {
            "B" => return self.close(words[1], count),
            "S" => (strict, vec![content(2)]),
            "R" => (count, vec![content(2), content(4)]),
            "A" => (strict, Vec::new()),
            "M" => {
                self.marks.push(Mark { text: words[1].to_owned(), from: strict });
                return;
            }
            "done" => {
                self.done = true;
                return;
            }
            other => panic!("the program printed {other:?} in {line:?}"),
        };
        self.close(words[1], count);
        let path = words[1].to_owned();
        self.open.insert(path.clone(), Promise { path, allowed, states: from..=usize::MAX });
    }

    fn close(&mut self, path: &str, count: usize) {
        if let Some(promise) = self.open.remove(path) {
            let states = *promise.states.start()..=count;
            self.closed.push(Promise { states, ..promise });
        }
    }

    /// Everything said.
    pub fn finish(mut self) -> Said {
        assert!(self.done, "the program has not come to its end");
        self.closed.extend(self.open.into_values());
        self.closed.sort_by_key(|promise| *promise.states.start());
        Said { promises: self.closed, marks: self.marks }
    }
}
