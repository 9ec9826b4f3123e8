//! Bodies for fuzzers: each takes any bytes, and must neither panic nor take long. What was read and written again reads the same.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    After, Position,
    frame::{Header, split_handle},
    http::Submission,
    live, worker,
};

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
/// When a message that was read is not read back.
pub fn worker_message(bytes: &[u8]) {
    reads_back::<worker::WorkerMessage>(bytes);
}

/// The body of a submission.
///
/// # Panics
/// When a submission that was read is not read back.
pub fn submission(bytes: &[u8]) {
    reads_back::<Submission>(bytes);
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&read).expect("what was JSON can be written as JSON");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, read);
}
