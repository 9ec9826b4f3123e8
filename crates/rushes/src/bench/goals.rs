//! What this project aims at: each row with what a Node server of the first document does, the target, what was measured
//! now, and whether that meets it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Load, Row, first, frames, idle,
    rows::{at, grouped, latency_facts, megabytes, short},
    slow,
    stand::{Shape, Stand, Subject},
    storm, tls, unique,
};

/// A minute of pings, each connection twice.
const PINGED: Duration = Duration::from_secs(62);
/// Events a second while pings go round.
const PINGED_RATE: f64 = 1_000.0;

/// One aim and what became of it.
struct Goal {
    about: &'static str,
    node: &'static str,
    target: &'static str,
    measured: String,
    /// `None` where the figure itself is the aim.
    met: Option<bool>,
    facts: Value,
}

impl Goal {
    fn row(self) -> Row {
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "printed",
        };
        let value = format!("{verdict:<8} {}  [target {}; Node {}]", self.measured, self.target, self.node);
        Row::new(self.about, value, self.facts).with("met", json!(self.met)).with("target", json!(self.target))
    }
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let (durable, relayed) = (Subject::durable(), Subject::relayed());
    let mut goals = Vec::new();
    if load.wants("idle") {
        goals.extend(idling(load).await?);
    }
    if load.wants("tls") {
        goals.push(encrypted(load).await?);
    }
    if load.wants("many") {
        goals.push(many(load).await?);
    }
    if load.wants("broadcast") {
        goals.push(broadcasting(load).await?);
    }
    if load.wants("unique") {
        goals.push(singly(load, "unique events/s, durable first", "20,400/s", 20_400.0, &durable).await?);
    }
    if load.wants("relayed") {
        goals.push(singly(load, "unique events/s, relayed", "51,000/s", 51_000.0, &relayed).await?);
    }
    if load.wants("storm") {
        goals.push(storming(load).await?);
    }
    if load.wants("first") {
        goals.push(firstly(load).await?);
    }
    if load.wants("stall") {
        goals.push(pinging(load, "worst stall, pinging, relayed", &relayed).await?);
    }
    if load.wants("stall-durable") {
        goals.push(pinging(load, "worst stall, pinging, durable", &durable).await?);
    }
    if load.wants("slow") {
        goals.extend(stalling(load).await?);
    }
    if load.wants("frames") {
        goals.push(picturing(load).await?);
    }
    Ok(goals.into_iter().map(Goal::row).collect())
}

async fn idling(load: &Load) -> Result<[Goal; 3]> {
    let idle = idle::house(load, 10_000, Duration::from_secs(60)).await?;
    Ok([
        Goal {
            about: "memory of an idle connection, of 10,000",
            node: "6.9 KB",
            target: "1.5 KB",
            measured: format!("{:.2} KB", idle.each() / 1e3),
            met: Some(idle.each() <= 1_500.0),
            facts: json!({"bytes_each": idle.each()}),
        },
        Goal {
            about: "memory of the server with them",
            node: "135 MB",
            target: "30 MB",
            measured: format!(
                "{:.1} MB, {:.1} MB of it its own ({:.1} MB before)",
                megabytes(idle.with),
                megabytes(idle.own.1),
                megabytes(idle.base)
            ),
            met: Some(megabytes(idle.with) <= 30.0),
            facts: json!({"bytes": idle.with, "own_bytes": idle.own.1, "bytes_before": idle.base}),
        },
        Goal {
            about: "CPU, 10,000 idle connections",
            node: "8 % claimed",
            target: "1 %",
            measured: format!("{:.2} %", idle.cpu * 100.0),
            met: Some(idle.cpu <= 0.01),
            facts: json!({"cores": idle.cpu}),
        },
    ])
}

async fn encrypted(load: &Load) -> Result<Goal> {
    let idle = idle::house(&Load { tls: true, ..load.clone() }, 10_000, Duration::from_secs(60)).await?;
    Ok(Goal {
        about: "the same 10,000 over TLS",
        node: "not measured",
        target: "printed",
        measured: tls::text(&idle),
        met: None,
        facts: tls::facts(&idle),
    })
}

async fn many(load: &Load) -> Result<Goal> {
    let idle = idle::house(load, 19_000, Duration::from_secs(2)).await?;
    Ok(Goal {
        about: "19,000 connections in one process",
        node: "193 MB",
        target: "45 MB",
        measured: format!("{:.1} MB", megabytes(idle.with)),
        met: Some(megabytes(idle.with) <= 45.0),
        facts: json!({"bytes": idle.with}),
    })
}

async fn broadcasting(load: &Load) -> Result<Goal> {
    let mut stand = Stand::start(load, &Subject::durable(), Shape::broadcast(1_000)).await?;
    let rates = [400.0, 800.0, 1_050.0, 1_300.0, 1_600.0, 2_000.0, 2_500.0, 3_000.0];
    let best = stand.highest(&rates).await?;
    let rate = best.as_ref().map_or(0.0, super::stand::Ran::delivered);
    Ok(Goal {
        about: "broadcast deliveries/s, 1,000 watchers",
        node: "25 K",
        target: "1 M with p99 < 100 ms",
        measured: format!(
            "{} (p99 {} ms, {:.2} µs of CPU each)",
            grouped(rate as u64),
            best.as_ref().map_or_else(|| "-".to_owned(), |best| short(best.p99())),
            best.as_ref().map_or(f64::NAN, |best| best.cpu * 1e6 / best.tally.counts.received as f64)
        ),
        met: Some(rate >= 1e6),
        facts: best.map_or_else(|| json!({}), |best| latency_facts(&best.tally.latency)),
    }
    .with_rate(rate))
}

impl Goal {
    fn with_rate(mut self, rate: f64) -> Self {
        self.facts["rate"] = json!(rate);
        self
    }
}

async fn singly(
    load: &Load,
    about: &'static str,
    target: &'static str,
    wanted: f64,
    subject: &Subject,
) -> Result<Goal> {
    let mut stand = Stand::start(load, subject, Shape::unique(10_000)).await?;
    let best = stand.highest(&unique::RATES).await?;
    let best = best.context("not even the first rate was held")?;
    let rate = best.published();
    Ok(Goal {
        about,
        node: "15-17 K, not durable",
        target,
        measured: format!(
            "{}/s (p50 {}, p99 {} ms, {:.0} µs of CPU each)",
            grouped(rate as u64),
            at(&best.tally.latency, 0.5),
            short(best.p99()),
            best.cpu * 1e6 / best.sent as f64
        ),
        met: Some(rate >= wanted),
        facts: latency_facts(&best.tally.latency),
    }
    .with_rate(rate))
}

async fn storming(load: &Load) -> Result<Goal> {
    let storm = storm::run(load, &Subject::durable(), 10_000).await?;
    let seconds = storm.took.as_secs_f64();
    Ok(Goal {
        about: "10,000 drop and come back",
        node: "13-33 s",
        target: "2 s",
        measured: format!("{} s until all caught up ({} s of CPU)", short(seconds), short(storm.cpu)),
        met: Some(seconds <= 2.0),
        facts: json!({"seconds": seconds, "cpu_seconds": storm.cpu, "bytes": storm.bytes}),
    })
}

async fn firstly(load: &Load) -> Result<Goal> {
    let found = first::run(load).await?;
    let p99 = |first: &first::First| first.whole.percentile(0.99).unwrap_or(f64::INFINITY);
    let texts: Vec<_> = found.iter().map(|first| format!("{} {} ms", first.name, short(p99(first)))).collect();
    let facts = found.iter().map(|first| (first.name.to_owned(), latency_facts(&first.whole)));
    Ok(Goal {
        about: "submit to a worker's first event on screen, p99",
        node: "not measured",
        target: "50 ms, relaxed and relay",
        measured: texts.join(" · "),
        met: Some(found.iter().filter(|first| first.name != "durable").all(|first| p99(first) < 50.0)),
        facts: Value::Object(facts.collect()),
    })
}

async fn pinging(load: &Load, about: &'static str, subject: &Subject) -> Result<Goal> {
    let mut stand = Stand::start(load, subject, Shape::unique(10_000)).await?;
    let ran = stand.run(PINGED_RATE, PINGED).await?;
    ran.check()?;
    let worst = ran.tally.latency.max();
    Ok(Goal {
        about,
        node: "230 ms",
        target: "20 ms",
        measured: format!(
            "{} ms at 1,000/s for a minute (p50 {}, p99.9 {} ms; the bench itself was {} ms behind at worst)",
            short(worst),
            at(&ran.tally.latency, 0.5),
            at(&ran.tally.latency, 0.999),
            short(ran.behind_max_ms)
        ),
        met: Some(worst <= 20.0),
        facts: latency_facts(&ran.tally.latency),
    })
}

async fn stalling(load: &Load) -> Result<[Goal; 2]> {
    let slow = slow::run(&Load { watchers: 1_000, rate: None, ..load.clone() }).await?;
    let more = slow.bytes_more / 1e6;
    let ratio = slow.p99_ratio().context("latency")?;
    Ok([
        Goal {
            about: "100 stalled readers: memory",
            node: "grows without bound",
            target: "10 MB more",
            measured: format!(
                "{more:+.1} MB; then {} events in order, {} s",
                grouped(slow.behind),
                short(slow.catching_up)
            ),
            met: Some(more < 10.0),
            facts: json!({"megabytes_more": more, "behind": slow.behind}),
        },
        Goal {
            about: "100 stalled readers: the 1,000 others",
            node: "not measured",
            target: "p99 within 1.2 times",
            measured: format!("p99 {} times", short(ratio)),
            met: Some(ratio <= 1.2),
            facts: json!({"ratio": ratio}),
        },
    ])
}

async fn picturing(load: &Load) -> Result<Goal> {
    let frames = frames::run(&Load { watchers: 1_000, ..load.clone() }).await?;
    let (late, each) = (frames.latest_behind_ms(), frames.micros());
    Ok(Goal {
        about: "frames: 1,000 watchers, 10 fps of 20 KB",
        node: "not measured",
        target: "no event 50 ms late",
        measured: format!("latest event {} ms late; {} µs of CPU a frame", short(late), short(each)),
        met: Some(late <= 50.0),
        facts: json!({"latest_behind_ms": late, "microseconds": each}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_without_an_aim_is_neither_met_nor_missed() {
        let row = |met| {
            Goal { about: "a", node: "b", target: "c", measured: "1 MB".to_owned(), met, facts: json!({}) }.row().value
        };
        assert_eq!(row(None), "printed  1 MB  [target c; Node b]");
        assert_eq!(row(Some(true)), "met      1 MB  [target c; Node b]");
        assert_eq!(row(Some(false)), "NOT MET  1 MB  [target c; Node b]");
    }
}
