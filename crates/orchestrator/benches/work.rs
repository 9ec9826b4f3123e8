//! What work costs: from a slot that falls free to the next offer, from a cancel to the worker that runs, with one worker
//! and with a thousand, and the drain of ten thousand short generations. The real orchestrator over a real store on disk;
//! workers are tasks beside it, spoken to over the same queues as those of sockets, so that no network is measured.
//!
//! `cargo bench -p rushes-orchestrator --bench work` prints a line each, with the bound it is wanted to keep beside it. It
//! measures and refuses nothing.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use access::{Identity, Role, Scope};
use bus::{Bus, Local, Signal};
use gateway::{Commands, Inbound, Outbound, Submit, WorkerLink, Workers};
use protocol::{
    CommandId, GenerationId, LeaseId, Pipeline, Stage, TenantId, Timestamp,
    http::Submission,
    limits,
    worker::{ServerMessage, WorkerMessage},
};
use rushes_orchestrator::{Bound, Bounds, Clock, Config, Handle, Options, Pipelines};
use store::{Store, sqlite::Sqlite};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Offers and cancels that are timed.
const ROUNDS: usize = 500;
/// Workers at most.
const WORKERS: usize = 1_000;
/// Generations that are drained, and the workers that do it.
const SHORT: usize = 10_000;
const CREW: usize = 8;
const SLOTS: u32 = 16;
/// Submissions under way at once, so that they share what an fsync costs.
const SUBMITTERS: usize = 64;
/// Clock ticks of `/proc/self/stat` a second, on every Linux this runs on.
const TICKS: f64 = 100.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        one_worker().await;
        a_thousand_workers().await;
        drain().await;
    });
}

async fn one_worker() {
    let bed = Bed::start().await;
    bed.submit_many(ROUNDS + 1).await;
    let mut worker = Worker::hello(&bed, "w", 1).await;
    println!("reserve to offer, 1 worker      {}  (wanted: p50 5 ms at most)", offers(&mut worker).await);
    println!("cancel to worker, 1 worker      {}  (wanted: p99 250 ms at most)", cancels(&bed, &mut worker).await);
    bed.stop().await;
}

async fn a_thousand_workers() {
    let bed = Bed::start().await;
    let began = Instant::now();
    let mut crowd = Vec::with_capacity(WORKERS);
    for n in 1..WORKERS {
        crowd.push(Worker::hello(&bed, &format!("w{n}"), 1).await);
    }
    println!("{WORKERS} workers say hello        {:?}", began.elapsed());
    let began = Instant::now();
    bed.submit_many(WORKERS - 1).await;
    for worker in &mut crowd {
        let offer = worker.offer().await;
        worker.accept(offer).await;
    }
    println!("{WORKERS} runs begin               {:?}, submissions included", began.elapsed());
    // All others work, and say so.
    let (stop, mut beating) = (CancellationToken::new(), JoinSet::new());
    beating.spawn(heartbeats(crowd, stop.clone()));
    bed.submit_many(ROUNDS + 1).await;
    let mut worker = Worker::hello(&bed, "w", 1).await;
    println!("reserve to offer, {WORKERS} workers   {}  (wanted: p50 5 ms at most)", offers(&mut worker).await);
    println!(
        "cancel to worker, {WORKERS} workers   {}  (wanted: p99 250 ms at most)",
        cancels(&bed, &mut worker).await
    );
    stop.cancel();
    while beating.join_next().await.is_some() {}
    bed.stop().await;
}

async fn drain() {
    let bed = Bed::start().await;
    let began = Instant::now();
    bed.submit_many(SHORT).await;
    println!("{SHORT} submissions            {:?}", began.elapsed());
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut crew = JoinSet::new();
    for n in 0..CREW {
        let worker = Worker::hello(&bed, &format!("w{n}"), SLOTS).await;
        crew.spawn(worker.work_until_idle());
    }
    let mut done = 0;
    while let Some(count) = crew.join_next().await {
        done += count.expect("a worker ends well");
    }
    // Workers end after a second without an offer.
    let (took, cpu) = (began.elapsed().saturating_sub(IDLE), cpu_seconds() - cpu);
    assert_eq!(done, SHORT, "everything was drained");
    println!(
        "{SHORT} generations drained    {took:?}, {:.0} a second, {:.0} µs of CPU each (store and bench workers included)",
        done as f64 / took.as_secs_f64(),
        cpu * 1e6 / done as f64
    );
    bed.stop().await;
}

/// From a slot that falls free, as its worker hears it, to the next offer.
async fn offers(worker: &mut Worker) -> Spread {
    let mut all = Vec::with_capacity(ROUNDS);
    let mut held = {
        let offer = worker.offer().await;
        worker.accept(offer).await
    };
    for _ in 0..ROUNDS {
        worker.done(&held).await;
        let began = Instant::now();
        let offer = worker.offer().await;
        all.push(began.elapsed());
        held = worker.accept(offer).await;
        worker.say(WorkerMessage::Heartbeat { tokens: limits::TOKENS_MAX }).await;
    }
    worker.done(&held).await;
    Spread::of(all)
}

/// From the owner's wish to the worker that hears it.
async fn cancels(bed: &Bed, worker: &mut Worker) -> Spread {
    let mut all = Vec::with_capacity(ROUNDS);
    for n in 0..ROUNDS {
        bed.submit().await;
        let offer = worker.offer().await;
        let held = worker.accept(offer).await;
        let (_, generation) = held.address().expect("a lease names its generation");
        let began = Instant::now();
        let command = CommandId::new(format!("cancel{n}")).expect("a valid id");
        let (cancelled, heard) = tokio::join!(bed.handle.cancel(&generation, command, ""), async {
            worker.expect(|message| matches!(message, ServerMessage::Cancel { .. })).await;
            began.elapsed()
        });
        cancelled.expect("it runs");
        all.push(heard);
        worker.done(&held).await;
        worker.say(WorkerMessage::Heartbeat { tokens: limits::TOKENS_MAX }).await;
    }
    Spread::of(all)
}

async fn heartbeats(crowd: Vec<Worker>, stop: CancellationToken) {
    let mut crowd = crowd;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(limits::HEARTBEAT_MS)) => {}
        }
        for worker in &mut crowd {
            // No tokens: what is offered goes to the one that is timed.
            worker.say(WorkerMessage::Heartbeat { tokens: 0 }).await;
        }
    }
}

/// What was timed, in order.
struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |part: usize| self.0[(self.0.len() * part / 100).min(self.0.len() - 1)];
        write!(f, "p50 {:?}, p99 {:?}", at(50), at(99))
    }
}

/// What this process has used of all cores.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // After the name, which may hold anything, come the state and then ten fields before user and system time.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = rest.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum();
    ticks / TICKS
}

/// A worker that hears nothing for so long has nothing to do.
const IDLE: Duration = Duration::from_secs(1);

struct Worker {
    link: WorkerLink,
    backlog: Vec<ServerMessage>,
    said: u64,
    name: String,
}

impl Worker {
    async fn hello(bed: &Bed, name: &str, slots: u32) -> Self {
        let bearer = Identity {
            user: name.parse().expect("a valid id"),
            tenant: TenantId::fallback(),
            role: Role::Worker,
            scope: Scope::Everything,
            expires_at: None,
        };
        let link = bed.handle.connect(bearer).expect("it is not stopping");
        let mut this = Self { link, backlog: Vec::new(), said: 0, name: name.to_owned() };
        this.say(WorkerMessage::Hello {
            worker: name.parse().expect("a valid id"),
            instance: "1".to_owned(),
            pools: BTreeMap::from([("gpu".parse().expect("a valid name"), slots)]),
            labels: BTreeMap::new(),
            sdk: None,
            leases: Vec::new(),
            pipelines: Vec::new(),
        })
        .await;
        this.expect(|message| matches!(message, ServerMessage::Welcome { .. })).await;
        this
    }

    async fn say(&mut self, message: WorkerMessage) {
        self.link.inbound.send(Inbound::Message(Box::new(message))).await.expect("the core listens");
    }

    async fn hear(&mut self) -> ServerMessage {
        match self.link.outbound.recv().await {
            Some(Outbound::Message(message)) => *message,
            other => panic!("the link ended: {other:?}"),
        }
    }

    async fn expect(&mut self, fits: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        if let Some(at) = self.backlog.iter().position(&fits) {
            return self.backlog.remove(at);
        }
        loop {
            let message = self.hear().await;
            if fits(&message) {
                return message;
            }
            self.backlog.push(message);
        }
    }

    async fn offer(&mut self) -> protocol::OfferId {
        match self.expect(|message| matches!(message, ServerMessage::Offer { .. })).await {
            ServerMessage::Offer { offer, .. } => offer,
            other => panic!("{other:?}"),
        }
    }

    async fn accept(&mut self, offer: protocol::OfferId) -> LeaseId {
        self.say(WorkerMessage::Accept { offer }).await;
        match self.expect(|message| matches!(message, ServerMessage::Granted { .. })).await {
            ServerMessage::Granted { lease, .. } => lease,
            other => panic!("{other:?}"),
        }
    }

    fn is_done(&mut self, lease: &LeaseId) -> WorkerMessage {
        self.said += 1;
        let event_id = CommandId::new(format!("{}.{}", self.name, self.said)).expect("a valid id");
        WorkerMessage::Done { lease: lease.clone(), event_id, outputs: Default::default() }
    }

    /// Says so and waits for the answer.
    async fn done(&mut self, lease: &LeaseId) {
        let message = self.is_done(lease);
        self.say(message).await;
        self.expect(|message| matches!(message, ServerMessage::Ack { .. } | ServerMessage::Refused { .. })).await;
    }

    /// Takes what is offered and ends it at once; answers how much that was.
    async fn work_until_idle(mut self) -> usize {
        let mut done = 0;
        while let Ok(message) = tokio::time::timeout(IDLE, self.hear()).await {
            match message {
                ServerMessage::Offer { offer, .. } => self.say(WorkerMessage::Accept { offer }).await,
                ServerMessage::Granted { lease, .. } => {
                    let message = self.is_done(&lease);
                    self.say(message).await;
                    self.say(WorkerMessage::Heartbeat { tokens: limits::TOKENS_MAX }).await;
                }
                ServerMessage::Ack { .. } => done += 1,
                _ => {}
            }
        }
        done
    }
}

/// The machine's clock, from where the bench began.
struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.elapsed().as_millis() as u64)
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(at.since(self.now()))))
    }
}

struct Bed {
    handle: Arc<Handle>,
    store: Arc<Sqlite>,
    tracker: TaskTracker,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Bed {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bus = Arc::new(Local::default());
        let clock = Arc::new(SystemClock(Instant::now()));
        let shown = Arc::clone(&bus);
        let options = store::sqlite::Options {
            folder: folder.path().to_owned(),
            now: clock.now(),
            random: [1; 6],
            on_commit: Arc::new(move |events| {
                shown.publish(Signal::Events(events.iter().map(|stored| stored.event.clone()).collect()));
            }),
            readers: 4,
            weights: HashMap::new(),
        };
        let store = Arc::new(Sqlite::open(options).expect("a store"));
        let pipelines = Arc::new(Pipelines::default());
        let stage = Stage::new("draw".parse().expect("a valid name"));
        let short = Pipeline::new("short".parse().expect("a valid name"), vec![stage]);
        pipelines.register(short).expect("it makes sense");
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut seed = 7_u64;
        let handle = rushes_orchestrator::start(Options {
            config: Config::default(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            bus,
            clock,
            random: Box::new(move || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed ^ (seed >> 29)
            }),
            pipelines,
            bounds: Bounds {
                standard: Bound { per_owner_max: usize::MAX, per_tenant_max: usize::MAX },
                ..Bounds::default()
            },
            tracker: tracker.clone(),
            stop: stop.clone(),
        })
        .await
        .expect("it starts");
        Self { handle: Arc::new(handle), store, tracker, stop, _folder: folder }
    }

    async fn submit(&self) -> GenerationId {
        submit(&self.handle).await
    }

    async fn submit_many(&self, count: usize) {
        let mut submitters = JoinSet::new();
        for n in 0..SUBMITTERS {
            let handle = Arc::clone(&self.handle);
            let own = count / SUBMITTERS + usize::from(n < count % SUBMITTERS);
            submitters.spawn(async move {
                for _ in 0..own {
                    submit(&handle).await;
                }
            });
        }
        while let Some(ended) = submitters.join_next().await {
            ended.expect("a submitter ends well");
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.store.close().await;
    }
}

async fn submit(handle: &Handle) -> GenerationId {
    let submit = Submit {
        owner: "user".parse().expect("a valid id"),
        tenant: TenantId::fallback(),
        causal: "bench".parse().expect("a valid id"),
        trace: None,
        trace_state: None,
        idempotency: None,
        submission: Submission {
            pipeline: "short".parse().ok(),
            input: Some(Default::default()),
            ..Submission::default()
        },
    };
    handle.submit(submit).await.expect("it is accepted").event.generation_id
}
