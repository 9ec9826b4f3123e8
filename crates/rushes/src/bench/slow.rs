//! Readers that stall beside readers that do not: what they cost, whom they delay, and whether they get all of it in the end.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    Load, Row, clock,
    histogram::Histogram,
    load::orders::{Answer, Order},
    rows::{grouped, latency_facts, latency_text, megabytes, short},
    stand::{Shape, Stand, Subject},
};

/// Events a second of the one generation.
const RATE: f64 = 1_000.0;
/// Readers that stall.
const STALLED: usize = 100;
/// A stall lasts twice as long as a steady load, and below the minute after which a reader that takes nothing is let go.
const STALL_MAX: Duration = Duration::from_secs(50);
/// Everything warm: the tail is full, every buffer has its size.
const WARM_UP: Duration = Duration::from_secs(3);
/// What was missed is twenty thousand events for each, at the rate and the length there are without options.
const CATCHING_UP_MAX: Duration = Duration::from_secs(60);

/// What was found.
pub(crate) struct Slow {
    /// Of the live ones, while all read and while the others stall.
    calm: Histogram,
    stalling: Histogram,
    /// The server's own memory before the stall.
    bytes_before: u64,
    pub(crate) bytes_more: f64,
    /// Deliveries that the stalled had missed, and the seconds until they had them.
    pub(crate) behind: u64,
    pub(crate) catching_up: f64,
}

impl Slow {
    /// The live ones' p99 beside a stall, in times of that without one.
    pub(crate) fn p99_ratio(&self) -> Option<f64> {
        Some(self.stalling.percentile(0.99)? / self.calm.percentile(0.99)?)
    }
}

/// All read, some stall, and these read again.
pub(crate) async fn run(load: &Load) -> Result<Slow> {
    let shape = Shape { stalling: STALLED, ..Shape::broadcast(load.watchers) };
    let mut stand = Stand::start(load, &Subject::durable(), shape).await?;
    let rate = load.rate.unwrap_or(RATE);
    let stall = (load.duration() * 2).min(STALL_MAX);
    stand.run(rate, WARM_UP.min(stall)).await?;
    let calm = stand.run(rate, stall).await?;
    calm.check()?;
    let before = stand.grown()?;
    stand.crew.tell(&Order::Stall(true)).await?;
    let sent = stand.publish(rate, stall).await?;
    let live = sent * load.watchers as u64;
    let at_live = |counts: &Answer| counts.received - counts.received_stalled >= live;
    stand.crew.wait(0, Duration::from_secs(20), at_live).await?;
    let during = stand.grown()?;
    let tally = stand.crew.report().await?;
    let behind = sent * STALLED as u64 - tally.counts.received_stalled;
    ensure!(behind > 0, "nobody stalled: the kernel's buffers took all of it; raise --seconds or --rate");
    let resumed = clock::nanos();
    stand.crew.tell(&Order::Stall(false)).await?;
    stand.crew.wait(0, CATCHING_UP_MAX, |counts| counts.received_stalled >= behind).await?;
    let rest = stand.crew.report().await?;
    rest.check(behind)?;
    Ok(Slow {
        calm: calm.tally.latency,
        stalling: tally.latency,
        bytes_before: before,
        bytes_more: during as f64 - before as f64,
        behind,
        catching_up: rest.counts.at.saturating_sub(resumed) as f64 / 1e9,
    })
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let slow = run(load).await?;
    let ratio = slow.p99_ratio();
    Ok(vec![
        Row::latency("slow: live watchers, all reading", &slow.calm),
        Row::new(
            &format!("slow: live watchers, {STALLED} others stalled"),
            format!("{}; p99 {} times", latency_text(&slow.stalling), short(ratio.unwrap_or(f64::NAN))),
            latency_facts(&slow.stalling),
        )
        .with("p99_ratio", json!(ratio)),
        Row::new(
            "slow: memory the stalled cost",
            format!("{:+.1} MB on {:.1} MB", slow.bytes_more / 1e6, megabytes(slow.bytes_before)),
            json!({"bytes_more": slow.bytes_more, "bytes_before": slow.bytes_before}),
        ),
        Row::new(
            "slow: then they read again",
            format!(
                "{} events each behind, all of them in order after {} s",
                grouped(slow.behind / STALLED as u64),
                short(slow.catching_up)
            ),
            json!({"behind": slow.behind, "seconds": slow.catching_up, "stalled": STALLED, "watchers": load.watchers}),
        ),
    ])
}
