//! One end of a WebSocket: a watcher's or a worker's, spoken by hand as any language would.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::bed::Bed;

/// Longer than anything here takes: a token's grace is 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Json(Value),
    Frame(Vec<u8>),
    Closed(u16),
}

pub(crate) struct Peer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Peer {
    /// Connects; an empty token sends none.
    pub(crate) async fn open(bed: &Bed, path: &str, token: &str) -> Self {
        let mut request = format!("ws://{}{path}", bed.server.address()).into_client_request().unwrap();
        if !token.is_empty() {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Self(tokio_tungstenite::connect_async(request).await.unwrap().0)
    }

    /// A live socket that has authenticated.
    pub(crate) async fn live(bed: &Bed, token: &str) -> Self {
        let mut peer = Self::open(bed, "/v1/live", "").await;
        peer.authenticate(token).await;
        peer
    }

    pub(crate) async fn authenticate(&mut self, token: &str) -> Value {
        self.say(&serde_json::json!({"type": "authenticate", "token": token})).await;
        self.next_of("authenticated").await
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.text(&message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn binary(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    /// Whatever comes next, pings passed over.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("the server says something");
            match message.expect("the socket is open").unwrap() {
                Message::Text(text) => return Heard::Json(serde_json::from_str(&text).unwrap()),
                Message::Binary(bytes) => return Heard::Frame(bytes.to_vec()),
                Message::Close(frame) => return Heard::Closed(frame.map_or(1005, |frame| frame.code.into())),
                _ => {}
            }
        }
    }

    /// What comes next, which is of this type.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        match self.next().await {
            Heard::Json(value) if value["type"] == kind => value,
            other => panic!("not {kind}: {other:?}"),
        }
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Heard::Json(value) if value["type"] == kind => return value,
                Heard::Closed(code) => panic!("closed with {code} before {kind}"),
                _ => {}
            }
        }
    }

    /// The next event of this type; others are passed over.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            let data = self.hear("status_update").await["data"].take();
            if data["type"] == kind {
                return data;
            }
        }
    }

    /// Says `message` and waits until it is durable; the sequence it came to.
    pub(crate) async fn acknowledged(&mut self, message: &Value) -> u64 {
        self.say(message).await;
        loop {
            let ack = self.hear("ack").await;
            if ack["eventId"] == message["eventId"] {
                return ack["sequence"].as_u64().unwrap();
            }
        }
    }

    /// All that was to be said has been said: what comes next is the answer to a question asked now.
    pub(crate) async fn has_nothing_to_say(&mut self) {
        self.say(&serde_json::json!({"type": "ping"})).await;
        self.next_of("pong").await;
    }
}
