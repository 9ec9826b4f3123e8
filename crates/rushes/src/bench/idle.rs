//! What connections cost that do nothing.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{
    Load, Row,
    crew::{Crew, SEATS_MAX},
    house::House,
    load::orders::Seat,
    process,
    rows::{grouped, megabytes, short},
    target::{Follow, Target},
};

/// Connections opened at once, below any listen backlog.
const AT_ONCE: usize = 64;
/// The idle server's processor time is watched for as long as two pings take, so that each connection is pinged.
pub(crate) const WATCHED: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    /// Memory before and with the connections, in bytes; of the server alone, then of what stands beside it.
    pub(crate) base: u64,
    pub(crate) with: u64,
    pub(crate) beside: u64,
    /// Share of a core.
    pub(crate) cpu: f64,
    /// Connecting and authenticating all.
    pub(crate) opening: Duration,
    /// Processor time of the server for that, in seconds.
    pub(crate) opening_cpu: f64,
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

    /// Bytes of one connection.
    pub(crate) fn each(&self) -> f64 {
        self.with.saturating_sub(self.base) as f64 / self.connections.max(1) as f64
    }
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
    look(load, plans, &pids, &[], watched).await
}

/// The same of another server, which runs already.
pub(crate) async fn peer(load: &Load, target: &Target, connections: usize, watched: Duration) -> Result<Idle> {
    let plan = target.plan(Follow::Nothing, target.seats(connections)?);
    look(load, vec![plan], &target.processes, &target.beside, watched).await
}

async fn look(
    load: &Load,
    plans: Vec<super::load::orders::Plan>,
    pids: &[u32],
    beside: &[u32],
    watched: Duration,
) -> Result<Idle> {
    let connections = plans.iter().map(|plan| plan.seats.len()).sum();
    let base = process::memory(pids)?;
    let mut crew = Crew::start(plans, load.load_core).await?;
    let before = process::processor_seconds(pids)?;
    let opening = crew.open(AT_ONCE, 0, Duration::from_secs(120)).await?;
    let opening_cpu = process::processor_seconds(pids)? - before;
    // What connecting needed and idling does not is given back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = process::processor_seconds(pids)?;
    tokio::time::sleep(watched).await;
    let cpu = (process::processor_seconds(pids)? - before) / watched.as_secs_f64();
    let (with, beside) = (process::memory(pids)?, process::memory(beside)?);
    Ok(Idle { connections, base, with, beside, cpu, opening, opening_cpu })
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let idle = house(load, load.connections, WATCHED).await?;
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
            format!("{:.1} MB, {} bytes each", megabytes(idle.with), grouped(idle.each() as u64)),
            json!({"bytes": idle.with, "bytes_each": idle.each(), "connections": idle.connections}),
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
