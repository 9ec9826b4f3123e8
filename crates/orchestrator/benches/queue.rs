//! What waiting costs: reserve, positions and a restart with 100 and with 100,000 queued, over a real store on disk.
//! `cargo bench -p rushes-orchestrator --bench queue` prints a line each, with the bound it is wanted to keep beside it. It
//! measures and refuses nothing.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{GenerationId, PoolName, Timestamp};
use store::{Store, sqlite::Sqlite};

/// Queued at most.
const MANY: usize = 100_000;
/// Queued at least.
const FEW: usize = 100;
/// Looks that are measured.
const ROUNDS: usize = 2_000;
/// Changes given to the store at once.
const BATCH: usize = 256;
const TENANTS: usize = 20;
const NOW: u64 = 1_700_000_000_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let few = Looks::at(FEW).await;
        let many = Looks::at(MANY).await;
        println!(
            "reserve   p50 {:?} of {FEW}, {:?} of {MANY}: {:.1}x (wanted: 2x at most)",
            few.reserve,
            many.reserve,
            ratio(many.reserve, few.reserve)
        );
        println!(
            "position  p50 {:?} of {FEW}, {:?} of {MANY}: {:.1}x (wanted: 2x at most)",
            few.position,
            many.position,
            ratio(many.position, few.position)
        );
        println!("restart   {:?} with {MANY} queued (wanted: 2 s at most)", many.restart);
    });
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64().max(1e-9)
}

struct Looks {
    reserve: Duration,
    position: Duration,
    restart: Duration,
}

impl Looks {
    async fn at(queued: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path());
        let ids = fill(&store, queued).await;
        store.close().await;
        drop(store);
        let began = Instant::now();
        let store = open(folder.path());
        let restart = began.elapsed();
        let pool: PoolName = "gpu".parse().expect("a name");
        let mut reserve = Vec::with_capacity(ROUNDS);
        let mut position = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let began = Instant::now();
            let reserved = store.reserve(&pool, 1, Timestamp(NOW + 1_000_000), Timestamp(NOW + 2_000_000)).await;
            reserve.push(began.elapsed());
            for one in reserved.expect("a read") {
                store.unreserve(&one.generation).await;
            }
            let asked = &ids[round * 7_919 % ids.len()];
            let began = Instant::now();
            let ranks = store::History::ranks(&store, &pool, std::slice::from_ref(asked)).await.expect("a read");
            position.push(began.elapsed());
            assert_eq!(ranks.len(), 1, "it waits");
        }
        store.close().await;
        Self { reserve: median(reserve), position: median(position), restart }
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn open(folder: &Path) -> Sqlite {
    Sqlite::open(store::sqlite::Options {
        folder: folder.to_owned(),
        now: Timestamp(NOW),
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
    let mut ids = Vec::with_capacity(count);
    let mut batch = Vec::with_capacity(BATCH);
    for n in 0..count {
        let id: GenerationId = format!("gen_{n}").parse().expect("an id");
        batch.push(submission(&id, n, &pipeline));
        ids.push(id);
        if batch.len() == BATCH || n + 1 == count {
            let answers = store.commit(std::mem::take(&mut batch)).await;
            assert!(answers.iter().all(Result::is_ok), "everything fits");
        }
    }
    ids
}

fn submission(id: &GenerationId, n: usize, pipeline: &Arc<protocol::Pipeline>) -> store::Change {
    let now = Timestamp(NOW + n as u64);
    let tenant = format!("tenant{}", n % TENANTS);
    let submit = engine::Submit {
        generation: id.clone(),
        owner: format!("user{}", n % 1_000).parse().expect("an id"),
        tenant: tenant.parse().expect("an id"),
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
