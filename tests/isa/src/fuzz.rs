//! Random programs: instructions of the pools in sequence, under branches, in loops, subroutines and jump tables, and such as
//! change their own code, on random memory layouts.
//!
//! A program follows from a seed and a number. It is a tree ([`Node`]) that prints as assembly, so a failing one can be cut
//! down piece by piece ([`Program::smaller`]). Every program ends: loops count in memory that nothing else writes.

use crate::rng::Rng;
use crate::state::{CODE_BASE, CODE_PAGES, STACK_BASE};
use crate::table::{Form, expand};

const INTEGER: &str = include_str!("../pools/integer.txt");
const FLOAT: &str = include_str!("../pools/float.txt");
/// Where loops count: above what pushes reach.
const COUNTERS: u32 = STACK_BASE + 0xc0;
/// Bytes the recorder takes; an instruction of the pools has less than twelve.
const LONGEST: usize = 60;
/// Inputs at most of a program that changes itself: an engine that compiles does so again for each.
const CASES_OF_PATCHES: usize = 12;
const CONDITIONS: [&str; 16] = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];

const STRINGS: [&str; 10] = [
    "rep movsb",
    "rep movsw",
    "rep movsd",
    "rep stosb",
    "rep stosd",
    "rep lodsw",
    "repe cmpsb",
    "repne scasb",
    "movsd",
    "stosw",
];

/// A piece of a program.
#[derive(Clone, Debug)]
enum Node {
    /// Instructions.
    Line(String),
    /// A condition, what runs if it does not hold, and what runs if it does.
    If(&'static str, Vec<Node>, Vec<Node>),
    /// How often, and the body.
    Loop(u64, Vec<Node>),
    /// A subroutine, called so often.
    Call(u64, Vec<Node>),
    /// A jump through a table of addresses.
    Switch(Vec<Vec<Node>>),
    /// An instruction whose immediate operand is written first, by `mov` or `xchg`.
    Patch(&'static str),
    /// A repeated string instruction with its count and two offsets.
    String(&'static str, u64, u64, u64),
}

/// A program and what its inputs are like.
#[derive(Clone, Debug)]
pub struct Program {
    body: Vec<Node>,
    options: Vec<(String, String)>,
    /// Where its first instruction is.
    code: u32,
}

/// The lines of the pools, expanded once.
pub struct Pools {
    integer: Vec<Vec<String>>,
    float: Vec<Vec<String>>,
}

impl Default for Pools {
    fn default() -> Self {
        Self::new()
    }
}

impl Pools {
    /// Expands the pools.
    pub fn new() -> Self {
        let lines = |text: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(|line| expand(line).expect("the pools are well formed")).collect()
        };
        Self { integer: lines(INTEGER), float: lines(FLOAT) }
    }

    /// Program `index` of a seed, to be run on `cases` inputs.
    pub fn program(&self, seed: u64, index: u64, cases: usize) -> Program {
        let mut rng = Rng::new(&format!("fuzz {seed}"), index);
        let float = rng.one_in(3);
        let mut maker = Maker { pools: self, rng, float, left: LONGEST };
        let length = 3 + maker.rng.below(12);
        let mut body = maker.block(length, 0);
        while body.is_empty() {
            body = maker.block(2, 3);
        }
        let cases = if patches(&body) { cases.min(CASES_OF_PATCHES) } else { cases };
        let mut options = maker.options(cases);
        // Some lie across the border of two pages.
        let code = if maker.rng.one_in(6) { CODE_PAGES + 0x1000 - maker.rng.below(400) as u32 } else { CODE_BASE };
        if code != CODE_BASE {
            options.push(("code".to_owned(), format!("{code:#x}")));
        }
        Program { body, options, code }
    }
}

struct Maker<'a> {
    pools: &'a Pools,
    rng: Rng,
    float: bool,
    /// Pieces that may still be made.
    left: usize,
}

impl Maker<'_> {
    fn block(&mut self, length: u64, depth: u32) -> Vec<Node> {
        (0..length).map_while(|_| self.node(depth)).collect()
    }

    fn node(&mut self, depth: u32) -> Option<Node> {
        self.left = self.left.checked_sub(1)?;
        let kind = if depth < 3 { self.rng.below(20) } else { 19 };
        let short = 1 + self.rng.below(5);
        Some(match kind {
            0 | 1 => {
                let condition = self.rng.pick(&CONDITIONS);
                let (then, other) = (self.block(short, depth + 1), self.rng.below(3));
                Node::If(condition, then, self.block(other, depth + 1))
            }
            2 | 3 => {
                let times = 1 + self.rng.below(if depth == 0 { 12 } else { 4 });
                Node::Loop(times, self.block(short, depth + 1))
            }
            4 => {
                let times = 1 + self.rng.below(3);
                Node::Call(times, self.block(short, depth + 1))
            }
            5 => Node::Switch((0..4).map(|_| self.block(1 + short / 2, depth + 1)).collect()),
            6 if self.rng.one_in(3) => Node::Patch(self.rng.pick(&["mov", "xchg"])),
            7 => {
                let operation = self.rng.pick(&STRINGS);
                Node::String(operation, self.rng.below(20), self.rng.below(40), self.rng.below(40))
            }
            _ => Node::Line(self.line()),
        })
    }

    fn line(&mut self) -> String {
        let pool = if self.float && !self.rng.one_in(4) { &self.pools.float } else { &self.pools.integer };
        let line = &pool[self.rng.below(pool.len() as u64) as usize];
        line[self.rng.below(line.len() as u64) as usize].clone()
    }

    fn options(&mut self, cases: usize) -> Vec<(String, String)> {
        let mut options = vec![("n".to_owned(), cases.to_string()), ("undef".to_owned(), "af".to_owned())];
        let mut set = |key: &str, value: &str| options.push((key.to_owned(), value.to_owned()));
        if self.float {
            set("data", self.rng.pick(&["f32", "f64", "f80", "int", "convert"]));
            set("fpu", self.rng.pick(&["full", "mixed"]));
            set("room", self.rng.pick(&["0", "3", "5"]));
            set("fcw", self.rng.pick(&["default", "any", "round", "unmasked"]));
            set("mxcsr", self.rng.pick(&["default", "default", "any", "unmasked"]));
            set("align", self.rng.pick(&["16", "16", "4"]));
        }
        match self.rng.below(8) {
            0 => set("cross", "missing:4"),
            1 => set("cross", "ro:4"),
            2 => set("cross", "ok:4"),
            3 => set("cross", "ok:16"),
            _ => {}
        }
        options
    }
}

impl Program {
    /// The program as a form of a table.
    pub fn form(&self) -> Form {
        let mut printer = Printer { base: self.code, ..Printer::default() };
        printer.block(&self.body);
        let mut options = self.options.clone();
        if printer.patches {
            options.push(("rewrite".to_owned(), "1".to_owned()));
        }
        Form { text: printer.text.join("; "), options }
    }

    /// Programs with one piece less, or with a piece's insides in its place.
    pub fn smaller(&self) -> Vec<Program> {
        let bodies = cut(&self.body).into_iter().filter(|body| !body.is_empty());
        bodies.map(|body| Program { body, ..self.clone() }).collect()
    }
}

/// Whether a program writes to its own code.
fn patches(block: &[Node]) -> bool {
    block.iter().any(|node| match node {
        Node::Line(_) | Node::String(..) => false,
        Node::Patch(_) => true,
        Node::If(_, then, other) => patches(then) || patches(other),
        Node::Loop(_, body) | Node::Call(_, body) => patches(body),
        Node::Switch(arms) => arms.iter().any(|arm| patches(arm)),
    })
}

/// Every way to make a block smaller by one step.
fn cut(block: &[Node]) -> Vec<Vec<Node>> {
    let mut all = Vec::new();
    for (at, node) in block.iter().enumerate() {
        let with = |inner: Vec<Node>| [&block[..at], &inner, &block[at + 1..]].concat();
        all.push(with(Vec::new()));
        let mut insides = |body: &Vec<Node>, wrap: &dyn Fn(Vec<Node>) -> Node| {
            all.push(with(body.clone()));
            all.extend(cut(body).into_iter().map(|less| with(vec![wrap(less)])));
        };
        match node {
            Node::Line(_) | Node::Patch(_) | Node::String(..) => {}
            Node::If(condition, then, other) => {
                insides(then, &|less| Node::If(condition, less, other.clone()));
                insides(other, &|less| Node::If(condition, then.clone(), less));
            }
            Node::Loop(times, body) => {
                insides(body, &|less| Node::Loop(*times, less));
                if *times > 1 {
                    all.push(with(vec![Node::Loop(times / 2, body.clone())]));
                }
            }
            Node::Call(times, body) => insides(body, &|less| Node::Call(*times, less)),
            Node::Switch(arms) => arms.iter().for_each(|arm| all.push(with(arm.clone()))),
        }
    }
    all
}

#[derive(Default)]
struct Printer {
    text: Vec<String>,
    base: u32,
    labels: u32,
    loops: u32,
    patches: bool,
}

impl Printer {
    fn put(&mut self, text: impl Into<String>) {
        self.text.push(text.into());
    }

    /// Numeric labels of the pools are below a hundred.
    fn label(&mut self) -> u32 {
        self.labels += 1;
        99 + self.labels
    }

    fn block(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        // The recorder puts the label 9990 before each form.
        let base = self.base;
        let absolute = |label: u32, way: char| format!("({label}{way} - 9990b + {base:#x})");
        match node {
            Node::Line(text) => self.put(text.clone()),
            Node::If(condition, then, other) => {
                let (holds, end) = (self.label(), self.label());
                self.put(format!("j{condition} {holds}f"));
                self.block(then);
                self.put(format!("jmp {end}f; {holds}:"));
                self.block(other);
                self.put(format!("{end}:"));
            }
            Node::Loop(times, body) => {
                let top = self.label();
                let counter = COUNTERS + 4 * (self.loops % 14);
                self.loops += 1;
                self.put(format!("mov dword ptr ds:[{counter:#x}], {times}; {top}:"));
                self.block(body);
                self.put(format!("dec dword ptr ds:[{counter:#x}]; jnz {top}b"));
            }
            Node::Call(times, body) => {
                let (entry, end) = (self.label(), self.label());
                for _ in 0..*times {
                    self.put(format!("call {entry}f"));
                }
                self.put(format!("jmp {end}f; {entry}:"));
                self.block(body);
                self.put(format!("ret; {end}:"));
            }
            Node::Switch(arms) => {
                let labels: Vec<u32> = arms.iter().map(|_| self.label()).collect();
                let (table, end) = (self.label(), self.label());
                self.put("mov eax, ecx; and eax, 3");
                self.put(format!("jmp dword ptr [eax*4 + {}]; {table}:", absolute(table, 'f')));
                let addresses: Vec<String> = labels.iter().map(|label| absolute(*label, 'f')).collect();
                self.put(format!(".long {}", addresses.join(", ")));
                for (label, arm) in labels.iter().zip(arms) {
                    self.put(format!("{label}:"));
                    self.block(arm);
                    self.put(format!("jmp {end}f"));
                }
                self.put(format!("{end}:"));
            }
            Node::Patch(how) => {
                self.patches = true;
                let label = self.label();
                // The immediate byte of `add edx, imm8` is its third.
                let byte = format!("byte ptr ds:[{} + 2]", absolute(label, 'f'));
                let write =
                    if *how == "mov" { format!("mov {byte}, cl") } else { format!("mov al, dl; xchg {byte}, al") };
                self.put(format!("{write}; {label}: add edx, 0x11"));
            }
            Node::String(operation, count, from, to) => {
                self.put(format!("push esi; push edi; lea esi, [ebx+{from}]; lea edi, [ebx+{to}]; mov ecx, {count}"));
                self.put(format!("cld; {operation}; pop edi; pop esi; cmp eax, ecx"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_follows_from_its_seed_and_number() {
        let pools = Pools::new();
        let text = |seed, index| pools.program(seed, index, 5).form().text;
        assert_eq!(text(1, 7), text(1, 7));
        assert_ne!(text(1, 7), text(1, 8));
        assert_ne!(text(1, 7), text(2, 7));
    }

    #[test]
    fn smaller_programs_are_shorter_and_never_empty() {
        let program = Pools::new().program(3, 5, 5);
        let length = program.form().text.len();
        let smaller = program.smaller();
        assert!(smaller.iter().any(|less| less.form().text.len() < length));
        assert!(smaller.iter().all(|less| !less.form().text.is_empty()));
    }
}
