//! Random programs on the processor this runs on and on our engines: `fuzz [--seed S] [--programs N] [--cases C]
//! [--batch N] [--engines A,B] [--wasm DIR] [--keep]`.
//!
//! Engines are `interpreter` (in this process) and what `tests/isa/replay.mjs` runs in Node: `wasm-interpreter` and `jit`. A
//! program that differs is cut down as long as it still does, printed with its difference, and with `--keep` added to
//! `table/found.txt` (record that group afterwards). The exit status is 1 if there was one.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use isa_tests::fuzz::{Pools, Program};
use isa_tests::record::Workshop;
use isa_tests::replay::{self, Report};
use isa_tests::vectors::Effort;
use isa_tests::{Group, home};
use vm_cpu::Interpreter;

struct Options {
    seed: u64,
    programs: u64,
    cases: usize,
    batch: u64,
    engines: Vec<String>,
    /// Where the module for Node is, if not in its usual place.
    wasm: Option<String>,
    keep: bool,
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    let pools = Pools::new();
    let workshop = Workshop::new()?;
    let (mut cases, mut found) = (0, 0);
    let mut next = 0;
    while next < options.programs {
        let end = options.programs.min(next + options.batch);
        let programs: Vec<Program> =
            (next..end).map(|index| pools.program(options.seed, index, options.cases)).collect();
        let recorded = Recorded::new(&workshop, &programs, &options)?;
        cases += recorded.group.forms.iter().map(|form| form.cases()).sum::<usize>();
        for engine in &options.engines {
            let report = recorded.run(engine)?;
            for form in report.forms {
                let index = next + form as u64;
                println!("{engine}: program {index} of seed {} differs", options.seed);
                let (least, text) = reduce(&workshop, engine, &programs[form], &options)?;
                println!("{}\n{text}", least.form().line());
                found += 1;
                if options.keep {
                    keep(&least)?;
                }
            }
        }
        next = end;
        println!("{next} programs, {cases} cases on each of {}, {found} differ", options.engines.join(", "));
    }
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options() -> Result<Options> {
    let engines = ["interpreter", "wasm-interpreter", "jit"].map(str::to_owned).to_vec();
    let mut options = Options { seed: 1, programs: 2000, cases: 20, batch: 500, engines, wasm: None, keep: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--seed" => options.seed = value()?.parse()?,
            "--programs" => options.programs = value()?.parse()?,
            "--cases" => options.cases = value()?.parse()?,
            "--batch" => options.batch = value()?.parse::<u64>()?.max(1),
            "--engines" => options.engines = value()?.split(',').map(str::to_owned).collect(),
            "--wasm" => options.wasm = Some(value()?),
            "--keep" => options.keep = true,
            other => {
                bail!("unknown option {other}; there are --seed --programs --cases --batch --engines --wasm --keep")
            }
        }
    }
    Ok(options)
}

/// Programs with what the processor made of them.
struct Recorded<'a> {
    group: Group,
    file: Vec<u8>,
    options: &'a Options,
}

impl<'a> Recorded<'a> {
    fn new(workshop: &Workshop, programs: &[Program], options: &'a Options) -> Result<Self> {
        let group = Group { name: "fuzz".to_owned(), forms: programs.iter().map(Program::form).collect() };
        let file = workshop.record(&group, Effort::Quick)?;
        Ok(Self { group, file, options })
    }

    fn run(&self, engine: &str) -> Result<Report> {
        match engine {
            "interpreter" => replay::replay_file(&self.group, &self.file, &mut Interpreter::new()),
            other => self.run_in_node(other),
        }
    }

    /// Node gets the table and the vectors as files and prints the numbers of the forms that failed.
    fn run_in_node(&self, engine: &str) -> Result<Report> {
        let folder = Folder::new()?;
        let table: Vec<String> = self.group.forms.iter().map(|form| form.line()).collect();
        std::fs::write(folder.0.join("fuzz.txt"), table.join("\n"))?;
        std::fs::write(folder.0.join("fuzz.bin"), &self.file)?;
        let mut node = Command::new("node");
        node.arg(home().join("replay.mjs")).args(["--engine", engine, "--tables"]).arg(&folder.0);
        if let Some(wasm) = &self.options.wasm {
            node.arg("--wasm").arg(wasm);
        }
        let output = node.arg("--vectors").arg(&folder.0).arg("--machine").output().context("starting node")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "node: {}", String::from_utf8_lossy(&output.stderr));
        let mut report = Report::default();
        let (head, rest) = text.split_once('\n').context("node printed nothing")?;
        let mut numbers = head.split(' ').map(str::parse::<usize>);
        report.cases = numbers.next().context("no count of cases")??;
        report.forms = numbers.collect::<Result<_, _>>()?;
        report.text = rest.to_owned();
        Ok(report)
    }
}

/// Cuts a program down while it still differs; returns it and the difference.
fn reduce(workshop: &Workshop, engine: &str, program: &Program, options: &Options) -> Result<(Program, String)> {
    let mut least = program.clone();
    let mut text = Recorded::new(workshop, std::slice::from_ref(&least), options)?.run(engine)?.text;
    for _ in 0..60 {
        let candidates = least.smaller();
        if candidates.is_empty() {
            break;
        }
        let report = Recorded::new(workshop, &candidates, options)?.run(engine)?;
        let shortest = report.forms.iter().min_by_key(|&&form| candidates[form].form().text.len());
        let Some(&form) = shortest else { break };
        least = candidates[form].clone();
        text = Recorded::new(workshop, std::slice::from_ref(&least), options)?.run(engine)?.text;
    }
    Ok((least, text))
}

fn keep(program: &Program) -> Result<()> {
    let mut table = std::fs::OpenOptions::new().append(true).open(home().join("table/found.txt"))?;
    Ok(writeln!(table, "{}", program.form().line())?)
}

/// A directory that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("isa-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Leftovers in the temporary directory harm nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
