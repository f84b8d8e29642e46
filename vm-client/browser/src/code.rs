//! Generated code: installs modules into this program's own memory and function table, and calls them.
//!
//! The one file of the crate with `unsafe`. It keeps three promises: an index of the table is called as the type its
//! function has, requests reach the runtime of the call that is under way, and no generated function is called after it
//! was discarded.

#![expect(unsafe_code, reason = "generated code is called through the function table")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Function, Object, Reflect, Uint8Array, WebAssembly};
use vm_machine::jit::{CodeHost, InstallError, ModuleId, Runtime, Ticket, module};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::host::Host;

/// The type of the function that calls the one in a slot of generated code's table.
type Entrance = extern "C" fn(u32, u32) -> u32;

/// The runtime of the call under way. Generated code runs only inside [`BrowserCode::enter`], which sets it.
type Running = *mut (dyn Runtime + 'static);

thread_local! {
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
    /// Modules that the host is compiling beside us.
    static COMING: Cell<u32> = const { Cell::new(0) };
}

/// Whether the host is compiling beside us: it goes on with that in turns of the event loop, some of them for each module.
pub fn is_compiling() -> bool {
    COMING.get() > 0
}

/// What generated code calls.
#[unsafe(no_mangle)]
pub extern "C" fn skiff_request(what: u32, a: u32, b: u32) -> u32 {
    let Some(runtime) = RUNNING.get() else { return 1 };
    // SAFETY: `enter` set the pointer from a live mutable reference that it does not use until generated code has
    // returned, and requests do not nest: a runtime does not enter generated code.
    unsafe { (*runtime).request(what, a, b) }
}

/// Installs and calls generated code.
pub struct BrowserCode {
    /// The table of generated code, and where the function is that enters it.
    table: Option<WebAssembly::Table>,
    entrance: usize,
    imports: Object,
    instances: Vec<Option<WebAssembly::Instance>>,
    /// Modules given up since the host was last reminded of them.
    given_up: u32,
    free: Vec<u32>,
    tail_calls: bool,
    /// What the host has compiled beside us.
    compiled: Rc<RefCell<VecDeque<Answer>>>,
    clock: Host,
}

/// A module that was compiled beside us, or why not.
type Answer = (Ticket, Result<WebAssembly::Module, InstallError>);

impl BrowserCode {
    /// The host of this program's own instance; `clock` tells milliseconds.
    pub fn new(clock: Host) -> Result<Self, JsValue> {
        let env = Object::new();
        Reflect::set(&env, &"memory".into(), &wasm_bindgen::memory())?;
        let request = Reflect::get(&wasm_bindgen::exports(), &"skiff_request".into())?;
        Reflect::set(&env, &"request".into(), &request)?;
        let imports = Object::new();
        Reflect::set(&imports, &"env".into(), &env)?;
        let probe = Uint8Array::from(&module::tail_call_probe()[..]);
        let tail_calls = WebAssembly::Module::new(&probe.into()).is_ok();
        Ok(Self {
            table: None,
            entrance: 0,
            imports,
            instances: Vec::new(),
            given_up: 0,
            free: Vec::new(),
            tail_calls,
            compiled: Rc::default(),
            clock,
        })
    }
}

fn refused(error: &JsValue) -> InstallError {
    let text = error.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
    InstallError(text.or_else(|| error.as_string()).unwrap_or_else(|| "no reason given".to_owned()))
}

/// Modules given up between two reminders.
const REMIND_MODULES: u32 = 128;
/// What V8 takes for pressure: memory outside of its heap that grew by more than this since it collected.
const REMIND_BYTES: u32 = 96 << 20;

/// Has the host collect modules that nothing leads to any more. It collects when its heap grows, and this program's hardly
/// does; buffers count as much as they are long, and one that is never touched costs nothing.
fn remind() {
    let make = || -> Result<(), JsValue> {
        let buffer: Function = Reflect::get(&js_sys::global(), &"ArrayBuffer".into())?.dyn_into()?;
        Reflect::construct(&buffer, &js_sys::Array::of1(&REMIND_BYTES.into())).map(drop)
    };
    // If there is no room for it the host has a reason of its own.
    let _ = make();
}

impl CodeHost for BrowserCode {
    type Module = WebAssembly::Module;

    fn reserve(&mut self, slots: u32, ours: &[u32]) -> Result<(), InstallError> {
        let make = || -> Result<(WebAssembly::Table, u32), JsValue> {
            let shape = Object::new();
            Reflect::set(&shape, &"element".into(), &"anyfunc".into())?;
            Reflect::set(&shape, &"initial".into(), &slots.into())?;
            let table = WebAssembly::Table::new(&shape)?;
            Reflect::set(&Reflect::get(&self.imports, &"env".into())?, &"table".into(), &table)?;
            let module = WebAssembly::Module::new(&Uint8Array::from(&module::entrance()[..]).into())?;
            let exports = WebAssembly::Instance::new(&module, &self.imports)?.exports();
            let enter: Function = Reflect::get(&exports, &"enter".into())?.dyn_into()?;
            let main: WebAssembly::Table = wasm_bindgen::function_table().unchecked_into();
            for (slot, &pointer) in (0..).zip(ours) {
                table.set_raw(slot, &main.get_raw(pointer)?)?;
            }
            let index = main.grow(1)?;
            main.set(index, &enter)?;
            Ok((table, index))
        };
        let (table, index) = make().map_err(|error| refused(&error))?;
        (self.table, self.entrance) = (Some(table), index as usize);
        Ok(())
    }

    fn compile(&mut self, module: &[u8]) -> Result<WebAssembly::Module, InstallError> {
        WebAssembly::Module::new(&Uint8Array::from(module).into()).map_err(|error| refused(&error))
    }

    fn start(&mut self, module: &[u8], ticket: Ticket) {
        let promise = WebAssembly::compile(&Uint8Array::from(module).into());
        let answers = Rc::clone(&self.compiled);
        COMING.set(COMING.get() + 1);
        wasm_bindgen_futures::spawn_local(async move {
            let answer = JsFuture::from(promise).await;
            COMING.set(COMING.get().saturating_sub(1));
            let answer = answer.map(JsValue::unchecked_into).map_err(|error| refused(&error));
            answers.borrow_mut().push_back((ticket, answer));
        });
    }

    fn compiled(&mut self) -> Option<Answer> {
        self.compiled.borrow_mut().pop_front()
    }

    fn install(&mut self, module: WebAssembly::Module) -> Result<ModuleId, InstallError> {
        let instance = WebAssembly::Instance::new(&module, &self.imports).map_err(|error| refused(&error))?;
        let index = self.free.pop().unwrap_or(self.instances.len() as u32);
        match self.instances.get_mut(index as usize) {
            Some(place) => *place = Some(instance),
            None => self.instances.push(Some(instance)),
        }
        Ok(ModuleId(index))
    }

    fn enter(&mut self, slot: u32, argument: u32, runtime: &mut dyn Runtime) -> u32 {
        // SAFETY: the lifetime is only forgotten while this call lasts; it is reset below.
        let running: Running = unsafe { std::mem::transmute(std::ptr::from_mut(runtime)) };
        let before = RUNNING.replace(Some(running));
        // SAFETY: function pointers are table indices in wasm32, and `reserve` put a function of this type there.
        let enter: Entrance = unsafe { std::mem::transmute(self.entrance) };
        let result = enter(slot, argument);
        RUNNING.set(before);
        result
    }

    fn clear(&mut self, slot: u32) {
        if let Some(table) = &self.table {
            // Only lets the host free it; nothing leads there any more.
            let _ = table.set_raw(slot, &JsValue::NULL);
        }
    }

    fn discard(&mut self, module: ModuleId) {
        if let Some(place) = self.instances.get_mut(module.0 as usize)
            && place.take().is_some()
        {
            self.free.push(module.0);
            self.given_up += 1;
            if self.given_up == REMIND_MODULES {
                self.given_up = 0;
                remind();
            }
        }
    }

    fn tail_calls(&self) -> bool {
        self.tail_calls
    }

    fn now_ms(&self) -> f64 {
        self.clock.now()
    }
}
