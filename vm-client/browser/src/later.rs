//! Promises as futures.

use std::cell::RefCell;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::host::Host;

/// A reaction to a settled promise.
type Reaction = Closure<dyn FnMut(JsValue)>;

thread_local! {
    /// The event loop to wake, and the closure that wakes it.
    static EVENT_LOOP: RefCell<Option<(Host, Reaction)>> = const { RefCell::new(None) };
}

/// Tells whose `kick` every settled promise calls from now on.
pub fn set_event_loop(host: &Host) {
    let kick = {
        let host = host.clone();
        Closure::new(move |_: JsValue| host.kick())
    };
    EVENT_LOOP.with(|slot| *slot.borrow_mut() = Some((host.clone(), kick)));
}

/// Has the event loop call the machine soon.
pub fn kick() {
    EVENT_LOOP.with(|slot| {
        if let Some((host, _)) = &*slot.borrow() {
            host.kick();
        }
    });
}

/// Waits for a promise, and has the event loop called when it settles: the task that waits here is polled by
/// `Vm::turn`, not by JavaScript.
pub async fn settled(promise: Promise) -> Result<JsValue, JsValue> {
    // The future's own reactions come first, so the task is ready when the event loop is kicked.
    let future = JsFuture::from(promise.clone());
    EVENT_LOOP.with(|slot| {
        if let Some((_, kick)) = &*slot.borrow() {
            let _ = promise.then2(kick, kick);
        }
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
