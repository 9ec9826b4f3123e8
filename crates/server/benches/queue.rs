//! What waiting costs: reserve, positions, what is asked about one that waits, and a restart, with 100 and with 100,000
//! queued, over a real store on disk and a real server. `cargo bench -p rushes-server --bench queue` prints a line each, with
//! the bound it is wanted to keep beside it. It measures and refuses nothing.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use access::Role;
use protocol::{GenerationId, PoolName, Timestamp};
use rushes_server::{Loaded, Mode, Options, Running, Sources};
use store::{Store, sqlite::Sqlite};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Queued at most.
const MANY: usize = 100_000;
/// Queued at least.
const FEW: usize = 100;
/// Looks that are measured.
const ROUNDS: usize = 2_000;
/// Changes given to the store at once.
const BATCH: usize = 256;
const TENANTS: usize = 20;
const OWNERS: usize = 1_000;
/// Numbers without a common factor with either count: each look is at another one.
const STEP: usize = 7_919;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let few = Looks::at(FEW).await;
        let many = Looks::at(MANY).await;
        let say = |what: &str, few: Duration, many: Duration| {
            let ratio = many.as_secs_f64() / few.as_secs_f64().max(1e-9);
            println!("{what:<26} p50 {few:?} of {FEW}, {many:?} of {MANY}: {ratio:.1}x (wanted: 2x at most)");
        };
        say("reserve", few.reserve, many.reserve);
        say("position, in the store", few.position, many.position);
        say("GET /v1/queue/{id}", few.place, many.place);
        say("GET /v1/generations/{id}", few.snapshot, many.snapshot);
        println!("{:<26} {:?} with {MANY} queued (wanted: 2 s at most)", "restart", many.restart);
    });
}

struct Looks {
    reserve: Duration,
    position: Duration,
    place: Duration,
    snapshot: Duration,
    restart: Duration,
}

impl Looks {
    async fn at(queued: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder in it");
        let store = open(&data);
        let ids = fill(&store, queued).await;
        store.close().await;
        drop(store);
        let began = Instant::now();
        let store = open(&data);
        let restart = began.elapsed();
        let (reserve, position) = in_the_store(&store, &ids).await;
        store.close().await;
        drop(store);
        let (place, snapshot) = over_http(&data, &ids).await;
        Self { reserve, position, place, snapshot, restart }
    }
}

/// What a reservation takes, and a bare position.
async fn in_the_store(store: &Sqlite, ids: &[GenerationId]) -> (Duration, Duration) {
    let pool: PoolName = "gpu".parse().expect("a name");
    let now = rushes_server::now();
    let (mut reserve, mut position) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        let began = Instant::now();
        let reserved = store.reserve(&pool, 1, now.plus(1_000_000), now.plus(2_000_000)).await;
        reserve.push(began.elapsed());
        for one in reserved.expect("a read") {
            store.unreserve(&one.generation).await;
        }
        let asked = &ids[round * STEP % ids.len()];
        let began = Instant::now();
        let ranks = store::History::ranks(store, &pool, std::slice::from_ref(asked)).await.expect("a read");
        position.push(began.elapsed());
        assert_eq!(ranks.len(), 1, "it waits");
    }
    (median(reserve), median(position))
}

/// What an operator is answered who asks why one does not run, and its owner who asks where it stands: the second is a
/// question to the orchestrator too.
async fn over_http(data: &Path, ids: &[GenerationId]) -> (Duration, Duration) {
    let flags = [("listen", "0"), ("data", data.to_str().expect("a path of text")), ("secret", SECRET)];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let config =
        Loaded::read(&Sources { flags, ..Sources::default() }, Mode::Serve).expect("flags that are known").config;
    let server = rushes_server::start(config, Options { mode: Mode::Serve, in_process_worker: None }).await;
    let server = server.expect("a server");
    let mut client = Client(TcpStream::connect(server.address()).await.expect("a connection"));
    let (mut place, mut snapshot) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    let operator = mint(&server, "operator", 0, Role::Operator);
    for round in 0..ROUNDS {
        let n = round * STEP % ids.len();
        let owner = mint(&server, &owner_of(n), n, Role::User);
        place.push(client.get(&format!("/v1/queue/{}", ids[n]), &operator).await);
        snapshot.push(client.get(&format!("/v1/generations/{}", ids[n]), &owner).await);
    }
    drop(client);
    server.stop().await;
    (median(place), median(snapshot))
}

/// The secret of a server that lives for this bench.
const SECRET: &str = "the secret of this bench, 32 bytes or more";

fn mint(server: &Running, user: &str, n: usize, role: Role) -> String {
    let (user, tenant) = (user.parse().expect("an id"), tenant_of(n).parse().expect("an id"));
    server.doors().mint(&user, &tenant, role, rushes_server::now().plus(3_600_000))
}

/// A connection that is kept: what a client library does is not what is measured.
struct Client(TcpStream);

impl Client {
    /// How long the whole answer took. It has to say a position.
    async fn get(&mut self, path: &str, token: &str) -> Duration {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
        let began = Instant::now();
        self.0.write_all(request.as_bytes()).await.expect("a connection that is kept");
        let mut answer = Vec::with_capacity(4_096);
        while !is_whole(&answer) {
            assert!(self.0.read_buf(&mut answer).await.expect("an answer") > 0, "the server closed");
        }
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("\"queuePosition\":"), "{text}");
        took
    }
}

/// Has everything come that `content-length` promises?
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

fn tenant_of(n: usize) -> String {
    format!("tenant{}", n % TENANTS)
}

fn owner_of(n: usize) -> String {
    format!("user{}", n % OWNERS)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn open(folder: &Path) -> Sqlite {
    Sqlite::open(store::sqlite::Options {
        folder: folder.to_owned(),
        now: rushes_server::now(),
        random: [1; 6],
        on_commit: Arc::new(|_| {}),
        readers: 2,
        weights: HashMap::new(),
    })
    .expect("a store")
}

/// Submits as the desk would, without the desk.
async fn fill(store: &Sqlite, count: usize) -> Vec<GenerationId> {
    let pipeline = Arc::new(protocol::Pipeline::video());
    // A millisecond after each other, all before they are looked for.
    let first = Timestamp(rushes_server::now().0 - 10 * MANY as u64);
    let mut ids = Vec::with_capacity(count);
    let mut batch = Vec::with_capacity(BATCH);
    for n in 0..count {
        let id: GenerationId = format!("gen_{n}").parse().expect("an id");
        batch.push(submission(&id, n, first.plus(n as u64), &pipeline));
        ids.push(id);
        if batch.len() == BATCH || n + 1 == count {
            let answers = store.commit(std::mem::take(&mut batch)).await;
            assert!(answers.iter().all(Result::is_ok), "everything fits");
        }
    }
    ids
}

fn submission(id: &GenerationId, n: usize, now: Timestamp, pipeline: &Arc<protocol::Pipeline>) -> store::Change {
    let submit = engine::Submit {
        generation: id.clone(),
        owner: owner_of(n).parse().expect("an id"),
        tenant: tenant_of(n).parse().expect("an id"),
        causal: "bench".parse().expect("an id"),
        request: engine::Request::of(Arc::clone(pipeline)),
    };
    let command = engine::Command {
        id: format!("c{n}").parse().expect("an id"),
        action: engine::Action::Submit(Box::new(submit)),
    };
    let events = engine::decide(None, &engine::Context::default(), &command, now).expect("it is new").events;
    let state = engine::evolve(None, &events[0]);
    let place = engine::project(&state).queue.expect("it waits");
    let holds = engine::Holds::default();
    store::Change {
        generation: id.clone(),
        command: command.id,
        expected: protocol::Sequence(0),
        events: events.iter().map(|e| store::NewEvent { event: e.show.clone(), fact: e.fact_bytes() }).collect(),
        row: Some(store::Row {
            owner: state.owner.clone(),
            tenant: state.tenant.clone(),
            state: protocol::State::Queued,
            pipeline: "video@1".to_owned(),
            snapshot: serde_json::to_vec(&state).expect("a state is JSON"),
            created_at: now,
            updated_at: now,
            queue: Some(store::QueueEntry {
                pool: place.pool,
                order: place.order,
                not_before: place.not_before,
                cost_ms: place.cost_ms,
                gates: holds.gates(&state).iter().map(ToString::to_string).collect(),
            }),
            lease: None,
            due_at: None,
        }),
        claim: None,
        charge: None,
        shares: None,
        letter: None,
        redrives: None,
        durability: protocol::Durability::Relaxed,
    }
}
