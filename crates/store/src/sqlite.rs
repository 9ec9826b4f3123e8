//! The embedded store: one SQLite file in the data folder.
//!
//! One thread writes (`writer`, `batch`, `files`), a few connections read (`readers`, `read`), the queue's order is
//! kept in memory (`lanes`). Opening and refusing a folder is in `open`, the tables in `schema`, the identity of the
//! history in `epoch`. The bytes of artifacts are not here: rows name them by their hash.

mod batch;
mod epoch;
mod files;
mod known;
mod lanes;
mod letters;
mod log;
mod open;
mod ranked;
mod read;
mod readers;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod unfinished;
mod uploads;
mod writer;

use std::{collections::HashMap, fmt, path::PathBuf};

use async_trait::async_trait;
pub use open::OpenError;
use protocol::{
    ArtifactName, CommandId, Epoch, FileId, GenerationId, PoolName, Sequence, TenantId, Timestamp, UserId,
    dead::{DeadLetter, DeadLetterFilter, DeadLetterGroup},
};
pub(crate) use row::{bound, id, integer, sequence, time, whole};

use crate::{
    Artifact, Change, Claim, CommitError, Committed, Filter, History, Latest, Lease, LetterPage, ListPage, Listed,
    Loaded, LogPosition, Logged, OnCommit, Queued, Rank, Store, StoreError, StoredEvent, Swept, Upload,
};

/// What a store needs from outside.
pub struct Options {
    /// The data folder; made if it is not there. On a local disk: SQLite's log needs shared memory.
    pub folder: PathBuf,
    /// The time of the start.
    pub now: Timestamp,
    /// For a new epoch, if one is needed.
    pub random: [u8; 6],
    /// Hears of every committed event. Must not block, and must not call the store.
    pub on_commit: OnCommit,
    /// How many reads run at once; 2 to 4 are enough, as live events come from memory.
    pub readers: usize,
    /// Shares of tenants in the workers' time; 1 for those not named.
    pub weights: HashMap<TenantId, u32>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The embedded store. Needs a Tokio runtime around its reads.
///
/// Its promise of durability: `Strict` is answered after an fsync of the log; `Relaxed` after the commit, so that a
/// crash of the process takes nothing back and a power cut the last moments. A strict change makes all before it
/// durable.
///
/// Dropping it finishes what was handed over, on the dropping thread; [`Store::close`] does so without blocking.
pub struct Sqlite {
    // The readers first: the connection that closes last merges the log, and only the writer may write.
    readers: readers::Readers,
    writer: writer::Writer,
    lanes: writer::SharedLanes,
    epoch: Epoch,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the store in `options.folder`, or creates it.
    ///
    /// # Errors
    /// [`OpenError`] says what was found and what to do.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let open::Opened { writer, readers, lanes, epoch } = open::open(options)?;
        Ok(Self { readers, writer, lanes, epoch })
    }
}

#[async_trait]
impl History for Sqlite {
    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    async fn events_after(
        &self,
        generation: &GenerationId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let generation = generation.clone();
        self.readers.read(move |connection| read::events_after(connection, &generation, after, limit)).await
    }

    async fn log_after(&self, position: LogPosition, limit: usize) -> Result<Vec<Logged>, StoreError> {
        self.readers.read(move |connection| log::after(connection, position, limit)).await
    }

    async fn log_head(&self) -> Result<LogPosition, StoreError> {
        self.readers.read(log::head).await
    }

    async fn latest(&self, generation: &GenerationId) -> Result<Option<Latest>, StoreError> {
        let generation = generation.clone();
        self.readers.read(move |connection| read::latest(connection, &generation)).await
    }

    async fn latest_of(&self, generations: &[GenerationId]) -> Result<Vec<Option<Latest>>, StoreError> {
        let generations = generations.to_vec();
        self.readers.read(move |connection| read::latest_of(connection, &generations)).await
    }

    async fn heads(&self, generations: &[GenerationId]) -> Result<Vec<(GenerationId, Sequence)>, StoreError> {
        let generations = generations.to_vec();
        self.readers.read(move |connection| read::heads(connection, &generations)).await
    }

    async fn get(&self, generation: &GenerationId) -> Result<Option<Listed>, StoreError> {
        let generation = generation.clone();
        self.readers.read(move |connection| read::get(connection, &generation)).await
    }

    async fn list(&self, filter: &Filter, cursor: Option<u64>, limit: usize) -> Result<ListPage, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| read::list(connection, &filter, cursor, limit)).await
    }

    async fn count(&self, filter: &Filter, limit: usize) -> Result<usize, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| read::count(connection, &filter, limit)).await
    }

    async fn unfinished(&self, tenant: &TenantId, owner: Option<&UserId>) -> Result<usize, StoreError> {
        Ok(self.lanes.lock().unfinished.of(tenant, owner))
    }

    async fn queue(&self, pool: &PoolName, limit: usize) -> Result<Vec<Queued>, StoreError> {
        Ok(self.lanes.lock().queue(pool, limit))
    }

    async fn ranks(
        &self,
        pool: &PoolName,
        generations: &[GenerationId],
    ) -> Result<Vec<(GenerationId, Rank)>, StoreError> {
        Ok(self.lanes.lock().ranks(pool, generations))
    }

    async fn letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<LetterPage, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| letters::page(connection, &filter, cursor, limit)).await
    }

    async fn letter(&self, generation: &GenerationId) -> Result<Option<DeadLetter>, StoreError> {
        let generation = generation.clone();
        self.readers.read(move |connection| letters::one(connection, &generation)).await
    }

    async fn letter_groups(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| letters::groups(connection, &filter, limit)).await
    }

    async fn depth(&self) -> Result<Vec<(PoolName, u64, Timestamp)>, StoreError> {
        Ok(self.lanes.lock().depth())
    }

    async fn backlog(&self) -> Result<Vec<(PoolName, u64)>, StoreError> {
        Ok(self.lanes.lock().backlog())
    }

    async fn artifact(&self, generation: &GenerationId, name: &ArtifactName) -> Result<Option<Artifact>, StoreError> {
        let (generation, name) = (generation.clone(), name.clone());
        self.readers.read(move |connection| read::artifact(connection, &generation, &name)).await
    }

    async fn artifacts(&self, generation: &GenerationId) -> Result<Vec<Artifact>, StoreError> {
        let generation = generation.clone();
        self.readers.read(move |connection| read::artifacts(connection, &generation)).await
    }

    async fn upload(&self, file: &FileId) -> Result<Option<Upload>, StoreError> {
        let file = file.clone();
        self.readers.read(move |connection| read::upload(connection, &file)).await
    }

    async fn uploaded(&self, tenant: &TenantId, owner: &UserId, least: u64) -> Result<u64, StoreError> {
        let (tenant, owner) = (tenant.clone(), owner.clone());
        self.readers.read(move |connection| uploads::uploaded(connection, &tenant, &owner, least)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.writer.work(|desk| Ok(files::probe(&desk.connection)?)).await
    }
}

#[async_trait]
impl Store for Sqlite {
    /// # Panics
    /// When a change has no event, or would create without bringing the columns.
    async fn commit(&self, changes: Vec<Change>) -> Vec<Result<Committed, CommitError>> {
        self.writer.commit(changes).await
    }

    async fn find(&self, generation: &GenerationId, command: &CommandId) -> Result<Option<Sequence>, StoreError> {
        let (generation, command) = (generation.clone(), command.clone());
        self.readers.read(move |connection| read::find(connection, &generation, &command)).await
    }

    async fn load(&self, generation: &GenerationId) -> Result<Option<Loaded>, StoreError> {
        let generation = generation.clone();
        self.readers.read(move |connection| read::load(connection, &generation)).await
    }

    async fn is_claimed(&self, claim: &Claim) -> Result<bool, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| read::is_claimed(connection, &claim)).await
    }

    async fn reserve(
        &self,
        pool: &PoolName,
        count: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Queued>, StoreError> {
        Ok(self.lanes.lock().reserve(pool, count, now, until))
    }

    async fn unreserve(&self, generation: &GenerationId) {
        self.lanes.lock().unreserve(generation);
    }

    async fn gate(&self, name: &str, open: bool) {
        self.lanes.lock().gate(name, open);
    }

    async fn waiting_before(&self, name: &str, limit: usize) -> Vec<GenerationId> {
        self.lanes.lock().waiting_before(name, limit)
    }

    async fn deadlines(&self) -> Result<Vec<(GenerationId, Timestamp)>, StoreError> {
        self.readers.read(read::deadlines).await
    }

    async fn put_switch(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        let (name, value) = (name.to_owned(), value.map(str::to_owned));
        self.writer.work(move |desk| letters::put_switch(&desk.connection, &name, value.as_deref())).await
    }

    async fn switches(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.readers.read(letters::switches).await
    }

    async fn purge_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.writer.work(move |desk| letters::purge(&desk.connection, &filter, limit)).await
    }

    async fn next_due(&self, pool: &PoolName, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.lanes.lock().next_due(pool, now))
    }

    async fn leased(&self) -> Result<Vec<Lease>, StoreError> {
        self.readers.read(read::leased).await
    }

    /// A generation that has not ended is not deleted: the answer is [`StoreError::Unavailable`], and the caller
    /// cancels it first.
    async fn delete(&self, generation: &GenerationId) -> Result<Option<Vec<String>>, StoreError> {
        let generation = generation.clone();
        let blobs = self.writer.work(move |desk| files::delete(desk, &generation)).await?;
        if blobs.is_some() {
            // In steps, between which others write. What a crash leaves is done by the next sweep.
            while self.writer.work(|desk| files::dig(desk, files::EVENTS_REMOVED_MAX)).await? {}
        }
        Ok(blobs)
    }

    async fn sweep(
        &self,
        events_before: Option<Timestamp>,
        artifacts_before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Swept, StoreError> {
        self.writer.work(move |desk| files::sweep(desk, events_before, artifacts_before, limit)).await
    }

    async fn sweep_uploads(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let unused = self.readers.read(move |connection| uploads::unused(connection, before, limit)).await?;
        if unused.files.is_empty() {
            return Ok(0);
        }
        self.writer.work(move |desk| Ok(uploads::remove(&desk.connection, &unused)?)).await
    }

    async fn expect_blob(&self, blob: &str) -> Result<(), StoreError> {
        let blob = blob.to_owned();
        self.writer.work(move |desk| Ok(files::expect(desk, &blob)?)).await
    }

    async fn forget_blobs(&self, gone: Vec<String>) -> Result<(), StoreError> {
        self.writer.work(move |desk| Ok(files::forget(desk, &gone)?)).await
    }

    async fn put_artifact(&self, generation: &GenerationId, artifact: Artifact) -> Result<(), StoreError> {
        let generation = generation.clone();
        self.writer.work(move |desk| files::put_artifact(&desk.connection, &generation, &artifact)).await
    }

    async fn put_upload(&self, upload: Upload) -> Result<(), StoreError> {
        self.writer.work(move |desk| files::put_upload(&desk.connection, &upload)).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
