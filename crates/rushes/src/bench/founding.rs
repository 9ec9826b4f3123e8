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
/// Generations that run; further connections watch one of these each, and are counted as connections.
const CHANNELS_MAX: usize = 10_000;
/// The idle processor time is watched for one round of pings.
const WATCHED: Duration = Duration::from_secs(30);

/// What one run over all servers did.
struct Sum {
    tally: Tally,
    sent: u64,
    seconds: f64,
    cpu: f64,
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (connections, memory, rate) in ROWS.iter().filter(|row| load.wants(&row.0.to_string())) {
        let theirs = format!("the document: {memory:.0} MB, {rate:.0}/s");
        rows.extend(row(load, *connections, &theirs).await?);
    }
    Ok(rows)
}

async fn row(load: &Load, connections: usize, theirs: &str) -> Result<Vec<Row>> {
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
    commits(&mut stands);
    let calm = run(&mut stands, RATE, load.duration()).await?;
    calm.tally.check(calm.sent)?;
    let commits = commits(&mut stands);
    let mut best = None;
    for rate in RATES {
        let ran = run(&mut stands, rate, RUNG).await?;
        let p99 = ran.tally.latency.percentile(0.99).unwrap_or(f64::INFINITY);
        let held = ran.sent as f64 / ran.seconds > rate * 0.95 && p99 < P99_MAX_MS;
        if !held || ran.tally.check(ran.sent).is_err() {
            break;
        }
        best = Some(rate);
    }
    let of = if servers > 1 { format!(" ({servers} servers)") } else { String::new() };
    let name = format!("{} connections{of}", grouped(connections as u64));
    let at = |share| calm.tally.latency.percentile(share).unwrap_or(f64::NAN);
    let shown_after = at(0.5) - commits.percentile(0.5).unwrap_or(f64::NAN);
    Ok(vec![
        Row::new(
            &name,
            format!(
                "p50 {} · p95 {} · p99 {} ms at {RATE:.0}/s, each durable first",
                short(at(0.5)),
                short(at(0.95)),
                short(at(0.99))
            ),
            latency_facts(&calm.tally.latency),
        )
        .with("connections", json!(connections)),
        Row::new(
            "",
            format!(
                "{:.1} MB · CPU {:.2} % idle, {:.1} % at {RATE:.0}/s · at most {}/s with p99 < 100 ms  [{theirs}]",
                megabytes(bytes),
                100.0 * idle,
                100.0 * calm.cpu / calm.seconds,
                best.map_or_else(|| "none".to_owned(), |rate| grouped(rate as u64)),
            ),
            json!({"bytes": bytes, "cpu_idle": idle, "cpu_at_100": calm.cpu / calm.seconds, "rate_max": best, "servers": servers}),
        ),
        Row::new(
            "",
            format!(
                "bus: in the process, no memory and no hop of its own; shown {} ms after its acknowledgement (medians)",
                short(shown_after)
            ),
            json!({"shown_after_ack_ms": shown_after, "ack_p50_ms": commits.percentile(0.5)}),
        ),
    ])
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
