//! The ledger over real files: what is due stays due until it was sent, whatever happens to the process.

use protocol::{Epoch, Sequence, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::conformance::sample::generation;

const NOW: Timestamp = Timestamp(1_000);

fn epoch(text: &str) -> Epoch {
    Epoch::new(text).unwrap()
}

fn open(folder: &TempDir, head: u64) -> Ledger {
    Ledger::open(folder.path(), &epoch("k3f9"), LogPosition(head)).unwrap()
}

async fn ledger() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder, 10);
    assert_eq!(ledger.register(vec!["orders".into(), "mail".into()], LogPosition(10)).await, Ok(Vec::new()));
    (folder, ledger)
}

fn found(endpoint: &str, name: &str, sequence: u64) -> Found {
    let position = LogPosition(10 + sequence);
    Found { endpoint: endpoint.into(), generation: generation(name), sequence: Sequence(sequence), position }
}

async fn due(ledger: &Ledger, endpoint: &str, now: Timestamp) -> Vec<(String, u64, u64, u32)> {
    let (dues, _) = ledger.due(endpoint, now, 10).await.unwrap();
    dues.into_iter().map(|due| (due.generation.to_string(), due.sent.0, due.target.0, due.failures)).collect()
}

#[tokio::test]
async fn what_was_found_is_due_until_it_is_settled_and_survives_a_restart() {
    let (folder, ledger) = ledger().await;
    let page = vec![found("orders", "a", 3), found("orders", "a", 7), found("mail", "a", 7)];
    ledger.collect(LogPosition(20), page).await.unwrap();
    drop(ledger);
    let ledger = open(&folder, 30);
    assert_eq!(ledger.cursor().await, Ok(LogPosition(20)));
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 2, 7, 0)]);
    let a = generation("a");
    ledger.advance("orders", &a, Sequence(2), Sequence(3)).await.unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 3, 7, 0)]);
    // More is found while the last is being sent: it is not lost with the row.
    ledger.collect(LogPosition(25), vec![found("orders", "a", 9)]).await.unwrap();
    assert_eq!(ledger.settle("orders", &a, Sequence(3), Sequence(7)).await, Ok(Some(Sequence(9))));
    assert_eq!(ledger.settle("orders", &a, Sequence(7), Sequence(9)).await, Ok(None));
    assert_eq!(due(&ledger, "orders", NOW).await, []);
    assert_eq!(due(&ledger, "mail", NOW).await, [("gen_a".into(), 6, 7, 0)], "endpoints are apart");
}

#[tokio::test]
async fn a_failing_generation_waits_and_the_others_do_not() {
    let (_folder, ledger) = ledger().await;
    ledger.collect(LogPosition(12), vec![found("orders", "a", 1), found("orders", "b", 1)]).await.unwrap();
    ledger.postpone("orders", &generation("a"), NOW, Timestamp(5_000)).await.unwrap();
    let (dues, next) = ledger.due("orders", NOW, 10).await.unwrap();
    assert_eq!((dues.len(), next), (1, Some(Timestamp(5_000))));
    assert_eq!(due(&ledger, "orders", Timestamp(5_000)).await.len(), 2);
    ledger.postpone("orders", &generation("a"), Timestamp(5_000), Timestamp(9_000)).await.unwrap();
    let (dues, _) = ledger.due("orders", Timestamp(9_000), 10).await.unwrap();
    assert_eq!((dues[1].failures, dues[1].failing_since), (2, Some(NOW)));
    let standing = ledger.standings().await.unwrap().remove(1);
    assert_eq!((standing.due, standing.failing, standing.dead_letters), (2, 1, 0));
    // What is sent at last has no past.
    ledger.advance("orders", &generation("a"), Sequence(0), Sequence(1)).await.unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await[0].3, 0);
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_redriven_in_order() {
    let (_folder, ledger) = ledger().await;
    let a = generation("a");
    ledger.collect(LogPosition(12), vec![found("orders", "a", 2), found("orders", "a", 4)]).await.unwrap();
    ledger.postpone("orders", &a, NOW, Timestamp(2_000)).await.unwrap();
    assert_eq!(ledger.bury("orders", &a, Timestamp(2_000), "status 500").await, Ok(0));
    assert_eq!(due(&ledger, "orders", Timestamp(9_000)).await, []);
    let letters = ledger.dead_letters("orders", None, 10).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.first, letter.last, letter.failures), (Sequence(2), Sequence(4), 2));
    assert_eq!((letter.failing_since, letter.buried_at, letter.error.as_str()), (NOW, Timestamp(2_000), "status 500"));
    // The generation went on meanwhile; what came later follows again behind the letter.
    ledger.collect(LogPosition(14), vec![found("orders", "a", 6)]).await.unwrap();
    assert_eq!(ledger.redrive("mail", Which::All).await, Ok(0), "another endpoint's are not touched");
    assert_eq!(ledger.redrive("orders", Which::Ids(vec![letter.id, 999])).await, Ok(1));
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 1, 6, 0)]);
    assert_eq!(ledger.redrive("orders", Which::All).await, Ok(0));
    ledger.bury("orders", &a, NOW, "gone").await.unwrap();
    assert_eq!(ledger.purge("orders", Which::Of(a)).await, Ok(1));
    assert_eq!(ledger.dead_letters("orders", None, 10).await, Ok(Vec::new()));
}

#[tokio::test]
async fn who_was_calling_during_a_redrive_takes_nothing_from_it() {
    let (_folder, ledger) = ledger().await;
    let a = generation("a");
    ledger.collect(LogPosition(14), vec![found("orders", "a", 2), found("orders", "a", 4)]).await.unwrap();
    ledger.bury("orders", &a, NOW, "status 500").await.unwrap();
    ledger.collect(LogPosition(16), vec![found("orders", "a", 6)]).await.unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 5, 6, 0)]);
    assert_eq!(ledger.redrive("orders", Which::All).await, Ok(1));
    assert_eq!(ledger.advance("orders", &a, Sequence(5), Sequence(6)).await, Ok(false));
    assert_eq!(ledger.settle("orders", &a, Sequence(5), Sequence(6)).await, Ok(None));
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 1, 6, 0)]);
}

#[tokio::test]
async fn the_oldest_dead_letters_make_room() {
    let (_folder, ledger) = ledger().await;
    let count = DEAD_LETTERS_PER_ENDPOINT_MAX + 5;
    let all: Vec<Found> = (0..count).map(|n| found("orders", &n.to_string(), 1)).collect();
    ledger.collect(LogPosition(20), all).await.unwrap();
    assert_eq!(ledger.disable("orders", NOW, "410").await, Ok(true));
    let standing = ledger.standings().await.unwrap().remove(1);
    assert_eq!((standing.dead_letters, standing.due), (DEAD_LETTERS_PER_ENDPOINT_MAX, 0));
    let page = ledger.dead_letters("orders", None, 1).await.unwrap();
    assert_eq!(page[0].id, count, "the newest stay");
}

#[tokio::test]
async fn a_disabled_endpoint_collects_nothing_until_it_is_enabled() {
    let (_folder, ledger) = ledger().await;
    assert_eq!(ledger.disable("orders", NOW, "answered 410").await, Ok(true));
    assert_eq!(ledger.disable("nobody", NOW, "x").await, Ok(false));
    ledger.collect(LogPosition(12), vec![found("orders", "a", 1), found("mail", "a", 1)]).await.unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await, []);
    assert_eq!(due(&ledger, "mail", NOW).await.len(), 1);
    let standing = ledger.standings().await.unwrap().remove(1);
    assert_eq!(standing.disabled, Some((NOW, "answered 410".into())));
    assert_eq!(ledger.enable("orders", LogPosition(12)).await, Ok(true));
    let standing = ledger.standings().await.unwrap().remove(1);
    assert_eq!((standing.disabled, standing.since), (None, LogPosition(12)));
    ledger.collect(LogPosition(13), vec![found("orders", "a", 2), found("orders", "a", 3)]).await.unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 2, 3, 0)], "not what came before");
}

#[tokio::test]
async fn an_endpoint_that_is_no_more_is_forgotten_and_a_new_one_begins_now() {
    let (_folder, ledger) = ledger().await;
    ledger.collect(LogPosition(12), vec![found("orders", "a", 1)]).await.unwrap();
    let forgotten = ledger.register(vec!["mail".into(), "new".into()], LogPosition(15)).await;
    assert_eq!(forgotten, Ok(vec!["orders".into()]));
    let names: Vec<_> = ledger.standings().await.unwrap().into_iter().map(|one| (one.endpoint, one.since.0)).collect();
    assert_eq!(names, [("mail".into(), 10), ("new".into(), 15)]);
    ledger.register(vec!["orders".into()], LogPosition(16)).await.unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await, [], "what it had to get is gone");
}

#[tokio::test]
async fn a_ledger_ahead_of_its_log_goes_back_to_it() {
    let (folder, ledger) = ledger().await;
    ledger.collect(LogPosition(40), vec![found("orders", "a", 9)]).await.unwrap();
    ledger.advance("orders", &generation("a"), Sequence(8), Sequence(8)).await.unwrap();
    drop(ledger);
    let ledger = open(&folder, 35);
    assert_eq!(ledger.cursor().await, Ok(LogPosition(35)), "a power cut took the last events of the log back");
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 8, 9, 0)]);
    drop(ledger);
    let ledger = Ledger::open(folder.path(), &epoch("zzzz"), LogPosition(35)).unwrap();
    assert_eq!(due(&ledger, "orders", NOW).await, [("gen_a".into(), 0, 9, 0)], "what was sent was another history");
}

#[test]
fn a_file_that_is_no_ledger_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    std::fs::write(&file, "these are notes of somebody, long enough to be no empty file").unwrap();
    let error = Ledger::open(folder.path(), &epoch("k3f9"), LogPosition(0)).unwrap_err().to_string();
    assert!(error.contains("ledger.db") && error.contains("move it away"), "{error}");
    assert!(std::fs::read_to_string(file).unwrap().starts_with("these are notes"));
}
