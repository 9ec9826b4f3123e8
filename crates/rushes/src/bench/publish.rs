//! Who publishes: workers of ours, or one who speaks to the bus of another server as its documentation says. Everybody writes
//! what is due in one write, and everybody waits while too much is unanswered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::Notify,
    task::JoinSet,
};

use super::{
    mark::Mark,
    target::{Dialect, Target},
    workers::Workers,
};

/// Answers one connection may owe: a second of what a bus does.
const UNANSWERED_MAX: u64 = 4_096;
/// Requests that nginx takes over one connection at a time, so several share the load.
const NCHAN_CONNECTIONS: usize = 8;

/// Whoever publishes.
pub(crate) enum Publisher {
    /// Runs of ours.
    Workers(Workers),
    /// Connections to another bus.
    Pipes(Pipes),
}

/// Connections over which requests are written without waiting for the answer of each.
pub(crate) struct Pipes {
    dialect: Dialect,
    address: String,
    channels: Vec<String>,
    pipes: Vec<Pipe>,
    readers: JoinSet<()>,
}

struct Pipe {
    writer: OwnedWriteHalf,
    batch: Vec<u8>,
    asked: u64,
    answers: Arc<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    count: AtomicU64,
    ended: AtomicBool,
    came: Notify,
}

impl Publisher {
    /// Publishes each of `items`, a channel and its mark. With `keep`, and where the server keeps nothing by itself, the latest of
    /// each channel is kept as its documents say.
    pub(crate) async fn send(&mut self, items: &[(usize, Mark)], keep: bool) -> Result<()> {
        match self {
            Self::Workers(workers) => workers.send(items).await,
            Self::Pipes(pipes) => pipes.send(items, keep).await,
        }
    }

    /// Waits until everything is answered.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        match self {
            Self::Workers(workers) => workers.settle().await,
            Self::Pipes(pipes) => pipes.settle().await,
        }
    }
}

impl Pipes {
    /// Connects to where `target` hears what is published.
    pub(crate) async fn connect(target: &Target, channels: Vec<String>) -> Result<Self> {
        let connections = if target.dialect == Dialect::Nchan { NCHAN_CONNECTIONS } else { 1 };
        let mut pipes = Self {
            dialect: target.dialect,
            address: target.publish.clone(),
            channels,
            pipes: Vec::new(),
            readers: JoinSet::new(),
        };
        for _ in 0..connections {
            let stream = TcpStream::connect(&target.publish).await.with_context(|| target.publish.clone())?;
            stream.set_nodelay(true)?;
            let (mut reader, mut writer) = stream.into_split();
            let (answers, pattern) = (Arc::<Answers>::default(), answer_of(target.dialect));
            let counted = Arc::clone(&answers);
            pipes.readers.spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                let mut kept = 0;
                while let Ok(read @ 1..) = reader.read(&mut buffer[kept..]).await {
                    let bytes = &buffer[..kept + read];
                    let (found, from) = count(bytes, pattern);
                    counted.count.fetch_add(found, Relaxed);
                    counted.came.notify_waiters();
                    // The beginning of an answer that is cut.
                    kept = (bytes.len() - from).min(pattern.len() - 1);
                    let end = bytes.len();
                    buffer.copy_within(end - kept..end, 0);
                }
                counted.ended.store(true, Relaxed);
                counted.came.notify_waiters();
            });
            if target.dialect == Dialect::Nats {
                writer.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await?;
            }
            pipes.pipes.push(Pipe { writer, batch: Vec::new(), asked: 0, answers });
        }
        Ok(pipes)
    }

    /// Says in Redis whose each channel is, as the first dialect wants it.
    pub(crate) async fn own(&mut self) -> Result<()> {
        let pipe = &mut self.pipes[0];
        for (at, channel) in self.channels.iter().enumerate() {
            resp(&mut pipe.batch, &["SET", &format!("generation_owner:{channel}"), &format!("u{at}")]);
            pipe.asked += 1;
            pipe.flush().await?;
        }
        self.settle().await
    }

    async fn send(&mut self, items: &[(usize, Mark)], keep: bool) -> Result<()> {
        let count = self.pipes.len();
        for (at, mark) in items {
            let (channel, pipe) = (&self.channels[*at], &mut self.pipes[at % count]);
            let text = status(channel, *at, *mark);
            match self.dialect {
                Dialect::Node => {
                    resp(&mut pipe.batch, &["PUBLISH", &format!("generation:{channel}"), &text]);
                    pipe.asked += 1;
                    if keep {
                        resp(&mut pipe.batch, &["SET", &format!("generation_status:{channel}"), &text, "EX", "3600"]);
                        pipe.asked += 1;
                    }
                }
                Dialect::Nchan => {
                    let place = if keep { "keep" } else { "pub" };
                    let head = format!(
                        "POST /{place}/{channel} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{text}",
                        self.address,
                        text.len()
                    );
                    pipe.batch.extend_from_slice(head.as_bytes());
                    pipe.asked += 1;
                }
                Dialect::Nats => {
                    let message = format!("PUB {channel} {}\r\n{text}\r\n", text.len());
                    pipe.batch.extend_from_slice(message.as_bytes());
                }
                Dialect::Rushes => bail!("our own server hears workers, not a bus"),
            }
        }
        for pipe in &mut self.pipes {
            if self.dialect == Dialect::Nats && !pipe.batch.is_empty() {
                pipe.batch.extend_from_slice(b"PING\r\n");
                pipe.asked += 1;
            }
            pipe.flush().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        for pipe in &self.pipes {
            pipe.wait(0).await?;
        }
        Ok(())
    }
}

impl Pipe {
    async fn flush(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            self.wait(UNANSWERED_MAX).await?;
            self.writer.write_all(&self.batch).await?;
            self.batch.clear();
        }
        Ok(())
    }

    async fn wait(&self, unanswered: u64) -> Result<()> {
        loop {
            let came = self.answers.came.notified();
            if self.asked - self.answers.count.load(Relaxed).min(self.asked) <= unanswered {
                return Ok(());
            }
            if self.answers.ended.load(Relaxed) {
                bail!("whoever takes what is published closed the connection");
            }
            came.await;
        }
    }
}

/// What an answer of each bus has exactly once.
const fn answer_of(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::Nchan => b"HTTP/1.1 20",
        Dialect::Nats => b"PONG\r\n",
        Dialect::Node | Dialect::Rushes => b"\r\n",
    }
}

/// How often `pattern` is there, and where the last one ends.
fn count(bytes: &[u8], pattern: &[u8]) -> (u64, usize) {
    let (mut found, mut at, mut end) = (0, 0, 0);
    while let Some(window) = bytes.get(at..at + pattern.len()) {
        if window == pattern {
            found += 1;
            at += pattern.len();
            end = at;
        } else {
            at += 1;
        }
    }
    (found, end)
}

/// A command of Redis.
fn resp(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// A status as workers of the first dialect publish it.
fn status(channel: &str, user: usize, mark: Mark) -> String {
    format!(
        r#"{{"generationId":"{channel}","userId":"u{user}","status":"generating_frames","progress":45,"message":"Generating frames (22/48)","metadata":{{"currentFrame":22,"totalFrames":48,"estimatedSecondsRemaining":65,"mark":"{mark}"}},"timestamp":{}}}"#,
        mark.due / 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_once_and_a_cut_one_is_left() {
        assert_eq!(count(b":1\r\n+OK\r\n:2\r", b"\r\n"), (2, 9));
        assert_eq!(count(b"HTTP/1.1 202 Accepted", b"HTTP/1.1 20"), (1, 11));
        assert_eq!(count(b"HTTP/1.1 4", b"HTTP/1.1 20"), (0, 0));
    }

    #[test]
    fn a_status_is_json_of_the_size_the_documents_publish() {
        let text = status("gen_bench000001", 1, Mark { number: 1, due: 1_790_000_000_000_000_000 });
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert!((250..=330).contains(&text.len()), "{} bytes", text.len());
    }
}
