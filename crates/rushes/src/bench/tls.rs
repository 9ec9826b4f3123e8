//! What TLS costs: a connection's memory, a handshake, and an event. The server and the load are the same as elsewhere; a
//! certificate is made for the run (ECDSA P-256, as most of today's are). Handshakes are whole; then all come back with tickets.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Load, Row,
    idle::{self, Back, Idle},
    rows::{grouped, latency_facts, latency_text, megabytes, short},
    stand::{Shape, Stand, Subject},
};

/// Events a second over all, bare and encrypted: a calm load.
const RATE: f64 = 500.0;
/// Connections of that comparison, each with a generation of its own.
const CONNECTIONS_MAX: usize = 2_000;

/// Idle connections over TLS, for people.
pub(crate) fn text(idle: &Idle) -> String {
    let back = idle.back.map_or_else(String::new, |back| {
        format!(
            ", back {} a second ({:.0} µs each, {} of {} resumed)",
            grouped(per_second(idle, &back) as u64),
            micros(idle, &back),
            grouped(back.resumed as u64),
            grouped(idle.connections as u64)
        )
    });
    format!(
        "{:.2} KB a connection, {:.1} MB in all ({:.1} MB before), {} handshakes/s ({:.0} µs of server CPU each){back}, CPU idle {:.2} %",
        idle.each() / 1e3,
        megabytes(idle.with),
        megabytes(idle.base),
        grouped(idle.opened_per_second() as u64),
        idle.opening_micros(),
        idle.cpu * 100.0
    )
}

/// The same for programs.
pub(crate) fn facts(idle: &Idle) -> Value {
    json!({"connections": idle.connections, "bytes_each": idle.each(), "bytes": idle.with, "bytes_before": idle.base,
        "handshakes_per_second": idle.opened_per_second(), "handshake_microseconds": idle.opening_micros(),
        "resumed": idle.back.map(|back| back.resumed), "back_per_second": idle.back.map(|back| per_second(idle, &back)),
        "back_microseconds": idle.back.map(|back| micros(idle, &back)), "cores": idle.cpu})
}

fn per_second(idle: &Idle, back: &Back) -> f64 {
    idle.connections as f64 / back.took.as_secs_f64().max(f64::EPSILON)
}

/// Of the server's processor time for one that comes back.
fn micros(idle: &Idle, back: &Back) -> f64 {
    back.cpu * 1e6 / idle.connections.max(1) as f64
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let encrypted = Load { tls: true, ..load.clone() };
    let mut rows = Vec::new();
    if load.wants("idle") {
        let idle = idle::house(&encrypted, load.connections, idle::watched(load)).await?;
        let name = format!("tls: {} idle connections", grouped(load.connections as u64));
        rows.push(Row::new(&name, text(&idle), facts(&idle)));
    }
    if load.wants("events") {
        let bare = Load { tls: false, ..load.clone() };
        for (name, load) in [("bare", &bare), ("over TLS", &encrypted)] {
            rows.push(events(load, name).await?);
        }
    }
    Ok(rows)
}

async fn events(load: &Load, name: &str) -> Result<Row> {
    let connections = load.connections.min(CONNECTIONS_MAX);
    let rate = load.rate.unwrap_or(RATE);
    let mut stand = Stand::start(load, &Subject::durable(), Shape::unique(connections)).await?;
    let ran = stand.run(rate, load.duration()).await?;
    ran.check()?;
    let micros = ran.cpu * 1e6 / ran.sent.max(1) as f64;
    let bytes = stand.grown()? as f64 / connections.max(1) as f64;
    let text = format!(
        "{}; {} KB a connection, {micros:.0} µs of server CPU an event",
        latency_text(&ran.tally.latency),
        short(bytes / 1e3)
    );
    let row = Row::new(
        &format!("tls: {name}, {} connections, {rate:.0} events/s", grouped(connections as u64)),
        text,
        latency_facts(&ran.tally.latency),
    );
    Ok(row.with("microseconds", json!(micros)).with("bytes_each", json!(bytes)))
}
