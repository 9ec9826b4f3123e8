//! Every connection watches a generation of its own.

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    rows::{grouped, latency_facts, megabytes, short},
    stand::{Shape, Stand},
};

/// A load that any server takes: latency without queues.
const CALM_RATE: f64 = 1_000.0;
/// Rates that are climbed, in events a second.
pub(crate) const RATES: [f64; 13] = [
    2_500.0, 5_000.0, 7_500.0, 10_000.0, 12_500.0, 15_000.0, 17_500.0, 20_000.0, 25_000.0, 30_000.0, 40_000.0,
    50_000.0, 60_000.0,
];

/// Latency at a calm rate, and the highest rate with p99 below a tenth of a second.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let mut stand = Stand::start(load, &load.subject(), Shape::unique(load.connections)).await?;
    let rate = load.rate.unwrap_or(CALM_RATE);
    let calm = stand.run(rate, load.duration()).await?;
    calm.check()?;
    let memory = stand.memory()?.0;
    let each = calm.cpu * 1e6 / calm.sent.max(1) as f64;
    let name = format!("unique: {} connections, {rate:.0} events/s", grouped(load.connections as u64));
    let mut rows = vec![
        Row::latency(&name, &calm.tally.latency).with("rate", json!(rate)).with("connections", json!(load.connections)),
        Row::new(
            "unique: server at that rate",
            format!(
                "{:.0} % of a core, {each:.0} µs an event; {:.1} MB",
                100.0 * calm.cpu / calm.seconds,
                megabytes(memory)
            ),
            json!({"cores": calm.cpu / calm.seconds, "microseconds": each, "bytes": memory}),
        ),
    ];
    if load.rate.is_none() {
        let best = stand.highest(&RATES).await?;
        rows.push(best.map_or_else(
            || Row::new("unique: highest rate with p99 < 100 ms", "none".to_owned(), json!({"rate": 0})),
            |best| {
                let text = format!(
                    "{} events/s (p99 {} ms, {:.0} µs of server CPU each)",
                    grouped(best.published() as u64),
                    short(best.p99()),
                    best.cpu * 1e6 / best.sent as f64
                );
                Row::new("unique: highest rate with p99 < 100 ms", text, latency_facts(&best.tally.latency))
                    .with("rate", json!(best.published()))
            },
        ));
    }
    Ok(rows)
}
