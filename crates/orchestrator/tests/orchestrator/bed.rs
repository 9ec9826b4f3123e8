//! The test bed: a real store in a temporary folder, the local bus, a clock wound by hand, and links to speak over.

use std::{collections::BTreeMap, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use access::{Identity, Role, Scope};
use bus::{Bus, Interest, Listener, Local, Signal};
use gateway::{Commands, Inbound, Outbound, Submit, Submitted, WorkerLink, Workers};
use parking_lot::Mutex;
use protocol::{
    Attempt, CausalId, CommandId, ErrorCode, Event, EventType, Fence, GenerationId, Hint, LeaseId, OfferId, Pipeline,
    Problem, Sequence, TenantId, Timestamp, UserId,
    http::{Report, Submission},
    worker::{Demand, FailureKind, HeldLease, Resumption, RunEvent, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::{Clock, Config, Handle, Options, Pipelines};
use store::{History, Store, sqlite::Sqlite};
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Longer than anything takes on a loaded machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A clock wound by hand.
#[derive(Debug, Clone)]
pub(crate) struct ManualClock(watch::Sender<u64>);

impl ManualClock {
    pub(crate) fn advance(&self, milliseconds: u64) {
        self.0.send_modify(|now| *now += milliseconds);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.borrow())
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= at.0).await;
        })
    }
}

/// Remembers what was shown, and wakes whoever waits for it.
#[derive(Default)]
struct Ear {
    events: Mutex<Vec<Event>>,
    hints: Mutex<Vec<Hint>>,
    changed: watch::Sender<()>,
}

impl Listener for Ear {
    fn hear(&self, signal: &Signal) {
        match signal {
            Signal::Events(events) => self.events.lock().extend(events.iter().map(|event| Event::clone(event))),
            Signal::Hint(hint) => self.hints.lock().push((**hint).clone()),
            _ => return,
        }
        self.changed.send_replace(());
    }
}

pub(crate) struct Bed {
    pub(crate) handle: Arc<Handle>,
    pub(crate) clock: ManualClock,
    store: Arc<Sqlite>,
    bus: Arc<Local>,
    ear: Arc<Ear>,
    folder: tempfile::TempDir,
    tracker: TaskTracker,
    stop: DropGuard,
}

impl Bed {
    pub(crate) async fn start() -> Self {
        let clock = ManualClock(watch::Sender::new(1_700_000_000_000));
        Self::open(tempfile::tempdir().unwrap(), clock).await
    }

    async fn open(folder: tempfile::TempDir, clock: ManualClock) -> Self {
        let bus = Arc::new(Local::default());
        let ear = Arc::new(Ear::default());
        bus.listen(ear.clone());
        let shown = bus.clone();
        let store = Sqlite::open(store::sqlite::Options {
            folder: folder.path().to_owned(),
            now: clock.now(),
            random: [1; 6],
            on_commit: Arc::new(move |events| {
                shown.publish(Signal::Events(events.iter().map(|stored| stored.event.clone()).collect()));
            }),
            readers: 2,
            weights: std::collections::HashMap::new(),
        })
        .unwrap();
        let store = Arc::new(store);
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let pipelines = Arc::new(Pipelines::default());
        pipelines.register(Pipeline::video()).unwrap();
        pipelines.register(Pipeline::external()).unwrap();
        let mut seed = 7_u64;
        let handle = rushes_orchestrator::start(Options {
            config: Config { worker_pipelines: true, ..Config::default() },
            store: store.clone(),
            bus: bus.clone(),
            clock: Arc::new(clock.clone()),
            random: Box::new(move || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed ^ (seed >> 29)
            }),
            pipelines,
            bounds: rushes_orchestrator::Bounds {
                standard: rushes_orchestrator::Bound { per_owner_max: 100, per_tenant_max: 1_000 },
                ..Default::default()
            },
            tracker: tracker.clone(),
            stop: stop.clone(),
        })
        .await
        .unwrap();
        Self { handle: Arc::new(handle), clock, store, bus, ear, folder, tracker, stop: stop.drop_guard() }
    }

    /// Stops this server and starts another on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| ()).await
    }

    /// The same, with something done to its folder between the two.
    pub(crate) async fn restart_after(self, between: impl FnOnce(&Path)) -> Self {
        let Self { handle, clock, store, folder, tracker, stop, .. } = self;
        drop(stop);
        tracker.close();
        tracker.wait().await;
        drop(handle);
        store.close().await;
        drop(store);
        between(folder.path());
        Self::open(folder, clock).await
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn submit(&self, prompt: &str) -> GenerationId {
        self.submit_this(Submission { prompt: Some(prompt.into()), ..Submission::default() }).await
    }

    pub(crate) async fn submit_this(&self, submission: Submission) -> GenerationId {
        self.submit_inner(submission, None).await.unwrap().event.generation_id
    }

    pub(crate) async fn submit_with_key(&self, prompt: &str, key: &str) -> Result<Submitted, Problem> {
        let submission = Submission { prompt: Some(prompt.into()), ..Submission::default() };
        self.submit_inner(submission, Some(key.into())).await
    }

    async fn submit_inner(&self, submission: Submission, idempotency: Option<String>) -> Result<Submitted, Problem> {
        // Submissions of one test are ordered by the clock.
        self.clock.advance(1);
        self.handle
            .submit(Submit {
                owner: "user".parse().unwrap(),
                tenant: TenantId::fallback(),
                causal: "causal".parse::<CausalId>().unwrap(),
                trace: None,
                trace_state: None,
                idempotency,
                submission,
            })
            .await
    }

    pub(crate) async fn worker(&self, name: &str, instance: &str) -> Link {
        Link::open(self, "worker", name, instance, &[]).await
    }

    pub(crate) async fn returning(&self, name: &str, instance: &str, held: &Held) -> Link {
        let leases = [HeldLease { lease: held.lease.clone(), fence: held.fence }];
        Link::open(self, "worker", name, instance, &leases).await
    }

    pub(crate) async fn events(&self, id: &GenerationId) -> Vec<Event> {
        let stored = self.store.events_after(id, Sequence(0), 1_000).await.unwrap();
        stored.into_iter().map(|stored| Arc::unwrap_or_clone(stored.event)).collect()
    }

    /// A file of `id` as if it had been uploaded.
    pub(crate) async fn upload(&self, id: &GenerationId, artifact: &protocol::worker::Artifact) {
        let protocol::worker::Artifact { name, size, sha256 } = artifact.clone();
        self.store.put_artifact(id, store::Artifact { name, size, sha256, at: self.clock.now() }).await.unwrap();
    }

    pub(crate) async fn artifacts(&self, id: &GenerationId) -> usize {
        self.store.artifacts(id).await.unwrap().len()
    }

    /// Waits until an event of this kind was shown.
    pub(crate) async fn until(&self, id: &GenerationId, kind: EventType) {
        let mut changed = self.ear.changed.subscribe();
        let seen = || self.ear.events.lock().iter().any(|event| event.generation_id == *id && event.kind == kind);
        let wait = changed.wait_for(|()| seen());
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no {kind:?} within {PATIENCE:?}"))
            .unwrap();
    }

    /// What was shown is what was stored, each once and in order.
    pub(crate) fn shown_as_stored(&self, id: &GenerationId, stored: &[Event]) {
        let shown: Vec<_> = self.ear.events.lock().iter().filter(|event| event.generation_id == *id).cloned().collect();
        assert_eq!(shown, stored);
    }

    pub(crate) async fn hint(&self, id: &GenerationId) -> Hint {
        let mut changed = self.ear.changed.subscribe();
        let find = || self.ear.hints.lock().iter().find(|hint| hint.status.generation_id == *id).cloned();
        tokio::time::timeout(PATIENCE, changed.wait_for(|()| find().is_some())).await.expect("a hint").unwrap();
        find().unwrap()
    }

    pub(crate) fn look(&self, id: &GenerationId, watchers: usize) {
        let interest = Interest {
            generation: id.clone(),
            full: Some(Demand { max_fps: 12, max_width: 854, every: false }),
            tile: None,
            watchers,
            slow: 1.0,
        };
        self.bus.publish(Signal::Interest([interest].into()));
    }
}

/// A lease a test worker holds.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) lease: LeaseId,
    pub(crate) fence: Fence,
    pub(crate) attempt: Attempt,
}

impl std::ops::Deref for Held {
    type Target = LeaseId;
    fn deref(&self) -> &LeaseId {
        &self.lease
    }
}

/// A worker the test speaks for.
pub(crate) struct Link {
    link: WorkerLink,
    backlog: Vec<ServerMessage>,
    pub(crate) resumed: Vec<Resumption>,
}

impl Link {
    pub(crate) async fn open(bed: &Bed, bearer: &str, name: &str, instance: &str, leases: &[HeldLease]) -> Self {
        Self::open_with(bed, bearer, name, instance, leases, Vec::new()).await
    }

    pub(crate) async fn open_with(
        bed: &Bed,
        bearer: &str,
        name: &str,
        instance: &str,
        leases: &[HeldLease],
        pipelines: Vec<Pipeline>,
    ) -> Self {
        let bearer = Identity {
            user: bearer.parse::<UserId>().unwrap(),
            tenant: TenantId::fallback(),
            role: Role::Worker,
            scope: Scope::Everything,
            expires_at: None,
        };
        let link = bed.handle.connect(bearer).expect("the server is running");
        let mut this = Self { link, backlog: Vec::new(), resumed: Vec::new() };
        this.say(WorkerMessage::Hello {
            worker: name.parse().unwrap(),
            instance: instance.into(),
            pools: BTreeMap::from([("gpu".parse().unwrap(), 1)]),
            labels: BTreeMap::new(),
            sdk: None,
            leases: leases.to_vec(),
            pipelines,
        })
        .await;
        let welcome = this.expect(|message| matches!(message, ServerMessage::Welcome { .. })).await;
        if let ServerMessage::Welcome { leases, .. } = welcome {
            this.resumed = leases.iter().map(|answer| answer.result).collect();
        }
        this
    }

    pub(crate) async fn say(&mut self, message: WorkerMessage) {
        self.link.inbound.send(Inbound::Message(Box::new(message))).await.expect("the core listens");
    }

    /// The next message that fits; others are kept for later.
    pub(crate) async fn expect(&mut self, fits: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        if let Some(at) = self.backlog.iter().position(&fits) {
            return self.backlog.remove(at);
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.link.outbound.recv()).await;
            match next {
                Ok(Some(Outbound::Message(message))) if fits(&message) => return *message,
                Ok(Some(Outbound::Message(message))) => self.backlog.push(*message),
                Ok(Some(Outbound::Close { reason, .. })) => panic!("closed: {reason}; had {:#?}", self.backlog),
                Ok(None) => panic!("the link closed; had {:#?}", self.backlog),
                Err(_) => panic!("nothing that fits within {PATIENCE:?}; had {:#?}", self.backlog),
            }
        }
    }

    /// Is an offer among what came and was not asked for?
    pub(crate) fn was_offered(&self) -> bool {
        self.backlog.iter().any(|message| matches!(message, ServerMessage::Offer { .. }))
    }

    pub(crate) async fn offered(&mut self, id: &GenerationId) -> OfferId {
        let message = self.expect(|m| matches!(m, ServerMessage::Offer { generation, .. } if generation == id)).await;
        let ServerMessage::Offer { offer, .. } = message else { unreachable!() };
        offer
    }

    /// Accepts the next offer, which must be of `id`.
    pub(crate) async fn take(&mut self, id: &GenerationId) -> Held {
        let message = self.expect(|m| matches!(m, ServerMessage::Offer { .. })).await;
        let ServerMessage::Offer { offer, generation, attempt, .. } = message else { unreachable!() };
        assert_eq!(generation, *id, "offers come in the order of the queue");
        self.say(WorkerMessage::Accept { offer }).await;
        let granted = self.expect(|m| matches!(m, ServerMessage::Granted { .. })).await;
        let ServerMessage::Granted { lease, fence, .. } = granted else { unreachable!() };
        Held { lease, fence, attempt }
    }

    pub(crate) async fn heartbeat(&mut self) {
        self.say(WorkerMessage::Heartbeat { tokens: 10 }).await;
    }

    pub(crate) async fn progress(&mut self, lease: &LeaseId, stage: &str, progress: f64) {
        self.say(WorkerMessage::Progress {
            lease: lease.clone(),
            stage: stage.parse().unwrap(),
            progress,
            message: None,
            metadata: None,
        })
        .await;
    }

    pub(crate) async fn stage_completed(&mut self, lease: &LeaseId, stage: &str) -> Sequence {
        self.acked(WorkerMessage::Event {
            lease: lease.clone(),
            event_id: format!("completed.{stage}").parse().unwrap(),
            what: RunEvent::StageCompleted { stage: stage.parse().unwrap(), outputs: None },
        })
        .await
    }

    pub(crate) async fn done(&mut self, lease: &LeaseId, id: &str) -> Sequence {
        let event_id: CommandId = id.parse().unwrap();
        self.acked(WorkerMessage::Done { lease: lease.clone(), event_id, outputs: Default::default() }).await
    }

    pub(crate) async fn fail(&mut self, lease: &LeaseId, id: &str, kind: FailureKind) -> Sequence {
        let event_id: CommandId = id.parse().unwrap();
        let (code, message) = (String::new(), "it broke".to_owned());
        self.acked(WorkerMessage::Fail { lease: lease.clone(), event_id, kind, code, message }).await
    }

    pub(crate) async fn acked(&mut self, message: WorkerMessage) -> Sequence {
        match self.answered(message).await {
            ServerMessage::Ack { sequence, .. } => sequence,
            other => panic!("refused: {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self, message: WorkerMessage) -> ErrorCode {
        match self.answered(message).await {
            ServerMessage::Refused { code, .. } => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn answered(&mut self, message: WorkerMessage) -> ServerMessage {
        let text = serde_json::to_value(&message).unwrap();
        let id: CommandId = text["eventId"].as_str().unwrap().parse().unwrap();
        self.say(message).await;
        self.expect(|answer| {
            matches!(answer, ServerMessage::Ack { event_id, .. } | ServerMessage::Refused { event_id, .. } if *event_id == id)
        })
        .await
    }
}

pub(crate) fn report(id: &str, status: &str, progress: f64) -> Report {
    Report {
        event_id: id.parse().unwrap(),
        status: status.into(),
        progress: Some(progress),
        message: None,
        metadata: None,
    }
}
