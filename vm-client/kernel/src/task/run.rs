//! The life of a task: run guest code, handle why it stopped, deliver signals, until it ends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use linux_abi::siginfo::{SigFields, SigInfo, code};
use linux_abi::signal::Signal;
use vm_cpu::{Cpu, DebugCause, Exception, Exit, reg};
use vm_mem::{Access, FaultCause, PageFault, VirtAddr, Watch};
use vm_rt::yield_now;

use super::{FaultRegs, Task, exit};
use crate::mm::FaultError;
use crate::profile::Ran;
use crate::ptrace::registers;
use crate::signal::deliver::{Next, deliver};
use crate::{Kernel, SyscallCx, syscall};

/// How long a task runs before others get their turn. Short, so that a key is echoed soon beside busy loops.
const SLICE: Duration = Duration::from_micros(1500);
/// What a system call or a fault is taken to cost, in instructions, when slices are counted.
const EXIT_COST: u32 = 400;
/// DR6: a single step.
const DEBUG_STEP: u32 = 0x4000;
/// The resume flag.
const FLAG_RF: u32 = 0x1_0000;
/// Runs shorter than this say nothing about the speed of the engine.
const MEASURABLE: u64 = 20_000;

impl Kernel {
    /// Starts a task that is in the tables already.
    pub(crate) fn launch(&self, task: &Rc<Task>) {
        let cx = SyscallCx { kernel: self.strong(), task: Rc::clone(task) };
        self.executor.spawn(async move {
            let accounted = Rc::clone(&cx.task);
            let kernel = Rc::clone(&cx.kernel);
            let mut life = pin!(live(cx));
            poll_fn(move |context| {
                accounted.remember_waker(context);
                let (began, retired) = (kernel.clock.host_ns(), kernel.clock.retired());
                kernel.poll_began.set(began);
                kernel.turn_of_task.set(began);
                kernel.running.set(accounted.pid());
                let result = life.as_mut().poll(context);
                let spent = kernel.clock.host_ns().saturating_sub(began);
                account(&kernel, &accounted, spent, kernel.clock.retired() - retired);
                result
            })
            .await;
        });
    }
}

/// Splits the time of one poll into guest code and kernel by the instructions retired.
fn account(kernel: &Kernel, task: &Task, spent: u64, retired: u64) {
    let user = kernel.clock.ns_for(retired).min(spent);
    let mut usage = task.usage.get();
    usage.user += Duration::from_nanos(user);
    usage.system += Duration::from_nanos(spent - user);
    task.usage.set(usage);
    kernel.busy_ns.set(kernel.busy_ns.get() + spent);
    kernel.check_cpu_timers(&task.group);
}

async fn live(cx: SyscallCx) {
    let mut restarts = false;
    let mut fuel = full_slice(&cx);
    loop {
        let task = &cx.task;
        if (std::mem::take(&mut restarts) || task.saved_mask.get().is_some() || task.signal_pending())
            && deliver(&cx).await == Next::Exit
        {
            break;
        }
        if fuel == 0 {
            let mut usage = task.usage.get();
            usage.involuntary_switches += 1;
            task.usage.set(usage);
            yield_now().await;
            fuel = full_slice(&cx);
            continue;
        }
        let exit = run_guest(&cx, &mut fuel);
        if !matches!(exit, Exit::Syscall(_)) {
            cx.task.orig_ax.set(-1);
        }
        match exit {
            Exit::Syscall(_) => restarts = syscall::dispatch(&cx).await,
            Exit::Fault(fault) => page_fault(&cx, fault).await,
            Exit::Exception(exception) => raise(&cx, exception),
            Exit::ReadTsc { .. } | Exit::OutOfFuel => {}
        }
    }
    exit::end(&cx).await;
}

/// A slice in instructions; a nice task gets a shorter one, down to a tenth. One that is not nice gets enough for the speed to
/// be measured: else a host that was slow for a moment would be taken for slow for ever.
fn full_slice(cx: &SyscallCx) -> u32 {
    let nice = cx.task.nice.get();
    if nice > 0 {
        return cx.kernel.clock.instructions_in(SLICE * (22 - nice as u32).max(2) / 22);
    }
    cx.kernel.clock.instructions_in(SLICE).max(2 * MEASURABLE as u32)
}

fn run_guest(cx: &SyscallCx, fuel: &mut u32) -> Exit {
    let kernel = &cx.kernel;
    let Some(mm) = cx.task.mm() else { return Exit::OutOfFuel };
    let mut cpu = cx.task.cpu.borrow_mut();
    let mut mmu = kernel.mmu.borrow_mut();
    let mut engine = kernel.engine.borrow_mut();
    if mmu.active() != Some(mm.id()) {
        mmu.activate(mm.id());
    }
    loop {
        let before = cpu.retired;
        // The first run of a poll starts when the poll does: no clock has to be read for its beginning.
        let began = kernel.poll_began.replace(u64::MAX);
        let watched = cpu.debug.armed();
        if watched {
            mmu.watch(watches(&cpu));
        }
        let profile = kernel.profile.is_on().then(|| (&kernel.profile, kernel.clock.host_ns()));
        let given = profile.map_or(*fuel, |(profile, _)| profile.fuel(*fuel));
        let exit = engine.run(&mut cpu, &mut mmu, given);
        if watched {
            mmu.unwatch();
        }
        let ran = cpu.retired.wrapping_sub(before);
        kernel.clock.add_retired(ran);
        if ran >= MEASURABLE && began != u64::MAX {
            kernel.clock.measure(kernel.clock.host_ns().saturating_sub(began), ran);
        }
        *fuel = fuel.saturating_sub(u32::try_from(ran).unwrap_or(u32::MAX));
        if let Some((profile, since)) = profile {
            let spent = kernel.clock.host_ns().saturating_sub(since);
            let region = profile.is_due(ran).then(|| engine.compiled_at(&mmu, cpu.rip)).flatten();
            if profile.note(&mm, &cpu, &Ran { exit: &exit, retired: ran, ns: spent, region }) && *fuel > 0 {
                continue;
            }
        }
        kernel.hot_code.note(&mm, &mmu, engine.take_hot());
        match exit {
            Exit::ReadTsc { aux } => {
                put_tsc(&mut cpu, kernel.clock.now_ns(), aux);
                *fuel = fuel.saturating_sub(EXIT_COST / 8);
                if *fuel == 0 {
                    return Exit::OutOfFuel;
                }
            }
            Exit::OutOfFuel => {
                *fuel = 0;
                return exit;
            }
            other => {
                *fuel = fuel.saturating_sub(EXIT_COST);
                return other;
            }
        }
    }
}

/// What the debug registers watch of memory.
fn watches(cpu: &Cpu) -> Vec<Watch> {
    let data = cpu.debug.enabled().filter(|(.., kind)| *kind != 0);
    data.map(|(index, start, len, kind)| Watch { bit: 1 << index, start, len, loads: kind == 3 }).collect()
}

fn put_tsc(cpu: &mut Cpu, tsc: u64, aux: bool) {
    cpu.gpr[reg::RAX] = tsc & 0xffff_ffff;
    cpu.gpr[reg::RDX] = tsc >> 32;
    if aux {
        cpu.gpr[reg::RCX] = 0;
    }
}

async fn page_fault(cx: &SyscallCx, fault: PageFault) {
    let mm = cx.mm();
    let Ok(outcome) = cx.task.killable(mm.fault(fault.addr, fault.access)).await else { return };
    let Err(error) = outcome else {
        let kernel = &cx.kernel;
        kernel.hot_code.page_came(&mm, fault.addr.0, &kernel.mmu.borrow(), &mut **kernel.engine.borrow_mut());
        return;
    };
    let (signal, code) = match error {
        FaultError::NotMapped => (Signal::SEGV, code::SEGV_MAPERR),
        FaultError::Forbidden => (Signal::SEGV, code::SEGV_ACCERR),
        FaultError::Bus => (Signal::BUS, code::BUS_ADRERR),
        FaultError::OutOfMemory => {
            cx.kernel.send_signal_group(&cx.task.group, SigInfo::kernel(Signal::KILL));
            return;
        }
    };
    let present = fault.cause == FaultCause::Forbidden;
    let bits = match fault.access {
        Access::Read => 0,
        Access::Write => 2,
        Access::Execute => 16,
    };
    let addr = fault.addr.0 as u32;
    cx.task.last_fault.set(FaultRegs { trapno: 14, err: 4 | bits | u32::from(present), cr2: addr });
    cx.kernel.force_signal(&cx.task, SigInfo::fault(signal, code, addr));
}

/// Tells which instruction could not be run, by its bytes.
fn note_instruction(cx: &SyscallCx, at: u32) {
    /// UD2 is meant to be invalid.
    const UD2: [u8; 2] = [0x0f, 0x0b];
    let mut bytes = [0; 8];
    let Some(mm) = cx.task.mm() else { return };
    // At the end of a page fewer bytes are there.
    let _ = mm.read_present(VirtAddr(u64::from(at)), &mut bytes);
    if !bytes.starts_with(&UD2) {
        let shown: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        cx.kernel.count_missing("instruction", shown.join(" "), cx.task.comm_text());
    }
}

/// Turns a processor exception into its signal, as the i386 entry code of Linux does.
fn raise(cx: &SyscallCx, exception: Exception) {
    let mut cpu = cx.task.cpu.borrow_mut();
    let here = cpu.rip as u32;
    let fpu_code = |raised: u32| match raised {
        r if r & 0x01 != 0 => code::FPE_FLTINV,
        r if r & 0x04 != 0 => code::FPE_FLTDIV,
        r if r & 0x08 != 0 => code::FPE_FLTOVF,
        r if r & 0x12 != 0 => code::FPE_FLTUND,
        r if r & 0x20 != 0 => code::FPE_FLTRES,
        _ => 0,
    };
    let at = |signal, code, addr| SigInfo { signal, errno: 0, code, fields: SigFields::Fault { addr } };
    let (trapno, info) = match exception {
        Exception::DivideError => (0, at(Signal::FPE, code::FPE_INTDIV, here)),
        Exception::Debug(DebugCause::Breakpoints(hit)) => {
            let stepped = cpu.eflags & registers::FLAG_TF != 0;
            cpu.debug.status |= u32::from(hit) | if stepped { DEBUG_STEP } else { 0 };
            // The instruction a breakpoint is on is run when the task goes on.
            if cpu.debug.enabled().any(|(index, _, _, kind)| kind == 0 && hit & 1 << index != 0) {
                cpu.eflags |= FLAG_RF;
            }
            (1, at(Signal::TRAP, if stepped { code::TRAP_TRACE } else { code::TRAP_HWBKPT }, here))
        }
        Exception::Debug(DebugCause::SingleStep) => {
            cpu.debug.status |= DEBUG_STEP;
            (1, at(Signal::TRAP, code::TRAP_TRACE, here))
        }
        Exception::Debug(DebugCause::Int1) => (1, at(Signal::TRAP, code::TRAP_BRKPT, here)),
        Exception::Breakpoint => (3, SigInfo::kernel(Signal::TRAP)),
        Exception::Overflow => (4, SigInfo::kernel(Signal::SEGV)),
        Exception::BoundRange => (5, SigInfo::kernel(Signal::SEGV)),
        Exception::InvalidOpcode => (6, at(Signal::ILL, code::ILL_ILLOPN, here)),
        Exception::SegmentNotPresent(_) => (11, SigInfo::kernel(Signal::BUS)),
        Exception::StackFault(_) => (12, SigInfo::kernel(Signal::BUS)),
        Exception::Protection | Exception::ProtectionOf(_) => (13, SigInfo::kernel(Signal::SEGV)),
        Exception::FloatingPoint => {
            let raised = u32::from(cpu.fpu.status & !cpu.fpu.control);
            (16, at(Signal::FPE, fpu_code(raised), here))
        }
        Exception::AlignmentCheck => (17, at(Signal::BUS, code::BUS_ADRALN, 0)),
        Exception::SimdFloatingPoint => {
            let raised = !(cpu.mxcsr >> 7) & cpu.mxcsr;
            (19, at(Signal::FPE, fpu_code(raised), here))
        }
    };
    let cr2 = cx.task.last_fault.get().cr2;
    let err = match exception {
        Exception::SegmentNotPresent(code) | Exception::StackFault(code) | Exception::ProtectionOf(code) => {
            u32::from(code)
        }
        _ => 0,
    };
    cx.task.last_fault.set(FaultRegs { trapno, err, cr2 });
    drop(cpu);
    if exception == Exception::InvalidOpcode {
        note_instruction(cx, here);
    }
    cx.kernel.force_signal(&cx.task, info);
}
