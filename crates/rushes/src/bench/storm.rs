//! Everybody is cut off, something happens meanwhile, and everybody comes back at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    load::orders::Order,
    rows::{grouped, megabytes, short},
    stand::{Shape, Stand, Subject},
};

/// Nobody waits longer than this for a server to come to itself.
const PATIENCE: Duration = Duration::from_secs(90);
/// No limit on how many come back at once.
const ALL_AT_ONCE: usize = usize::MAX >> 8;

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Storm {
    /// From the order to come back to the last missed event.
    pub(crate) took: Duration,
    pub(crate) cpu: f64,
    pub(crate) bytes: u64,
    /// Deliveries of the missed event, twice or late ones.
    pub(crate) twice: u64,
}

/// Runs one storm of `connections`, each with a generation of its own.
pub(crate) async fn run(load: &Load, subject: &Subject, connections: usize) -> Result<Storm> {
    let mut stand = Stand::start(load, subject, Shape::unique(connections)).await?;
    // Everybody has seen one event, so that there is a place to go on from.
    let first = stand.one_each().await?;
    stand.crew.wait(first, PATIENCE, |counts| counts.caught_up >= connections).await?;
    stand.crew.tell(&Order::Drop).await?;
    stand.crew.report().await?;
    let missed = stand.one_each().await?;
    // The server has seen everybody go when it uses no time any more.
    let mut before = stand.processor_seconds()?.0;
    let settled = Instant::now() + Duration::from_secs(10);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = stand.processor_seconds()?.0;
        if now - before < 0.03 || Instant::now() > settled {
            before = now;
            break;
        }
        before = now;
    }
    // A server without memory of what was said cannot show it; those who come back are then ready, and no more.
    let wanted = if stand.target.keeps() { missed } else { 0 };
    let took = stand.crew.open(ALL_AT_ONCE, wanted, PATIENCE).await?;
    let cpu = stand.processor_seconds()?.0 - before;
    let bytes = stand.memory()?.0;
    let tally = stand.crew.report().await?;
    if stand.target.keeps() {
        tally.check(connections as u64)?;
    }
    Ok(Storm { took, cpu, bytes, twice: tally.counts.twice + tally.counts.late })
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let storm = run(load, &load.subject(), load.connections).await?;
    Ok(vec![Row::new(
        &format!("storm: {} drop and come back", grouped(load.connections as u64)),
        format!(
            "{} s until all have what they missed; {} s of server CPU, {:.1} MB, nothing twice",
            short(storm.took.as_secs_f64()),
            short(storm.cpu),
            megabytes(storm.bytes)
        ),
        json!({"seconds": storm.took.as_secs_f64(), "cpu_seconds": storm.cpu, "bytes": storm.bytes, "twice": storm.twice,
            "connections": load.connections}),
    )])
}
