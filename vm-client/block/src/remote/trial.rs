//! What was tried for one object, and what is left to try.

use super::host::CacheMode;
use super::wants::Failure;

/// The definite answers so far. A network that does not answer says nothing about the object and is not counted.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// What was seen, in words.
    seen: Vec<String>,
    corrupt: bool,
    /// Base URLs asked with caches bypassed.
    reloaded: usize,
    /// Whether the last try was such a one.
    reloading: bool,
    /// Tries in a row that the network swallowed.
    pub(super) lost: u32,
}

impl Trial {
    /// Whether caches and the socket have been believed once and are not any more.
    pub(super) fn needs_reload(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Which base URL to ask next over HTTP, and how. `lost` tries move on to the next base, so that one dead host does
    /// not hold everything up.
    pub(super) fn next(&mut self, bases: usize) -> (usize, CacheMode) {
        self.reloading = self.needs_reload();
        if self.reloading {
            ((self.reloaded + self.lost as usize) % bases.max(1), CacheMode::Reload)
        } else {
            (self.lost as usize % bases.max(1), CacheMode::Default)
        }
    }

    /// Notes a definite answer that is no good; the verdict once every base was asked anew.
    pub(super) fn refuted(&mut self, source: &str, what: &str, corrupt: bool, bases: usize) -> Option<Failure> {
        self.seen.push(format!("{source}: {what}"));
        self.corrupt |= corrupt;
        self.lost = 0;
        self.reloaded += usize::from(std::mem::take(&mut self.reloading));
        if self.reloaded < bases.max(1) {
            return None;
        }
        let text = self.seen.join("; ");
        Some(if self.corrupt { Failure::Corrupt(text) } else { Failure::Missing(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_believed_only_after_every_base_was_asked_past_its_caches() {
        let mut trial = Trial::default();
        assert_eq!(trial.next(2), (0, CacheMode::Default));
        assert!(trial.refuted("a", "404", false, 2).is_none());
        assert_eq!(trial.next(2), (0, CacheMode::Reload));
        assert!(trial.refuted("a", "404", false, 2).is_none());
        assert_eq!(trial.next(2), (1, CacheMode::Reload));
        assert!(
            matches!(trial.refuted("b", "404", false, 2), Some(Failure::Missing(text)) if text == "a: 404; a: 404; b: 404")
        );
    }

    #[test]
    fn one_corrupt_answer_makes_it_corrupt() {
        let mut trial = Trial::default();
        assert!(trial.refuted("socket", "hash mismatch", true, 1).is_none());
        assert_eq!(trial.next(1), (0, CacheMode::Reload));
        assert!(matches!(trial.refuted("a", "404", false, 1), Some(Failure::Corrupt(_))));
    }

    #[test]
    fn a_lost_network_decides_nothing() {
        let mut trial = Trial::default();
        for lost in 0..100 {
            trial.lost = lost;
            assert_eq!(trial.next(3), (lost as usize % 3, CacheMode::Default));
        }
    }
}
