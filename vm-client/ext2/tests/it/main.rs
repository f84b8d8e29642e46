//! The crate against e2fsprogs: images made by `mke2fs`, our changes judged by `e2fsck` and read back by `debugfs`.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

mod changing;
mod checking;
mod crashing;
mod formatting;
mod host;
mod model;
mod reading;
