//! The loop that gives the machine its turns and takes standard input to it.

use std::cell::RefCell;
use std::future::Future;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use vm_rt::{Clock, Turn};

use super::console::terminal_size;
use crate::Machine;

/// Longest turn.
const BUDGET: Duration = Duration::from_millis(8);
/// How often the size of the terminal is looked at.
const SIZE_CHECK: Duration = Duration::from_millis(100);

/// Standard input, read by a thread of its own since it cannot be waited for together with other things.
struct Stdin {
    pieces: Receiver<Vec<u8>>,
    ended: bool,
}

/// Drives one machine on the calling thread.
pub struct Pump {
    machine: Rc<Machine>,
    clock: Rc<dyn Clock>,
    stdin: RefCell<Option<Stdin>>,
    /// Somebody wants to know what all tasks are doing.
    asked: Arc<AtomicBool>,
}

impl Pump {
    /// Makes the loop; it comes back to the calling thread whenever something can run.
    pub fn new(machine: &Rc<Machine>, clock: Rc<dyn Clock>) -> Self {
        let main = thread::current();
        machine.on_wake(move || main.unpark());
        let asked = Arc::new(AtomicBool::new(false));
        Self { machine: Rc::clone(machine), clock, stdin: RefCell::default(), asked }
    }

    /// Prints to standard error what is missing and what every task waits for, whenever SIGUSR1 arrives.
    pub fn report_on_signal(&self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        // Registered before this returns, so that no early signal ends the process.
        let mut signals = {
            let _inside = runtime.enter();
            signal(SignalKind::user_defined1())?
        };
        let (asked, main) = (Arc::clone(&self.asked), thread::current());
        thread::spawn(move || {
            runtime.block_on(async move {
                while signals.recv().await.is_some() {
                    asked.store(true, Ordering::Relaxed);
                    main.unpark();
                }
            });
        });
        Ok(())
    }

    /// Begins to read standard input.
    pub fn read_stdin(&self) {
        // A few pieces ahead at most: a large file waits in its pipe, not in memory.
        let (sender, pieces) = sync_channel(4);
        let main = thread::current();
        thread::spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut buf = vec![0; 64 * 1024];
            loop {
                match stdin.read(&mut buf) {
                    Ok(0) => break,
                    Ok(count) => {
                        if sender.send(buf[..count].to_vec()).is_err() {
                            return;
                        }
                        main.unpark();
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            drop(sender);
            main.unpark();
        });
        *self.stdin.borrow_mut() = Some(Stdin { pieces, ended: false });
    }

    /// Runs the machine until a future of its own has finished. Input goes to `input`, `None` for its end; `wants_input` says
    /// whether more can be taken.
    pub fn run<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        wants_input: impl Fn() -> bool,
        input: impl Fn(Option<&[u8]>),
    ) -> T {
        let result = Rc::new(RefCell::new(None));
        {
            let result = Rc::clone(&result);
            self.machine.spawn(async move {
                let value = future.await;
                *result.borrow_mut() = Some(value);
            });
        }
        let mut size = terminal_size();
        let mut size_checked = self.clock.monotonic();
        loop {
            self.take_input(&wants_input, &input);
            if self.asked.swap(false, Ordering::Relaxed) {
                eprint!("{}", self.machine.diagnostics());
            }
            let turn = self.machine.turn(BUDGET);
            if let Some(value) = result.borrow_mut().take() {
                return value;
            }
            let now = self.clock.monotonic();
            if size.is_some() && now >= size_checked + SIZE_CHECK {
                size_checked = now;
                let present = terminal_size();
                if let (true, Some((cols, rows))) = (present != size, present) {
                    self.machine.console_resized(1, cols, rows);
                }
                size = present.or(size);
            }
            if let Turn::Idle { until } = turn {
                let limit = until.map(|until| until.saturating_sub(now));
                let limit = if size.is_some() { Some(limit.map_or(SIZE_CHECK, |l| l.min(SIZE_CHECK))) } else { limit };
                match limit {
                    Some(limit) => thread::park_timeout(limit),
                    None => thread::park(),
                }
            }
        }
    }

    fn take_input(&self, wants_input: &impl Fn() -> bool, input: &impl Fn(Option<&[u8]>)) {
        let mut slot = self.stdin.borrow_mut();
        let Some(stdin) = slot.as_mut().filter(|stdin| !stdin.ended) else { return };
        while wants_input() {
            match stdin.pieces.try_recv() {
                Ok(piece) => input(Some(&piece)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    stdin.ended = true;
                    input(None);
                    return;
                }
            }
        }
    }
}
