//! What the server counts, in Prometheus' text form.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use block_proto::ServerStats;
use block_store::StoreError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Via {
    via: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lane {
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TierName {
    tier: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    status: u16,
}

type Bytes = Counter<u64, AtomicU64>;

/// One server's counters.
pub(crate) struct Metrics {
    registry: Registry,
    connections: Gauge,
    sessions: Gauge,
    sessions_total: Counter,
    wanted: Family<Lane, Counter>,
    cancelled: Counter,
    objects: Family<Via, Counter>,
    bytes: Family<Via, Bytes>,
    found: Family<TierName, Counter>,
    wrong: Family<TierName, Counter>,
    fresh: Counter,
    origin_reads: Family<Outcome, Counter>,
    origin_retries: Counter,
    origin_hedges: Counter,
    origin_seconds: Histogram,
    limited: Family<What, Counter>,
    profiles: Counter,
    errors: Family<Code, Counter>,
    requests: Family<Request, Counter>,
    read_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // 50 us to 1.6 s.
        let reads = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        let mut registry = Registry::with_prefix("block_server");
        let metrics = Self {
            registry: Registry::default(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            sessions_total: Counter::default(),
            wanted: Family::default(),
            cancelled: Counter::default(),
            objects: Family::default(),
            bytes: Family::default(),
            found: Family::default(),
            wrong: Family::default(),
            fresh: Counter::default(),
            origin_reads: Family::default(),
            origin_retries: Counter::default(),
            origin_hedges: Counter::default(),
            origin_seconds: reads(),
            limited: Family::default(),
            profiles: Counter::default(),
            errors: Family::default(),
            requests: Family::default(),
            read_seconds: reads(),
        };
        let m = &metrics;
        registry.register("connections", "Open TCP connections", m.connections.clone());
        registry.register("sessions", "Open WebSocket sessions", m.sessions.clone());
        registry.register("sessions_opened", "WebSocket sessions since the start", m.sessions_total.clone());
        registry.register("objects_wanted", "Objects asked for over WebSocket", m.wanted.clone());
        registry.register("objects_cancelled", "Objects taken back before they were sent", m.cancelled.clone());
        registry.register("objects_sent", "Objects sent", m.objects.clone());
        registry.register_with_unit("objects_sent", "Envelope bytes sent", Unit::Bytes, m.bytes.clone());
        registry.register("objects_found", "Objects read, by the tier that had them", m.found.clone());
        registry.register("objects_wrong", "Objects that failed verification, by tier", m.wrong.clone());
        registry.register("fresh_reads", "Reads past all caches that clients asked for", m.fresh.clone());
        registry.register("origin_reads", "Reads of the store", m.origin_reads.clone());
        registry.register("origin_retries", "Reads of the store made again after a failure", m.origin_retries.clone());
        registry.register("origin_hedges", "Second reads made because the first took long", m.origin_hedges.clone());
        registry.register_with_unit("origin_read", "Time to read the store", Unit::Seconds, m.origin_seconds.clone());
        registry.register("limited", "Requests refused or held up by a limit", m.limited.clone());
        registry.register("profiles", "Recorded boots taken", m.profiles.clone());
        registry.register("errors", "Errors reported over WebSocket", m.errors.clone());
        registry.register("http_requests", "HTTP requests answered", m.requests.clone());
        registry.register_with_unit("read", "Time to find an object", Unit::Seconds, m.read_seconds.clone());
        Self { registry, ..metrics }
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.dec();
    }

    pub(crate) fn session_opened(&self) {
        self.sessions.inc();
        self.sessions_total.inc();
    }

    pub(crate) fn session_closed(&self) {
        self.sessions.dec();
    }

    pub(crate) fn session_stats(&self, stats: &ServerStats) {
        let add = |counter: &Counter, count| {
            if count > 0 {
                counter.inc_by(count);
            }
        };
        if stats.demand + stats.prefetch > 0 {
            add(&self.wanted.get_or_create(&Lane { lane: "demand" }), stats.demand);
            add(&self.wanted.get_or_create(&Lane { lane: "prefetch" }), stats.prefetch);
        }
        add(&self.cancelled, stats.cancelled);
        if stats.blocks > 0 {
            self.objects.get_or_create(&Via { via: "ws" }).inc_by(stats.blocks);
            self.bytes.get_or_create(&Via { via: "ws" }).inc_by(stats.bytes);
        }
        for code in &stats.errors {
            self.error(code.name());
        }
    }

    pub(crate) fn error(&self, code: &'static str) {
        self.errors.get_or_create(&Code { code }).inc();
    }

    pub(crate) fn http_object(&self, bytes: u64) {
        self.objects.get_or_create(&Via { via: "http" }).inc();
        self.bytes.get_or_create(&Via { via: "http" }).inc_by(bytes);
    }

    pub(crate) fn http_request(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&Request { route, status }).inc();
    }

    pub(crate) fn read_took(&self, took: Duration) {
        self.read_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn found(&self, tier: &'static str) {
        self.found.get_or_create(&TierName { tier }).inc();
    }

    pub(crate) fn wrong(&self, tier: &'static str) {
        self.wrong.get_or_create(&TierName { tier }).inc();
    }

    pub(crate) fn fresh(&self) {
        self.fresh.inc();
    }

    pub(crate) fn origin_read<T>(&self, result: &Result<T, StoreError>, took: Duration) {
        let outcome = match result {
            Ok(_) => "found",
            Err(StoreError::NotFound(_)) => "absent",
            Err(_) => "failed",
        };
        self.origin_reads.get_or_create(&Outcome { outcome }).inc();
        self.origin_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn origin_retried(&self) {
        self.origin_retries.inc();
    }

    pub(crate) fn origin_hedged(&self) {
        self.origin_hedges.inc();
    }

    pub(crate) fn limited(&self, what: &'static str) {
        self.limited.get_or_create(&What { what }).inc();
    }

    pub(crate) fn profile_taken(&self) {
        self.profiles.inc();
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    #[cfg(test)]
    pub(crate) fn wrong_in(&self, tier: &'static str) -> u64 {
        self.wrong.get_or_create(&TierName { tier }).get()
    }

    #[cfg(test)]
    pub(crate) fn origin_counts(&self) -> (u64, u64, u64) {
        let reads =
            ["found", "absent", "failed"].map(|o| self.origin_reads.get_or_create(&Outcome { outcome: o }).get());
        (reads.iter().sum(), self.origin_retries.get(), self.origin_hedges.get())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names of `block_server_...` in a text, without the prefix and what histograms append.
    fn names(text: &str) -> BTreeSet<String> {
        let parts = text.split("block_server_").skip(1);
        let name = |part: &str| {
            let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(part.len());
            let name = part.get(..end).unwrap_or_default();
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            histogram.unwrap_or(name).to_owned()
        };
        parts.map(name).collect()
    }

    #[test]
    fn the_dashboard_and_the_page_have_the_names_that_are_served() {
        let metrics = Metrics::new();
        // Nothing with labels is shown before it is counted.
        metrics.session_stats(&ServerStats { demand: 1, prefetch: 1, blocks: 1, bytes: 1, ..ServerStats::default() });
        metrics.http_object(1);
        metrics.http_request("object", 200);
        metrics.error("busy");
        metrics.found("memory");
        metrics.wrong("memory");
        metrics.limited("fresh");
        metrics.origin_read(&Ok(()), Duration::from_millis(1));
        let text = metrics.text();
        // Heads leave out `_total`.
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let served = names(&samples.join("\n"));
        assert!(served.len() > 15, "{served:?}");
        let shown = names(include_str!("../grafana/block-server.json"));
        assert!(shown.len() > 10, "{shown:?}");
        let nowhere: Vec<_> = shown.difference(&served).collect();
        assert!(nowhere.is_empty(), "the dashboard shows what nobody serves: {nowhere:?}");
        let page = include_str!("../README.md");
        for name in &served {
            let named = [format!("`{name}`"), format!("`{name}{{")];
            assert!(named.iter().any(|name| page.contains(name)), "README.md does not name {name}");
        }
    }
}
