//! What was tried for one object, and what is left to try.

use std::collections::VecDeque;
use std::time::Duration;

use block_proto::Hash;

use super::host::CacheMode;
use super::wants::Failure;

/// How often the same wrong bytes must come before they count as what the source has. Damage done on the way differs
/// from one answer to the next.
const SURE: u32 = 3;
/// How many wrong answers are remembered, in words and by their hash.
const REMEMBERED: usize = 8;

/// Why an answer is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The source says that it has no such object.
    Absent,
    /// The source says itself that what it has is damaged.
    Damaged,
    /// What came, of this hash, is something else.
    Wrong(Hash),
}

/// What to do about it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Ask again at once.
    Again,
    /// Ask again, but not at once: the way there damages what comes. This was so many answers in a row.
    Later(u32),
    /// There is nobody left to ask.
    Over(Failure),
}

/// The definite answers so far. A network that does not answer says nothing about the object and is not counted.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// What was seen, in words; the latest.
    seen: VecDeque<String>,
    /// Hashes of wrong answers, and how often each came.
    wrong: VecDeque<(Hash, u32)>,
    corrupt: bool,
    /// Whether anything was seen.
    doubted: bool,
    /// Base URLs asked with caches bypassed, whose answers are believed.
    reloaded: usize,
    /// Answers that were damaged on the way, each in its own manner.
    mangled: u32,
    /// Whether the last try was past all caches.
    reloading: bool,
    /// Whether the socket was asked for it past all caches.
    pub(super) asked_fresh: bool,
    /// Tries in a row that the network swallowed.
    pub(super) lost: u32,
    /// Tries that were begun anew because the network was away.
    pub(super) restarts: u32,
}

impl Trial {
    /// Whether caches and the socket have been believed once and are not any more.
    pub(super) fn needs_reload(&self) -> bool {
        self.doubted
    }

    /// How long the next try over HTTP may take; longer after each that was not answered.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(5 << self.lost.min(4)).min(Duration::from_secs(60))
    }

    /// Which base URL to ask next over HTTP, and how. `lost` tries move on to the next base, so that one dead host does
    /// not hold everything up.
    pub(super) fn next(&mut self, bases: usize) -> (usize, CacheMode) {
        self.reloading = self.needs_reload();
        if self.reloading {
            ((self.reloaded + (self.lost + self.mangled) as usize) % bases.max(1), CacheMode::Reload)
        } else {
            (self.lost as usize % bases.max(1), CacheMode::Default)
        }
    }

    /// Notes a definite answer that is no good. The end comes once every base was asked anew and gave the same answer
    /// again and again.
    pub(super) fn refuted(&mut self, source: &str, what: &str, refusal: Refusal, bases: usize) -> Verdict {
        self.seen.push_back(format!("{source}: {what}"));
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
        self.doubted = true;
        self.corrupt |= refusal != Refusal::Absent;
        self.lost = 0;
        let reloading = std::mem::take(&mut self.reloading);
        if let Refusal::Wrong(hash) = refusal
            && self.sightings(hash) < SURE
        {
            self.mangled += 1;
            // One wrong answer of a socket and one of a cache are ordinary; more are not.
            return if self.mangled > 2 { Verdict::Later(self.mangled - 2) } else { Verdict::Again };
        }
        self.reloaded += usize::from(reloading);
        if self.reloaded < bases.max(1) {
            return Verdict::Again;
        }
        let seen: Vec<String> = self.seen.drain(..).collect();
        let text = seen.join("; ");
        Verdict::Over(if self.corrupt { Failure::Corrupt(text) } else { Failure::Missing(text) })
    }

    /// Counts one more wrong answer with this hash.
    fn sightings(&mut self, hash: Hash) -> u32 {
        if let Some((_, times)) = self.wrong.iter_mut().find(|(seen, _)| *seen == hash) {
            *times += 1;
            return *times;
        }
        self.wrong.push_back((hash, 1));
        if self.wrong.len() > REMEMBERED {
            self.wrong.pop_front();
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_believed_only_after_every_base_was_asked_past_its_caches() {
        let mut trial = Trial::default();
        assert_eq!(trial.next(2), (0, CacheMode::Default));
        assert!(matches!(trial.refuted("a", "404", Refusal::Absent, 2), Verdict::Again));
        assert_eq!(trial.next(2), (0, CacheMode::Reload));
        assert!(matches!(trial.refuted("a", "404", Refusal::Absent, 2), Verdict::Again));
        assert_eq!(trial.next(2), (1, CacheMode::Reload));
        let verdict = trial.refuted("b", "404", Refusal::Absent, 2);
        assert!(matches!(verdict, Verdict::Over(Failure::Missing(text)) if text == "a: 404; a: 404; b: 404"));
    }

    #[test]
    fn the_same_wrong_bytes_from_everywhere_make_it_corrupt() {
        let mut trial = Trial::default();
        let wrong = Refusal::Wrong(Hash::of(b"wrong"));
        assert!(matches!(trial.refuted("socket", "hash mismatch", wrong, 1), Verdict::Again));
        assert_eq!(trial.next(1), (0, CacheMode::Reload));
        assert!(matches!(trial.refuted("a", "hash mismatch", wrong, 1), Verdict::Again));
        assert_eq!(trial.next(1), (0, CacheMode::Reload));
        assert!(matches!(trial.refuted("a", "hash mismatch", wrong, 1), Verdict::Over(Failure::Corrupt(_))));
    }

    #[test]
    fn a_store_that_calls_it_damaged_is_believed() {
        let mut trial = Trial::default();
        assert!(matches!(trial.refuted("socket", "damaged", Refusal::Damaged, 1), Verdict::Again));
        assert_eq!(trial.next(1), (0, CacheMode::Reload));
        assert!(matches!(trial.refuted("a", "404", Refusal::Absent, 1), Verdict::Over(Failure::Corrupt(_))));
    }

    #[test]
    fn damage_that_differs_each_time_decides_nothing() {
        let mut trial = Trial::default();
        for n in 0_u32..1000 {
            let wrong = Refusal::Wrong(Hash::of(&n.to_le_bytes()));
            let verdict = trial.refuted("a", "hash mismatch", wrong, 2);
            assert!(matches!(verdict, Verdict::Again | Verdict::Later(_)), "{n}: {verdict:?}");
            assert_eq!(trial.next(2), ((n as usize + 1) % 2, CacheMode::Reload));
        }
        assert!(trial.seen.len() <= REMEMBERED && trial.wrong.len() <= REMEMBERED);
    }

    #[test]
    fn a_lost_network_decides_nothing() {
        let mut trial = Trial::default();
        for lost in 0..100 {
            trial.lost = lost;
            assert_eq!(trial.next(3), (lost as usize % 3, CacheMode::Default));
        }
        assert_eq!(trial.patience(), Duration::from_secs(60));
    }
}
