//! What a store knows of the queue: lanes of (pool, tenant), and leases.

use protocol::{Fence, GenerationId, LeaseId, PoolName, TenantId, Timestamp};

/// A generation's place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// Workers of this pool can take it.
    pub pool: PoolName,
    /// Order inside its lane: `submitted_at − head_start(priority)`, in milliseconds.
    pub order: i64,
    /// In no lane before this time (a retry's backoff). 0 for at once.
    pub not_before: Timestamp,
    /// Predicted worker-milliseconds.
    pub cost_ms: i64,
    /// Names of what it has to pass to start. While one of them is closed it is in no lane; see [`crate::Store::gate`].
    pub gates: Vec<String>,
}

/// How much stands before an entry of its queue, in the order of claiming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// Entries.
    pub before: u64,
    /// Worker-milliseconds they are predicted to take.
    pub before_ms: i64,
}

/// An entry as it is handed out, in the order of claiming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which one.
    pub generation: GenerationId,
    /// Whose lane.
    pub tenant: TenantId,
    /// Its place.
    pub entry: QueueEntry,
}

/// Who holds a generation's run. The deadline is not durable: it lives in the node that holds the worker's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which generation.
    pub generation: GenerationId,
    /// The right itself.
    pub lease: LeaseId,
    /// Its fence.
    pub fence: Fence,
    /// The worker, as it named itself.
    pub worker: String,
    /// The node that granted it.
    pub node: String,
}
