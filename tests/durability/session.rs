//! One life of a machine over a recording.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use vm_block::{FileDevice, Overlay, OverlayOptions};
use vm_kernel::host::Host;
use vm_machine::native::{OsClock, OsEntropy, Pump, TerminalConsole};
use vm_machine::{Machine, MachineOptions, Program, Stdio, StreamSink};
use vm_rt::Clock as _;

use crate::image::Image;
use crate::promise::{Ledger, Said};
use crate::record::{Recording, RecordingStore};

/// Longest time between two commits nobody asked for, microseconds.
const RELAXED_EVERY: u64 = 4000;

struct Promises {
    recording: Rc<Recording>,
    ledger: RefCell<Ledger>,
}

impl StreamSink for Promises {
    fn write(&self, fd: i32, bytes: &[u8]) {
        assert_eq!(fd, 1, "the program complains: {}", String::from_utf8_lossy(bytes));
        self.ledger.borrow_mut().take(bytes, self.recording.count(), self.recording.strict_count());
    }
}

/// Runs a program to its end while relaxed commits are made at random moments; gives what it promised.
pub fn run(image: &Image, recording: &Rc<Recording>, command: &[String], seed: u64) -> Said {
    let clock = Rc::new(OsClock::default());
    let host = Host { clock: clock.clone(), entropy: Rc::new(OsEntropy), console: Rc::new(TerminalConsole) };
    let machine = Machine::new(host, &MachineOptions { memory: 64 << 20, ..MachineOptions::default() });
    let machine = machine.expect("the host has the memory");
    let pump = Pump::new(&machine, clock.clone());
    let sink = Rc::new(Promises { recording: Rc::clone(recording), ledger: RefCell::default() });
    let (path, store, task) = (image.path.clone(), RecordingStore(Rc::clone(recording)), Rc::clone(&machine));
    let program = Program {
        file: command[0].clone(),
        argv: command.to_vec(),
        envp: vec!["PATH=/usr/bin".to_owned(), "HOME=/tmp".to_owned()],
        cwd: "/".to_owned(),
        uid: 0,
        gid: 0,
        stdio: Stdio::Streams(sink.clone()),
    };
    let whole = async move {
        let base = FileDevice::open_read_only(&path).expect("the image can be read");
        let overlay = Overlay::open(base, [0; 32], store, OverlayOptions::default()).await;
        let overlay = Rc::new(overlay.expect("an empty store fits any base"));
        let (writer, timers, times) = (Rc::clone(&overlay), task.timers(), task.clock());
        task.spawn(async move { writer.run_writeback(timers, times).await });
        let (committer, timers) = (Rc::clone(&overlay), task.timers());
        task.spawn(async move {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            loop {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pause = Duration::from_micros((random >> 33) % RELAXED_EVERY);
                timers.sleep_until(clock.monotonic() + pause).await;
                committer.request_commit();
            }
        });
        task.mount_root(overlay).await.expect("the image can be mounted");
        let running = task.start(program).await.expect("the program starts");
        let status = running.wait().await;
        task.sync().await.expect("the disk takes everything");
        status.shell_code()
    };
    let status = pump.run(whole, || false, |_| {});
    assert_eq!(status, 0, "the program ends well");
    Rc::into_inner(sink).map_or_else(
        || panic!("the program has ended and its streams are closed"),
        |sink| sink.ledger.into_inner().finish(),
    )
}
