//! The machine in a browser tab or in Node: `vm-machine` with everything outside it done by JavaScript.
//!
//! Compiled to one wasm module that runs in a Web Worker without SharedArrayBuffer, or in Node. JavaScript (`npm/`) owns
//! the event loop: it calls [`Vm::turn`] until there is nothing to do and hands in keys, file data and network replies.
//! What the machine asks of JavaScript is the interface [`host::Host`], implemented in `npm/host.js`.
//!
//! - [`Vm`]: the exported class, one machine.
//! - [`clock`], [`console`](mod@console): the kernel's host traits.
//! - `code`: where generated code is installed and called.
//! - [`image`]: images of every kind; [`layers`]: those put together here; [`disk`]: an image with its changes; [`mounts`]:
//!   the calls that mount them.
//! - [`files`]: files of the guest, for the page.
//! - [`stream`]: output of programs without a terminal.
//! - [`network`]: `fetch` and `WebSocket` for the remote disk's client.
//! - [`overlay`], [`presence`]: written pages in IndexedDB.
//! - [`later`]: promises as futures that wake the event loop.
//!
//! Left out: anything that decides what Linux does. That is `vm-kernel`.

pub mod clock;
#[cfg(target_arch = "wasm32")]
pub mod code;
pub mod console;
pub mod disk;
pub mod files;
pub mod host;
pub mod image;
pub mod later;
pub mod layers;
pub mod mounts;
pub mod network;
pub mod overlay;
pub mod presence;
pub mod stream;
pub mod vm;

pub use vm::Vm;
