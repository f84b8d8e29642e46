//! Other people's test suites, in Skiff and on this computer's Linux, compared test by test.
//!
//! [`suite`] says which there are and where they come from, [`source`] obtains and builds them inside a Debian i386 tree
//! (nothing of them is in the repository), [`run`](mod@run) runs one on either side, [`outcome`] reads what its tests came to,
//! and [`expectations`] holds every difference that is known, each with its reason. A difference that is not expected fails,
//! and so does an expected one that is gone.

mod expectations;
mod outcome;
mod run;
mod source;
mod suite;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell::{self, say};
use crate::{apt, transcripts};
use expectations::{Expectations, Judgement};
use outcome::Outcomes;
pub(crate) use suite::SUITES;
use suite::Suite;

/// Runs suites; tells whether nothing was unexpected.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let options = Options::parse(options)?;
    if options.list {
        for suite in SUITES {
            println!("{:<12} {}", suite.name, suite.about);
        }
        return Ok(true);
    }
    apt::ensure(apt::DEMO)?;
    apt::ensure(apt::TEST)?;
    let expectations = Expectations::read()?;
    let vmrun = transcripts::build_vmrun(!options.debug)?;
    let mut good = true;
    for suite in options.suites {
        let Some(built) = source::obtain(suite)? else {
            println!("suite {} ... skipped", suite.name);
            continue;
        };
        say(&format!("{}: on this computer's Linux", suite.name));
        let linux = run::on_linux(suite, &built, options.only.as_deref())?;
        say(&format!("{}: in Skiff", suite.name));
        let skiff = run::in_skiff(suite, &built, &vmrun, options.only.as_deref())?;
        good &= judge(suite, &expectations, &linux, &skiff, options.only.is_some())?;
    }
    Ok(good)
}

struct Options {
    suites: Vec<&'static Suite>,
    only: Option<String>,
    debug: bool,
    list: bool,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { suites: Vec::new(), only: None, debug: false, list: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--only" => options.only = Some(words.next().context("--only wants a regular expression")?.clone()),
                "--debug" => options.debug = true,
                "--list" => options.list = true,
                other if other.starts_with('-') => {
                    bail!("unknown option {other:?}; there are --only REGEX, --debug and --list")
                }
                name => {
                    let found = SUITES.iter().find(|suite| suite.name == name);
                    options.suites.push(found.with_context(|| format!("there is no suite {name:?}; see --list"))?);
                }
            }
        }
        if options.suites.is_empty() {
            options.suites.extend(SUITES);
        }
        Ok(options)
    }
}

/// Where results are kept.
fn results() -> PathBuf {
    shell::build_dir().join("fidelity/results")
}

/// Prints what differs, one line of figures, and keeps the outcomes; those of a part of the suite replace theirs only.
fn judge(suite: &Suite, expectations: &Expectations, linux: &Outcomes, skiff: &Outcomes, partly: bool) -> Result<bool> {
    if linux.is_empty() {
        bail!("{}: no test ran on this computer; see {}", suite.name, results().display());
    }
    let (mut unexpected, mut expected, mut natively, mut both) = (0, 0, 0, 0);
    let mut kept = if partly { earlier(suite) } else { BTreeMap::new() };
    let missing = "missing".to_owned();
    for (name, here) in linux.iter() {
        let there = skiff.get(name).unwrap_or(&missing);
        let passes = |outcome: &str| outcome.starts_with("pass");
        natively += u64::from(passes(here));
        both += u64::from(passes(here) && here == there);
        let verdict = match expectations.judge(suite.name, name, here == there) {
            Judgement::Equal => "same",
            Judgement::Expected => {
                expected += 1;
                "known"
            }
            Judgement::Differs => {
                unexpected += 1;
                println!("    {name}: Linux {here}, Skiff {there}");
                "DIFFERS"
            }
            Judgement::Gone => {
                unexpected += 1;
                println!("    {name}: both {here}, but the expectations say that they differ");
                "GONE"
            }
        };
        kept.insert(name.clone(), format!("{here}\t{there}\t{verdict}"));
    }
    fs::create_dir_all(results())?;
    let lines: String = kept.iter().map(|(name, outcome)| format!("{name}\t{outcome}\n")).collect();
    fs::write(results().join(format!("{}.tsv", suite.name)), lines)?;
    let share = 100.0 * both as f64 / f64::max(natively as f64, 1.0);
    println!(
        "suite {} ... {} ({} tests, {natively} pass on Linux, {both} of them in Skiff: {share:.1} %; {expected} known \
         differences, {unexpected} unexpected)",
        suite.name,
        if unexpected == 0 { "ok" } else { "FAILED" },
        linux.len(),
    );
    Ok(unexpected == 0)
}

/// The lines of earlier runs, by the name of the test.
fn earlier(suite: &Suite) -> BTreeMap<String, String> {
    let text = fs::read_to_string(results().join(format!("{}.tsv", suite.name))).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}
