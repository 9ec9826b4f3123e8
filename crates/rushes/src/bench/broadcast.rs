//! One generation, many watchers, events as fast as they become durable.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use access::Role;
use anyhow::Result;
use serde_json::json;

use super::{Row, house::House, peer::Peer, producer::Producer};

/// Lines on the way to the store at once: enough for its batches, below a worker's queue on the server.
const WINDOW: u64 = 48;

/// Publishes for `duration`, then waits until every watcher has everything.
pub(crate) async fn measure(house: &House, watchers: usize, duration: Duration) -> Result<Vec<Row>> {
    let mut producer = Producer::start(house, "bench", 1).await?;
    let received = Arc::new(AtomicU64::new(0));
    let generation = producer.runs[0].generation.clone();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..watchers {
        let mut peer = Peer::connect(&house.address, "/v1/live", &house.token("bench", Role::User)?).await?;
        peer.say(&json!({"type": "subscribe", "generationId": generation, "after": "now"})).await?;
        peer.hear_until(|message| message["type"] == "subscribed").await?;
        let received = Arc::clone(&received);
        tasks.spawn(async move {
            loop {
                let Ok(count) = peer.count().await else { return };
                received.fetch_add(count as u64, Relaxed);
            }
        });
    }
    let before = house.processor_seconds()?;
    let start = Instant::now();
    let (mut sent, mut acked) = (0_u64, 0_u64);
    while start.elapsed() < duration {
        while sent - acked < WINDOW {
            sent += 1;
            producer.publish(0, &json!(sent)).await?;
        }
        producer.peer.hear_until(|message| message["type"] == "ack").await?;
        acked += 1;
    }
    while acked < sent {
        producer.peer.hear_until(|message| message["type"] == "ack").await?;
        acked += 1;
    }
    let wanted = sent * watchers as u64;
    let deadline = Instant::now() + Duration::from_secs(60);
    while received.load(Relaxed) < wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = start.elapsed().as_secs_f64();
    let got = received.load(Relaxed);
    anyhow::ensure!(got == wanted, "{got} of {wanted} deliveries arrived");
    let processor = house.processor_seconds()? - before;
    let rate = wanted as f64 / took;
    Ok(vec![Row {
        name: "broadcast to the watchers of one generation",
        value: format!(
            "{rate:.0} deliveries/s  ({watchers} watchers, {:.0} durable events/s, {:.2} µs of server CPU each)",
            sent as f64 / took,
            processor * 1e6 / wanted as f64
        ),
        facts: json!({"deliveries_per_second": rate, "watchers": watchers, "events": sent, "cpu_seconds": processor}),
    }])
}
