//! Signal frames of i386, as a 64-bit kernel builds them for a 32-bit program (`arch/x86/kernel/signal_32.c` has the layout).
//!
//! Handlers installed without SA_SIGINFO get the old frame and return by sigreturn(2), those with it get the `rt` frame and
//! rt_sigreturn(2). The floating-point state lies above the frame, aligned to 64 bytes.

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::{SigSet, Signal};
use vm_cpu::{Cpu, Segment, Selector, reg};
use vm_mem::VirtAddr;

use super::fpstate::{self, FXSAVE_SIZE, HEADER_SIZE};
use super::{Action, AltStack, sa};
use crate::mm::Mm;
use crate::task::{FaultRegs, Task};
use crate::{Errno, Result};

const SIGCONTEXT_SIZE: usize = 88;
/// `pretcode`, `sig`, the context, an unused `_fpstate`, the upper mask word, `retcode`.
const OLD_FRAME_SIZE: u32 = 4 + 4 + SIGCONTEXT_SIZE as u32 + 624 + 4 + 8;
const OLD_MASK_AT: usize = 8 + SIGCONTEXT_SIZE + 624;
/// `pretcode`, `sig`, two pointers, `siginfo_t`, `ucontext`, `retcode`.
const RT_FRAME_SIZE: u32 = 4 + 4 + 8 + 128 + UCONTEXT_SIZE as u32 + 8;
const UCONTEXT_SIZE: usize = 4 + 4 + 12 + SIGCONTEXT_SIZE + 8;
const RT_INFO_AT: usize = 16;
const RT_CONTEXT_AT: usize = RT_INFO_AT + 128;

/// `popl %eax; movl $119, %eax; int $0x80`
const OLD_RETCODE: [u8; 8] = [0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80];
/// `movl $173, %eax; int $0x80`
const RT_RETCODE: [u8; 8] = [0xb8, 173, 0, 0, 0, 0xcd, 0x80, 0];

/// The flags that sigreturn(2) takes from the frame.
const USER_FLAGS: u32 = 0x0005_0dd5;
const FLAG_TF: u32 = 0x100;
const FLAG_DF: u32 = 0x400;
const FLAG_RF: u32 = 0x1_0000;
const USER_CS: u16 = 0x23;
const USER_DS: u16 = 0x2b;

/// Smallest stack that sigaltstack(2) takes.
pub(crate) const MINSIGSTKSZ: u64 = 2048;
/// `ss_flags` of sigaltstack(2).
pub(crate) const SS_ONSTACK: u32 = 1;
/// No alternate stack.
pub(crate) const SS_DISABLE: u32 = 2;
/// The stack is dropped while a handler runs on it.
pub(crate) const SS_AUTODISARM: u32 = 1 << 31;

/// What `ss_flags` says with the stack pointer there.
pub(crate) fn altstack_flags(stack: &AltStack, sp: u64) -> u32 {
    if stack.size == 0 {
        SS_DISABLE
    } else if on_altstack(stack, sp) {
        SS_ONSTACK
    } else {
        0
    }
}

fn on_altstack(stack: &AltStack, sp: u64) -> bool {
    // With SS_AUTODISARM the stack never counts as in use: it is gone while it is.
    stack.flags & SS_AUTODISARM == 0 && stack.contains(sp)
}

struct Writer(Vec<u8>);

impl Writer {
    fn word(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

fn context(cpu: &Cpu, fault: FaultRegs, fpstate: u32, mask: SigSet) -> Vec<u8> {
    let selector = |segment: Segment| u32::from(cpu.segments[segment as usize].selector);
    let mut out = Writer(Vec::with_capacity(SIGCONTEXT_SIZE));
    for segment in [Segment::Gs, Segment::Fs, Segment::Es, Segment::Ds] {
        out.word(selector(segment));
    }
    for number in [reg::RDI, reg::RSI, reg::RBP, reg::RSP, reg::RBX, reg::RDX, reg::RCX, reg::RAX] {
        out.word(cpu.gpr[number] as u32);
    }
    out.word(fault.trapno).word(fault.err).word(cpu.rip as u32).word(selector(Segment::Cs));
    out.word(cpu.eflags).word(cpu.gpr[reg::RSP] as u32).word(selector(Segment::Ss));
    out.word(fpstate).word(mask.0 as u32).word(fault.cr2);
    out.0
}

/// Puts a frame on the stack and points the registers at the handler. The error is EFAULT: the stack is not there.
pub(super) async fn push(
    task: &Task,
    mm: &Mm,
    action: &Action,
    handler: u64,
    info: &SigInfo,
    mask: SigSet,
) -> Result<()> {
    let rt = action.has(sa::SIGINFO);
    let (frame_at, bytes, fp_at, fp_bytes) = {
        let cpu = task.cpu.borrow();
        let stack = task.altstack.get();
        let current = cpu.gpr[reg::RSP] as u32;
        let nested = on_altstack(&stack, u64::from(current));
        let mut sp = current;
        let mut entering = false;
        if action.has(sa::ONSTACK) {
            if altstack_flags(&stack, u64::from(sp)) == 0 {
                sp = (stack.base + stack.size) as u32;
                entering = true;
            }
        } else if cpu.segments[Segment::Ss as usize].selector != USER_DS
            && !action.has(sa::RESTORER)
            && action.restorer != 0
        {
            sp = action.restorer as u32;
        }
        let fx_at = sp.wrapping_sub(FXSAVE_SIZE as u32) & !63;
        let fp_at = fx_at.wrapping_sub(HEADER_SIZE as u32);
        let size = if rt { RT_FRAME_SIZE } else { OLD_FRAME_SIZE };
        // (esp + 4) is a multiple of 16 at the entry of a function.
        let frame_at = (fp_at.wrapping_sub(size).wrapping_add(4) & !15).wrapping_sub(4);
        let outside = !stack.contains(u64::from(frame_at));
        if (nested || entering) && outside {
            return Err(Errno::EFAULT);
        }
        let restorer = if action.has(sa::RESTORER) {
            action.restorer as u32
        } else {
            mm.sigreturn_address(rt).map_or(
                // Code on the stack, as ever, when there is no vDSO.
                frame_at.wrapping_add(size - 8),
                |address| address as u32,
            )
        };
        let sc = context(&cpu, task.last_fault.get(), fp_at, mask);
        let mut out = Writer(Vec::with_capacity(size as usize));
        out.word(restorer).word(info.signal.number());
        if rt {
            out.word(frame_at + RT_INFO_AT as u32).word(frame_at + RT_CONTEXT_AT as u32);
            out.0.extend_from_slice(&info.encode());
            // uc_flags and uc_link; the processor has no XSAVE.
            out.word(0).word(0);
            // The flags as they were set, not whether the stack is in use.
            out.word(stack.base as u32).word(stack.flags).word(stack.size as u32);
            out.0.extend_from_slice(&sc);
            out.word(mask.0 as u32).word((mask.0 >> 32) as u32);
            out.0.extend_from_slice(&RT_RETCODE);
        } else {
            out.0.extend_from_slice(&sc);
            out.0.resize(OLD_MASK_AT, 0);
            out.word((mask.0 >> 32) as u32);
            out.0.extend_from_slice(&OLD_RETCODE);
        }
        let mut fp = fpstate::encode_header(&cpu).to_vec();
        fp.extend_from_slice(&cpu.fxsave_image());
        (frame_at, out.0, fp_at, fp)
    };
    mm.write(VirtAddr(u64::from(fp_at)), &fp_bytes).await?;
    mm.write(VirtAddr(u64::from(frame_at)), &bytes).await?;

    let mut cpu = task.cpu.borrow_mut();
    let frame = u64::from(frame_at);
    cpu.gpr[reg::RSP] = frame;
    cpu.gpr[reg::RAX] = u64::from(info.signal.number());
    cpu.gpr[reg::RDX] = if rt { frame + RT_INFO_AT as u64 } else { 0 };
    cpu.gpr[reg::RCX] = if rt { frame + RT_CONTEXT_AT as u64 } else { 0 };
    cpu.rip = handler;
    cpu.eflags &= !(FLAG_DF | FLAG_RF | FLAG_TF);
    let flat = |selector| Selector { selector, base: 0 };
    cpu.segments[Segment::Cs as usize] = flat(USER_CS);
    for segment in [Segment::Ss, Segment::Ds, Segment::Es] {
        cpu.segments[segment as usize] = flat(USER_DS);
    }
    fpstate::reset(&mut cpu);
    drop(cpu);
    if rt && task.altstack.get().flags & SS_AUTODISARM != 0 {
        task.altstack.set(AltStack::default());
    }
    Ok(())
}

/// Which frame a return is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// sigreturn(2): `int $0x80` after `popl %eax`.
    Old,
    /// rt_sigreturn(2).
    Rt,
}

/// What a frame asks to go back to.
pub(crate) struct Returned {
    /// The signal mask.
    pub(crate) mask: SigSet,
    /// The value that goes into eax.
    pub(crate) eax: u32,
}

/// Takes the registers from the frame at the stack pointer.
pub(crate) async fn pop(task: &Task, mm: &Mm, frame: Frame) -> Result<Returned> {
    let sp = task.cpu.borrow().gpr[reg::RSP] as u32;
    let read = async |at: u32, buf: &mut [u8]| mm.read(VirtAddr(u64::from(at)), buf).await;
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map_or(0, |raw| u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
    };
    let mut sc = [0; SIGCONTEXT_SIZE];
    let mask;
    let mut stack = None;
    match frame {
        Frame::Old => {
            let at = sp.wrapping_sub(8);
            read(at.wrapping_add(8), &mut sc).await?;
            let mut upper = [0; 4];
            read(at.wrapping_add(OLD_MASK_AT as u32), &mut upper).await?;
            mask = u64::from(word(&sc, 80)) | u64::from(u32::from_le_bytes(upper)) << 32;
        }
        Frame::Rt => {
            let at = sp.wrapping_sub(4);
            let mut uc = [0; UCONTEXT_SIZE];
            read(at.wrapping_add(RT_CONTEXT_AT as u32), &mut uc).await?;
            sc.copy_from_slice(&uc[20..20 + SIGCONTEXT_SIZE]);
            mask = u64::from(word(&uc, 108)) | u64::from(word(&uc, 112)) << 32;
            stack = Some((word(&uc, 8), word(&uc, 12), word(&uc, 16)));
        }
    }
    let fpstate = word(&sc, 76);
    let mut header = [0; HEADER_SIZE];
    let mut image = [0; FXSAVE_SIZE];
    if fpstate != 0 {
        read(fpstate, &mut header).await?;
        read(fpstate.wrapping_add(HEADER_SIZE as u32), &mut image).await?;
    }

    // What eax holds then is no result of a system call.
    task.orig_ax.set(-1);
    let mut cpu = task.cpu.borrow_mut();
    if fpstate == 0 {
        fpstate::reset(&mut cpu);
    } else {
        fpstate::decode(&mut cpu, &header, &image).ok_or(Errno::EFAULT)?;
    }
    let numbers = [reg::RDI, reg::RSI, reg::RBP, reg::RSP, reg::RBX, reg::RDX, reg::RCX, reg::RAX];
    for (index, number) in numbers.into_iter().enumerate() {
        cpu.gpr[number] = u64::from(word(&sc, 16 + 4 * index));
    }
    cpu.rip = u64::from(word(&sc, 56));
    let flags = word(&sc, 64);
    cpu.eflags = cpu.eflags & !USER_FLAGS | flags & USER_FLAGS;
    for (index, segment) in [Segment::Gs, Segment::Fs, Segment::Es, Segment::Ds].into_iter().enumerate() {
        let selector = word(&sc, 4 * index) as u16;
        let base = segment_base(&cpu, selector);
        cpu.segments[segment as usize] = Selector { selector, base };
    }
    for (at, segment, flat) in [(60, Segment::Cs, USER_CS), (72, Segment::Ss, USER_DS)] {
        let selector = word(&sc, at) as u16 | 3;
        let fits = |own: vm_cpu::TlsDescriptor| own.present && own.is_code() == (segment == Segment::Cs);
        let local = local_descriptor(&cpu, selector).filter(|own| fits(*own));
        let base = match local {
            Some(own) => u64::from(own.base),
            None if selector == flat => 0,
            None => return Err(Errno::EFAULT),
        };
        cpu.segments[segment as usize] = Selector { selector, base };
    }
    let eax = cpu.gpr[reg::RAX] as u32;
    let sp = cpu.gpr[reg::RSP];
    drop(cpu);
    if let Some((base, flags, size)) = stack {
        let old = task.altstack.get();
        // As sigaltstack(2) would, but errors are ignored.
        let valid = matches!(flags & !SS_AUTODISARM, 0 | SS_ONSTACK) && u64::from(size) >= MINSIGSTKSZ;
        if !on_altstack(&old, sp) && valid {
            task.altstack.set(AltStack { base: u64::from(base), size: u64::from(size), flags });
        }
    }
    Ok(Returned { mask: SigSet(mask), eax })
}

/// What a selector means in the local descriptor table.
fn local_descriptor(cpu: &Cpu, selector: u16) -> Option<vm_cpu::TlsDescriptor> {
    let local = cpu.ldt.as_ref().filter(|_| selector & vm_cpu::Ldt::INDICATOR != 0)?;
    local.get(usize::from(selector >> 3))
}

/// The base a selector loads: of one of the three thread-local descriptors or a local one, else flat.
pub(crate) fn segment_base(cpu: &Cpu, selector: u16) -> u64 {
    if let Some(own) = local_descriptor(cpu, selector) {
        return u64::from(own.base);
    }
    match usize::from(selector >> 3) {
        index @ 12..=14 => u64::from(cpu.tls[index - 12].base),
        _ => 0,
    }
}

/// Whether the signal number is one that a program cannot catch.
pub(crate) fn uncatchable(signal: Signal) -> bool {
    matches!(signal, Signal::KILL | Signal::STOP)
}
