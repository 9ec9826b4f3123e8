//! Cases about the log of all generations: order, pages, and places that are never given twice.

use protocol::State;

use super::{
    commits::commit,
    sample::{change, create, generation, row},
};
use crate::{Change, LogPosition, Store};

pub(super) async fn the_log_of_all_joins_in_the_order_of_commits(store: &dyn Store) {
    assert_eq!(store.log_head().await, Ok(LogPosition(0)));
    let (a, b) = (generation("a"), generation("b"));
    for change in [
        create(&a, row("t", State::Queued)),
        create(&b, row("t", State::Queued)),
        change(&a, "two", 1, 2),
        change(&b, "more", 1, 1),
    ] {
        assert!(commit(store, change).await.is_ok());
    }
    let mut seen = Vec::new();
    let mut at = LogPosition(0);
    loop {
        let page = store.log_after(at, 2).await.expect("a read");
        let Some(last) = page.last() else { break };
        assert!(page.iter().all(|logged| logged.position > at) && page.is_sorted_by_key(|logged| logged.position));
        at = last.position;
        seen.extend(page.into_iter().map(|logged| (logged.event.generation_id, logged.event.sequence.0)));
    }
    assert_eq!(seen, [(a.clone(), 1), (b.clone(), 1), (a.clone(), 2), (a, 3), (b, 2)]);
    assert_eq!(store.log_head().await, Ok(at));
}

pub(super) async fn a_place_in_the_log_is_never_given_twice(store: &dyn Store) {
    let (a, b) = (generation("a"), generation("b"));
    assert!(commit(store, create(&a, row("t", State::Queued))).await.is_ok());
    let end = Change { row: Some(row("t", State::Failed)), ..change(&a, "end", 1, 3) };
    assert!(commit(store, end).await.is_ok());
    let head = store.log_head().await.expect("a read");
    assert_eq!(store.delete(&a).await, Ok(Some(Vec::new())));
    assert_eq!(store.log_head().await, Ok(head), "the head stays where whoever follows stands");
    assert!(commit(store, create(&b, row("t", State::Queued))).await.is_ok());
    let after = store.log_after(head, 10).await.expect("a read");
    assert_eq!(after.iter().map(|logged| &logged.event.generation_id).collect::<Vec<_>>(), [&b]);
}
