//! The read half of a store: what watchers and pages need. Reads are short; a page is one read.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{
    ArtifactName, Epoch, Event, FileId, GenerationId, PoolName, Sequence, State, TenantId, Timestamp, UserId,
    dead::{DeadLetter, DeadLetterFilter, DeadLetterGroup},
};

use crate::{
    change::Row,
    queue::{Queued, Rank},
};

/// Why a read gave nothing. Safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// No answer from the store.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// An event with its sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// What watchers see, `sequence` assigned.
    pub event: Arc<Event>,
    /// What only the engine reads.
    pub fact: Vec<u8>,
}

/// A place in the log of all generations, in the order of commits. 0 is before the first event. Places of events that
/// were deleted are never given again, so whoever stands at one misses nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogPosition(pub u64);

/// An event with its place in the log of all generations.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Where it stands.
    pub position: LogPosition,
    /// What watchers see, `sequence` assigned.
    pub event: Event,
}

/// A generation's latest state, enough to answer whether somebody may see it and what it looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Its newest event; its sequence is the head.
    pub event: Event,
    /// The oldest event still in the log; watchers behind it get a snapshot.
    pub oldest: Sequence,
}

/// A generation with its columns, as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Which one.
    pub generation: GenerationId,
    /// Its columns as of the last stage edge.
    pub row: Row,
    /// Its newest event.
    pub latest: Event,
}

/// Which generations a list shows. Empty shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this owner's.
    pub owner: Option<UserId>,
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only those that have not ended.
    pub unfinished: bool,
}

/// A page of a list, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListPage {
    /// The rows.
    pub rows: Vec<Listed>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<u64>,
}

/// A page of dead letters, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LetterPage {
    /// The letters, without input and history.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<u64>,
}

/// A kept file of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name.
    pub name: ArtifactName,
    /// Bytes.
    pub size: u64,
    /// Hex SHA-256, which names the blob.
    pub sha256: String,
    /// When it was uploaded.
    pub at: Timestamp,
}

/// An uploaded input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Which one.
    pub file: FileId,
    /// Whose.
    pub owner: UserId,
    /// Whose customer.
    pub tenant: TenantId,
    /// Bytes.
    pub size: u64,
    /// Hex SHA-256, which names the blob.
    pub sha256: String,
    /// When.
    pub at: Timestamp,
}

/// The read half of a store. Each method fails only with [`StoreError`], when the store cannot answer now.
#[async_trait]
pub trait History: Send + Sync {
    /// The identity of this history.
    fn epoch(&self) -> Epoch;

    /// Events after `after`, oldest first, at most `limit`.
    async fn events_after(
        &self,
        generation: &GenerationId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Events of all generations after `position`, in the order of commits, at most `limit`.
    async fn log_after(&self, position: LogPosition, limit: usize) -> Result<Vec<Logged>, StoreError>;

    /// The place of the newest event there ever was.
    async fn log_head(&self) -> Result<LogPosition, StoreError>;

    /// The latest state; `None` for an unknown generation.
    async fn latest(&self, generation: &GenerationId) -> Result<Option<Latest>, StoreError>;

    /// The latest states of many, in the order of asking: a crowd that comes back costs one read for many of it.
    async fn latest_of(&self, generations: &[GenerationId]) -> Result<Vec<Option<Latest>>, StoreError>;

    /// The heads of many, unknown ones left out: how a receiver finds what a bus lost.
    async fn heads(&self, generations: &[GenerationId]) -> Result<Vec<(GenerationId, Sequence)>, StoreError>;

    /// One generation with its columns.
    async fn get(&self, generation: &GenerationId) -> Result<Option<Listed>, StoreError>;

    /// A page of generations, newest first, from `cursor` (an earlier page's `next`).
    async fn list(&self, filter: &Filter, cursor: Option<u64>, limit: usize) -> Result<ListPage, StoreError>;

    /// How many match, counted up to `limit`.
    async fn count(&self, filter: &Filter, limit: usize) -> Result<usize, StoreError>;

    /// How many generations of a tenant, or of one of its owners, have not ended. Costs no look into the log.
    async fn unfinished(&self, tenant: &TenantId, owner: Option<&UserId>) -> Result<usize, StoreError>;

    /// The queue of `pool` in the order of claiming, at most `limit`, with those not yet eligible last.
    async fn queue(&self, pool: &PoolName, limit: usize) -> Result<Vec<Queued>, StoreError>;

    /// How much stands before each of `generations` in the queue of `pool`, in the order of claiming; those that are not
    /// in a lane now are left out.
    async fn ranks(
        &self,
        pool: &PoolName,
        generations: &[GenerationId],
    ) -> Result<Vec<(GenerationId, Rank)>, StoreError>;

    /// A page of dead letters, newest first, from `cursor` (an earlier page's `next`).
    async fn letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<LetterPage, StoreError>;

    /// The dead letter of a generation, without input and history.
    async fn letter(&self, generation: &GenerationId) -> Result<Option<DeadLetter>, StoreError>;

    /// Dead letters by fingerprint, the most numerous first, at most `limit` groups.
    async fn letter_groups(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// Pools with waiting work: how much, and when the oldest was submitted.
    async fn depth(&self) -> Result<Vec<(PoolName, u64, Timestamp)>, StoreError>;

    /// Predicted worker-milliseconds of what waits, by pool; a pool of which nothing waits may be missing.
    async fn backlog(&self) -> Result<Vec<(PoolName, u64)>, StoreError>;

    /// A kept file.
    async fn artifact(&self, generation: &GenerationId, name: &ArtifactName) -> Result<Option<Artifact>, StoreError>;

    /// All kept files of a generation, by name.
    async fn artifacts(&self, generation: &GenerationId) -> Result<Vec<Artifact>, StoreError>;

    /// An uploaded input file.
    async fn upload(&self, file: &FileId) -> Result<Option<Upload>, StoreError>;

    /// Bytes of all uploads of one owner, each counted for `least` or more.
    async fn uploaded(&self, tenant: &TenantId, owner: &UserId, least: u64) -> Result<u64, StoreError>;

    /// Does the store take writes? What `/readyz` asks.
    async fn ready(&self) -> Result<(), StoreError>;
}
