//! The one thread that writes. It owns the write connection and the folder's lock, gathers what waits into one
//! transaction, and answers when that is as durable as it must be.
//!
//! There is no timer: while one fsync runs, the next batch collects itself. What a change writes is in `batch`.

use std::{fs::File, sync::Arc, thread};

use parking_lot::Mutex;
use protocol::{
    Durability, Sequence,
    limits::{BATCH_BYTES_MAX, BATCH_CHANGES_MAX, COMMIT_QUEUE_MAX},
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    batch::{self, Applied, Books, Prepared},
    epoch::Note,
    known::Known,
    lanes::{Lanes, Weights},
    row::is_full,
};
use crate::{Change, CommitError, Committed, OnCommit, StoreError, StoredEvent};

/// The queue as the writer's thread and its readers share it. Locked for lines.
pub(super) type SharedLanes = Arc<Mutex<Lanes>>;

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

enum Request {
    Commit(Handful),
    /// Anything else that writes; it answers by itself.
    Work(Job),
    Close(oneshot::Sender<()>),
}

/// Changes whose caller waits for all of them. They travel together, so that the thread, which wakes at the first thing it
/// gets, does not sync one of them and then the others.
struct Handful {
    changes: Vec<Prepared>,
    /// What they add to a batch.
    bytes: usize,
    answer: oneshot::Sender<Vec<Result<Committed, CommitError>>>,
}

/// What the writer's thread owns.
pub(super) struct Desk {
    pub(super) connection: Connection,
    pub(super) lanes: SharedLanes,
    weights: Arc<Weights>,
    /// Generations that were written lately.
    pub(super) known: Known,
    /// Blobs that a sweep has told of, in order, which may be forgotten once the caller says that they are gone.
    pub(super) told: Vec<String>,
    on_commit: OnCommit,
    /// What `PRAGMA synchronous` is.
    synced: bool,
    /// Says beside the database whether a power cut would take something back.
    note: Note,
    /// Held for as long as somebody may write.
    _lock: File,
}

/// The way to the writer's thread. Dropped, it lets the thread finish what it was given and waits for it.
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `connection` is configured, `synchronous` at FULL.
    pub(super) fn start(
        connection: Connection,
        lanes: SharedLanes,
        weights: Arc<Weights>,
        on_commit: OnCommit,
        note: Note,
        lock: File,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel(COMMIT_QUEUE_MAX);
        let known = Known::default();
        let told = Vec::new();
        let desk = Desk { connection, lanes, weights, known, told, on_commit, synced: true, note, _lock: lock };
        let thread = thread::Builder::new().name("rushes-store".into()).spawn(move || desk.run(inbox))?;
        Ok(Self { requests: Some(requests), thread: Mutex::new(Some(thread)) })
    }

    /// Hands over all changes in order, waiting while the queue is full, then waits for the answers.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Vec<Result<Committed, CommitError>> {
        let mut answers = Vec::with_capacity(changes.len());
        let mut handed = Vec::new();
        for (changes, bytes) in handfuls(changes) {
            let (answer, answered) = oneshot::channel();
            handed.push((changes.len(), answered));
            // What the thread does not take is dropped with its `answer`, which says so.
            let _ = self.send(Request::Commit(Handful { changes, bytes, answer })).await;
        }
        for (count, answered) in handed {
            match answered.await {
                Ok(these) => answers.extend(these),
                Err(_) => answers.extend((0..count).map(|_| Err(CommitError::Unavailable(STOPPED.into())))),
            }
        }
        answers
    }

    /// Runs `job` between two batches, in one transaction of its own that is synced.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Desk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Unavailable(STOPPED.into());
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |desk: &mut Desk| {
            // The caller may have gone; the work is done all the same.
            let _ = answer.send(desk.transact(job));
        });
        self.send(Request::Work(job)).await.map_err(|()| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Waits for all that was handed over before, then closes the file and gives the folder back.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.send(Request::Close(answer)).await.is_ok() {
            // An error means that the thread ended already.
            let _ = answered.await;
        }
    }

    async fn send(&self, request: Request) -> Result<(), ()> {
        let requests = self.requests.as_ref().expect("taken only when dropped");
        requests.send(request).await.map_err(|_| ())
    }
}

/// What a caller hears when the thread is gone.
const STOPPED: &str = "the writer has stopped";

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        let Some(thread) = self.thread.lock().take() else { return };
        // The last owner may be `on_commit` itself, on that very thread.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the writer of the store panicked");
        }
    }
}

impl Desk {
    fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut next = inbox.blocking_recv();
        while let Some(request) = next.take() {
            match request {
                Request::Commit(first) => {
                    let (batch, left) = gather(first, &mut inbox);
                    self.write(batch);
                    next = left;
                }
                Request::Work(job) => job(&mut self),
                Request::Close(answer) => {
                    self.close();
                    // Before the answer: who hears it may open the folder again.
                    drop(self);
                    // The caller may have stopped waiting.
                    let _ = answer.send(());
                    return;
                }
            }
            next = next.or_else(|| inbox.blocking_recv());
        }
        self.close();
    }

    /// One transaction, then the queue, then the listeners, then the callers.
    fn write(&mut self, batch: Vec<Handful>) {
        let mut applied = self.apply(&batch).into_iter();
        let mut events = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        let mut effects = Vec::new();
        for Handful { changes, answer, .. } in batch {
            let mut these = Vec::with_capacity(changes.len());
            for (prepared, applied) in changes.into_iter().zip(applied.by_ref()) {
                if let Ok(Committed::New { last }) = applied.answer {
                    events.extend(numbered(prepared.change, last));
                }
                effects.extend(applied.effects);
                these.push(applied.answer);
            }
            answers.push((answer, these));
        }
        if !effects.is_empty() {
            let mut lanes = self.lanes.lock();
            effects.into_iter().for_each(|effect| lanes.apply(effect));
        }
        if !events.is_empty() {
            (self.on_commit)(&events);
        }
        for (answer, these) in answers {
            // The caller may have gone: it will repeat with the same command ids.
            let _ = answer.send(these);
        }
    }

    /// How each change of `batch` went, in order.
    fn apply(&mut self, batch: &[Handful]) -> Vec<Applied> {
        let changes = batch.iter().flat_map(|handful| &handful.changes);
        let strict = changes.clone().any(|prepared| prepared.change.durability == Durability::Strict);
        match self.sync(strict).and_then(|()| batch::transact(&mut self.books(), changes.clone())) {
            Ok(applied) => applied,
            // One large change must not refuse the small ones beside it.
            Err(error) if is_full(&error) => changes.map(|prepared| self.write_alone(prepared)).collect(),
            Err(error) => {
                tracing::warn!(%error, changes = changes.clone().count(), "commit failed");
                changes.map(|_| Applied { answer: Err(batch::refusal(&error)), effects: Vec::new() }).collect()
            }
        }
    }

    fn books(&mut self) -> Books<'_> {
        Books { connection: &self.connection, weights: &self.weights, known: &mut self.known }
    }

    fn write_alone(&mut self, prepared: &Prepared) -> Applied {
        match batch::transact(&mut self.books(), std::iter::once(prepared)) {
            Ok(mut applied) => applied.remove(0),
            Err(error) => Applied { answer: Err(batch::refusal(&error)), effects: Vec::new() },
        }
    }

    /// FULL syncs the log at each commit. NORMAL syncs it only before a checkpoint: a crash of the process takes
    /// nothing back, a power cut takes back the commits since the last sync, and the file stays sound. OFF would not
    /// keep it sound, and is never used. What cannot be noted to be unsynced is synced.
    fn sync(&mut self, strict: bool) -> rusqlite::Result<()> {
        let strict = strict
            || self.note.unsynced().inspect_err(|error| tracing::warn!(%error, "relaxed commits are synced")).is_err();
        if self.synced != strict {
            batch::run(
                &self.connection,
                if strict { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" },
            )?;
            self.synced = strict;
        }
        Ok(())
    }

    fn transact<T>(&mut self, job: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.sync(true)?;
        batch::run(&self.connection, "BEGIN IMMEDIATE")?;
        let done = job(self).and_then(|value| {
            batch::run(&self.connection, "COMMIT")?;
            Ok(value)
        });
        if done.is_err() && !self.connection.is_autocommit() {
            batch::run(&self.connection, "ROLLBACK")?;
        }
        done
    }

    /// Leaves one file behind instead of three, where nobody reads any more.
    fn close(&mut self) {
        let is_busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        match is_busy {
            // Merging syncs, whatever the commits did.
            Ok(false) => {
                if let Err(error) = self.note.synced() {
                    tracing::warn!(%error, "the close was not noted; after a reboot the epoch is new");
                }
            }
            Ok(true) => tracing::debug!("somebody reads; the log is merged by the next start"),
            Err(error) => tracing::warn!(%error, "the log was not merged at close; the next start does it"),
        }
    }
}

/// `changes`, encoded, in parts that one batch can take, each with its bytes.
fn handfuls(changes: Vec<Change>) -> impl Iterator<Item = (Vec<Prepared>, usize)> {
    let mut left = changes.into_iter().map(Prepared::new).peekable();
    std::iter::from_fn(move || {
        let first = left.next()?;
        let mut bytes = first.bytes;
        let mut handful = vec![first];
        while handful.len() < BATCH_CHANGES_MAX
            && let Some(next) = left.next_if(|next| bytes + next.bytes <= BATCH_BYTES_MAX)
        {
            bytes += next.bytes;
            handful.push(next);
        }
        Some((handful, bytes))
    })
}

/// What waits behind `first` and fits beside it, and a request that does not and ends the batch.
fn gather(first: Handful, inbox: &mut mpsc::Receiver<Request>) -> (Vec<Handful>, Option<Request>) {
    let (mut changes, mut bytes) = (first.changes.len(), first.bytes);
    let mut batch = vec![first];
    while let Ok(request) = inbox.try_recv() {
        match request {
            Request::Commit(next)
                if changes + next.changes.len() <= BATCH_CHANGES_MAX && bytes + next.bytes <= BATCH_BYTES_MAX =>
            {
                changes += next.changes.len();
                bytes += next.bytes;
                batch.push(next);
            }
            other => return (batch, Some(other)),
        }
    }
    (batch, None)
}

/// The events of a committed change, whose last has the sequence `last`.
fn numbered(change: Change, last: Sequence) -> impl Iterator<Item = StoredEvent> {
    let first = last.0 + 1 - change.events.len() as u64;
    change.events.into_iter().zip(first..).map(|(new, sequence)| {
        let mut event = new.event;
        // Whoever decided it upon the head knew its number already: then it stays shared.
        if event.sequence.0 != sequence {
            Arc::make_mut(&mut event).sequence = Sequence(sequence);
        }
        StoredEvent { event, fact: new.fact }
    })
}
