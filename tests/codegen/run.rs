//! What the code generator makes of each instruction form, pinned as text with the number of operations.
//!
//! Every `*.txt` beside this file is a group. A line that starts at the margin is a form: its machine code and what that is
//! in assembly; the indented lines below it are what is emitted between two marks around the form. `BLESS=1 cargo test -p
//! vm-jit --test codegen` writes them anew; a line `? xor eax, eax; inc eax` becomes a form (needs GNU as).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use vm_cpu::Mode;
use vm_cpu::decode::{self, Context, Unknown};
use vm_cpu::ir::{Op, Segments};
use vm_jit::emit::{self, Config, Functions, Numbers, StackRegisters};
use vm_jit::module;
use vm_jit::plan::{CodeSource, Found, Limits, plan};
use vm_jit::shape::Shape;
use vm_mem::FrameId;
use wasmparser::{Operator, Parser, Payload};

const BASE: u32 = 0x1000;
const CORE: u32 = 0x10_0000;
const STATE: u32 = 0x20_0000;
/// `mov ebp, MARK` stands before the form and `mov ebp, MARK + 1` behind it.
const MARK: u32 = 0x1357_9bde;
const CONFIG: Config = Config {
    core: CORE,
    state: STATE,
    first_frame: 0x30_0000,
    tail_calls: true,
    x87_fast: false,
    // Numbers that are easily told apart.
    x87: Functions {
        slots: [900, 901, 902, 903, 904, 905, 906, 907, 908, 909, 910, 911, 912, 913, 914, 915, 916, 917, 918],
        side: 0x40_0000,
    },
    stack: StackRegisters::Pointer,
    near: 0,
};

struct Bytes(Vec<u8>, Unknown);

impl CodeSource for Bytes {
    fn block(&mut self, start: u32, limit: usize) -> Option<Found> {
        let code = self.0.get(start.checked_sub(BASE)? as usize..)?;
        let context = Context { mode: Mode::I386, segments: Segments { flat: true, null: 0 }, limit, narrow: false };
        let block = decode::block(u64::from(start), code, context, &mut self.1).ok()?;
        Some(Found { block, frame: FrameId(start >> 12), second: None })
    }

    fn is_warm(&mut self, start: u32) -> bool {
        start >= BASE
    }

    fn is_entry(&mut self, _start: u32) -> bool {
        false
    }

    fn jumps_from(&mut self, _behind: u32) -> Vec<u32> {
        Vec::new()
    }
}

#[derive(Default)]
struct Numbered(u32);

impl Numbers for Numbered {
    fn operation(&mut self, _op: Op) -> u32 {
        self.0 += 1;
        self.0 - 1
    }

    fn cell(&mut self, address: u32) -> Option<u32> {
        Some(address & 0xff)
    }
}

fn mark(number: u32) -> [u8; 5] {
    let [a, b, c, d] = (MARK + number).to_le_bytes();
    [0xbd, a, b, c, d]
}

/// The module for code between the marks and a return.
fn compiled(form: &[u8]) -> Vec<u8> {
    let code = [&mark(0), form, &mark(1), &[0xc3]].concat();
    let mut source = Bytes(code, Unknown::new());
    let mut region = plan(&mut source, BASE, Limits { blocks: 40, ops: 1000 }).expect("there is code");
    let shape = Shape::of(&mut region);
    let function = emit::function(&region, &shape, 3, &CONFIG, &mut Numbered::default());
    module::module(&[(7, function)])
}

/// The operations between the marks; all, where a mark was optimised away.
fn emitted(form: &[u8]) -> Vec<String> {
    let bytes = compiled(form);
    let mut print = Printer::default();
    let mut all = Vec::new();
    let (mut from, mut to) = (None, None);
    for payload in Parser::new(0).parse_all(&bytes) {
        let Payload::CodeSectionEntry(body) = payload.expect("the module is valid") else { continue };
        let mut operators = body.get_operators_reader().expect("the module is valid");
        while !operators.eof() {
            let operator = operators.read().expect("the module is valid");
            if let Operator::I32Const { value } = operator {
                match value.cast_unsigned() {
                    MARK => from = Some(all.len()),
                    value if value == MARK + 1 => to = to.or(Some(all.len())),
                    _ => {}
                }
            }
            all.push(operator);
        }
    }
    let chosen = match (from, to) {
        // The mark's constant and what puts it into the local.
        (Some(from), Some(to)) if from + 2 <= to => &all[from + 2..to],
        _ => &all[..],
    };
    chosen.iter().map(|operator| print.operator(operator)).collect()
}

/// Prints operations; locals get numbers in the order in which they are met, so that other locals do not change them.
#[derive(Default)]
struct Printer {
    locals: Vec<u32>,
}

impl Printer {
    fn local(&mut self, index: u32) -> usize {
        let known = self.locals.iter().position(|local| *local == index);
        known.unwrap_or_else(|| {
            self.locals.push(index);
            self.locals.len() - 1
        })
    }

    fn operator(&mut self, operator: &Operator<'_>) -> String {
        match operator {
            Operator::LocalGet { local_index } => format!("get {}", self.local(*local_index)),
            Operator::LocalSet { local_index } => format!("set {}", self.local(*local_index)),
            Operator::LocalTee { local_index } => format!("tee {}", self.local(*local_index)),
            Operator::I32Const { value } => constant(i64::from(*value), ""),
            Operator::I64Const { value } => constant(*value, "L"),
            Operator::Br { relative_depth } => format!("br {relative_depth}"),
            Operator::BrIf { relative_depth } => format!("br_if {relative_depth}"),
            Operator::Call { .. } => "request".to_owned(),
            other => shortened(&format!("{other:?}")),
        }
    }
}

fn constant(value: i64, suffix: &str) -> String {
    if (-4096..4096).contains(&value) {
        return format!("{value}{suffix}");
    }
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{:#x}{suffix}", value.unsigned_abs())
}

/// `I32Load8U { memarg: MemArg { offset: 5, .. } }` as `i32.load8_u +5`.
fn shortened(text: &str) -> String {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut out = String::new();
    let mut lane = true;
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            // The first word is the type, if there is one.
            out.push(if lane && out.ends_with(|c: char| c.is_ascii_digit()) { '.' } else { '_' });
            lane = false;
        }
        out.push(letter.to_ascii_lowercase());
    }
    let field = |name: &str| {
        let (_, value) = rest.split_once(&format!("{name}: "))?;
        value.split([',', ' ', '}']).next()
    };
    if let Some(offset) = field("offset").and_then(|value| value.parse::<u32>().ok()) {
        let _ = match offset {
            0 => Ok(()),
            offset if offset >= STATE + 0x1_0000 => write!(out, " +{offset:#x}"),
            offset if offset >= STATE => write!(out, " state+{}", offset - STATE),
            offset if offset >= CORE => write!(out, " core+{}", offset - CORE),
            offset => write!(out, " +{offset}"),
        };
    }
    if let Some(lane) = field("lane") {
        let _ = write!(out, " {lane}");
    }
    if let Some((_, lanes)) = rest.split_once("lanes: ") {
        let _ = write!(out, " {}", lanes.trim_end_matches([' ', '}']).replace(", ", " "));
    }
    if let Some((_, value)) = rest.split_once("value: ") {
        let _ = write!(out, " {}", value.trim_end_matches([' ', '}']));
    }
    out
}

/// Lines of at most about a hundred columns.
fn wrapped(operations: &[String]) -> String {
    let mut out = format!("    {}:", operations.len());
    let mut column = out.len();
    for (at, operation) in operations.iter().enumerate() {
        let word = if at + 1 < operations.len() { format!(" {operation};") } else { format!(" {operation}") };
        if column + word.len() > 118 {
            out.push_str("\n     ");
            column = 5;
        }
        column += word.len();
        out.push_str(&word);
    }
    out.push('\n');
    out
}

/// Machine code of assembly, with objdump-like spaces left out.
fn assembled(text: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, object, raw) = (folder.join("form.s"), folder.join("form.o"), folder.join("form.bin"));
    std::fs::write(&source, format!(".intel_syntax noprefix\n{text}\n")).expect("the target directory can be written");
    let run = |command: &mut Command| {
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(status.success(), "{text}: {command:?}");
    };
    run(Command::new("as").arg("--32").arg("-o").arg(&object).arg(&source));
    run(Command::new("objcopy").args(["-O", "binary", "-j", ".text"]).arg(&object).arg(&raw));
    std::fs::read(&raw).expect("it was written")
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// A group's file as it should be.
fn blessed(old: &str) -> String {
    let mut out = String::new();
    for line in old.lines() {
        if line.starts_with(' ') {
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            let _ = writeln!(out, "{line}");
            continue;
        }
        let (code, assembly) = match line.strip_prefix("? ") {
            Some(assembly) => (assembled(assembly), assembly),
            None => {
                let (hex, assembly) = line.split_once("  ").unwrap_or((line, ""));
                (from_hex(hex).unwrap_or_else(|| panic!("{hex} is no machine code in {line:?}")), assembly)
            }
        };
        let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(out, "{hex}  {assembly}\n{}", wrapped(&emitted(&code)));
    }
    out
}

fn groups() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/codegen");
    let entries = std::fs::read_dir(folder).expect("tests/codegen is there").filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

#[test]
fn emitted_code_is_as_pinned() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut report = String::new();
    for path in groups() {
        let old = std::fs::read_to_string(&path).expect("the group can be read");
        let new = blessed(&old);
        if old == new {
            continue;
        }
        if bless {
            std::fs::write(&path, &new).expect("the group can be written");
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let lines = old.lines().zip(new.lines()).filter(|(old, new)| old != new);
        for (old, new) in lines.take(6) {
            let _ = writeln!(report, "{name}:\n  - {}\n  + {}", old.trim(), new.trim());
        }
        let _ = writeln!(report, "{name}: {} lines pinned, {} now", old.lines().count(), new.lines().count());
    }
    assert!(
        report.is_empty(),
        "{report}If that is meant: BLESS=1 cargo test -p vm-jit --test codegen, and read the difference in review"
    );
}

#[test]
fn names_of_operations_are_webassembly_s() {
    assert_eq!(shortened("I32Add"), "i32.add");
    assert_eq!(shortened("I8x16AllTrue"), "i8x16.all_true");
    assert_eq!(
        shortened("I32Load8U { memarg: MemArg { align: 0, max_align: 0, offset: 5, memory: 0 } }"),
        "i32.load8_u +5"
    );
    assert_eq!(shortened("I32WrapI64"), "i32.wrap_i64");
}
