//! The real client, as `vmrun` has it: remote image, chunk cache, device.

use std::rc::Rc;

use vm_block::remote::native::{NativeHost, NativeOptions};
use vm_block::remote::{ImageRef, OpenOptions, Remote};
use vm_block::{CHUNK_SIZE, ChunkCache};

/// An open image.
pub struct Disk {
    /// The device over it.
    pub device: Rc<ChunkCache<Remote>>,
    /// The client of the store.
    pub remote: Remote,
    host: NativeHost,
}

impl Disk {
    /// Opens an image by its name, with room for so many chunks in memory.
    pub fn open(image: &str, chunks: usize) -> Self {
        Self::open_with(image, chunks, true)
    }

    /// The same, with sockets or without.
    pub fn open_with(image: &str, chunks: usize, sockets: bool) -> Self {
        let host = NativeHost::start_with(&NativeOptions::default()).expect("starts");
        let image: ImageRef = image.parse().expect("a name");
        let options = OpenOptions { sockets, ..OpenOptions::default() };
        let opened = tokio::task::block_in_place(|| host.run(Remote::open(host.remote_host(), &image, options)));
        let (remote, background) = opened.unwrap_or_else(|error| panic!("{image}: {error}"));
        host.spawn(background);
        let device = Rc::new(ChunkCache::new(remote.clone(), chunks * CHUNK_SIZE));
        let cache = Rc::clone(&device);
        host.spawn(Box::pin(async move { cache.run().await }));
        Self { device, remote, host }
    }

    /// Waits for something of this disk. A test's own runtime must not count what its network does as work of one task,
    /// and have it pause: nobody here would ever yield.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::task::block_in_place(|| self.host.run(future))
    }
}

/// The same numbers at each run.
pub struct Random(u64);

impl Random {
    /// Starts from a seed that is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end.max(1)
    }
}
