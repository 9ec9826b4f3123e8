//! Data folders that are in use, damaged, foreign, or put back from a copy.

use std::fs;

use super::*;
use crate::Row;

const DATABASE: &str = "rushes.db";

/// A folder with a generation of two hundred events in it, closed.
async fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = generation("a");
    let written = store.commit(vec![create(&a, row("t", State::Queued)), change(&a, "many", 1, 200)]).await;
    assert!(written.iter().all(Result::is_ok));
    store.close().await;
    folder
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_names_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let refused = Sqlite::open(options(folder.path(), 1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "the data folder {} is in use by process {}: stop that server, or choose another folder",
            folder.path().display(),
            std::process::id()
        )
    );
    drop(first);
    open(folder.path());
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_as_it_is() {
    for (name, damage) in [
        ("cut in half", (|bytes| bytes.truncate(bytes.len() / 2 / 4096 * 4096)) as fn(&mut Vec<u8>)),
        ("cut inside a page", |bytes| bytes.truncate(bytes.len() - 1_000)),
        ("cut inside its head", |bytes| bytes.truncate(50)),
        ("emptied", Vec::clear),
        ("no database", |bytes| bytes[..16].copy_from_slice(b"not a database !")),
        ("a page of noise", |bytes| {
            let middle = bytes.len() / 2 / 4096 * 4096;
            bytes[middle..middle + 4096].fill(0xa5);
        }),
    ] {
        let folder = filled().await;
        let path = folder.path().join(DATABASE);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let refused = Sqlite::open(options(folder.path(), 1)).unwrap_err();
        assert!(matches!(&refused, OpenError::Corrupt { path: named, .. } if *named == path), "{name}: {refused:?}");
        let text = refused.to_string();
        assert!(text.contains("rushes.db is no sound database (") && text.contains(".recover"), "{name}: {text}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}: nothing was changed");
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(DATABASE);
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE song(name TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    let refused = Sqlite::open(options(folder.path(), 1)).unwrap_err();
    assert!(refused.to_string().contains("it was made by another program"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_folder_of_another_version_is_refused() {
    let folder = filled().await;
    let database = rusqlite::Connection::open(folder.path().join(DATABASE)).unwrap();
    database.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(database);
    let refused = Sqlite::open(options(folder.path(), 1)).unwrap_err();
    assert!(matches!(refused, OpenError::Version { found: 7, known: 3, .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("has version 7, this program reads version 3: start the program that wrote it")
    );
}

#[tokio::test]
async fn a_folder_of_the_first_version_is_taken_over_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let a = generation("a");
    let store = open(folder.path());
    let waiting = Row { queue: Some(entry(5, 100)), ..row("t", State::Queued) };
    assert!(store.commit(vec![create(&a, waiting.clone())]).await[0].is_ok());
    store.close().await;
    drop(store);
    let database = rusqlite::Connection::open(folder.path().join(DATABASE)).unwrap();
    database
        .execute_batch(
            "DROP TABLE letter; DROP TABLE switch; DROP INDEX generation_due; DROP INDEX generation_unfinished_of_tenant;
             ALTER TABLE generation DROP COLUMN gates; ALTER TABLE generation DROP COLUMN due_at;
             CREATE UNIQUE INDEX event_command ON event(generation, command, ordinal);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(database);
    for _ in 0..2 {
        let store = open(folder.path());
        assert_eq!(store.load(&a).await.unwrap().unwrap().row, waiting);
        assert_eq!(store.reserve(&pool(), 1, Timestamp(2_000), Timestamp(3_000)).await.unwrap().len(), 1);
        store.put_switch("kept", Some("yes")).await.unwrap();
        store.close().await;
    }
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    assert!(matches!(Sqlite::open(options(&path, 1)).unwrap_err(), OpenError::Io { .. }));
}

#[tokio::test]
async fn a_restart_keeps_the_epoch_and_a_restored_copy_gets_a_new_one() {
    let folder = filled().await;
    let path = folder.path().join(DATABASE);
    let first = Sqlite::open(options(folder.path(), 2)).unwrap();
    let epoch = first.epoch();
    first.close().await;
    let copy = fs::read(&path).unwrap();

    let second = Sqlite::open(options(folder.path(), 3)).unwrap();
    assert_eq!(second.epoch(), epoch, "a restart is the same history");
    assert!(second.commit(vec![change(&generation("a"), "lost", 201, 1)]).await[0].is_ok());
    second.close().await;

    fs::write(&path, copy).unwrap();
    let restored = Sqlite::open(options(folder.path(), 4)).unwrap();
    assert_eq!(restored.epoch(), protocol::Epoch::generate([4; 6]), "the copy lacks what somebody may have seen");
    let epoch = restored.epoch();
    restored.close().await;
    assert_eq!(Sqlite::open(options(folder.path(), 5)).unwrap().epoch(), epoch, "and from then on it is kept");
}

/// The disk as a power cut leaves it: the database of before, beside a file that was synced since.
#[tokio::test]
async fn what_a_power_cut_took_back_is_no_place_in_the_history_after_it() {
    const ANOTHER: &str = "00000000-0000-0000-0000-000000000000";
    let before = filled().await;
    let a = generation("a");
    for (durability, keeps) in [(Durability::Relaxed, false), (Durability::Relay, false), (Durability::Strict, true)] {
        let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::copy(before.path().join(DATABASE), folder.path().join(DATABASE)).unwrap();
        fs::copy(before.path().join("boot"), folder.path().join("boot")).unwrap();
        let store = open(folder.path());
        let copy = |name: &str| fs::copy(folder.path().join(name), after.path().join(name)).unwrap();
        copy(DATABASE);
        copy("rushes.db-wal");
        let seen = Change { durability, ..change(&a, "seen", 201, 2) };
        assert_eq!(store.commit(vec![seen]).await, [Ok(Committed::New { last: Sequence(203) })]);
        if durability == Durability::Strict {
            copy("rushes.db-wal");
        }
        copy("boot");
        let epoch = store.epoch();
        drop(store);

        let noted = fs::read_to_string(after.path().join("boot")).unwrap();
        let rebooted = noted.split(' ').map(|word| if word.contains('-') { ANOTHER } else { word });
        fs::write(after.path().join("boot"), rebooted.collect::<Vec<_>>().join(" ")).unwrap();
        let store = Sqlite::open(options(after.path(), 2)).unwrap();
        assert_eq!(store.epoch() == epoch, keeps, "{durability:?}: {noted}");
        let head = store.latest(&a).await.unwrap().unwrap().event.sequence;
        assert_eq!(head, Sequence(if keeps { 203 } else { 201 }), "{durability:?}");
    }
}

#[tokio::test]
async fn commits_that_were_not_synced_are_noted_until_the_folder_is_closed() {
    let folder = filled().await;
    let boot = || fs::read_to_string(folder.path().join("boot")).unwrap();
    let a = generation("a");
    for round in 0..2 {
        let store = open(folder.path());
        let head = 201 + round * 2;
        assert!(store.commit(vec![change(&a, &format!("strict{round}"), head, 1)]).await[0].is_ok());
        assert!(!boot().contains("unsynced"), "{}", boot());
        let durability = Durability::Relaxed;
        let relaxed = Change { durability, ..change(&a, &format!("relaxed{round}"), head + 1, 1) };
        assert!(store.commit(vec![relaxed]).await[0].is_ok());
        assert!(boot().contains("unsynced"), "{}", boot());
        store.close().await;
        assert!(!boot().contains("unsynced"), "{}", boot());
    }
}

#[tokio::test]
async fn a_commit_whose_note_cannot_be_written_is_made_all_the_same() {
    let folder = filled().await;
    let store = open(folder.path());
    // In the way of the note.
    fs::create_dir(folder.path().join("boot.new")).unwrap();
    let relaxed = Change { durability: Durability::Relaxed, ..change(&generation("a"), "relaxed", 201, 1) };
    assert_eq!(store.commit(vec![relaxed]).await, [Ok(Committed::New { last: Sequence(202) })]);
    assert!(!fs::read_to_string(folder.path().join("boot")).unwrap().contains("unsynced"));
    store.close().await;
    fs::remove_dir(folder.path().join("boot.new")).unwrap();
    let head = open(folder.path()).latest(&generation("a")).await.unwrap().unwrap().event.sequence;
    assert_eq!(head, Sequence(202));
}
