//! When code is compiled, installed and let go of, with a host that only keeps account of it.

use std::cell::Cell;
use std::collections::HashMap;

use vm_cpu::{Cpu, reg};
use vm_mem::{MmId, Prot};
use wasmparser::{ConstExpr, ElementItems, ElementKind, Operator, Parser, Payload};

use super::*;
use crate::host::{ModuleId, Runtime, Ticket};

const CODE: u32 = 0x1000;

/// A host whose clock is moved by what it compiles.
#[derive(Default)]
struct Ledger {
    now: f64,
    /// Milliseconds by which the clock goes on whenever it is looked at.
    step_ms: f64,
    ticks: Cell<f64>,
    refuses: bool,
    begun: Vec<(Ticket, Vec<u8>)>,
    done: Vec<(Ticket, Vec<u8>)>,
    /// The module whose function is in a slot.
    table: HashMap<u32, u32>,
    installed: Vec<u32>,
    modules: u32,
}

/// The slots that a module writes.
fn slots(module: &[u8]) -> Vec<u32> {
    let slot = |expression: &ConstExpr<'_>| match expression.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => value as u32,
        other => panic!("{other:?}"),
    };
    let mut slots = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Ok(Payload::ElementSection(section)) = payload {
            for element in section {
                let element = element.expect("an element");
                let ElementKind::Active { offset_expr, .. } = element.kind else { panic!("not active") };
                let ElementItems::Functions(functions) = element.items else { panic!("no functions") };
                assert_eq!(functions.count(), 1);
                slots.push(slot(&offset_expr));
            }
        }
    }
    slots
}

impl CodeHost for Ledger {
    type Module = Vec<u8>;

    fn reserve(&mut self, _slots: u32, _ours: &[u32]) -> Result<(), InstallError> {
        Ok(())
    }
    fn compile(&mut self, module: &[u8]) -> Result<Vec<u8>, InstallError> {
        if self.refuses { Err(InstallError("no".to_owned())) } else { Ok(module.to_vec()) }
    }
    fn start(&mut self, module: &[u8], ticket: Ticket) {
        self.begun.push((ticket, module.to_vec()));
    }
    fn compiled(&mut self) -> Option<(Ticket, Result<Vec<u8>, InstallError>)> {
        let (ticket, module) = self.done.pop()?;
        Some((ticket, self.compile(&module)))
    }
    fn install(&mut self, module: Vec<u8>) -> Result<ModuleId, InstallError> {
        self.modules += 1;
        self.installed.push(self.modules);
        self.table.extend(slots(&module).into_iter().map(|slot| (slot, self.modules)));
        Ok(ModuleId(self.modules))
    }
    fn enter(&mut self, _slot: u32, _argument: u32, _runtime: &mut dyn Runtime) -> u32 {
        GO_ON
    }
    fn clear(&mut self, slot: u32) {
        self.table.remove(&slot);
    }
    fn discard(&mut self, module: ModuleId) {
        assert!(!self.table.values().any(|&other| other == module.0), "a module that is in use is discarded");
        self.installed.retain(|&other| other != module.0);
    }
    fn tail_calls(&self) -> bool {
        true
    }
    fn now_ms(&self) -> f64 {
        self.ticks.set(self.ticks.get() + self.step_ms);
        self.now + self.ticks.get()
    }
}

/// An engine with pages of functions that return at once, one at the start of each.
struct Board {
    mmu: Mmu,
    mm: MmId,
    jit: Jit<Ledger>,
}

impl Board {
    fn new() -> Board {
        let mut mmu = Mmu::new(32).expect("memory for the test");
        let mm = mmu.create_space(32);
        mmu.activate(mm);
        for page in 0..8 {
            let frame = mmu.alloc_zeroed().expect("a frame");
            let prot = Prot { read: true, write: true, execute: true };
            mmu.map(mm, VirtAddr(u64::from(address(page))).page(), frame, prot);
            mmu.copy_out(mm, VirtAddr(u64::from(address(page))), &[0x40, 0xc3]).expect("mapped");
        }
        let mut jit = Jit::new(Ledger::default(), Options::default()).expect("an engine");
        let mut cpu = Cpu { rip: u64::from(CODE), mode: Mode::I386, ..Cpu::default() };
        cpu.gpr[reg::RSP] = 0x8_0000;
        jit.inner.interpreter.enter(&cpu, 1000);
        Board { mmu, mm, jit }
    }

    fn frame(&self, page: u32) -> FrameId {
        self.mmu.mapping(self.mm, VirtAddr(u64::from(address(page))).page()).expect("mapped").frame
    }

    /// Has the code of a page get hot, and compiles until there is nothing more to do.
    fn heat(&mut self, page: u32) {
        self.heat_in_one_go(page);
        self.go_on();
    }

    fn heat_in_one_go(&mut self, page: u32) {
        let space = (self.mmu.code_epoch(), self.jit.inner.interpreter.flavour());
        let frame = self.frame(page);
        self.jit.wish(space, address(page), frame);
        self.jit.go_on(&mut self.mmu);
    }

    fn go_on(&mut self) {
        for _ in 0..10 {
            self.jit.host.now += 1000.0;
            self.jit.go_on(&mut self.mmu);
        }
    }

    /// Changes the code of a page.
    fn change(&mut self, page: u32) {
        let frame = self.frame(page);
        self.jit.forget(frame, 0..2);
        self.jit.drop_changed(&mut self.mmu);
    }

    /// Has the host finish what it compiles.
    fn finish(&mut self) {
        self.jit.host.done.append(&mut self.jit.host.begun);
        self.go_on();
    }

    /// The slot of the code of a page, or nothing if it is on its way.
    fn slot(&mut self, page: u32) -> Option<Option<u32>> {
        let flavour = self.jit.inner.interpreter.flavour();
        match self.jit.inner.fitting(&mut self.mmu, address(page), flavour)? {
            Fitting::Ready(slot) => Some(Some(slot)),
            Fitting::Coming => Some(None),
        }
    }

    /// Makes the host slow, so that it compiles beside the guest.
    fn slow_down(&mut self) {
        self.jit.handed = Handed::slow();
    }
}

fn address(page: u32) -> u32 {
    CODE + 0x1000 * page
}

#[test]
fn what_is_quick_is_compiled_at_once() {
    let mut b = Board::new();
    b.heat(5);
    let slot = b.slot(5).flatten().expect("compiled");
    assert_eq!(b.jit.host.table.get(&slot), Some(&2));
    assert!(b.jit.host.begun.is_empty());
}

#[test]
fn what_the_host_is_slow_with_is_installed_when_it_is_there() {
    let mut b = Board::new();
    b.slow_down();
    b.heat(5);
    assert_eq!((b.slot(5), b.jit.host.begun.len()), (Some(None), 1));
    // It is not compiled twice.
    b.heat(5);
    assert_eq!(b.jit.host.begun.len(), 1);
    b.finish();
    let slot = b.slot(5).flatten().expect("compiled");
    assert!(b.jit.host.table.contains_key(&slot));
    assert_eq!(b.jit.inner.links.find(address(5)), None, "linked in a space that was never selected");
}

#[test]
fn code_that_changes_while_it_is_compiled_is_not_installed() {
    let mut b = Board::new();
    b.slow_down();
    let (free, installed) = (b.jit.free_slots.len(), b.jit.host.installed.clone());
    b.heat(5);
    b.change(5);
    assert_eq!((b.slot(5), b.jit.free_slots.len()), (None, free - 1));
    b.finish();
    assert_eq!((b.jit.free_slots.len(), &b.jit.host.installed), (free, &installed));
    assert!(b.jit.handed.is_empty());
}

#[test]
fn a_module_that_is_refused_is_counted_and_its_code_is_not_tried_again() {
    for slow in [false, true] {
        let mut b = Board::new();
        if slow {
            b.slow_down();
        }
        b.jit.host.refuses = true;
        let free = b.jit.free_slots.len();
        b.heat(5);
        b.finish();
        assert_eq!((b.slot(5), b.jit.free_slots.len()), (None, free));
        assert_eq!(b.jit.inner.profile.install_errors, 1);
        assert!(b.jit.inner.profile.refused.contains(&(b.frame(5), address(5))));
    }
}

#[test]
fn modules_are_put_together_beside_the_guest_and_what_is_dropped_meanwhile_stays_dropped() {
    let mut b = Board::new();
    b.jit.most_modules = 2;
    for page in [4, 5, 6] {
        b.heat(page);
    }
    let slots = [4, 5, 6].map(|page| b.slot(page).flatten().expect("compiled"));
    assert_eq!(b.jit.host.begun.len(), 1);
    let free = b.jit.free_slots.len();
    b.change(5);
    assert_eq!(b.jit.free_slots.len(), free, "the slot of what is dropped is free too early");
    b.finish();
    assert_eq!(b.jit.free_slots.len(), free + 1);
    assert_eq!((b.slot(4), b.slot(5), b.slot(6)), (Some(Some(slots[0])), None, Some(Some(slots[2]))));
    let modules = slots.map(|slot| b.jit.host.table.get(&slot).copied());
    assert_eq!((modules[1], modules[0]), (None, modules[2]));
    // The first has the function for what is not linked.
    assert_eq!(b.jit.host.installed, [1, modules[0].expect("installed")]);
}

#[test]
fn a_go_ends_when_its_time_is_over_and_the_batch_goes_on_later() {
    let mut b = Board::new();
    b.jit.host.step_ms = 1.0;
    b.heat_in_one_go(5);
    assert!(b.slot(5).flatten().is_none(), "all in one go");
    b.jit.go_on(&mut b.mmu);
    assert!(b.slot(5).flatten().is_none(), "the guest had no time");
    b.go_on();
    assert!(b.slot(5).flatten().is_some());
}
