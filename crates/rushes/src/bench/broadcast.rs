//! One generation, many watchers.

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    climb::{RUNG, climb},
    rows::{at, grouped, latency_facts, short},
    stand::{Ran, Shape, Stand},
};

/// Rates that are climbed, in events a second of the one generation.
pub(crate) const RATES: [f64; 17] = [
    10.0, 20.0, 25.0, 30.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1_000.0, 1_200.0, 1_400.0, 1_700.0,
    2_000.0,
];
/// Every rate up to the first that is not held.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let mut stand = Stand::start(load, &load.subject(), Shape::broadcast(load.watchers)).await?;
    // Rungs are shorter where a steady load is.
    let mut run = async |rate| stand.run(rate, RUNG.min(load.duration())).await;
    let mut rungs = match load.rate {
        Some(rate) => vec![run(rate).await?],
        None => climb(&RATES, run).await?,
    };
    // A loss ends a climb; where there is nothing below it, it is what there is to say.
    rungs[0].check()?;
    rungs.retain(|ran| ran.check().is_ok());
    Ok(rungs.iter().map(|ran| row(ran, load.watchers)).collect())
}

fn row(ran: &Ran, watchers: usize) -> Row {
    let each = ran.cpu * 1e6 / ran.tally.counts.received.max(1) as f64;
    let text = format!(
        "{} deliveries/s · p50 {} · p99 {} ms · {each:.2} µs of server CPU each",
        grouped(ran.delivered() as u64),
        at(&ran.tally.latency, 0.5),
        short(ran.p99()),
    );
    Row::new(
        &format!("broadcast: {:.0}/s to {}", ran.rate, grouped(watchers as u64)),
        text,
        latency_facts(&ran.tally.latency),
    )
    .with("rate", json!(ran.rate))
    .with("deliveries_per_second", json!(ran.delivered()))
    .with("microseconds", json!(each))
}
