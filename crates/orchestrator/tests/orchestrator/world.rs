//! A world of one thread: the core over a real store, where the test decides what lands next, what is read next, and
//! what time it is. The same choices give the same history, so a seed is enough to tell a failure again.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use access::{Identity, Role, Scope};
use gateway::Outbound;
use parking_lot::Mutex;
use protocol::{
    CommandId, ErrorCode, Event, Fence, GenerationId, LeaseId, Pipeline, Problem, TenantId, Timestamp,
    worker::{HeldLease, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::{
    Config, Counts, Forced, GatesView, Pipelines, WorkerView,
    core::{Answer, Ask, Core, Effect, FlightId, Input, SessionId, Switch, Ticket},
};
use store::{Change, CommitError, History, Store, sqlite::Sqlite};

/// Numbers that look random and follow from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }

    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

pub(crate) struct World {
    core: Core,
    pub(crate) store: Arc<Sqlite>,
    folder: Arc<tempfile::TempDir>,
    config: Config,
    weights: HashMap<TenantId, u32>,
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    /// Every change is answered with "the disk is full", and none is written.
    pub(crate) full: bool,
    /// No generation that was asked for is read yet.
    pub(crate) loads_slowly: bool,
    /// Generations that were asked for.
    pub(crate) loads: usize,
    commits: VecDeque<(FlightId, Change)>,
    reads: Vec<Effect>,
    pub(crate) shown: Arc<Mutex<Vec<Event>>>,
    pub(crate) hints: Vec<Event>,
    mail: HashMap<SessionId, VecDeque<ServerMessage>>,
    pub(crate) closed: HashSet<SessionId>,
    answers: HashMap<Ticket, Result<Answer, Problem>>,
    fences: HashMap<GenerationId, Fence>,
    /// Every right that was ever given.
    granted: Vec<(LeaseId, Fence)>,
    last_session: u64,
    last_ticket: u64,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, Config::default()).await
    }

    pub(crate) async fn with(seed: u64, config: Config) -> Self {
        let config = Config { in_process_worker: Some("inside".parse().unwrap()), ..config };
        Self::open(Arc::new(folder()), config, HashMap::new(), Dice(seed), 1_700_000_000_000, Arc::default()).await
    }

    /// One whose tenants have weights.
    pub(crate) async fn weighted(seed: u64, weights: HashMap<TenantId, u32>) -> Self {
        Self::open(Arc::new(folder()), Config::default(), weights, Dice(seed), 1_700_000_000_000, Arc::default()).await
    }

    async fn open(
        folder: Arc<tempfile::TempDir>,
        config: Config,
        weights: HashMap<TenantId, u32>,
        mut dice: Dice,
        now: u64,
        shown: Arc<Mutex<Vec<Event>>>,
    ) -> Self {
        let hear = shown.clone();
        let store = Sqlite::open(store::sqlite::Options {
            folder: folder.path().to_owned(),
            now: Timestamp(now),
            random: [1; 6],
            on_commit: Arc::new(move |events| {
                hear.lock().extend(events.iter().map(|stored| Event::clone(&stored.event)))
            }),
            readers: 1,
            weights: weights.clone(),
        })
        .unwrap();
        let mut own = Dice(dice.roll());
        let mut core = Core::new(
            config.clone(),
            Arc::new(Pipelines::default()),
            Arc::new(Counts::default()),
            Box::new(move || own.roll()),
            Timestamp(now),
        );
        let switches: Vec<_> = store.switches().await.unwrap().iter().map(|(name, _)| pause(name, true)).collect();
        core.adopt_switches(&switches);
        let mut leased = Vec::new();
        for lease in store.leased().await.unwrap() {
            match load(&store, &lease.generation).await {
                Ok(found) => {
                    let (loaded, latest) = found.expect("what is leased is there");
                    leased.push((lease.generation, loaded, latest));
                }
                Err(error) => core.adopt_unread(&lease.generation, &error.to_string()),
            }
        }
        core.adopt(leased, Timestamp(now));
        core.adopt_deadlines(store.deadlines().await.unwrap());
        let mut world = Self {
            core,
            store: Arc::new(store),
            folder,
            config,
            weights,
            now,
            dice,
            full: false,
            loads_slowly: false,
            loads: 0,
            commits: VecDeque::new(),
            reads: Vec::new(),
            shown,
            hints: Vec::new(),
            mail: HashMap::new(),
            closed: HashSet::new(),
            answers: HashMap::new(),
            fences: HashMap::new(),
            granted: Vec::new(),
            last_session: 0,
            last_ticket: 0,
        };
        world.feed(Input::Tick).await;
        world
    }

    /// The process ends, with or without writing what was decided, and another begins on the same folder.
    pub(crate) async fn restart(&mut self, gracefully: bool) {
        while gracefully && !self.full && !self.commits.is_empty() {
            self.land(1).await;
        }
        self.store.close().await;
        let dice = Dice(self.dice.roll());
        let fresh = Self::open(
            Arc::clone(&self.folder),
            self.config.clone(),
            self.weights.clone(),
            dice,
            self.now,
            Arc::clone(&self.shown),
        )
        .await;
        let before = std::mem::replace(self, fresh);
        self.fences = before.fences;
        self.granted = before.granted;
        self.last_session = before.last_session;
        self.last_ticket = before.last_ticket;
    }

    pub(crate) async fn feed(&mut self, input: Input) {
        for effect in self.core.handle(Timestamp(self.now), input) {
            match effect {
                Effect::Commit { flight, change } => self.commits.push_back((flight, *change)),
                Effect::Unreserve(generation) => self.store.unreserve(&generation).await,
                Effect::Gate { name, open } => self.store.gate(&name, open).await,
                Effect::Send { session, outbound: Outbound::Message(message) } => self.deliver(session, *message),
                Effect::Send { session, outbound: Outbound::Close { .. } } => {
                    self.closed.insert(session);
                }
                Effect::Publish(bus::Signal::Hint(hint)) => self.hints.push(hint_event(&hint)),
                Effect::Publish(_) => {}
                Effect::Answer { ticket, answer } => self.answer(ticket, answer),
                read => self.reads.push(read),
            }
        }
    }

    fn deliver(&mut self, session: SessionId, message: ServerMessage) {
        if let ServerMessage::Granted { lease, fence, .. } = &message {
            let (_, generation) = lease.address().unwrap();
            let before = self.fences.insert(generation, *fence);
            assert!(before.is_none_or(|before| before < *fence), "fence {fence} after {before:?}");
            self.granted.push((lease.clone(), *fence));
        }
        self.mail.entry(session).or_default().push_back(message);
    }

    /// What is answered is durable: it was shown before.
    fn answer(&mut self, ticket: Ticket, answer: Result<Answer, Problem>) {
        if let Ok(Answer::Generation { event, state, .. }) = &answer {
            let durable = self.shown.lock().iter().any(|shown| shown.event_id == event.event_id && shown == &**event);
            assert!(durable, "answered with {event:#?}, which nobody stored");
            assert_eq!(state.sequence, event.sequence);
        }
        assert!(self.answers.insert(ticket, answer).is_none(), "one question, one answer");
    }

    /// The store takes the next `count` changes.
    pub(crate) async fn land(&mut self, count: usize) {
        let count = count.min(self.commits.len());
        let (names, changes): (Vec<_>, Vec<_>) =
            self.commits.drain(..count).map(|(flight, change)| ((flight, change.generation.clone()), change)).unzip();
        let results = if self.full {
            changes.iter().map(|_| Err(CommitError::Full)).collect()
        } else {
            self.store.commit(changes).await
        };
        for ((flight, generation), result) in names.into_iter().zip(results) {
            self.feed(Input::Committed { generation, flight, result }).await;
        }
    }

    /// The store takes the next change, and the answer gets lost on its way.
    pub(crate) async fn land_unheard(&mut self) {
        let Some((flight, change)) = self.commits.pop_front() else { return };
        let generation = change.generation.clone();
        self.store.commit(vec![change]).await;
        let result = Err(CommitError::Unavailable("the answer was lost".into()));
        self.feed(Input::Committed { generation, flight, result }).await;
    }

    fn is_answered(&self, read: &Effect) -> bool {
        !(self.loads_slowly && matches!(read, Effect::Load(_)))
    }

    /// The store answers one read, whichever.
    pub(crate) async fn read_one(&mut self) {
        let able: Vec<_> = (0..self.reads.len()).filter(|at| self.is_answered(&self.reads[*at])).collect();
        if able.is_empty() {
            return;
        }
        let at = able[self.dice.below(able.len())];
        let effect = self.reads.remove(at);
        let input = match effect {
            Effect::Load(generation) => {
                self.loads += 1;
                let result = load(&self.store, &generation).await;
                Input::Loaded { generation, result }
            }
            Effect::Find { generation, command } => {
                let result = self.store.find(&generation, &command).await;
                Input::Found { generation, result }
            }
            Effect::Verify { generation, .. } => {
                let problem = Problem::new(ErrorCode::ArtifactMissing, "it was never uploaded");
                Input::Verified { generation, result: Err(problem) }
            }
            Effect::Reserve { pool, count, until } => {
                let now = Timestamp(self.now);
                let queued = self.store.reserve(&pool, count, now, until).await.unwrap();
                let next = self.store.next_due(&pool, now).await.unwrap();
                Input::Reserved { pool, asked: count, result: Ok((queued, next)) }
            }
            Effect::Survey { pool, generations } => {
                let ranks = self.store.ranks(&pool, &generations).await.unwrap();
                Input::Surveyed { pool, ranks }
            }
            Effect::FindWaiting(gate) => {
                let generations = self.store.waiting_before(&gate.to_string(), 100).await;
                Input::Waiting { gate, generations }
            }
            other => unreachable!("{other:?} is not a read"),
        };
        self.feed(input).await;
    }

    /// Until nothing flies and no timer is due.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.commits.is_empty() {
                self.land(usize::MAX).await;
            } else if self.reads.iter().any(|read| self.is_answered(read)) {
                self.read_one().await;
            } else if self.core.next_timer().is_some_and(|at| at.0 <= self.now) {
                self.feed(Input::Tick).await;
            } else {
                return;
            }
        }
        panic!("it turns in a circle: {:?}", self.reads);
    }

    pub(crate) async fn advance(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.feed(Input::Tick).await;
    }

    /// Goes from timer to timer, as a shell would, for so long.
    pub(crate) async fn pass(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        self.settle().await;
        while let Some(at) = self.core.next_timer().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            self.settle().await;
        }
        self.now = until;
        self.settle().await;
    }

    pub(crate) async fn connect(&mut self, bearer: &str) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let bearer = Identity {
            user: bearer.parse().unwrap(),
            tenant: TenantId::fallback(),
            role: Role::Worker,
            scope: Scope::Everything,
            expires_at: None,
        };
        self.feed(Input::Connected { session, bearer }).await;
        session
    }

    pub(crate) async fn hello(&mut self, name: &str, instance: &str, slots: u32, leases: Vec<HeldLease>) -> SessionId {
        let session = self.connect("worker").await;
        let pools = ["gpu", "cpu", "big"].map(|pool| (pool.parse().unwrap(), slots)).into();
        self.say(
            session,
            WorkerMessage::Hello {
                worker: name.parse().unwrap(),
                instance: instance.into(),
                pools,
                labels: BTreeMap::new(),
                sdk: None,
                leases,
                pipelines: Vec::new(),
            },
        )
        .await;
        session
    }

    pub(crate) async fn say(&mut self, session: SessionId, message: WorkerMessage) {
        self.feed(Input::Said { session, message: Box::new(message) }).await;
    }

    pub(crate) async fn hang_up(&mut self, session: SessionId) {
        self.mail.remove(&session);
        self.feed(Input::Closed { session }).await;
    }

    /// What came for a worker since it was asked last.
    pub(crate) fn mail(&mut self, session: SessionId) -> Vec<ServerMessage> {
        self.mail.get_mut(&session).map(|mail| mail.drain(..).collect()).unwrap_or_default()
    }

    pub(crate) async fn ask(&mut self, generation: &GenerationId, ask: Ask) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.feed(Input::Ask { ticket, generation: generation.clone(), ask }).await;
        ticket
    }

    pub(crate) async fn submit(&mut self, pipeline: &Arc<Pipeline>, owner: &str) -> (GenerationId, Ticket) {
        self.now += 1;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.dice.roll().to_le_bytes());
        let generation = GenerationId::generate(Timestamp(self.now), random);
        let submit = engine::Submit {
            generation: generation.clone(),
            owner: owner.parse().unwrap(),
            tenant: owner.parse().unwrap(),
            causal: "causal".parse().unwrap(),
            request: engine::Request::of(Arc::clone(pipeline)),
        };
        let command = CommandId::generate(Timestamp(self.now), random);
        let ticket =
            self.ask(&generation, Ask::Submit { submit: Box::new(submit), command, claim: None, redrives: None }).await;
        (generation, ticket)
    }

    pub(crate) fn answered(&self, ticket: Ticket) -> Option<&Result<Answer, Problem>> {
        self.answers.get(&ticket)
    }

    /// An operator pauses a pipeline or lets it go on, as the handle does it: stored first.
    pub(crate) async fn pause(&mut self, pipeline: &str, paused: bool) {
        self.store.put_switch(pipeline, paused.then_some("on")).await.unwrap();
        self.feed(Input::Switch(pause(pipeline, paused))).await;
    }

    /// An operator holds a breaker, or lets go of it.
    pub(crate) async fn force(&mut self, breaker: &str, forced: Option<Forced>) {
        self.feed(Input::Switch(Switch::Force { breaker: breaker.parse().unwrap(), forced })).await;
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Some right that another of the same generation has superseded.
    pub(crate) fn superseded(&mut self) -> Option<LeaseId> {
        let is_old = |(lease, fence): &&(LeaseId, Fence)| {
            let (_, generation) = lease.address().expect("a lease that was granted");
            self.fences[&generation] > *fence
        };
        let old: Vec<_> = self.granted.iter().filter(is_old).map(|(lease, _)| lease.clone()).collect();
        (!old.is_empty()).then(|| old[self.dice.below(old.len())].clone())
    }

    pub(crate) async fn gates(&mut self) -> GatesView {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.feed(Input::Gates { ticket }).await;
        match self.answers.remove(&ticket) {
            Some(Ok(Answer::Gates(view))) => view,
            other => panic!("no gates: {other:?}"),
        }
    }

    pub(crate) async fn workers(&mut self) -> Vec<WorkerView> {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.feed(Input::Workers { ticket }).await;
        match self.answers.remove(&ticket) {
            Some(Ok(Answer::Workers(views))) => views,
            other => panic!("no workers: {other:?}"),
        }
    }

    pub(crate) async fn stored(&self, generation: &GenerationId) -> Vec<Event> {
        let stored = self.store.events_after(generation, protocol::Sequence(0), 1_000).await.unwrap();
        stored.into_iter().map(|stored| Arc::unwrap_or_clone(stored.event)).collect()
    }

    pub(crate) fn shown_of(&self, generation: &GenerationId) -> Vec<Event> {
        self.shown.lock().iter().filter(|event| event.generation_id == *generation).cloned().collect()
    }
}

/// In memory where there is such a folder: power cuts are not played here, and most of the time would go into syncing.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Its name among the switches of this world is the pipeline's.
fn pause(pipeline: &str, paused: bool) -> Switch {
    Switch::Pause { pipeline: pipeline.parse().unwrap(), paused }
}

fn hint_event(hint: &protocol::Hint) -> Event {
    hint.status.clone()
}

async fn load(
    store: &Sqlite,
    generation: &GenerationId,
) -> Result<Option<(store::Loaded, Arc<Event>)>, store::StoreError> {
    let Some(loaded) = store.load(generation).await? else { return Ok(None) };
    let latest = store.latest(generation).await?.expect("what is loaded has an event").event;
    Ok(Some((loaded, Arc::new(latest))))
}
