//! Ends that take a while, and ends that time brings: the clean-up, deadlines, the watchdog, a bigger pool.

use protocol::{Fence, Pipeline, Stage, Timestamp, limits, worker::FailureKind};
use rushes_engine::{Action, Loss, Phase, Refusal};
use serde_json::json;

use crate::bed::{Bed, START, cancel, grant, name, pipeline, submit, words};

fn tidy() -> Pipeline {
    let sweep = Stage { retries: 1, ..Stage::new(name("sweep")) };
    Pipeline { on_failed: Some(Box::new(sweep)), ..pipeline(&[("draw", "gpu", false), ("encode", "cpu", false)]) }
}

#[test]
fn what_fails_for_good_is_cleaned_up_before_its_one_end() {
    let mut bed = Bed::running(tidy());
    assert_eq!(words(&bed.must(bed.fail(FailureKind::Fatal))), "stage_failed + clean_up_started");
    assert_eq!(bed.last().state, protocol::State::Queued);
    assert_eq!(bed.last().metadata["errorMessage"], "it broke", "its owner knows why already");
    assert_eq!(words(&bed.grant()), "stage_started");
    assert_eq!(bed.last().stage, Some(name("sweep")));
    assert_eq!(words(&bed.must(bed.done(json!({})))), "stage_completed + failed");
    assert_eq!(bed.last().metadata["errorCode"], "FATAL");
    assert_eq!(bed.last().metadata["cleanUp"], "done");
    assert_eq!(bed.outcome(bed.done(json!({}))), "ended");
}

#[test]
fn a_cancelled_run_is_cleaned_up_and_reads_as_cancelling_meanwhile() {
    let mut bed = Bed::running(tidy());
    bed.must(cancel());
    assert_eq!(words(&bed.must(bed.done(json!({})))), "clean_up_started");
    assert_eq!(bed.last().state, protocol::State::Cancelling);
    bed.grant();
    assert_eq!(bed.last().state, protocol::State::Cancelling);
    assert_eq!(words(&bed.must(bed.done(json!({})))), "stage_completed + cancelled");
}

#[test]
fn what_waits_between_two_runs_is_cleaned_up_when_it_is_cancelled() {
    let mut bed = Bed::running(tidy());
    bed.must(bed.done(json!({})));
    assert_eq!(words(&bed.must(cancel())), "cancel_requested + clean_up_started");
}

#[test]
fn what_never_began_leaves_nothing_to_clean_up() {
    let mut bed = Bed::queued(tidy());
    assert_eq!(words(&bed.must(cancel())), "cancel_requested + cancelled");
}

#[test]
fn a_clean_up_is_retried_like_any_stage_and_its_failure_changes_no_end() {
    let mut bed = Bed::running(tidy());
    bed.must(bed.fail(FailureKind::Fatal));
    bed.grant();
    assert_eq!(words(&bed.must(bed.lose(Loss::WorkerLost))), "stage_failed + retry_scheduled");
    bed.grant();
    assert_eq!(words(&bed.must(bed.fail(FailureKind::Retryable))), "stage_failed + failed");
    assert_eq!(bed.last().metadata["errorCode"], "FATAL");
    assert_eq!(bed.last().metadata["cleanUp"], "failed");
}

#[test]
fn a_clean_up_no_worker_takes_is_given_up_after_its_bound() {
    let mut bed = Bed::running(tidy());
    bed.must(bed.fail(FailureKind::Fatal));
    bed.wait(protocol::limits::CLEAN_UP_MAX_MS - 1);
    assert_eq!(bed.outcome(Action::Expire), "not now");
    bed.wait(1);
    assert_eq!(words(&bed.must(Action::Expire)), "failed");
}

#[test]
fn a_generation_that_takes_too_long_fails_wherever_it_stands() {
    for begun in [false, true] {
        let mut bed = Bed::queued(Pipeline { timeout_ms: Some(10_000), ..pipeline(&[("draw", "gpu", false)]) });
        if begun {
            bed.must(grant(Fence(1)));
        }
        bed.wait(9_999);
        assert_eq!(bed.outcome(Action::Expire), "not now");
        bed.wait(1);
        assert_eq!(words(&bed.must(Action::Expire)), "failed");
        assert_eq!(bed.last().metadata["errorCode"], "DEADLINE_EXCEEDED");
        assert_eq!(bed.last().message, "Generation failed: it took longer than 10 s");
        assert_eq!(bed.state().holder, None);
    }
}

#[test]
fn a_wait_that_is_too_long_fails_and_the_wait_before_a_retry_does_not_count() {
    let mut bed = Bed::queued(Pipeline { queue_timeout_ms: Some(5_000), ..pipeline(&[("draw", "gpu", false)]) });
    bed.wait(4_000);
    bed.must(grant(Fence(1)));
    assert_eq!(bed.state().expires_at(), None, "a run has bounds of its own");
    bed.random = 199;
    bed.must(bed.fail(FailureKind::Retryable));
    assert_eq!(bed.state().expires_at(), Some(bed.state().not_before.plus(5_000)));
    bed.wait(5_200);
    bed.must(Action::Expire);
    assert_eq!(bed.last().metadata["errorCode"], "QUEUE_TIMEOUT");
}

#[test]
fn a_silent_stage_is_reported_once_until_it_moves_again() {
    let mut bed = Bed::running(pipeline(&[("draw", "gpu", false)]));
    let warn = |bed: &Bed| Action::Warn { fence: bed.right().1 };
    bed.wait(59_999);
    assert_eq!(bed.outcome(warn(&bed)), "nothing new");
    bed.wait(1);
    assert_eq!(words(&bed.must(warn(&bed))), "log");
    assert_eq!(bed.last().message, "No progress for 60 s");
    assert_eq!(bed.outcome(warn(&bed)), "nothing new");
    let stalls = bed.state().deadlines().stalled_at;
    assert_eq!(stalls, bed.state().stages[0].moved_at.map(|at| at.plus(120_000)), "a report is no movement");
    bed.must(bed.progress("draw", 10.0));
    bed.wait(60_000);
    assert_eq!(words(&bed.must(warn(&bed))), "log");
}

#[test]
fn what_ran_out_of_memory_goes_on_in_the_bigger_pool_with_its_whole_run() {
    let mut definition = pipeline(&[("plan", "gpu", false), ("draw", "gpu", false), ("encode", "cpu", false)]);
    definition.stages[1].bigger_pool = Some("gpu-80gb".parse().unwrap());
    let mut bed = Bed::running(definition);
    bed.must(bed.stage_completed("plan"));
    bed.must(bed.fail(FailureKind::OutOfMemory));
    let project = rushes_engine::project(bed.state()).queue.unwrap();
    assert_eq!(project.pool.as_str(), "gpu-80gb");
    assert_eq!(bed.state().run(), 0..2, "what the stages hand each other stays in one memory");
    bed.grant();
    bed.must(bed.fail(FailureKind::Retryable));
    assert_eq!(bed.state().pool_here().unwrap().as_str(), "gpu-80gb", "it does not shrink again");
    bed.grant();
    bed.must(bed.stage_completed("plan"));
    bed.must(bed.done(json!({})));
    assert_eq!(bed.state().pool_here().unwrap().as_str(), "cpu");
}

#[test]
fn another_failure_stays_in_its_pool() {
    let mut definition = pipeline(&[("draw", "gpu", false)]);
    definition.stages[0].bigger_pool = Some("gpu-80gb".parse().unwrap());
    let mut bed = Bed::running(definition);
    bed.must(bed.fail(FailureKind::Retryable));
    assert_eq!(bed.state().pool_here().unwrap().as_str(), "gpu");
}

#[test]
fn a_stage_waits_as_long_as_it_says_before_its_retry() {
    let mut definition = pipeline(&[("draw", "gpu", false)]);
    (definition.stages[0].backoff_ms, definition.stages[0].backoff_max_ms) = (60_000, 90_000);
    let mut bed = Bed::running(definition);
    bed.random = 59_999;
    let failed_at = bed.now;
    bed.must(bed.fail(FailureKind::Retryable));
    assert_eq!(bed.state().not_before, failed_at.plus(60_000));
}

#[test]
fn a_clean_up_cannot_be_cancelled_away() {
    let mut bed = Bed::running(tidy());
    bed.must(bed.fail(FailureKind::Fatal));
    assert_eq!(bed.ask(cancel()), Err(Refusal::NothingNew));
    assert_eq!(bed.state().phase, Phase::Queued);
}

#[test]
fn another_generation_is_not_touched_by_the_name_of_a_clean_up() {
    let mut bed = Bed::queued(tidy());
    bed.must(grant(Fence(1)));
    assert_eq!(bed.outcome(bed.progress("sweep", 5.0)), "wrong stage");
    assert_eq!(bed.outcome(submit(tidy())), "exists");
}

#[test]
fn a_dead_letter_says_what_failed_and_alike_failures_look_alike() {
    let fail = |message: &str, kind| {
        let mut bed = Bed::running(pipeline(&[("draw", "gpu", false)]));
        let (lease, fence) = bed.right();
        bed.must(Action::Fail { lease, fence, kind, code: "CUDA".to_owned(), message: message.to_owned() });
        rushes_engine::letter(bed.state(), &bed.history)
    };
    let one = fail("device 3 fell off the bus at 0x7f3a00", FailureKind::Fatal).unwrap();
    assert_eq!((one.schema.as_str(), one.code.as_str(), one.version), ("dlq.pipeline.v1", "CUDA", 1));
    assert_eq!((&one.stage, one.cause), (&Some(name("draw")), FailureKind::Fatal));
    let same = fail("device 0 fell off the bus at 0x11", FailureKind::Fatal).unwrap();
    assert_eq!(one.fingerprint, same.fingerprint);
    let other = fail("the fan stopped", FailureKind::Fatal).unwrap();
    assert_ne!(one.fingerprint, other.fingerprint);
    assert_eq!(fail("again", FailureKind::Retryable), None, "what is tried again is not dead");
}

#[test]
fn a_cancel_and_a_producer_outside_leave_no_dead_letter() {
    let mut bed = Bed::running(pipeline(&[("draw", "gpu", false)]));
    bed.must(cancel());
    bed.must(bed.done(json!({})));
    assert_eq!(rushes_engine::letter(bed.state(), &bed.history), None);
    let mut bed = Bed::queued(Pipeline::external());
    bed.must(crate::bed::report("failed", None));
    assert_eq!(rushes_engine::letter(bed.state(), &bed.history), None);
}

fn due_at(deadline: Timestamp, pipeline: Pipeline) -> Action {
    let mut submit = crate::bed::submission(pipeline);
    submit.request.deadline = Some(deadline);
    Action::Submit(Box::new(submit))
}

#[test]
fn a_generations_own_deadline_ends_it_whether_it_waits_or_runs() {
    for runs in [false, true] {
        let mut bed = Bed::empty();
        let bounded = Pipeline { timeout_ms: Some(10_000), ..pipeline(&[("draw", "gpu", false)]) };
        bed.must(due_at(Timestamp(START.0 + 4_000), bounded));
        if runs {
            bed.grant();
        }
        bed.wait(3_999);
        assert!(bed.ask(Action::Expire).is_err());
        bed.wait(1);
        bed.must(Action::Expire);
        assert_eq!(bed.state().phase, Phase::Failed);
        let told = &bed.last().metadata;
        assert_eq!(
            (&told["errorCode"], &told["errorMessage"]),
            (&"DEADLINE_EXCEEDED".into(), &"its deadline passed".into())
        );
    }
}

#[test]
fn a_deadline_that_makes_no_sense_is_refused_and_says_what_would_do() {
    let ours = || pipeline(&[("draw", "gpu", false)]);
    let bounded = Pipeline { timeout_ms: Some(10_000), ..ours() };
    for (deadline, pipeline, says) in [
        (START.0, ours(), "a time to come, in milliseconds since 1970"),
        (START.0 / 1_000 + 60, ours(), "a time to come, in milliseconds since 1970"),
        (START.0 + 10_001, bounded.clone(), "say 1737331210000 at most"),
        (START.0 + limits::PIPELINE_BOUND_MAX_MS + 1, ours(), "at most"),
        (u64::MAX, ours(), "at most"),
        (START.0 + 1_000, Pipeline::external(), "leave it out"),
    ] {
        let refused = Bed::empty().ask(due_at(Timestamp(deadline), pipeline)).unwrap_err().problem();
        assert_eq!(refused.code, protocol::ErrorCode::InvalidRequest);
        assert!(refused.message.contains(says), "{deadline}: {refused}");
    }
    assert!(Bed::empty().ask(due_at(Timestamp(START.0 + 10_000), bounded)).is_ok());
}

#[test]
fn the_slot_of_the_bigger_pool_is_given_up_early_and_not_the_one_that_was_left() {
    let mut definition = pipeline(&[("draw", "gpu", false)]);
    definition.stages[0].bigger_pool = Some("gpu-80gb".parse().unwrap());
    let mut bed = Bed::running(definition);
    bed.must(bed.fail(FailureKind::OutOfMemory));
    bed.grant();
    assert_eq!(bed.outcome(bed.release("gpu")), "invalid");
    assert_eq!(bed.outcome(bed.release("gpu-80gb")), "log");
    assert_eq!(bed.outcome(bed.release("gpu-80gb")), "nothing new");
}
