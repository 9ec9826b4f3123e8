//! The same load over each transport: what a connection costs, and how long an event is on its way.

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    load::orders::Transport,
    rows::{grouped, latency_facts, latency_text},
    stand::{Shape, Stand, Subject},
};

/// Events a second over all, unless told otherwise: a calm load.
const RATE: f64 = 500.0;
/// Connections, each with a generation of its own; more of them over HTTP would measure the submissions.
const CONNECTIONS_MAX: usize = 2_000;

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let connections = load.connections.min(CONNECTIONS_MAX);
    let rate = load.rate.unwrap_or(RATE);
    let mut rows = Vec::new();
    for (name, transport) in
        [("WebSocket", Transport::WebSocket), ("SSE", Transport::Stream), ("long-poll", Transport::Poll)]
    {
        let mut stand = Stand::start_over(load, &Subject::durable(), Shape::unique(connections), transport).await?;
        let each = stand.grown()? / connections as u64;
        let ran = stand.run(rate, load.duration()).await?;
        ran.check()?;
        let cpu = ran.cpu * 1e6 / ran.sent as f64;
        let text = format!(
            "{}; {} bytes a connection, {cpu:.0} µs of server CPU an event",
            latency_text(&ran.tally.latency),
            grouped(each)
        );
        rows.push(
            Row::new(
                &format!("{name}, {} connections, {rate:.0}/s", grouped(connections as u64)),
                text,
                latency_facts(&ran.tally.latency),
            )
            .with("bytes_each", json!(each))
            .with("microseconds", json!(cpu)),
        );
    }
    Ok(rows)
}
