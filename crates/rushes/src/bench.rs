//! `rushes bench`: what a server does on this machine. It starts servers of its own, in other processes, on temporary
//! folders; nothing that runs already is touched. The load runs in processes of its own too.
//!
//! ```text
//! bench/load.rs       a process of the load: thousands of connections, each checked for loss, doubles and order
//! bench/crew.rs       the processes of the load, added up
//! bench/house.rs      the server under test
//! bench/target.rs     any server under test, and how its dialect gets a connection ready
//! bench/workers.rs    workers of ours that only publish      bench/publish.rs  and whoever publishes to other servers
//! bench/stand.rs      a server with its load connected: publishes at a rate and says what came of it
//! bench/climb.rs      rates that rise until one is not held
//! bench/idle.rs unique.rs broadcast.rs storm.rs slow.rs frames.rs submit.rs first.rs transports.rs tls.rs growth.rs   one measurement each
//! bench/founding.rs   the first document's own table          bench/goals.rs   what this project aims at, met or not
//! bench/peers.rs      us beside other servers
//! bench/mark.rs histogram.rs frame.rs wire.rs peer.rs process.rs clock.rs   small parts
//! bench/rows.rs plot.rs   tables, JSON, SVG
//! ```
//! Figures are for comparison within one run on one machine; tests never read them.

mod broadcast;
mod climb;
mod clock;
mod crew;
mod first;
mod founding;
mod frame;
mod frames;
mod goals;
mod growth;
mod histogram;
mod house;
mod idle;
mod load;
mod mark;
mod peer;
mod peers;
mod plot;
mod process;
mod publish;
mod rows;
mod slow;
mod stand;
mod storm;
mod submit;
mod target;
mod tls;
mod transports;
mod unique;
mod wire;
mod workers;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;

pub(crate) use rows::Row;
use stand::Subject;

/// Which measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Idle, unique, submit, broadcast and storm, one after another.
    All,
    /// Memory and time that connections cost which do nothing.
    Idle,
    /// Every connection watches a generation of its own: latency, and the highest rate.
    Unique,
    /// One generation, many watchers: deliveries a second.
    Broadcast,
    /// Everybody drops and comes back at once.
    Storm,
    /// Readers that stall beside readers that do not.
    Slow,
    /// Previews beside events.
    Frames,
    /// Submit to first status.
    Submit,
    /// Submit to the first thing its worker says, on the screen: durable, relaxed and relayed.
    First,
    /// The same load over WebSocket, SSE and long-poll: latency, and memory per connection.
    Transports,
    /// Ten thousand over TLS: memory per connection, handshakes a second, and what encryption adds to an event.
    Tls,
    /// How cost grows with connections, generations and rate.
    Growth,
    /// At 1,000 to 50,000 connections, row by row: what is stated of the server that the first dialect comes from, and this one.
    Founding,
    /// What this project aims at, each row with its target, met or not.
    Goals,
    /// Us beside the servers that `--peers` names; `bench/peers/run` starts them.
    Peers,
    /// A process of the load; the bench starts these.
    #[value(hide = true)]
    Load,
}

impl Mode {
    /// Do its events wait for what it is told? An option that changes nothing is refused.
    fn takes(self, wait: Wait) -> Result<()> {
        let broadcasts = matches!(self, Self::All | Self::Broadcast);
        ensure!(
            broadcasts || matches!(self, Self::Unique | Self::Submit | Self::Storm),
            "--durability is taken by all, unique, submit, broadcast and storm; the other modes have their own: leave it out"
        );
        ensure!(
            !(broadcasts && wait == Wait::Relay),
            "--durability relay is taken by unique, submit and storm: of relayed progress a watcher sees the latest, and a \
             broadcast counts every delivery"
        );
        Ok(())
    }
}

/// What commits wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// The disk, before anybody sees an event.
    #[default]
    Strict,
    /// The commit, not the disk.
    Relaxed,
    /// Nothing: progress is shown and not stored.
    Relay,
}

impl Wait {
    const fn word(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
            Self::Relay => "relay",
        }
    }
}

/// How hard, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Seconds each steady load lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections; each takes a descriptor in the load and one in the server
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Watchers of one generation
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Events a second; without it, rates are climbed where the measurement is about them
    #[arg(long)]
    rate: Option<f64>,
    /// What commits wait for in `all`, `unique`, `submit`, `broadcast` and `storm`; `strict` unless told otherwise
    #[arg(long, value_enum)]
    durability: Option<Wait>,
    /// Pin the server to this core
    #[arg(long)]
    pin: Option<usize>,
    /// Pin the load to this core
    #[arg(long, value_name = "CORE", requires = "pin")]
    load_core: Option<usize>,
    /// Speak TLS, with a certificate made for the run; servers beside ours stay as they are
    #[arg(long)]
    tls: bool,
    /// Only these parts, apart by commas: of `founding` numbers of connections, of `peers` names, of `goals` rows, of `growth`
    /// connections, generations, rates or watchers, of `tls` idle or events
    #[arg(long)]
    only: Option<String>,
    /// The servers to measure beside us, as `bench/peers/run` writes them
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
}

impl Load {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.clamp(1, 600))
    }

    /// Our server, with what its commits wait for.
    fn subject(&self) -> Subject {
        Subject::House(self.durability.unwrap_or_default())
    }

    /// Is this part wanted?
    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only.split(',').any(|one| one == part))
    }
}

/// Refuses options that `mode` would pass over.
///
/// # Errors
/// Says which modes take them.
pub(crate) fn check(mode: Mode, load: &Load) -> Result<()> {
    load.durability.map_or(Ok(()), |wait| mode.takes(wait))
}

/// Runs the measurements, each against a fresh server.
///
/// # Errors
/// When a server does not start, or a delivery is lost, doubled or late.
pub(crate) async fn measure(mode: Mode, load: &Load) -> Result<Vec<Row>> {
    if let Some(core) = load.load_core {
        pin_here(core)?;
    }
    match mode {
        Mode::All => {
            let mut rows = idle::measure(load).await?;
            rows.extend(unique::measure(load).await?);
            rows.extend(submit::measure(load).await?);
            rows.extend(broadcast::measure(load).await?);
            rows.extend(storm::measure(load).await?);
            Ok(rows)
        }
        Mode::Idle => idle::measure(load).await,
        Mode::Unique => unique::measure(load).await,
        Mode::Broadcast => broadcast::measure(load).await,
        Mode::Storm => storm::measure(load).await,
        Mode::Slow => slow::measure(load).await,
        Mode::Frames => frames::measure(load).await,
        Mode::Submit => submit::measure(load).await,
        Mode::First => first::measure(load).await,
        Mode::Transports => transports::measure(load).await,
        Mode::Tls => tls::measure(load).await,
        Mode::Growth => growth::measure(load).await,
        Mode::Founding => founding::measure(load).await,
        Mode::Goals => goals::measure(load).await,
        Mode::Peers => peers::measure(load).await,
        Mode::Load => {
            load::run().await?;
            Ok(Vec::new())
        }
    }
}

/// The publishers are part of the load.
fn pin_here(core: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    let done = std::process::Command::new("taskset").args(["-acp", &core.to_string(), &pid]).output();
    let done = done.context("pinning needs taskset")?;
    ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// What was measured, and where.
pub(crate) fn title(load: &Load) -> String {
    let pinned = load.pin.map_or_else(|| "not pinned".to_owned(), |core| format!("pinned to core {core}"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?.split_once(':')?.1.trim().to_owned();
        Some(line)
    });
    format!(
        "rushes {} · server {pinned} · load {} · {}",
        env!("CARGO_PKG_VERSION"),
        load.load_core.map_or_else(|| format!("on {cores} cores"), |core| format!("on core {core}")),
        model.unwrap_or_else(|| "unknown processor".to_owned())
    )
}

/// The rows for people.
pub(crate) fn table(about: &str, rows: &[Row]) -> String {
    format!("{about}\n{}", rows::table(rows))
}

/// The rows for programs.
pub(crate) fn json(about: &str, rows: &[Row]) -> String {
    json!({"about": about, "rows": rows::json(rows)}).to_string()
}

/// The rows that have percentiles, as a picture.
pub(crate) fn svg(about: &str, rows: &[Row]) -> Option<String> {
    plot::latencies(about, rows)
}

/// What [`json`] wrote: where it was measured, and the rows.
///
/// # Errors
/// When it is something else.
pub(crate) fn read(text: &str) -> Result<(String, Vec<Row>)> {
    let written: Written = serde_json::from_str(text).context("not what `--json` writes")?;
    Ok((written.about, written.rows))
}

#[derive(serde::Deserialize)]
struct Written {
    about: String,
    rows: Vec<Row>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_that_would_change_nothing_is_refused() {
        let taking = |wait: Wait| {
            let modes = Mode::value_variants().iter().filter(|mode| mode.takes(wait).is_ok());
            modes.copied().collect::<Vec<_>>()
        };
        use Mode::{All, Broadcast, Storm, Submit, Unique};
        assert_eq!(taking(Wait::Relaxed), [All, Unique, Broadcast, Storm, Submit]);
        assert_eq!(taking(Wait::Relay), [Unique, Storm, Submit]);
        let why = Mode::Idle.takes(Wait::Strict).unwrap_err().to_string();
        assert!(why.contains("all, unique, submit, broadcast and storm"), "{why}");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let rows = vec![Row::new("idle", "27.4 MB".to_owned(), json!({"bytes": 27_400_000}))];
        let (about, read) = read(&json("a machine", &rows)).unwrap();
        assert_eq!((about.as_str(), read), ("a machine", rows));
        assert!(super::read("[]").is_err());
    }
}
