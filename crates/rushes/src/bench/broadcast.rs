//! One generation, many watchers.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    rows::{grouped, latency_facts, short},
    stand::{Ran, Shape, Stand, Subject},
    unique::P99_MAX_MS,
};

/// Rates that are climbed, in events a second of the one generation.
pub(crate) const RATES: [f64; 17] = [
    10.0, 20.0, 25.0, 30.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1_000.0, 1_200.0, 1_400.0, 1_700.0,
    2_000.0,
];
/// Seconds of each rung, unless a steady load is shorter.
pub(crate) const RUNG: Duration = Duration::from_secs(4);

/// The highest rate with p99 below a tenth of a second.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let mut stand = Stand::start(load, &Subject::durable(), Shape::broadcast(load.watchers)).await?;
    let mut rows = Vec::new();
    let rates: Vec<f64> = load.rate.map_or_else(|| RATES.to_vec(), |rate| vec![rate]);
    for rate in rates {
        let ran = stand.run(rate, RUNG.min(load.duration())).await?;
        ran.tally.check(ran.sent * load.watchers as u64)?;
        let over = ran.p99() >= P99_MAX_MS;
        rows.push(row(&ran, rate, load.watchers));
        if over {
            break;
        }
    }
    Ok(rows)
}

fn row(ran: &Ran, rate: f64, watchers: usize) -> Row {
    let each = ran.cpu * 1e6 / ran.tally.counts.received.max(1) as f64;
    let text = format!(
        "{} deliveries/s · p50 {} · p99 {} ms · {each:.2} µs of server CPU each",
        grouped(ran.delivered() as u64),
        short(ran.tally.latency.percentile(0.5).unwrap_or(f64::NAN)),
        short(ran.p99()),
    );
    Row::new(
        &format!("broadcast: {rate:.0}/s to {}", grouped(watchers as u64)),
        text,
        latency_facts(&ran.tally.latency),
    )
    .with("rate", json!(rate))
    .with("deliveries_per_second", json!(ran.delivered()))
    .with("microseconds", json!(each))
}
