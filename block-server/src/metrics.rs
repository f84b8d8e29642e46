//! What the server counts, in Prometheus' text form.

use std::sync::atomic::AtomicU64;

use block_proto::ServerStats;
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
struct Request {
    route: &'static str,
    status: u16,
}

/// One server's counters.
pub(crate) struct Metrics {
    registry: Registry,
    sessions: Gauge,
    sessions_total: Counter,
    wanted: Family<Lane, Counter>,
    cancelled: Counter,
    objects: Family<Via, Counter>,
    bytes: Family<Via, Counter<u64, AtomicU64>>,
    errors: Family<Code, Counter>,
    requests: Family<Request, Counter>,
    read_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("block_server");
        let metrics = Self {
            sessions: Gauge::default(),
            sessions_total: Counter::default(),
            wanted: Family::default(),
            cancelled: Counter::default(),
            objects: Family::default(),
            bytes: Family::default(),
            errors: Family::default(),
            requests: Family::default(),
            // 50 us to 1.6 s.
            read_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            registry: Registry::default(),
        };
        registry.register("sessions", "Open WebSocket sessions", metrics.sessions.clone());
        registry.register("sessions_opened", "WebSocket sessions since the start", metrics.sessions_total.clone());
        registry.register("objects_wanted", "Objects asked for over WebSocket", metrics.wanted.clone());
        registry.register("objects_cancelled", "Objects taken back before they were sent", metrics.cancelled.clone());
        registry.register("objects_sent", "Objects sent", metrics.objects.clone());
        registry.register_with_unit("objects_sent", "Envelope bytes sent", Unit::Bytes, metrics.bytes.clone());
        registry.register("errors", "Errors reported over WebSocket", metrics.errors.clone());
        registry.register("http_requests", "HTTP requests answered", metrics.requests.clone());
        registry.register_with_unit("read", "Time to read an object", Unit::Seconds, metrics.read_seconds.clone());
        Self { registry, ..metrics }
    }

    pub(crate) fn session_opened(&self) {
        self.sessions.inc();
        self.sessions_total.inc();
    }

    pub(crate) fn session_closed(&self) {
        self.sessions.dec();
    }

    pub(crate) fn session_stats(&self, stats: &ServerStats) {
        self.wanted.get_or_create(&Lane { lane: "demand" }).inc_by(stats.demand);
        self.wanted.get_or_create(&Lane { lane: "prefetch" }).inc_by(stats.prefetch);
        self.cancelled.inc_by(stats.cancelled);
        self.objects.get_or_create(&Via { via: "ws" }).inc_by(stats.blocks);
        self.bytes.get_or_create(&Via { via: "ws" }).inc_by(stats.bytes);
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

    pub(crate) fn read_took(&self, seconds: f64) {
        self.read_seconds.observe(seconds);
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
