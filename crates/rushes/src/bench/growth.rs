//! How cost grows: with connections that do nothing, with generations that run and are watched, with the rate of events, and
//! with watchers of one generation. Each figure is a run of its own.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row, idle,
    rows::{at, grouped, megabytes, short},
    stand::{Shape, Stand, Subject},
};

const CONNECTIONS: [usize; 4] = [1_000, 5_000, 10_000, 19_000];
const GENERATIONS: [usize; 3] = [1_000, 4_000, 10_000];
const RATES: [f64; 4] = [100.0, 500.0, 1_000.0, 2_000.0];
const WATCHERS: [usize; 3] = [100, 1_000, 10_000];
/// Events a second while generations or watchers grow.
const STEADY: f64 = 200.0;
const EACH: Duration = Duration::from_secs(5);

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if load.wants("connections") {
        for connections in CONNECTIONS {
            let idle = idle::house(load, connections, EACH).await?;
            rows.push(Row::new(
                &format!("{} idle connections", grouped(connections as u64)),
                format!("{:.1} MB · {:.2} % of a core", megabytes(idle.with), idle.cpu * 100.0),
                json!({"connections": connections, "bytes": idle.with, "cores": idle.cpu}),
            ));
        }
    }
    if load.wants("generations") {
        for generations in GENERATIONS {
            let name = format!("{} running generations, {STEADY:.0} events/s", grouped(generations as u64));
            rows.push(cost(load, &name, Shape::unique(generations), &[STEADY]).await?.remove(0));
        }
    }
    if load.wants("rates") {
        let rates = cost(load, "1,000 running generations", Shape::unique(1_000), &RATES).await?;
        rows.extend(rates);
    }
    if load.wants("watchers") {
        for watchers in WATCHERS {
            let name = format!("{} watchers of one generation", grouped(watchers as u64));
            rows.push(cost(load, &name, Shape::broadcast(watchers), &[5.0]).await?.remove(0));
        }
    }
    Ok(rows)
}

/// One server, a row for each rate.
async fn cost(load: &Load, name: &str, shape: Shape, rates: &[f64]) -> Result<Vec<Row>> {
    let mut stand = Stand::start(load, &Subject::durable(), shape).await?;
    let mut rows = Vec::new();
    for rate in rates {
        let before = stand.processor_seconds()?.0;
        let ran = stand.run(*rate, EACH).await?;
        ran.check()?;
        let cores = (stand.processor_seconds()?.0 - before) / ran.seconds;
        let bytes = stand.memory()?.0;
        let name = if rates.len() > 1 { format!("{name}, {rate:.0} events/s") } else { name.to_owned() };
        let text = format!(
            "{:.1} MB · {:.1} % of a core · p50 {} p99 {} ms",
            megabytes(bytes),
            cores * 100.0,
            at(&ran.tally.latency, 0.5),
            short(ran.p99())
        );
        rows.push(Row::new(&name, text, json!({"bytes": bytes, "cores": cores, "rate": rate, "p99_ms": ran.p99()})));
    }
    Ok(rows)
}
