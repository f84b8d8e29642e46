//! Fuzzing (`tests/fuzz`): builds the targets with libFuzzer's instrumentation and runs them, a few at a time if wanted.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::jit;
use crate::shell::{self, command, say};

const TARGETS: [&str; 8] =
    ["frames", "envelopes", "manifests", "tokens", "signed_tags", "server_session", "ext2_image", "plain_answers"];
/// Bytes of an input; longer ones find nothing that shorter ones do not.
const MOST_BYTES: u32 = 4096;
/// Characters of a corpus in the repository. The shortest inputs are kept.
const MOST_KEPT: usize = 96 * 1024;

/// What cargo-fuzz passes: coverage of edges and comparisons, and all checks of a debug build.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks=on -Ccodegen-units=1";

struct Options<'a> {
    targets: Vec<&'a str>,
    seconds: u32,
    runs: Option<u64>,
    at_once: usize,
    keep: bool,
}

fn parse(options: &[String]) -> Result<Options<'_>> {
    let mut parsed = Options { targets: Vec::new(), seconds: 60, runs: None, at_once: 1, keep: false };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || options.next().and_then(|text| text.parse::<u64>().ok());
        match option.as_str() {
            "--seconds" => {
                parsed.seconds =
                    number().and_then(|n| u32::try_from(n).ok()).context("--seconds wants a number of seconds")?;
            }
            "--runs" => parsed.runs = Some(number().context("--runs wants a number of executions")?),
            "--at-once" => {
                let count = number().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
                parsed.at_once = count.context("--at-once wants a number of targets")?;
            }
            "--keep" => parsed.keep = true,
            name if TARGETS.contains(&name) => parsed.targets.push(name),
            other => bail!("there is no target {other:?}; there are {}", TARGETS.join(", ")),
        }
    }
    if parsed.targets.is_empty() {
        parsed.targets.extend(TARGETS);
    }
    Ok(parsed)
}

/// Runs the targets named, or all; `instructions` are another fuzzer's ([`crate::jit`]).
pub(crate) fn run(options: &[String]) -> Result<()> {
    if let Some(("instructions", rest)) = options.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return jit::fuzz(rest);
    }
    let options = parse(options)?;
    let program = build()?;
    for targets in options.targets.chunks(options.at_once) {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                targets.iter().map(|target| scope.spawn(|| run_one(&program, target, &options))).collect();
            let ends = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a target's thread")));
            ends.collect::<Result<()>>()
        })?;
    }
    Ok(())
}

fn run_one(program: &Path, target: &str, options: &Options<'_>) -> Result<()> {
    let folder = shell::build_dir().join("fuzz").join(target);
    let (corpus, failed) = (folder.join("corpus"), folder.join("failed"));
    for folder in [&corpus, &failed] {
        fs::create_dir_all(folder)?;
    }
    unpack(target, &corpus)?;
    let mut fuzz = fuzzer(program, target);
    fuzz.arg(format!("-artifact_prefix={}/", failed.display())).arg("-print_final_stats=1");
    fuzz.arg(format!("-max_total_time={}", options.seconds));
    if let Some(runs) = options.runs {
        fuzz.arg(format!("-runs={runs}"));
    }
    say(&format!("fuzzing {target} for at most {} s", options.seconds));
    shell::run(fuzz.arg(&corpus))?;
    if options.keep { keep(program, target, &folder) } else { Ok(()) }
}

fn fuzzer(program: &Path, target: &str) -> Command {
    let mut fuzz = command(program);
    fuzz.env("SKIFF_FUZZ_TARGET", target);
    fuzz.args([format!("-max_len={MOST_BYTES}"), "-timeout=300".to_owned(), "-rss_limit_mb=4096".to_owned()]);
    fuzz
}

/// Builds the program that has all targets.
fn build() -> Result<PathBuf> {
    let toolchains = shell::output(command("rustup").args(["toolchain", "list"])).context("rustup is needed")?;
    ensure!(toolchains.contains("nightly"), "fuzzing needs a nightly toolchain: rustup toolchain install nightly");
    let version = shell::output(command("rustc").args(["+nightly", "-vV"]))?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc tells its host")?;
    say("building the fuzz targets");
    let target = shell::target_dir().join("fuzz");
    let mut build = command("cargo");
    // A triple keeps the flags away from build scripts.
    build.args(["+nightly", "build", "--quiet", "--release", "--target", triple, "--target-dir"]).arg(&target);
    build.current_dir(shell::root().join("tests/fuzz/libfuzzer"));
    shell::run(build.env("RUSTFLAGS", FLAGS).env_remove("CARGO"))?;
    Ok(target.join(triple).join("release/skiff-fuzz"))
}

/// The inputs of a target that are in the repository, one a line.
fn kept(target: &str) -> PathBuf {
    shell::root().join("tests/fuzz/corpus").join(format!("{target}.hex"))
}

fn unpack(target: &str, corpus: &Path) -> Result<()> {
    let path = kept(target);
    if !path.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    for (number, line) in text.lines().enumerate() {
        let bytes = from_hex(line).with_context(|| format!("{}:{}: not hexadecimal", path.display(), number + 1))?;
        fs::write(corpus.join(format!("kept-{number}")), bytes)?;
    }
    Ok(())
}

/// Puts the smallest corpus with the same coverage into the repository.
fn keep(program: &Path, target: &str, folder: &Path) -> Result<()> {
    let least = folder.join("least");
    if least.exists() {
        fs::remove_dir_all(&least)?;
    }
    fs::create_dir_all(&least)?;
    shell::output(fuzzer(program, target).arg("-merge=1").arg(&least).arg(folder.join("corpus")))?;
    let read = |entry: std::io::Result<fs::DirEntry>| Ok(to_hex(&fs::read(entry?.path())?));
    let mut lines = fs::read_dir(&least)?.map(read).collect::<Result<Vec<String>>>()?;
    lines.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    let mut text = String::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        if text.len() + line.len() >= MOST_KEPT {
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    say(&format!("{} of {} inputs of {target} are kept", text.lines().count(), lines.len()));
    fs::write(kept(target), text).context("writing the corpus")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_kept_as_text() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!(from_hex("0g"), None);
    }
}
