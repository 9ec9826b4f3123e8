//! Many events, while server, workers and watchers are killed and come back: what workers said reaches each watcher once and
//! in order, and what reaches a socket does so soon. `EVENTS=10000000` is the long one, and wants a release build of program
//! and test; `SEED` plays its blows again.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing shall fail where it looks")]

#[path = "endurance/judge.rs"]
mod judge;
#[path = "endurance/report.rs"]
mod report;

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use access::Role;
use anyhow::{Context, Result, ensure};
use judge::Judge;
use report::{Latencies, Report};
use rushes_tests::{Server, Watcher, client, program::token};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

/// As many as the founding figures speak of.
const WORKERS: usize = 12;
/// Owners, each with a watcher and one generation at a time: as many as there are workers.
const OWNERS: usize = WORKERS;
/// Events without another wish: some seconds.
const EVENTS: u64 = 6_000;
/// Lines of log in each of the two stages: a generation has some 200 events, and in the long form some 2,000.
const LINES: [usize; 2] = [100, 1_000];
/// A worker's kill, a cut of all watchers and the server's kill, in turn.
const BLOWS: u64 = 3;
/// What was committed so long after a blow, or before it, is not "outside restarts".
const CALM: Duration = Duration::from_secs(6);
/// Longest wait for one generation, restarts included.
const PATIENCE: Duration = Duration::from_secs(180);
/// Before another try to reach the server, and between two pages of a poll: what came meanwhile shares one.
const AWAY: Duration = Duration::from_millis(50);

const PIPELINE: &str = r#"
[lease]
silence = "5s"
after_close = "1s"
[breaker]
failures = "off"
[[pipeline]]
name = "chain"
stages = [{ name = "plan", pool = "gpu", retries = 50 }, { name = "draw", pool = "cpu", retries = 50 }]
"#;

/// What all watchers share.
struct Shared {
    url: String,
    seen: AtomicU64,
    generations: AtomicU64,
    enough: AtomicBool,
    /// Counts the cuts: each watcher drops its connection when it rises.
    cuts: watch::Receiver<u64>,
    /// When the last blow fell, in milliseconds since 1970.
    blown_at: AtomicU64,
    /// Of what sockets and streams saw outside of restarts.
    latencies: Latencies,
}

/// A worker process that dies with the test.
struct Worker(Child);

impl Worker {
    fn start(url: &str, n: usize, lines: usize) -> Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_line-worker"))
            .args([url, &format!("w{n}"), &lines.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting a worker")?;
        Ok(Self(child))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already dead is dead enough.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "events carry the machine's time, and are compared with it")]
fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_restarts_what_workers_said_reaches_each_watcher_once_and_in_order() -> Result<()> {
    let (wanted, mut dice) = (number("EVENTS").unwrap_or(EVENTS), number("SEED").unwrap_or_else(now_ms));
    println!("SEED={dice}");
    let lines = LINES[usize::from(wanted > EVENTS)];
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("rushes.toml");
    std::fs::write(&config, PIPELINE)?;
    let mut server = Server::start_with(&[("RUSHES_CONFIG", config.to_str().unwrap())])?;
    let mut workers = (0..WORKERS).map(|n| Worker::start(&server.url, n, lines)).collect::<Result<Vec<_>>>()?;
    let (cut, cuts) = watch::channel(0);
    let shared = Arc::new(Shared {
        url: server.url.clone(),
        seen: AtomicU64::new(0),
        generations: AtomicU64::new(0),
        enough: AtomicBool::new(false),
        cuts,
        blown_at: AtomicU64::new(now_ms()),
        latencies: Latencies::default(),
    });
    let mut watchers = JoinSet::new();
    for n in 0..OWNERS {
        watchers.spawn(watch_all(Arc::clone(&shared), n, lines));
    }
    let mut report = Report::start();
    // One of each, however short it is; then as many as leave three quarters of the time calm.
    let mut blows = 0;
    while shared.seen.load(Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(ended) = watchers.try_join_next() {
            ended??;
            anyhow::bail!("a watcher ended before the rest");
        }
        let seen = shared.seen.load(Relaxed);
        report.look(&shared, &server);
        let is_time = now_ms() > shared.blown_at.load(Relaxed) + 4 * CALM.as_millis() as u64;
        if !is_time && (blows >= BLOWS || seen < wanted * blows / (BLOWS + 1)) {
            continue;
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(dice >> 33)? % WORKERS;
        shared.blown_at.store(now_ms(), Relaxed);
        match blows % BLOWS {
            0 => {
                workers[at] = Worker::start(&server.url, at, lines)?;
                report.workers += 1;
            }
            1 => {
                cut.send_modify(|count| *count += 1);
                report.cuts += 1;
            }
            _ => {
                let killed = Instant::now();
                server.kill();
                let began = Instant::now();
                server.start_again()?;
                let took = began.elapsed();
                // Whatever the old one had sent was read while the new one started.
                report.restarted(killed, took, shared.seen.load(Relaxed));
            }
        }
        shared.blown_at.store(now_ms(), Relaxed);
        blows += 1;
    }
    shared.enough.store(true, Relaxed);
    while let Some(ended) = watchers.join_next().await {
        ended??;
    }
    let p99_ms = report.end(&shared, &server);
    // In a short run most of the time is near a blow, and in a debug build the server is slow.
    ensure!(wanted <= EVENTS || cfg!(debug_assertions) || p99_ms <= 120, "p99 of commit to socket is {p99_ms} ms");
    Ok(())
}

/// One generation after the other, each watched from its first event to its end, by each transport in turn over the owners.
async fn watch_all(shared: Arc<Shared>, n: usize, lines: usize) -> Result<()> {
    let (watcher, user) = (Watcher::ALL[n % Watcher::ALL.len()], format!("owner{n}"));
    for number in 0.. {
        if shared.enough.load(Relaxed) {
            break;
        }
        let id = submit(&shared.url, &user, number).await?;
        let mut judge = Judge::of(lines);
        tokio::time::timeout(PATIENCE, follow(&shared, watcher, &user, &id, &mut judge))
            .await
            .with_context(|| format!("{id} does not end"))?;
        if let Some(trouble) = judge.trouble {
            anyhow::bail!("{watcher:?} of {id}: {trouble}");
        }
        shared.generations.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// With a key, so that a repeat after the server's death makes no second.
async fn submit(url: &str, user: &str, n: u64) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let request = client().post(format!("{url}/v1/generations")).bearer_auth(token(user, Role::User));
        let request = request.header("idempotency-key", format!("{user}.{n}")).json(&json!({"pipeline": "chain"}));
        match request.send().await {
            Ok(answer) if answer.status() == 201 => {
                let body: Value = serde_json::from_str(&answer.text().await?)?;
                return Ok(body["generation"]["id"].as_str().context("an id")?.to_owned());
            }
            _ if Instant::now() > until => anyhow::bail!("{user} cannot submit"),
            _ => tokio::time::sleep(AWAY).await,
        }
    }
}

/// Connection after connection, until the judge has seen the end or something wrong.
async fn follow(shared: &Shared, watcher: Watcher, user: &str, id: &str, judge: &mut Judge) {
    let mut position = "start".to_owned();
    while !judge.ended && judge.trouble.is_none() {
        let mut cuts = shared.cuts.clone();
        cuts.mark_unchanged();
        let mut each = |event: Value| {
            judge.see(&event);
            shared.seen.fetch_add(1, Relaxed);
            let (at, now) = (event["timestamp"].as_u64().unwrap_or_default(), now_ms());
            // What a poll waits for between its pages says nothing of the server.
            if watcher != Watcher::Poll && at > shared.blown_at.load(Relaxed) + CALM.as_millis() as u64 {
                shared.latencies.note(now.saturating_sub(at));
            }
        };
        tokio::select! {
            _ = cuts.changed() => {}
            // Its end is the server's death, the end of the generation, or a page.
            _ = watcher.round(&shared.url, user, id, &mut position, &mut each) => {}
        }
        if !judge.ended {
            tokio::time::sleep(AWAY).await;
        }
    }
}
