//! Token buckets per address and per token, with the server's clock.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use block_proto::limit::{Limiter, Rate};
use block_proto::token::TokenId;

use crate::peer::Asker;

/// Askers that are told apart at once.
const MOST_ASKERS: usize = 1 << 18;

/// How much is too much. `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// WebSocket upgrades of one address.
    pub connects: Option<Allowance>,
    /// Objects and tags read by one address.
    pub objects: Option<Allowance>,
    /// Objects and tags read with one token.
    pub token_objects: Option<Allowance>,
    /// Reads past all caches (FRESH) by one address: each costs a read of the origin.
    pub fresh: Option<Allowance>,
}

impl Default for Limits {
    /// A classroom behind one address boots 300 machines at once, each with a few hundred objects.
    fn default() -> Self {
        let allowance = |per_second, burst| Some(Allowance { per_second, burst });
        Self {
            connects: allowance(20, 2_000),
            objects: allowance(4_000, 400_000),
            token_objects: allowance(4_000, 400_000),
            fresh: allowance(5, 200),
        }
    }
}

/// A rate and a burst, written `RATE:BURST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Units a second in the long run.
    pub per_second: u32,
    /// Units at once.
    pub burst: u32,
}

/// The text is no allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceError(String);

impl fmt::Display for AllowanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no limit (expected RATE_PER_SECOND:BURST, such as 100:5000, or `off`)", self.0)
    }
}

impl std::error::Error for AllowanceError {}

impl FromStr for Allowance {
    type Err = AllowanceError;

    fn from_str(text: &str) -> Result<Self, AllowanceError> {
        let parse = || {
            let (per_second, burst) = text.split_once(':')?;
            let found = Self { per_second: per_second.trim().parse().ok()?, burst: burst.trim().parse().ok()? };
            (found.per_second > 0 && found.burst > 0).then_some(found)
        };
        parse().ok_or_else(|| AllowanceError(text.to_owned()))
    }
}

impl From<Allowance> for Rate {
    fn from(allowance: Allowance) -> Self {
        Self::new(allowance.per_second.into(), allowance.burst.into())
    }
}

/// The buckets.
pub(crate) struct Buckets {
    start: Instant,
    connects: Option<Mutex<Limiter<Asker>>>,
    objects: Option<Mutex<Limiter<Asker>>>,
    token_objects: Option<Mutex<Limiter<TokenId>>>,
    fresh: Option<Mutex<Limiter<Asker>>>,
}

impl Buckets {
    pub(crate) fn new(limits: &Limits) -> Self {
        fn limiter<K: Eq + std::hash::Hash + Clone>(allowance: Option<Allowance>) -> Option<Mutex<Limiter<K>>> {
            allowance.map(|allowance| Mutex::new(Limiter::new(allowance.into(), MOST_ASKERS)))
        }
        Self {
            start: Instant::now(),
            connects: limiter(limits.connects),
            objects: limiter(limits.objects),
            token_objects: limiter(limits.token_objects),
            fresh: limiter(limits.fresh),
        }
    }

    pub(crate) fn connect(&self, asker: Asker) -> Result<(), Duration> {
        self.take(self.connects.as_ref(), &asker, 1.0)
    }

    pub(crate) fn fresh(&self, asker: Asker) -> Result<(), Duration> {
        self.take(self.fresh.as_ref(), &asker, 1.0)
    }

    /// `objects` objects for an address, and for a token if there is one.
    pub(crate) fn objects(&self, asker: Asker, token: Option<TokenId>, objects: u32) -> Result<(), Duration> {
        self.take(self.objects.as_ref(), &asker, objects.into())?;
        match token {
            Some(token) => self.take(self.token_objects.as_ref(), &token, objects.into()),
            None => Ok(()),
        }
    }

    fn take<K: Eq + std::hash::Hash + Clone>(
        &self,
        limiter: Option<&Mutex<Limiter<K>>>,
        key: &K,
        units: f64,
    ) -> Result<(), Duration> {
        let Some(limiter) = limiter else { return Ok(()) };
        let mut limiter: MutexGuard<'_, _> = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.take(self.start.elapsed(), key, units)
    }
}

#[cfg(test)]
mod tests {
    use block_proto::key::Prefix;
    use block_proto::token::{self, Claims, TokenKey};

    use super::*;

    #[test]
    fn allowances_are_written_as_rate_and_burst() {
        assert_eq!("100:5000".parse(), Ok(Allowance { per_second: 100, burst: 5000 }));
        for bad in ["", "100", "0:5", "5:0", "-1:5", "a:b", "1:2:3"] {
            assert!(bad.parse::<Allowance>().expect_err(bad).to_string().contains("RATE_PER_SECOND"));
        }
    }

    #[test]
    fn a_classroom_behind_one_address_boots_with_the_default_limits() {
        let buckets = Buckets::new(&Limits::default());
        let asker = Asker::of("192.0.2.1".parse().expect("an address"));
        for _ in 0..300 {
            // The socket, a lost one again, a tag, a manifest, pages, and more chunks than any boot has.
            assert_eq!((buckets.connect(asker), buckets.connect(asker)), (Ok(()), Ok(())));
            assert_eq!(buckets.objects(asker, None, 1000), Ok(()));
        }
    }
    #[test]
    fn a_token_has_an_allowance_of_its_own_and_an_address_keeps_to_its_own() {
        let few = |burst| Some(Allowance { per_second: 1, burst });
        let limits = Limits { objects: few(100), token_objects: few(10), ..Limits::default() };
        let buckets = Buckets::new(&limits);
        let asker = |last: u8| Asker::of([192, 0, 2, last].into());
        let keys = [TokenKey::new("a secret of the tests that is long enough").expect("is long enough")];
        let token = |tenant: &str| {
            let prefixes = vec![Prefix::tenant(tenant).expect("a name")];
            let claims = Claims { expires: 100, prefixes, manifest: None, origin: None };
            let text = keys[0].issue(&claims).expect("fits");
            Some(token::check(&keys, text.as_bytes(), 10, None).expect("is good").id)
        };
        let (one, other) = (token("one"), token("other"));
        assert_eq!(buckets.objects(asker(1), one, 8), Ok(()));
        // From wherever it is used.
        assert!(buckets.objects(asker(2), one, 8).is_err_and(|wait| wait > Duration::from_secs(4)));
        assert_eq!(buckets.objects(asker(2), other, 8), Ok(()));
        assert_eq!(buckets.objects(asker(3), None, 100), Ok(()));
        assert!(buckets.objects(asker(3), None, 1).is_err());
    }
}
