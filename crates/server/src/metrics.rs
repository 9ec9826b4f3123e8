//! `/metrics`, `/livez` and `/readyz`: a registry as a value, and the collectors that read the counts of the parts.
//!
//! Labels come from closed lists: routes, methods, status classes, transports. Pools and stages are names of pipelines,
//! whose number is bounded where they are registered.

mod listeners;
mod work;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, header};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use protocol::{ErrorCode, PoolName, Timestamp, operate::PoolView};

use crate::{
    operate::pools,
    problem::{Answer, Failure},
    surface::Surface,
};

/// Seconds until an answer begins: from a read out of memory to a long-poll that waited its 25 s.
const ANSWER_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The media type of what [`Metrics::text`] writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

/// Every metric of this process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    answers: Family<RouteLabels, Histogram, fn() -> Histogram>,
    queue_depth: Family<PoolLabels, Gauge>,
    queue_age: Family<PoolLabels, Gauge>,
    backlog: Family<PoolLabels, Gauge<f64, AtomicU64>>,
    slots: Family<PoolLabels, Gauge>,
    busy_slots: Family<PoolLabels, Gauge>,
    workers: Family<PoolLabels, Gauge>,
    swept: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with the server's own metrics. Parts with counts of their own are added by [`Metrics::watch`].
    #[must_use]
    pub(crate) fn new() -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let histogram: fn() -> Histogram = || Histogram::new(ANSWER_SECONDS);
        let answers = Family::new_with_constructor(histogram);
        let queue_depth = Family::<PoolLabels, Gauge>::default();
        let queue_age = Family::<PoolLabels, Gauge>::default();
        let backlog = Family::<PoolLabels, Gauge<f64, AtomicU64>>::default();
        let slots = Family::<PoolLabels, Gauge>::default();
        let busy_slots = Family::<PoolLabels, Gauge>::default();
        let workers = Family::<PoolLabels, Gauge>::default();
        let swept = Counter::default();
        let mut registry = Registry::with_prefix("rushes");
        registry.register("http_requests", "HTTP requests by route, method and class of status", requests.clone());
        registry.register("http_answer_seconds", "Seconds until an answer began, by route", answers.clone());
        registry.register("queue_depth", "Generations waiting, by pool", queue_depth.clone());
        registry.register("queue_oldest_seconds", "Age of the oldest waiting generation, by pool", queue_age.clone());
        let help = "Seconds of one slot that what waits is expected to take, by pool";
        registry.register("pool_backlog_seconds", help, backlog.clone());
        registry.register("pool_slots", "Slots of connected workers, by pool", slots.clone());
        registry.register("pool_slots_busy", "Those of them that are taken", busy_slots.clone());
        registry.register("pool_workers", "Connected workers, by pool", workers.clone());
        registry.register("generations_swept", "Generations removed by retention", swept.clone());
        let registry = Mutex::new(registry);
        Self { registry, requests, answers, queue_depth, queue_age, backlog, slots, busy_slots, workers, swept }
    }

    /// Adds the counts of a part, read at each scrape.
    pub(crate) fn watch(&self, collector: Box<dyn prometheus_client::collector::Collector>) {
        self.registry.lock().register_collector(collector);
    }

    /// Adds the metrics of a part that keeps its own.
    pub(crate) fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// Counts generations that retention removed.
    pub(crate) fn swept(&self, generations: usize) {
        self.swept.inc_by(generations as u64);
    }

    fn queues(&self, depths: Vec<(PoolName, u64, Timestamp)>, now: Timestamp) {
        // A pool that is not in the answer is empty, and would keep its last value otherwise.
        self.queue_depth.clear();
        self.queue_age.clear();
        for (pool, waiting, oldest) in depths {
            let labels = PoolLabels { pool: pool.to_string() };
            self.queue_depth.get_or_create(&labels).set(i64::try_from(waiting).unwrap_or(i64::MAX));
            let seconds = now.since(oldest) / 1_000;
            self.queue_age.get_or_create(&labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }

    fn pools(&self, pools: Vec<PoolView>) {
        // A pool may be gone with its last worker.
        self.backlog.clear();
        let gauges = [&self.slots, &self.busy_slots, &self.workers];
        gauges.into_iter().for_each(Family::clear);
        for view in pools {
            let labels = PoolLabels { pool: view.pool.to_string() };
            self.backlog.get_or_create(&labels).set(view.backlog_seconds);
            for (family, value) in gauges.into_iter().zip([view.slots, view.busy_slots, view.workers]) {
                family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    /// Everything, in the OpenMetrics text format.
    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock()).expect("a string takes every character");
        text
    }
}

pub(crate) use listeners::Listeners;
pub(crate) use work::Work;

pub(crate) async fn scrape(State(surface): State<Surface>) -> Answer {
    let depths = surface.store.depth().await?;
    surface.metrics.queues(depths, (surface.now)());
    surface.metrics.pools(pools::all(&surface).await?);
    let standings = surface.webhooks.standings().await?;
    if !standings.is_empty() {
        surface.webhooks.counts().stand(&standings, surface.store.log_head().await?);
    }
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], surface.metrics.text()).into_response())
}

/// The process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The process can take work: the store writes, work is dispatched, and nobody asked it to stop.
pub(crate) async fn ready(State(surface): State<Surface>) -> Answer<&'static str> {
    let not_ready =
        |what: &str| Failure::new(ErrorCode::Unavailable, what, "send requests elsewhere until it is ready");
    if surface.draining.is_cancelled() {
        return Err(not_ready("draining"));
    }
    // Answered by the task that dispatches work, so an answer means that it runs.
    surface.orchestrator.workers().await?;
    surface.store.ready().await?;
    Ok("ready\n")
}

/// A layer that counts requests by route, and the time until their answers begin.
pub(crate) async fn measure(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method(request.method());
    let begun = Instant::now();
    let response = next.run(request).await;
    metrics.answers.get_or_create(&RouteLabels { route: route.clone() }).observe(begun.elapsed().as_secs_f64());
    let status = match response.status().as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    response
}

/// Clients may send any method; only the known ones become a label.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
