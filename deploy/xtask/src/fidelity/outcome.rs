//! What the tests of a run came to.
//!
//! The script of a suite prints one line for each test, `@ NAME<tab>OUTCOME`, between whatever else the tests print. An
//! outcome that starts with `pass` is a pass; the rest of it is compared too.

use std::collections::BTreeMap;

/// Outcomes by the name of the test.
#[derive(Debug, Default)]
pub(super) struct Outcomes(BTreeMap<String, String>);

impl Outcomes {
    /// Reads the output of a run.
    pub(super) fn parse(text: &str) -> Self {
        let mut all = BTreeMap::new();
        for line in text.lines() {
            // What a test printed last may lack its line end.
            let Some((_, line)) = line.split_once("@ ") else { continue };
            if let Some((name, outcome)) = line.split_once('\t') {
                all.insert(name.trim().to_owned(), outcome.trim().to_owned());
            }
        }
        Self(all)
    }

    /// The outcome of a test.
    pub(super) fn get(&self, name: &str) -> Option<&String> {
        self.0.get(name)
    }

    /// All tests in order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// Whether nothing ran.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many tests ran.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_found_between_other_output() {
        let outcomes = Outcomes::parse("noise\n@ one\tpass\nno newline@ two\tfail 3\n@ not an outcome\n");
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes.get("one").map(String::as_str), Some("pass"));
        assert_eq!(outcomes.get("two").map(String::as_str), Some("fail 3"));
    }
}
