//! A worker as a process of its own that waits instead of drawing: what is tested with it is who gets which run, and what
//! becomes of it when the process is killed or frozen. Each stage takes as long as it is told.
//!
//! `stage-worker URL NAME LOG SHORTEST LONGEST [LINES]`: milliseconds of a stage, and how many lines of log it says in each. Every answered message of a run is written to LOG
//! as `generation fence sequence` when it was taken, and as `generation fence refused` when it was not.

use std::{io::Write as _, time::Duration};

use access::Role;
use anyhow::{Context, Result};
use rushes_tests::{Heard, Socket, program::token};
use serde_json::{Value, json};

/// As the protocol asks.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Before another try to reach the server.
const AWAY: Duration = Duration::from_millis(200);

struct Worker {
    url: String,
    name: String,
    instance: String,
    log: std::fs::File,
    shortest_ms: u64,
    longest_ms: u64,
    lines: usize,
    dice: u64,
    said: u64,
}

/// A run it holds.
struct Run {
    lease: String,
    fence: u64,
    generation: String,
    stages: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, log, shortest, longest, lines @ ..] = arguments.as_slice() else {
        anyhow::bail!("stage-worker URL NAME LOG SHORTEST LONGEST [LINES]")
    };
    let lines = lines.first().map_or(Ok(0), |lines| lines.parse())?;
    let instance = std::process::id().to_string();
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let dice = u64::from(std::process::id());
    let (shortest_ms, longest_ms) = (shortest.parse()?, longest.parse()?);
    let mut worker =
        Worker { url: url.clone(), name: name.clone(), instance, log, shortest_ms, longest_ms, lines, dice, said: 0 };
    let mut held = None;
    loop {
        // The connection ended, by the server's death or by ours having slept: come back with what is still held.
        if let Err(error) = worker.serve(&mut held).await {
            eprintln!("{}: {error:#}", worker.name);
        }
        tokio::time::sleep(AWAY).await;
    }
}

impl Worker {
    async fn serve(&mut self, held: &mut Option<Run>) -> Result<()> {
        let mut socket = Socket::open(&self.url, "/v1/worker", Some(&token(&self.name, Role::Worker))).await?;
        let leases: Vec<Value> = held.iter().map(|run: &Run| json!({"lease": run.lease, "fence": run.fence})).collect();
        let pools = json!({"gpu": 1, "cpu": 1});
        let hello =
            json!({"type": "hello", "worker": self.name, "instance": self.instance, "pools": pools, "leases": leases});
        socket.say(&hello).await?;
        let welcome = socket.until("welcome").await?;
        if welcome["leases"].as_array().is_some_and(|all| all.iter().any(|one| one["result"] == "lease_lost")) {
            *held = None;
        }
        loop {
            if let Some(run) = held.as_mut() {
                // Whatever was left over of its tokens: it takes one run at a time.
                socket.say(&json!({"type": "heartbeat", "tokens": 10})).await?;
                self.work(&mut socket, run).await?;
                *held = None;
            }
            let offer = self.idle(&mut socket, &["offer"]).await?;
            socket.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
            // However long the commit takes: whoever stopped listening here would hold a run it never heard of. Another
            // offer, of the other pool, may be withdrawn meanwhile.
            let granted = loop {
                let answer = self.idle(&mut socket, &["granted", "withdrawn"]).await?;
                if answer["offer"] == offer["offer"] {
                    break answer;
                }
            };
            if granted["type"] == "withdrawn" {
                continue;
            }
            let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
            let names = offer["stages"].as_array().context("stages")?.iter().map(|stage| text(&stage["name"]));
            *held = Some(Run {
                lease: text(&granted["lease"])?,
                fence: granted["fence"].as_u64().context("a fence")?,
                generation: text(&offer["generation"])?,
                stages: names.collect::<Result<_>>()?,
            });
        }
    }

    /// The next message of one of these kinds; a heartbeat now and then until it comes.
    async fn idle(&mut self, socket: &mut Socket, kinds: &[&str]) -> Result<Value> {
        loop {
            match tokio::time::timeout(HEARTBEAT, socket.hear()).await {
                Ok(heard) => match heard? {
                    Heard::Message(message) if kinds.iter().any(|kind| message["type"] == *kind) => return Ok(message),
                    Heard::Closed(code, reason) => anyhow::bail!("closed: {code} {reason}"),
                    Heard::Message(_) | Heard::Frame(_) => {}
                },
                Err(_) => socket.say(&json!({"type": "heartbeat", "tokens": 10})).await?,
            }
        }
    }

    async fn work(&mut self, socket: &mut Socket, run: &mut Run) -> Result<()> {
        while let Some(stage) = run.stages.first().cloned() {
            let takes =
                Duration::from_millis(self.shortest_ms + self.roll() % (self.longest_ms - self.shortest_ms + 1));
            tokio::time::sleep(takes).await;
            for line in 0..self.lines {
                let event = json!({"type": "event", "event": "log", "message": format!("line {line}")});
                if !self.durable(socket, run, event).await? {
                    return Ok(());
                }
            }
            let event = json!({"type": "event", "event": "stage_completed", "stage": stage});
            if !self.durable(socket, run, event).await? {
                return Ok(());
            }
            run.stages.remove(0);
        }
        self.durable(socket, run, json!({"type": "done", "outputs": {}})).await?;
        Ok(())
    }

    /// Says something of the run until it is answered, and notes the answer. False when it was refused.
    async fn durable(&mut self, socket: &mut Socket, run: &Run, mut message: Value) -> Result<bool> {
        self.said += 1;
        let id = format!("{}.{}.{}", self.name, self.instance, self.said);
        message["eventId"] = json!(id);
        message["lease"] = json!(run.lease);
        socket.say(&message).await?;
        loop {
            let Heard::Message(answer) = socket.hear().await? else { anyhow::bail!("the connection ended") };
            if answer["eventId"] != json!(id) {
                continue;
            }
            let taken = answer["type"] == "ack";
            let word = if taken { answer["sequence"].to_string() } else { "refused".to_owned() };
            writeln!(self.log, "{} {} {word}", run.generation, run.fence)?;
            return Ok(taken);
        }
    }

    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 33
    }
}
