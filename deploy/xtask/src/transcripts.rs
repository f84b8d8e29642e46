//! Program transcripts: the same script on this computer's Linux and in Skiff, compared.
//!
//! [`table`] reads what there is to run (`tests/transcripts/table.txt`), [`tree`] makes the Debian trees and images that
//! scripts run in, [`place`] runs one script natively or in a machine. Output and exit status have to be equal; what may
//! differ is named in the table, each with its reason.

mod difference;
mod place;
mod table;
mod tree;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{self, say};
use crate::{apt, client, demo};
use place::{Outcome, Place};
use table::{Script, Table};

/// Runs scripts; tells whether all transcripts were equal.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let (passed, failed) = count(options)?;
    println!("{passed} transcripts equal, {failed} different");
    Ok(failed == 0)
}

/// Runs scripts; tells how many transcripts were equal and how many were not.
pub(crate) fn count(options: &[String]) -> Result<(u64, u64)> {
    let options = Options::parse(options)?;
    let table = Table::read()?;
    if options.list {
        for script in &table.scripts {
            println!("{:<16} {:<8} {}", script.name, script.set, if script.fast { "fast" } else { "" });
        }
        return Ok((0, 0));
    }
    let chosen = options.choose(&table)?;
    apt::ensure(apt::DEMO)?;
    if options.places.iter().any(|place| *place != Place::Native) {
        client::build()?;
    }
    if options.places.contains(&Place::Chromium) {
        demo::build_server()?;
    }
    let vmrun = if options.places.contains(&Place::Native) { Some(build_vmrun(options.release)?) } else { None };
    let (mut passed, mut failed) = (0, 0);
    for script in chosen {
        let tree = tree::prepare(table.set(&script.set)?)?;
        let expected = place::on_linux(script, &tree).with_context(|| format!("{} on this computer", script.name))?;
        for at in options.places.iter().filter(|place| !script.is_init() || **place == Place::Native) {
            let found = place::in_skiff(*at, script, &tree, vmrun.as_deref(), options.patience)?;
            if judge(script, *at, &expected, &found)? {
                passed += 1;
            } else {
                failed += 1;
            }
        }
    }
    Ok((passed, failed))
}

pub(crate) use place::{ENVIRONMENT, native_command, run_to_end};
pub(crate) use tree::Tree as DebianTree;

/// Name and set of each script.
pub(crate) fn scripts() -> Result<Vec<(String, String)>> {
    Ok(Table::read()?.scripts.into_iter().map(|script| (script.name, script.set)).collect())
}

/// The tree of a set, made if it is not there.
pub(crate) fn debian_tree(set: &str) -> Result<DebianTree> {
    apt::ensure(apt::DEMO)?;
    tree::prepare(Table::read()?.set(set)?)
}

struct Options {
    names: Vec<String>,
    places: Vec<Place>,
    fast: bool,
    list: bool,
    release: bool,
    /// How many times the patience of the table is had, on computers that are busy with other things.
    patience: u64,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options =
            Self { names: Vec::new(), places: Vec::new(), fast: false, list: false, release: false, patience: 1 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--fast" => options.fast = true,
                "--list" => options.list = true,
                "--release" => options.release = true,
                "--in" => {
                    options.places.push(Place::parse(words.next().context("--in wants native, node or chromium")?)?)
                }
                "--patience" => {
                    let times = words.next().and_then(|times| times.parse().ok()).filter(|times| *times > 0);
                    options.patience = times.context("--patience wants a number of times")?;
                }
                other if other.starts_with('-') => {
                    bail!(
                        "unknown option {other:?}; there are --fast, --list, --release, --patience TIMES and --in PLACE"
                    )
                }
                name => options.names.push(name.to_owned()),
            }
        }
        if options.places.is_empty() {
            options.places.push(Place::Native);
        }
        Ok(options)
    }

    fn choose<'a>(&self, table: &'a Table) -> Result<Vec<&'a Script>> {
        if !self.names.is_empty() {
            let find = |name: &String| {
                let found = table.scripts.iter().find(|script| script.name == *name);
                found.with_context(|| format!("there is no transcript {name:?}; see --list"))
            };
            return self.names.iter().map(find).collect();
        }
        Ok(table.scripts.iter().filter(|script| !self.fast || script.fast).collect())
    }
}

/// Builds the native runner; returns its file.
pub(crate) fn build_vmrun(release: bool) -> Result<std::path::PathBuf> {
    say("building vmrun");
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "-p", "vm-machine", "--bin", "vmrun"]);
    if release {
        build.arg("--release");
    }
    shell::run(&mut build)?;
    Ok(shell::target_dir().join(if release { "release" } else { "debug" }).join("vmrun"))
}

/// Compares, prints one line, keeps both outputs for who wants to look.
fn judge(script: &Script, at: Place, expected: &Outcome, found: &Outcome) -> Result<bool> {
    let linux = normal(script, &expected.text())?;
    let skiff = normal(script, &found.text())?;
    let dir = shell::build_dir().join("transcripts/out");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(format!("{}.linux", script.name)), &linux)?;
    fs::write(dir.join(format!("{}.{}", script.name, at.name())), &skiff)?;
    let seconds = |outcome: &Outcome| format!("{:.1}", outcome.elapsed.as_secs_f64());
    let times = format!("{} s on Linux, {} s in {}", seconds(expected), seconds(found), at.name());
    if linux == skiff {
        println!("transcript {} ... ok ({times})", script.name);
        return Ok(true);
    }
    println!("transcript {} ... FAILED ({times})", script.name);
    print!("{}", difference::show(&linux, &skiff));
    Ok(false)
}

/// Applies what the table allows to differ, with the sed(1) of this computer.
fn normal(script: &Script, text: &str) -> Result<String> {
    if script.rules.is_empty() {
        return Ok(text.to_owned());
    }
    let mut sed = Command::new("sed");
    sed.arg("-E");
    for rule in &script.rules {
        sed.arg("-e").arg(rule);
    }
    place::filter(&mut sed, text)
}

/// Where the scripts are.
fn folder() -> std::path::PathBuf {
    shell::root().join("tests/transcripts")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
