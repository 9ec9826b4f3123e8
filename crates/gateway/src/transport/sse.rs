//! Server-sent events: the same items, as text that a browser resumes by itself.
//!
//! Unnamed events are statuses, `id:` is the position. Named beside them: `recovery` before a state to go on from, `frame`
//! when there is a new picture to fetch, `gone`, and `done` after the terminal event, with a `retry:` of a day, so that a
//! page that does not know `done` does not come back every three seconds.
//!
//! Asked for more only when there is room: a client that takes nothing is dropped by [`super::Socket`]. On HTTP/2 that holds
//! for the connection; a stream of it that stands still beside others that do not costs its cursor until the client resets
//! it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use protocol::{GenerationId, Problem, Timestamp, limits, live::Recovery};
use serde_json::json;
use tokio::time::Instant;

use super::many::Many;
use crate::{
    Gateway,
    counts::Transport,
    departure::Departure,
    encode::{Encoded, sse_event},
    feed::{Item, moved},
    hub::Wake,
};

/// A client whose stream was ended for its age is back about so soon, in milliseconds; up to 255 more spread them.
const RETRY_SOON_MS: u64 = 100;
const KEEP_ALIVE: Duration = Duration::from_millis(limits::SSE_KEEP_ALIVE_MS);
/// After the end there is nothing to come back for.
const RETRY_AFTER_END: &[u8] = b"retry: 86400000\n";
/// A comment, so that a proxy passes the headers on at once.
const OPENING: &[u8] = b": ok\n\n";
const SILENCE: &[u8] = b": keep-alive\n\n";

/// When a stream that could go on ends all the same.
struct End {
    at: Timestamp,
    /// When its client may come back.
    retry_ms: u64,
    why: &'static str,
    /// The server goes away.
    leaves: bool,
}

impl End {
    /// Because of its age: somewhere in the second half of the longest there is.
    fn of_age(gateway: &Gateway) -> Self {
        let [a, b, c, d, e, ..] = (gateway.node.random)();
        let half = (gateway.crowds.stream_age_max_ms / 2).max(1);
        let age = half + u64::from(u32::from_le_bytes([a, b, c, d])) % half;
        let retry_ms = RETRY_SOON_MS + u64::from(e);
        Self { at: gateway.node.now().plus(age), retry_ms, why: "go on in a new stream", leaves: false }
    }
}

struct Stream {
    gateway: Arc<Gateway>,
    many: Many,
    wake: Arc<Wake>,
    expires_at: Option<Timestamp>,
    end: End,
    opened: bool,
    over: bool,
}

/// Streams `many` until each has ended.
pub(super) fn stream(gateway: Arc<Gateway>, many: Many, wake: Arc<Wake>, expires_at: Option<Timestamp>) -> Response {
    let counts = gateway.counts().of(Transport::Sse);
    counts.connections.enter();
    counts.opened.add(1);
    let end = End::of_age(&gateway);
    let stream = Stream { gateway, many, wake, expires_at, end, opened: false, over: false };
    let body = stream::unfold(stream, |mut stream| async {
        let chunk = stream.chunk().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // A proxy that compresses would collect a block first.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Stream {
    /// What goes out next, in one piece; `None` at the end.
    async fn chunk(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.opened, true) {
            out.extend_from_slice(OPENING);
        }
        // Once for all looks: what wakes it may be pictures for others, and nothing to say.
        let silent_at = Instant::now() + KEEP_ALIVE;
        loop {
            let now = self.gateway.node.now();
            if now >= self.end.at {
                return Some(self.leave());
            }
            self.fill(&mut out).await;
            if !out.is_empty() {
                let counts = self.gateway.counts().of(Transport::Sse);
                counts.bytes.add(out.len() as u64);
                return Some(out.freeze());
            }
            tokio::select! {
                biased;
                () = self.gateway.stop.cancelled(), if !self.end.leaves => {
                    let Departure { at, back_after_ms: retry_ms } = self.gateway.departure();
                    self.end = End { at, retry_ms, why: "the server is restarting", leaves: true };
                }
                () = tokio::time::sleep_until(silent_at) => out.extend_from_slice(SILENCE),
                () = moved(&self.wake) => {}
                () = tokio::time::sleep(Duration::from_millis(self.end.at.since(now))) => {}
            }
        }
    }

    /// The last words of a stream that is gone on with elsewhere; browsers do so by themselves.
    fn leave(&mut self) -> Bytes {
        self.over = true;
        if !self.end.leaves {
            self.gateway.counts().streams_rotated.add(1);
        }
        Bytes::from(format!("retry: {}\n: {}\n\n", self.end.retry_ms, self.end.why))
    }

    async fn fill(&mut self, out: &mut BytesMut) {
        if self.has_expired() {
            self.over = true;
            out.extend_from_slice(&sse_event(Some("expired"), None, br#"{"error":"Invalid or expired token"}"#));
            return;
        }
        while out.len() < limits::GATHER_BYTES_MAX {
            match self.many.ready(&self.gateway).await {
                Ok(Some((at, item))) => self.write(at, &item, out),
                Ok(None) => {
                    if self.many.has_ended() {
                        self.say_done(out);
                    }
                    return;
                }
                Err(problem) => return self.fail(&problem, out),
            }
        }
    }

    fn write(&self, at: usize, item: &Item, out: &mut BytesMut) {
        let generation = self.many.generation(at);
        match item {
            Item::Event(event) => self.write_event(event, out),
            Item::Snapshot(event) => {
                let recovery = json!({"generationId": generation, "recovery": Recovery::Snapshot});
                out.extend_from_slice(&sse_event(Some("recovery"), None, recovery.to_string().as_bytes()));
                self.write_event(event, out);
            }
            Item::Hint(hint) => out.extend_from_slice(&self.gateway.encoder().sse(hint, self.gateway.node.now())),
            Item::Frame(index, revision) => {
                let frame = json!({"generationId": generation, "index": index, "revision": revision});
                out.extend_from_slice(&sse_event(Some("frame"), None, frame.to_string().as_bytes()));
            }
            Item::Gone => {
                let gone = json!({"generationId": generation});
                out.extend_from_slice(&sse_event(Some("gone"), None, gone.to_string().as_bytes()));
            }
            Item::Ended => {
                let ended = json!({"generationId": generation});
                out.extend_from_slice(&sse_event(Some("ended"), None, ended.to_string().as_bytes()));
            }
        }
        self.gateway.counts().of(Transport::Sse).messages.add(1);
    }

    fn write_event(&self, event: &Encoded, out: &mut BytesMut) {
        let (encoder, now) = (self.gateway.encoder(), self.gateway.node.now());
        self.gateway.counts().commit_to_socket.observe(now.since(event.event().timestamp));
        if self.many.is_one() {
            out.extend_from_slice(&encoder.sse(event, now));
        } else {
            // The place of all of them, so that a browser resumes all of them, and its own for who watches it elsewhere too.
            let cursor = self.many.cursor(&self.gateway);
            out.extend_from_slice(&sse_event(None, Some(&cursor), &encoder.placed(event, now)));
        }
    }

    fn say_done(&mut self, out: &mut BytesMut) {
        self.over = true;
        out.extend_from_slice(RETRY_AFTER_END);
        let ended: Vec<&GenerationId> = (0..self.many.len()).map(|at| self.many.generation(at)).collect();
        let done = if self.many.is_one() { json!({"generationId": ended[0]}) } else { json!({"generationIds": ended}) };
        out.extend_from_slice(&sse_event(Some("done"), None, done.to_string().as_bytes()));
    }

    /// Ends the stream with the reason; the browser comes back from where it was.
    fn fail(&mut self, problem: &Problem, out: &mut BytesMut) {
        self.over = true;
        let error = json!({"code": problem.code, "error": problem.message, "retryable": problem.retryable});
        out.extend_from_slice(&sse_event(Some("problem"), None, error.to_string().as_bytes()));
    }

    fn has_expired(&self) -> bool {
        let grace = self.gateway.node.expiry_grace_ms;
        let at = self.expires_at.zip(grace).map(|(at, grace)| at.plus(grace));
        at.is_some_and(|at| self.gateway.node.now() >= at)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.gateway.counts().of(Transport::Sse).connections.leave(1);
    }
}
