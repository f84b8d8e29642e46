//! Runs recorded cases on an engine and compares registers, flags, floating-point state, memory and the exception.

use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use vm_cpu::{Cpu, Engine, Exception, Exit, F80, Selector, TlsDescriptor};
use vm_mem::{Access, FaultCause, FrameId, MmId, Mmu, PAGE_SIZE, Prot, VirtAddr, Vpn};

use crate::rng::Rng;
use crate::state::{CODE_PAGES, STACK, STACK_BASE, State, WINDOW, read_only_byte, writable_window};
use crate::table::{Form, Group};
use crate::{generate, home, vectors};

/// More instructions than any case has.
const FUEL: u32 = 50_000;
const CODE_PAGES_LEN: usize = 2 * PAGE_SIZE;
/// OF SF ZF AF PF CF.
const ARITHMETIC: u32 = 0x8d5;
/// Frames without a page.
const SPARE_FRAMES: usize = 4;

/// What a group's replay found.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases run.
    pub cases: usize,
    /// Cases that differ.
    pub failed: usize,
    /// Cases that differ in forms whose deviation is known.
    pub known: usize,
    /// Cases that agree only within the tolerance of their form.
    pub close: usize,
    /// Which forms failed.
    pub forms: Vec<usize>,
    /// A few lines for some of the failures, and a count for each form that failed.
    pub text: String,
}

/// Replays a group with the vectors in the tree.
pub fn replay(group: &Group, engine: &mut dyn Engine) -> Result<Report> {
    let path = home().join("vectors").join(format!("{}.bin", group.name));
    let file = std::fs::read(&path).with_context(|| format!("reading {}; record it first", path.display()))?;
    replay_file(group, &file, engine)
}

/// Replays a group with the vectors of a file.
pub fn replay_file(group: &Group, file: &[u8], engine: &mut dyn Engine) -> Result<Report> {
    replay_forms(group, file, 0..group.forms.len(), engine)
}

/// Replays some forms of a group, by number, with the vectors of a file; numbers that there are not are left out.
pub fn replay_forms(group: &Group, file: &[u8], forms: Range<usize>, engine: &mut dyn Engine) -> Result<Report> {
    let recorded = vectors::unpack(file)?;
    ensure!(recorded.len() == group.forms.len(), "{}: table and vectors differ, record again", group.name);
    let mut board = Board::new()?;
    let mut report = Report::default();
    let chosen = group.forms.iter().zip(&recorded).enumerate().filter(|(number, _)| forms.contains(number));
    for (number, (form, vectors)) in chosen {
        // Code that changes itself is put back before each case.
        let rewrite = group.name == "smc" || form.option("rewrite").is_some();
        ensure!(vectors.key == vectors::key(form), "{}: `{}` changed, record again", group.name, form.text);
        ensure!(vectors.cases.len() == form.cases(), "{}: `{}` has other cases, record again", group.name, form.text);
        board.lay_out(Rng::new("layout", vectors.key));
        let mut failed = 0;
        for (index, case) in vectors.cases.iter().enumerate() {
            let before = generate::input(form, index);
            let expected = vectors::decode(&before, case)?;
            board.set_code(engine, &before, &vectors.code, index == 0 || rewrite)?;
            let (mut actual, exit) = board.run(engine, &before)?;
            forgive(form, &vectors.code, &before, &expected, &mut actual);
            report.cases += 1;
            if form.option("ulp").is_some() && expected.st != actual.st {
                report.close += 1;
            }
            if let Some(difference) = compare(form, &before, &expected, &actual) {
                failed += 1;
                if form.option("known").is_none() && failed <= 2 && report.text.len() < 40_000 {
                    let code: String = vectors.code.iter().map(|b| format!("{b:02x} ")).collect();
                    writeln!(report.text, "{} #{index} [{code}] {exit:?}\n{difference}", form.text)?;
                }
            }
        }
        if let Some(reason) = form.option("known") {
            ensure!(failed > 0, "{}: `{}` now agrees with hardware, remove known={reason}", group.name, form.text);
            report.known += failed;
            continue;
        }
        if failed > 0 {
            writeln!(report.text, "FAILED {failed}/{} of `{}`", form.cases(), form.text)?;
        }
        if failed > 0 {
            report.forms.push(number);
        }
        report.failed += failed;
    }
    Ok(report)
}

/// The mapped memory that cases run on, as the harness maps it.
struct Board {
    mmu: Mmu,
    mm: MmId,
    pages: Vec<(u32, Prot)>,
    /// More than there are pages, so that neighbours may lie apart.
    frames: Vec<FrameId>,
}

impl Board {
    fn new() -> Result<Self> {
        let mut mmu = Mmu::new(64).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let mm = mmu.create_space(32);
        mmu.activate(mm);
        let read = Prot { read: true, ..Prot::default() };
        let write = Prot { write: true, ..read };
        // Without NX a 32-bit program could execute data; the recording kernel has it.
        let code = Prot { execute: true, ..write };
        let pages = vec![
            (CODE_PAGES, code),
            (CODE_PAGES + 0x1000, code),
            (0x2000_0000, write),
            (0x2000_1000, write),
            (0x2001_0000, write),
            (0x2001_1000, read),
            (0x2002_0000, write),
            (0x2003_0000, write),
        ];
        let frames = (0..pages.len() + SPARE_FRAMES).map(|_| mmu.alloc_zeroed()).collect::<Result<_, _>>();
        let frames = frames.map_err(|_| anyhow::anyhow!("out of frames"))?;
        let mut board = Self { mmu, mm, pages, frames };
        board.map_all();
        Ok(board)
    }

    /// Puts the pages into frames of a random choice and order, sometimes; at other times they stay where they are.
    fn lay_out(&mut self, mut rng: Rng) {
        if !rng.one_in(2) {
            return;
        }
        for &frame in &self.frames {
            self.mmu.frame_mut(frame).fill(0);
        }
        for at in (1..self.frames.len()).rev() {
            self.frames.swap(at, rng.below(at as u64 + 1) as usize);
        }
        self.map_all();
    }

    fn map_all(&mut self) {
        for (&(addr, prot), &frame) in self.pages.iter().zip(&self.frames) {
            if !prot.write {
                for (i, byte) in self.mmu.frame_mut(frame).iter_mut().enumerate() {
                    *byte = read_only_byte(addr + i as u32);
                }
            }
            // The mapping has a reference of its own.
            self.mmu.retain(frame);
            self.mmu.map(self.mm, VirtAddr(u64::from(addr)).page(), frame, prot);
        }
    }

    fn write(&mut self, addr: u32, bytes: &[u8]) -> Result<()> {
        self.mmu
            .copy_out(self.mm, VirtAddr(u64::from(addr)), bytes)
            .map_err(|(_, fault)| anyhow::anyhow!("writing {addr:#x}: {fault:?}"))
    }

    fn read(&mut self, addr: u32, bytes: &mut [u8]) -> Result<()> {
        self.mmu
            .copy_in(self.mm, VirtAddr(u64::from(addr)), bytes)
            .map_err(|(_, fault)| anyhow::anyhow!("reading {addr:#x}: {fault:?}"))
    }

    fn set_code(&mut self, engine: &mut dyn Engine, state: &State, code: &[u8], anew: bool) -> Result<()> {
        if !anew {
            return Ok(());
        }
        let mut pages = vec![0xcc; CODE_PAGES_LEN];
        let at = (state.eip - CODE_PAGES) as usize;
        let room = code.len().min(CODE_PAGES_LEN - at);
        pages[at..at + room].copy_from_slice(&code[..room]);
        self.write(CODE_PAGES, &pages)?;
        for page in 0..2 {
            let page = Vpn(u64::from(CODE_PAGES) / PAGE_SIZE as u64 + page);
            if let Some(mapping) = self.mmu.mapping(self.mm, page) {
                engine.forget(mapping.frame, 0..PAGE_SIZE as u16);
            }
        }
        Ok(())
    }

    fn run(&mut self, engine: &mut dyn Engine, before: &State) -> Result<(State, Exit)> {
        let writable = writable_window(before.window_base);
        self.write(before.window_base, &before.window[..writable])?;
        self.write(STACK_BASE, &before.stack)?;
        let mut cpu = to_cpu(before);
        let exit = engine.run(&mut cpu, &mut self.mmu, FUEL);
        let mut after = from_cpu(&cpu);
        after.window_base = before.window_base;
        after.window = before.window;
        let mut window = [0; WINDOW];
        self.read(before.window_base, &mut window[..writable])?;
        after.window[..writable].copy_from_slice(&window[..writable]);
        let mut stack = [0; STACK];
        self.read(STACK_BASE, &mut stack)?;
        after.stack = stack;
        (after.trap, after.error, after.cr2) = trap(exit);
        Ok((after, exit))
    }
}

fn trap(exit: Exit) -> (u8, u8, u32) {
    match exit {
        Exit::Fault(fault) => {
            let protection = u8::from(fault.cause == FaultCause::Forbidden);
            let access = match fault.access {
                Access::Read => 0,
                Access::Write => 2,
                Access::Execute => 0x10,
            };
            (14, protection | access, fault.addr.0 as u32)
        }
        Exit::Exception(exception) => {
            let number = match exception {
                Exception::DivideError => 0,
                Exception::Debug(_) => 1,
                Exception::Breakpoint => 3,
                Exception::Overflow => 4,
                Exception::BoundRange => 5,
                Exception::InvalidOpcode => 6,
                Exception::SegmentNotPresent(_) => 11,
                Exception::StackFault(_) => 12,
                Exception::Protection | Exception::ProtectionOf(_) => 13,
                Exception::FloatingPoint => 16,
                Exception::AlignmentCheck => 17,
                Exception::SimdFloatingPoint => 19,
            };
            (number, 0, 0)
        }
        Exit::Syscall(_) => (0x80, 0, 0),
        Exit::ReadTsc { .. } => (0x81, 0, 0),
        Exit::OutOfFuel => (0x82, 0, 0),
    }
}

fn to_cpu(state: &State) -> Cpu {
    let mut cpu = Cpu::default();
    for (register, value) in cpu.gpr.iter_mut().zip(state.gpr) {
        *register = u64::from(value);
    }
    cpu.rip = u64::from(state.eip);
    cpu.eflags = state.eflags;
    let tls = |base: u32| TlsDescriptor { present: true, base, limit: 0xfffff, flags: 0x51 };
    cpu.tls[1] = tls(0x2000_0000);
    cpu.tls[2] = tls(0x2000_0100);
    for (index, selector) in [(0, state.seg[0]), (3, state.seg[1]), (4, state.seg[2]), (5, state.seg[3])] {
        let base = match selector {
            0x6b => 0x2000_0000,
            0x73 => 0x2000_0100,
            _ => 0,
        };
        cpu.segments[index] = Selector { selector, base };
    }
    cpu.fpu.control = state.fcw;
    cpu.fpu.status = state.fsw & !0x3800;
    cpu.fpu.top = (state.fsw >> 11 & 7) as u8;
    cpu.fpu.valid = state.ftw;
    for (register, (mantissa, sign_exponent)) in cpu.fpu.regs.iter_mut().zip(state.st) {
        *register = F80 { mantissa, sign_exponent };
    }
    cpu.mxcsr = state.mxcsr;
    cpu.xmm[..8].copy_from_slice(&state.xmm);
    cpu
}

fn from_cpu(cpu: &Cpu) -> State {
    let mut state = State::default();
    for (register, value) in state.gpr.iter_mut().zip(cpu.gpr) {
        *register = value as u32;
    }
    state.eip = cpu.rip as u32;
    state.eflags = cpu.eflags;
    for (selector, index) in state.seg.iter_mut().zip([0, 3, 4, 5]) {
        *selector = cpu.segments[index].selector;
    }
    state.fcw = cpu.fpu.control;
    state.fsw = cpu.fpu.status & !0x3800 | u16::from(cpu.fpu.top & 7) << 11;
    state.ftw = cpu.fpu.valid;
    for (register, value) in state.st.iter_mut().zip(cpu.fpu.regs) {
        *register = (value.mantissa, value.sign_exponent);
    }
    state.mxcsr = cpu.mxcsr;
    state.xmm.copy_from_slice(&cpu.xmm[..8]);
    state
}

/// Takes over from the expected page fault what the form leaves to the processor (which of several faulting bytes is
/// reported first) and what processors differ in: the flags at a comparison of strings that faults.
fn forgive(form: &Form, code: &[u8], before: &State, expected: &State, actual: &mut State) {
    let same_page = expected.trap == 14 && actual.trap == 14 && expected.cr2 >> 12 == actual.cr2 >> 12;
    let at = actual.eip.wrapping_sub(before.eip) as usize;
    if same_page && let Some([0xf2 | 0xf3, 0xa6 | 0xa7 | 0xae | 0xaf]) = code.get(at..at.saturating_add(2)) {
        actual.eflags = actual.eflags & !ARITHMETIC | expected.eflags & ARITHMETIC;
    }
    if form.option("ignore") == Some("address") && same_page {
        actual.cr2 = expected.cr2;
    }
}

/// Describes the differences, if there are any that the form does not allow.
fn compare(form: &Form, before: &State, expected: &State, actual: &State) -> Option<String> {
    let mut text = String::new();
    let mut differ =
        |name: &str, before: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug, actual: &dyn std::fmt::Debug| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    {name}: was {before:x?}, expected {expected:x?}, got {actual:x?}");
        };
    const NAMES: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
    for (i, name) in NAMES.into_iter().enumerate() {
        if expected.gpr[i] != actual.gpr[i] {
            differ(name, &before.gpr[i], &expected.gpr[i], &actual.gpr[i]);
        }
        if expected.st[i] != actual.st[i] && !close(form, expected.st[i], actual.st[i]) {
            differ(&format!("r{i}"), &before.st[i], &expected.st[i], &actual.st[i]);
        }
        if expected.xmm[i] != actual.xmm[i] {
            differ(&format!("xmm{i}"), &before.xmm[i], &expected.xmm[i], &actual.xmm[i]);
        }
    }
    let defined = 0xffff & !form.undefined_flags();
    if (expected.eflags ^ actual.eflags) & defined != 0 {
        differ("eflags", &before.eflags, &(expected.eflags & defined), &(actual.eflags & defined));
    }
    let status = if form.option("ulp").is_some() { !0x220 } else { !0 };
    if (expected.fsw ^ actual.fsw) & status != 0 {
        differ("fsw", &before.fsw, &expected.fsw, &actual.fsw);
    }
    let rest = |s: &State| (s.eip, s.seg, s.fcw, s.ftw, s.mxcsr, s.trap, s.error, s.cr2);
    if rest(expected) != rest(actual) {
        differ("eip seg fcw ftw mxcsr trap error cr2", &rest(before), &rest(expected), &rest(actual));
    }
    for (name, before, expected, actual) in [
        ("window", &before.window[..], &expected.window[..], &actual.window[..]),
        ("stack", &before.stack[..], &expected.stack[..], &actual.stack[..]),
    ] {
        let differing = expected.iter().zip(actual).enumerate().filter(|(_, (a, b))| a != b);
        let places: Vec<usize> = differing.map(|(i, _)| i).collect();
        if let (Some(&first), Some(&last)) = (places.first(), places.last()) {
            let range = first..last + 1;
            differ(
                &format!("{name}[{first:#x}..]"),
                &&before[range.clone()],
                &&expected[range.clone()],
                &&actual[range],
            );
        }
    }
    if text.is_empty() { None } else { Some(text) }
}

/// Whether two x87 values are as close as the form's `ulp` option allows (in units of the last place).
fn close(form: &Form, expected: (u64, u16), actual: (u64, u16)) -> bool {
    let Some(allowed) = form.option("ulp").and_then(|v| v.parse::<u128>().ok()) else {
        return false;
    };
    // Magnitudes are ordered like integers of exponent and fraction.
    let order = |(mantissa, top): (u64, u16)| u128::from(top & 0x7fff) << 63 | u128::from(mantissa & !(1 << 63));
    expected.1 & 0x8000 == actual.1 & 0x8000 && order(expected).abs_diff(order(actual)) <= allowed
}
