//! Promises as futures.

use std::cell::RefCell;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::host::Host;

/// A reaction to a settled promise.
type Reaction = Closure<dyn FnMut(JsValue)>;

thread_local! {
    /// The event loops to wake. There is more than one only in Node, where machines share a thread.
    static EVENT_LOOPS: RefCell<Vec<(u64, Host)>> = const { RefCell::new(Vec::new()) };
    /// Wakes them.
    static KICK: Reaction = Closure::new(|_: JsValue| kick());
}

/// A registered event loop; it goes when this is dropped.
pub struct EventLoop(u64);

impl EventLoop {
    /// Has every settled promise call this host's `kick` from now on.
    pub fn new(host: &Host) -> Self {
        EVENT_LOOPS.with_borrow_mut(|loops| {
            let id = loops.last().map_or(0, |(last, _)| last + 1);
            loops.push((id, host.clone()));
            Self(id)
        })
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        EVENT_LOOPS.with_borrow_mut(|loops| loops.retain(|(id, _)| *id != self.0));
    }
}

/// Has the event loops call their machines soon.
pub fn kick() {
    EVENT_LOOPS.with_borrow(|loops| loops.iter().for_each(|(_, host)| host.kick()));
}

/// Waits for a promise, and has the event loop called when it settles: the task that waits here is polled by
/// `Vm::turn`, not by JavaScript.
pub async fn settled(promise: Promise) -> Result<JsValue, JsValue> {
    // The future's own reactions come first, so the task is ready when the event loop is kicked.
    let future = JsFuture::from(promise.clone());
    KICK.with(|kick| {
        let _ = promise.then2(kick, kick);
    });
    future.await
}

/// The words of an error thrown by JavaScript.
pub fn words(error: &JsValue) -> String {
    let message = js_sys::Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    message.or_else(|| error.as_string()).unwrap_or_else(|| format!("{error:?}"))
}

/// The `name` of an error thrown by JavaScript, or nothing.
pub fn name(error: &JsValue) -> String {
    js_sys::Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string()).unwrap_or_default()
}
