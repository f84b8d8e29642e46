//! Scratch directories, e2fsprogs and a way to run futures that never really wait.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

/// Polls a future until it is done; everything below it makes progress by being polled.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..10_000_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
    panic!("the future waits for something that never comes");
}

/// A directory removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ext2-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool of e2fsprogs, which may be in a directory that is only in root's path.
pub(crate) fn tool(name: &str, args: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    Command::new(name)
        .args(args)
        .env("PATH", path)
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("{name} of e2fsprogs is needed: {e}"))
}

/// Runs a tool that must succeed; returns what it printed.
pub(crate) fn run(name: &str, args: &[&str]) -> String {
    let output = tool(name, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{name} {args:?}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Makes an image with `mke2fs`.
pub(crate) fn mke2fs(image: &Path, size: &str, args: &[&str]) {
    let mut all = vec!["-q", "-F", "-t", "ext2"];
    all.extend_from_slice(args);
    let image = image.to_str().unwrap();
    all.extend_from_slice(&[image, size]);
    run("mke2fs", &all);
}

/// Fails unless `e2fsck` finds nothing at all.
#[track_caller]
pub(crate) fn assert_clean(image: &Path) {
    let output = tool("e2fsck", &["-fn", image.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "e2fsck: {}\n{text}", output.status);
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() & 0xff) as u8).collect()
    }
}
