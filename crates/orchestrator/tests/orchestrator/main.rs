//! The orchestrator over a real store, with a clock wound by hand and workers spoken for by the test.
#![expect(clippy::unwrap_used, reason = "a test that finds nothing shall fail where it looks")]

mod bed;
mod drain;
mod fairness;
mod holding;
mod recovery;
mod simulation;
mod unreadable;
mod world;

use bed::{Bed, Link};
use gateway::Commands;
use protocol::{
    CommandId, ErrorCode, EventType, GenerationId, State,
    http::Submission,
    limits,
    worker::{FailureKind, Resumption, RunEvent, ServerMessage, WorkerMessage},
};

/// Twice what the core may take from a due time to its look.
const TICK_MS: u64 = 10;

#[tokio::test]
async fn a_generation_goes_from_submit_to_complete_in_dense_sequences() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let lease = worker.take(&id).await;
    for stage in ["prompt_analysis", "generating_frames", "interpolating", "upscaling"] {
        worker.stage_completed(&lease, stage).await;
    }
    worker.done(&lease, "done").await;
    let events = bed.events(&id).await;
    let sequences: Vec<_> = events.iter().map(|event| event.sequence.0).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap().kind, EventType::Complete);
    assert_eq!(events.iter().filter(|event| event.kind.is_terminal()).count(), 1);
    bed.shown_as_stored(&id, &events);
}

#[tokio::test]
async fn a_repeated_done_is_answered_as_the_first_time_and_another_is_refused() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let lease = worker.take(&id).await;
    let first = worker.done(&lease, "d1").await;
    assert_eq!(worker.done(&lease, "d1").await, first);
    let mut again = bed.worker("w1", "i1").await;
    assert_eq!(again.done(&lease, "d1").await, first, "on another connection, too");
    assert_eq!(again.refused(done(&lease, "d2")).await, ErrorCode::LeaseLost);
    assert_eq!(bed.events(&id).await.iter().filter(|event| event.kind.is_terminal()).count(), 1);
}

/// A silent worker loses its lease, and the run is offered exactly once more, under a higher fence.
#[tokio::test]
async fn a_silent_worker_loses_its_lease() {
    let bed = Bed::start().await;
    let mut first = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let lost = first.take(&id).await;
    let mut second = bed.worker("w2", "i1").await;
    bed.clock.advance(limits::LEASE_SILENCE_MAX_MS + TICK_MS);
    first.expect(|message| matches!(message, ServerMessage::LeaseLost { .. })).await;
    // The retry waits for its backoff.
    bed.until(&id, EventType::RetryScheduled).await;
    second.heartbeat().await;
    bed.clock.advance(limits::RETRY_BASE_MS + TICK_MS);
    let held = second.take(&id).await;
    assert!(held.fence > lost.fence);
    assert_eq!(first.refused(done(&lost.lease, "late")).await, ErrorCode::LeaseLost);
    second.done(&held.lease, "d").await;
    assert_eq!(bed.events(&id).await.last().unwrap().kind, EventType::Complete);
}

#[tokio::test]
async fn a_worker_that_comes_back_in_time_goes_on() {
    let bed = Bed::start().await;
    let mut first = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let held = first.take(&id).await;
    drop(first);
    bed.clock.advance(limits::LEASE_AFTER_CLOSE_MS / 2);
    let mut back = bed.returning("w1", "i1", &held).await;
    assert_eq!(back.resumed, [Resumption::Resumed]);
    bed.clock.advance(limits::LEASE_AFTER_CLOSE_MS);
    back.done(&held.lease, "d").await;
    let events = bed.events(&id).await;
    assert_eq!(events.last().unwrap().kind, EventType::Complete);
    assert!(!events.iter().any(|event| event.kind == EventType::StageFailed), "no attempt was burned");
}

#[tokio::test]
async fn a_restarted_server_keeps_the_lease_and_burns_no_attempt() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let held = worker.take(&id).await;
    worker.stage_completed(&held.lease, "prompt_analysis").await;
    let bed = bed.restart().await;
    bed.clock.advance(limits::LEASE_SILENCE_MAX_MS - 1_000);
    let mut back = bed.returning("w1", "i1", &held).await;
    assert_eq!(back.resumed, [Resumption::Resumed]);
    back.done(&held.lease, "d").await;
    let events = bed.events(&id).await;
    assert_eq!(events.last().unwrap().kind, EventType::Complete);
    assert!(!events.iter().any(|event| event.kind == EventType::StageFailed));
}

#[tokio::test]
async fn a_lease_nobody_comes_back_for_after_a_restart_ends() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    worker.take(&id).await;
    let bed = bed.restart().await;
    bed.clock.advance(limits::LEASE_SILENCE_MAX_MS + TICK_MS);
    bed.until(&id, EventType::RetryScheduled).await;
}

#[tokio::test]
async fn a_cancel_reaches_the_worker_and_ends_what_it_does() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let held = worker.take(&id).await;
    let shown = bed.handle.cancel(&id, command("c1"), "").await.unwrap();
    assert_eq!(shown.state, State::Cancelling);
    worker.expect(|message| matches!(message, ServerMessage::Cancel { .. })).await;
    // What was finished in spite of it does not count as complete.
    worker.done(&held.lease, "d").await;
    assert_eq!(bed.events(&id).await.last().unwrap().kind, EventType::Cancelled);
    let after = bed.handle.cancel(&id, command("c2"), "").await.unwrap();
    assert_eq!(after.state, State::Cancelled, "after the end: answered with the end");
}

#[tokio::test]
async fn a_worker_that_ignores_a_cancel_is_revoked_after_the_grace() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    worker.take(&id).await;
    bed.handle.cancel(&id, command("c1"), "").await.unwrap();
    bed.clock.advance(limits::CANCEL_GRACE_MS + TICK_MS);
    bed.until(&id, EventType::Cancelled).await;
    worker.expect(|message| matches!(message, ServerMessage::LeaseLost { .. })).await;
}

#[tokio::test]
async fn failures_are_retried_with_backoff_until_they_are_final() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    for attempt in 1..=4_u32 {
        let held = worker.take(&id).await;
        assert_eq!(held.attempt.0, attempt);
        worker.fail(&held.lease, &format!("f{attempt}"), FailureKind::Retryable).await;
        worker.heartbeat().await;
        bed.clock.advance(limits::RETRY_BASE_MS << attempt);
    }
    let events = bed.events(&id).await;
    assert_eq!(events.last().unwrap().kind, EventType::Failed);
    assert_eq!(events.iter().filter(|event| event.kind == EventType::RetryScheduled).count(), 3);
}

#[tokio::test]
async fn a_fatal_failure_is_not_retried() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let held = worker.take(&id).await;
    worker.fail(&held.lease, "f", FailureKind::InvalidInput).await;
    let events = bed.events(&id).await;
    assert_eq!(events.last().unwrap().metadata["errorCode"], "INVALID_INPUT");
}

#[tokio::test]
async fn a_run_handed_back_burns_no_attempt_and_goes_to_another_worker() {
    let bed = Bed::start().await;
    let mut first = bed.worker("w1", "i1").await;
    let id = bed.submit("a lake").await;
    let held = first.take(&id).await;
    first.say(WorkerMessage::Drain).await;
    first.acked(WorkerMessage::HandBack { lease: held.lease.clone(), event_id: command("h") }).await;
    let mut second = bed.worker("w2", "i1").await;
    let again = second.take(&id).await;
    assert_eq!(again.attempt.0, 1);
    assert!(again.fence > held.fence);
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_generation() {
    let bed = Bed::start().await;
    let first = bed.submit_with_key("a lake", "k").await.unwrap();
    let second = bed.submit_with_key("a lake", "k").await.unwrap();
    assert_eq!(first.event.generation_id, second.event.generation_id);
    assert!(second.repeated && !first.repeated);
    let other = bed.submit_with_key("another lake", "k").await.unwrap_err();
    assert_eq!(other.code, ErrorCode::IdempotencyConflict);
    let both = tokio::join!(bed.submit_with_key("a sea", "k2"), bed.submit_with_key("a sea", "k2"));
    assert_eq!(both.0.unwrap().event.generation_id, both.1.unwrap().event.generation_id, "at the same time, too");
}

#[tokio::test]
async fn offers_follow_slots_and_what_waits_keeps_its_order() {
    let bed = Bed::start().await;
    let ids = [bed.submit("one").await, bed.submit("two").await, bed.submit("three").await];
    let mut worker = bed.worker("w1", "i1").await;
    for id in &ids {
        let held = worker.take(id).await;
        worker.done(&held.lease, "d").await;
    }
}

#[tokio::test]
async fn a_declined_offer_goes_to_another_worker() {
    let bed = Bed::start().await;
    let id = bed.submit("one").await;
    let mut first = bed.worker("w1", "i1").await;
    let offer = first.offered(&id).await;
    first.say(WorkerMessage::Decline { offer, reason: "busy".into() }).await;
    let mut second = bed.worker("w2", "i1").await;
    second.take(&id).await;
}

#[tokio::test]
async fn a_stalled_stage_ends_although_the_worker_lives() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    worker.take(&id).await;
    let stall = protocol::Pipeline::video().stages[0].stall_ms;
    for _ in 0..stall / limits::HEARTBEAT_MS + 2 {
        worker.heartbeat().await;
        bed.clock.advance(limits::HEARTBEAT_MS);
    }
    worker.expect(|message| matches!(message, ServerMessage::LeaseLost { .. })).await;
    let events = bed.events(&id).await;
    assert!(events.iter().any(|event| event.kind == EventType::StageFailed), "{events:#?}");
}

#[tokio::test]
async fn an_artifact_that_was_never_uploaded_is_refused() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    let held = worker.take(&id).await;
    let artifact = protocol::worker::Artifact { name: "film.mp4".parse().unwrap(), size: 3, sha256: "00".repeat(32) };
    let message = WorkerMessage::Artifact { lease: held.lease, event_id: command("a"), artifact };
    assert_eq!(worker.refused(message).await, ErrorCode::ArtifactMissing);
}

#[tokio::test]
async fn another_token_does_not_write_under_a_lease_it_has_seen() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    let held = worker.take(&id).await;
    let mut thief = Link::open(&bed, "thief", "w1", "i1", &[]).await;
    assert_eq!(thief.refused(done(&held.lease, "d")).await, ErrorCode::LeaseLost);
    worker.done(&held.lease, "d").await;
}

#[tokio::test]
async fn progress_is_coalesced_and_never_falls() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    let held = worker.take(&id).await;
    worker.stage_completed(&held.lease, "prompt_analysis").await;
    for percent in [10.0, 20.0, 15.0, 30.0] {
        worker.progress(&held.lease, "generating_frames", percent).await;
    }
    bed.clock.advance(limits::PROGRESS_INTERVAL_MS + TICK_MS);
    worker.stage_completed(&held.lease, "generating_frames").await;
    let events = bed.events(&id).await;
    let progress: Vec<_> = events.iter().map(|event| event.progress).collect();
    assert!(progress.is_sorted(), "{progress:?}");
    let count = events.iter().filter(|event| event.kind == EventType::StageProgress).count();
    assert!((1..=2).contains(&count), "{count} progress events");
}

#[tokio::test]
async fn demand_reaches_the_worker_and_ends_with_the_watchers() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    worker.take(&id).await;
    bed.look(&id, 1);
    worker.expect(|message| matches!(message, ServerMessage::Wanted { full: Some(_), .. })).await;
    bed.clock.advance(6_000);
    worker.expect(|message| matches!(message, ServerMessage::Wanted { full: None, tile: None, .. })).await;
}

#[tokio::test]
async fn an_external_generation_ends_by_its_own_word_or_by_silence() {
    let bed = Bed::start().await;
    let external = Submission { pipeline: Some("external".parse().unwrap()), ..Submission::default() };
    let id = bed.submit_this(external.clone()).await;
    bed.handle.report(&id, vec![bed::report("e1", "generating_frames", 40.0)]).await.unwrap();
    bed.handle.report(&id, vec![bed::report("e2", "complete", 100.0)]).await.unwrap();
    assert_eq!(bed.events(&id).await.last().unwrap().kind, EventType::Complete);
    let silent = bed.submit_this(external).await;
    bed.clock.advance(limits::EXTERNAL_STALL_MS + 10 * TICK_MS);
    bed.until(&silent, EventType::Failed).await;
    let managed = bed.submit("one").await;
    let refused = bed.handle.report(&managed, vec![bed::report("e1", "complete", 100.0)]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::LeaseRequired);
}

#[tokio::test]
async fn watched_work_that_waits_is_told_its_position() {
    let bed = Bed::start().await;
    let ids = [bed.submit("one").await, bed.submit("two").await];
    bed.look(&ids[1], 1);
    // Passes behind the demand, so that the clock is wound after it was heard.
    bed.handle.state(&ids[1]).await.unwrap();
    bed.clock.advance(1_100);
    let hint = bed.hint(&ids[1]).await;
    assert_eq!(hint.status.message, "Waiting in queue (position 2)");
    assert_eq!(hint.status.sequence.0, 1);
}

#[tokio::test]
async fn a_retry_is_a_new_generation_and_the_old_one_stays_ended() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    let causal = "c".parse::<protocol::CausalId>().unwrap();
    let running = bed.handle.retry(&id, causal.clone(), None).await.unwrap_err();
    assert_eq!(running.code, ErrorCode::StateConflict);
    let held = worker.take(&id).await;
    worker.fail(&held.lease, "f", FailureKind::Fatal).await;
    let before = bed.events(&id).await.len();
    let retried = bed.handle.retry(&id, causal, None).await.unwrap();
    assert_ne!(retried.event.generation_id, id);
    assert_eq!(bed.events(&id).await.len(), before);
    worker.take(&retried.event.generation_id).await;
}

#[tokio::test]
async fn a_worker_may_bring_its_pipeline() {
    let bed = Bed::start().await;
    let mut pipeline = protocol::Pipeline::video();
    pipeline.name = "mine".parse().unwrap();
    pipeline.input_schema = None;
    pipeline.stages.truncate(1);
    let mut worker = Link::open_with(&bed, "worker", "w1", "i1", &[], vec![pipeline]).await;
    let submission = Submission { pipeline: Some("mine".parse().unwrap()), ..Submission::default() };
    let id = bed.submit_this(submission).await;
    let held = worker.take(&id).await;
    worker.done(&held.lease, "d").await;
    assert_eq!(bed.events(&id).await.last().unwrap().progress, 100.0);
}

/// Old and new versions run beside each other: what was accepted goes on as it was, also where its definition is gone.
#[tokio::test]
async fn a_generation_keeps_the_version_it_was_accepted_with_and_later_ones_get_the_newest() {
    let bed = Bed::start().await;
    let version = |version, stages| {
        let mut pipeline = protocol::Pipeline::video();
        (pipeline.name, pipeline.version, pipeline.input_schema) = ("mine".parse().unwrap(), version, None);
        pipeline.stages.truncate(stages);
        pipeline
    };
    let offered = async |worker: &mut Link| match worker.expect(|m| matches!(m, ServerMessage::Offer { .. })).await {
        ServerMessage::Offer { offer, generation, version, stages, .. } => (offer, generation, version, stages.len()),
        other => panic!("{other:?}"),
    };
    let mine = || Submission { pipeline: Some("mine".parse().unwrap()), ..Submission::default() };
    let mut old = Link::open_with(&bed, "worker", "w1", "i1", &[], vec![version(1, 1)]).await;
    let (first, second) = (bed.submit_this(mine()).await, bed.submit_this(mine()).await);
    let held = old.take(&first).await;
    let new = Link::open_with(&bed, "worker", "w2", "i1", &[], vec![version(2, 2), version(1, 1)]).await;
    let third = bed.submit_this(mine()).await;
    drop(new);
    old.done(&held.lease, "d1").await;

    let bed = bed.restart().await;
    let mut worker = bed.worker("w3", "i1").await;
    for (expected, id, number) in [((1, 1), second, "d2"), ((2, 2), third, "d3")] {
        let (offer, generation, version, stages) = offered(&mut worker).await;
        assert_eq!((generation, (version, stages)), (id.clone(), expected));
        worker.say(WorkerMessage::Accept { offer }).await;
        let granted = worker.expect(|m| matches!(m, ServerMessage::Granted { .. })).await;
        let ServerMessage::Granted { lease, .. } = granted else { unreachable!() };
        worker.done(&lease, number).await;
        assert_eq!(bed.events(&id).await.last().unwrap().kind, EventType::Complete);
    }
}

#[tokio::test]
async fn a_line_worth_keeping_is_kept_once_however_often_it_is_said() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    let held = worker.take(&id).await;
    let log = || WorkerMessage::Event {
        lease: held.lease.clone(),
        event_id: command("l1"),
        what: RunEvent::Log { message: "a lake at dusk".into(), metadata: None },
    };
    let first = worker.acked(log()).await;
    for _ in 0..3 {
        assert_eq!(worker.acked(log()).await, first);
    }
    worker.done(&held.lease, "d").await;
    assert_eq!(bed.events(&id).await.iter().filter(|event| event.kind == EventType::Log).count(), 1);
}

fn command(text: &str) -> CommandId {
    text.parse().unwrap()
}

fn done(lease: &protocol::LeaseId, id: &str) -> WorkerMessage {
    WorkerMessage::Done { lease: lease.clone(), event_id: command(id), outputs: Default::default() }
}

#[tokio::test]
async fn an_unknown_generation_is_not_found() {
    let bed = Bed::start().await;
    let id = GenerationId::new("gen_nobody").unwrap();
    assert_eq!(bed.handle.cancel(&id, command("c"), "").await.unwrap_err().code, ErrorCode::NotFound);
}
