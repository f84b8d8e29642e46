//! Measures how many guest instructions a second the interpreter runs, on a few small loops.
//!
//! `cargo run --release -p vm-cpu --example mips` prints one line a program. With `--beside EMULATOR` (`qemu-i386`) it
//! times that on the same programs too, its start included; with `--elf DIR` it only writes them as static ELF files, to be
//! run by a whole machine. The programs are `mips/*.asm`, assembled with `nasm -f bin`; they end in
//! `exit(result)`, and the result is checked against one computed here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
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

const PROGRAMS: [Program; 6] = [
    Program { name: "collatz", code: include_bytes!("mips/collatz.bin"), expected: collatz },
    Program { name: "sieve", code: include_bytes!("mips/sieve.bin"), expected: sieve },
    Program { name: "fib", code: include_bytes!("mips/fib.bin"), expected: || fib(30) },
    Program { name: "strlen", code: include_bytes!("mips/strlen.bin"), expected: || 65535 * 200 },
    Program { name: "doubles", code: include_bytes!("mips/doubles.bin"), expected: harmonic },
    Program { name: "x87", code: include_bytes!("mips/x87.bin"), expected: harmonic },
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
    (1..300_000).map(length).max().unwrap_or(0)
}

fn sieve() -> u32 {
    (2..65_536u32).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count() as u32
}

fn fib(n: u32) -> u32 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

fn harmonic() -> u32 {
    ((1..=500_000u32).map(|n| 1.0 / f64::from(n)).sum::<f64>() * 1e6) as u32
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--elf", directory] => write_elf(Path::new(directory)),
        ["--beside", emulator] => {
            let directory = std::env::temp_dir().join(format!("mips-{}", std::process::id()));
            std::fs::create_dir_all(&directory)?;
            write_elf(&directory)?;
            for program in &PROGRAMS {
                let (instructions, seconds) = measure(program);
                report(program.name, "interpreter", instructions, seconds);
                let seconds = measure_other(emulator, &directory.join(program.name))?;
                report(program.name, emulator, instructions, seconds);
            }
            std::fs::remove_dir_all(&directory)
        }
        _ => {
            for program in &PROGRAMS {
                let (instructions, seconds) = measure(program);
                report(program.name, "interpreter", instructions, seconds);
            }
            Ok(())
        }
    }
}

fn report(program: &str, emulator: &str, instructions: u64, seconds: f64) {
    println!(
        "{program:8} {emulator:12} {:6.0} million guest instructions a second",
        instructions as f64 / seconds / 1e6
    );
}

fn write_elf(directory: &Path) -> std::io::Result<()> {
    for program in &PROGRAMS {
        let path = directory.join(program.name);
        std::fs::write(&path, elf(program.code))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The seconds another emulator takes, the best of five.
fn measure_other(emulator: &str, program: &Path) -> std::io::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = Instant::now();
        Command::new(emulator).arg(program).status()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Runs a program again and again for about two seconds: its instructions, and the seconds of the best run.
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
    let (mut instructions, mut best) = (0, f64::INFINITY);
    while started.elapsed().as_secs_f64() < 2.0 {
        let run_started = Instant::now();
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
        instructions = cpu.retired;
        best = run_started.elapsed().as_secs_f64().min(best);
    }
    (instructions, best)
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
