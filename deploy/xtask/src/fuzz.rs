//! Fuzzing (`tests/fuzz`): builds the targets with libFuzzer's instrumentation and runs them one after the other.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{self, command, say};

const TARGETS: [&str; 6] = ["frames", "objects", "server_session", "signed_tags", "ext2_image", "plain_answers"];
/// Bytes of an input; longer ones find nothing that shorter ones do not.
const MOST_BYTES: u32 = 4096;

/// What cargo-fuzz passes: coverage of edges and comparisons, and all checks of a debug build.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks=on -Ccodegen-units=1";

/// Runs the targets named, or all.
pub(crate) fn run(options: &[String]) -> Result<()> {
    let (mut targets, mut seconds, mut replay) = (Vec::new(), 60_u32, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--seconds" => {
                seconds = options.next().and_then(|text| text.parse().ok()).context("--seconds wants a number")?;
            }
            "--replay" => replay = true,
            name if TARGETS.contains(&name) => targets.push(name),
            other => bail!("there is no target {other:?}; there are {}", TARGETS.join(", ")),
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let folder = shell::root().join("tests/fuzz");
    let triple = build(&folder)?;
    for target in targets {
        let corpus = folder.join("corpus").join(target);
        let artifacts = folder.join("artifacts").join(target);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        let mut fuzz = command(folder.join(format!("target/{triple}/release/{target}")));
        fuzz.arg(&corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzz.args([format!("-max_len={MOST_BYTES}"), "-timeout=20".to_owned(), "-rss_limit_mb=4096".to_owned()]);
        if replay {
            say(&format!("replaying the corpus of {target}"));
            fuzz.arg("-runs=0");
        } else {
            say(&format!("fuzzing {target} for {seconds} s"));
            fuzz.args([format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()]);
        }
        shell::run(&mut fuzz)?;
    }
    Ok(())
}

/// Builds all targets; returns the target triple, under which they lie.
fn build(folder: &PathBuf) -> Result<String> {
    let toolchains = shell::output(command("rustup").args(["toolchain", "list"])).context("rustup is needed")?;
    ensure!(toolchains.contains("nightly"), "fuzzing needs a nightly toolchain: rustup toolchain install nightly");
    let version = shell::output(command("rustc").args(["+nightly", "-vV"]))?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc tells its host")?;
    say("building the fuzz targets");
    let mut build = command("cargo");
    // A triple keeps the flags away from build scripts.
    build.args(["+nightly", "build", "--release", "--bins", "--target", triple]).current_dir(folder);
    shell::run(build.env("RUSTFLAGS", FLAGS).env_remove("CARGO"))?;
    Ok(triple.to_owned())
}
