//! What travels on a bus.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{Event, GenerationId, Hint, frame::Header, worker::Demand};

/// A preview picture on its way to watchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whose it is; also in the header.
    pub generation: GenerationId,
    /// What the header says.
    pub header: Header,
    /// Header and picture as they go on the wire, shared by all watchers.
    pub bytes: Bytes,
    /// Where in `bytes` the picture begins.
    pub picture_at: usize,
}

impl Frame {
    /// The picture without its header.
    #[must_use]
    pub fn picture(&self) -> Bytes {
        self.bytes.slice(self.picture_at..)
    }
}

/// Who looks at a generation through one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Interest {
    /// Which generation.
    pub generation: GenerationId,
    /// The greatest wish of players, if any.
    pub full: Option<Demand>,
    /// The greatest wish of small tiles, if any.
    pub tile: Option<Demand>,
    /// How many connections watch, with or without frames.
    pub watchers: usize,
    /// Above 1: the requester that wants every frame cannot keep up; stretch the time between frames by this much.
    pub slow: f64,
}

/// One message of the bus.
#[derive(Debug, Clone)]
pub enum Signal {
    /// Committed events of one generation, in order.
    Events(Arc<[Arc<Event>]>),
    /// An ephemeral status.
    Hint(Arc<Hint>),
    /// A preview picture.
    Frame(Arc<Frame>),
    /// From watchers to the worker: who looks now, at each of these. Replaces what the same node said of them before.
    Interest(Arc<[Interest]>),
    /// The generation was deleted; whoever watches it is told that it is gone.
    Deleted(GenerationId),
}
