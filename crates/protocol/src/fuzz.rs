//! Bodies for fuzzers: each takes any bytes, and must neither panic nor take long. What was read and written again reads the same.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    After, Position, TraceParent, TraceState,
    frame::{Header, split_handle},
    http::{DemoSignIn, Patch, Report, Submission, TokenRequest},
    id::{ArtifactName, CausalId, CommandId, GenerationId, LeaseId, TenantId, UserId},
    live,
    pipeline::Pipeline,
    worker,
};

/// What is passed on of `tracestate` at most (W3C Trace Context §3.3.1.5).
const TRACE_STATE_BYTES_MAX: usize = 512;

/// A binary frame, with and without a lease's handle.
///
/// # Panics
/// When a frame that was read is not read back.
pub fn frame(bytes: &[u8]) {
    let bytes = split_handle(bytes).map_or(bytes, |(_, rest)| rest);
    let Ok((header, picture)) = Header::read(bytes) else { return };
    let _ = header.format.matches(picture);
    let mut again = Vec::new();
    header.write(&mut again);
    again.extend_from_slice(picture);
    assert_eq!(Header::read(&again), Ok((header, picture)));
}

/// `after=` and `Last-Event-ID`.
///
/// # Panics
/// When a position that was read is not read back.
pub fn position(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(After::Position(position)) = text.parse::<After>() {
        assert_eq!(position.to_string().parse::<Position>().as_ref(), Ok(&position));
    }
}

/// A message of the live socket.
///
/// # Panics
/// When a message that was read is not read back.
pub fn live_message(bytes: &[u8]) {
    reads_back::<live::ClientMessage>(bytes);
}

/// A message of a worker.
///
/// # Panics
/// When a message that was read is not read back, or is another one to whoever reads it in one pass.
pub fn worker_message(bytes: &[u8]) {
    reads_back::<worker::WorkerMessage>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (one, other) = (worker::WorkerMessage::read(text), serde_json::from_str::<worker::WorkerMessage>(text));
        assert_eq!(one.ok(), other.ok());
    }
}

/// The body of a submission.
///
/// # Panics
/// When a submission that was read is not read back.
pub fn submission(bytes: &[u8]) {
    reads_back::<Submission>(bytes);
}

/// The other bodies of requests: reports, a new priority, a live token, a sign-in.
///
/// # Panics
/// When what was read is not read back.
pub fn request(bytes: &[u8]) {
    reads_back::<Vec<Report>>(bytes);
    reads_back::<Patch>(bytes);
    reads_back::<TokenRequest>(bytes);
    reads_back::<DemoSignIn>(bytes);
}

/// What a server says, as clients and workers read it.
///
/// # Panics
/// When a message that was read is not read back.
pub fn server_message(bytes: &[u8]) {
    reads_back::<live::ServerMessage>(bytes);
    reads_back::<worker::ServerMessage>(bytes);
}

/// A pipeline, as a worker brings it: read, and checked.
///
/// # Panics
/// When one that was read is not read back, or one that is refused is refused without a word.
pub fn pipeline(bytes: &[u8]) {
    reads_back::<Pipeline>(bytes);
    if let Ok(pipeline) = serde_json::from_slice::<Pipeline>(bytes) {
        assert!(pipeline.check().err().is_none_or(|problem| !problem.is_empty()));
    }
}

/// Ids, as they stand in paths, headers and messages.
///
/// # Panics
/// When one that was taken is written otherwise, or could leave a folder.
pub fn id(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.as_ref();
    let ids = [
        GenerationId::new(text).map(|id| id.as_str().to_owned()),
        UserId::new(text).map(|id| id.as_str().to_owned()),
        TenantId::new(text).map(|id| id.as_str().to_owned()),
        CommandId::new(text).map(|id| id.as_str().to_owned()),
        CausalId::new(text).map(|id| id.as_str().to_owned()),
    ];
    assert!(ids.into_iter().flatten().all(|taken| taken == text));
    if let Ok(name) = ArtifactName::new(text) {
        assert!(!name.as_str().contains(['/', '\\', '\0']) && !matches!(name.as_str(), "" | "." | ".."), "{name:?}");
    }
    if let Ok(lease) = LeaseId::new(text) {
        let _ = lease.address();
    }
}

/// `traceparent`, and behind a line break `tracestate`.
///
/// # Panics
/// When one that was taken is not taken again, as this server passes it on, or is longer than it may be.
pub fn trace(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (parent, state) = text.split_once('\n').unwrap_or((&text, &text));
    if let Ok(parent) = TraceParent::new(parent) {
        assert_eq!(TraceParent::new(parent.as_str()).as_ref(), Ok(&parent));
        assert_eq!((parent.trace_id().len(), parent.parent_id().len()), (32, 16));
    }
    if let Ok(state) = TraceState::new(state) {
        assert_eq!(TraceState::new(state.as_str()).as_ref(), Ok(&state));
        assert!(state.as_str().len() <= TRACE_STATE_BYTES_MAX, "{} bytes", state.as_str().len());
    }
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&read).expect("what was JSON can be written as JSON");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, read);
}
