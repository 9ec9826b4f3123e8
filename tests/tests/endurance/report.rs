//! What the run prints: a line a minute, and a table at its end.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rushes_tests::Server;

use crate::{Shared, WORKERS};

/// Between two lines.
const MINUTE: Duration = Duration::from_secs(60);
/// Latencies are counted by the millisecond up to here, and as this above: over ten times what is allowed.
const LATE_MS: usize = 2_000;

/// How many events took how many milliseconds.
pub(crate) struct Latencies([AtomicU64; LATE_MS + 1]);

impl Default for Latencies {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; LATE_MS + 1])
    }
}

impl Latencies {
    pub(crate) fn note(&self, ms: u64) {
        let at = usize::try_from(ms).map_or(LATE_MS, |ms| ms.min(LATE_MS));
        self.0[at].fetch_add(1, Relaxed);
    }

    /// What was noted since the last call.
    fn take(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.swap(0, Relaxed)).collect()
    }
}

/// The milliseconds below which such a part of them lies; 0 where there is none.
fn quantile(counts: &[u64], part: f64) -> usize {
    let wanted = (counts.iter().sum::<u64>() as f64 * part) as u64;
    let mut sum = 0;
    counts
        .iter()
        .position(|count| {
            sum += count;
            sum > wanted
        })
        .unwrap_or_default()
}

/// Of the whole run.
pub(crate) struct Report {
    began: Instant,
    minute: Instant,
    seen: u64,
    counts: Vec<u64>,
    /// Kills of workers.
    pub(crate) workers: u64,
    /// Cuts of all watchers.
    pub(crate) cuts: u64,
    /// How long the server took to listen again, each time.
    starts: Vec<Duration>,
    /// And from its kill until the next event reached a watcher: workers and watchers have to come back too.
    returns: Vec<Duration>,
    /// When the server was killed last, and what had been seen by then, until something more is.
    away: Option<(Instant, u64)>,
}

impl Report {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        let counts = vec![0; LATE_MS + 1];
        Self {
            began: now,
            minute: now,
            seen: 0,
            counts,
            workers: 0,
            cuts: 0,
            starts: Vec::new(),
            returns: Vec::new(),
            away: None,
        }
    }

    /// The server was killed then, took so long to start again, and so many events had been seen by then.
    pub(crate) fn restarted(&mut self, killed: Instant, took: Duration, seen: u64) {
        self.starts.push(took);
        self.away = Some((killed, seen));
    }

    /// Prints a line when a minute has passed.
    pub(crate) fn look(&mut self, shared: &Shared, server: &Server) {
        let passed = self.minute.elapsed();
        if let Some((killed, seen)) = self.away
            && shared.seen.load(Relaxed) > seen
        {
            self.returns.push(killed.elapsed());
            self.away = None;
        }
        if passed < MINUTE {
            return;
        }
        let (seen, counts) = (shared.seen.load(Relaxed), shared.latencies.take());
        println!(
            "{:>3.0} min {seen:>9} events, {:>5.0}/s, commit to socket p50 {} p99 {} ms; {}; server {}",
            self.began.elapsed().as_secs_f64() / 60.0,
            (seen - self.seen) as f64 / passed.as_secs_f64(),
            quantile(&counts, 0.5),
            quantile(&counts, 0.99),
            self.blows(),
            size(server),
        );
        self.add(&counts);
        (self.minute, self.seen) = (Instant::now(), seen);
    }

    fn blows(&self) -> String {
        let starts = &self.starts;
        let last = starts.last().map_or(0.0, Duration::as_secs_f64);
        format!(
            "killed {} workers, {} servers (last start {last:.2} s), cut {} times",
            self.workers,
            starts.len(),
            self.cuts
        )
    }

    fn add(&mut self, counts: &[u64]) {
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum += count;
        }
    }

    /// The table. Answers the p99 of commit to socket, in milliseconds.
    pub(crate) fn end(mut self, shared: &Shared, server: &Server) -> usize {
        self.add(&shared.latencies.take());
        let (seen, took) = (shared.seen.load(Relaxed), self.began.elapsed().as_secs_f64());
        let p99 = quantile(&self.counts, 0.99);
        let generations = shared.generations.load(Relaxed);
        println!("{seen} events of {generations} generations in {took:.1} s: {:.0}/s", seen as f64 / took);
        println!("lost, twice, out of order: 0");
        println!("{}", self.blows());
        println!("the server listens again after {}", span(&mut self.starts));
        println!("the next event reaches a watcher {} after its kill", span(&mut self.returns));
        println!(
            "commit to socket outside restarts: p50 {}, p99 {p99}, longest {} ms of {} events (wanted: p99 120 ms at most)",
            quantile(&self.counts, 0.5),
            self.counts.iter().rposition(|count| *count > 0).unwrap_or_default(),
            self.counts.iter().sum::<u64>(),
        );
        // How many workers of this kind it takes to make a million events within an hour.
        println!(
            "workers for a million events an hour: {:.2} (wanted: 12 at most)",
            WORKERS as f64 * 1e6 * took / 3_600.0 / seen as f64
        );
        println!("server {}, {:.0} bytes of disk an event", size(server), disk(server.data()) as f64 / seen as f64);
        p99
    }
}

/// The first, the last, the middle and the longest of them.
fn span(all: &mut [Duration]) -> String {
    let (Some(first), Some(last)) = (all.first().copied(), all.last().copied()) else { return "nothing".to_owned() };
    all.sort_unstable();
    let (middle, longest) = (all[all.len() / 2], all[all.len() - 1]);
    format!("{first:.2?} (first), {last:.2?} (last), {middle:.2?} (middle), {longest:.2?} (longest)")
}

/// Memory and disk; no memory where the system has no `/proc`.
fn size(server: &Server) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    format!("{} MB resident, {} MB on disk", resident.unwrap_or_default() / 1_000, disk(server.data()) / 1_000_000)
}

/// Bytes of all files below; what vanishes meanwhile counts nothing.
fn disk(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
