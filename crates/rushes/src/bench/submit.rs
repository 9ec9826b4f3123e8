//! Submit to first status: the moment between the click and something on the screen.

use std::time::{Duration, Instant};

use access::Role;
use anyhow::{Result, ensure};
use serde_json::json;

use super::{Load, Row, clock, histogram::Histogram, house::House, peer::Peer, workers};

/// Submissions at most: they wait in the queue, and an owner has a limit.
const SUBMISSIONS_MAX: u64 = 900;

/// Submits one after another and times the first status of each.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let house = House::start(load).await?;
    // The pipeline is known once its worker said hello; it leaves again, so that what is submitted stays queued.
    drop(workers::greet(&house, 0, &[1], load.durability.unwrap_or_default()).await?);
    let mut peer = Peer::connect(&house.door, "/v1/live", &house.token("bench", Role::User)?).await?;
    peer.say(&json!({"type": "subscribe", "mine": true})).await?;
    peer.hear_until(|message| message["type"] == "subscribed").await?;
    let mut latency = Histogram::default();
    let end = Instant::now() + load.duration().min(Duration::from_secs(30));
    while Instant::now() < end && latency.len() < SUBMISSIONS_MAX {
        let sent = clock::nanos();
        let request = format!("r{}", latency.len());
        peer.say(&json!({"type": "generate", "requestId": request, "pipeline": "bench0", "input": {}})).await?;
        let answer =
            peer.hear_until(|message| message["type"] == "status_update" || message["type"] == "error").await?;
        ensure!(answer["type"] == "status_update", "a submission was refused: {answer}");
        latency.record(clock::nanos().saturating_sub(sent));
    }
    Ok(vec![Row::latency("submit to first status", &latency)])
}
