//! What the machine asks of JavaScript. The other side is `npm/host.js`, its types are in `npm/host.d.ts`.

use js_sys::{Array, Float64Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The surroundings of one machine.
    #[derive(Clone)]
    pub type Host;

    /// Milliseconds since an arbitrary point; never goes back.
    #[wasm_bindgen(method)]
    pub fn now(this: &Host) -> f64;

    /// Milliseconds since the Unix epoch.
    #[wasm_bindgen(method, js_name = wallClock)]
    pub fn wall_clock(this: &Host) -> f64;

    /// Fills the buffer with random bytes fit for cryptography.
    #[wasm_bindgen(method)]
    pub fn random(this: &Host, buffer: &mut [u8]);

    /// Asks for a call of `Vm::turn` soon. Cheap when one is already due.
    #[wasm_bindgen(method)]
    pub fn kick(this: &Host);

    /// Shows output of a virtual terminal. The bytes are only valid during the call.
    #[wasm_bindgen(method, js_name = consoleWrite)]
    pub fn console_write(this: &Host, vt: u32, bytes: &[u8]);

    /// Bytes given to `consoleWrite` that are not shown yet.
    #[wasm_bindgen(method, js_name = consoleBacklog)]
    pub fn console_backlog(this: &Host, vt: u32) -> u32;

    /// Takes output of a program with streams; `fd` is 1 or 2. The bytes are only valid during the call.
    #[wasm_bindgen(method, js_name = streamWrite)]
    pub fn stream_write(this: &Host, process: u32, fd: i32, bytes: &[u8]);

    /// Bytes given to `streamWrite` that were not taken yet.
    #[wasm_bindgen(method, js_name = streamBacklog)]
    pub fn stream_backlog(this: &Host, process: u32, fd: i32) -> u32;

    /// Answers a call.
    #[wasm_bindgen(method)]
    pub fn finished(this: &Host, call: u32, value: &JsValue);

    /// Answers a call that failed.
    #[wasm_bindgen(method)]
    pub fn failed(this: &Host, call: u32, code: &str, text: &str, errno: Option<String>);

    /// Tells the end of a program: its status as a shell has it, and the signal that ended it, or 0.
    #[wasm_bindgen(method)]
    pub fn exited(this: &Host, process: u32, status: i32, signal: u32);

    /// Tells an event that the page may listen to.
    #[wasm_bindgen(method)]
    pub fn event(this: &Host, name: &str, value: &JsValue);

    /// Tells that something happened to a watched file: the mask and cookie of inotify(7), and the entry's name.
    #[wasm_bindgen(method, js_name = fileChanged)]
    pub fn file_changed(this: &Host, watch: u32, mask: u32, cookie: u32, name: &[u8]);

    /// Hands over a file that a guest program gave away: an open file's number, its path and its size.
    #[wasm_bindgen(method)]
    pub fn handout(this: &Host, file: u32, path: &[u8], size: f64);

    /// Tells a person something.
    #[wasm_bindgen(method)]
    pub fn notice(this: &Host, code: &str, text: &str);

    /// Starts a GET, of a part if there is a `range` (`bytes=0-9`); then the body comes only with status 206.
    #[wasm_bindgen(method)]
    pub fn fetch(this: &Host, url: &str, reload: bool, limit: f64, range: Option<String>) -> Request;

    /// Starts to open a WebSocket.
    #[wasm_bindgen(method)]
    pub fn connect(this: &Host, url: &str, protocol: &str) -> Wire;

    /// Whether `connect` can work at all.
    #[wasm_bindgen(method, js_name = hasSockets)]
    pub fn has_sockets(this: &Host) -> bool;
}

/// What the machine is doing; the fields of `Stats` in `protocol.d.ts` that it knows.
#[wasm_bindgen]
pub struct Stats {
    /// Chunks that programs stand still for.
    #[wasm_bindgen(readonly, js_name = diskWaiting)]
    pub disk_waiting: f64,
    /// Mean time of the last reads, ms.
    #[wasm_bindgen(readonly, js_name = diskLatency)]
    pub disk_latency: f64,
    /// Chunks fetched and verified.
    #[wasm_bindgen(readonly)]
    pub chunks: f64,
    /// Bytes of changed pages.
    #[wasm_bindgen(readonly, js_name = overlayBytes)]
    pub overlay_bytes: f64,
    /// Guest memory in use, bytes.
    #[wasm_bindgen(readonly)]
    pub memory: f64,
    /// Tasks alive.
    #[wasm_bindgen(readonly)]
    pub tasks: f64,
    /// Tasks made since the start.
    #[wasm_bindgen(readonly)]
    pub created: f64,
    /// Instructions executed since the start.
    #[wasm_bindgen(readonly)]
    pub retired: f64,
    /// Whether the server cannot be reached.
    #[wasm_bindgen(readonly)]
    pub offline: bool,
    /// Objects that came and were refused, because they were not what was asked for.
    #[wasm_bindgen(readonly)]
    pub damaged: f64,
    /// Connections that were lost or given up.
    #[wasm_bindgen(readonly)]
    pub losses: f64,
}

#[wasm_bindgen]
extern "C" {
    /// A GET under way.
    pub type Request;

    /// Resolves to a [`Reply`] when the whole body is there, rejects when there is none.
    #[wasm_bindgen(method)]
    pub fn done(this: &Request) -> Promise;

    /// Gives the request up; does nothing once it is done.
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Request);

    /// The answer to a GET.
    pub type Reply;

    /// The HTTP status.
    #[wasm_bindgen(method, getter)]
    pub fn status(this: &Reply) -> u16;

    /// The body.
    #[wasm_bindgen(method, getter)]
    pub fn body(this: &Reply) -> Uint8Array;

    /// A header, if there is one and the page may see it.
    #[wasm_bindgen(method)]
    pub fn header(this: &Reply, name: &str) -> Option<String>;
}

#[wasm_bindgen]
extern "C" {
    /// A WebSocket, opening, open or closed.
    pub type Wire;

    /// Resolves when it is open, rejects when it cannot be.
    #[wasm_bindgen(method)]
    pub fn opened(this: &Wire) -> Promise;

    /// Queues a message.
    #[wasm_bindgen(method, catch)]
    pub fn send(this: &Wire, message: &[u8]) -> Result<(), JsValue>;

    /// Takes the oldest message that has arrived.
    #[wasm_bindgen(method)]
    pub fn take(this: &Wire) -> Option<Uint8Array>;

    /// Why it is closed, if it is and every message was taken.
    #[wasm_bindgen(method)]
    pub fn failure(this: &Wire) -> Option<String>;

    /// Resolves when `take` or `failure` has something to say.
    #[wasm_bindgen(method)]
    pub fn changed(this: &Wire) -> Promise;

    /// Closes it.
    #[wasm_bindgen(method)]
    pub fn close(this: &Wire, code: u16, reason: &str);
}

#[wasm_bindgen]
extern "C" {
    /// An opened store of written pages (`npm/overlay.js`). This session is its owner until another takes it over.
    #[derive(Clone)]
    pub type PageStore;

    /// The epoch taken at the opening.
    #[wasm_bindgen(method)]
    pub fn epoch(this: &PageStore) -> f64;

    /// What tells this state of the pages from every other.
    #[wasm_bindgen(method)]
    pub fn stamp(this: &PageStore) -> String;

    /// The numbers of the presence rows found at the opening.
    #[wasm_bindgen(method, js_name = rowKeys)]
    pub fn row_keys(this: &PageStore) -> Float64Array;

    /// The presence rows found at the opening, one after the other.
    #[wasm_bindgen(method)]
    pub fn rows(this: &PageStore) -> Uint8Array;

    /// Resolves to the pages, `undefined` for one that is not there.
    #[wasm_bindgen(method)]
    pub fn load(this: &PageStore, keys: &Float64Array) -> Promise;

    /// Applies a change as one transaction; rejects with an error whose `name` says why.
    #[wasm_bindgen(method)]
    pub fn commit(this: &PageStore, change: &Array, epoch: f64, strict: bool) -> Promise;

    /// Bytes that can still be stored; NaN when unknown.
    #[wasm_bindgen(method)]
    pub fn room(this: &PageStore) -> f64;
}
