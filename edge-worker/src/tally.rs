//! What one invocation did, reported at its end: to Analytics Engine if `METRICS` is bound, to the log if it is on.

use serde::Serialize;
use worker::{AnalyticsEngineDataPointBuilder, Env, console_log, console_warn};

/// The binding of the Analytics Engine data set.
const METRICS: &str = "METRICS";

/// Counts of one invocation. `README.md` says which column each has in Analytics Engine.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Objects found in memory.
    pub memory: u32,
    /// Objects found in the cache.
    pub cache: u32,
    /// Reads of the store.
    pub origin: u32,
    /// Messages taken from the socket.
    pub messages: u32,
    /// Objects sent.
    pub objects: u32,
    /// Bytes of them.
    pub bytes: u64,
    /// Reads past all caches.
    pub fresh: u32,
    /// Damaged objects found in memory.
    pub wrong_memory: u32,
    /// Damaged objects found in the cache.
    pub wrong_cache: u32,
    /// Damaged objects found in the store.
    pub wrong_origin: u32,
    /// Errors reported to the client.
    pub errors: u32,
}

/// What was done, and how it ended.
#[derive(Debug, Serialize)]
pub struct Outcome<'a> {
    /// `object`, `tag`, `batch`, `health`, `page`, `socket` or `session`.
    pub what: &'a str,
    /// An HTTP status, or the close code of a session.
    pub status: u16,
    /// Subrequests made.
    pub subrequests: u32,
    /// The most of them at once.
    pub subrequests_at_once: u32,
    /// How long it took, in milliseconds; the platform's clock moves only with I/O.
    pub ms: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome<'a>,
    #[serde(flatten)]
    tally: &'a Tally,
}

impl Tally {
    /// Reports. Never an error to the client.
    pub fn report(&self, env: &Env, log: bool, outcome: &Outcome<'_>) {
        if log && let Ok(line) = serde_json::to_string(&Line { outcome, tally: self }) {
            console_log!("{line}");
        }
        let Ok(metrics) = env.analytics_engine(METRICS) else { return };
        let doubles = [
            f64::from(outcome.status),
            f64::from(outcome.subrequests),
            outcome.ms as f64,
            f64::from(self.objects),
            self.bytes as f64,
            f64::from(self.memory),
            f64::from(self.cache),
            f64::from(self.origin),
            f64::from(self.fresh),
            f64::from(self.wrong_memory),
            f64::from(self.wrong_cache),
            f64::from(self.wrong_origin),
            f64::from(self.errors),
            f64::from(self.messages),
        ];
        let point =
            AnalyticsEngineDataPointBuilder::new().indexes([outcome.what]).blobs([outcome.what]).doubles(doubles);
        if let Err(error) = point.write_to(&metrics) {
            console_warn!("Analytics Engine took nothing: {error}");
        }
    }
}
