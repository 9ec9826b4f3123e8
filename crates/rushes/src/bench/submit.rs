//! Submit to first status: the moment between the click and something on the screen.

use std::time::{Duration, Instant};

use access::Role;
use anyhow::Result;
use serde_json::json;

use super::{Row, house::House, latency_row, peer::Peer, producer::generate};

/// Submissions at most: they wait in the queue, and an owner has a limit.
const SUBMISSIONS_MAX: u64 = 900;

/// Submits one after another and times the first status of each.
pub(crate) async fn measure(house: &House, duration: Duration) -> Result<Vec<Row>> {
    // The pipeline is known once its worker said hello; it leaves again, so that what is submitted stays queued.
    drop(super::producer::Producer::greet(house, 1).await?);
    let mut peer = Peer::connect(&house.address, "/v1/live", &house.token("bench", Role::User)?).await?;
    peer.say(&json!({"type": "subscribe", "mine": true})).await?;
    peer.hear_until(|message| message["type"] == "subscribed").await?;
    let mut values = Vec::new();
    let end = Instant::now() + duration;
    let mut request = 0;
    while Instant::now() < end && request < SUBMISSIONS_MAX {
        request += 1;
        let sent = Instant::now();
        peer.say(&generate(request)).await?;
        peer.hear_until(|message| message["type"] == "status_update").await?;
        values.push(sent.elapsed());
    }
    Ok(vec![latency_row("submit to first status", values)])
}
