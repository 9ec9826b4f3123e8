//! What is written: a change of one generation, all or nothing.

use std::sync::Arc;

use protocol::{
    ArtifactName, CommandId, Durability, Event, GenerationId, PoolName, Sequence, State, TenantId, Timestamp, UserId,
    dead::DeadLetter,
};

use crate::queue::{Lease, QueueEntry};

/// An event to append. Its `sequence` is ignored: the store assigns it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What watchers see.
    pub event: Arc<Event>,
    /// What only the engine reads; bytes to the store.
    pub fact: Vec<u8>,
}

/// The columns of a generation. Rewritten at stage edges, not with each progress event.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Who may see it.
    pub owner: UserId,
    /// The owner's customer.
    pub tenant: TenantId,
    /// Where it stands, to filter by.
    pub state: State,
    /// `name@version`, to filter by.
    pub pipeline: String,
    /// The engine's state after this change; bytes to the store.
    pub snapshot: Vec<u8>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When this change was decided.
    pub updated_at: Timestamp,
    /// Its place in the queue; `None` when it waits for nothing.
    pub queue: Option<QueueEntry>,
    /// Who holds it; `None` when nobody does.
    pub lease: Option<Lease>,
    /// When somebody has to look at it, whatever it does until then; `None` when nobody set a bound.
    pub due_at: Option<Timestamp>,
}

/// A key that names a generation once, such as an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Tenant, owner and kind of key, joined so that no two scopes collide.
    pub scope: String,
    /// The key itself.
    pub key: String,
    /// SHA-256 of the request it stands for.
    pub digest: [u8; 32],
}

/// What starting work costs a tenant in a pool: `clock = max(clock, pool_clock) + cost / weight`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Whose lane.
    pub tenant: TenantId,
    /// In which pool.
    pub pool: PoolName,
    /// Predicted worker-milliseconds; negative corrects an earlier prediction.
    pub cost_ms: i64,
}

/// Files that a new generation shares with an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Whose they are.
    pub from: GenerationId,
    /// Which ones.
    pub names: Vec<ArtifactName>,
}

/// One change of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which one.
    pub generation: GenerationId,
    /// Makes a repeat harmless. The events are called `<command>.<n>`.
    pub command: CommandId,
    /// The head this was decided on; 0 creates the generation, and then `row` must be there.
    pub expected: Sequence,
    /// In order; at least one.
    pub events: Vec<NewEvent>,
    /// The new columns; `None` leaves them as they are.
    pub row: Option<Row>,
    /// Creates only if nobody holds this key.
    pub claim: Option<Claim>,
    /// Moves a lane's clock in the same transaction.
    pub charge: Option<Charge>,
    /// Files of another generation that this one shares, named in the same transaction so that nothing removes them
    /// between.
    pub shares: Option<Shares>,
    /// It failed for good: kept for a person to look at.
    pub letter: Option<Box<DeadLetter>>,
    /// The dead letter this generation is made of.
    pub redrives: Option<GenerationId>,
    /// What the answer waits for. `Relay` is decided by the caller and here means `Relaxed`.
    pub durability: Durability,
}

/// How a change ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The events have the sequences up to `last`.
    New {
        /// Sequence of the last event.
        last: Sequence,
    },
    /// The command was committed before; nothing was written. Its events ended at `last`.
    Repeated {
        /// Sequence of the last event it caused then.
        last: Sequence,
    },
    /// The claim belongs to `generation`; nothing was written.
    Claimed {
        /// Who holds the key.
        generation: GenerationId,
        /// Was it claimed with the same digest?
        same: bool,
    },
}

/// Why a change was not applied. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote first: load and decide again.
    #[error("the head is {head}")]
    Conflict {
        /// The head as it is; 0 when there is no such generation.
        head: Sequence,
    },
    /// A file that was to be shared is no longer there: decide again without it.
    #[error("{name} is gone")]
    Gone {
        /// Which one.
        name: ArtifactName,
    },
    /// The disk is full. Safe to repeat when there is room.
    #[error("the disk is full")]
    Full,
    /// No answer from the store. Safe to repeat with the same command id.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
