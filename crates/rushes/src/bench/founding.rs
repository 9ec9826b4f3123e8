//! The first document's own table: what it says of its server at 1,000, 5,000, 10,000 and 50,000 connections, measured of
//! ours in the same rows. More connections than one process may have descriptors for are spread over several servers.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::json;

use super::{
    Load, Row,
    crew::{SEATS_MAX, Tally},
    histogram::Histogram,
    load::orders::Answer,
    publish::Publisher,
    rows::{grouped, latency_facts, megabytes, short},
    stand::{Shape, Stand, Subject},
    unique::{P99_MAX_MS, RATES, RUNG},
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

/// What one run over all servers did.
struct Sum {
    tally: Tally,
    sent: u64,
    seconds: f64,
    cpu: f64,
}

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
    calm.tally.check(calm.sent)?;
    let ack = commits(&mut stands).percentile(0.5).unwrap_or(f64::NAN);
    let best = highest(&mut stands).await?;
    let of = if servers > 1 { format!(", {servers} servers") } else { String::new() };
    let busy = calm.cpu / calm.seconds;
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
    let at = |share| latency.percentile(share).unwrap_or(f64::NAN);
    let [idle, busy] = cpu.map(|share| format!("{:.1} %", share * 100.0));
    format!(
        "{:>4} · {:>4} · {:>4} ms {:>20} {idle:>10} {busy:>9} {:>13} {:>16}",
        short(at(0.5)),
        short(at(0.95)),
        short(at(0.99)),
        format!("{:.1} MB", megabytes(bytes)),
        best.map_or_else(|| "none".to_owned(), |rate| format!("{}/s", grouped(rate as u64))),
        format!("{} ms", short(at(0.5) - ack)),
    )
}

/// The highest rate whose p99 stays below a tenth of a second; where not even the first is held, what is below it.
async fn highest(stands: &mut [Stand]) -> Result<Option<f64>> {
    let mut best = None;
    for rate in RATES {
        let Some(held) = rung(stands, rate).await? else { break };
        best = Some(held);
    }
    for rate in RATES_BELOW {
        if best.is_some() {
            break;
        }
        best = rung(stands, rate).await?;
    }
    Ok(best)
}

/// What was published a second, if it was held; a rung is tried twice, for once may be a stall of the machine.
async fn rung(stands: &mut [Stand], rate: f64) -> Result<Option<f64>> {
    for _ in 0..2 {
        let ran = run(stands, rate, RUNG).await?;
        let p99 = ran.tally.latency.percentile(0.99).unwrap_or(f64::INFINITY);
        let published = ran.sent as f64 / ran.seconds;
        eprintln!("  {rate:>8.0}/s: {published:.0}/s, p99 {p99:.1} ms");
        if published > rate * 0.95 && p99 < P99_MAX_MS && ran.tally.check(ran.sent).is_ok() {
            return Ok(Some(published));
        }
    }
    Ok(None)
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
async fn run(stands: &mut [Stand], rate: f64, duration: Duration) -> Result<Sum> {
    let each = rate / stands.len() as f64;
    let runs = try_join_all(stands.iter_mut().map(|stand| stand.run(each, duration))).await?;
    let tally = Tally { counts: Answer::default(), latency: Histogram::default(), pictures: Histogram::default() };
    let mut sum = Sum { tally, sent: 0, seconds: 0.0, cpu: 0.0 };
    for ran in runs {
        sum.tally.counts.add(&ran.tally.counts);
        sum.tally.latency.add(&ran.tally.latency.sparse());
        sum.sent += ran.sent;
        sum.cpu += ran.cpu;
        sum.seconds = sum.seconds.max(ran.sending);
    }
    Ok(sum)
}
