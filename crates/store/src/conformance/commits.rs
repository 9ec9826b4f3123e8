//! Cases about writing: sequences, repeats, conflicts, claims, and what a listener hears.

use protocol::{Sequence, State, TenantId};

use super::{
    Heard,
    sample::{change, claim, create, generation, id, row},
};
use crate::{Change, CommitError, Committed, Store};

pub(super) async fn commit(store: &dyn Store, change: Change) -> Result<Committed, CommitError> {
    let mut answers = store.commit(vec![change]).await;
    assert_eq!(answers.len(), 1, "one answer for each change");
    answers.remove(0)
}

const fn new(last: u64) -> Result<Committed, CommitError> {
    Ok(Committed::New { last: Sequence(last) })
}

pub(super) async fn sequences_are_dense_and_heard_in_order(store: &dyn Store, heard: &Heard) {
    let (a, b) = (generation("a"), generation("b"));
    assert_eq!(commit(store, create(&a, row("t", State::Queued))).await, new(1));
    let both = vec![change(&a, "two", 1, 2), create(&b, row("t", State::Queued)), change(&a, "three", 3, 3)];
    assert_eq!(store.commit(both).await, [new(3), new(1), new(6)]);

    let written = store.events_after(&a, Sequence(0), 100).await.expect("a read");
    let sequences: Vec<u64> = written.iter().map(|stored| stored.event.sequence.0).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    let expected = change(&a, "three", 3, 3).events;
    for (stored, new) in written[3..].iter().zip(expected) {
        assert_eq!(stored.fact, new.fact);
        let mut event = protocol::Event::clone(&new.event);
        event.sequence = stored.event.sequence;
        assert_eq!(*stored.event, event);
    }

    let heard: Vec<_> = heard.all().into_iter().filter(|stored| stored.event.generation_id == a).collect();
    assert_eq!(heard, written, "what was heard is what is stored, each once and in order");
    let latest = store.latest(&a).await.expect("a read").expect("it was created");
    assert_eq!((&latest.event, latest.oldest), (&*written[5].event, Sequence(1)));
}

pub(super) async fn a_repeat_is_answered_as_the_first_time(store: &dyn Store, heard: &Heard) {
    let a = generation("a");
    assert_eq!(commit(store, create(&a, row("t", State::Queued))).await, new(1));
    assert_eq!(commit(store, change(&a, "c", 1, 2)).await, new(3));
    assert_eq!(commit(store, change(&a, "c.1", 3, 1)).await, new(4), "a command that begins like another is another");
    // Whatever is expected, whatever happened since, and although the head is another.
    for expected in [1, 3, 99] {
        let repeated = commit(store, change(&a, "c", expected, 2)).await;
        assert_eq!(repeated, Ok(Committed::Repeated { last: Sequence(3) }));
    }
    // Inside one call too.
    let twice = store.commit(vec![change(&a, "d", 4, 1), change(&a, "d", 4, 1)]).await;
    assert_eq!(twice, [new(5), Ok(Committed::Repeated { last: Sequence(5) })]);
    assert_eq!(heard.all().len(), 5, "a repeat is not heard again");
    assert_eq!(store.find(&a, &id("c")).await, Ok(Some(Sequence(3))));
    assert_eq!(store.find(&a, &id("never")).await, Ok(None));
    assert_eq!(store.find(&generation("b"), &id("c")).await, Ok(None));
    // The same command of another generation is another command.
    let b = generation("b");
    assert_eq!(commit(store, create(&b, row("t", State::Queued))).await, new(1));
    assert_eq!(commit(store, change(&b, "c", 1, 1)).await, new(2));
}

pub(super) async fn a_wrong_sequence_is_a_conflict_and_writes_nothing(store: &dyn Store) {
    let a = generation("a");
    let conflict = |head| Err(CommitError::Conflict { head: Sequence(head) });
    assert_eq!(commit(store, change(&a, "early", 3, 1)).await, conflict(0));
    assert_eq!(commit(store, create(&a, row("t", State::Queued))).await, new(1));
    assert_eq!(
        commit(store, Change { command: id("again"), ..create(&a, row("x", State::Failed)) }).await,
        conflict(1)
    );
    for expected in [2, 7] {
        let behind = Change { row: Some(row("x", State::Failed)), ..change(&a, "late", expected, 1) };
        assert_eq!(commit(store, behind).await, conflict(1));
    }
    let listed = store.get(&a).await.expect("a read").expect("it was created");
    assert_eq!((listed.row.tenant, listed.latest.sequence), (id::<TenantId>("t"), Sequence(1)));
    assert_eq!(store.find(&a, &id("late")).await, Ok(None), "a refused command was never committed");
}

pub(super) async fn changes_of_one_call_stand_and_fall_alone(store: &dyn Store) {
    let (a, b) = (generation("a"), generation("b"));
    let answers = store
        .commit(vec![
            create(&a, row("t", State::Queued)),
            change(&b, "nobody", 4, 1),
            change(&a, "wrong", 9, 1),
            change(&a, "right", 1, 1),
        ])
        .await;
    let conflict = |head| Err(CommitError::Conflict { head: Sequence(head) });
    assert_eq!(answers, [new(1), conflict(0), conflict(1), new(2)]);
    assert_eq!(store.commit(Vec::new()).await, []);
    assert_eq!(store.heads(&[b.clone(), a.clone()]).await, Ok(vec![(a.clone(), Sequence(2))]));
    let latest = store.latest(&a).await.expect("the store answers");
    assert!(latest.as_ref().is_some_and(|latest| latest.event.sequence == Sequence(2)));
    assert_eq!(store.latest_of(&[b.clone(), a, b]).await, Ok(vec![None, latest, None]));
}

pub(super) async fn a_claim_names_one_generation(store: &dyn Store) {
    let claimed = |name, digest| {
        let generation = generation(name);
        Change { claim: Some(claim("key", digest)), ..create(&generation, row("t", State::Queued)) }
    };
    assert_eq!(store.is_claimed(&claim("key", 1)).await, Ok(false));
    assert_eq!(commit(store, claimed("a", 1)).await, new(1));
    assert_eq!(store.is_claimed(&claim("key", 2)).await, Ok(true));
    assert_eq!(store.is_claimed(&claim("lock", 1)).await, Ok(false));
    let held = |same| Ok(Committed::Claimed { generation: generation("a"), same });
    assert_eq!(commit(store, claimed("b", 1)).await, held(true));
    assert_eq!(commit(store, claimed("c", 2)).await, held(false));
    assert_eq!(store.get(&generation("b")).await, Ok(None), "nothing was written");
    // The command id is looked up first: the very same request is a repeat.
    assert_eq!(commit(store, claimed("a", 1)).await, Ok(Committed::Repeated { last: Sequence(1) }));
    // Another scope is another key.
    let mut elsewhere = claimed("d", 1);
    elsewhere.claim.as_mut().expect("just set").scope = "other/user_456/submit".into();
    assert_eq!(commit(store, elsewhere).await, new(1));
}

pub(super) async fn a_claim_holds_inside_one_call(store: &dyn Store) {
    let claimed = |name| Change { claim: Some(claim("key", 1)), ..create(&generation(name), row("t", State::Queued)) };
    let answers = store.commit(vec![claimed("a"), claimed("b")]).await;
    assert_eq!(answers, [new(1), Ok(Committed::Claimed { generation: generation("a"), same: true })]);
    // A claim of a refused change holds nothing.
    let refused = Change { claim: Some(claim("other", 1)), ..change(&generation("a"), "late", 7, 1) };
    let kept = Change { claim: Some(claim("other", 1)), ..create(&generation("c"), row("t", State::Queued)) };
    let answers = store.commit(vec![refused, kept]).await;
    assert_eq!(answers, [Err(CommitError::Conflict { head: Sequence(1) }), new(1)]);
}

pub(super) async fn concurrent_writers_of_one_head_have_one_winner(store: &dyn Store) {
    let a = generation("a");
    assert_eq!(commit(store, create(&a, row("t", State::Queued))).await, new(1));
    let (x, y, z) = tokio::join!(
        commit(store, change(&a, "x", 1, 1)),
        commit(store, change(&a, "y", 1, 1)),
        commit(store, change(&a, "z", 1, 1)),
    );
    let won = [&x, &y, &z].into_iter().filter(|answer| **answer == new(2)).count();
    let lost = Err(CommitError::Conflict { head: Sequence(2) });
    assert_eq!((won, [&x, &y, &z].into_iter().filter(|answer| **answer == lost).count()), (1, 2), "{x:?} {y:?} {z:?}");
}

pub(super) async fn a_loaded_generation_is_its_columns_and_what_came_after(store: &dyn Store) {
    let a = generation("a");
    assert_eq!(commit(store, create(&a, row("t", State::Queued))).await, new(1));
    let mut running = row("t", State::Running);
    running.snapshot = vec![0, 159, 146, 150];
    running.pipeline = "other@2".into();
    let edge = Change { row: Some(running.clone()), ..change(&a, "edge", 1, 2) };
    assert_eq!(commit(store, edge).await, new(3));
    assert_eq!(commit(store, change(&a, "progress", 3, 2)).await, new(5));

    let loaded = store.load(&a).await.expect("a read").expect("it was created");
    assert_eq!((loaded.row, loaded.sequence), (running.clone(), Sequence(3)));
    assert_eq!(Ok(loaded.after), store.events_after(&a, Sequence(3), 100).await);
    let listed = store.get(&a).await.expect("a read").expect("it was created");
    assert_eq!((listed.row, listed.latest.sequence), (running, Sequence(5)));
}

pub(super) async fn pages_of_events_join_without_a_hole(store: &dyn Store) {
    let a = generation("a");
    assert_eq!(commit(store, create(&a, row("t", State::Queued))).await, new(1));
    assert_eq!(commit(store, change(&a, "many", 1, 10)).await, new(11));
    let (mut seen, mut after) = (Vec::new(), Sequence(0));
    loop {
        let page = store.events_after(&a, after, 4).await.expect("a read");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        after = last.event.sequence;
        seen.extend(page);
    }
    assert_eq!(Ok(seen), store.events_after(&a, Sequence(0), 100).await);
    assert_eq!(after, Sequence(11));
}
