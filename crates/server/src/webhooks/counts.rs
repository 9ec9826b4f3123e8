//! What webhooks did, counted. Labels are the names of configured endpoints and closed lists.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use store::{LogPosition, ledger::Standing};

use super::call::{Failure, Outcome};

/// Seconds a receiver takes: from one beside us to one that times out.
const CALL_SECONDS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    endpoint: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: String,
}

/// Counters, and gauges that are set at each scrape.
#[derive(Debug)]
pub(crate) struct WebhookCounts {
    calls: Family<CallLabels, Counter>,
    seconds: Family<EndpointLabels, Histogram, fn() -> Histogram>,
    buried: Family<EndpointLabels, Counter>,
    dropped: Family<EndpointLabels, Counter>,
    due: Family<EndpointLabels, Gauge>,
    failing: Family<EndpointLabels, Gauge>,
    dead: Family<EndpointLabels, Gauge>,
    disabled: Family<EndpointLabels, Gauge>,
    behind: Gauge,
    cursor: Arc<AtomicU64>,
}

impl Default for WebhookCounts {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(CALL_SECONDS);
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            buried: Family::default(),
            dropped: Family::default(),
            due: Family::default(),
            failing: Family::default(),
            dead: Family::default(),
            disabled: Family::default(),
            behind: Gauge::default(),
            cursor: Arc::default(),
        }
    }
}

impl WebhookCounts {
    /// Adds all of them to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("webhook_calls", "Calls of webhooks, by endpoint and outcome", self.calls.clone());
        registry.register("webhook_call_seconds", "Seconds a call took, by endpoint", self.seconds.clone());
        registry.register("webhook_buried", "Generations given up after the last try", self.buried.clone());
        registry.register("webhook_dropped", "Dead letters that made room for newer ones", self.dropped.clone());
        registry.register("webhook_due", "Generations an endpoint has to hear of", self.due.clone());
        registry.register("webhook_failing", "Those of them whose last try failed", self.failing.clone());
        registry.register("webhook_dead_letters", "Dead letters kept, by endpoint", self.dead.clone());
        registry.register("webhook_disabled", "1 where nothing is sent any more", self.disabled.clone());
        registry.register("webhook_behind_events", "Events of the log not yet looked at", self.behind.clone());
    }

    pub(super) fn call(&self, endpoint: &str, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Taken => "taken",
            Outcome::Gone => "gone",
            Outcome::Failed { kind: Failure::Refused, .. } => "refused",
            Outcome::Failed { kind: Failure::Connection, .. } => "connection",
            Outcome::Failed { kind: Failure::Timeout, .. } => "timeout",
            Outcome::Failed { kind: Failure::Status, .. } => "status",
        };
        self.calls.get_or_create(&CallLabels { endpoint: endpoint.to_owned(), outcome }).inc();
        self.seconds.get_or_create(&labels(endpoint)).observe(took.as_secs_f64());
    }

    pub(super) fn buried(&self, endpoint: &str, dropped: u64) {
        self.buried.get_or_create(&labels(endpoint)).inc();
        self.dropped.get_or_create(&labels(endpoint)).inc_by(dropped);
    }

    pub(super) fn read_to(&self, cursor: LogPosition) {
        self.cursor.store(cursor.0, Relaxed);
    }

    /// Sets the gauges, before a scrape reads them.
    pub(crate) fn stand(&self, standings: &[Standing], head: LogPosition) {
        for standing in standings {
            let gauge = |family: &Family<EndpointLabels, Gauge>, value: u64| {
                family.get_or_create(&labels(&standing.endpoint)).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            gauge(&self.due, standing.due);
            gauge(&self.failing, standing.failing);
            gauge(&self.dead, standing.dead_letters);
            gauge(&self.disabled, u64::from(standing.disabled.is_some()));
        }
        // Before the first page the cursor is where it was at the start, which is no distance anybody can act upon.
        let read = self.cursor.load(Relaxed);
        let behind = if read == 0 { 0 } else { head.0.saturating_sub(read) };
        self.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
    }
}

fn labels(endpoint: &str) -> EndpointLabels {
    EndpointLabels { endpoint: endpoint.to_owned() }
}
