//! What connections cost that do nothing.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    crew::{Crew, SEATS_MAX},
    house::House,
    load::orders::{Order, Seat},
    process,
    rows::{grouped, megabytes, short},
    target::{Follow, Target},
};

/// Connections opened at once, below any listen backlog.
const AT_ONCE: usize = 64;
/// The idle server's processor time is watched six times as long as a steady load, and for as long as two pings take at most: at
/// five seconds a load and more each connection is pinged.
const WATCHED_MAX: Duration = Duration::from_secs(60);
/// Time for a server to notice that ten thousand are gone.
const GONE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    /// Memory before and with the connections, in bytes; of the server alone, then of what stands beside it.
    pub(crate) base: u64,
    pub(crate) with: u64,
    pub(crate) beside: u64,
    /// The server's own memory of it, before and with them.
    pub(crate) own: (u64, u64),
    /// Share of a core.
    pub(crate) cpu: f64,
    /// Connecting and authenticating all.
    pub(crate) opening: Duration,
    /// Processor time of the server for that, in seconds.
    pub(crate) opening_cpu: f64,
    /// Over TLS: all drop and come back, with the tickets they were given.
    pub(crate) back: Option<Back>,
}

/// The same connections once more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Back {
    /// How many handshakes were short.
    pub(crate) resumed: usize,
    pub(crate) took: Duration,
    /// Processor time of the server, in seconds.
    pub(crate) cpu: f64,
}

impl Idle {
    /// Connections that were opened and authenticated in a second.
    pub(crate) fn opened_per_second(&self) -> f64 {
        self.connections as f64 / self.opening.as_secs_f64().max(f64::EPSILON)
    }

    /// Microseconds of the server's processor time for that, each.
    pub(crate) fn opening_micros(&self) -> f64 {
        self.opening_cpu * 1e6 / self.connections.max(1) as f64
    }

    /// Bytes of one connection, of the server's own memory.
    pub(crate) fn each(&self) -> f64 {
        self.own.1.saturating_sub(self.own.0) as f64 / self.connections.max(1) as f64
    }
}

/// For how long an idle server is watched.
pub(crate) fn watched(load: &Load) -> Duration {
    (load.duration() * 6).min(WATCHED_MAX)
}

/// Opens connections to servers of ours, each of a user of its own; more than a process may hold are spread over several.
pub(crate) async fn house(load: &Load, connections: usize, watched: Duration) -> Result<Idle> {
    let mut houses = Vec::new();
    for _ in 0..connections.div_ceil(SEATS_MAX).max(1) {
        houses.push(House::start(load).await?);
    }
    let mut plans = Vec::new();
    let mut pids = Vec::new();
    for (at, house) in houses.iter().enumerate() {
        let target = Target::of_house(house)?;
        let count = connections / houses.len() + usize::from(at < connections % houses.len());
        let seat = |user| Ok(Seat { token: house.mint(&format!("u{user}"))?, ..Seat::default() });
        let seats: Vec<_> = (0..count).map(seat).collect::<Result<_>>()?;
        plans.push(target.plan(Follow::Nothing, seats));
        pids.extend(target.processes);
    }
    look(load, plans, &pids, &[], Watch { lasts: watched, comes_back: load.tls }).await
}

/// The same of another server, which runs already.
pub(crate) async fn peer(load: &Load, target: &Target, connections: usize, watched: Duration) -> Result<Idle> {
    let plan = target.plan(Follow::Nothing, target.seats(connections)?);
    look(load, vec![plan], &target.processes, &target.beside, Watch { lasts: watched, comes_back: false }).await
}

/// For how long idle ones are watched, and whether they come back after that.
#[derive(Debug, Clone, Copy)]
struct Watch {
    lasts: Duration,
    comes_back: bool,
}

async fn look(
    load: &Load,
    plans: Vec<super::load::orders::Plan>,
    pids: &[u32],
    beside: &[u32],
    watch: Watch,
) -> Result<Idle> {
    let connections = plans.iter().map(|plan| plan.seats.len()).sum();
    let (base, own_base) = (process::memory(pids)?, process::own_memory(pids)?);
    let mut crew = Crew::start(plans, load.load_core).await?;
    let before = process::processor_seconds(pids)?;
    let opening = crew.open(AT_ONCE, 0, Duration::from_secs(120)).await?;
    let opening_cpu = process::processor_seconds(pids)? - before;
    // What connecting needed and idling does not is given back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = process::processor_seconds(pids)?;
    tokio::time::sleep(watch.lasts).await;
    let cpu = (process::processor_seconds(pids)? - before) / watch.lasts.as_secs_f64();
    let (with, beside) = (process::memory(pids)?, process::memory(beside)?);
    let own = (own_base, process::own_memory(pids)?);
    let back = if watch.comes_back { Some(come_back(&mut crew, pids).await?) } else { None };
    Ok(Idle { connections, base, with, beside, own, cpu, opening, opening_cpu, back })
}

/// Everybody drops and comes back.
async fn come_back(crew: &mut Crew, pids: &[u32]) -> Result<Back> {
    crew.tell(&Order::Drop).await?;
    crew.report().await?;
    tokio::time::sleep(GONE).await;
    let before = process::processor_seconds(pids)?;
    let took = crew.open(AT_ONCE, 0, Duration::from_secs(120)).await?;
    let cpu = process::processor_seconds(pids)? - before;
    Ok(Back { resumed: crew.report().await?.counts.resumed, took, cpu })
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let idle = house(load, load.connections, watched(load)).await?;
    let servers = load.connections.div_ceil(SEATS_MAX).max(1);
    let of = if servers > 1 { format!(" of {servers} servers") } else { String::new() };
    Ok(vec![
        Row::new(
            &format!("idle: memory of the server{of} alone"),
            format!("{:.1} MB", megabytes(idle.base)),
            json!({"bytes": idle.base}),
        ),
        Row::new(
            &format!("idle: with {} connections", grouped(load.connections as u64)),
            format!(
                "{:.1} MB, {} bytes each of {:.1} MB of its own",
                megabytes(idle.with),
                grouped(idle.each() as u64),
                megabytes(idle.own.1)
            ),
            json!({"bytes": idle.with, "own_bytes": idle.own.1, "bytes_each": idle.each(), "connections": idle.connections}),
        ),
        Row::new(
            "idle: connecting and authenticating them",
            format!(
                "{} s, {} a second, {:.0} µs of server CPU each",
                short(idle.opening.as_secs_f64()),
                grouped(idle.opened_per_second() as u64),
                idle.opening_micros()
            ),
            json!({"seconds": idle.opening.as_secs_f64(), "microseconds": idle.opening_micros()}),
        ),
        Row::new(
            "idle: server CPU, pings included",
            format!("{:.2} % of a core", idle.cpu * 100.0),
            json!({"cores": idle.cpu}),
        ),
    ])
}
