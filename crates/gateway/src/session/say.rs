//! Messages of the live socket, written. Each carries the time of sending.

use bytes::Bytes;
use protocol::{GenerationId, Problem, RequestId, Timestamp, live::ServerMessage};
use serde::Serialize;

use crate::websocket::encoder::encode_text;

/// A whole WebSocket message.
pub(super) fn message(message: &ServerMessage, now: Timestamp) -> Bytes {
    timed(message, now)
}

/// An `error`.
pub(super) fn problem(
    problem: &Problem,
    generation: Option<&GenerationId>,
    request: Option<&RequestId>,
    now: Timestamp,
) -> Bytes {
    let error = ServerMessage::Error {
        code: problem.code,
        error: problem.to_string(),
        retryable: problem.retryable,
        generation_id: generation.cloned(),
        request_id: request.cloned(),
    };
    message(&error, now)
}

fn timed(body: &impl Serialize, now: Timestamp) -> Bytes {
    let mut text = serde_json::to_vec(body).expect("messages hold texts, numbers and JSON");
    text.pop();
    text.extend_from_slice(format!(",\"timestamp\":{now}}}").as_bytes());
    encode_text(&text)
}
