//! The server's side of WebSocket (RFC 6455): bytes in, messages out, and back. Without I/O, clock or runtime.
//!
//! Owned here: the handshake's headers, reading a client's frames, writing the server's, the codes of a close.
//! Left to the transport: the socket, deadlines, answering a ping with a pong and a close with a close, and how
//! many of them it puts up with. No extension is offered, so no frame is ever compressed.

pub mod close;
pub mod decoder;
pub mod encoder;
mod frame;
pub mod handshake;
mod mask;
pub mod message;
