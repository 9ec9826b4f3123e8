//! Workers that only publish: they take runs of pipelines of their own and say lines under their leases, over a few sockets,
//! many lines to a write.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use access::Role;
use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use protocol::limits;
use serde_json::{Value, json};
use tokio::{sync::Notify, sync::mpsc, task::JoinSet};

use super::{
    Wait, clock,
    frame::{self, masked},
    histogram::Histogram,
    house::House,
    mark::Mark,
    peer::Peer,
};

/// Lines of one socket that are not yet acknowledged: below the 256 answers that may wait for a worker on the server.
const UNACKED_MAX: u64 = 200;
/// Batches on their way to a socket's writer.
const BATCHES_MAX: usize = 64;
/// Sockets that submit at once, so that submissions share an fsync.
const SUBMITTERS: usize = 16;
/// Events of a generation before its first line: `queued`, `stage_started`.
pub(crate) const EVENTS_BEFORE: u64 = 2;

/// How an acknowledgement of one of our lines begins, up to its number.
const ACK: &[u8] = br#"{"type":"ack","eventId":"b"#;

/// How many workers take how many runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// Generations.
    pub(crate) runs: usize,
    /// Worker sockets they are spread over.
    pub(crate) sockets: usize,
    /// What their events wait for.
    pub(crate) wait: Wait,
}

/// A generation that runs, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) generation: String,
    pub(crate) user: String,
    lease: String,
    socket: usize,
    /// Goes before each picture.
    handle: u32,
}

/// All of them.
pub(crate) struct Workers {
    pub(crate) runs: Vec<Run>,
    /// Is what they say progress, which a `relay` pipeline shows and does not store? Else it is durable lines, each acknowledged.
    relayed: bool,
    sockets: Vec<Socket>,
    said: u64,
    tasks: JoinSet<()>,
}

struct Socket {
    batches: mpsc::Sender<Vec<u8>>,
    batch: Vec<u8>,
    sent: u64,
    answers: Arc<Answers>,
}

/// What the server said to one socket.
#[derive(Debug, Default)]
struct Answers {
    acked: AtomicU64,
    came: Notify,
    trouble: OnceLock<String>,
    /// When each line that is not acknowledged was due, and how long the others took.
    due: Mutex<(HashMap<u64, u64>, Histogram)>,
}

/// What a worker was granted.
struct Granted {
    generation: String,
    lease: String,
    handle: u32,
}

impl Workers {
    /// Submits the generations, each of a user of its own (`u0`, `u1`, …), and takes them all.
    pub(crate) async fn start(house: &House, crowd: Crowd) -> Result<Self> {
        let sockets = crowd.sockets.clamp(1, crowd.runs.max(1));
        let share = crowd.runs.div_ceil(sockets);
        let pools: Vec<usize> = (0..share.div_ceil(limits::SLOTS_MAX as usize))
            .map(|pool| (share - pool * limits::SLOTS_MAX as usize).min(limits::SLOTS_MAX as usize))
            .collect();
        let mut takers = JoinSet::new();
        for socket in 0..sockets {
            let peer = greet(house, socket, &pools, crowd.wait).await?;
            takers.spawn(async move { Ok::<_, anyhow::Error>((socket, take(peer, share).await?)) });
        }
        let users = submit(house, share * sockets, &pools, sockets).await?;
        let mut workers = Self {
            runs: Vec::new(),
            relayed: crowd.wait == Wait::Relay,
            sockets: Vec::new(),
            said: 0,
            tasks: JoinSet::new(),
        };
        let mut taken: Vec<_> = takers.join_all().await.into_iter().collect::<Result<_>>()?;
        taken.sort_unstable_by_key(|(socket, _)| *socket);
        for (socket, (peer, granted)) in taken {
            for one in granted {
                let user = users.get(&one.generation).context("a generation nobody submitted")?.clone();
                let Granted { generation, lease, handle } = one;
                workers.runs.push(Run { generation, user, lease, socket, handle });
            }
            workers.hold(peer);
        }
        workers.runs.truncate(crowd.runs);
        Ok(workers)
    }

    /// Keeps a socket: one task reads its answers, one writes and gives the signs of life.
    fn hold(&mut self, peer: Peer) {
        let (mut reader, mut writer) = peer.split();
        let answers = Arc::<Answers>::default();
        let heard = Arc::clone(&answers);
        let (batches, mut waiting) = mpsc::channel::<Vec<u8>>(BATCHES_MAX);
        self.tasks.spawn(async move {
            let trouble = loop {
                match reader.hear_some(|text| heard.take(text)).await {
                    Ok(()) => heard.came.notify_waiters(),
                    Err(error) => break format!("a worker's socket: {error:#}"),
                }
            };
            let _ = heard.trouble.set(trouble);
            heard.came.notify_waiters();
        });
        self.tasks.spawn(async move {
            let mut life = tokio::time::interval(Duration::from_millis(limits::HEARTBEAT_MS));
            let beat = masked(frame::TEXT, br#"{"type":"heartbeat","tokens":0}"#);
            loop {
                let bytes = tokio::select! {
                    biased;
                    batch = waiting.recv() => match batch {
                        Some(batch) => batch,
                        None => return,
                    },
                    _ = life.tick() => beat.clone(),
                };
                if writer.write(&bytes).await.is_err() {
                    return;
                }
            }
        });
        self.sockets.push(Socket { batches, batch: Vec::new(), sent: 0, answers });
    }

    /// Says one line for each of `items` (a run and its mark), one write a socket. Waits while too much is unacknowledged.
    pub(crate) async fn send(&mut self, items: &[(usize, Mark)]) -> Result<()> {
        for (run, mark) in items {
            let socket = &mut self.sockets[self.runs[*run].socket];
            if !self.relayed && socket.unacked() >= UNACKED_MAX {
                socket.flush().await?;
                socket.wait(UNACKED_MAX - 1).await?;
            }
            self.said += 1;
            let text = line(self.relayed, &self.runs[*run].lease, self.said, *mark);
            socket.batch.extend_from_slice(&masked(frame::TEXT, text.as_bytes()));
            socket.sent += 1;
            if !self.relayed {
                socket.answers.due.lock().0.insert(self.said, mark.due);
            }
        }
        for socket in &mut self.sockets {
            socket.flush().await?;
        }
        Ok(())
    }

    /// Sends one picture of `bytes` bytes of run `run`.
    pub(crate) async fn picture(&mut self, run: usize, mark: Mark, bytes: usize) -> Result<()> {
        let run = &self.runs[run];
        let socket = &self.sockets[run.socket];
        let message = super::frames::message(run.handle, mark, bytes);
        socket.batches.send(masked(frame::BINARY, &message)).await.context("a worker's socket is gone")
    }

    /// Due → acknowledged, of all lines so far; it begins anew.
    pub(crate) fn commits(&mut self) -> Histogram {
        let mut all = Histogram::default();
        for socket in &self.sockets {
            all.add(&std::mem::take(&mut socket.answers.due.lock().1).sparse());
        }
        all
    }

    /// Waits until every line is acknowledged.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        if !self.relayed {
            for socket in &mut self.sockets {
                socket.wait(0).await?;
            }
        }
        Ok(())
    }
}

impl Answers {
    /// Anything but an `ack` or what a worker is told in passing is trouble.
    fn take(&self, text: &[u8]) {
        if let Some(id) = text.strip_prefix(ACK) {
            self.acked.fetch_add(1, Relaxed);
            let digits = id.iter().take_while(|byte| byte.is_ascii_digit());
            let id = digits.fold(0_u64, |id, digit| id * 10 + u64::from(digit - b'0'));
            let mut due = self.due.lock();
            if let Some(since) = due.0.remove(&id) {
                due.1.record(clock::nanos().saturating_sub(since));
            }
        } else if [&br#"{"type":"refused""#[..], br#"{"type":"error""#, br#"{"type":"lease_lost""#]
            .iter()
            .any(|bad| text.starts_with(bad))
        {
            let _ = self.trouble.set(String::from_utf8_lossy(text).into_owned());
        }
    }
}

impl Socket {
    fn unacked(&self) -> u64 {
        self.sent - self.answers.acked.load(Relaxed)
    }

    async fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batches.send(std::mem::take(&mut self.batch)).await.context("a worker's socket is gone")
    }

    async fn wait(&self, unacked: u64) -> Result<()> {
        loop {
            let came = self.answers.came.notified();
            if let Some(trouble) = self.answers.trouble.get() {
                bail!("{trouble}");
            }
            if self.unacked() <= unacked {
                return Ok(());
            }
            tokio::time::timeout(Duration::from_secs(30), came).await.context("no acknowledgement for 30 s")?;
        }
    }
}

fn line(relayed: bool, lease: &str, id: u64, mark: Mark) -> String {
    let rest = format!(
        r#""message":"Generating frames (22/48)","metadata":{{"currentFrame":22,"totalFrames":48,"estimatedSecondsRemaining":65,"mark":"{mark}"}}}}"#
    );
    if relayed {
        // Rises by hundredths, so that none is a repetition of the one before.
        let progress = f64::from(mark.number.min(9_900)) / 100.0;
        format!(r#"{{"type":"progress","lease":"{lease}","stage":"publishing","progress":{progress},{rest}"#)
    } else {
        format!(r#"{{"type":"event","lease":"{lease}","eventId":"b{id}","event":"log",{rest}"#)
    }
}

/// A worker of the bench's pipelines, one for each pool, without any run.
pub(crate) async fn greet(house: &House, socket: usize, pools: &[usize], wait: Wait) -> Result<Peer> {
    let mut peer = Peer::connect(&house.door, "/v1/worker", &house.token("bench", Role::Worker)?).await?;
    let slots: serde_json::Map<_, _> =
        pools.iter().enumerate().map(|(pool, slots)| (format!("bench{pool}"), json!(slots))).collect();
    // An hour: longer than any measurement.
    let stage = |pool| json!({"name": "publishing", "pool": format!("bench{pool}"), "timeoutMs": 3_600_000, "stallMs": 3_600_000});
    let pipelines: Vec<_> = (0..pools.len())
        .map(|pool| json!({"name": format!("bench{pool}"), "version": 1, "durability": wait.word(), "stages": [stage(pool)]}))
        .collect();
    peer.say(&json!({"type": "hello", "worker": format!("bench{socket}"), "instance": "1", "pools": slots,
        "pipelines": pipelines}))
        .await?;
    peer.hear_until(|message| message["type"] == "welcome").await?;
    Ok(peer)
}

/// Takes offers until `share` runs are granted.
async fn take(mut peer: Peer, share: usize) -> Result<(Peer, Vec<Granted>)> {
    let mut offered = HashMap::new();
    let mut granted = Vec::with_capacity(share);
    let mut used = 0;
    while granted.len() < share {
        let message = tokio::time::timeout(Duration::from_secs(30), peer.hear())
            .await
            .with_context(|| format!("a worker got {} of {share} runs, and then nothing for 30 s", granted.len()))??;
        match message["type"].as_str().unwrap_or_default() {
            "offer" => {
                offered.insert(text(&message["offer"])?, text(&message["generation"])?);
                peer.say(&json!({"type": "accept", "offer": message["offer"]})).await?;
                used += 1;
                // Each offer used a token; a heartbeat refills them.
                if used % (limits::TOKENS_MAX / 2) == 0 {
                    peer.say(&json!({"type": "heartbeat", "tokens": limits::TOKENS_MAX})).await?;
                }
            }
            "granted" => {
                let generation = offered.remove(&text(&message["offer"])?).context("a grant without an offer")?;
                let handle = u32::try_from(message["handle"].as_u64().context("a handle")?)?;
                granted.push(Granted { generation, lease: text(&message["lease"])?, handle });
            }
            "withdrawn" => drop(offered.remove(&text(&message["offer"])?)),
            "error" | "refused" => bail!("the server refused: {message}"),
            _ => {}
        }
    }
    Ok((peer, granted))
}

/// Submits `count` generations, so many to each pool as its workers have slots. Answers whose each is.
async fn submit(house: &House, count: usize, pools: &[usize], workers: usize) -> Result<HashMap<String, String>> {
    let mut pipelines = pools.iter().enumerate().flat_map(|(pool, slots)| std::iter::repeat_n(pool, slots * workers));
    let work: Vec<_> = (0..count).map(|user| (user, pipelines.next().unwrap_or(0))).collect();
    let mut submitters = JoinSet::new();
    for chunk in work.chunks(count.div_ceil(SUBMITTERS).max(1)) {
        let token = house.token("bench", Role::Service)?;
        let (door, chunk) = (house.door.clone(), chunk.to_vec());
        submitters.spawn(async move {
            let mut peer = Peer::connect(&door, "/v1/live", &token).await?;
            let mut users = Vec::with_capacity(chunk.len());
            for (user, pool) in chunk {
                peer.say(
                    &json!({"type": "generate", "requestId": format!("r{user}"), "pipeline": format!("bench{pool}"),
                    "input": {}, "owner": format!("u{user}")}),
                )
                .await?;
                let answer =
                    peer.hear_until(|message| message["type"] == "accepted" || message["type"] == "error").await?;
                ensure!(answer["type"] == "accepted", "a submission was refused: {answer}");
                users.push((text(&answer["generation"]["generationId"])?, format!("u{user}")));
            }
            Ok::<_, anyhow::Error>(users)
        });
    }
    let mut users = HashMap::with_capacity(count);
    for submitted in submitters.join_all().await {
        users.extend(submitted?);
    }
    Ok(users)
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("a text, not {value}"))
}
