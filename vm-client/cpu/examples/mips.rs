//! Measures how many guest instructions a second the interpreter runs, on three small loops.
//!
//! `cargo run --release -p vm-cpu --example mips` prints one line a program: name, instructions, seconds, MIPS. With
//! `--elf DIR` it only writes the programs as static ELF files, to be run by other emulators or by a whole machine; the
//! instruction counts are the same there. The programs are `mips/*.asm`, assembled with `nasm -f bin`; they end in
//! `exit(result)`, and the result is checked against one computed here.

use std::time::Instant;

use vm_cpu::{Cpu, Engine, Exit, Gate, Interpreter, reg};
use vm_mem::{Mmu, PAGE_SIZE, Prot, VirtAddr, Vpn};

const CODE: u32 = 0x0804_8000;
const DATA: u32 = 0x2000_0000;
const DATA_LEN: u32 = 0x1_0000;
const STACK_TOP: u32 = 0xbfff_f000;

struct Program {
    name: &'static str,
    code: &'static [u8],
    expected: fn() -> u32,
}

const PROGRAMS: [Program; 3] = [
    Program { name: "collatz", code: include_bytes!("mips/collatz.bin"), expected: collatz },
    Program { name: "sieve", code: include_bytes!("mips/sieve.bin"), expected: sieve },
    Program { name: "fib", code: include_bytes!("mips/fib.bin"), expected: || fib(25) },
];

fn collatz() -> u32 {
    let length = |n: u32| {
        std::iter::successors(Some(n), |&n| match n {
            1 => None,
            n if n % 2 == 0 => Some(n / 2),
            n => Some(3 * n + 1),
        })
        .count() as u32
            - 1
    };
    (1..30_000).map(length).max().unwrap_or(0)
}

fn sieve() -> u32 {
    (2..65_536u32).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count() as u32
}

fn fib(n: u32) -> u32 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, directory] = arguments.as_slice()
        && flag == "--elf"
    {
        for program in &PROGRAMS {
            let path = std::path::Path::new(directory).join(program.name);
            std::fs::write(&path, elf(program.code)).expect("the directory can be written to");
            println!("{}", path.display());
        }
        return;
    }
    for program in &PROGRAMS {
        let (instructions, seconds) = measure(program);
        println!(
            "{:8} {instructions:>10} {seconds:.3} s {:.0} MIPS",
            program.name,
            instructions as f64 / seconds / 1e6
        );
    }
}

/// Runs a program again and again for about a second.
fn measure(program: &Program) -> (u64, f64) {
    let mut mmu = Mmu::new(256).expect("memory for 256 frames");
    let mm = mmu.create_space(32);
    mmu.activate(mm);
    let write = Prot { read: true, write: true, execute: false };
    let mut map = |start: u32, len: u32, prot: Prot| {
        for page in start / PAGE_SIZE as u32..(start + len).div_ceil(PAGE_SIZE as u32) {
            let frame = mmu.alloc_zeroed().expect("there are enough frames");
            mmu.map(mm, Vpn(u64::from(page)), frame, prot);
        }
    };
    map(CODE, 1, Prot { execute: true, ..write });
    map(DATA, DATA_LEN, write);
    map(STACK_TOP - 0x4000, 0x4000, write);
    mmu.copy_out(mm, VirtAddr(u64::from(CODE)), program.code).expect("the code page is mapped");
    let mut engine = Interpreter::new();
    let expected = u64::from((program.expected)());
    let started = Instant::now();
    let mut instructions = 0;
    while started.elapsed().as_secs_f64() < 1.0 {
        let mut cpu = Cpu { rip: u64::from(CODE), ..Cpu::default() };
        cpu.gpr[reg::RSP] = u64::from(STACK_TOP);
        loop {
            match engine.run(&mut cpu, &mut mmu, 1_000_000) {
                Exit::OutOfFuel => {}
                Exit::Syscall(Gate::Int80) => break,
                exit => panic!("{}: {exit:?} at {:#x}", program.name, cpu.rip),
            }
        }
        assert_eq!(cpu.gpr[reg::RBX], expected, "{}: wrong result", program.name);
        instructions += cpu.retired;
    }
    (instructions, started.elapsed().as_secs_f64())
}

/// A static ELF file with the code, and zeroed pages for the data.
fn elf(code: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut word = |w: u32| file.extend_from_slice(&w.to_le_bytes());
    let headers = 52 + 2 * 32;
    for w in [0x464c_457f, 0x0001_0101, 0, 0, 0x0003_0002, 1, CODE + headers, 52, 0, 0, 0x0020_0034, 2, 0] {
        word(w);
    }
    let len = headers + code.len() as u32;
    // PT_LOAD: offset, address twice, length in the file and in memory, flags, alignment.
    for w in [1, 0, CODE, CODE, len, len, 5, 0x1000, 1, 0, DATA, DATA, 0, DATA_LEN, 6, 0x1000] {
        word(w);
    }
    file.extend_from_slice(code);
    file
}
