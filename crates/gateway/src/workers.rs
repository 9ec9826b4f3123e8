//! Where a worker's socket meets the orchestrator: messages in, messages out, frames beside them.
//!
//! The gateway owns the bytes, the orchestrator the meaning. Both queues are bounded: a worker that outruns the
//! orchestrator waits on its own socket.

use access::Identity;
use bytes::Bytes;
use protocol::worker::{ServerMessage, WorkerMessage};
use tokio::sync::mpsc;

/// Messages a worker may have in flight towards the orchestrator: a burst of stage edges of all its runs.
pub const INBOUND_MAX: usize = 64;
/// Messages that may wait for a worker's socket. A worker that reads none of them is disconnected.
pub const OUTBOUND_MAX: usize = 256;

/// What comes from a worker.
#[derive(Debug)]
pub enum Inbound {
    /// A message that was understood.
    Message(Box<WorkerMessage>),
    /// A text that was not; `String` says why. The connection goes on.
    Unreadable(String),
    /// A lease handle and a frame.
    Frame(Bytes),
}

/// What goes to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Outbound {
    /// A message.
    Message(Box<ServerMessage>),
    /// The end of the connection.
    Close {
        /// A WebSocket close code.
        code: u16,
        /// For people.
        reason: &'static str,
    },
}

/// One end of a worker's connection, held by its socket task. Dropping it tells the orchestrator that it closed.
#[derive(Debug)]
pub struct WorkerLink {
    /// Towards the orchestrator.
    pub inbound: mpsc::Sender<Inbound>,
    /// Towards the worker. Closed when the orchestrator gives the connection up.
    pub outbound: mpsc::Receiver<Outbound>,
}

/// Takes connections of workers whose token was good.
pub trait Workers: Send + Sync {
    /// Opens a link, or `None` when the server is stopping.
    fn connect(&self, bearer: Identity) -> Option<WorkerLink>;
}
