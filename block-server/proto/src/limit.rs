//! Token buckets: how much somebody may have, and how soon more. Time is a parameter, so both servers and tests use the same.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// A rate and how far it may be exceeded at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Units a second, in the long run.
    pub per_second: f64,
    /// Units at once after a rest.
    pub burst: f64,
}

impl Rate {
    /// A rate; both are taken as at least a thousandth.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second: per_second.max(0.001), burst: burst.max(0.001) }
    }
}

/// One bucket. It may be overdrawn by a single large withdrawal, as long as it is not empty, so that nothing is too large.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Duration,
}

/// Buckets by address, token or whatever else tells askers apart. Full ones are forgotten, so the table holds only those
/// who asked lately, and never more than `most`.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    most: usize,
    buckets: HashMap<K, Bucket>,
    /// The size of the table that makes the next clean-up worth it.
    clean_at: usize,
}

const FIRST_CLEANING: usize = 1024;

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// Every key starts with a full bucket. At most `most` keys are told apart; beyond that, new ones are refused.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, buckets: HashMap::new(), clean_at: FIRST_CLEANING }
    }

    /// Takes `units` for a key, or tells how long to wait before asking again.
    pub fn take(&mut self, now: Duration, key: &K, units: f64) -> Result<(), Duration> {
        let Rate { per_second, burst } = self.rate;
        if self.buckets.len() >= self.clean_at.min(self.most) {
            self.clean(now);
        }
        if self.buckets.len() >= self.most && !self.buckets.contains_key(key) {
            return Err(Duration::from_secs(1));
        }
        let bucket = self.buckets.entry(key.clone()).or_insert(Bucket { level: burst, at: now });
        bucket.level = (bucket.level + now.saturating_sub(bucket.at).as_secs_f64() * per_second).min(burst);
        bucket.at = bucket.at.max(now);
        if bucket.level >= units.min(burst) {
            bucket.level -= units;
            return Ok(());
        }
        // A day is as good as for ever, and fits any clock.
        let seconds = (units.min(burst) - bucket.level) / per_second;
        Err(Duration::from_secs_f64(seconds.clamp(0.001, 86_400.0)))
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether nobody asked lately.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn clean(&mut self, now: Duration) {
        let Rate { per_second, burst } = self.rate;
        self.buckets
            .retain(|_, bucket| bucket.level + now.saturating_sub(bucket.at).as_secs_f64() * per_second < burst);
        self.clean_at = (self.buckets.len() * 2).max(FIRST_CLEANING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut limiter = Limiter::new(Rate::new(10.0, 5.0), 100);
        for _ in 0..5 {
            assert_eq!(limiter.take(at(0), &1, 1.0), Ok(()));
        }
        let wait = limiter.take(at(0), &1, 1.0).expect_err("is empty");
        assert!(wait > at(99) && wait < at(101), "{wait:?}");
        assert_eq!(limiter.take(at(0), &2, 1.0), Ok(()), "others are not held up");
        assert_eq!(limiter.take(at(101), &1, 1.0), Ok(()));
        let mut taken = 0;
        for ms in 102..10_102 {
            taken += u32::from(limiter.take(at(ms), &1, 1.0).is_ok());
        }
        assert!((99..=101).contains(&taken), "{taken}");
    }

    #[test]
    fn what_is_larger_than_the_burst_passes_once_and_is_paid_off() {
        let mut limiter = Limiter::new(Rate::new(10.0, 5.0), 100);
        assert_eq!(limiter.take(at(0), &1, 20.0), Ok(()));
        assert!(limiter.take(at(1500), &1, 1.0).is_err());
        assert_eq!(limiter.take(at(1700), &1, 1.0), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_those_at_rest() {
        let mut limiter = Limiter::new(Rate::new(10.0, 5.0), 2000);
        for key in 0..2000 {
            assert_eq!(limiter.take(at(0), &key, 1.0), Ok(()));
        }
        assert!(limiter.take(at(1), &5000, 1.0).is_err());
        assert_eq!(limiter.take(at(1), &7, 1.0), Ok(()), "known ones go on");
        assert_eq!(limiter.take(at(10_000), &5000, 1.0), Ok(()));
        assert_eq!(limiter.len(), 1);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut limiter = Limiter::new(Rate::new(10.0, 1.0), 10);
        assert_eq!(limiter.take(at(5000), &1, 1.0), Ok(()));
        for _ in 0..10 {
            assert!(limiter.take(at(1), &1, 1.0).is_err());
        }
        assert!(limiter.take(at(5050), &1, 1.0).is_err());
    }
}
