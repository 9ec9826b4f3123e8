//! Submit to the first thing a worker says, on the screen: over HTTP in, an offer taken at once, progress said with the grant,
//! and a socket that follows the owner's list. One generation after another, each ended before the next begins.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Load, Row, Wait, clock,
    histogram::Histogram,
    house::House,
    load::http,
    peer::Peer,
    rows::{at, latency_facts, latency_text},
    wire::{Coming, Wire},
    workers,
};

/// What a pipeline's events may wait for, and what people call that.
const PIPELINES: [(Wait, &str); 3] = [(Wait::Strict, "durable"), (Wait::Relaxed, "relaxed"), (Wait::Relay, "relay")];
/// So many are not measured: buffers get their size, pages are read.
const WARM_UP: u64 = 20;
/// No step takes longer unless something is wrong.
const STEP_MAX: Duration = Duration::from_secs(10);
/// Whoever submits and watches.
const USER: &str = "ada";

/// What was found of one pipeline.
pub(crate) struct First {
    /// As people call it.
    pub(crate) name: &'static str,
    /// Submission sent → first progress on the screen.
    pub(crate) whole: Histogram,
    /// Said by the worker → on the screen: the last part of it.
    pub(crate) said: Histogram,
    /// Submission sent → worker holds the grant: the first part of it.
    pub(crate) granted: Histogram,
}

/// Each pipeline for as long as the load lasts.
pub(crate) async fn run(load: &Load) -> Result<Vec<First>> {
    let mut found = Vec::new();
    for (wait, name) in PIPELINES {
        found.push(pipeline(load, wait, name).await.with_context(|| format!("{name} pipeline"))?);
    }
    Ok(found)
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let found = run(load).await?;
    Ok(found
        .iter()
        .map(|first| {
            let text = format!(
                "{}; until the grant p50 {} p99 {}, from saying to seeing p50 {} p99 {}",
                latency_text(&first.whole),
                at(&first.granted, 0.5),
                at(&first.granted, 0.99),
                at(&first.said, 0.5),
                at(&first.said, 0.99)
            );
            let name = format!("submit to the worker's first event on screen, {}", first.name);
            Row::new(&name, text, latency_facts(&first.whole))
                .with("granted", latency_facts(&first.granted))
                .with("said", latency_facts(&first.said))
        })
        .collect())
}

/// Whoever takes part.
struct Scene {
    http: Wire,
    host: String,
    token: String,
    worker: Peer,
    screen: Peer,
}

async fn pipeline(load: &Load, wait: Wait, name: &'static str) -> Result<First> {
    let house = House::start(load).await?;
    let token = house.mint(USER)?;
    let worker = workers::greet(&house, 0, &[1], wait).await?;
    let mut screen = Peer::connect(&house.door, "/v1/live", &token).await?;
    screen.say(&json!({"type": "subscribe", "mine": true})).await?;
    screen.hear_until(|message| message["type"] == "subscribed").await?;
    let http = house.door.open(Coming::First, None).await?;
    let mut scene = Scene { http, host: house.door.address.clone(), token, worker, screen };
    let mut first =
        First { name, whole: Histogram::default(), said: Histogram::default(), granted: Histogram::default() };
    for _ in 0..WARM_UP {
        scene.one().await?;
    }
    let end = Instant::now() + load.duration();
    while Instant::now() < end {
        let [sent, granted, seen] = scene.one().await?;
        first.whole.record(seen.saturating_sub(sent));
        first.granted.record(granted.saturating_sub(sent));
        first.said.record(seen.saturating_sub(granted));
    }
    Ok(first)
}

impl Scene {
    /// One generation, from its submission to its end. Answers when it was sent, granted, and first seen at work.
    async fn one(&mut self) -> Result<[u64; 3]> {
        let sent = clock::nanos();
        self.submit().await?;
        let offer = until(&mut self.worker, |message| message["type"] == "offer").await?;
        self.worker.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
        let grant = until(&mut self.worker, |message| message["type"] == "granted").await?;
        let granted = clock::nanos();
        let lease = &grant["lease"];
        self.worker
            .say(&json!({"type": "progress", "lease": lease, "stage": "publishing", "progress": 1, "message": "first"}))
            .await?;
        until(&mut self.screen, |message| message["type"] == "status_update" && message["data"]["message"] == "first")
            .await?;
        let seen = clock::nanos();
        // What is not measured: the answer to the submission, and the end.
        self.accepted().await?;
        let done = json!({"type": "done", "eventId": format!("d{sent}"), "lease": lease, "outputs": {}});
        self.worker.say(&done).await?;
        self.worker.say(&json!({"type": "heartbeat", "tokens": limits::TOKENS_MAX})).await?;
        until(&mut self.worker, |message| message["eventId"] == done["eventId"]).await?;
        until(&mut self.screen, |message| message["data"]["type"] == "complete").await?;
        Ok([sent, granted, seen])
    }

    async fn submit(&mut self) -> Result<()> {
        let body = json!({"pipeline": "bench0", "input": {}}).to_string();
        let request = format!(
            "POST /v1/generations HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.host,
            self.token,
            body.len()
        );
        self.http.write_all(request.as_bytes()).await?;
        Ok(self.http.flush().await?)
    }

    /// Reads the answer to a submission to its last byte.
    async fn accepted(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        loop {
            if http::answer(&bytes)?.is_some() {
                return Ok(());
            }
            ensure!(self.http.read_buf(&mut bytes).await? > 0, "closed by the server");
        }
    }
}

/// The next message that fits; a refusal or a silence is an error.
async fn until(peer: &mut Peer, fits: impl Fn(&Value) -> bool) -> Result<Value> {
    let bad = |message: &Value| matches!(message["type"].as_str(), Some("error" | "refused" | "lease_lost"));
    let heard = peer.hear_until(|message| fits(message) || bad(message));
    let message = tokio::time::timeout(STEP_MAX, heard).await.context("nothing fitting came for 10 s")??;
    ensure!(fits(&message), "the server refused: {message}");
    Ok(message)
}
