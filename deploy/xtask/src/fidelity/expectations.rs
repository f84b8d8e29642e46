//! The differences that are known (`tests/fidelity/expectations.txt`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::shell;

/// All that is expected.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    /// Suite and test; `true` where the outcome varies from run to run.
    known: BTreeMap<(String, String), bool>,
}

/// What to think of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// As on Linux.
    Equal,
    /// Different, and known to be.
    Expected,
    /// Different.
    Differs,
    /// Known to be different, but it is not.
    Gone,
}

impl Expectations {
    /// Reads the file.
    pub(super) fn read() -> Result<Self> {
        let path = shell::root().join("tests/fidelity/expectations.txt");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut known = BTreeMap::new();
        let mut suite = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = || format!("line {}: {line}", number + 1);
            if let Some(name) = line.strip_prefix("suite ") {
                suite = name.trim().to_owned();
                continue;
            }
            let (names, reason) = line.split_once(" because ").with_context(at)?;
            if reason.trim().is_empty() || suite.is_empty() {
                bail!("{}: expected differs|varies TEST... because REASON, below a suite", at());
            }
            let mut words = names.split_whitespace();
            let varies = match words.next() {
                Some("differs") => false,
                Some("varies") => true,
                _ => bail!("{}: expected differs|varies TEST... because REASON", at()),
            };
            for name in words {
                if known.insert((suite.clone(), name.to_owned()), varies).is_some() {
                    bail!("{}: {name} is there twice", at());
                }
            }
        }
        Ok(Self { known })
    }

    /// Judges a test; names with spaces are written with underscores in the file.
    pub(super) fn judge(&self, suite: &str, test: &str, equal: bool) -> Judgement {
        let key = (suite.to_owned(), test.split_whitespace().collect::<Vec<_>>().join("_"));
        match (self.known.get(&key), equal) {
            (None, true) | (Some(true), true) => Judgement::Equal,
            (None, false) => Judgement::Differs,
            (Some(_), false) => Judgement::Expected,
            (Some(false), true) => Judgement::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_may_differ_and_must() {
        let text = "# why\nsuite s\n  differs a b_c because of this\n  varies d because of that\n";
        let known = Expectations::parse(text).expect("it is well formed");
        assert_eq!(known.judge("s", "a", false), Judgement::Expected);
        assert_eq!(known.judge("s", "b c", true), Judgement::Gone);
        assert_eq!(known.judge("s", "d", true), Judgement::Equal);
        assert_eq!(known.judge("s", "d", false), Judgement::Expected);
        assert_eq!(known.judge("s", "e", false), Judgement::Differs);
        assert_eq!(known.judge("t", "a", false), Judgement::Differs);
    }

    #[test]
    fn a_difference_without_a_reason_is_refused() {
        assert!(Expectations::parse("suite s\n differs a\n").is_err());
        assert!(Expectations::parse("differs a because x\n").is_err());
    }
}
