//! A worker that takes whatever it is offered, one run at a time, and comes back with what it holds when its connection ends.
//! What it does with a run is its owner's.

use std::time::Duration;

use access::Role;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{Heard, Socket, program::token};

/// As the protocol asks.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Before another try to reach the server.
const AWAY: Duration = Duration::from_millis(200);

/// Who it is.
#[derive(Debug)]
pub struct Taker {
    url: String,
    /// Its name.
    pub name: String,
    /// Which process of that name.
    pub instance: String,
}

/// A run it holds.
#[derive(Debug)]
pub struct Run {
    /// The right to write.
    pub lease: String,
    /// Its place in the order of grants.
    pub fence: u64,
    /// Whose run.
    pub generation: String,
    /// What is left to do.
    pub stages: Vec<String>,
    /// How far it got, in whatever its owner counts.
    pub done: usize,
}

impl Taker {
    /// This process, as worker `name` of the server at `url`, with a slot in each of the pools `gpu` and `cpu`.
    #[must_use]
    pub fn new(url: &str, name: &str) -> Self {
        Self { url: url.to_owned(), name: name.to_owned(), instance: std::process::id().to_string() }
    }

    /// Takes runs for ever and has `work` do them, or leave off when they are no longer its own. Where `work` fails, the
    /// connection is made anew, and `work` gets the same run again if it is still held.
    pub async fn serve(&self, mut work: impl AsyncFnMut(&mut Socket, &mut Run) -> Result<()>) {
        let mut held = None;
        loop {
            // The connection ended, by the server's death or by ours having slept: come back with what is still held.
            if let Err(error) = self.connection(&mut held, &mut work).await {
                eprintln!("{}: {error:#}", self.name);
            }
            tokio::time::sleep(AWAY).await;
        }
    }

    async fn connection(
        &self,
        held: &mut Option<Run>,
        work: &mut impl AsyncFnMut(&mut Socket, &mut Run) -> Result<()>,
    ) -> Result<()> {
        let mut socket = Socket::open(&self.url, "/v1/worker", Some(&token(&self.name, Role::Worker))).await?;
        let leases: Vec<Value> = held.iter().map(|run| json!({"lease": run.lease, "fence": run.fence})).collect();
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
                work(&mut socket, run).await?;
                *held = None;
            }
            *held = take(&mut socket).await?;
        }
    }
}

/// The next run that is granted; none where what it accepted went to another.
async fn take(socket: &mut Socket) -> Result<Option<Run>> {
    let offer = idle(socket, &["offer"]).await?;
    socket.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
    // However long the commit takes: whoever stopped listening here would hold a run it never heard of. Another
    // offer, of the other pool, may be withdrawn meanwhile.
    let granted = loop {
        let answer = idle(socket, &["granted", "withdrawn"]).await?;
        if answer["offer"] == offer["offer"] {
            break answer;
        }
    };
    if granted["type"] == "withdrawn" {
        return Ok(None);
    }
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let names = offer["stages"].as_array().context("stages")?.iter().map(|stage| text(&stage["name"]));
    Ok(Some(Run {
        lease: text(&granted["lease"])?,
        fence: granted["fence"].as_u64().context("a fence")?,
        generation: text(&offer["generation"])?,
        stages: names.collect::<Result<_>>()?,
        done: 0,
    }))
}

/// The next message of one of these kinds; a heartbeat now and then until it comes.
async fn idle(socket: &mut Socket, kinds: &[&str]) -> Result<Value> {
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
