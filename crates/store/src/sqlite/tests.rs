//! Tests of what only this store does, and the suite that every store passes.

use std::{path::Path, sync::Arc};

use protocol::{Durability, Sequence, State, Timestamp};

use super::{OpenError, Options, Sqlite};
use crate::{
    Change, CommitError, Committed, History, OnCommit, Store, StoreError,
    conformance::{
        self, Heard,
        sample::{change, create, entry, generation, pool, row},
    },
};

mod faults;
mod folder;
mod full;
mod model;

fn options(folder: &Path, random: u8) -> Options {
    Options {
        folder: folder.to_owned(),
        now: Timestamp(1_000),
        random: [random; 6],
        on_commit: Arc::new(|_| {}),
        readers: 2,
        weights: std::collections::HashMap::new(),
    }
}

fn open(folder: &Path) -> Sqlite {
    Sqlite::open(options(folder, 1)).unwrap()
}

fn listening(folder: &Path, on_commit: OnCommit) -> Sqlite {
    Sqlite::open(Options { on_commit, ..options(folder, 1) }).unwrap()
}

#[tokio::test]
async fn it_passes_the_suite() {
    let root = tempfile::tempdir().unwrap();
    let made = std::sync::atomic::AtomicUsize::new(0);
    conformance::check(async |on_commit| {
        let n = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(listening(&root.path().join(n.to_string()), on_commit)) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let a = generation("a");
    let store = open(folder.path());
    let mut queued = row("t", State::Queued);
    queued.queue = Some(entry(5, 100));
    let durability = Durability::Relaxed;
    let written = store
        .commit(vec![
            Change { durability, ..create(&a, queued.clone()) },
            Change { durability, ..change(&a, "c", 1, 2) },
        ])
        .await;
    assert!(written.iter().all(Result::is_ok));
    let events = store.events_after(&a, Sequence(0), 10).await.unwrap();
    drop(store);

    let store = open(folder.path());
    assert_eq!(store.events_after(&a, Sequence(0), 10).await.unwrap(), events);
    assert_eq!(store.load(&a).await.unwrap().unwrap().row, queued);
    assert_eq!(store.queue(&pool(), 10).await.unwrap()[0].generation, a);
    assert_eq!(store.commit(vec![change(&a, "c", 1, 2)]).await, [Ok(Committed::Repeated { last: Sequence(3) })]);
}

#[tokio::test]
async fn clocks_of_lanes_outlast_a_restart_and_weights_are_the_operators() {
    let folder = tempfile::tempdir().unwrap();
    let submit = |name: &str, tenant: &str, order| {
        let mut queued = row(tenant, State::Queued);
        queued.queue = Some(entry(order, 1_000));
        create(&generation(name), queued)
    };
    let store = open(folder.path());
    let submitted = ["a0", "a1", "a2", "a3"].into_iter().zip(0..).map(|(name, order)| submit(name, "a", order));
    assert!(store.commit(submitted.collect()).await.iter().all(Result::is_ok));
    let charge = Some(crate::Charge { tenant: "a".parse().unwrap(), pool: pool(), cost_ms: 1_000 });
    let started = Change { row: Some(row("a", State::Running)), charge, ..change(&generation("a0"), "start", 1, 1) };
    assert!(store.commit(vec![started]).await[0].is_ok());
    drop(store);

    let weights = std::collections::HashMap::from([("b".parse().unwrap(), 2)]);
    let store = Sqlite::open(Options { weights, ..options(folder.path(), 1) }).unwrap();
    let submitted = ["b0", "b1", "b2", "b3"].into_iter().zip(10..).map(|(name, order)| submit(name, "b", order));
    assert!(store.commit(submitted.collect()).await.iter().all(Result::is_ok));
    let order = store.queue(&pool(), 10).await.unwrap();
    let order: Vec<&str> = order.iter().map(|queued| queued.generation.as_str()).collect();
    // `a` is one start ahead, and `b` has twice its weight.
    assert_eq!(order, ["gen_b0", "gen_b1", "gen_a1", "gen_b2", "gen_b3", "gen_a2", "gen_a3"]);
}

#[tokio::test]
async fn after_closing_nothing_is_taken_and_the_folder_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = generation("a");
    let created = store.commit(vec![create(&a, row("t", State::Queued))]).await;
    assert!(created[0].is_ok());
    store.close().await;
    assert!(!folder.path().join("rushes.db-wal").exists(), "the log is merged");
    assert!(matches!(store.commit(vec![change(&a, "c", 1, 1)]).await[0], Err(CommitError::Unavailable(_))));
    assert!(matches!(store.latest(&a).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ready().await, Err(StoreError::Unavailable(_))));
    store.close().await;
    assert!(open(folder.path()).latest(&a).await.unwrap().is_some());
}

#[tokio::test]
async fn a_listener_hears_before_the_caller_is_answered_and_can_read_what_it_hears() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("rushes.db");
    let seen = Heard::default();
    let tell = seen.listener();
    let store = listening(
        folder.path(),
        Arc::new(move |events| {
            // A connection of its own sees only what is committed.
            let reader = rusqlite::Connection::open(&database).unwrap();
            let rows: i64 = reader.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
            assert!(rows >= i64::try_from(events.len()).unwrap());
            tell(events);
        }),
    );
    assert!(store.commit(vec![create(&generation("a"), row("t", State::Queued))]).await[0].is_ok());
    assert_eq!(seen.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_callers_than_the_queue_holds_are_all_answered() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let store = Arc::new(listening(folder.path(), heard.listener()));
    let mut callers = tokio::task::JoinSet::new();
    let count = protocol::limits::COMMIT_QUEUE_MAX + 500;
    for n in 0..count {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let created = create(&generation(&n.to_string()), row("t", State::Queued));
            store.commit(vec![Change { durability: Durability::Relaxed, ..created }]).await.remove(0)
        });
    }
    let mut answered = 0;
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer.unwrap(), Ok(Committed::New { last: Sequence(1) }));
        answered += 1;
    }
    assert_eq!((answered, heard.all().len()), (count, count));
}

/// A folder of this version that another program made lacks the index by which an owner's uploads are summed.
#[tokio::test]
async fn the_sum_of_uploads_is_read_from_its_index_in_older_folders_too() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close().await;
    let file = rusqlite::Connection::open(folder.path().join("rushes.db")).unwrap();
    file.execute_batch("DROP INDEX upload_owner").unwrap();
    drop(file);
    let store = open(folder.path());
    let plan = "EXPLAIN QUERY PLAN SELECT sum(size) FROM upload WHERE tenant = 't' AND owner = 'u'";
    let plan = store.readers.read(move |file| file.query_row(plan, [], |row| row.get::<_, String>(3))).await.unwrap();
    assert!(plan.contains("USING COVERING INDEX upload_owner"), "{plan}");
}

/// A long history is removed in steps: who deletes is answered at its end, and it is out of sight from the first.
#[tokio::test]
async fn a_long_history_is_removed_in_steps_and_out_of_sight_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (long, short) = (generation("long"), generation("short"));
    let many = super::files::EVENTS_REMOVED_MAX * 2 + 10;
    let written = store
        .commit(vec![
            create(&long, row("t", State::Complete)),
            change(&long, "many", 1, many),
            create(&short, row("t", State::Complete)),
        ])
        .await;
    assert!(written.iter().all(Result::is_ok));
    // Only its burial and the first step, as a crash would leave it.
    store
        .writer
        .work({
            let long = long.clone();
            move |desk| super::files::delete(desk, &long)
        })
        .await
        .unwrap();
    assert_eq!(store.get(&long).await.unwrap(), None);
    let listed = store.list(&crate::Filter::default(), None, 9).await.unwrap().rows;
    assert_eq!(listed.iter().map(|row| &row.generation).collect::<Vec<_>>(), [&short]);
    // Sweeps finish it, although nothing is old enough.
    for _ in 0..3 {
        store.sweep(None, None, 10).await.unwrap();
    }
    let left = store
        .readers
        .read(|connection| connection.query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0)));
    assert_eq!(left.await.unwrap(), 1);
    assert!(store.commit(vec![create(&long, row("t", State::Queued))]).await[0].is_ok(), "its name is free again");
}
