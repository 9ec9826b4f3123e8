//! Sent by a worker, committed, on a watcher's socket: the whole way of one event.

use std::time::{Duration, Instant};

use access::Role;
use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::{Row, house::House, latency_row, peer::Peer, producer::Producer};

/// Events a second over all generations, as the project's target has it.
const RATE: u32 = 200;
/// Generations they are spread over, each with a watcher.
const GENERATIONS: usize = 20;

/// Publishes at a fixed rate and times each event's way.
pub(crate) async fn measure(house: &House, duration: Duration) -> Result<Vec<Row>> {
    let mut producer = Producer::start(house, "bench", GENERATIONS).await?;
    let start = Instant::now();
    let mut watchers = tokio::task::JoinSet::new();
    for run in &producer.runs {
        let mut peer = Peer::connect(&house.address, "/v1/live", &house.token("bench", Role::User)?).await?;
        peer.say(&json!({"type": "subscribe", "generationId": run.generation, "after": "now"})).await?;
        peer.hear_until(|message| message["type"] == "subscribed").await?;
        watchers.spawn(watch(peer, start));
    }
    let before = house.processor_seconds()?;
    let total = u64::from(RATE) * duration.as_secs();
    let mut tick = interval(Duration::from_secs(1) / RATE);
    // A late tick must not be followed by a burst: the rate is the point.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut acked = Vec::new();
    let mut sent_at = std::collections::HashMap::new();
    for n in 0..total {
        tick.tick().await;
        let mark = start.elapsed().as_nanos();
        producer.publish(usize::try_from(n)? % GENERATIONS, &json!(u64::try_from(mark)?)).await?;
        sent_at.insert(n + 1, Instant::now());
        // The ack of this event comes before the next is due, except when the disk is slow; both are fine.
        let ack = producer.peer.hear_until(|message| message["type"] == "ack").await?;
        let id: u64 =
            ack["eventId"].as_str().and_then(|id| id.trim_start_matches('b').parse().ok()).context("an id")?;
        if let Some(sent) = sent_at.remove(&id) {
            acked.push(sent.elapsed());
        }
    }
    for index in 0..GENERATIONS {
        producer.publish(index, &json!("end")).await?;
    }
    let processor = house.processor_seconds()? - before;
    let mut shown = Vec::new();
    while let Some(watched) = watchers.join_next().await {
        shown.extend(watched??);
    }
    anyhow::ensure!(shown.len() as u64 == total, "{} of {total} events were shown", shown.len());
    let rate = json!({"events_per_second": total / duration.as_secs()});
    Ok(vec![
        latency_row("worker to watcher, durable between, 200 events/s", shown),
        latency_row("worker to ack (the commit alone)", acked),
        Row {
            name: "server CPU at that rate",
            value: format!("{:.1} % of a core", 100.0 * processor / duration.as_secs_f64()),
            facts: rate,
        },
    ])
}

async fn watch(mut peer: Peer, start: Instant) -> Result<Vec<Duration>> {
    let mut values = Vec::new();
    loop {
        let message = peer.hear_until(|message| message["type"] == "status_update").await?;
        match &message["data"]["metadata"]["mark"] {
            mark if mark == "end" => return Ok(values),
            mark => {
                if let Some(sent) = mark.as_u64() {
                    values.push(start.elapsed().saturating_sub(Duration::from_nanos(sent)));
                }
            }
        }
    }
}
