//! The crate against e2fsprogs: images made by `mke2fs`, our changes judged by `e2fsck` and read back by `debugfs`.

mod changing;
mod formatting;
mod host;
mod model;
mod reading;
