//! Behaviour of the engine as a whole. What single instructions do is recorded in `tests/isa`.

use super::*;
use crate::{Segment, Selector, TlsDescriptor, reg};
use vm_mem::{FaultCause, MmId, Prot};

const CODE: u64 = 0x1000;
const DATA: u64 = 0x8000;
const STACK: u64 = 0x6000;

/// An address space with two pages of code, one of stack and one of data, followed by a page that is not there.
struct Board {
    mmu: Mmu,
    mm: MmId,
    engine: Interpreter,
    cpu: Cpu,
}

impl Board {
    fn new(code: &[u8]) -> Board {
        Board::with_mode(Mode::I386, code)
    }

    fn with_mode(mode: Mode, code: &[u8]) -> Board {
        let mut mmu = Mmu::new(32).expect("memory for the test");
        let mm = mmu.create_space(if mode == Mode::I386 { 32 } else { 47 });
        mmu.activate(mm);
        let mut cpu = Cpu { rip: CODE, mode, ..Cpu::default() };
        cpu.gpr[reg::RSP] = STACK + 0x800;
        let mut board = Board { mmu, mm, engine: Interpreter::new(), cpu };
        for page in [CODE, CODE + 0x1000, STACK, DATA] {
            board.map(page, all());
        }
        board.write(CODE, code);
        board
    }

    fn map(&mut self, page: u64, prot: Prot) -> FrameId {
        let frame = self.mmu.alloc_zeroed().expect("a frame");
        self.mmu.map(self.mm, VirtAddr(page).page(), frame, prot);
        frame
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.mmu.copy_out(self.mm, VirtAddr(at), bytes).expect("mapped");
    }

    fn word(&mut self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.mmu.copy_in(self.mm, VirtAddr(at), &mut bytes).expect("mapped");
        u32::from_le_bytes(bytes)
    }

    fn run(&mut self) -> Exit {
        self.engine.run(&mut self.cpu, &mut self.mmu, 10_000)
    }

    /// Runs from the start of the code again.
    fn rerun(&mut self) -> Exit {
        self.cpu.rip = CODE;
        self.run()
    }
}

fn all() -> Prot {
    Prot { read: true, write: true, execute: true }
}

const INT80: Exit = Exit::Syscall(Gate::Int80);
const EAX: usize = reg::RAX;

#[test]
fn a_loop_runs_out_of_fuel_and_goes_on_where_it_stopped() {
    // again: inc eax; cmp eax, 1000; jb again; int 0x80
    let mut b = Board::new(&[0x40, 0x3d, 0xe8, 3, 0, 0, 0x72, 0xf8, 0xcd, 0x80]);
    let mut stops = 0;
    while b.engine.run(&mut b.cpu, &mut b.mmu, 100) == Exit::OutOfFuel {
        stops += 1;
        assert_eq!(b.cpu.rip, CODE);
    }
    assert_eq!((b.cpu.gpr[EAX], b.cpu.retired), (1000, 3001));
    assert!((28..=30).contains(&stops), "{stops} stops");
}

#[test]
fn a_fault_counts_only_the_instructions_before_it_and_the_instruction_runs_again() {
    // inc eax; inc eax; mov [0x9000], eax; inc eax; int 0x80
    let mut b = Board::new(&[0x40, 0x40, 0xa3, 0, 0x90, 0, 0, 0x40, 0xcd, 0x80]);
    let fault = PageFault { addr: VirtAddr(0x9000), access: Access::Write, cause: FaultCause::NotMapped };
    assert_eq!(b.run(), Exit::Fault(fault));
    assert_eq!((b.cpu.rip, b.cpu.retired, b.cpu.gpr[EAX]), (CODE + 2, 2, 2));
    b.map(0x9000, all());
    assert_eq!(b.run(), INT80);
    assert_eq!((b.word(0x9000), b.cpu.gpr[EAX], b.cpu.retired), (2, 3, 5));
}

#[test]
fn the_trap_flag_stops_after_each_instruction_and_each_repetition() {
    // inc eax; rep stosb; inc eax
    let mut b = Board::new(&[0x40, 0xf3, 0xaa, 0x40]);
    b.cpu.eflags |= crate::flags::bit::TF;
    b.cpu.gpr[reg::RCX] = 2;
    b.cpu.gpr[reg::RDI] = DATA;
    let step = Exit::Exception(Exception::Debug(DebugCause::SingleStep));
    let mut stops = Vec::new();
    for _ in 0..4 {
        assert_eq!(b.run(), step);
        stops.push((b.cpu.rip - CODE, b.cpu.gpr[reg::RCX]));
    }
    assert_eq!(stops, [(1, 2), (1, 1), (3, 0), (4, 0)]);
}

#[test]
fn popf_sets_the_trap_flag_for_the_instruction_after_the_next() {
    // push 0x302; popf; nop; nop; int 0x80
    let mut b = Board::new(&[0x68, 2, 3, 0, 0, 0x9d, 0x90, 0x90, 0xcd, 0x80]);
    assert_eq!(b.run(), Exit::Exception(Exception::Debug(DebugCause::SingleStep)));
    assert_eq!(b.cpu.rip, CODE + 7);
}

#[test]
fn a_repeated_move_commits_what_was_moved_before_a_fault() {
    // rep movsb; int 0x80
    let mut b = Board::new(&[0xf3, 0xa4, 0xcd, 0x80]);
    b.write(DATA, b"0123456789abcdefghijklmnopqrstuvwxyz");
    b.cpu.gpr[reg::RSI] = DATA;
    b.cpu.gpr[reg::RDI] = DATA + 0xff0 - 5;
    b.cpu.gpr[reg::RCX] = 30;
    let Exit::Fault(fault) = b.run() else { panic!("no fault") };
    assert_eq!(fault.addr, VirtAddr(DATA + 0x1000));
    assert_eq!((b.cpu.gpr[reg::RCX], b.cpu.gpr[reg::RSI], b.cpu.rip), (9, DATA + 21, CODE));
    b.map(DATA + 0x1000, all());
    assert_eq!(b.run(), INT80);
    assert_eq!(b.word(DATA + 0x1000), u32::from_le_bytes(*b"lmno"));
    assert_eq!(b.cpu.gpr[reg::RCX], 0);
}

#[test]
fn an_overlapping_move_repeats_its_pattern() {
    // rep movsb; int 0x80
    let mut b = Board::new(&[0xf3, 0xa4, 0xcd, 0x80]);
    b.write(DATA, b"ab");
    b.cpu.gpr[reg::RSI] = DATA;
    b.cpu.gpr[reg::RDI] = DATA + 2;
    b.cpu.gpr[reg::RCX] = 100;
    assert_eq!(b.run(), INT80);
    assert_eq!(b.word(DATA + 96), u32::from_le_bytes(*b"abab"));
    assert_eq!(b.word(DATA + 102), 0);
}

#[test]
fn long_repetitions_return_when_fuel_is_out() {
    // rep stosb; int 0x80, over a window that wraps around one page by mapping it again and again
    let mut b = Board::new(&[0xf3, 0xaa, 0xcd, 0x80]);
    let frame = b.map(0x10_0000, all());
    for page in 0..4096u64 {
        b.mmu.retain(frame);
        b.mmu.map(b.mm, vm_mem::Vpn(0x100 + page), frame, all());
    }
    b.cpu.gpr[reg::RDI] = 0x10_0000;
    b.cpu.gpr[reg::RCX] = 4096 * 4096;
    let mut stops = 0;
    while b.run() == Exit::OutOfFuel {
        stops += 1;
    }
    assert!(stops > 100, "{stops} stops");
    assert_eq!(b.cpu.gpr[reg::RDI], 0x10_0000 + 4096 * 4096);
}

#[test]
fn code_changed_by_the_kernel_or_through_an_alias_is_run_as_changed() {
    // mov eax, 1; int 0x80
    let mut b = Board::new(&[0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    assert_eq!((b.run(), b.cpu.gpr[EAX]), (INT80, 1));
    b.write(CODE + 1, &[2]);
    assert_eq!((b.rerun(), b.cpu.gpr[EAX]), (INT80, 2));
    let frame = b.mmu.mapping(b.mm, VirtAddr(CODE).page()).expect("mapped").frame;
    b.mmu.retain(frame);
    b.mmu.map(b.mm, VirtAddr(0x2_0000).page(), frame, all());
    // At another place: mov byte [0x20001], 3; jmp CODE
    b.write(CODE + 0x1000, &[0xc6, 5, 1, 0, 2, 0, 3, 0xe9, 0xf4, 0xef, 0xff, 0xff]);
    b.cpu.rip = CODE + 0x1000;
    assert_eq!((b.run(), b.cpu.gpr[EAX]), (INT80, 3));
}

#[test]
fn a_store_into_the_running_block_takes_effect_at_the_next_instruction() {
    // mov byte [0x1008], 0x48 (dec eax); nop; inc eax; int 0x80
    let mut b = Board::new(&[0xc6, 5, 8, 0x10, 0, 0, 0x48, 0x90, 0x40, 0xcd, 0x80]);
    b.cpu.gpr[EAX] = 10;
    assert_eq!((b.run(), b.cpu.gpr[EAX], b.cpu.retired), (INT80, 9, 4));
}

#[test]
fn data_beside_code_is_stored_without_losing_the_code() {
    // again: inc dword [0x1800]; dec ecx; jnz again; int 0x80
    let mut b = Board::new(&[0xff, 5, 0, 0x18, 0, 0, 0x49, 0x75, 0xf7, 0xcd, 0x80]);
    b.cpu.gpr[reg::RCX] = 50;
    assert_eq!(b.run(), INT80);
    assert_eq!(b.word(0x1800), 50);
    assert_eq!((b.cpu.retired, b.engine.cached().0), (151, 2));
}

#[test]
fn forgotten_bytes_are_decoded_again() {
    let mut b = Board::new(&[0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    b.run();
    let frame = b.mmu.mapping(b.mm, VirtAddr(CODE).page()).expect("mapped").frame;
    let before = b.engine.cached().0;
    b.engine.forget(frame, 100..200);
    b.rerun();
    assert_eq!(b.engine.cached().0, before);
    b.engine.forget(frame, 0..4096);
    b.rerun();
    assert_eq!(b.engine.cached().0, before + 1);
}

#[test]
fn another_address_space_or_another_page_runs_other_code() {
    let mut b = Board::new(&[0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    b.run();
    let first = b.mm;
    b.mm = b.mmu.create_space(32);
    b.mmu.activate(b.mm);
    b.map(CODE, all());
    b.write(CODE, &[0xb8, 2, 0, 0, 0, 0xcd, 0x80]);
    assert_eq!((b.rerun(), b.cpu.gpr[EAX]), (INT80, 2));
    b.map(CODE, all());
    b.write(CODE, &[0xb8, 3, 0, 0, 0, 0xcd, 0x80]);
    assert_eq!((b.rerun(), b.cpu.gpr[EAX]), (INT80, 3));
    b.mmu.activate(first);
    assert_eq!((b.rerun(), b.cpu.gpr[EAX]), (INT80, 1));
    b.mmu.protect(first, VirtAddr(CODE).page(), Prot { execute: false, ..all() });
    assert!(matches!(b.rerun(), Exit::Fault(PageFault { access: Access::Execute, .. })));
}

#[test]
fn a_shared_page_leads_to_what_each_address_space_has_behind_it() {
    // CODE: inc eax; jmp +0; jmp CODE + 0x1000
    let shared = [0x40, 0xeb, 0, 0xe9, 0xf8, 0x0f, 0, 0];
    let mut b = Board::new(&shared);
    b.write(CODE + 0x1000, &[0xbb, 1, 0, 0, 0, 0xcd, 0x80]);
    let (first, frame) = (b.mm, b.mmu.mapping(b.mm, VirtAddr(CODE).page()).expect("mapped").frame);
    let second = b.mmu.create_space(32);
    b.mmu.retain(frame);
    b.mmu.map(second, VirtAddr(CODE).page(), frame, all());
    b.mm = second;
    b.mmu.activate(second);
    b.map(CODE + 0x1000, all());
    b.write(CODE + 0x1000, &[0xbb, 2, 0, 0, 0, 0xcd, 0x80]);
    for round in 1..=3 {
        for (mm, answer) in [(first, 1), (second, 2)] {
            b.mmu.activate(mm);
            assert_eq!((b.rerun(), b.cpu.gpr[reg::RBX]), (INT80, answer), "round {round}");
        }
    }
    assert_eq!((b.cpu.gpr[EAX], b.cpu.retired), (6, 30));
    // The shared page was lowered once.
    assert_eq!(b.engine.cached().0, 4);
}

#[test]
fn an_instruction_over_a_page_border_needs_both_pages() {
    // mov eax, 0x01020304 beginning two bytes before the border of the last mapped page
    let at = CODE + 0x1ffe;
    let mut b = Board::new(&[]);
    b.write(at, &[0xb8, 4]);
    b.cpu.rip = at;
    let missing = PageFault { addr: VirtAddr(0x3000), access: Access::Execute, cause: FaultCause::NotMapped };
    assert_eq!(b.run(), Exit::Fault(missing));
    b.map(0x3000, all());
    b.write(0x3000, &[3, 2, 1, 0xcd, 0x80]);
    assert_eq!((b.run(), b.cpu.gpr[EAX]), (INT80, 0x0102_0304));
    // A change of the second page alone is seen too.
    b.write(0x3000, &[9]);
    b.cpu.rip = at;
    assert_eq!((b.run(), b.cpu.gpr[EAX]), (INT80, 0x0102_0904));
}

#[test]
fn thread_local_segments_add_their_base_and_null_ones_are_refused() {
    // mov gs, eax; mov ebx, gs:[4]; int 0x80
    let mut b = Board::new(&[0x8e, 0xe8, 0x65, 0x8b, 0x1d, 4, 0, 0, 0, 0xcd, 0x80]);
    b.cpu.tls[0] = TlsDescriptor { present: true, base: DATA as u32, limit: 0xfffff, flags: 0x51 };
    b.write(DATA + 4, &[42]);
    b.cpu.gpr[EAX] = 0x63;
    assert_eq!((b.run(), b.cpu.gpr[reg::RBX]), (INT80, 42));
    assert_eq!(b.cpu.segments[Segment::Gs as usize], Selector { selector: 0x63, base: DATA });
    b.cpu.gpr[EAX] = 0;
    assert_eq!((b.rerun(), b.cpu.rip), (Exit::Exception(Exception::Protection), CODE + 2));
    b.cpu.gpr[EAX] = 0x6b;
    assert_eq!((b.rerun(), b.cpu.rip), (Exit::Exception(Exception::ProtectionOf(0x68)), CODE));
}

#[test]
fn what_the_engine_does_not_know_is_counted() {
    // vaddps ymm0, ymm1, ymm2
    let mut b = Board::new(&[0xc5, 0xf4, 0x58, 0xc2]);
    assert_eq!(b.run(), Exit::Exception(Exception::InvalidOpcode));
    assert_eq!(b.engine.unknown_instructions(), [("Vaddps".to_owned(), 1)]);
}

#[test]
fn traps_leave_the_pointer_behind_and_faults_on_the_instruction() {
    let cases: [(&[u8], Exit, u64); 7] = [
        (&[0x66; 16], Exit::Exception(Exception::Protection), 0),
        (&[0xcc], Exit::Exception(Exception::Breakpoint), 1),
        (&[0xf1], Exit::Exception(Exception::Debug(DebugCause::Int1)), 1),
        (&[0x0f, 0x0b], Exit::Exception(Exception::InvalidOpcode), 0),
        (&[0xf4], Exit::Exception(Exception::Protection), 0),
        (&[0x0f, 0x31], Exit::ReadTsc { aux: false }, 2),
        (&[0x0f, 0x34], Exit::Syscall(Gate::Sysenter), 2),
    ];
    for (code, exit, behind) in cases {
        let mut b = Board::new(code);
        assert_eq!((b.run(), b.cpu.rip - CODE), (exit, behind), "{code:02x?}");
        assert_eq!(b.cpu.retired, u64::from(behind != 0), "{code:02x?}");
    }
}

#[test]
fn sixty_four_bit_code_runs_through_the_same_lowering() {
    let mut b = Board::with_mode(
        Mode::X86_64,
        &[
            0x48, 0xb8, 8, 7, 6, 5, 4, 3, 2, 1, // mov rax, 0x0102030405060708
            0x49, 0x89, 0xc0, // mov r8, rax
            0x4c, 0x01, 0xc0, // add rax, r8
            0x41, 0x50, // push r8
            0x5b, // pop rbx
            0x48, 0x8b, 0x0d, 0xe6, 0x6f, 0, 0, // mov rcx, [rip + 0x6fe6]
            0xb2, 0x80, // mov dl, 0x80
            0x48, 0x0f, 0xbe, 0xd2, // movsx rdx, dl
            0x89, 0xd6, // mov esi, edx
            0x0f, 0x05, // syscall
        ],
    );
    b.write(DATA, &0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(b.run(), Exit::Syscall(Gate::Syscall));
    let g = b.cpu.gpr;
    assert_eq!((g[reg::RAX], g[8], g[reg::RBX]), (0x0204_0608_0a0c_0e10, 0x0102_0304_0506_0708, 0x0102_0304_0506_0708));
    assert_eq!((g[reg::RDX], g[reg::RSI]), (0xffff_ffff_ffff_ff80, 0xffff_ff80));
    // The system call itself puts the return address into rcx and the flags into r11.
    assert_eq!((g[reg::RCX], g[11] & 0x202), (b.cpu.rip, 0x202));
    assert_eq!(g[reg::RSP], STACK + 0x800);
}

/// A small generator of numbers that look random (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn no_bytes_can_upset_the_engine() {
    let mut numbers = Numbers(1);
    for mode in [Mode::I386, Mode::X86_64] {
        let mut b = Board::with_mode(mode, &[]);
        for _ in 0..3_000 {
            let code: Vec<u8> = (0..64).flat_map(|_| numbers.next().to_le_bytes()).collect();
            b.write(CODE, &code);
            let retired = b.cpu.retired;
            for register in &mut b.cpu.gpr {
                // Half of the registers point somewhere useful.
                *register = match numbers.next() {
                    n if n & 1 == 0 => n >> 32,
                    n => [CODE, STACK, DATA][(n >> 8) as usize % 3] + (n >> 16) % 0x1000,
                };
            }
            // Debug builds verify every block on the way; whatever the exit, the pointer stays in the address space.
            b.cpu.rip = CODE + numbers.next() % 256;
            b.cpu.eflags = numbers.next() as u32 & 0x24_0dd5 | 0x202;
            b.engine.run(&mut b.cpu, &mut b.mmu, 2_000);
            assert!(mode == Mode::X86_64 || b.cpu.rip <= u64::from(u32::MAX));
            assert!(b.cpu.retired - retired <= 2_200);
        }
    }
}
