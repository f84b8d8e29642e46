//! The compatibility matrix (`vm-client/kernel/COMPATIBILITY.md`), made from tables and from the results of the last runs.
//!
//! System calls come from `SYSCALLS.md`, which a test keeps equal to the kernel's table, and from the list of Linux's own numbers;
//! programs from the transcripts, suites from `cargo xtask fidelity`. What was not run here since keeps the row it had.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell::{build_dir, root, say};
use crate::transcripts;

/// Writes the matrix.
pub(crate) fn write() -> Result<()> {
    let path = root().join("vm-client/kernel/COMPATIBILITY.md");
    let before = rows(&fs::read_to_string(&path).unwrap_or_default());
    let mut out = String::from(
        "# Compatibility\n\nMade by `cargo xtask matrix` from tables and from the results of the last runs; do not edit.\n",
    );
    programs(&mut out, &before)?;
    suites(&mut out, &before)?;
    calls(&mut out)?;
    fs::write(&path, out).with_context(|| format!("writing {}", path.display()))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// Rows of the tables that are there already, by their first cell.
fn rows(text: &str) -> BTreeMap<String, String> {
    let cells = |line: &str| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name.to_owned());
    text.lines().filter_map(|line| Some((cells(line)?, line.to_owned()))).collect()
}

fn programs(out: &mut String, before: &BTreeMap<String, String>) -> Result<()> {
    out.push_str(
        "\n## Programs\n\nEach script runs on Linux and in Skiff and has to print the same (`cargo xtask transcripts`).\n\n\
         | script | tree | vmrun | Node | Chromium |\n|---|---|---|---|---|\n",
    );
    for (name, set) in transcripts::scripts()? {
        let output = |side: &str| fs::read_to_string(results("transcripts/out", &format!("{name}.{side}"))).ok();
        let found = |place: &str| Some(if output("linux")? == output(place)? { "equal" } else { "different" });
        let key = format!("transcript {name}");
        let known: Vec<&str> = before.get(&key).map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default();
        let cells = ["vmrun", "node", "chromium"].into_iter().enumerate().map(|(at, place)| {
            found(place).or_else(|| known.get(at + 3).copied().filter(|cell| !cell.is_empty())).unwrap_or("not run")
        });
        let _ = writeln!(out, "| `{key}` | {set} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

fn suites(out: &mut String, before: &BTreeMap<String, String>) -> Result<()> {
    out.push_str(
        "\n## Suites\n\nOther people's tests, on Linux and in Skiff (`cargo xtask fidelity`). The share is that of the tests which \
         pass on\nLinux; every difference is in `tests/fidelity/expectations.txt` with its reason.\n\n\
         | suite | tests | pass on Linux | of them in Skiff | share |\n|---|---|---|---|---|\n",
    );
    for suite in crate::fidelity::SUITES {
        let key = format!("suite {}", suite.name);
        let row = match fs::read_to_string(results("fidelity/results", &format!("{}.tsv", suite.name))) {
            Ok(text) => summary(&key, &text),
            Err(_) => before.get(&key).cloned().unwrap_or_else(|| format!("| `{key}` | not run | | | |")),
        };
        let _ = writeln!(out, "{row}");
    }
    Ok(())
}

/// The row of a suite from its results: name, outcome on Linux, outcome in Skiff, verdict.
fn summary(key: &str, text: &str) -> String {
    let (mut tests, mut natively, mut both) = (0u32, 0u32, 0u32);
    for line in text.lines() {
        let mut cells = line.split('\t').skip(1);
        let (Some(linux), Some(skiff)) = (cells.next(), cells.next()) else { continue };
        tests += 1;
        if linux.starts_with("pass") {
            natively += 1;
            both += u32::from(linux == skiff);
        }
    }
    let share = 100.0 * f64::from(both) / f64::from(natively.max(1));
    format!("| `{key}` | {tests} | {natively} | {both} | {share:.1} % |")
}

fn calls(out: &mut String) -> Result<()> {
    let list = fs::read_to_string(root().join("vm-client/kernel/SYSCALLS.md")).context("reading SYSCALLS.md")?;
    let names = fs::read_to_string(root().join("vm-client/abi/src/nr/i386.rs")).context("reading the numbers")?;
    let (mut full, mut partly, mut here) = (0, Vec::new(), BTreeSet::new());
    for line in list.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, name, missing, ..] = cells.as_slice() else { continue };
        if number.parse::<u32>().is_err() {
            continue;
        }
        let name = name.trim_matches('`');
        here.insert(name);
        if missing.is_empty() {
            full += 1;
        } else {
            partly.push((name, *missing));
        }
    }
    let absent: Vec<&str> = names
        .lines()
        .filter_map(|line| line.trim().strip_prefix('(')?.split('"').nth(1))
        .filter(|name| !here.contains(name))
        .collect();
    let _ = write!(
        out,
        "\n## System calls\n\n{full} of Linux's calls work in full for what this kernel has, {} in part, {} answer ENOSYS.\n\n\
         | in part | what is missing |\n|---|---|\n",
        partly.len(),
        absent.len()
    );
    for (name, missing) in partly {
        let _ = writeln!(out, "| {name} | {missing} |");
    }
    let _ = writeln!(out, "\nENOSYS, counted and shown by `vmrun --report`: {}.", absent.join(", "));
    Ok(())
}

fn results(dir: &str, name: &str) -> PathBuf {
    build_dir().join(dir).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_summed_up_by_what_passes_on_linux() {
        let text = "a\tpass\tpass\tsame\nb\tpass\tfail\tDIFFERS\nc\tfail\tfail\tsame\n";
        assert_eq!(summary("suite s", text), "| `suite s` | 3 | 2 | 1 | 50.0 % |");
    }

    #[test]
    fn rows_are_found_again_by_their_names() {
        let found = rows("# x\n| `suite a` | 1 |\n|---|\n");
        assert_eq!(found.get("suite a").map(String::as_str), Some("| `suite a` | 1 |"));
    }
}
