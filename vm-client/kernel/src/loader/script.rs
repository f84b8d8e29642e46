//! `#!` lines (execve(2), "Interpreter scripts").

use crate::{Errno, Result};

/// How much of a file is looked at (Linux's `BINPRM_BUF_SIZE`).
pub(super) const LINE_MAX: usize = 256;

/// What a `#!` line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The program to run.
    pub(super) interpreter: Vec<u8>,
    /// All the rest of the line as one argument.
    pub(super) argument: Option<Vec<u8>>,
}

/// Parses the beginning of a script, at most [`LINE_MAX`] bytes; ENOEXEC if no interpreter is named in full.
pub(super) fn parse(start: &[u8]) -> Result<Line> {
    let text = start.strip_prefix(b"#!").ok_or(Errno::ENOEXEC)?;
    let complete = text.iter().position(|byte| *byte == b'\n' || *byte == 0);
    let is_whole = complete.is_some() || start.len() < LINE_MAX;
    let line = text[..complete.unwrap_or(text.len())].trim_ascii_start_matches();
    let name_end = line.iter().position(|byte| is_blank(*byte));
    if line.is_empty() || !is_whole && name_end.is_none() {
        // A name that was cut off is not one.
        return Err(Errno::ENOEXEC);
    }
    let (interpreter, rest) = line.split_at(name_end.unwrap_or(line.len()));
    let argument = rest.trim_ascii_start_matches().trim_ascii_end_matches();
    Ok(Line { interpreter: interpreter.to_vec(), argument: (!argument.is_empty()).then(|| argument.to_vec()) })
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Blanks as Linux sees them: spaces and tabs, but not carriage returns.
trait Blanks {
    fn trim_ascii_start_matches(&self) -> &[u8];
    fn trim_ascii_end_matches(&self) -> &[u8];
}

impl Blanks for [u8] {
    fn trim_ascii_start_matches(&self) -> &[u8] {
        let start = self.iter().position(|byte| !is_blank(*byte)).unwrap_or(self.len());
        &self[start..]
    }

    fn trim_ascii_end_matches(&self) -> &[u8] {
        let end = self.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1);
        &self[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<(String, Option<String>)> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        parse(text.as_bytes()).map(|line| (text_of(line.interpreter), line.argument.map(text_of)))
    }

    fn words(interpreter: &str, argument: Option<&str>) -> Result<(String, Option<String>)> {
        Ok((interpreter.into(), argument.map(Into::into)))
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        assert_eq!(line("#!/bin/sh\necho"), words("/bin/sh", None));
        assert_eq!(line("#! \t/bin/sh -e -x  \n"), words("/bin/sh", Some("-e -x")));
        assert_eq!(line("#!/bin/sh"), words("/bin/sh", None));
        assert_eq!(line("#!/bin/sh\r\n"), words("/bin/sh\r", None));
    }

    #[test]
    fn a_line_without_a_whole_name_is_no_script() {
        assert_eq!(line("#!\n/bin/sh"), Err(Errno::ENOEXEC));
        assert_eq!(line("#!   \n"), Err(Errno::ENOEXEC));
        let long = format!("#!/{}", "x".repeat(300));
        assert_eq!(line(&long[..LINE_MAX]), Err(Errno::ENOEXEC));
        let cut = format!("#!/bin/sh {}", "x".repeat(300));
        assert_eq!(line(&cut[..LINE_MAX]), words("/bin/sh", Some(&"x".repeat(LINE_MAX - 10))));
    }
}
