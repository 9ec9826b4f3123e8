//! How many events a second the embedded store takes, and how long one waits:
//! `cargo run --release -p rushes-store --example commit_rate [FOLDER]`.
//!
//! Each writer has a generation of its own and commits one progress event after the other. Put the folder on the disk
//! that is to be measured; without one it is a temporary folder.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{Durability, State, Timestamp};
use rushes_store::{
    Change, Store,
    conformance::sample::{change, create, generation, row},
    sqlite::{Options, Sqlite},
};

/// Long enough for a few checkpoints of the log at the higher rates.
const TIME: Duration = Duration::from_secs(4);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let given = std::env::args().nth(1);
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = given.as_deref().map_or_else(|| temporary.path(), Path::new);
    println!("{:<8} {:>7} {:>10} {:>9} {:>9}", "", "writers", "events/s", "p50 ms", "p99 ms");
    for durability in [Durability::Strict, Durability::Relaxed] {
        for writers in [1, 16, 256] {
            runtime.block_on(measure(&folder.join(format!("{durability:?}-{writers}")), durability, writers));
        }
    }
}

async fn measure(folder: &Path, durability: Durability, writers: usize) {
    let options = Options {
        folder: folder.to_owned(),
        now: Timestamp(0),
        random: [7; 6],
        on_commit: Arc::new(|_| {}),
        readers: 2,
        weights: std::collections::HashMap::new(),
    };
    let store = Arc::new(Sqlite::open(options).expect("a fresh folder"));
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..writers {
        running.spawn(write(Arc::clone(&store), n, durability, start + TIME));
    }
    let mut waits: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
    let seconds = start.elapsed().as_secs_f64();
    waits.sort_unstable();
    let millis = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    let rate = waits.len() as f64 / seconds;
    println!("{:<8} {writers:>7} {rate:>10.0} {:>9.2} {:>9.2}", format!("{durability:?}"), millis(50), millis(99));
    store.close().await;
}

async fn write(store: Arc<Sqlite>, n: usize, durability: Durability, end: Instant) -> Vec<Duration> {
    let generation = generation(&n.to_string());
    let mut next = create(&generation, row("t", State::Running));
    let mut waits = Vec::new();
    for head in 1_u64.. {
        let asked = Instant::now();
        if asked >= end {
            break;
        }
        let answer = store.commit(vec![Change { durability, ..next }]).await.remove(0);
        assert!(answer.is_ok(), "{answer:?}");
        waits.push(asked.elapsed());
        next = change(&generation, &format!("c{head}"), head, 1);
    }
    waits
}
