//! Answers to what generated code requests while it runs.

use vm_cpu::F80;
use vm_cpu::Trap;
use vm_cpu::assist::{self, Effects};
use vm_cpu::flags::bit;
use vm_cpu::interp::Done;
use vm_mem::{Access, Mmu, Run, VirtAddr};

use super::Inner;
use crate::emit::MOST_BYTES;
use crate::host::{Request, Runtime};
use crate::lazy::Kind;

/// Pages of a window to each side of where it is wanted.
const WINDOW_PAGES: u32 = 16;

/// A running call of generated code.
pub(super) struct Call<'a> {
    pub(super) inner: &'a mut Inner,
    pub(super) mmu: &'a mut Mmu,
}

/// Answers of requests other than loads and flags.
mod answer {
    pub(super) const DONE: u32 = 0;
    pub(super) const REFUSED: u32 = 1;
    /// Done, but what is run next may have changed.
    pub(super) const CODE_CHANGED: u32 = 2;
}

impl Runtime for Call<'_> {
    fn request(&mut self, what: u32, a: u32, b: u32) -> u32 {
        let address = VirtAddr(u64::from(a));
        let len = (b as usize).min(256);
        match Request::ALL.get(what as usize) {
            Some(Request::Load) => self.load(address, len.min(16)),
            Some(Request::Store) => self.store(address, len.min(16), true),
            Some(Request::Check) => self.store(address, len, false),
            Some(Request::Assist) => self.assist(a),
            Some(Request::Operation) => self.operation(a),
            Some(Request::Flags) => self.flags(),
            Some(Request::ToDoubles) => {
                let fpu = &self.inner.interpreter.core().fpu;
                for i in (0..8).filter(|i| fpu.valid >> i & 1 != 0) {
                    self.inner.state.x87[i][0] = fpu.regs[i].to_f64();
                }
                answer::DONE
            }
            Some(Request::FromDoubles) => {
                let fpu = &mut self.inner.interpreter.core().fpu;
                for i in (0..8).filter(|i| fpu.valid >> i & 1 != 0) {
                    fpu.regs[i] = F80::from_f64(self.inner.state.x87[i][0]);
                }
                answer::DONE
            }
            Some(Request::Window) => self.window(a, b.min(MOST_BYTES)),
            None => answer::REFUSED,
        }
    }
}

impl Call<'_> {
    fn refuse(&mut self, why: Option<Trap>) -> u32 {
        self.inner.refusal = why;
        answer::REFUSED
    }

    fn load(&mut self, address: VirtAddr, len: usize) -> u32 {
        self.inner.profile.slow_loads += 1;
        match self.mmu.direct(address, len, Access::Read) {
            Ok(Some(offset)) => return offset,
            Ok(None) => {}
            Err(fault) => {
                self.refuse(Some(Trap::Fault(fault)));
                return u32::MAX;
            }
        }
        let mut bytes = [0; 16];
        if let Err(fault) = self.mmu.load_bytes(address, &mut bytes[..len]) {
            self.refuse(Some(Trap::Fault(fault)));
            return u32::MAX;
        }
        let Some(bounce) = self.inner.bounce else { return u32::MAX };
        self.mmu.frame_mut(bounce)[..16].copy_from_slice(&bytes);
        bounce.0 << 12
    }

    fn store(&mut self, address: VirtAddr, len: usize, for_real: bool) -> u32 {
        self.inner.profile.slow_stores += 1;
        if let Err(fault) = self.mmu.check_store(address, len) {
            return self.refuse(Some(Trap::Fault(fault)));
        }
        let code = match self.mmu.code_under(address, len) {
            Ok(code) => code,
            Err(fault) => return self.refuse(Some(Trap::Fault(fault))),
        };
        if !code.is_empty() && self.inner.is_code(&code) {
            self.inner.profile.code_stores += 1;
            return self.refuse(None);
        }
        if for_real {
            let bytes = self.inner.state.bounce;
            if let Err(fault) = self.mmu.store_bytes(address, &bytes[..len.min(16)]) {
                return self.refuse(Some(Trap::Fault(fault)));
            }
            if !code.is_empty() {
                // Data beside code: nothing was made from it.
                self.mmu.take_code_writes();
            }
        }
        answer::DONE
    }

    fn window(&mut self, address: u32, len: u32) -> u32 {
        self.inner.profile.windows += 1;
        if let Some(run) = window(self.mmu, address, len) {
            self.inner.state.take_window(run);
            return answer::DONE;
        }
        self.inner.profile.windows_missed += 1;
        self.inner.windowless = true;
        self.refuse(None)
    }

    fn assist(&mut self, number: u32) -> u32 {
        let Some(&op) = self.inner.operations.all.get(number as usize) else { return answer::REFUSED };
        let row = assist::row(op.assist_number());
        let does = |effects| row.effects.contains(effects);
        if does(Effects::READS_FLAGS) || does(Effects::WRITES_FLAGS) {
            self.inner.settle_flags();
        }
        self.inner.profile.assists += 1;
        self.inner.profile.request(number as usize);
        if let Err(trap) = (row.run)(self.inner.interpreter.core(), self.mmu, op) {
            return self.refuse(Some(trap));
        }
        self.after_stores()
    }

    fn operation(&mut self, number: u32) -> u32 {
        let Some(&op) = self.inner.operations.all.get(number as usize) else { return answer::REFUSED };
        self.inner.settle_flags();
        self.inner.profile.operations += 1;
        self.inner.profile.request(number as usize);
        match self.inner.interpreter.one(self.mmu, op) {
            Done::Well | Done::CodeWritten => answer::DONE,
            Done::Trap(trap) => self.refuse(Some(trap)),
        }
    }

    fn after_stores(&mut self) -> u32 {
        if !self.mmu.has_code_writes() {
            return answer::DONE;
        }
        if self.inner.is_code(self.mmu.code_writes()) {
            return answer::CODE_CHANGED;
        }
        self.mmu.take_code_writes();
        answer::DONE
    }

    fn flags(&mut self) -> u32 {
        self.inner.profile.flag_requests += 1;
        let args = self.inner.state.args;
        *self.inner.profile.flag_kinds.entry(args.kind).or_default() += 1;
        if Kind(args.kind).needs_memory() {
            self.inner.settle_flags();
        }
        let before = self.inner.interpreter.core().flags;
        args.flags(before).to_eflags() & bit::ARITHMETIC
    }
}

/// The run of pages that has so many bytes at an address, if they can be stored to without more ado.
pub(super) fn window(mmu: &mut Mmu, address: u32, len: u32) -> Option<Run> {
    let last = address.checked_add(len.saturating_sub(1))?;
    for at in [address, last] {
        let at = VirtAddr(u64::from(at));
        if mmu.writable_run(at, 0).is_none() {
            mmu.direct(at, 1, Access::Write).ok()??;
        }
    }
    let run = mmu.writable_run(VirtAddr(u64::from(address)), WINDOW_PAGES)?;
    (last - run.start < run.len).then_some(run)
}
