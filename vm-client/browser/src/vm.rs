//! One machine, as JavaScript sees it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use linux_abi::signal::Signal;
use vm_block::remote::{Link, RemoteHost};
use vm_kernel::Errno;
use vm_kernel::host::Host as KernelHost;
use vm_kernel::profile::{Place, Report};
use vm_kernel::task::WaitStatus;
use vm_machine::{DataTree, Machine, MachineOptions, Program, Running, Stdio};
use vm_rt::{Clock, Timers, Turn};
use wasm_bindgen::prelude::*;

use crate::clock::{BrowserClock, BrowserEntropy};
use crate::console::BrowserConsole;
use crate::disk::{Disk, Meter};
use crate::files::Files;
use crate::host::{Host, Stats};
use crate::image::Image;
use crate::later;
use crate::mounts::block_code;
use crate::network::BrowserNetwork;
use crate::overlay::js_keys;
use crate::stream::BrowserSink;

/// The longest turn while the host compiles code that the guest wants.
const SHORT_TURN: Duration = Duration::from_millis(2);

/// A machine. Calls that finish in a later turn carry a number and are answered by `Host.finished` or `Host.failed` with it.
#[wasm_bindgen]
pub struct Vm {
    inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) host: Host,
    pub(crate) clock: Rc<BrowserClock>,
    console: Rc<BrowserConsole>,
    pub(crate) machine: Rc<Machine>,
    /// Deadlines of the network, on host time. The guest's are the kernel's.
    pub(crate) timers: Timers,
    /// By the numbers of their disks.
    pub(crate) images: RefCell<BTreeMap<u32, Image>>,
    /// Files that the page hands in, by the number it gives each of its devices.
    data: RefCell<HashMap<u32, Rc<DataTree>>>,
    pub(crate) disks: RefCell<BTreeMap<u32, Disk>>,
    pub(crate) meter: Rc<Meter>,
    programs: RefCell<HashMap<u32, Rc<Running>>>,
    /// What the page has opened and watches.
    pub(crate) files: Files,
    busy: Cell<bool>,
    /// Kept: settled promises wake this machine as long as it lives.
    _event_loop: later::EventLoop,
}

#[wasm_bindgen]
impl Vm {
    /// Makes a machine without disks that has at most `memory` bytes. `jit` is how often a block is interpreted before it is
    /// compiled: 0 for never interpreting what can be compiled, less for never compiling, nothing for a good choice.
    /// `x87_fast` has compiled code do x87 arithmetic in double precision, `count_accesses` count how it finds bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(host: Host, memory: f64, jit: Option<f64>, x87_fast: bool, count_accesses: bool) -> Result<Vm, JsError> {
        let event_loop = later::EventLoop::new(&host);
        let clock = Rc::new(BrowserClock::new(&host));
        let console = Rc::new(BrowserConsole::new(&host));
        let outside = KernelHost {
            clock: clock.clone(),
            entropy: Rc::new(BrowserEntropy(host.clone())),
            console: console.clone(),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let options = MachineOptions { memory: memory as u64, ..MachineOptions::default() };
        let engine = engine(&host, jit, x87_fast, count_accesses);
        let machine = Machine::with_engine(outside, &options, engine).map_err(|text| JsError::new(&text))?;
        machine.on_wake(later::kick);
        let inner = Inner {
            _event_loop: event_loop,
            meter: Rc::new(Meter::new(&host)),
            host,
            clock,
            console,
            machine,
            timers: Timers::new(),
            images: RefCell::default(),
            data: RefCell::default(),
            disks: RefCell::default(),
            programs: RefCell::default(),
            files: Files::default(),
            busy: Cell::new(false),
        };
        let inner = Rc::new(inner);
        Inner::take_handouts(&inner);
        Ok(Self { inner })
    }

    /// Lets the machine run for about so many milliseconds. Returns when to come again: 0 for soon, or milliseconds, or
    /// infinity for not before something happens.
    pub fn turn(&self, budget_ms: f64) -> f64 {
        let inner = &self.inner;
        inner.timers.fire(inner.clock.monotonic());
        let mut budget = Duration::try_from_secs_f64(budget_ms / 1000.0).unwrap_or_default();
        if is_compiling() {
            budget = budget.min(SHORT_TURN);
        }
        let turn = inner.machine.turn(budget);
        let busy = turn == Turn::Again;
        if inner.busy.replace(busy) != busy {
            inner.host.event("cpuActivity", &if busy { "wait" } else { "ready" }.into());
        }
        let Turn::Idle { until } = turn else { return 0.0 };
        let next = [until, inner.timers.next_deadline()].into_iter().flatten().min();
        let now = inner.clock.monotonic();
        next.map_or(f64::INFINITY, |at| at.saturating_sub(now).as_secs_f64() * 1000.0)
    }

    /// Starts a program on virtual terminal `vt`, or with streams when there is none. The answer is its process number;
    /// `Host.exited` tells its end.
    #[expect(clippy::too_many_arguments, reason = "it is one message, spread out")]
    pub fn spawn(
        &self,
        call: u32,
        process: u32,
        file: String,
        args: Vec<String>,
        env: Vec<String>,
        cwd: String,
        uid: u32,
        gid: u32,
        vt: Option<u32>,
    ) {
        self.later(call, async move |inner| {
            let stdio = match vt {
                Some(vt) => Stdio::Console(vt as usize),
                None => Stdio::Streams(Rc::new(BrowserSink::new(&inner.host, process))),
            };
            let argv = [file.clone()].into_iter().chain(args).collect();
            let name = file.clone();
            let program = Program { file, argv, envp: env, cwd, uid, gid, stdio };
            let started = inner.machine.start(program).await;
            let running = Rc::new(started.map_err(|errno| Failure::errno(&name, errno))?);
            let pid = running.pid();
            inner.programs.borrow_mut().insert(process, Rc::clone(&running));
            let watcher = Rc::clone(&inner);
            inner.machine.spawn(async move {
                let status = running.wait().await;
                watcher.programs.borrow_mut().remove(&process);
                let signal = if let WaitStatus::Signaled { signal, .. } = status { signal.number() } else { 0 };
                watcher.host.exited(process, status.shell_code(), signal);
            });
            Ok(pid.into())
        });
    }

    /// Gives a program input, or with nothing ends its input.
    pub fn stdin(&self, process: u32, data: Option<Box<[u8]>>) {
        let Some(running) = self.program(process) else { return };
        match data {
            Some(bytes) => running.write_stdin(&bytes),
            None => running.close_stdin(),
        }
    }

    /// Tells that output of a program was taken.
    pub fn stream_drained(&self, process: u32) {
        if let Some(running) = self.program(process) {
            running.stream_drained();
        }
    }

    /// Sends a program a signal.
    pub fn kill(&self, process: u32, signal: u32) {
        if let (Some(running), Some(signal)) = (self.program(process), Signal::new(signal)) {
            running.kill(signal);
        }
    }

    /// Takes what was typed at a virtual terminal.
    pub fn console_input(&self, vt: u32, data: &[u8]) {
        self.inner.machine.console_input(vt as usize, data);
    }

    /// Tells the size of a virtual terminal.
    pub fn resize(&self, vt: u32, columns: u16, rows: u16) {
        self.inner.console.resize(vt as usize, columns, rows);
        self.inner.machine.console_resized(vt as usize, columns, rows);
    }

    /// Tells that output of a virtual terminal was shown.
    pub fn console_drained(&self, vt: u32) {
        self.inner.machine.console_drained(vt as usize);
    }

    /// Waits until everything written is durable.
    pub fn sync(&self, call: u32) {
        self.later(call, async move |inner| {
            inner.machine.sync().await.map_err(|errno| Failure::errno("sync", errno))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Finds what is not stored: `[epoch, numbers, pages, numbers of pages that are the image's again]`, the epoch undefined where
    /// changes are kept in memory only. Pages lie one behind the other.
    pub fn unsaved(&self, call: u32) {
        let root = self.inner.disks.borrow().get(&0).map(|disk| (disk.unsaved(), disk.epoch()));
        self.later(call, async move |_| {
            let (finding, epoch) = root.ok_or_else(|| Failure::new("unsupported", &"the root is no disk"))?;
            let unsaved = finding.await.map_err(|error| Failure::new(block_code(&error), &error))?;
            let bytes: Vec<u8> = unsaved.put.iter().flat_map(|(_, page)| page.iter().copied()).collect();
            let epoch = epoch.map_or(JsValue::UNDEFINED, |epoch| count(epoch).into());
            let answer = js_sys::Array::of4(
                &epoch,
                &js_keys(unsaved.put.iter().map(|(key, _)| *key)),
                &js_sys::Uint8Array::from(&bytes[..]),
                &js_keys(unsaved.delete.iter().copied()),
            );
            Ok(answer.into())
        });
    }

    /// Starts to store what is written, without waiting: the page may be gone in a moment.
    pub fn sync_soon(&self) {
        let machine = Rc::clone(&self.inner.machine);
        self.inner.disks.borrow().values().for_each(Disk::commit_soon);
        self.inner.machine.spawn(async move {
            // Whoever waits for durable data hears of a failure; nobody does here.
            let _ = machine.sync().await;
        });
    }

    /// Tells that the computer is online again, so that nothing waits out a delay.
    pub fn online(&self) {
        self.inner.images.borrow().values().for_each(Image::retry_now);
    }

    /// What the engine counted so far, by name.
    pub fn profile(&self) -> js_sys::Object {
        let mut figures = self.inner.machine.engine_figures();
        let listed = self.inner.machine.hot_code().counts();
        figures.push(("pages with expected code".to_owned(), count(listed.used)));
        figures.push(("pages whose code is another now".to_owned(), count(listed.changed)));
        let fields: Vec<(&str, JsValue)> =
            figures.iter().map(|(name, value)| (name.as_str(), (*value).into())).collect();
        object(&fields)
    }

    /// Begins to measure where guest time goes, from nothing.
    pub fn profile_start(&self) {
        self.inner.machine.profile_start();
    }

    /// Where guest time went since then: `TimeProfile` of `index.d.ts`.
    pub fn profile_report(&self, call: u32) {
        self.later(call, async move |inner| Ok(time_profile(&inner.machine.profile().await).into()));
    }

    /// Keeps a list of the code that is hot, and has code in an earlier list compiled early. Returns why the earlier list
    /// cannot be used, if that is so.
    pub fn keep_hot_code(&self, earlier: Option<Box<[u8]>>) -> Option<String> {
        self.inner.machine.keep_hot_code(earlier.as_deref()).err().map(|error| error.to_string())
    }

    /// How many times the list of hot code changed.
    pub fn hot_code_changes(&self) -> f64 {
        count(self.inner.machine.hot_code().changes())
    }

    /// The list of hot code.
    pub fn hot_code(&self) -> Vec<u8> {
        self.inner.machine.hot_code().emit()
    }

    /// What programs asked for that does not exist here, and what each task waits for.
    pub fn diagnostics(&self) -> js_sys::Object {
        let diagnostics = self.inner.machine.diagnostics();
        let text = diagnostics.to_string();
        let calls = diagnostics.unknown_calls.into_iter();
        let calls =
            calls.map(|(number, name, program, count)| ("system call", format!("{name} ({number})"), program, count));
        let instructions = diagnostics.unknown_instructions.into_iter();
        let instructions = instructions.map(|(name, count)| ("instruction", name, String::new(), count));
        let missing = js_sys::Array::new();
        for (what, name, program, count) in calls.chain(diagnostics.missing).chain(instructions) {
            missing.push(&object(&[
                ("what", what.into()),
                ("name", name.into()),
                ("program", program.into()),
                ("count", (count as f64).into()),
            ]));
        }
        let tasks = js_sys::Array::new();
        for task in diagnostics.tasks {
            tasks.push(&object(&[
                ("tid", task.tid.into()),
                ("pid", task.pid.into()),
                ("ppid", task.ppid.into()),
                ("name", task.name.into()),
                ("state", task.state.into()),
                ("call", task.call.unwrap_or_default().into()),
                ("waitsFor", task.waits_for.into()),
            ]));
        }
        object(&[("missing", missing.into()), ("tasks", tasks.into()), ("text", text.into())])
    }

    /// What it is doing.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let status = inner.machine.status();
        let disks = inner.disks.borrow();
        disks.values().for_each(|disk| disk.tell_trouble(&inner.host));
        let links: Vec<_> = inner.images.borrow().values().map(Image::status).collect();
        Stats {
            disk_waiting: count(inner.meter.waiting()),
            disk_latency: inner.meter.latency_ms(),
            chunks: count(inner.meter.chunks()),
            overlay_bytes: count(disks.values().map(Disk::written_bytes).sum()),
            memory: count(status.memory_used),
            tasks: count(status.tasks as u64),
            created: count(status.created),
            retired: count(status.retired),
            offline: links.iter().any(|status| matches!(status.link, Link::Offline { .. })),
            damaged: count(links.iter().map(|status| status.damaged).sum()),
            losses: count(links.iter().map(|status| status.losses).sum()),
        }
    }
}

fn time_profile(report: &Report) -> js_sys::Object {
    let ms = |ns: u64| JsValue::from(count(ns) / 1e6);
    let counts = |counts: &[(&str, u64)]| -> JsValue {
        object(&counts.iter().map(|&(name, number)| (name, count(number).into())).collect::<Vec<_>>()).into()
    };
    let places = |places: &[Place]| -> JsValue {
        let all = js_sys::Array::new();
        for place in places {
            all.push(&object(&[
                ("object", place.object.as_str().into()),
                ("symbol", place.symbol.as_str().into()),
                ("offset", count(place.offset).into()),
                ("ms", ms(place.ns)),
            ]));
        }
        all.into()
    };
    let work = report.work.clone();
    let interprets_only = work.is_none();
    let work = work.unwrap_or_default();
    let (interpreter, interpreted) =
        if interprets_only { (report.guest_ns, report.retired) } else { (work.interpreting_ns, work.interpreted) };
    object(&[
        ("guestMs", ms(report.guest_ns)),
        ("interpreterMs", ms(interpreter)),
        ("compileMs", ms(work.compiling_ns)),
        ("instructions", count(report.retired).into()),
        ("interpreted", count(interpreted).into()),
        ("samples", count(report.samples).into()),
        ("exits", counts(&report.exits)),
        ("calls", counts(&report.calls)),
        ("left", counts(&work.left)),
        ("functions", places(&report.functions)),
        ("regions", places(&report.regions)),
        ("addresses", places(&report.addresses)),
        ("text", report.to_string().into()),
    ])
}

/// A plain object.
fn object(fields: &[(&str, JsValue)]) -> js_sys::Object {
    let object = js_sys::Object::new();
    for (name, value) in fields {
        // Setting a property of a new plain object cannot fail.
        let _ = js_sys::Reflect::set(&object, &(*name).into(), value);
    }
    object
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Futures of this front that run in the machine hold it.
        self.inner.machine.shut_down();
    }
}

impl Inner {
    pub(crate) fn network(&self) -> RemoteHost<BrowserNetwork> {
        let network = Rc::new(BrowserNetwork(self.host.clone()));
        RemoteHost { network, clock: self.clock.clone(), timers: self.timers.clone() }
    }

    pub(crate) fn data_tree(&self, device: u32) -> Rc<DataTree> {
        Rc::clone(self.data.borrow_mut().entry(device).or_default())
    }
}

impl Vm {
    pub(crate) fn inner(&self) -> &Rc<Inner> {
        &self.inner
    }

    fn program(&self, process: u32) -> Option<Rc<Running>> {
        self.inner.programs.borrow().get(&process).cloned()
    }

    /// Runs a call beside the guest's tasks and answers it.
    pub(crate) fn later(&self, call: u32, work: impl AsyncFnOnce(Rc<Inner>) -> Result<JsValue, Failure> + 'static) {
        let inner = Rc::clone(&self.inner);
        self.inner.machine.spawn(async move {
            let host = inner.host.clone();
            match work(inner).await {
                Ok(value) => host.finished(call, &value),
                Err(Failure { code, text, errno }) => host.failed(call, code, &text, errno),
            }
        });
    }
}

/// Whether the host goes on with compiling when this turn is over.
fn is_compiling() -> bool {
    #[cfg(target_arch = "wasm32")]
    return crate::code::is_compiling();
    #[cfg(not(target_arch = "wasm32"))]
    false
}

/// The engine that the options ask for, see [`Vm::new`].
#[cfg(target_arch = "wasm32")]
fn engine(host: &Host, jit: Option<f64>, x87_fast: bool, count_accesses: bool) -> Box<dyn vm_machine::Engine> {
    use vm_machine::jit::{Jit, Options};
    if jit.is_some_and(|times| times < 0.0) {
        return Box::new(vm_machine::Interpreter::new());
    }
    let mut options = Options { x87_fast, count_accesses, ..Options::default() };
    if let Some(times) = jit {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let times = times as u32;
        options.threshold = times;
    }
    let code = crate::code::BrowserCode::new(host.clone()).map_err(|error| format!("{error:?}"));
    let jit = code.and_then(|code| Jit::new(code, options).map_err(|error| error.to_string()));
    match jit {
        Ok(jit) => Box::new(jit),
        Err(error) => {
            host.notice("no-jit", &format!("programs run slowly: {error}"));
            Box::new(vm_machine::Interpreter::new())
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn engine(_host: &Host, _jit: Option<f64>, _x87_fast: bool, _count_accesses: bool) -> Box<dyn vm_machine::Engine> {
    Box::new(vm_machine::Interpreter::new())
}

/// Why a call failed; the codes are those of `protocol.d.ts`.
pub(crate) struct Failure {
    code: &'static str,
    text: String,
    errno: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self { code, text: error.to_string(), errno: None }
    }

    pub(crate) fn errno(what: &str, errno: Errno) -> Self {
        Self { code: "errno", text: format!("{what}: {errno}"), errno: Some(format!("{errno:?}")) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only shown")]
fn count(value: u64) -> f64 {
    value as f64
}
