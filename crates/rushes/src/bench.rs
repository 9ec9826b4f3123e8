//! `rushes bench`: what a server does on this machine, as a table. It starts a server of its own, in another process, on a
//! temporary folder; nothing that runs already is touched.
//!
//! ```text
//! bench/peer.rs       a raw WebSocket client that counts frames without reading them
//! bench/house.rs      the server under test, and what the system says of its memory and time
//! bench/producer.rs   a worker that only publishes
//! bench/latency.rs    sent by a worker → durable → on a watcher's socket
//! bench/submit.rs     submit → first status
//! bench/idle.rs       memory of connections that do nothing
//! bench/broadcast.rs  one generation, many watchers
//! ```
//! Figures are for comparison within one run on one machine; tests never read them.

mod broadcast;
mod house;
mod idle;
mod latency;
mod peer;
mod producer;
mod submit;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use house::House;

/// Which measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// All of them, one after another.
    All,
    /// Worker to watcher, durable in between, at 200 events a second.
    Latency,
    /// Submit to first status.
    Submit,
    /// Memory per idle connection.
    Idle,
    /// Deliveries a second to many watchers of one generation.
    Broadcast,
}

/// How hard, and how.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Seconds each load lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Idle connections; each takes a descriptor here and one in the server
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Watchers of the broadcast
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// What commits wait for: strict, relaxed or relay
    #[arg(long, default_value = "strict")]
    durability: String,
    /// Pin the server to this core, so that the load does not run on it
    #[arg(long)]
    pin: Option<usize>,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    name: &'static str,
    value: String,
    facts: Value,
}

/// Runs the measurements, each against a fresh server.
///
/// # Errors
/// When the server does not start or a delivery is lost.
pub(crate) async fn measure(mode: Mode, load: &Load) -> Result<Vec<Row>> {
    let duration = Duration::from_secs(load.seconds.clamp(1, 600));
    let wants = |one| mode == Mode::All || mode == one;
    let mut rows = Vec::new();
    if wants(Mode::Idle) {
        rows.extend(idle::measure(&House::start(load).await?, load.connections).await?);
    }
    if wants(Mode::Latency) {
        rows.extend(latency::measure(&House::start(load).await?, duration).await?);
    }
    if wants(Mode::Submit) {
        rows.extend(submit::measure(&House::start(load).await?, duration).await?);
    }
    if wants(Mode::Broadcast) {
        rows.extend(broadcast::measure(&House::start(load).await?, load.watchers, duration).await?);
    }
    Ok(rows)
}

/// The rows for people.
pub(crate) fn table(load: &Load, rows: &[Row]) -> String {
    let pinned = load.pin.map_or_else(|| "not pinned".to_owned(), |core| format!("pinned to core {core}"));
    let mut table = format!("rushes {} · {} · server {pinned}", env!("CARGO_PKG_VERSION"), load.durability);
    for row in rows {
        table.push_str(&format!("\n  {:<50} {}", row.name, row.value));
    }
    table
}

/// The rows for programs.
pub(crate) fn json(rows: &[Row]) -> String {
    let all: Vec<_> =
        rows.iter().map(|row| json!({"name": row.name, "value": row.value, "facts": row.facts})).collect();
    Value::Array(all).to_string()
}

/// The value below which `share` of the sorted values lie, in milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = ((last as f64) * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, |value| value.as_secs_f64() * 1_000.0)
}

/// A row of p50, p95 and p99.
fn latency_row(name: &'static str, mut values: Vec<Duration>) -> Row {
    values.sort_unstable();
    let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|share| percentile(&values, share));
    Row {
        name,
        value: format!("p50 {p50:.2} ms · p95 {p95:.2} ms · p99 {p99:.2} ms  ({} samples)", values.len()),
        facts: json!({"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "samples": values.len()}),
    }
}
