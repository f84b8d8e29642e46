//! A machine without programs: its files, and what is left of it when it is gone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ext2::format::{FormatOptions, Metadata, Tree, format};
use linux_abi::fcntl::{O_APPEND, O_CREAT, O_WRONLY};
use vm_block::RamDevice;
use vm_kernel::Errno;
use vm_kernel::host::Host;
use vm_kernel::vfs::Follow;
use vm_rt::Turn;

use crate::native::{OsClock, OsEntropy, TerminalConsole};
use crate::{Machine, MachineOptions, Program, Stdio};

/// Runs something in a machine's turns until it is done.
fn finish<T: 'static>(machine: &Machine, work: impl Future<Output = T> + 'static) -> T {
    let slot = Rc::new(RefCell::new(None));
    let done = Rc::clone(&slot);
    machine.spawn(async move {
        let value = work.await;
        *done.borrow_mut() = Some(value);
    });
    while slot.borrow().is_none() {
        let turn = machine.turn(Duration::from_millis(10));
        assert!(turn == Turn::Again || slot.borrow().is_some(), "the work waits for something that never comes");
    }
    slot.take().expect("the loop ended because it is there")
}

/// A machine over an empty ext2 file system, and the disk under it.
fn machine() -> (Rc<Machine>, Rc<RamDevice>) {
    let disk = Rc::new(RamDevice::new(8 << 20));
    let host =
        Host { clock: Rc::new(OsClock::default()), entropy: Rc::new(OsEntropy), console: Rc::new(TerminalConsole) };
    let options = MachineOptions { memory: 16 << 20, ..MachineOptions::default() };
    let machine = Machine::new(host, &options).expect("there are 16 MiB");
    let (guest, device) = (Rc::clone(&machine), Rc::clone(&disk));
    finish(&machine, async move {
        let time = ext2::Time { sec: 0, nsec: 0 };
        let root = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: time, atime: time, ctime: time };
        let options = FormatOptions { uuid: [7; 16], label: Vec::new(), made: time, inodes: 64, first: Vec::new() };
        let tree = Tree::new(root);
        format(&device, &options, &tree, async |_, _, _: &mut [u8]| Ok(())).await.expect("an empty tree fits");
        guest.mount_root(device).await.expect("what was just made can be mounted");
    });
    (machine, disk)
}

#[test]
fn a_machine_that_is_dropped_lets_its_disk_go() {
    let (machine, disk) = machine();
    let guest = Rc::clone(&machine);
    finish(&machine, async move {
        let file = guest.open_file(b"/open", O_CREAT | O_WRONLY, 0o644).await.expect("it can be made");
        guest.write_file(&file, b"x").await.expect("it can be written");
        // Names that the cache keeps, found again and missed.
        guest.make_directory(b"/d/e", 0o755, true).await.expect("it can be made");
        guest.stat_file(b"/d/e", Follow::No).await.expect("it is there");
        guest.stat_file(b"/open", Follow::No).await.expect("it is there");
        assert_eq!(guest.stat_file(b"/d/none", Follow::No).await, Err(Errno::ENOENT));
        // A future that waits for ever and holds the machine, as those of a front do.
        let held = Rc::clone(&guest);
        guest.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
    });
    assert!(Rc::strong_count(&disk) > 1);
    machine.shut_down();
    assert_eq!(Rc::strong_count(&machine), 1);
    drop(machine);
    assert_eq!(Rc::strong_count(&disk), 1);
}

/// A program for i386 that waits for a signal, for ever: pause(2) in a loop.
fn pausing() -> Vec<u8> {
    const CODE: [u8; 9] = [0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7];
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let size = HEADERS + 9;
    // ET_EXEC, EM_386; then one PT_LOAD, readable and executable, elf(5).
    elf.extend([2_u16, 3].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend([1, BASE + HEADERS, 52, 0, 0].iter().flat_map(|word: &u32| word.to_le_bytes()));
    elf.extend([52_u16, 32, 1, 40, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend([1, 0, BASE, BASE, size, size, 5, 0x1000].iter().flat_map(|word: &u32| word.to_le_bytes()));
    elf.extend(CODE);
    elf
}

struct Nowhere;

impl crate::StreamSink for Nowhere {
    fn write(&self, _fd: i32, _bytes: &[u8]) {}

    fn congested(&self, _fd: i32) -> bool {
        false
    }
}

#[test]
fn a_machine_that_is_dropped_gives_its_memory_back_though_programs_run() {
    let (machine, disk) = machine();
    let guest = Rc::clone(&machine);
    finish(&machine, async move {
        let file = guest.open_file(b"/pause", O_CREAT | O_WRONLY, 0o755).await.expect("it can be made");
        guest.write_file(&file, &pausing()).await.expect("it can be written");
        drop(file);
        for _ in 0..2 {
            let stdio = Stdio::Streams(Rc::new(Nowhere));
            let program = Program {
                file: "/pause".into(),
                argv: vec!["pause".into()],
                envp: Vec::new(),
                cwd: "/".into(),
                uid: 0,
                gid: 0,
                stdio,
            };
            let running = guest.start(program).await.expect("it can be run");
            guest.spawn(async move {
                running.wait().await;
            });
        }
    });
    for _ in 0..10 {
        machine.turn(Duration::from_millis(1));
    }
    assert_eq!(machine.status().tasks, 3);
    let kernel = Rc::downgrade(machine.kernel());
    drop(machine);
    assert_eq!(Rc::strong_count(&disk), 1);
    assert!(kernel.upgrade().is_none(), "the kernel and its memory live on");
}

#[test]
fn a_tree_is_removed_whole_and_what_is_open_stays_readable() {
    let (machine, _disk) = machine();
    let guest = Rc::clone(&machine);
    finish(&machine, async move {
        guest.make_directory(b"/a/b/c", 0o755, true).await.expect("it can be made");
        let file = guest.open_file(b"/a/b/f", O_CREAT | O_WRONLY | O_APPEND, 0o600).await.expect("it can be made");
        guest.write_file(&file, b"one").await.expect("it can be written");
        guest.write_file(&file, b"two").await.expect("it can be written");
        assert_eq!(guest.remove_file(b"/a", false).await, Err(Errno::ENOTEMPTY));
        let open = guest.open_file(b"/a/b/f", 0, 0).await.expect("it is there");
        guest.remove_file(b"/a", true).await.expect("it can be removed");
        assert_eq!(guest.stat_file(b"/a", Follow::No).await, Err(Errno::ENOENT));
        assert_eq!(guest.read_file(&open, 0, 100).await, Ok(b"onetwo".to_vec()));
        assert_eq!(guest.read_file(&open, 3, 2).await, Ok(b"tw".to_vec()));
        assert_eq!(guest.read_file(&open, 6, 2).await, Ok(Vec::new()));
    });
}

#[test]
fn a_watch_that_is_dropped_hears_nothing_more() {
    let (machine, _disk) = machine();
    let guest = Rc::clone(&machine);
    finish(&machine, async move {
        let heard: Rc<RefCell<BTreeMap<Vec<u8>, u32>>> = Rc::default();
        let calls = Rc::new(Cell::new(0));
        let (names, count) = (Rc::clone(&heard), Rc::clone(&calls));
        let watch = guest.watch_file(b"/", move |mask, _, name| {
            *names.borrow_mut().entry(name.to_vec()).or_default() |= mask;
            count.set(count.get() + 1);
        });
        let watch = watch.await.expect("the root is there");
        guest.make_directory(b"/d", 0o755, false).await.expect("it can be made");
        guest.rename_file(b"/d", b"/e").await.expect("it can be renamed");
        guest.remove_file(b"/e", false).await.expect("it can be removed");
        // IN_CREATE, IN_MOVED_FROM, IN_MOVED_TO, IN_DELETE and IN_ISDIR of inotify(7).
        let expected = [(b"d".to_vec(), 0x4000_0140), (b"e".to_vec(), 0x4000_0280)];
        assert_eq!(*heard.borrow(), BTreeMap::from(expected));
        let before = calls.get();
        drop(watch);
        guest.make_directory(b"/f", 0o755, false).await.expect("it can be made");
        assert_eq!(calls.get(), before);
    });
}
