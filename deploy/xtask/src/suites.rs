//! Every test, counted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, say};
use crate::{apt, check, client, demo, jit, node, setup, transcripts, worker};

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Runs the suites named, or all; tells whether every test passed. The last line counts them.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let mut wanted = Vec::new();
    let mut filter = None;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--filter" => filter = Some(options.next().context("--filter wants a text")?.as_str()),
            "native" | "transcripts" | "jit" | "types" | "worker" | "deploy" | "browser" | "engines" => {
                wanted.push(option.as_str())
            }
            other => {
                bail!(
                    "there is no suite {other:?}; there are native, transcripts, jit, types, browser, worker, deploy and engines"
                )
            }
        }
    }
    let suites = |name: &str| wanted.is_empty() || wanted.contains(&name);
    // Takes minutes, and runs when it is named.
    let named = |name: &str| wanted.contains(&name);
    setup::for_tests()?;
    let mut total = Count::default();
    if suites("native") {
        say("tests of the crates, of instructions, guest programs and file systems");
        let mut tests = cargo();
        tests.args(["test", "--quiet", "--no-fail-fast", "--workspace", "--lib", "--bins", "--tests"]);
        if let Some(filter) = filter {
            tests.args(["--", filter]);
        }
        total.add(counted(&mut tests, libtest_line)?);
    }
    if suites("transcripts") && filter.is_none() {
        say("programs on this computer's Linux and in Skiff");
        let (passed, failed) = transcripts::count(&["--fast".to_owned()])?;
        total.add(Count { passed, failed });
    }
    if suites("jit") && filter.is_none() {
        say("instructions and guest programs on compiled code");
        let extent = if named("jit") { jit::Extent::All } else { jit::Extent::Some };
        for mut command in jit::commands(extent)? {
            total.add(counted(&mut command, libtest_line)?);
        }
    }
    if suites("types") {
        say("types of the npm package");
        client::build()?;
        total.one(check::types());
    }
    if suites("worker") {
        say("tests of the Worker in workerd");
        // Includes what wrangler would deploy to each environment.
        total.one(worker::check());
        demo::run(&["--no-serve".to_owned()])?;
        shell::run(cargo().args([
            "build",
            "--quiet",
            "-p",
            "vm-machine",
            "--bin",
            "vmrun",
            "-p",
            "image-tools",
            "--bin",
            "image-tools",
        ]))?;
        let mut tests = node::script("edge-worker/test/run.mjs");
        tests.arg("--store").arg(shell::build_dir().join("store"));
        for program in ["vmrun", "image-tools"] {
            tests.arg(format!("--{program}")).arg(shell::target_dir().join("debug").join(program));
        }
        if let Some(filter) = filter {
            tests.arg("--filter").arg(filter);
        }
        total.add(counted(&mut tests, libtest_line)?);
    }
    if named("worker") {
        say("cases of the stream against the Worker, and tabs that boot from it");
        let mut tests = cargo();
        tests.args(["test", "--quiet", "-p", "stream-tests", "--test", "stream"]).env("SKIFF_STREAM", "worker");
        if let Some(filter) = filter {
            tests.args(["--", filter]);
        }
        total.add(counted(&mut tests, libtest_line)?);
        let mut tests = node::script("tests/browser/run.mjs");
        tests.arg("--block-server").arg(demo::server_program()).args(["--folder", "worker"]);
        if let Some(filter) = filter {
            tests.arg("--filter").arg(filter);
        }
        total.add(counted(&mut tests, libtest_line)?);
    }
    if suites("deploy") {
        say("tests of what is deployed");
        node::ensure_worker_packages()?;
        client::build()?;
        demo::build_server()?;
        let mut tests = node::script("deploy/test/run.mjs");
        tests.arg("--target-dir").arg(shell::target_dir());
        if let Some(filter) = filter {
            tests.arg("--filter").arg(filter);
        }
        total.add(counted(&mut tests, libtest_line)?);
    }
    if suites("browser") {
        say("tests in the browser and in Node");
        demo::run(&["--no-serve".to_owned()])?;
        shell::run(cargo().args(["build", "--quiet", "-p", "image-tools", "--bin", "image-tools"]))?;
        shell::run(cargo().args(["build", "--quiet", "-p", "stream-tests", "--bin", "bucket"]))?;
        let mut tests = node::script("tests/browser/run.mjs");
        tests.arg("--block-server").arg(demo::server_program());
        if let Some(filter) = filter {
            tests.arg("--filter").arg(filter);
        }
        total.add(counted(&mut tests, libtest_line)?);
    }
    if suites("engines") {
        say("tests in Firefox and WebKitGTK");
        apt::ensure(apt::ENGINES)?;
        demo::run(&["--no-serve".to_owned()])?;
        // Node 20 has WebSocket behind a flag that later ones still take.
        let mut tests = shell::command("node");
        tests.arg("--experimental-websocket").arg(shell::root().join("tests/engines/run.mjs"));
        tests.arg("--block-server").arg(demo::server_program());
        if let Some(filter) = filter {
            tests.arg("--filter").arg(filter);
        }
        total.add(counted(&mut tests, libtest_line)?);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0 && total.passed > 0)
}

impl Count {
    /// Adds something that passes or fails as one.
    fn one(&mut self, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("{error:#}");
                self.failed += 1;
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs a suite, passes its output on, and adds up the lines that count tests. A suite that fails without a failed test
/// (one that does not compile, say) counts as one.
fn counted(command: &mut Command, parse: impl Fn(&str) -> Option<Count>) -> Result<Count> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting a suite")?;
    let mut count = Count::default();
    let output = child.stdout.take().context("the suite has an output")?;
    let mut terminal = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(more) = parse(&line) {
            count.add(more);
        }
        writeln!(terminal, "{line}")?;
    }
    if !child.wait()?.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

/// Reads `test result: ok. 3 passed; 0 failed; ...`, which our own runner prints too.
fn libtest_line(line: &str) -> Option<Count> {
    let (_, counts) = line.split_once("test result: ")?;
    let number = |name: &str| {
        let before = counts.split(';').find(|part| part.trim_end().ends_with(name))?;
        before.split_whitespace().rev().nth(1)?.parse().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_of_libtest_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        let count = libtest_line(line).expect("it is a result line");
        assert_eq!((count.passed, count.failed), (12, 3));
        assert!(libtest_line("running 3 tests").is_none());
    }
}
