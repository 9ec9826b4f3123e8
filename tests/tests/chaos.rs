//! Eight worker processes, one of them killed or frozen every few seconds: what was accepted ends once, its history is
//! dense, and nothing was written under an old fence. `CHAOS_SECONDS=120` goes on for so long; `SEED` plays one again.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing shall fail where it looks")]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rushes_tests::{PATIENCE, Server};
use serde_json::{Value, json};

const WORKERS: usize = 8;
/// As many as the issue of this wants, whatever time there is.
const GENERATIONS_MIN: usize = 200;
/// Without another wish it goes on for so long: some eight blows.
const SHORT: Duration = Duration::from_secs(20);
/// Between two blows.
const BLOW: Duration = Duration::from_millis(2_500);
/// Longer than the silence after which this server takes a lease away.
const FROZEN: Duration = Duration::from_millis(6_500);
/// Unfinished at once: enough for all slots, and for a queue.
const UNFINISHED: usize = 60;

const PIPELINE: &str = r#"
[lease]
silence = "5s"
after_close = "1s"
[breaker]
failures = "off"
[[pipeline]]
name = "chain"
stages = [
    { name = "plan", pool = "gpu", retries = 50 },
    { name = "draw", pool = "gpu", retries = 50 },
    { name = "encode", pool = "cpu", retries = 50 },
]
"#;

struct Worker {
    child: Child,
    frozen_until: Option<Instant>,
}

impl Worker {
    fn start(server: &Server, n: usize, log: &Path, longest_ms: u64) -> Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_stage-worker"))
            .args([server.url.as_str(), &format!("w{n}")])
            .arg(log)
            .args(["50", &longest_ms.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting a worker")?;
        Ok(Self { child, frozen_until: None })
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        anyhow::ensure!(Command::new("kill").args([signal, &pid]).status()?.success(), "kill {signal}");
        Ok(())
    }

    fn kill(&mut self) {
        // Already dead is dead enough.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn roll(dice: &mut u64, below: usize) -> usize {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*dice >> 33).unwrap() % below
}

#[tokio::test]
async fn whoever_is_killed_or_frozen_everything_ends_once_and_nothing_under_an_old_fence() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let long = number("CHAOS_SECONDS").map(Duration::from_secs);
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    let folder = tempfile::tempdir()?;
    let (config, log) = (folder.path().join("rushes.toml"), folder.path().join("log"));
    std::fs::write(&config, PIPELINE)?;
    let server = Server::start_with(&[("RUSHES_CONFIG", config.to_str().unwrap())])?;
    let longest_ms = if long.is_some() { 500 } else { 150 };
    let start = |n| Worker::start(&server, n, &log, longest_ms);
    let mut workers = (0..WORKERS).map(start).collect::<Result<Vec<_>>>()?;

    let (mut dice, began, mut submitted, mut ended, mut blow) = (seed, Instant::now(), Vec::new(), 0, Instant::now());
    let enough = long.unwrap_or(SHORT);
    let wanted = |submitted: usize| submitted < GENERATIONS_MIN || began.elapsed() < enough;
    while wanted(submitted.len()) || ended < submitted.len() {
        anyhow::ensure!(began.elapsed() < PATIENCE + enough, "{ended} of {} ended", submitted.len());
        while wanted(submitted.len()) && submitted.len() - ended < UNFINISHED {
            submitted.push(server.submit_this("ada", &json!({"pipeline": "chain"})).await?);
        }
        if blow.elapsed() >= BLOW && wanted(submitted.len()) {
            blow = Instant::now();
            let at = roll(&mut dice, WORKERS);
            if workers[at].frozen_until.is_none() {
                if roll(&mut dice, 2) == 0 {
                    workers[at].kill();
                    workers[at] = start(at)?;
                } else {
                    workers[at].signal("-STOP")?;
                    workers[at].frozen_until = Some(Instant::now() + FROZEN);
                }
            }
        }
        for worker in &mut workers {
            if worker.frozen_until.is_some_and(|until| until <= Instant::now()) {
                worker.signal("-CONT")?;
                worker.frozen_until = None;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        ended = count(&server, &["complete", "failed", "cancelled"]).await?;
    }
    println!("{} generations in {:.1} s", submitted.len(), began.elapsed().as_secs_f64());

    for id in &submitted {
        check(&server, id).await?;
    }
    assert_eq!(count(&server, &["complete"]).await?, submitted.len(), "with retries left, nothing fails");
    check_fences(&std::fs::read_to_string(&log)?);
    Ok(())
}

async fn count(server: &Server, ends: &[&str]) -> Result<usize> {
    let mut sum = 0.0;
    for end in ends {
        sum += server.metric(&format!("rushes_generations_{end}_total")).await?;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of some hundreds")]
    Ok(sum as usize)
}

/// Dense from 1, one terminal event, and nothing after it.
async fn check(server: &Server, id: &str) -> Result<()> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let after = events.len();
        let path = format!("/v1/generations/{id}/events?after={after}");
        let (status, page) = server.request("GET", &path, "ada", None).await?;
        anyhow::ensure!(status == 200, "{status} {page}");
        let more = page["events"].as_array().context("events")?.clone();
        if more.is_empty() {
            break;
        }
        events.extend(more);
    }
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], json!(n + 1), "{id} is dense");
        let is_end = ["complete", "failed", "cancelled"].contains(&event["type"].as_str().unwrap());
        assert_eq!(is_end, n + 1 == events.len(), "{id}: {} at {n}", event["type"]);
    }
    Ok(())
}

/// Of each generation the taken writes, in the order of its history, come under fences that never fall.
fn check_fences(log: &str) {
    let mut writes: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    let mut refused = 0;
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [generation, fence, sequence] = words[..] else { continue };
        match sequence.parse::<u64>() {
            Ok(sequence) => writes.entry(generation).or_default().push((sequence, fence.parse().unwrap())),
            Err(_) => refused += 1,
        }
    }
    for (generation, mut writes) in writes {
        writes.sort_unstable();
        assert!(writes.iter().map(|(_, fence)| fence).is_sorted(), "{generation}: {writes:?}");
    }
    println!("{refused} writes refused");
}
