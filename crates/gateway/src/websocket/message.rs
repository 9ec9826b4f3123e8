//! What a client said: one message, whole and unmasked.

use bytes::Bytes;

use super::close::CloseCode;

/// A message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, checked to be UTF-8.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// To be answered by a pong with the same payload of at most 125 bytes.
    Ping(Bytes),
    /// The answer to a ping, with its payload, or a sign of life nobody asked for.
    Pong(Bytes),
    /// The client's last frame, with its code and reason if it gave any. Nothing after it is read.
    Close(Option<(CloseCode, String)>),
}
