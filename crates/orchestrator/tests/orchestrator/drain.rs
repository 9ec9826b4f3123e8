//! A server that goes away: workers hear of it, nothing new is offered, and what they do then counts.

use std::time::Duration;

use protocol::{
    ErrorCode,
    worker::{FailureKind, ServerMessage, WorkerMessage},
};

use super::{
    bed::{Bed, Link},
    command,
};

/// Wall-clock time; the longest a test may wait for its workers.
const WITHIN: Duration = Duration::from_secs(20);

async fn heard_drain(worker: &mut Link) -> u64 {
    match worker.expect(|message| matches!(message, ServerMessage::Drain { .. })).await {
        ServerMessage::Drain { after_ms } => after_ms,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_is_waited_for_when_nobody_works() {
    let bed = Bed::start().await;
    let mut idle = bed.worker("w1", "i1").await;
    assert!(bed.handle.drain(WITHIN).await);
    assert_eq!(heard_drain(&mut idle).await, 20_000);
    let mut late = bed.worker("w2", "i1").await;
    heard_drain(&mut late).await;
    assert!(bed.handle.drain(WITHIN).await, "asked twice is asked once");
}

#[tokio::test]
async fn a_draining_server_offers_nothing_and_waits_for_what_is_handed_back_finished_or_failed() {
    let bed = Bed::start().await;
    let ids = [bed.submit("one").await, bed.submit("two").await, bed.submit("three").await];
    let (mut first, mut second, mut third) =
        (bed.worker("w1", "i1").await, bed.worker("w2", "i1").await, bed.worker("w3", "i1").await);
    let mut held = Vec::new();
    for (worker, id) in [(&mut first, &ids[0]), (&mut second, &ids[1]), (&mut third, &ids[2])] {
        held.push(worker.take(id).await);
    }
    let handle = bed.handle.clone();
    let mut drained = tokio::task::JoinSet::new();
    drained.spawn(async move { handle.drain(WITHIN).await });
    heard_drain(&mut first).await;
    first.acked(WorkerMessage::HandBack { lease: held[0].lease.clone(), event_id: command("h") }).await;
    second.done(&held[1].lease, "d").await;
    assert!(drained.try_join_next().is_none(), "one still works");
    third.fail(&held[2].lease, "f", FailureKind::Retryable).await;
    assert!(drained.join_next().await.unwrap().unwrap());
    first.heartbeat().await;
    // Whatever was sent before this answer has arrived with it.
    let late = WorkerMessage::HandBack { lease: held[0].lease.clone(), event_id: command("late") };
    assert_eq!(first.refused(late).await, ErrorCode::LeaseLost);
    assert!(!first.was_offered(), "it stands in the queue, and a slot is free");

    // The next start offers it again: nothing was burned by handing back.
    let bed = bed.restart().await;
    let mut worker = bed.worker("w1", "i2").await;
    assert_eq!(worker.take(&ids[0]).await.attempt.0, 1);
}

#[tokio::test]
async fn what_a_worker_does_not_end_in_time_goes_on_after_the_restart() {
    let bed = Bed::start().await;
    let id = bed.submit("one").await;
    let mut worker = bed.worker("w1", "i1").await;
    let held = worker.take(&id).await;
    assert!(!bed.handle.drain(Duration::from_millis(1)).await);
    let bed = bed.restart().await;
    let mut again = bed.returning("w1", "i1", &held).await;
    again.done(&held.lease, "d").await;
}
