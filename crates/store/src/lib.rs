//! The memory: the durable event log, the generations and the queue.
//!
//! One write verb, [`Store::commit`], through which everything passes; short reads beside it. A store assigns
//! sequences and nothing else does. It understands no rule of the engine: the state it keeps is bytes to it, the
//! columns it sorts by are given.

pub mod change;
pub mod conformance;
pub mod history;
pub mod ledger;
pub mod queue;
pub mod sqlite;

use async_trait::async_trait;

pub use change::{Change, Charge, Claim, CommitError, Committed, NewEvent, Row, Shares};
pub use history::{
    Artifact, Filter, History, Latest, LetterPage, ListPage, Listed, LogPosition, Logged, StoreError, StoredEvent,
    Upload,
};
pub use ledger::Ledger;
use protocol::{CommandId, GenerationId, PoolName, Sequence, Timestamp, dead::DeadLetterFilter};
pub use queue::{Lease, QueueEntry, Queued, Rank};

/// A generation as the orchestrator loads it: the last state written, and the events that came after it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The columns as of `sequence`.
    pub row: Row,
    /// Up to which event `row.snapshot` holds.
    pub sequence: Sequence,
    /// What came after, in order.
    pub after: Vec<StoredEvent>,
}

/// Hears of committed events, on the writer's thread, in commit order, after they are durable. Must not block.
pub type OnCommit = std::sync::Arc<dyn Fn(&[StoredEvent]) + Send + Sync>;

/// The durable truth of one node or of a cluster.
#[async_trait]
pub trait Store: History {
    /// Applies each change, all or nothing per change, and answers in the same order once it is as durable as it asks.
    /// For each change: a known command id is answered as the first time, before sequences are compared; a wrong
    /// `expected` sequence is [`CommitError::Conflict`] and the caller decides again.
    /// The events of a change are handed to [`OnCommit`] before its answer is given.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have committed; repeat it with the same command id.
    async fn commit(&self, changes: Vec<Change>) -> Vec<Result<Committed, CommitError>>;

    /// The sequence of the last event `command` caused, if it was ever committed: how a repeat of a command that no
    /// longer fits the state is told from a new one.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn find(&self, generation: &GenerationId, command: &CommandId) -> Result<Option<Sequence>, StoreError>;

    /// The state of a generation, to decide upon.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn load(&self, generation: &GenerationId) -> Result<Option<Loaded>, StoreError>;

    /// Is there a generation that has the key of `claim`, whatever digest it came with?
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn is_claimed(&self, claim: &Claim) -> Result<bool, StoreError>;

    /// The next `count` of `pool` in the order of its lanes, eligible at `now`, each reserved until `until` so that no
    /// other call gets it meanwhile. Reserving changes no state: a crash leaves nothing behind, and a commit that
    /// moves the generation ends the reservation.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn reserve(
        &self,
        pool: &PoolName,
        count: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Queued>, StoreError>;

    /// Gives a reservation back before its time.
    async fn unreserve(&self, generation: &GenerationId);

    /// Closes the gate called `name`, or opens it again: entries that name a closed one are in no lane. Gates live in
    /// memory; a store that starts has them all open.
    async fn gate(&self, name: &str, open: bool);

    /// The first `limit` that wait in a lane and have to pass the gate called `name`, open or closed.
    async fn waiting_before(&self, name: &str, limit: usize) -> Vec<GenerationId>;

    /// Everything that has a deadline, whatever it does until then, for a node that starts.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn deadlines(&self) -> Result<Vec<(GenerationId, Timestamp)>, StoreError>;

    /// Keeps what an operator decided under a name, over restarts; `None` forgets it.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now, or [`StoreError::Full`].
    async fn put_switch(&self, name: &str, value: Option<&str>) -> Result<(), StoreError>;

    /// What operators decided, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn switches(&self) -> Result<Vec<(String, String)>, StoreError>;

    /// Removes at most `limit` dead letters that fit `filter`, the oldest first; answers how many. Their generations
    /// stay.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn purge_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<u64, StoreError>;

    /// When the earliest entry of `pool` that is not eligible at `now` becomes so.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn next_due(&self, pool: &PoolName, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// All generations under a lease, for a node that starts.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn leased(&self) -> Result<Vec<Lease>, StoreError>;

    /// Removes a finished generation with its events and artifact rows. Answers the SHA-256 of blobs no row names any
    /// more, or `None` when there was no such generation.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn delete(&self, generation: &GenerationId) -> Result<Option<Vec<String>>, StoreError>;

    /// One small batch of retention: generations that ended before `events_before` lose events and row, artifacts of
    /// those that ended before `artifacts_before` lose their rows. At most `limit` generations of each kind.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn sweep(
        &self,
        events_before: Option<Timestamp>,
        artifacts_before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Swept, StoreError>;

    /// One small batch of retention: uploads from before `before` that no unfinished generation names lose their rows, at
    /// most `limit`. What nobody refers to after it is told of by the next [`Store::sweep`]. Answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now.
    async fn sweep_uploads(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Says that a file is about to be put under `blob`: where no row names it, it counts as one that nobody names until
    /// a row does, and sweeps tell of it. To be called before the file is there, so that whatever happens between the
    /// file and its row leaves nothing behind.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now, or [`StoreError::Full`]; then nothing may be put.
    async fn expect_blob(&self, blob: &str) -> Result<(), StoreError>;

    /// The files of these blobs are gone: of those that the last [`Store::sweep`] told of it is the last word, but for those
    /// that were expected again since.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now. They are told of again.
    async fn forget_blobs(&self, gone: Vec<String>) -> Result<(), StoreError>;

    /// Records a file of a generation. The same name again replaces it.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now, or [`StoreError::Full`].
    async fn put_artifact(&self, generation: &GenerationId, artifact: Artifact) -> Result<(), StoreError>;

    /// Records an uploaded input file.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer now, or [`StoreError::Full`].
    async fn put_upload(&self, upload: Upload) -> Result<(), StoreError>;

    /// Waits for what was given to [`Store::commit`] and closes the files. Nothing may be called after it.
    async fn close(&self);
}

/// What one batch of retention did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Generations that are gone.
    pub generations: Vec<GenerationId>,
    /// SHA-256 of blobs no row names, told of by every sweep until [`Store::forget_blobs`].
    pub blobs: Vec<String>,
}
