//! Many events, while server, workers and watchers are killed and come back: nothing of what was committed is lost to a
//! watcher, and what reaches a socket does so soon. `EVENTS=10000000` is the long one; `SEED` plays its blows again.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing shall fail where it looks")]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{Server, Socket, client, program::token, watch::is_terminal};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

/// As many as the founding figures speak of.
const WORKERS: usize = 12;
/// Owners, each with a watcher and one generation at a time: as many as there are workers.
const OWNERS: usize = WORKERS;
/// Events without another wish: some seconds.
const EVENTS: u64 = 6_000;
/// Lines of log in each of the two stages: a generation has some 200 events.
const LINES: usize = 100;
/// A worker's kill or a watcher's, in turn with the server's.
const BLOWS: usize = 3;
/// What was committed so long after a blow, or before it, is not "outside restarts".
const CALM: Duration = Duration::from_secs(6);
/// Longest wait for one generation, restarts included.
const PATIENCE: Duration = Duration::from_secs(180);
/// Before another try to reach the server.
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
    enough: AtomicBool,
    /// Counts the blows to watchers: one drops its connection when it rises.
    drops: watch::Receiver<u64>,
    /// When the last blow to the server or a worker fell, in milliseconds since 1970.
    blown_at: AtomicU64,
}

/// A worker process that dies with the test.
struct Worker(Child);

impl Worker {
    fn start(url: &str, n: usize, log: &Path) -> Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_stage-worker"))
            .args([url, &format!("w{n}")])
            .arg(log)
            .args(["0", "0", &LINES.to_string()])
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
async fn whoever_restarts_no_committed_event_is_lost_to_its_watcher() -> Result<()> {
    let (wanted, mut dice) = (number("EVENTS").unwrap_or(EVENTS), number("SEED").unwrap_or_else(now_ms));
    println!("SEED={dice}");
    let folder = tempfile::tempdir()?;
    let (config, log) = (folder.path().join("rushes.toml"), folder.path().join("log"));
    std::fs::write(&config, PIPELINE)?;
    let mut server = Server::start_with(&[("RUSHES_CONFIG", config.to_str().unwrap())])?;
    let mut workers = (0..WORKERS).map(|n| Worker::start(&server.url, n, &log)).collect::<Result<Vec<_>>>()?;
    let (drop_one, drops) = watch::channel(0);
    let shared = Arc::new(Shared {
        url: server.url.clone(),
        seen: AtomicU64::new(0),
        enough: AtomicBool::new(false),
        drops,
        blown_at: AtomicU64::new(now_ms()),
    });
    let began = Instant::now();
    let mut watchers = JoinSet::new();
    for n in 0..OWNERS {
        watchers.spawn(watch_all(Arc::clone(&shared), format!("owner{n}")));
    }
    // As many rounds of blows as leave half of the time calm, three at least.
    let mut blows = 0;
    while shared.seen.load(Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ensure!(watchers.try_join_next().is_none(), "a watcher ended before the rest");
        let due = blows < BLOWS || now_ms() > shared.blown_at.load(Relaxed) + 4 * CALM.as_millis() as u64;
        if !due || shared.seen.load(Relaxed) < wanted * blows.min(BLOWS) as u64 / (BLOWS as u64 + 1) {
            continue;
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(dice >> 33)? % WORKERS;
        shared.blown_at.store(now_ms(), Relaxed);
        match blows % 3 {
            0 => workers[at] = Worker::start(&server.url, at, &log)?,
            1 => drop_one.send_modify(|count| *count += 1),
            _ => {
                server.kill();
                server.start_again()?;
            }
        }
        shared.blown_at.store(now_ms(), Relaxed);
        blows += 1;
    }
    let took = began.elapsed();
    shared.enough.store(true, Relaxed);
    let (mut calm_ms, mut generations) = (Vec::new(), 0);
    while let Some(ended) = watchers.join_next().await {
        let (own, count) = ended??;
        calm_ms.extend(own);
        generations += count;
    }
    report(shared.seen.load(Relaxed), generations, blows, took, calm_ms);
    Ok(())
}

fn report(seen: u64, generations: u64, blows: usize, took: Duration, mut calm_ms: Vec<u64>) {
    calm_ms.sort_unstable();
    let at = |part: usize| calm_ms.get(calm_ms.len() * part / 100).copied();
    let an_hour = seen as f64 / took.as_secs_f64() * 3_600.0;
    println!(
        "{seen} events of {generations} generations in {:.1} s through {blows} blows; lost: 0",
        took.as_secs_f64()
    );
    println!(
        "commit to socket outside restarts: p50 {:?} ms, p99 {:?} ms of {} events (wanted: 120 ms at most)",
        at(50),
        at(99),
        calm_ms.len()
    );
    println!("workers for a million events an hour: {:.2} (wanted: 12 at most)", WORKERS as f64 * 1e6 / an_hour);
}

/// One generation after the other, each watched from its first event to its end. Answers the latencies outside of
/// restarts, and how many generations there were.
async fn watch_all(shared: Arc<Shared>, user: String) -> Result<(Vec<u64>, u64)> {
    let (mut calm_ms, mut generations) = (Vec::new(), 0);
    while !shared.enough.load(Relaxed) {
        let id = submit(&shared.url, &user, generations).await?;
        let (mut position, mut expected, mut ended) = ("start".to_owned(), 1, false);
        let whole = async {
            while !ended {
                let round = follow(&shared, &user, &id, &mut position, &mut expected, &mut ended, &mut calm_ms).await;
                if let Err(error) = round
                    && error.is::<Lost>()
                {
                    return Err(error);
                }
                if !ended {
                    tokio::time::sleep(AWAY).await;
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, whole).await.with_context(|| format!("{id} does not end"))??;
        generations += 1;
    }
    Ok((calm_ms, generations))
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

/// A sequence that is not the next one.
#[derive(Debug)]
struct Lost(String);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

/// One connection, until the end of the generation or of the connection.
async fn follow(
    shared: &Shared,
    user: &str,
    id: &str,
    position: &mut String,
    expected: &mut u64,
    ended: &mut bool,
    calm_ms: &mut Vec<u64>,
) -> Result<()> {
    let mut drops = shared.drops.clone();
    drops.mark_unchanged();
    let mut socket = Socket::open(&shared.url, "/v1/live", Some(&token(user, Role::User))).await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": position.as_str()})).await?;
    loop {
        let message = tokio::select! {
            _ = drops.changed() => anyhow::bail!("dropped on purpose"),
            message = socket.message() => message?,
        };
        if message["type"] != "status_update" || message["data"]["ephemeral"] == true {
            continue;
        }
        let event = &message["data"];
        if event["sequence"] != json!(*expected) {
            return Err(Lost(format!("{id}: {} where {expected} comes next", event["sequence"])).into());
        }
        *expected += 1;
        message["position"].as_str().context("a position")?.clone_into(position);
        shared.seen.fetch_add(1, Relaxed);
        let (at, now) = (event["timestamp"].as_u64().context("a time")?, now_ms());
        if at > shared.blown_at.load(Relaxed) + CALM.as_millis() as u64 {
            calm_ms.push(now.saturating_sub(at));
        }
        if is_terminal(event) {
            ensure!(event["type"] == "complete", Lost(format!("{id} ended otherwise: {event}")));
            *ended = true;
            return Ok(());
        }
    }
}
