//! Reading the store: again when it fails, and twice at once when it is slow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use block_store::{Store, StoreError};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::metrics::Metrics;

/// Reads nobody waits for that may be under way, so that demand finds a quiet store.
const PREFETCH_AT_ONCE: usize = 64;
const ATTEMPTS: u32 = 4;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Latencies remembered, and how many must be known before they say anything.
const REMEMBERED: usize = 256;
const ENOUGH: usize = 32;
/// A second read is never made sooner: a store this quick needs none.
const SOONEST_HEDGE: Duration = Duration::from_millis(20);
/// Second reads are at most this share of all, so that a store that is slow for everybody is not asked twice as much.
const HEDGE_SHARE: f64 = 0.1;

/// When a read that takes long is made a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hedge {
    /// For a bucket: when it takes longer than 95 of 100 did lately. For a directory: never.
    #[default]
    Auto,
    /// After this time.
    After(Duration),
    /// Never.
    Off,
}

pub(super) struct Origin {
    store: Store,
    hedge: Hedge,
    prefetch: Semaphore,
    latencies: Mutex<Latencies>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Latencies {
    ring: Vec<Duration>,
    next: usize,
    /// Second reads that may be made.
    credit: f64,
}

impl Origin {
    pub(super) fn new(store: Store, hedge: Hedge, metrics: Arc<Metrics>) -> Self {
        let hedge = if store.is_remote() || hedge != Hedge::Auto { hedge } else { Hedge::Off };
        let (prefetch, latencies) = (Semaphore::new(PREFETCH_AT_ONCE), Mutex::default());
        Self { store, hedge, prefetch, latencies, metrics }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until one more prefetch may read.
    pub(super) async fn prefetch_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.prefetch.acquire().await.ok()
    }

    /// Reads until it works, or will not.
    pub(super) async fn read(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.hedged(key, limit).await {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    debug!(%error, attempt, "reading again");
                    self.metrics.origin_retried();
                    // Up to a half less, so that those who failed together do not come back together.
                    sleep(pause.mul_f64(0.5 + jitter() / 2.0)).await;
                    pause *= 4;
                }
                done => return done,
            }
        }
        unreachable!("the loop only returns")
    }

    async fn hedged(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let first = self.once(key, limit);
        let Some(patience) = self.patience() else { return first.await };
        tokio::pin!(first);
        tokio::select! {
            done = &mut first => return done,
            () = sleep(patience) => {}
        }
        if !self.take_hedge() {
            return first.await;
        }
        self.metrics.origin_hedged();
        let second = self.once(key, limit);
        tokio::pin!(second);
        // The first good answer, or the last bad one; that it is absent is a good answer.
        let good = |done: &Result<Bytes, StoreError>| !matches!(done, Err(error) if error.is_passing());
        tokio::select! {
            done = &mut first => if good(&done) { done } else { second.await },
            done = &mut second => if good(&done) { done } else { first.await },
        }
    }

    async fn once(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let start = Instant::now();
        let late = || Err(StoreError::Failed(format!("{key}: no answer in {} s", ATTEMPT_TIMEOUT.as_secs())));
        let done = timeout(ATTEMPT_TIMEOUT, self.store.get(key, limit)).await.unwrap_or_else(|_| late());
        let took = start.elapsed();
        self.metrics.origin_read(&done, took);
        if done.is_ok() {
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).note(took);
        }
        done
    }

    fn patience(&self) -> Option<Duration> {
        match self.hedge {
            Hedge::Off => None,
            Hedge::After(patience) => Some(patience),
            Hedge::Auto => self.latencies.lock().unwrap_or_else(PoisonError::into_inner).slow(),
        }
    }

    fn take_hedge(&self) -> bool {
        if self.hedge != Hedge::Auto {
            return true;
        }
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let affordable = latencies.credit >= 1.0;
        if affordable {
            latencies.credit -= 1.0;
        }
        affordable
    }
}

impl Latencies {
    fn note(&mut self, took: Duration) {
        if self.ring.len() < REMEMBERED {
            self.ring.push(took);
        } else if let Some(oldest) = self.ring.get_mut(self.next) {
            *oldest = took;
        }
        self.next = (self.next + 1) % REMEMBERED;
        self.credit = (self.credit + HEDGE_SHARE).min(REMEMBERED as f64 * HEDGE_SHARE);
    }

    /// The 95th percentile.
    fn slow(&self) -> Option<Duration> {
        if self.ring.len() < ENOUGH {
            return None;
        }
        let mut sorted = self.ring.clone();
        let (_, slow, _) = sorted.select_nth_unstable(self.ring.len() * 95 / 100);
        Some((*slow).max(SOONEST_HEDGE))
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    (RandomState::new().build_hasher().finish() % 1024) as f64 / 1024.0
}
