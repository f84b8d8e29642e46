//! The table of scripts.

use anyhow::{Context, Result, bail};

/// What a tree is made of.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) name: String,
    /// Debian's name of the release.
    pub(super) suite: String,
    /// Beside the required packages.
    pub(super) packages: Vec<String>,
    /// A folder here whose `build.sh` is run in the new tree.
    pub(super) build: Option<String>,
}

/// One script and how it is run.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: String,
    pub(super) set: String,
    /// Part of `cargo xtask test`.
    pub(super) fast: bool,
    /// Commands of sed -E for what may differ.
    pub(super) rules: Vec<String>,
    /// Longest time in Skiff, seconds.
    pub(super) patience: u64,
    /// Guest memory, MiB.
    pub(super) memory: u64,
    /// In what surroundings, if not the usual ones: `init` is as process 1, which only vmrun can; `pivot` is with the tree as
    /// the root of its mount namespace, and `loop` with loop devices, as always in Skiff.
    pub(super) how: Option<String>,
}

impl Script {
    /// Whether it is process 1.
    pub(super) fn is_init(&self) -> bool {
        self.how.as_deref() == Some("init")
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Table {
    sets: Vec<Set>,
    pub(super) scripts: Vec<Script>,
}

impl Table {
    /// Reads `tests/transcripts/table.txt`.
    pub(super) fn read() -> Result<Self> {
        let path = super::folder().join("table.txt");
        let table = Self::parse(&super::read(&path)?).with_context(|| format!("in {}", path.display()))?;
        for script in &table.scripts {
            table.set(&script.set)?;
        }
        Ok(table)
    }

    /// The set with this name.
    pub(super) fn set(&self, name: &str) -> Result<&Set> {
        self.sets.iter().find(|set| set.name == name).with_context(|| format!("the table has no set {name:?}"))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut table = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            table.line(line).with_context(|| format!("line {}: {line}", number + 1))?;
        }
        Ok(table)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let mut words = line.split_whitespace();
        let (first, indented) = (words.next().unwrap_or_default(), line.starts_with(' '));
        match (first, indented) {
            ("set", false) => {
                let (name, suite) = (words.next(), words.next());
                let (Some(name), Some(suite)) = (name, suite) else { bail!("expected: set NAME SUITE") };
                self.sets.push(Set {
                    name: name.to_owned(),
                    suite: suite.to_owned(),
                    packages: Vec::new(),
                    build: None,
                });
            }
            ("packages", true) => {
                let set = self.sets.last_mut().context("packages belong to a set")?;
                set.packages.extend(words.map(str::to_owned));
            }
            ("build", true) => {
                let set = self.sets.last_mut().context("a build belongs to a set")?;
                set.build = Some(words.next().context("expected: build FOLDER")?.to_owned());
            }
            ("script", false) => {
                let (Some(name), Some(set)) = (words.next(), words.next()) else {
                    bail!("expected: script NAME SET [fast]");
                };
                let (name, set) = (name.to_owned(), set.to_owned());
                let fast = words.next() == Some("fast");
                self.scripts.push(Script { name, set, fast, rules: Vec::new(), patience: 300, memory: 512, how: None });
            }
            ("differs", true) => {
                let rule = line.trim_start().trim_start_matches("differs").trim();
                let (rule, reason) = rule.split_once(" because ").context("expected: differs SED because REASON")?;
                if reason.trim().is_empty() {
                    bail!("what differs wants a reason");
                }
                self.script()?.rules.push(rule.trim().to_owned());
            }
            ("patience", true) => self.script()?.patience = number(words.next())?,
            ("memory", true) => self.script()?.memory = number(words.next())?,
            ("init" | "loop" | "pivot", true) => self.script()?.how = Some(first.to_owned()),
            _ => bail!(
                "expected set, script or an indented packages, build, differs, patience, memory, init, loop or pivot"
            ),
        }
        Ok(())
    }

    fn script(&mut self) -> Result<&mut Script> {
        self.scripts.last_mut().context("this line belongs to a script")
    }
}

fn number(word: Option<&str>) -> Result<u64> {
    word.and_then(|word| word.parse().ok()).context("expected a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_with_its_sets_scripts_and_reasons() {
        let text = "# comment\nset small bookworm\n  packages perl make\n\nscript one small fast\n  patience 10\n  \
                    differs s/[0-9]+ ms/N ms/ because clocks differ\nscript two small\n";
        let table = Table::parse(text).expect("it is a table");
        assert_eq!(table.set("small").expect("it is there").packages, ["perl", "make"]);
        assert_eq!(table.scripts[0].rules, ["s/[0-9]+ ms/N ms/"]);
        assert_eq!((table.scripts[0].patience, table.scripts[0].fast, table.scripts[1].fast), (10, true, false));
    }

    #[test]
    fn what_differs_without_a_reason_is_refused() {
        assert!(Table::parse("set s bookworm\nscript one s\n  differs s/a/b/\n").is_err());
        assert!(Table::parse("  packages perl\n").is_err());
        assert!(Table::parse("script one\n").is_err());
    }
}
