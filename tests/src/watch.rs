//! Watchers that know only the wire: a raw WebSocket client, `curl -N`, and a long-poll loop. Each keeps its position and
//! comes back with it after whatever happens, as any client of ours would.

use std::{process::Stdio, time::Duration};

use access::Role;
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{PATIENCE, Reply, Server, program::token};

/// One event as it arrived.
pub type Event = Value;

/// How a watcher listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watcher {
    /// A WebSocket on `/v1/live`.
    Socket,
    /// `curl -N` with `Accept: text/event-stream`.
    Stream,
    /// `Prefer: wait=25`, again and again.
    Poll,
}

impl Watcher {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Socket, Self::Stream, Self::Poll];

    /// Watches until the terminal event, through any number of restarts of the server. Answers every event in the order
    /// it came, repeats included: judging is the test's.
    ///
    /// # Errors
    /// When the end does not come within [`PATIENCE`].
    pub async fn watch(self, url: String, user: &str, id: &str) -> Result<Vec<Event>> {
        let mut seen = Vec::new();
        let mut position = "start".to_owned();
        let whole = async {
            while !seen.last().is_some_and(is_terminal) {
                if self.round(&url, user, id, &mut position, &mut |event| seen.push(event)).await.is_err() {
                    // The server is away or the connection broke: come back, at a pace that leaves it room to start.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let ended = timeout(PATIENCE, whole).await.is_ok();
        if ended { Ok(seen) } else { bail!("{self:?}: no end within {PATIENCE:?}; saw {seen:#?}") }
    }

    /// One connection, or one page of a poll: gives `each` what comes after `position`, and moves that along.
    ///
    /// # Errors
    /// When the connection ended. A stream does so after the end of its generation too.
    pub async fn round(
        self,
        url: &str,
        user: &str,
        id: &str,
        position: &mut String,
        each: &mut impl FnMut(Event),
    ) -> Result<()> {
        match self {
            Self::Socket => socket(url, user, id, position, each).await,
            Self::Stream => stream(url, user, id, position, each).await,
            Self::Poll => poll(url, user, id, position, each).await,
        }
    }
}

/// Follows a generation of `user` from its beginning until an event `is_it`, and answers all up to and with it.
///
/// # Errors
/// When it ended without one, or the server went away.
pub async fn until(server: &Server, user: &str, id: &str, is_it: impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
    let (mut seen, mut after) = (Vec::new(), "start".to_owned());
    loop {
        let request = server.http("GET", &format!("/v1/generations/{id}/events?after={after}"))?;
        let page = Reply::of(request.bearer_auth(token(user, Role::User)).header("prefer", "wait=25")).await?.json()?;
        for event in page["events"].as_array().context("events")? {
            seen.push(event.clone());
            if is_it(event) {
                return Ok(seen);
            }
        }
        anyhow::ensure!(page["done"] != true, "it ended before: {seen:#?}");
        page["position"].as_str().context("a position")?.clone_into(&mut after);
    }
}

/// Is it one of the three ends?
#[must_use]
pub fn is_terminal(event: &Event) -> bool {
    matches!(event["type"].as_str(), Some("complete" | "failed" | "cancelled"))
}

/// The sequences of events, hints left out.
#[must_use]
pub fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().filter(|event| event["ephemeral"] != true).filter_map(|event| event["sequence"].as_u64()).collect()
}

async fn socket(url: &str, user: &str, id: &str, position: &mut String, each: &mut impl FnMut(Event)) -> Result<()> {
    let address = format!("{}/v1/live", url.replacen("http", "ws", 1));
    let (mut socket, _) = connect_async(address).await?;
    let say = [
        json!({"type": "authenticate", "token": token(user, Role::User)}),
        json!({"type": "subscribe", "generationId": id, "after": position.as_str()}),
    ];
    for message in say {
        socket.send(Message::text(message.to_string())).await?;
    }
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let mut message: Value = serde_json::from_str(&text)?;
        match message["type"].as_str() {
            Some("status_update") if message["data"]["ephemeral"] != true => {
                message["position"].as_str().context("a position")?.clone_into(position);
                each(message["data"].take());
            }
            Some("done") => return Ok(()),
            Some("error") => bail!("refused: {message}"),
            _ => {}
        }
    }
    bail!("the socket closed")
}

async fn stream(url: &str, user: &str, id: &str, position: &mut String, each: &mut impl FnMut(Event)) -> Result<()> {
    let mut curl = Command::new("curl")
        .args(["-sSN", "--fail", "-H", "accept: text/event-stream"])
        .args(["-H", &format!("authorization: Bearer {}", token(user, Role::User))])
        .arg(format!("{url}/v1/generations/{id}/events?after={position}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(curl.stdout.take().context("stdout")?).lines();
    let mut at = None;
    while let Some(line) = lines.next_line().await? {
        if let Some(id) = line.strip_prefix("id: ") {
            at = Some(id.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ")
            && let Some(at) = at.take()
        {
            let event: Value = serde_json::from_str(data)?;
            if event["ephemeral"] != true && event["sequence"].is_u64() {
                *position = at;
                each(event);
            }
        }
    }
    bail!("the stream ended")
}

async fn poll(url: &str, user: &str, id: &str, position: &mut String, each: &mut impl FnMut(Event)) -> Result<()> {
    let answer = crate::reply::client()
        .get(format!("{url}/v1/generations/{id}/events?after={position}"))
        .bearer_auth(token(user, Role::User))
        .header("prefer", "wait=25")
        .timeout(PATIENCE)
        .send()
        .await?
        .error_for_status()?;
    let mut page: Value = serde_json::from_str(&answer.text().await?)?;
    page["position"].as_str().context("a position")?.clone_into(position);
    page["events"].as_array_mut().context("events")?.drain(..).for_each(each);
    Ok(())
}
