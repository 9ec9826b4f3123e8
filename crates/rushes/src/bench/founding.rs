//! The first document's own table: what it says of its server at 1,000, 5,000, 10,000 and 50,000 connections, measured of
//! ours in the same rows. More connections than one process may have descriptors for are spread over several servers.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use serde_json::json;

use super::{
    Load, Row,
    climb::{RUNG, highest},
    crew::SEATS_MAX,
    histogram::Histogram,
    publish::Publisher,
    rows::{at, grouped, latency_facts, megabytes, short},
    stand::{Ran, Shape, Stand, Subject},
    unique::RATES,
};

/// Connections, and what the document says of its own server: memory in MB, messages a second before p99 passes 100 ms.
const ROWS: [(usize, f64, f64); 4] =
    [(1_000, 48.0, 5_000.0), (5_000, 85.0, 2_200.0), (10_000, 142.0, 1_100.0), (50_000, 520.0, 250.0)];
/// The document's rate for latency and processor time.
const RATE: f64 = 100.0;
/// Generations that run, each watched by one connection; further connections are known to the server and watch nothing.
const CHANNELS_MAX: usize = 10_000;
/// Tried where the first of the others is not held: down to what the document says of 50,000 connections.
const RATES_BELOW: [f64; 3] = [1_000.0, 500.0, 250.0];
/// The idle processor time is watched for one round of pings.
const WATCHED: Duration = Duration::from_secs(30);

/// The head of the table, over columns as wide as [`line`] writes them.
const HEAD: &str =
    "p50 ·  p95 ·  p99 ms at 100/s     memory   CPU idle  at 100/s  highest rate  shown after ack   the document";

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let mut rows = vec![Row::new("connections", HEAD.to_owned(), json!({}))];
    for (connections, memory, rate) in ROWS.iter().filter(|row| load.wants(&row.0.to_string())) {
        let theirs = format!("{memory:.0} MB, {rate:.0}/s");
        let row = row(load, *connections, &theirs).await?;
        eprintln!("  {} connections: {}", row.name, row.value);
        rows.push(row);
    }
    let bus =
        "in the process: no memory and no hop of its own; what it adds is from acknowledgement to screen, in medians";
    rows.push(Row::new("bus", bus.to_owned(), json!({})));
    Ok(rows)
}

async fn row(load: &Load, connections: usize, theirs: &str) -> Result<Row> {
    let servers = connections.div_ceil(SEATS_MAX);
    let mut stands = Vec::new();
    for at in 0..servers {
        let share = connections / servers + usize::from(at < connections % servers);
        let channels = share.min(CHANNELS_MAX / servers);
        let shape = Shape { idle: share - channels, ..Shape::unique(channels) };
        stands.push(Stand::start(load, &Subject::durable(), shape).await?);
    }
    let processor = |stands: &[Stand]| stands.iter().map(|stand| Ok(stand.processor_seconds()?.0)).sum::<Result<f64>>();
    let before = processor(&stands)?;
    tokio::time::sleep(WATCHED).await;
    let idle = (processor(&stands)? - before) / WATCHED.as_secs_f64();
    let bytes = stands.iter().map(|stand| Ok(stand.memory()?.0)).sum::<Result<u64>>()?;
    // The figures of what was said before the run are let go of.
    commits(&mut stands);
    let calm = run(&mut stands, RATE, load.duration()).await?;
    calm.check()?;
    let ack = commits(&mut stands).percentile(0.5).unwrap_or(f64::NAN);
    let best = rate_max(&mut stands).await?;
    let of = if servers > 1 { format!(", {servers} servers") } else { String::new() };
    let busy = calm.cpu / calm.sending;
    let value = line(&calm.tally.latency, bytes, [idle, busy], best, ack);
    Ok(Row::new(
        &format!("{}{of}", grouped(connections as u64)),
        format!("{value}   {theirs}"),
        latency_facts(&calm.tally.latency),
    )
    .with("connections", json!(connections))
    .with("servers", json!(servers))
    .with("bytes", json!(bytes))
    .with("cpu_idle", json!(idle))
    .with("cpu_at_100", json!(busy))
    .with("rate_max", json!(best))
    .with("ack_p50_ms", json!(ack)))
}

/// One line below [`HEAD`].
fn line(latency: &Histogram, bytes: u64, cpu: [f64; 2], best: Option<f64>, ack: f64) -> String {
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| at(latency, share));
    let shown = latency.percentile(0.5).unwrap_or(f64::NAN);
    let [idle, busy] = cpu.map(|share| format!("{:.1} %", share * 100.0));
    format!(
        "{p50:>4} · {p95:>4} · {p99:>4} ms {:>20} {idle:>10} {busy:>9} {:>13} {:>16}",
        format!("{:.1} MB", megabytes(bytes)),
        best.map_or_else(|| "none".to_owned(), |rate| format!("{}/s", grouped(rate as u64))),
        format!("{} ms", short(shown - ack)),
    )
}

/// What was published a second in the best run that was held; where not even the first rate is, in the first below it that is.
async fn rate_max(stands: &mut [Stand]) -> Result<Option<f64>> {
    let mut run = async |rate| run(stands, rate, RUNG).await;
    let mut best = highest(&RATES, &mut run).await?;
    for rate in RATES_BELOW {
        if best.is_none() {
            best = highest(&[rate], &mut run).await?;
        }
    }
    Ok(best.as_ref().map(Ran::published))
}

/// How long acknowledgements took since the last look.
fn commits(stands: &mut [Stand]) -> Histogram {
    let mut all = Histogram::default();
    for stand in stands {
        if let Publisher::Workers(workers) = &mut stand.publisher {
            all.add(&workers.commits().sparse());
        }
    }
    all
}

/// A run over all servers at once.
async fn run(stands: &mut [Stand], rate: f64, duration: Duration) -> Result<Ran> {
    let each = rate / stands.len() as f64;
    let runs = try_join_all(stands.iter_mut().map(|stand| stand.run(each, duration))).await?;
    runs.into_iter().reduce(|all, one| all.and(&one)).context("no server")
}
