//! Times, and the table they end in.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// What stands around the table in a document.
const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- /figures -->";

/// How long things took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// So many hundredths took at most this long; zero if nothing was measured.
    pub(crate) fn percentile(&mut self, percent: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len() as f64 * percent / 100.0) as usize;
        self.0.get(at.min(last)).copied().unwrap_or_default()
    }
}

/// Milliseconds, for people and JSON.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Whether a figure reaches what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reached,
    Missed,
    /// It is only reported.
    Reported,
}

impl From<bool> for Verdict {
    fn from(reached: bool) -> Self {
        if reached { Self::Reached } else { Self::Missed }
    }
}

/// Rows of the table.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; 4]>,
    values: Map<String, Value>,
}

impl Report {
    /// Adds a row: what was measured, what came of it, what it must be.
    pub(crate) fn row(&mut self, what: &str, found: String, must: &str, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Reached => "yes",
            Verdict::Missed => "NO",
            Verdict::Reported => "",
        };
        eprintln!("    {what}: {found} {must} {verdict}");
        self.rows.push([what.to_owned(), found, must.to_owned(), verdict.to_owned()]);
    }

    /// Adds what only the JSON has.
    pub(crate) fn value(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Says that a part could not be measured, and why.
    pub(crate) fn left_out(&mut self, part: &str, why: &str) {
        self.row(part, format!("left out: {why}"), "", Verdict::Missed);
    }

    /// The table, as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = "| what | found | must | reached |\n|---|---|---|---|\n".to_owned();
        for [what, found, must, verdict] in &self.rows {
            let _ = writeln!(text, "| {what} | {found} | {must} | {verdict} |");
        }
        text
    }

    /// Puts the table between the marks in a file.
    pub(crate) fn put_into(&self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.with_context(|| format!("{} has no marks {BEGIN} and {END}", file.display()))?;
        let new = format!("{before}{BEGIN}\n{}{END}{after}", self.table());
        std::fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|[what, found, must, reached]| json!({ "what": what, "found": found, "must": must, "reached": reached }))
            .collect();
        let all = json!({ "rows": rows, "values": self.values });
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&all)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}
