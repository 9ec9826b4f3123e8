//! Cases about lanes, reservations and leases.

use protocol::{Fence, GenerationId, PoolName, Sequence, State, Timestamp};

use super::sample::{change, create, entry, generation, id, pool, row};
use crate::{Change, Charge, Lease, QueueEntry, Row, Store};

const NOW: Timestamp = Timestamp(10_000);
const UNTIL: Timestamp = Timestamp(15_000);

fn waiting(tenant: &str, entry: QueueEntry) -> Row {
    Row { queue: Some(entry), ..row(tenant, State::Queued) }
}

async fn submit(store: &dyn Store, name: &str, tenant: &str, entry: QueueEntry) {
    let created = create(&generation(name), waiting(tenant, entry));
    assert!(store.commit(vec![created]).await[0].is_ok());
}

/// Starts `name`, which must have one event: it leaves the queue and its tenant is charged.
async fn start(store: &dyn Store, name: &str, tenant: &str, cost_ms: i64) {
    let charge = Charge { tenant: id(tenant), pool: pool(), cost_ms };
    let started = Change {
        row: Some(row(tenant, State::Running)),
        charge: Some(charge),
        ..change(&generation(name), "start", 1, 1)
    };
    assert!(store.commit(vec![started]).await[0].is_ok());
}

async fn reserve(store: &dyn Store, count: usize, now: Timestamp) -> Vec<GenerationId> {
    let reserved = store.reserve(&pool(), count, now, now.plus(UNTIL.since(NOW))).await.expect("a read");
    reserved.into_iter().map(|queued| queued.generation).collect()
}

async fn queue(store: &dyn Store) -> Vec<GenerationId> {
    let queued = store.queue(&pool(), 100).await.expect("a read");
    queued.into_iter().map(|queued| queued.generation).collect()
}

fn generations(names: &[&str]) -> Vec<GenerationId> {
    names.iter().map(|name| generation(name)).collect()
}

pub(super) async fn a_lane_is_served_by_order_then_by_age(store: &dyn Store) {
    submit(store, "late", "t", entry(30, 100)).await;
    submit(store, "first", "t", entry(20, 100)).await;
    submit(store, "second", "t", entry(20, 100)).await;
    submit(store, "urgent", "t", entry(-5, 100)).await;
    let order = generations(&["urgent", "first", "second", "late"]);
    assert_eq!(queue(store).await, order);
    assert_eq!(store.queue(&pool(), 2).await.expect("a read").len(), 2);
    assert_eq!(store.depth().await, Ok(vec![(pool(), 4, Timestamp(1_000))]));
    assert_eq!(reserve(store, 3, NOW).await, order[..3]);
    assert_eq!(queue(store).await, order, "what is reserved still waits");
    let other: PoolName = id("other");
    assert_eq!(store.reserve(&other, 3, NOW, UNTIL).await, Ok(Vec::new()));
    assert_eq!(store.queue(&other, 3).await, Ok(Vec::new()));
}

pub(super) async fn tenants_take_turns_in_one_call_and_over_many(store: &dyn Store) {
    for n in 0..4 {
        submit(store, &format!("a{n}"), "a", entry(n, 1_000)).await;
    }
    submit(store, "b0", "b", entry(100, 1_000)).await;
    submit(store, "b1", "b", entry(101, 1_000)).await;
    // Work three times as long is a third as often.
    submit(store, "c0", "c", entry(200, 3_000)).await;
    submit(store, "c1", "c", entry(201, 3_000)).await;
    let order = generations(&["a0", "b0", "c0", "a1", "b1", "a2", "a3", "c1"]);
    assert_eq!(queue(store).await, order);
    let mut reserved = reserve(store, 3, NOW).await;
    for _ in 0..3 {
        reserved.extend(reserve(store, 1, NOW).await);
    }
    reserved.extend(reserve(store, 100, NOW).await);
    assert_eq!(reserved, order, "one call or many, the order is the one that was shown");
}

pub(super) async fn a_tenant_that_idled_has_saved_up_nothing(store: &dyn Store) {
    for n in 0..8 {
        submit(store, &format!("a{n}"), "a", entry(n, 1_000)).await;
    }
    for n in 0..4 {
        assert_eq!(reserve(store, 1, NOW).await, [generation(&format!("a{n}"))]);
        start(store, &format!("a{n}"), "a", 1_000).await;
    }
    // `b` comes late. It is next, and then they take turns: it does not get back the four turns it slept through.
    for n in 0..4 {
        submit(store, &format!("b{n}"), "b", entry(100 + n, 1_000)).await;
    }
    assert_eq!(reserve(store, 5, NOW).await, generations(&["b0", "a4", "b1", "a5", "b2"]));
}

pub(super) async fn a_correction_moves_only_its_own_lane(store: &dyn Store) {
    for n in 0..2 {
        submit(store, &format!("a{n}"), "a", entry(n, 1_000)).await;
        submit(store, &format!("b{n}"), "b", entry(10 + n, 1_000)).await;
        submit(store, &format!("c{n}"), "c", entry(20 + n, 1_000)).await;
    }
    for tenant in ["a", "b", "c"] {
        assert_eq!(reserve(store, 1, NOW).await, [generation(&format!("{tenant}0"))]);
        start(store, &format!("{tenant}0"), tenant, 1_000).await;
    }
    // `a` took five times as long as predicted, `c` nearly no time.
    for (tenant, cost_ms) in [("a", 4_000), ("c", -900)] {
        let charge = Some(Charge { tenant: id(tenant), pool: pool(), cost_ms });
        let ended = change(&generation(&format!("{tenant}0")), "end", 2, 1);
        let ended = Change { row: Some(row(tenant, State::Complete)), charge, ..ended };
        assert!(store.commit(vec![ended]).await[0].is_ok());
    }
    assert_eq!(queue(store).await, generations(&["c1", "b1", "a1"]));
}

pub(super) async fn a_reservation_ends_by_time_by_hand_and_by_commit(store: &dyn Store) {
    submit(store, "a", "t", entry(1, 100)).await;
    assert_eq!(reserve(store, 5, NOW).await, generations(&["a"]));
    assert_eq!(reserve(store, 5, NOW).await, []);
    assert_eq!(reserve(store, 5, Timestamp(UNTIL.0 - 1)).await, []);
    assert_eq!(reserve(store, 5, UNTIL).await, generations(&["a"]), "by time");
    store.unreserve(&generation("a")).await;
    store.unreserve(&generation("nobody")).await;
    assert_eq!(reserve(store, 5, UNTIL).await, generations(&["a"]), "by hand");

    start(store, "a", "t", 100).await;
    assert_eq!(queue(store).await, []);
    assert_eq!(store.depth().await, Ok(Vec::new()));
    let again = Change { row: Some(waiting("t", entry(1, 100))), ..change(&generation("a"), "again", 2, 1) };
    assert!(store.commit(vec![again]).await[0].is_ok());
    assert_eq!(reserve(store, 5, UNTIL).await, generations(&["a"]), "by commit");
}

pub(super) async fn a_new_order_keeps_a_reservation(store: &dyn Store) {
    submit(store, "a", "t", entry(1, 100)).await;
    submit(store, "b", "t", entry(2, 100)).await;
    assert_eq!(reserve(store, 1, NOW).await, generations(&["a"]));
    let later = Change { row: Some(waiting("t", entry(9, 100))), ..change(&generation("a"), "later", 1, 1) };
    assert!(store.commit(vec![later]).await[0].is_ok());
    assert_eq!(queue(store).await, generations(&["b", "a"]));
    assert_eq!(reserve(store, 5, NOW).await, generations(&["b"]), "an offer that is out is not made twice");
}

pub(super) async fn delayed_work_is_in_no_lane_until_it_is_due(store: &dyn Store) {
    let due = NOW.plus(500);
    submit(store, "retry", "t", QueueEntry { not_before: due, ..entry(1, 100) }).await;
    submit(store, "other", "t", entry(2, 100)).await;
    assert_eq!(store.next_due(&pool(), NOW).await, Ok(Some(due)));
    assert_eq!(reserve(store, 5, NOW).await, generations(&["other"]));
    assert_eq!(queue(store).await, generations(&["other", "retry"]), "what is not yet eligible stands last");
    assert_eq!(reserve(store, 5, due).await, generations(&["retry"]));
    assert_eq!(store.next_due(&pool(), due).await, Ok(None));
    assert_eq!(queue(store).await, generations(&["retry", "other"]));
}

pub(super) async fn leases_are_listed_while_they_last(store: &dyn Store) {
    let a = generation("a");
    let lease =
        Lease { generation: a.clone(), lease: id("lease"), fence: Fence(3), worker: "w 1".into(), node: "n".into() };
    let running = Row { lease: Some(lease.clone()), ..row("t", State::Running) };
    assert!(store.commit(vec![create(&a, running.clone())]).await[0].is_ok());
    assert_eq!(store.leased().await, Ok(vec![lease]));
    let loaded = store.load(&a).await.expect("a read").expect("it was created");
    assert_eq!((loaded.row, loaded.sequence), (running, Sequence(1)));
    let ended = Change { row: Some(row("t", State::Complete)), ..change(&a, "end", 1, 1) };
    assert!(store.commit(vec![ended]).await[0].is_ok());
    assert_eq!(store.leased().await, Ok(Vec::new()));
}

pub(super) async fn what_stands_before_a_closed_gate_is_in_no_lane(store: &dyn Store) {
    let gated = |order, gate: &str| QueueEntry { gates: vec![gate.to_owned(), "all".to_owned()], ..entry(order, 100) };
    submit(store, "a", "t", gated(1, "left")).await;
    submit(store, "b", "t", gated(2, "right")).await;
    store.gate("left", false).await;
    assert_eq!(queue(store).await, generations(&["b", "a"]), "what is held stands behind");
    assert_eq!(store.waiting_before("left", 9).await, generations(&["a"]));
    assert_eq!(store.waiting_before("all", 1).await, generations(&["a"]), "the first in order");
    assert_eq!(reserve(store, 5, NOW).await, generations(&["b"]));
    assert_eq!(store.depth().await, Ok(vec![(pool(), 2, Timestamp(1_000))]), "and waits all the same");
    store.gate("left", true).await;
    assert_eq!(reserve(store, 5, NOW).await, generations(&["a"]));
    store.gate("all", false).await;
    store.unreserve(&generation("a")).await;
    assert_eq!(reserve(store, 5, NOW).await, []);
    let loaded = store.load(&generation("a")).await.expect("a read").expect("it is there");
    assert_eq!(loaded.row.queue, Some(gated(1, "left")));
}

pub(super) async fn a_rank_is_what_the_queue_shows(store: &dyn Store) {
    for n in 0..4 {
        submit(store, &format!("a{n}"), "a", entry(n, 1_000)).await;
        submit(store, &format!("b{n}"), "b", entry(10 + n, 3_000)).await;
    }
    submit(store, "later", "a", QueueEntry { not_before: Timestamp(1 << 50), ..entry(0, 1) }).await;
    let all = queue(store).await;
    let ranks = store.ranks(&pool(), &all).await.expect("a read");
    let places: Vec<_> = ranks.iter().map(|(generation, rank)| (generation.clone(), rank.before)).collect();
    assert_eq!(places, all[..8].iter().cloned().zip(0..).collect::<Vec<_>>(), "what is not due has no place");
    assert_eq!(ranks[7].1.before_ms, 4 * 1_000 + 3 * 3_000);
    assert_eq!(store.ranks(&id("other"), &all).await, Ok(Vec::new()));
}

pub(super) async fn deadlines_are_listed_until_the_end(store: &dyn Store) {
    let due = |at| Row { due_at: Some(Timestamp(at)), ..waiting("t", entry(1, 100)) };
    let made = [("late", 30), ("soon", 20)].map(|(name, at)| create(&generation(name), due(at)));
    assert!(store.commit(made.to_vec()).await.iter().all(Result::is_ok));
    submit(store, "never", "t", entry(1, 100)).await;
    let listed = vec![(generation("soon"), Timestamp(20)), (generation("late"), Timestamp(30))];
    assert_eq!(store.deadlines().await, Ok(listed.clone()));
    let ended = Change { row: Some(row("t", State::Failed)), ..change(&generation("soon"), "end", 1, 1) };
    assert!(store.commit(vec![ended]).await[0].is_ok());
    assert_eq!(store.deadlines().await, Ok(listed[1..].to_vec()));
}
