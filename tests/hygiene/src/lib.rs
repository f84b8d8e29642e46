//! Rules about the source tree that no compiler checks; see `tests/` for them.
//!
//! [`Tree`] is what the rules look at: the files that git knows, as text.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The project's files.
pub struct Tree {
    root: PathBuf,
    files: Vec<(String, String)>,
}

impl Tree {
    /// Reads every file that git tracks or would track and that is text.
    pub fn read() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.ancestors().nth(2).expect("the crate lies two folders down").to_path_buf();
        let list = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .expect("git lists the files");
        let names = String::from_utf8(list.stdout).expect("file names are UTF-8");
        let text = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root.join(name)).ok()?));
        let files = names.lines().filter_map(text).collect();
        Self { root, files }
    }

    /// Names and texts of the files that end so.
    pub fn files<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().filter(move |(name, _)| name.ends_with(ending)).map(|(name, text)| (&name[..], &text[..]))
    }

    /// The text of a file.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|(other, _)| other == name).map(|(_, text)| &text[..])
    }

    /// Whether there is such a file, tracked or not.
    pub fn exists(&self, name: &str) -> bool {
        self.root.join(name).exists()
    }
}

/// A package's name and the workspace packages it depends on, tests apart.
pub fn dependencies(manifest: &str) -> (String, Vec<String>) {
    let (mut section, mut name, mut found) = ("", String::new(), Vec::new());
    for line in manifest.lines() {
        if let Some(header) = line.trim().strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().trim_end_matches(".workspace").trim_matches('"');
            match section {
                "package" if key == "name" => name = value.trim().trim_matches('"').to_owned(),
                "dependencies" => found.push(key.to_owned()),
                _ => {}
            }
        }
    }
    (name, found)
}

/// Rust code without its comments, string contents and test modules at the end of a file.
pub fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut out = String::new();
    for line in text.lines() {
        let mut in_text = false;
        let mut before = ' ';
        for (at, character) in line.char_indices() {
            if !in_text && line[at..].starts_with("//") {
                break;
            }
            if character == '"' && before != '\\' && before != '\'' {
                in_text = !in_text;
            }
            if !in_text {
                out.push(character);
            }
            before = character;
        }
        out.push('\n');
    }
    out
}
