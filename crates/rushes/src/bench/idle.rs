//! What connections cost that do nothing.

use std::time::{Duration, Instant};

use access::Role;
use anyhow::Result;
use serde_json::json;

use super::{Row, house::House, peer::Peer};

/// Connections opened at once, below any listen backlog.
const AT_ONCE: usize = 64;
/// How long the idle server's processor time is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// Opens connections, each authenticated, and looks at the server's memory before and after.
pub(crate) async fn measure(house: &House, connections: usize) -> Result<Vec<Row>> {
    let base = house.memory()?;
    let token = house.token("bench", Role::User)?;
    let start = Instant::now();
    let mut peers = Vec::with_capacity(connections);
    while peers.len() < connections {
        let count = AT_ONCE.min(connections - peers.len());
        let opened = futures_util::future::try_join_all((0..count).map(|_| open(house, &token))).await?;
        peers.extend(opened);
    }
    let took = start.elapsed();
    let after = house.memory()?;
    let before = house.processor_seconds()?;
    tokio::time::sleep(WATCHED).await;
    let idle = (house.processor_seconds()? - before) / WATCHED.as_secs_f64();
    let each = after.saturating_sub(base) / connections.max(1) as u64;
    let megabytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    Ok(vec![
        Row {
            name: "idle server, resident memory",
            value: format!("{:.1} MB", megabytes(base)),
            facts: json!({"bytes": base}),
        },
        Row {
            name: "per idle WebSocket connection",
            value: format!("{each} bytes  ({connections} connections, {:.1} MB in all)", megabytes(after)),
            facts: json!({"bytes": each, "connections": connections, "total_bytes": after}),
        },
        Row {
            name: "connecting and authenticating them",
            value: format!("{:.2} s", took.as_secs_f64()),
            facts: json!({"seconds": took.as_secs_f64()}),
        },
        Row {
            name: "server CPU while they idle",
            value: format!("{:.1} % of a core", idle * 100.0),
            facts: json!({"share": idle}),
        },
    ])
}

async fn open(house: &House, token: &str) -> Result<Peer> {
    let mut peer = Peer::connect(&house.address, "/v1/live", token).await?;
    peer.say(&json!({"type": "authenticate", "token": token})).await?;
    peer.hear_until(|message| message["type"] == "authenticated").await?;
    peer.shrink();
    Ok(peer)
}
