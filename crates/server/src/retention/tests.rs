//! Old work goes, files included; young and unfinished work stays.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::body::Body;
use bus::{Listener, Local};
use parking_lot::Mutex;
use protocol::{
    ArtifactName, Attempt, CommandId, Durability, Event, EventType, GenerationId, Sequence, State, Status, Timestamp,
};
use store::{Change, NewEvent, Row, sqlite};

use super::*;

const DAY_MS: u64 = 86_400_000;
const BORN: u64 = 1_000 * DAY_MS;

/// Hears which generations were deleted.
#[derive(Default)]
struct Deleted(Mutex<Vec<GenerationId>>);

impl Listener for Deleted {
    fn hear(&self, signal: &Signal) {
        if let Signal::Deleted(generation) = signal {
            self.0.lock().push(generation.clone());
        }
    }
}

struct Bed {
    sweeper: Sweeper,
    deleted: Arc<Deleted>,
    time: Arc<AtomicU64>,
    folder: tempfile::TempDir,
}

impl Bed {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = sqlite::Options {
            folder: folder.path().to_owned(),
            now: Timestamp(BORN),
            random: [1; 6],
            on_commit: Arc::new(|_| {}),
            readers: 1,
            weights: std::collections::HashMap::new(),
        };
        let (deleted, bus) = (Arc::new(Deleted::default()), Local::default());
        bus.listen(Arc::clone(&deleted) as Arc<dyn Listener>);
        let time = Arc::new(AtomicU64::new(BORN));
        let hand = Arc::clone(&time);
        let days = |n: u64| Some(Duration::from_millis(n * DAY_MS));
        let sweeper = Sweeper {
            store: Arc::new(sqlite::Sqlite::open(options).unwrap()),
            blobs: Blobs::open(folder.path(), 1_000).unwrap(),
            bus: Arc::new(bus),
            now: Arc::new(move || Timestamp(hand.load(Relaxed))),
            metrics: Arc::new(Metrics::new()),
            retention: Retention { events: days(30), artifacts: days(7), uploads: days(7) },
        };
        Self { sweeper, deleted, time, folder }
    }

    /// A generation with one file; its hash.
    async fn generation(&self, id: &str, state: State) -> String {
        let generation: GenerationId = id.parse().unwrap();
        let (kind, status) = match state {
            State::Complete => (EventType::Complete, Status::Complete),
            _ => (EventType::Queued, Status::Queued),
        };
        let event = Event {
            event_id: "c.0".parse().unwrap(),
            generation_id: generation.clone(),
            tenant_id: "default".parse().unwrap(),
            user_id: "ada".parse().unwrap(),
            causal_id: "c".parse().unwrap(),
            sequence: Sequence(0),
            attempt: Attempt(1),
            kind,
            state,
            stage: None,
            status,
            progress: 0.0,
            message: String::new(),
            metadata: Default::default(),
            timestamp: Timestamp(BORN),
        };
        let row = Row {
            owner: event.user_id.clone(),
            tenant: event.tenant_id.clone(),
            state,
            pipeline: "video@1".to_owned(),
            snapshot: Vec::new(),
            created_at: Timestamp(BORN),
            updated_at: Timestamp(BORN),
            queue: None,
            lease: None,
            due_at: None,
        };
        let change = Change {
            generation: generation.clone(),
            command: CommandId::new("c").unwrap(),
            expected: Sequence(0),
            events: vec![NewEvent { event: event.into(), fact: Vec::new() }],
            row: Some(row),
            claim: None,
            charge: None,
            shares: None,
            letter: None,
            redrives: None,
            durability: Durability::Relaxed,
        };
        self.sweeper.store.commit(vec![change]).await.pop().unwrap().unwrap();
        let received = self.sweeper.blobs.receive(Body::from(id.to_owned())).await.unwrap();
        let artifact = store::Artifact {
            name: ArtifactName::new("film.mp4").unwrap(),
            size: received.size,
            sha256: received.sha256.clone(),
            at: Timestamp(BORN),
        };
        let sha256 = artifact.sha256.clone();
        let pin = received.keep(&*self.sweeper.store).await.unwrap();
        self.sweeper.store.put_artifact(&generation, artifact).await.unwrap();
        drop(pin);
        sha256
    }

    async fn days_later(&self, days: u64) {
        self.time.store(BORN + days * DAY_MS, Relaxed);
        while self.sweeper.batch().await.unwrap() > 0 {}
    }

    async fn has_file(&self, sha256: &str) -> bool {
        self.sweeper.blobs.read(sha256).await.unwrap().is_some()
    }

    async fn has(&self, id: &str) -> bool {
        self.sweeper.store.get(&id.parse().unwrap()).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn files_go_first_then_events_and_unfinished_work_stays() {
    let bed = Bed::open();
    let done = bed.generation("gen_done", State::Complete).await;
    let waiting = bed.generation("gen_waiting", State::Queued).await;
    bed.days_later(6).await;
    assert!(bed.has_file(&done).await);
    bed.days_later(8).await;
    assert!(!bed.has_file(&done).await && bed.has("gen_done").await);
    assert!(bed.deleted.0.lock().is_empty());
    bed.days_later(31).await;
    assert!(!bed.has("gen_done").await);
    assert_eq!(*bed.deleted.0.lock(), ["gen_done".parse().unwrap()]);
    assert!(bed.has("gen_waiting").await && bed.has_file(&waiting).await);
}

#[tokio::test]
async fn nothing_goes_where_retention_is_off() {
    let mut bed = Bed::open();
    bed.sweeper.retention = Retention { events: None, artifacts: None, uploads: None };
    let done = bed.generation("gen_done", State::Complete).await;
    bed.days_later(10_000).await;
    assert!(bed.has("gen_done").await && bed.has_file(&done).await);
}

#[tokio::test]
async fn an_upload_that_nobody_uses_goes_with_its_file() {
    let mut bed = Bed::open();
    let received = bed.sweeper.blobs.receive(Body::from("a photograph")).await.unwrap();
    let upload = store::Upload {
        file: "upl_photograph".parse().unwrap(),
        owner: "ada".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        size: received.size,
        sha256: received.sha256.clone(),
        at: Timestamp(BORN),
    };
    let (file, sha256) = (upload.file.clone(), upload.sha256.clone());
    let pin = received.keep(&*bed.sweeper.store).await.unwrap();
    bed.sweeper.store.put_upload(upload).await.unwrap();
    drop(pin);
    bed.sweeper.retention.uploads = None;
    bed.days_later(6).await;
    bed.days_later(100).await;
    assert!(bed.has_file(&sha256).await, "it is off");
    bed.sweeper.retention.uploads = Some(Duration::from_millis(7 * DAY_MS));
    bed.days_later(101).await;
    assert!(!bed.has_file(&sha256).await && bed.sweeper.store.upload(&file).await.unwrap().is_none());
}

/// Its caller may be gone, its generation deleted, the disk full: a file is in its place before its row is written.
#[tokio::test]
async fn a_kept_file_whose_row_never_came_goes() {
    let bed = Bed::open();
    let received = bed.sweeper.blobs.receive(Body::from("of nobody")).await.unwrap();
    let sha256 = received.sha256.clone();
    drop(received.keep(&*bed.sweeper.store).await.unwrap());
    bed.days_later(0).await;
    assert!(!bed.has_file(&sha256).await);
}

/// What cannot be removed now is tried again, a minute later and after a restart.
#[tokio::test]
async fn a_file_that_could_not_be_removed_is_not_forgotten() {
    let bed = Bed::open();
    let sha256 = bed.generation("gen_done", State::Complete).await;
    let path = bed.folder.path().join("blobs").join(&sha256[..2]).join(&sha256[2..]);
    // A folder in its place is not removed as a file is, not even by root.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    for day in [8, 9, 10] {
        bed.days_later(day).await;
    }
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "film").unwrap();
    bed.days_later(11).await;
    assert!(!path.exists());
}
