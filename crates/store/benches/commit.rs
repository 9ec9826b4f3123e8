//! What an event costs the thread that writes: many running generations, one event at a time of each, in batches.
//! `cargo bench -p rushes-store --bench commit` prints the processor time an event and how many a second that allows, with
//! a sync at the end of each batch and without. It measures and refuses nothing.

use std::{collections::HashMap, sync::Arc, time::Instant};

use protocol::{Durability, GenerationId, State, Timestamp};
use rushes_store::{
    Change, Committed, Store,
    conformance::sample::{change, create, generation, row},
    sqlite::{Options, Sqlite},
};

/// Generations under way.
const GENERATIONS: usize = 10_000;
/// Events of each.
const ROUNDS: usize = 12;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    println!("{GENERATIONS} generations, {ROUNDS} events each");
    for durability in [Durability::Strict, Durability::Relaxed] {
        for batch in [16, 64, 256] {
            let (cpu_us, wall_us) = runtime.block_on(measure(durability, batch));
            println!(
                "{durability:?}, batches of {batch:>3}: {cpu_us:5.1} us of processor, {wall_us:5.1} us by the clock, an event"
            );
        }
    }
}

async fn measure(durability: Durability, batch: usize) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(Options {
        folder: folder.path().to_owned(),
        now: Timestamp(1_000),
        random: [1; 6],
        on_commit: Arc::new(|_| {}),
        readers: 1,
        weights: HashMap::new(),
    })
    .expect("an empty folder");
    let names: Vec<GenerationId> = (0..GENERATIONS).map(|n| generation(&format!("{n:026}"))).collect();
    for names in names.chunks(256) {
        commit(&store, names.iter().map(|one| create(one, row("t", State::Running))).collect()).await;
    }
    let (began, used) = (Instant::now(), processor_seconds());
    for round in 0..ROUNDS {
        // Not in the order they were made in: their pages are touched as work touches them.
        let order = (0..GENERATIONS).map(|n| (n * 7_919 + round) % GENERATIONS);
        let changes: Vec<Change> = order
            .map(|n| {
                let command = format!("evt_{round:08}_{n:020}");
                let head = u64::try_from(round).unwrap_or(0) + 1;
                Change { durability, ..change(&names[n], &command, head, 1) }
            })
            .collect();
        for changes in changes.chunks(batch) {
            commit(&store, changes.to_vec()).await;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousand events")]
    let events = (GENERATIONS * ROUNDS) as f64;
    ((processor_seconds() - used) * 1e6 / events, began.elapsed().as_secs_f64() * 1e6 / events)
}

async fn commit(store: &Sqlite, changes: Vec<Change>) {
    for answer in store.commit(changes).await {
        assert!(matches!(answer, Ok(Committed::New { .. })), "{answer:?}");
    }
}

/// Processor time of this process so far, of all threads; clock ticks are hundredths of a second on Linux.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
