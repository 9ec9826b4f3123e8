//! The ledger of announcements: how far the log was read, what each endpoint still has to get, and what it never got.
//!
//! ```text
//! ledger/tables.rs    the file: tables, settings, what is refused
//! ledger/dues.rs      what is due: collected, advanced, postponed, settled
//! ledger/letters.rs   dead letters: buried, listed, redriven
//! ```
//! It has a file and a thread of its own, so that announcing never takes a moment of the log's writer. Nothing of a
//! generation but its id is written here: what is announced is read from the log when it is sent. A due is one row for
//! a generation at an endpoint, whatever the number of its events, so the ledger is never longer than the list of
//! generations times the endpoints. Commits are not synced: after a power cut some things are announced twice, none is
//! left out. When to send, whereto and how is the server's.

mod dues;
mod letters;
mod tables;
#[cfg(test)]
mod tests;

use std::{fmt, path::Path, thread};

use parking_lot::Mutex;
use protocol::{Epoch, GenerationId, Sequence, Timestamp};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{LogPosition, StoreError};

pub use letters::{DEAD_LETTERS_PER_ENDPOINT_MAX, Which};

/// Calls that may wait for the ledger's thread; beyond it callers wait.
const JOBS_MAX: usize = 256;

/// A generation of which an endpoint has to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which one.
    pub generation: GenerationId,
    /// Everything up to here was sent, or is of no interest to the endpoint.
    pub sent: Sequence,
    /// Up to here something may be of interest.
    pub target: Sequence,
    /// Tries of the next message that ended badly.
    pub failures: u32,
    /// When the first of them did.
    pub failing_since: Option<Timestamp>,
}

/// An event of interest to an endpoint, as it was found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose interest.
    pub endpoint: String,
    /// Which generation.
    pub generation: GenerationId,
    /// Which event.
    pub sequence: Sequence,
    /// Where it stands in the log of all.
    pub position: LogPosition,
}

/// What a generation still had to say to an endpoint when the last try had failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, growing.
    pub id: u64,
    /// Which generation.
    pub generation: GenerationId,
    /// From which event on.
    pub first: Sequence,
    /// Up to which.
    pub last: Sequence,
    /// Tries that ended badly.
    pub failures: u32,
    /// When the first of them did.
    pub failing_since: Timestamp,
    /// When it was given up.
    pub buried_at: Timestamp,
    /// Why the last try failed.
    pub error: String,
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub endpoint: String,
    /// Events after this place are for it.
    pub since: LogPosition,
    /// Generations of which it has to hear.
    pub due: u64,
    /// Those of them whose last try failed.
    pub failing: u64,
    /// When the next of them is tried.
    pub next_at: Option<Timestamp>,
    /// What it never got.
    pub dead_letters: u64,
    /// Since when nothing is sent to it, and why.
    pub disabled: Option<(Timestamp, String)>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the ledger's thread. Dropped, it lets the thread finish what it was given and waits for it.
pub struct Ledger {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// Why a ledger was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file is there and is no ledger, or a newer program's.
    #[error("{file} {what}: move it away, and what was not yet announced is forgotten")]
    Foreign {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file cannot be opened or written.
    #[error("opening {file}")]
    Unusable {
        /// The file.
        file: String,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// There are no threads left.
    #[error("starting the ledger's thread")]
    Thread(#[from] std::io::Error),
}

impl Ledger {
    /// Is there one in `folder`?
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        folder.join(tables::FILE).exists()
    }

    /// Opens the ledger in `folder`, or makes one. `head` is where the log ends and `epoch` which log it is: a ledger
    /// that is ahead of its log, as after a restore, goes back to where the log is.
    ///
    /// # Errors
    /// [`LedgerError`] says what was found and what to do.
    pub fn open(folder: &Path, epoch: &Epoch, head: LogPosition) -> Result<Self, LedgerError> {
        let mut connection = tables::open(folder, epoch, head)?;
        let (jobs, mut inbox) = mpsc::channel::<Job>(JOBS_MAX);
        let run = move || {
            while let Some(job) = inbox.blocking_recv() {
                job(&mut connection);
            }
        };
        let thread = thread::Builder::new().name("rushes-ledger".into()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `job` in one transaction.
    async fn transact<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Unavailable("the ledger has stopped".into());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let done = connection.transaction().and_then(|transaction| {
                let value = job(&transaction)?;
                transaction.commit()?;
                Ok(value)
            });
            // The caller may have gone; the work is done all the same.
            let _ = answer.send(done.map_err(StoreError::from));
        });
        let jobs = self.jobs.as_ref().expect("taken only when dropped");
        jobs.send(job).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// These are the endpoints: new ones hear what comes after `head`, and those that are no more are forgotten with
    /// all they had to get. Answers the names of the forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written now; so of all below.
    pub async fn register(&self, endpoints: Vec<String>, head: LogPosition) -> Result<Vec<String>, StoreError> {
        self.transact(move |connection| dues::register(connection, &endpoints, head)).await
    }

    /// Up to where the log was read.
    ///
    /// # Errors
    /// As above.
    pub async fn cursor(&self) -> Result<LogPosition, StoreError> {
        self.transact(dues::cursor).await
    }

    /// The log was read up to `cursor`, and this was found. All of it is remembered, or nothing.
    ///
    /// # Errors
    /// As above.
    pub async fn collect(&self, cursor: LogPosition, found: Vec<Found>) -> Result<(), StoreError> {
        self.transact(move |connection| dues::collect(connection, cursor, &found)).await
    }

    /// What `endpoint` has to hear of at `now`, the longest waiting first, and when more becomes due.
    ///
    /// # Errors
    /// As above.
    pub async fn due(
        &self,
        endpoint: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Due>, Option<Timestamp>), StoreError> {
        let endpoint = endpoint.to_owned();
        self.transact(move |connection| dues::due(connection, &endpoint, now, limit)).await
    }

    /// `endpoint` took the event at `sequence`, where all up to `from` was sent. Answers `false`, and notes nothing, when
    /// the due is gone or stands elsewhere, as after a redrive: what is due must be read anew.
    ///
    /// # Errors
    /// As above.
    pub async fn advance(
        &self,
        endpoint: &str,
        generation: &GenerationId,
        from: Sequence,
        sequence: Sequence,
    ) -> Result<bool, StoreError> {
        let (endpoint, generation) = (endpoint.to_owned(), generation.clone());
        self.transact(move |connection| dues::advance(connection, &endpoint, &generation, from, sequence)).await
    }

    /// Nothing from `from` up to `sequence` is left to be sent. Answers up to where something is, or `None` when that was
    /// all, or the due stands elsewhere and must be read anew.
    ///
    /// # Errors
    /// As above.
    pub async fn settle(
        &self,
        endpoint: &str,
        generation: &GenerationId,
        from: Sequence,
        sequence: Sequence,
    ) -> Result<Option<Sequence>, StoreError> {
        let (endpoint, generation) = (endpoint.to_owned(), generation.clone());
        self.transact(move |connection| dues::settle(connection, &endpoint, &generation, from, sequence)).await
    }

    /// A try failed at `now`; the next one is at `next_at`.
    ///
    /// # Errors
    /// As above.
    pub async fn postpone(
        &self,
        endpoint: &str,
        generation: &GenerationId,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (endpoint, generation) = (endpoint.to_owned(), generation.clone());
        self.transact(move |connection| dues::postpone(connection, &endpoint, &generation, now, next_at)).await
    }

    /// The last try failed at `now`: what is left becomes a dead letter. Answers how many old ones made room for it.
    ///
    /// # Errors
    /// As above.
    pub async fn bury(
        &self,
        endpoint: &str,
        generation: &GenerationId,
        now: Timestamp,
        error: &str,
    ) -> Result<u64, StoreError> {
        let (endpoint, generation, error) = (endpoint.to_owned(), generation.clone(), error.to_owned());
        self.transact(move |connection| letters::bury(connection, &endpoint, &generation, now, &error)).await
    }

    /// Nothing is sent to `endpoint` from `now` on, and nothing is collected for it; what it had to get becomes dead
    /// letters. Answers `false` when there is no such endpoint.
    ///
    /// # Errors
    /// As above.
    pub async fn disable(&self, endpoint: &str, now: Timestamp, why: &str) -> Result<bool, StoreError> {
        let (endpoint, why) = (endpoint.to_owned(), why.to_owned());
        self.transact(move |connection| letters::disable(connection, &endpoint, now, &why)).await
    }

    /// `endpoint` hears again of what comes after `head`. Answers `false` when there is no such endpoint.
    ///
    /// # Errors
    /// As above.
    pub async fn enable(&self, endpoint: &str, head: LogPosition) -> Result<bool, StoreError> {
        let endpoint = endpoint.to_owned();
        self.transact(move |connection| dues::enable(connection, &endpoint, head)).await
    }

    /// Dead letters of `endpoint` that are older than `before`, newest first.
    ///
    /// # Errors
    /// As above.
    pub async fn dead_letters(
        &self,
        endpoint: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let endpoint = endpoint.to_owned();
        self.transact(move |connection| letters::list(connection, &endpoint, before, limit)).await
    }

    /// Dead letters become due again, from their first event. Answers how many.
    ///
    /// # Errors
    /// As above.
    pub async fn redrive(&self, endpoint: &str, which: Which) -> Result<u64, StoreError> {
        let endpoint = endpoint.to_owned();
        self.transact(move |connection| letters::redrive(connection, &endpoint, &which)).await
    }

    /// Dead letters are thrown away. Answers how many.
    ///
    /// # Errors
    /// As above.
    pub async fn purge(&self, endpoint: &str, which: Which) -> Result<u64, StoreError> {
        let endpoint = endpoint.to_owned();
        self.transact(move |connection| letters::purge(connection, &endpoint, &which)).await
    }

    /// How every endpoint stands, by name.
    ///
    /// # Errors
    /// As above.
    pub async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        self.transact(dues::standings).await
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.jobs = None;
        let Some(thread) = self.thread.lock().take() else { return };
        if thread.join().is_err() {
            tracing::error!("the ledger's thread panicked");
        }
    }
}
