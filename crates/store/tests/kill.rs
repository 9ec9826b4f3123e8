//! A process that writes is killed with SIGKILL at random moments: every change it acknowledged is there, dense, under
//! the same epoch. The killed process is this test binary itself, told by an environment variable what to be.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use protocol::{Durability, GenerationId, Sequence, State, Timestamp};
use rushes_store::{
    Change, Committed, History, OnCommit, Store,
    conformance::sample::{change, create, entry, generation, row},
    sqlite::{Options, Sqlite},
};

const ROUNDS: u64 = 50;
/// Names the folder to write into, and makes the process the one that is killed.
const FOLDER: &str = "RUSHES_TEST_KILL_FOLDER";
/// Repeats a run.
const SEED: &str = "RUSHES_TEST_SEED";
const WRITERS: usize = 8;

fn open(folder: &Path, random: u8, on_commit: OnCommit) -> Sqlite {
    let options = Options {
        folder: folder.to_owned(),
        now: Timestamp(1),
        random: [random; 6],
        on_commit,
        readers: 2,
        weights: std::collections::HashMap::new(),
    };
    Sqlite::open(options).expect("a folder that survived")
}

/// Not a test of its own: without the variable it does nothing, and the test below starts it with the variable.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&folder), 200, Arc::new(|_| {})));
        println!("\nopen");
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..WRITERS {
            writers.spawn(write_for_ever(Arc::clone(&store), n));
        }
        writers.join_next().await.expect("there are writers").expect("they do not panic");
    });
}

/// Goes on from the head with changes of one to three events, and prints each when it is acknowledged.
async fn write_for_ever(store: Arc<Sqlite>, n: usize) {
    let generation = generation(&n.to_string());
    let durability = if n.is_multiple_of(2) { Durability::Strict } else { Durability::Relaxed };
    let mut head = store.latest(&generation).await.expect("a read").map_or(0, |latest| latest.event.sequence.0);
    loop {
        let mut next = if head == 0 {
            create(&generation, row("t", State::Queued))
        } else {
            let events = usize::try_from(head % 3).expect("small") + 1;
            change(&generation, &format!("c{head}"), head, events)
        };
        next.durability = durability;
        if head.is_multiple_of(5) {
            let mut queued = row("t", State::Queued);
            queued.queue = Some(entry(i64::try_from(head).expect("small"), 10));
            queued.snapshot = head.to_be_bytes().to_vec();
            next.row = Some(queued);
        }
        let answer = store.commit(vec![next]).await.remove(0);
        let Ok(Committed::New { last }) = answer else { panic!("{answer:?}") };
        head = last.0;
        writeln!(std::io::stdout(), "ack {n} {head}").expect("somebody listens");
    }
}

/// SplitMix64: enough for when to kill.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let seed = env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("randomness");
        u64::from_be_bytes(bytes)
    });
    println!("{SEED}={seed}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let epoch = open(folder.path(), 100, Arc::new(|_| {})).epoch();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut acknowledged = HashMap::new();
    for round in 0..ROUNDS {
        // Every fifth dies while it starts, wherever that is.
        let lines = if round % 5 == 0 { 0 } else { 1 + random.below(80) };
        run_and_kill(folder.path(), lines, &mut random, &mut acknowledged);
        let store = open(folder.path(), 201, Arc::new(|_| {}));
        // Other systems do not say whether they went down with it.
        if cfg!(target_os = "linux") {
            assert_eq!(store.epoch(), epoch, "round {round}: a killed process is no other history");
        }
        runtime.block_on(verify(&store, &acknowledged, round));
    }
    assert_eq!(acknowledged.len(), WRITERS, "every writer came to its turn");
}

/// Starts the writer, kills it after so many lines, and notes what it acknowledged until then.
fn run_and_kill(folder: &Path, lines: u64, random: &mut Random, acknowledged: &mut HashMap<GenerationId, u64>) {
    let mut process = Command::new(env::current_exe().expect("a path"))
        .args(["the_process_that_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a process");
    let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
    let mut line = String::new();
    if lines == 0 {
        // How far a start comes while we count differs from round to round.
        for _ in 0..random.below(400_000) {
            std::hint::spin_loop();
        }
        process.kill().expect("it runs");
    }
    let mut seen = 0;
    while output.read_line(&mut line).expect("text") > 0 {
        // The last line may be cut by the kill; then it was not said.
        if let Some(said) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("ack ")) {
            let (n, head) = said.split_once(' ').expect("two numbers");
            let head = head.parse().expect("a number");
            let known = acknowledged.entry(generation(n)).or_insert(0);
            assert!(head > *known, "it went on from where it was");
            *known = head;
            seen += 1;
            if seen == lines {
                process.kill().expect("it runs");
            }
        }
        line.clear();
    }
    let ended = process.wait().expect("it ended");
    assert!(!ended.success(), "killed, or a panic that was printed");
    assert!(seen >= lines, "it ended by itself after {seen} of {lines} lines: {ended}");
}

async fn verify(store: &Sqlite, acknowledged: &HashMap<GenerationId, u64>, round: u64) {
    for (generation, head) in acknowledged {
        let loaded = store.load(generation).await.expect("a read").expect("it was acknowledged");
        let events = store.events_after(generation, Sequence(0), usize::MAX).await.expect("a read");
        let sequences: Vec<u64> = events.iter().map(|stored| stored.event.sequence.0).collect();
        assert!(sequences.len() as u64 >= *head, "round {round}: {generation} has {} of {head}", sequences.len());
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "round {round}: dense");
        let after = usize::try_from(loaded.sequence.0).expect("small");
        assert_eq!(loaded.after, events[after..], "round {round}: the snapshot and what came after");
        // Whole changes only: the newest command is there with all its events, so a repeat of it is known.
        let newest = events.last().expect("at least one");
        let command = newest.event.event_id.as_str().rsplit_once('.').expect("command and number").0;
        let first = Change { command: command.parse().expect("an id"), ..change(generation, "x", 1, 1) };
        let answer = store.commit(vec![first]).await.remove(0);
        assert_eq!(answer, Ok(Committed::Repeated { last: newest.event.sequence }), "round {round}");
    }
}
