//! No room left. SQLite is told that its file may not grow: the same error, by the same path, as a full disk.

use super::*;

impl Sqlite {
    /// Lets the file have so many pages; 0 for as many as it has.
    async fn allow_pages(&self, pages: u32) {
        self.writer
            .work(move |desk| {
                desk.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
                Ok(())
            })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_without_a_trace_and_recovers_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let store = listening(folder.path(), heard.listener());
    let a = generation("a");
    assert!(store.commit(vec![create(&a, row("t", State::Queued))]).await[0].is_ok());
    // SQLite takes a smaller number for the size the file has.
    store.allow_pages(1).await;

    let large = |command: &str, expected| {
        let mut large = change(&a, command, expected, 1);
        large.events[0].fact = vec![7; 200_000];
        large
    };
    assert_eq!(store.commit(vec![large("large", 1)]).await, [Err(CommitError::Full)]);
    assert_eq!(store.ready().await, Err(StoreError::Full));
    // One that finds no room does not refuse the small one beside it.
    let mixed = store.commit(vec![large("again", 1), change(&a, "small", 1, 1)]).await;
    assert_eq!(mixed, [Err(CommitError::Full), Ok(Committed::New { last: Sequence(2) })]);
    assert_eq!(heard.all().len(), 2, "what was not committed is not heard");
    assert_eq!(store.find(&a, &"large".parse().unwrap()).await, Ok(None));

    store.allow_pages(1_000_000).await;
    assert_eq!(store.ready().await, Ok(()));
    assert_eq!(store.commit(vec![large("large", 2)]).await, [Ok(Committed::New { last: Sequence(3) })]);
    let events = store.events_after(&a, Sequence(0), 10).await.unwrap();
    assert_eq!(events, heard.all());
}

#[tokio::test]
async fn filled_to_the_brim_every_acknowledged_change_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = generation("a");
    assert!(store.commit(vec![create(&a, row("t", State::Queued))]).await[0].is_ok());
    let pages: u32 = 150;
    store.allow_pages(pages).await;
    let mut head = 1;
    let refused = loop {
        // Three at a time, so that the last batch is refused in its middle.
        let batch = (0..3).map(|n| change(&a, &format!("c{head}.{n}"), head + n, 1)).collect();
        let answers = store.commit(batch).await;
        let taken = answers.iter().take_while(|answer| answer.is_ok()).count();
        head += taken as u64;
        if taken < 3 {
            break answers[taken].clone();
        }
    };
    assert_eq!(refused, Err(CommitError::Full));
    let check = |events: Vec<crate::StoredEvent>| {
        let sequences: Vec<u64> = events.iter().map(|stored| stored.event.sequence.0).collect();
        assert_eq!(sequences, (1..=head).collect::<Vec<_>>());
    };
    check(store.events_after(&a, Sequence(0), 100_000).await.unwrap());
    drop(store);
    check(open(folder.path()).events_after(&a, Sequence(0), 100_000).await.unwrap());
}
