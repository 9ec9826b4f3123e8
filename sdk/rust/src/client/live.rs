//! The live socket as a client sees it: one connection, its messages, and the health check.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::live::{ClientMessage, ServerMessage, close};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::WatchError;
use crate::{
    Address,
    socket::{self, ConnectError, Socket},
};

/// 25 s between pings, as the first dialect does: below the idle timeouts of common proxies.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// 60 s without any sign of life, though we asked twice: the server or the path is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// 10 s for one write: the server reads nothing.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// 10 s for a pong: a healthy server takes a millisecond.
const HEALTH_MAX: Duration = Duration::from_secs(10);

/// A server that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// From `ping` to `pong`.
    pub round_trip: Duration,
}

/// What came over the socket.
#[derive(Debug)]
pub(super) enum Heard {
    Message(Box<ServerMessage>),
    Frame(Bytes),
}

/// Why nothing more comes.
#[derive(Debug)]
pub(super) enum Lost {
    /// A new connection may do better.
    Gone(String),
    /// Only a new token would.
    Refused(String),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Live {
    socket: Socket,
    heard_at: Instant,
    ping_at: Instant,
}

impl Live {
    /// Connects and says `first`, one after another, without waiting for answers.
    pub(super) async fn open(address: &Address, first: &[ClientMessage]) -> Result<Self, Lost> {
        let socket = socket::connect(&address.socket("/v1/live"), None).await.map_err(|error| match error {
            ConnectError::Refused(_) => Lost::Refused(error.to_string()),
            ConnectError::Unreachable(why) => Lost::Gone(why),
        })?;
        let now = Instant::now();
        let mut live = Self { socket, heard_at: now, ping_at: now + PING_INTERVAL };
        for message in first {
            live.say(message).await?;
        }
        Ok(live)
    }

    async fn say(&mut self, message: &ClientMessage) -> Result<(), Lost> {
        let text = serde_json::to_string(message).expect("messages have text keys and finite numbers");
        match timeout(WRITE_MAX, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Lost::Gone(error.to_string())),
            Err(_) => Err(Lost::Gone("the server reads nothing".to_owned())),
        }
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// Nothing heard is lost; a ping may be.
    pub(super) async fn hear(&mut self) -> Result<Heard, Lost> {
        loop {
            let next = timeout_at(self.ping_at.min(self.heard_at + SILENCE_MAX), self.socket.next()).await;
            let now = Instant::now();
            let message = match next {
                Err(_) if now >= self.heard_at + SILENCE_MAX => {
                    return Err(Lost::Gone("nothing heard for a minute".into()));
                }
                Err(_) => {
                    self.ping_at = now + PING_INTERVAL;
                    self.say(&ClientMessage::Ping).await?;
                    continue;
                }
                Ok(None) => return Err(Lost::Gone("the connection ended".to_owned())),
                Ok(Some(Err(error))) => return Err(Lost::Gone(error.to_string())),
                Ok(Some(Ok(message))) => message,
            };
            self.heard_at = now;
            match message {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(message) => return Ok(Heard::Message(message)),
                    // A later server may say things this version does not know; none of them is needed to go on.
                    Err(error) => tracing::debug!(%error, "a message that is not understood"),
                },
                Message::Binary(bytes) => return Ok(Heard::Frame(bytes)),
                Message::Close(frame) => {
                    let (code, reason) = frame
                        .map_or((close::NORMAL, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    let why = format!("closed with {code}: {reason}");
                    return Err(match code {
                        close::AUTHENTICATION_FAILED | close::AUTHENTICATION_TIMEOUT => Lost::Refused(why),
                        _ => Lost::Gone(why),
                    });
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

/// `ping` to `pong` on a connection of its own; no token is needed for that.
pub(super) async fn health(address: &Address) -> Result<Health, WatchError> {
    let unreachable = |why| WatchError::Unreachable { address: address.to_string(), why };
    let asked = async {
        let mut live = Live::open(address, &[]).await?;
        let start = Instant::now();
        live.say(&ClientMessage::Ping).await?;
        loop {
            if let Heard::Message(message) = live.hear().await?
                && *message == ServerMessage::Pong
            {
                return Ok(Health { round_trip: start.elapsed() });
            }
        }
    };
    match timeout(HEALTH_MAX, asked).await {
        Ok(Ok(health)) => Ok(health),
        Ok(Err(Lost::Gone(why) | Lost::Refused(why))) => Err(unreachable(why)),
        Err(_) => Err(unreachable("no pong within 10 seconds".to_owned())),
    }
}
