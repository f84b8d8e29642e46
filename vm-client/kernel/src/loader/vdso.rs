//! The vDSO: a page of code that the kernel gives to every program, and the page of data before it.
//!
//! The image is built from `vdso/vdso32.S` by `vdso/build.sh`. Programs call the kernel through it, signal handlers return
//! through it, and its clocks work without a system call: the time stamp counter counts nanoseconds of monotonic time, and
//! the data page tells what to add for real time.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;

use vm_mem::{FrameId, PAGE_SIZE, Prot};

use crate::mm::vma::{Backing, Visibility, VmaFlags};
use crate::mm::{self, Memory, Mm, Placement};
use crate::{Errno, Result};

/// The ELF image.
pub(super) const IMAGE: &[u8] = include_bytes!("vdso/vdso32.so");
const PAGE: u64 = PAGE_SIZE as u64;

/// Offsets in the image that the kernel itself needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbols {
    pub(crate) vsyscall: u64,
    pub(crate) sigreturn: u64,
    pub(crate) rt_sigreturn: u64,
}

/// The offsets, looked up once.
pub(crate) fn symbols() -> &'static Symbols {
    static SYMBOLS: OnceLock<Symbols> = OnceLock::new();
    SYMBOLS.get_or_init(|| {
        let find = |name| symbol(IMAGE, name).expect("the image in the tree has the symbols of its source");
        Symbols {
            vsyscall: find("__kernel_vsyscall"),
            sigreturn: find("__kernel_sigreturn"),
            rt_sigreturn: find("__kernel_rt_sigreturn"),
        }
    })
}

/// The pages of one machine's vDSO.
pub(crate) struct Vdso {
    memory: Rc<Memory>,
    code: Rc<[FrameId]>,
    data: Rc<[FrameId]>,
    sequence: Cell<u32>,
    offset: Cell<i128>,
}

impl Vdso {
    pub(crate) fn new(memory: &Rc<Memory>) -> Result<Self> {
        let mut mmu = memory.mmu().borrow_mut();
        let code = mmu.alloc_zeroed().map_err(|_| Errno::ENOMEM)?;
        let Ok(data) = mmu.alloc_zeroed() else {
            mmu.release(code);
            return Err(Errno::ENOMEM);
        };
        mmu.frame_mut(code)[..IMAGE.len()].copy_from_slice(IMAGE);
        drop(mmu);
        Ok(Self {
            memory: Rc::clone(memory),
            code: Rc::new([code]),
            data: Rc::new([data]),
            sequence: Cell::new(0),
            offset: Cell::new(0),
        })
    }

    /// Tells programs how far real time is from monotonic time.
    pub(crate) fn set_realtime_offset(&self, offset_ns: i128) {
        if offset_ns == self.offset.get() {
            return;
        }
        self.offset.set(offset_ns);
        let sequence = self.sequence.get().wrapping_add(2);
        self.sequence.set(sequence);
        // No program runs meanwhile, but one may have been stopped between reading the two halves.
        if let [frame] = *self.data {
            let mut mmu = self.memory.mmu().borrow_mut();
            let page = mmu.frame_mut(frame);
            page[..4].copy_from_slice(&sequence.to_le_bytes());
            page[8..16].copy_from_slice(&(offset_ns as u64).to_le_bytes());
        }
    }

    /// Maps it, and returns the address of the image.
    pub(crate) fn map(&self, mm: &Mm) -> Result<u64> {
        let start = mm.free_address(2 * PAGE)?;
        let map = |at: u64, name, frames: &Rc<[FrameId]>, execute| {
            mm.map(mm::Request {
                placement: Placement::Fixed(at),
                len: PAGE,
                prot: Prot { read: true, write: false, execute },
                // Debuggers set breakpoints in it, each in its own copy.
                max_prot: Prot { read: true, write: execute, execute },
                visibility: Visibility::Private,
                backing: Backing::Frames { name, frames: Rc::clone(frames), first: 0 },
                flags: VmaFlags::default(),
            })
        };
        map(start, "[vvar]", &self.data, false)?;
        map(start + PAGE, "[vdso]", &self.code, true)
    }
}

/// Finds a symbol's value in the dynamic symbol table of a 32-bit image, through its program headers.
fn symbol(image: &[u8], name: &str) -> Option<u64> {
    const PT_DYNAMIC: u32 = 2;
    const DT_HASH: u32 = 4;
    const DT_STRTAB: u32 = 5;
    const DT_SYMTAB: u32 = 6;
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    let phoff = word(28)? as usize;
    let phnum = usize::from(*image.get(44)?);
    let dynamic = (0..phnum).map(|n| phoff + n * 32).find(|at| word(*at) == Some(PT_DYNAMIC))?;
    let dynamic = word(dynamic + 4)? as usize;
    let entry = |tag: u32| {
        let at = (dynamic..)
            .step_by(8)
            .take_while(|at| word(*at).is_some_and(|t| t != 0))
            .find(|at| word(*at) == Some(tag))?;
        word(at + 4).map(|value| value as usize)
    };
    let (hash, strings, symbols) = (entry(DT_HASH)?, entry(DT_STRTAB)?, entry(DT_SYMTAB)?);
    let count = word(hash + 4)? as usize;
    (0..count).map(|n| symbols + n * 16).find_map(|at| {
        let text = image.get(strings + word(at)? as usize..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        (text.get(..end)? == name.as_bytes()).then(|| word(at + 4).map(u64::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a symbol's code begins with.
    fn code(name: &str) -> &'static [u8] {
        &IMAGE[symbol(IMAGE, name).unwrap_or_else(|| panic!("{name} is exported")) as usize..]
    }

    #[test]
    fn the_image_fits_its_page_and_exports_what_linux_does() {
        assert!(IMAGE.len() <= PAGE_SIZE);
        assert!(code("__kernel_vsyscall").starts_with(&[0xcd, 0x80, 0xc3]));
        for name in ["clock_gettime", "clock_gettime64", "clock_getres", "gettimeofday", "time"] {
            assert!(!code(&format!("__vdso_{name}")).is_empty());
        }
        assert_eq!(symbol(IMAGE, "read_clock"), None, "local");
    }

    /// The bytes that libgcc and gdb compare: `pop %eax; mov $119, %eax; int $0x80` and `mov $173, %eax; int $0x80`.
    #[test]
    fn signal_trampolines_are_what_unwinders_look_for() {
        assert!(code("__kernel_sigreturn").starts_with(&[0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80]));
        assert!(code("__kernel_rt_sigreturn").starts_with(&[0xb8, 173, 0, 0, 0, 0xcd, 0x80]));
        let before = |name| IMAGE[symbol(IMAGE, name).unwrap() as usize - 1];
        assert_eq!((before("__kernel_sigreturn"), before("__kernel_rt_sigreturn")), (0x90, 0x90));
    }

    /// The source in the tree gives the image in the tree, wherever the tools to tell are installed.
    #[test]
    fn the_image_is_built_from_its_source() {
        let source = include_str!("vdso/vdso32.S");
        for (name, number) in [("SIGRETURN", 119), ("RT_SIGRETURN", 173), ("CLOCK_GETTIME64", 403)] {
            let line = format!("#define NR_{name}");
            let defined =
                source.lines().find(|text| text.split_whitespace().take(2).eq(line.split_whitespace())).unwrap();
            assert_eq!(defined.split_whitespace().nth(2), Some(number.to_string().as_str()));
        }
        let exported: Vec<&str> =
            source.lines().filter_map(|line| line.trim().strip_prefix(".globl")).map(str::trim).collect();
        assert_eq!(exported.len(), 8);
        for name in exported {
            assert!(symbol(IMAGE, name).is_some(), "{name} is missing; run vdso/build.sh");
        }
    }

    #[test]
    fn real_time_is_published_for_programs() {
        let memory = Memory::new(Rc::new(std::cell::RefCell::new(vm_mem::Mmu::new(8).unwrap())));
        let vdso = Vdso::new(&memory).unwrap();
        vdso.set_realtime_offset(0x1122_3344_5566_7788);
        let mmu = memory.mmu().borrow();
        let page = mmu.frame(vdso.data[0]);
        assert_eq!(page[..4], [2, 0, 0, 0]);
        assert_eq!(page[8..16], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    }
}
