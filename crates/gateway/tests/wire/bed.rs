//! A gateway that listens, and clients that talk to it.

use std::{
    hash::BuildHasher as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use access::{
    Cursors, Doors, Identity, Links, Role, Secret,
    origin::{OriginPolicy, Origins},
};
use async_trait::async_trait;
use bus::{Bus, Local, Signal};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use protocol::{
    CausalId, CommandId, ErrorCode, Event, EventType, Fence, FrameIndex, GenerationId, Problem, Revision, Sequence,
    State, TenantId, Timestamp,
    frame::{Format, Header},
    http::{Priority, Report},
};
use rushes_gateway::{
    Commands, Crowds, Gateway, GatewayOptions, Inbound, Outbound, Submit, Submitted, WorkerLink, Workers, node::Random,
};
use serde_json::Value;
use store::{
    Change, History as _, OnCommit, Row, Store, StoredEvent,
    conformance::sample,
    sqlite::{Options, Sqlite},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Signs tokens and cursors.
pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";
pub(crate) const USER: &str = "user_456";
/// Nothing here takes that long; a test that hangs fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// No orchestrator is at hand: every command is refused, which the tests of commands expect.
struct NoOrchestrator;

fn nobody<T>() -> Result<T, Problem> {
    Err(Problem::new(ErrorCode::Unavailable, "no orchestrator"))
}

#[async_trait]
impl Commands for NoOrchestrator {
    async fn submit(&self, _: Submit) -> Result<Submitted, Problem> {
        nobody()
    }
    async fn retry(&self, _: &GenerationId, _: CausalId, _: Option<String>) -> Result<Submitted, Problem> {
        nobody()
    }
    async fn cancel(&self, _: &GenerationId, _: CommandId, _: &str) -> Result<Event, Problem> {
        nobody()
    }
    async fn prioritize(&self, _: &GenerationId, _: CommandId, _: Priority) -> Result<Event, Problem> {
        nobody()
    }
    async fn report(&self, _: &GenerationId, _: Vec<Report>) -> Result<Sequence, Problem> {
        nobody()
    }
}

/// The orchestrator's ends of worker links, for a test to hold.
type Ends = (mpsc::Receiver<Inbound>, mpsc::Sender<Outbound>);

#[derive(Default)]
pub(crate) struct Links4Workers(Mutex<Vec<Ends>>);

impl Workers for Links4Workers {
    fn connect(&self, _: Identity) -> Option<WorkerLink> {
        let (inbound, inbound_end) = mpsc::channel(rushes_gateway::workers::INBOUND_MAX);
        let (outbound_end, outbound) = mpsc::channel(rushes_gateway::workers::OUTBOUND_MAX);
        self.0.lock().push((inbound_end, outbound_end));
        Some(WorkerLink { inbound, outbound })
    }
}

impl Links4Workers {
    pub(crate) fn take(&self) -> Ends {
        self.0.lock().pop().expect("a worker connected")
    }
}

pub(crate) struct Bed {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) bus: Arc<Local>,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
    pub(crate) workers: Arc<Links4Workers>,
    store: Arc<Sqlite>,
    /// Milliseconds by which its clock goes before ours.
    ahead_ms: Arc<AtomicU64>,
    doors: Doors,
    _folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "the one clock of these tests, passed in as everywhere")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with_origins(OriginPolicy::Allow(Origins::Any)).await
    }

    pub(crate) async fn with_origins(origins: OriginPolicy) -> Self {
        Self::with(origins, Crowds::default(), Arc::new(|| [1; 10])).await
    }

    /// One whose ids and spreads differ.
    pub(crate) async fn with_random(crowds: Crowds) -> Self {
        let hasher = std::hash::RandomState::new();
        let drawn = AtomicU64::new(0);
        let random = move || {
            let draw = || hasher.hash_one(drawn.fetch_add(1, Relaxed)).to_le_bytes();
            let (first, second) = (draw(), draw());
            std::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] })
        };
        Self::with(OriginPolicy::Allow(Origins::Any), crowds, Arc::new(random)).await
    }

    pub(crate) async fn with_crowds(crowds: Crowds) -> Self {
        Self::with(OriginPolicy::Allow(Origins::Any), crowds, Arc::new(|| [1; 10])).await
    }

    async fn with(origins: OriginPolicy, crowds: Crowds, random: Random) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bus = Arc::new(Local::default());
        let on_commit: OnCommit = {
            let bus = Arc::clone(&bus);
            Arc::new(move |committed: &[StoredEvent]| {
                for of_one in committed.chunk_by(|a, b| a.event.generation_id == b.event.generation_id) {
                    bus.publish(Signal::Events(of_one.iter().map(|stored| stored.event.clone()).collect()));
                }
            })
        };
        let options = Options {
            folder: folder.path().to_owned(),
            now: now(),
            random: [3; 6],
            on_commit,
            readers: 2,
            weights: std::collections::HashMap::new(),
        };
        let store = Arc::new(Sqlite::open(options).unwrap());
        let secret = Secret::new(SECRET).unwrap();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let workers = Arc::<Links4Workers>::default();
        let ahead_ms = Arc::<AtomicU64>::default();
        let ahead = Arc::clone(&ahead_ms);
        let gateway = Gateway::start(GatewayOptions {
            doors: Arc::new(Doors::new(&secret)),
            guest: None,
            links: Links::new(&secret, Some("https://films.example".to_owned())),
            cursors: Cursors::new(&secret),
            history: Arc::clone(&store) as _,
            bus: Arc::clone(&bus) as _,
            commands: Arc::new(NoOrchestrator),
            workers: Arc::clone(&workers) as _,
            clock: Arc::new(move || now().plus(ahead.load(Relaxed))),
            random,
            origins,
            home: None,
            expiry_grace_ms: Some(30_000),
            crowds,
            tracker: tracker.clone(),
            stop: stop.clone(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = axum::middleware::from_fn_with_state(Arc::clone(&gateway), rushes_gateway::guard);
        let (routes, stopped) = (rushes_gateway::routes(Arc::clone(&gateway)).layer(guard), stop.clone());
        tracker.spawn(async move {
            axum::serve(listener, routes).with_graceful_shutdown(stopped.cancelled_owned()).await.unwrap();
        });
        Self {
            address,
            gateway,
            bus,
            stop,
            tracker,
            workers,
            store,
            ahead_ms,
            doors: Doors::new(&secret),
            _folder: folder,
        }
    }

    pub(crate) fn token(&self, user: &str, role: Role) -> String {
        self.doors.mint(&user.parse().unwrap(), &TenantId::fallback(), role, Timestamp(now().0 + 3_600_000))
    }

    /// What its clock says.
    pub(crate) fn now(&self) -> Timestamp {
        now().plus(self.ahead_ms.load(Relaxed))
    }

    /// Sets its clock forward.
    pub(crate) fn pass(&self, milliseconds: u64) {
        self.ahead_ms.fetch_add(milliseconds, Relaxed);
    }

    /// Makes a generation of [`USER`] with its first event.
    pub(crate) async fn create(&self, name: &str) -> GenerationId {
        self.create_late(name, 0).await
    }

    /// The same, committed so many milliseconds after it was decided.
    pub(crate) async fn create_late(&self, name: &str, late_ms: u64) -> GenerationId {
        let generation = sample::generation(name);
        let mut change = sample::create(&generation, sample::row("default", State::Running));
        let decided_at = Timestamp(self.now().0 - late_ms);
        for event in &mut change.events {
            Arc::make_mut(&mut event.event).timestamp = decided_at;
        }
        if let Some(row) = &mut change.row {
            row.created_at = decided_at;
        }
        self.commit(change).await;
        generation
    }

    /// Makes so many that run, in one commit.
    pub(crate) async fn create_many(&self, name: &str, count: usize) {
        let create = |n: usize| {
            let row = Row { created_at: self.now(), ..sample::row("default", State::Running) };
            sample::create(&sample::generation(&format!("{name}{n}")), row)
        };
        let answers = self.store.commit((0..count).map(create).collect()).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    /// Appends `count` events behind `expected`; the last is `end`, if there is one.
    pub(crate) async fn append(&self, generation: &GenerationId, expected: u64, count: usize, end: Option<EventType>) {
        let mut change = sample::change(generation, &format!("c{expected}"), expected, count);
        for event in &mut change.events {
            Arc::make_mut(&mut event.event).timestamp = self.now();
        }
        if let (Some(kind), Some(last)) = (end, change.events.last_mut()) {
            let last = Arc::make_mut(&mut last.event);
            last.kind = kind;
            last.state = State::Complete;
            Arc::make_mut(&mut last.metadata).insert("video".into(), "film.mp4".into());
            let row = self.store.get(generation).await.unwrap().unwrap().row;
            change.row = Some(Row { state: State::Complete, updated_at: self.now(), ..row });
        }
        self.commit(change).await;
    }

    async fn commit(&self, change: Change) {
        let answers = self.store.commit(vec![change]).await;
        assert!(answers[0].is_ok(), "{answers:?}");
    }

    pub(crate) async fn connect(&self, path: &str) -> Socket {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}{path}", self.address)).await.unwrap();
        socket
    }

    /// A live socket of [`USER`], authenticated.
    pub(crate) async fn live(&self) -> Socket {
        let mut socket = self.connect("/v1/live").await;
        say(&mut socket, &format!(r#"{{"type":"authenticate","token":"{}"}}"#, self.token(USER, Role::User))).await;
        assert_eq!(hear(&mut socket).await["type"], "authenticated");
        socket
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        let client = http();
        client.get(format!("http://{}{path}", self.address)).bearer_auth(self.token(USER, Role::User)).timeout(PATIENCE)
    }
}

pub(crate) async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// The next message of the server, pings passed over.
pub(crate) async fn next(socket: &mut Socket) -> Message {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the server says something");
        match message.expect("the socket is open").unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

/// The next text of the server, read.
pub(crate) async fn hear(socket: &mut Socket) -> Value {
    match next(socket).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("not a text: {other:?}"),
    }
}

/// Sequences until `done`.
pub(crate) async fn sequences_until_done(socket: &mut Socket) -> Vec<u64> {
    let mut sequences = Vec::new();
    loop {
        let said = hear(socket).await;
        match said["type"].as_str().unwrap() {
            "status_update" => sequences.push(said["data"]["sequence"].as_u64().unwrap()),
            "done" => return sequences,
            _ => {}
        }
    }
}

/// A client for plain HTTP. It wants to know how it would encrypt all the same.
pub(crate) fn http() -> reqwest::Client {
    // Refused when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A preview picture of at least `bytes_min` bytes on the wire.
pub(crate) fn picture(generation: &GenerationId, index: u32, bytes_min: usize) -> bus::Frame {
    let header = Header {
        format: Format::Webp,
        flags: 0,
        fence: Fence(1),
        index: FrameIndex(index),
        total: 48,
        revision: Revision(0),
        pts_micros: 0,
        width: 854,
        height: 480,
        generation: Some(generation.clone()),
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    let picture_at = bytes.len();
    bytes.extend_from_slice(b"RIFF\x10\0\0\0WEBPVP8 ");
    bytes.resize(bytes.len().max(bytes_min), 0);
    bus::Frame { generation: generation.clone(), header, bytes: bytes.into(), picture_at }
}
