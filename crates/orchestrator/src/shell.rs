//! The shell: the one task that owns the core, and what it needs around it. It turns effects into calls and their
//! answers into inputs; it decides nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bus::{Bus, Listener, Signal};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use gateway::{Inbound, Outbound, WorkerLink};
use parking_lot::Mutex;
use protocol::{ErrorCode, GenerationId, Problem, Sequence, limits, worker::Artifact};
use store::{Change, CommitError, Committed, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bounds::Bounds,
    clock::Clock,
    core::{Answer, Config, Core, Counts, Effect, FlightId, Input, Random, SessionId, Ticket},
    handle::{self, Handle},
    pipelines::Pipelines,
};

/// Inputs that may wait for the core: a burst of every worker; beyond it senders wait.
const INPUTS_MAX: usize = 4_096;
/// Reads under way at once; beyond it the core takes no new input until some are answered.
const READS_MAX: usize = 1_024;
/// Inputs taken one after another before timers, reads and the end are looked at again: a few milliseconds.
const BURST_MAX: usize = 64;
/// Generations that hear of one gate that changed; the rest sees its position stand still, and operators see the gate.
const TOLD_MAX: usize = 1_000;
/// A wait that never ends by itself: a day, in milliseconds, after which the core is given a tick for nothing.
const IDLE_TICK_MS: u64 = 86_400_000;

/// What the orchestrator is started with.
pub struct Options {
    /// What an operator may set.
    pub config: Config,
    /// The durable truth.
    pub store: Arc<dyn Store>,
    /// Frames, hints and demand.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub random: Random,
    /// Which pipelines there are.
    pub pipelines: Arc<Pipelines>,
    /// How much tenants and owners may have unfinished.
    pub bounds: Bounds,
    /// Owns every task spawned here.
    pub tracker: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A message into the core's task: an input, with where its answer goes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most letters are the large variant; a box would cost each of them")]
pub(crate) enum Letter {
    /// No answer is expected.
    Plain(Input),
    /// Make the input with a ticket; the answer goes to the sender.
    Question(Box<dyn MakeInput>, oneshot::Sender<Result<Answer, Problem>>),
}

/// Makes an input of a ticket.
pub(crate) trait MakeInput: Send + std::fmt::Debug {
    fn make(self: Box<Self>, ticket: Ticket) -> Input;
}

/// Where worker links of this node are opened.
#[derive(Debug)]
pub(crate) struct Doorway {
    pub(crate) letters: mpsc::Sender<Letter>,
    sessions: Arc<Mutex<HashMap<SessionId, mpsc::Sender<Outbound>>>>,
    next_session: AtomicU64,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Doorway {
    /// Opens a link for a worker whose token was good.
    pub(crate) fn open(&self, bearer: access::Identity) -> Option<WorkerLink> {
        if self.stop.is_cancelled() {
            return None;
        }
        let session = SessionId(self.next_session.fetch_add(1, Relaxed));
        let (inbound_tx, inbound) = mpsc::channel(gateway::workers::INBOUND_MAX);
        let (outbound_tx, outbound) = mpsc::channel(gateway::workers::OUTBOUND_MAX);
        self.sessions.lock().insert(session, outbound_tx);
        let letters = self.letters.clone();
        let sessions = Arc::clone(&self.sessions);
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            forward(session, bearer, inbound, &letters, &stop).await;
            sessions.lock().remove(&session);
        });
        Some(WorkerLink { inbound: inbound_tx, outbound })
    }
}

/// Carries what one worker says to the core, in order.
async fn forward(
    session: SessionId,
    bearer: access::Identity,
    mut inbound: mpsc::Receiver<Inbound>,
    letters: &mpsc::Sender<Letter>,
    stop: &CancellationToken,
) {
    if letters.send(Letter::Plain(Input::Connected { session, bearer })).await.is_err() {
        return;
    }
    loop {
        let said = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            said = inbound.recv() => said, // Cancel-safe.
        };
        let input = match said {
            Some(Inbound::Message(message)) => Input::Said { session, message },
            Some(Inbound::Unreadable(why)) => Input::Unreadable { session, why },
            Some(Inbound::Frame(bytes)) => Input::Frame { session, bytes },
            None => break,
        };
        if letters.send(Letter::Plain(input)).await.is_err() {
            return;
        }
    }
    // A core that is gone needs not be told.
    let _ = letters.send(Letter::Plain(Input::Closed { session })).await;
}

/// Hears the bus and passes on what the core wants to know, as far as there is room. Demand that finds none is repeated
/// within two seconds. A deletion is not: what was deleted had ended, HTTP asks the store for it first, and memory lets go
/// of it [`limits::FINISHED_IN_MEMORY_MS`] after its end all the same.
struct DemandEar(mpsc::Sender<Letter>);

impl Listener for DemandEar {
    fn hear(&self, signal: &Signal) {
        let input = match signal {
            Signal::Interest(interests) => Input::Interest(Arc::clone(interests)),
            Signal::Deleted(generation) => Input::Deleted(generation.clone()),
            Signal::Events(_) | Signal::Hint(_) | Signal::Frame(_) => return,
        };
        let _ = self.0.try_send(Letter::Plain(input));
    }
}

/// Adopts the leases of an earlier run and starts the core's task.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub async fn start(options: Options) -> Result<Handle, StoreError> {
    let Options { config, store, bus, clock, random, pipelines, bounds, tracker, stop } = options;
    let counts = Arc::new(Counts::default());
    let (letters, inbox) = mpsc::channel(INPUTS_MAX);
    let sessions = Arc::new(Mutex::new(HashMap::new()));
    let mut core = Core::new(config, Arc::clone(&pipelines), Arc::clone(&counts), random, clock.now());
    adopt(&mut core, &*store, &*clock).await?;
    bus.listen(Arc::new(DemandEar(letters.clone())));
    let (changes, waiting_changes) = mpsc::channel(limits::COMMIT_QUEUE_MAX);
    let (landed, landings) = mpsc::channel(limits::COMMIT_QUEUE_MAX);
    tracker.spawn(commit_in_order(Arc::clone(&store), waiting_changes, landed));
    let shell = Shell {
        core,
        store: Arc::clone(&store),
        bus,
        clock: Arc::clone(&clock),
        inbox,
        changes,
        landings,
        sessions: Arc::clone(&sessions),
        reads: FuturesUnordered::new(),
        questions: HashMap::new(),
        next_ticket: 0,
    };
    tracker.spawn(shell.run(stop.clone()));
    let doorway = Doorway { letters, sessions, next_session: AtomicU64::new(1), tracker, stop };
    Ok(Handle::new(doorway, store, clock, pipelines, counts, bounds))
}

async fn adopt(core: &mut Core, store: &dyn Store, clock: &dyn Clock) -> Result<(), StoreError> {
    // First, so that nothing starts that an operator holds back.
    core.adopt_switches(&handle::switches(store.switches().await?));
    let mut leased = Vec::new();
    for lease in store.leased().await? {
        match load(store, &lease.generation).await {
            Ok(Some((loaded, event))) => leased.push((lease.generation, loaded, event)),
            Ok(None) => {}
            // One row must not keep all others from going on.
            Err(error) => core.adopt_unread(&lease.generation, &error.to_string()),
        }
    }
    core.adopt(leased, clock.now());
    core.adopt_deadlines(store.deadlines().await?);
    Ok(())
}

async fn load(
    store: &dyn Store,
    generation: &GenerationId,
) -> Result<Option<(store::Loaded, Arc<protocol::Event>)>, StoreError> {
    let Some(loaded) = store.load(generation).await? else { return Ok(None) };
    let latest = match loaded.after.last() {
        Some(stored) => Arc::clone(&stored.event),
        None => match store.latest(generation).await? {
            Some(latest) => Arc::new(latest.event),
            None => return Ok(None),
        },
    };
    Ok(Some((loaded, latest)))
}

type Landing = (GenerationId, FlightId, Result<Committed, CommitError>);

/// Gives changes to the store in order: while one batch is being made durable, the next collects itself.
async fn commit_in_order(
    store: Arc<dyn Store>,
    mut waiting: mpsc::Receiver<(FlightId, Change)>,
    landed: mpsc::Sender<Landing>,
) {
    let mut batch = Vec::with_capacity(limits::BATCH_CHANGES_MAX);
    while waiting.recv_many(&mut batch, limits::BATCH_CHANGES_MAX).await > 0 {
        let names: Vec<_> = batch.iter().map(|(flight, change)| (change.generation.clone(), *flight)).collect();
        let changes = batch.drain(..).map(|(_, change)| change).collect();
        let results = store.commit(changes).await;
        for ((generation, flight), result) in names.into_iter().zip(results) {
            // Nobody hears it while the server stops; what else was decided is written all the same.
            let _ = landed.send((generation, flight, result)).await;
        }
    }
}

fn landed((generation, flight, result): Landing) -> Input {
    Input::Committed { generation, flight, result }
}

struct Shell {
    core: Core,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    inbox: mpsc::Receiver<Letter>,
    changes: mpsc::Sender<(FlightId, Change)>,
    landings: mpsc::Receiver<Landing>,
    sessions: Arc<Mutex<HashMap<SessionId, mpsc::Sender<Outbound>>>>,
    reads: FuturesUnordered<BoxFuture<'static, Input>>,
    questions: HashMap<Ticket, oneshot::Sender<Result<Answer, Problem>>>,
    next_ticket: u64,
}

impl Shell {
    /// Runs until `stop` fires. What was decided is given to the store before it returns.
    async fn run(mut self, stop: CancellationToken) {
        // What `adopt` decided leaves with the first tick.
        self.feed(Input::Tick).await;
        loop {
            let due = self.core.next_timer().unwrap_or_else(|| self.clock.now().plus(IDLE_TICK_MS));
            let room = self.reads.len() < READS_MAX;
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // All branches are cancel-safe.
                Some(landing) = self.landings.recv() => landed(landing),
                Some(input) = self.reads.next() => input,
                Some(letter) = self.inbox.recv(), if room => self.open(letter),
                () = self.clock.sleep_until(due) => Input::Tick,
            };
            self.feed(input).await;
            self.feed_what_waits().await;
        }
        let gone = Problem::new(ErrorCode::Unavailable, "the server is stopping").hint("repeat in a few seconds");
        for (_, question) in self.questions.drain() {
            let _ = question.send(Err(gone.clone()));
        }
    }

    /// What came meanwhile, without asking every source about each. Landings first: what they conclude makes room.
    async fn feed_what_waits(&mut self) {
        for _ in 0..BURST_MAX {
            let input = if let Ok(landing) = self.landings.try_recv() {
                landed(landing)
            } else if self.reads.len() < READS_MAX
                && let Ok(letter) = self.inbox.try_recv()
            {
                self.open(letter)
            } else {
                return;
            };
            self.feed(input).await;
        }
    }

    fn open(&mut self, letter: Letter) -> Input {
        match letter {
            Letter::Plain(input) => input,
            Letter::Question(make, answer) => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.questions.insert(ticket, answer);
                make.make(ticket)
            }
        }
    }

    async fn feed(&mut self, input: Input) {
        let effects = self.core.handle(self.clock.now(), input);
        for effect in effects {
            self.carry_out(effect).await;
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Commit { flight, change } => self.commit(flight, *change).await,
            Effect::Load(generation) => self.read(move |store| async move {
                let result = load(&*store, &generation).await;
                Input::Loaded { generation, result }
            }),
            Effect::Find { generation, command } => self.read(move |store| async move {
                let result = store.find(&generation, &command).await;
                Input::Found { generation, result }
            }),
            Effect::Verify { generation, artifact } => self.read(move |store| async move {
                let result = verify(&*store, &generation, &artifact).await;
                Input::Verified { generation, result }
            }),
            Effect::Reserve { pool, count, until } => {
                let now = self.clock.now();
                self.read(move |store| async move {
                    let result = match store.reserve(&pool, count, now, until).await {
                        Ok(queued) => store.next_due(&pool, now).await.map(|next| (queued, next)),
                        Err(error) => Err(error),
                    };
                    Input::Reserved { pool, asked: count, result }
                });
            }
            Effect::Unreserve(generation) => self.store.unreserve(&generation).await,
            Effect::Survey { pool, generations } => self.read(move |store| async move {
                let ranks = store.ranks(&pool, &generations).await.unwrap_or_default();
                Input::Surveyed { pool, ranks }
            }),
            Effect::Gate { name, open } => self.store.gate(&name, open).await,
            Effect::FindWaiting(gate) => self.read(move |store| async move {
                let generations = store.waiting_before(&gate.to_string(), TOLD_MAX).await;
                Input::Waiting { gate, generations }
            }),
            Effect::Send { session, outbound } => self.send(session, outbound),
            Effect::Publish(signal) => self.bus.publish(signal),
            Effect::Answer { ticket, answer } => {
                if let Some(question) = self.questions.remove(&ticket) {
                    // Nobody waits any more: the change stands all the same.
                    let _ = question.send(answer);
                }
            }
        }
    }

    /// Full only when the store falls behind by thousands of changes: then the core waits, taking landings meanwhile so
    /// that neither side blocks the other for ever.
    async fn commit(&mut self, flight: FlightId, change: Change) {
        let mut change = Some((flight, change));
        let mut landed = Vec::new();
        while change.is_some() {
            tokio::select! {
                biased;
                permit = self.changes.reserve() => {
                    if let (Ok(permit), Some(change)) = (permit, change.take()) {
                        permit.send(change);
                    }
                }
                Some(landing) = self.landings.recv() => landed.push(landing),
            }
        }
        for (generation, flight, result) in landed {
            self.reads.push(Box::pin(std::future::ready(Input::Committed { generation, flight, result })));
        }
    }

    fn read<F>(&mut self, call: impl FnOnce(Arc<dyn Store>) -> F)
    where
        F: Future<Output = Input> + Send + 'static,
    {
        self.reads.push(Box::pin(call(Arc::clone(&self.store))));
    }

    /// A worker that reads nothing while its queue fills is given up: its lease runs on until it comes back.
    fn send(&mut self, session: SessionId, outbound: Outbound) {
        let mut sessions = self.sessions.lock();
        let Some(queue) = sessions.get(&session) else { return };
        let last = matches!(outbound, Outbound::Close { .. });
        if queue.try_send(outbound).is_err() || last {
            sessions.remove(&session);
        }
    }
}

/// An announced artifact must have been uploaded, and be the same.
async fn verify(store: &dyn Store, generation: &GenerationId, artifact: &Artifact) -> Result<(), Problem> {
    let found = store
        .artifact(generation, &artifact.name)
        .await
        .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()).hint("repeat later"))?;
    let Some(found) = found else {
        return Err(Problem::new(ErrorCode::ArtifactMissing, format!("{} was never uploaded", artifact.name))
            .hint("PUT it before announcing it"));
    };
    if found.sha256 != artifact.sha256 || found.size != artifact.size {
        return Err(Problem::new(
            ErrorCode::HashMismatch,
            format!("{} has {} bytes and SHA-256 {}", artifact.name, found.size, found.sha256),
        )
        .hint("announce what was uploaded, or upload it again"));
    }
    Ok(())
}

/// The position of an event, when only that matters.
pub(crate) fn sequence_of(answer: &Answer) -> Sequence {
    match answer {
        Answer::Generation { event, .. } => event.sequence,
        Answer::Holds(_)
        | Answer::Workers(_)
        | Answer::Gates(_)
        | Answer::Estimates(_)
        | Answer::Room(_)
        | Answer::Drained => Sequence(0),
    }
}
