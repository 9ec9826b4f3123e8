//! Each rule by name, where a cell of the table has more than one outcome.

use protocol::{ArtifactName, Fence, Pipeline, Timestamp, http::Priority, limits, worker::FailureKind};
use rushes_engine::{Action, Event, Loss, Phase, Refusal, project};
use serde_json::json;

use crate::bed::{Bed, START, cancel, facts, file, grant, lease, name, pipeline, report, submission, submit};

/// Two runs: two stages on `gpu`, of which the first is kept, then one on `cpu`.
fn two_runs() -> Pipeline {
    pipeline(&[("draw", "gpu", true), ("shade", "gpu", false), ("encode", "cpu", false)])
}

// Submission.

#[test]
fn a_pipeline_without_stages_is_refused() {
    assert_eq!(Bed::empty().outcome(submit(pipeline(&[]))), "invalid");
}

#[test]
fn what_a_client_adds_is_bounded_and_repeated_in_every_event() {
    let mut big = submission(two_runs());
    big.request.client = Some(facts(json!({"a": "x".repeat(limits::METADATA_BYTES_MAX)})));
    assert_eq!(Bed::empty().outcome(Action::Submit(Box::new(big))), "invalid");

    let mut tagged = submission(two_runs());
    tagged.request.client = Some(facts(json!({"order": 7})));
    let mut bed = Bed::empty();
    bed.must(Action::Submit(Box::new(tagged)));
    bed.grant();
    bed.must(bed.said("draw", 10.0, "", json!({"client": "forged"})));
    assert!(bed.history.iter().all(|event| event.show.metadata["client"] == json!({"order": 7})));
}

#[test]
fn a_retry_that_shares_kept_files_starts_after_their_stage() {
    let mut again = submission(two_runs());
    again.request.kept = vec![(name("draw"), file("frames.tar"))];
    let mut bed = Bed::empty();
    bed.must(Action::Submit(Box::new(again)));
    assert_eq!(bed.state().stage, 1);
    assert_eq!(bed.state().artifacts.len(), 1);
    bed.grant();
    assert_eq!(bed.last().stage, Some(name("shade")));
    assert!((bed.last().progress - 33.33).abs() < f64::EPSILON);
}

#[test]
fn kept_files_never_skip_the_last_stage_nor_count_for_a_stage_that_does_not_keep() {
    let all_kept = pipeline(&[("draw", "gpu", true), ("encode", "gpu", true)]);
    for (stages, kept, starts_at) in [(all_kept, "encode", 0), (two_runs(), "shade", 0)] {
        let mut again = submission(stages);
        again.request.kept = vec![(name(kept), file("a"))];
        let mut bed = Bed::empty();
        bed.must(Action::Submit(Box::new(again)));
        assert_eq!((bed.state().stage, bed.state().artifacts.len()), (starts_at, 0));
    }
}

// Grants, fences, leases.

#[test]
fn a_grant_before_the_wait_is_over_is_refused() {
    let mut bed = Bed::running(two_runs());
    bed.random = 199;
    bed.must(bed.fail(FailureKind::Retryable));
    assert_eq!(bed.state().not_before, START.plus(200));
    bed.wait(199);
    assert_eq!(bed.outcome(grant(Fence(2))), "not now");
    bed.wait(1);
    assert_eq!(bed.outcome(grant(Fence(2))), "stage_started");
}

#[test]
fn a_write_under_an_earlier_fence_or_another_lease_is_refused_with_the_fence_that_counts() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.hand_back());
    bed.grant();
    let progress = |lease, fence| Action::Progress {
        lease,
        fence,
        stage: name("draw"),
        progress: 9.0,
        message: None,
        metadata: None,
    };
    let lost = Err(Refusal::LeaseLost { current: Fence(2) });
    assert_eq!(bed.ask(progress(lease(Fence(1)), Fence(1))), lost);
    assert_eq!(bed.ask(progress(lease(Fence(1)), Fence(2))), lost);
    assert_eq!(bed.ask(progress(lease(Fence(2)), Fence(1))), lost);
    assert_eq!(bed.ask(Action::Lose { fence: Fence(1), loss: Loss::WorkerLost }), lost);
    assert!(bed.ask(progress(lease(Fence(2)), Fence(2))).is_ok());
}

#[test]
fn the_fence_grows_with_every_grant_and_with_nothing_else() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.done(json!({})));
    assert_eq!(bed.state().fence, Fence(1));
    bed.grant();
    assert_eq!(bed.state().fence, Fence(2));
}

// Stages and runs.

#[test]
fn the_last_stage_of_a_run_ends_without_a_next_and_waits_for_done() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.stage_completed("draw"));
    assert_eq!(bed.outcome(bed.stage_completed("shade")), "stage_completed");
    assert_eq!(bed.state().phase, Phase::Running);
    assert_eq!(bed.outcome(bed.stage_completed("shade")), "nothing new");
    assert_eq!(bed.outcome(bed.progress("shade", 10.0)), "nothing new");
    assert_eq!(bed.outcome(bed.done(json!({"palette": "warm"}))), "queued");
    assert_eq!(bed.state().stages[1].outputs, facts(json!({"palette": "warm"})));
    assert_eq!(project(bed.state()).queue.unwrap().pool.as_str(), "cpu");
}

#[test]
fn done_alone_completes_each_stage_of_the_run_and_gives_its_outputs_to_the_last() {
    let mut bed = Bed::running(two_runs());
    assert_eq!(bed.outcome(bed.done(json!({"palette": "warm"}))), "stage_completed + stage_completed + queued");
    assert_eq!(bed.state().stages[0].outputs, facts(json!({})));
    assert_eq!(bed.state().stages[1].outputs, facts(json!({"palette": "warm"})));
    bed.grant();
    assert_eq!(bed.last().metadata["palette"], "warm");
    assert_eq!(bed.outcome(bed.done(json!({}))), "stage_completed + complete");
}

#[test]
fn only_the_current_stage_can_be_completed_and_only_stages_of_the_run_progress() {
    let mut bed = Bed::running(two_runs());
    assert_eq!(bed.outcome(bed.stage_completed("shade")), "wrong stage");
    assert_eq!(bed.outcome(bed.stage_completed("nonsense")), "wrong stage");
    assert_eq!(bed.outcome(bed.progress("encode", 1.0)), "wrong stage");
    bed.must(bed.stage_completed("draw"));
    assert_eq!(bed.outcome(bed.stage_completed("draw")), "nothing new");
    assert_eq!(bed.outcome(bed.progress("draw", 99.0)), "nothing new");
}

#[test]
fn progress_of_a_later_stage_ends_those_before_it() {
    let mut bed = Bed::running(Pipeline::video());
    let kinds = bed.outcome(bed.progress("interpolating", 0.0));
    assert_eq!(kinds, "stage_completed + stage_started + stage_completed + stage_started + stage_progress");
    assert!((bed.last().progress - 60.0).abs() < f64::EPSILON);
}

#[test]
fn progress_that_changes_nothing_is_dropped_and_lower_progress_keeps_the_bar() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.said("draw", 50.0, "half", json!({})));
    for (progress, message) in [(50.0, ""), (40.0, ""), (40.0, "half")] {
        assert_eq!(bed.outcome(bed.said("draw", progress, message, json!({}))), "nothing new");
    }
    let shown = bed.last().progress;
    assert_eq!(bed.outcome(bed.said("draw", 40.0, "again", json!({}))), "stage_progress");
    assert!((bed.last().progress - shown).abs() < f64::EPSILON);
    assert_eq!(bed.last().message, "again");
}

#[test]
fn absurd_progress_is_refused() {
    let mut bed = Bed::running(two_runs());
    for absurd in [400.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(bed.outcome(bed.progress("draw", absurd)), "invalid", "{absurd}");
    }
}

#[test]
fn a_full_history_drops_progress_but_neither_edges_nor_the_signs_of_a_stage_that_moves() {
    let mut bed = Bed::running(two_runs());
    bed.state.as_mut().unwrap().sequence.0 = limits::EVENTS_PER_GENERATION_MAX;
    bed.wait(10);
    assert_eq!(bed.outcome(bed.progress("draw", 10.0)), "nothing new");
    assert_eq!(bed.outcome(bed.log("a line", json!({}))), "nothing new");
    bed.wait(60_000);
    assert_eq!(bed.outcome(bed.progress("draw", 20.0)), "stage_progress");
    assert_eq!(bed.outcome(bed.progress("draw", 30.0)), "nothing new");
    assert_eq!(bed.outcome(bed.stage_completed("draw")), "stage_completed + stage_started");
    assert_eq!(bed.outcome(bed.done(json!({}))), "stage_completed + queued");
}

// Notes.

#[test]
fn facts_of_logs_and_outputs_stay_visible_but_not_what_is_true_for_a_moment() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.log("understood", json!({"scene": "sea", "errorCode": "X", "currentFrame": 3})));
    assert_eq!(*bed.last().metadata, facts(json!({"scene": "sea", "currentFrame": 3})));
    bed.must(bed.progress("draw", 5.0));
    assert_eq!(*bed.last().metadata, facts(json!({"scene": "sea"})));
}

#[test]
fn metadata_over_its_bound_is_refused_and_a_long_message_is_cut() {
    let mut bed = Bed::running(two_runs());
    let big = json!({"a": "x".repeat(limits::METADATA_BYTES_MAX)});
    assert_eq!(bed.outcome(bed.said("draw", 5.0, "", big.clone())), "invalid");
    assert_eq!(bed.outcome(bed.log("", big.clone())), "invalid");
    assert_eq!(bed.outcome(bed.done(big)), "invalid");
    bed.must(bed.log(&"é".repeat(limits::MESSAGE_BYTES_MAX), json!({})));
    assert_eq!(bed.last().message.len(), limits::MESSAGE_BYTES_MAX);
}

/// What is written with an event around it has to be read again.
#[test]
fn what_nests_too_deep_is_refused_wherever_a_worker_may_put_it() {
    let mut bed = Bed::running(two_runs());
    let nested = |depth| (1..depth).fold(json!([]), |inside, _| json!([inside]));
    let (fits, deep) = (nested(limits::JSON_DEPTH_MAX - 1), nested(limits::JSON_DEPTH_MAX));
    assert_eq!(bed.outcome(bed.said("draw", 5.0, "", json!({"a": deep}))), "invalid");
    assert_eq!(bed.outcome(bed.log("", json!({"a": deep}))), "invalid");
    assert_eq!(bed.outcome(bed.done(json!({"a": deep}))), "invalid");
    let (lease, fence) = bed.right();
    let data = Some(json!({"a": deep}));
    assert_eq!(bed.outcome(Action::Checkpoint { lease, fence, artifact: None, data }), "invalid");
    bed.must(bed.log("", json!({"a": fits})));
}

#[test]
fn the_same_file_twice_is_nothing_new_and_another_under_its_name_replaces_it() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.artifact("frames.tar"));
    assert_eq!(bed.outcome(bed.artifact("frames.tar")), "nothing new");
    let (lease, fence) = bed.right();
    let artifact = protocol::worker::Artifact { size: 4, ..file("frames.tar") };
    assert_eq!(bed.outcome(Action::Artifact { lease, fence, artifact }), "artifact");
    assert_eq!(bed.state().artifacts.iter().map(|(_, file)| file.size).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_generation_keeps_a_bounded_number_of_files() {
    let mut bed = Bed::running(two_runs());
    for n in 0..limits::ARTIFACTS_MAX {
        bed.must(bed.artifact(&format!("{n}.png")));
    }
    assert_eq!(bed.outcome(bed.artifact("one-more.png")), "invalid");
}

#[test]
fn an_end_that_names_a_file_nobody_announced_is_refused() {
    let mut bed = Bed::running(pipeline(&[("draw", "gpu", false)]));
    assert_eq!(bed.outcome(bed.done(json!({"video": "film.mp4"}))), "invalid");
    bed.must(bed.artifact("film.mp4"));
    assert_eq!(bed.outcome(bed.done(json!({"video": "film.mp4"}))), "stage_completed + complete");
}

#[test]
fn a_checkpoint_needs_a_point_that_exists_and_fits() {
    let mut bed = Bed::running(two_runs());
    let (lease, fence) = bed.right();
    let at = |artifact: Option<&str>, data| Action::Checkpoint {
        lease: lease.clone(),
        fence,
        artifact: artifact.map(|name| ArtifactName::new(name).unwrap()),
        data,
    };
    assert_eq!(bed.outcome(at(None, None)), "invalid");
    assert_eq!(bed.outcome(at(None, Some(json!(null)))), "invalid");
    assert_eq!(bed.outcome(at(Some("latent.bin"), None)), "invalid");
    assert_eq!(bed.outcome(at(None, Some(json!("x".repeat(limits::CHECKPOINT_BYTES_MAX))))), "invalid");
    bed.must(bed.artifact("latent.bin"));
    assert_eq!(bed.outcome(at(Some("latent.bin"), None)), "checkpoint");
}

#[test]
fn a_checkpoint_travels_to_the_next_worker_until_its_stage_is_left_behind() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.checkpoint(json!({"frame": 7})));
    bed.must(bed.hand_back());
    assert_eq!(bed.state().checkpoint.as_ref().unwrap().data, Some(json!({"frame": 7})));
    bed.grant();
    bed.must(bed.done(json!({})));
    assert_eq!(bed.state().checkpoint, None);
}

#[test]
fn a_slot_is_released_once_and_only_of_the_pool_that_runs() {
    let mut bed = Bed::running(two_runs());
    assert_eq!(bed.outcome(bed.release("cpu")), "invalid");
    assert_eq!(bed.outcome(bed.release("gpu")), "log");
    assert_eq!(bed.outcome(bed.release("gpu")), "nothing new");
    assert_eq!(bed.state().holder.as_ref().unwrap().released.len(), 1);
}

// Failures and losses.

#[test]
fn every_retryable_kind_is_tried_as_often_as_the_stage_allows_and_no_more() {
    use FailureKind::{OutOfMemory, Retryable, Stalled, WorkerLost};
    for kind in [Retryable, OutOfMemory, Stalled, WorkerLost] {
        let mut bed = Bed::queued(pipeline(&[("draw", "gpu", false)]));
        for _ in 0..limits::RETRIES_DEFAULT {
            bed.grant();
            assert_eq!(bed.outcome(bed.fail(kind)), "stage_failed + retry_scheduled");
        }
        bed.grant();
        assert_eq!(bed.outcome(bed.fail(kind)), "stage_failed + failed");
        assert_eq!(bed.last().metadata["errorCode"], kind.code());
        assert_eq!(bed.last().attempt.0, limits::RETRIES_DEFAULT + 1);
    }
}

#[test]
fn what_no_other_try_can_mend_fails_at_once() {
    for kind in [FailureKind::Fatal, FailureKind::InvalidInput] {
        let mut bed = Bed::running(two_runs());
        assert_eq!(bed.outcome(bed.fail(kind)), "stage_failed + failed");
        assert_eq!(bed.last().metadata["retryable"], false);
    }
}

#[test]
fn a_worker_may_name_its_failure_and_the_name_is_bounded() {
    let mut bed = Bed::running(two_runs());
    let (lease, fence) = bed.right();
    let (code, message) = ("X".repeat(1_000), "y".repeat(10_000));
    bed.must(Action::Fail { lease, fence, kind: FailureKind::Fatal, code, message });
    assert_eq!(bed.last().metadata["errorCode"], "X".repeat(64));
    assert_eq!(bed.last().message.len(), limits::MESSAGE_BYTES_MAX);
}

#[test]
fn a_retry_goes_on_after_the_last_stage_whose_files_were_kept() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.artifact("frames.tar"));
    bed.must(bed.stage_completed("draw"));
    bed.must(bed.fail(FailureKind::Retryable));
    assert_eq!(bed.state().stage, 1);
    bed.grant();
    assert_eq!(bed.last().stage, Some(name("shade")));
    assert_eq!(bed.last().metadata["attempt"], 2);
}

#[test]
fn a_retry_makes_again_what_was_only_in_a_workers_memory() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.stage_completed("draw"));
    bed.must(bed.done(json!({})));
    bed.grant();
    bed.must(bed.fail(FailureKind::Retryable));
    let state = bed.state();
    assert_eq!((state.stage, state.stages[2].failures), (0, 1));
    assert!(state.stages.iter().all(|stage| !stage.completed));
    assert_eq!(project(state).queue.unwrap().pool.as_str(), "gpu");
}

#[test]
fn a_loss_burns_a_try_and_says_what_was_lost() {
    for (loss, code) in [(Loss::WorkerLost, "WORKER_LOST"), (Loss::Stalled, "STALLED"), (Loss::TimedOut, "TIMED_OUT")] {
        let mut one = pipeline(&[("draw", "gpu", false)]);
        one.stages[0].retries = 0;
        let mut bed = Bed::running(one);
        bed.wait(1_800_000);
        assert_eq!(bed.outcome(bed.lose(loss)), "stage_failed + failed");
        assert_eq!(bed.last().metadata["errorCode"], code);
    }
}

#[test]
fn giving_back_burns_nothing_and_waits_for_nothing() {
    for give in [Bed::hand_back as fn(&Bed) -> Action, |bed| bed.lose(Loss::Released)] {
        let mut bed = Bed::running(two_runs());
        bed.must(give(&bed));
        assert_eq!((bed.state().stages[0].failures, bed.state().not_before), (0, Timestamp(0)));
        assert_eq!(bed.outcome(grant(Fence(2))), "stage_started");
    }
}

#[test]
fn the_deadlines_of_a_stage_follow_its_start_and_its_last_move() {
    let mut bed = Bed::running(two_runs());
    bed.wait(100_000);
    bed.must(bed.progress("draw", 10.0));
    let deadlines = bed.state().deadlines();
    assert_eq!(deadlines.stalled_at, Some(START.plus(220_000)));
    assert_eq!(deadlines.timed_out_at, Some(START.plus(1_800_000)));
    bed.must(bed.hand_back());
    assert_eq!(bed.state().deadlines(), rushes_engine::StageDeadlines::default());
}

#[test]
fn only_what_moves_a_stage_holds_off_its_stall() {
    let mut bed = Bed::running(two_runs());
    let stalled_at = |bed: &Bed| bed.state().deadlines().stalled_at.unwrap();
    bed.wait(1_000);
    bed.must(bed.said("draw", 0.0, "still here", json!({})));
    bed.must(bed.log("still here", json!({})));
    assert_eq!(stalled_at(&bed), START.plus(120_000));
    for (n, action) in [bed.artifact("a"), bed.checkpoint(json!(1)), bed.progress("draw", 1.0)].into_iter().enumerate()
    {
        bed.wait(1_000);
        bed.must(action);
        assert_eq!(stalled_at(&bed), START.plus(122_000 + 1_000 * n as u64));
    }
}

// Cancel.

#[test]
fn a_completion_that_comes_after_a_cancel_keeps_its_files_and_ends_cancelled() {
    let mut bed = Bed::running(two_runs());
    bed.must(cancel());
    bed.must(bed.artifact("film.mp4"));
    assert_eq!(bed.outcome(bed.done(json!({"video": "film.mp4"}))), "cancelled");
    assert_eq!(bed.state().artifacts.len(), 1);
}

#[test]
fn a_cancel_that_comes_after_completion_is_answered_with_it() {
    let mut bed = Bed::running(pipeline(&[("draw", "gpu", false)]));
    bed.must(bed.done(json!({})));
    assert_eq!(bed.ask(cancel()), Err(Refusal::Ended(protocol::State::Complete)));
}

#[test]
fn a_cancelled_worker_has_its_grace_and_no_more() {
    let mut bed = Bed::running(two_runs());
    bed.must(Action::Cancel { reason: "wrong prompt".to_owned() });
    assert_eq!(bed.state().cancel_grace_until, Some(START.plus(limits::CANCEL_GRACE_MS)));
    bed.wait(limits::CANCEL_GRACE_MS - 1);
    assert_eq!(bed.outcome(bed.lose(Loss::CancelGraceOver)), "not now");
    bed.wait(1);
    assert_eq!(bed.outcome(bed.lose(Loss::CancelGraceOver)), "cancelled");
    assert_eq!(bed.last().message, "Cancelled: wrong prompt");
}

#[test]
fn a_loss_during_a_cancel_ends_it_whatever_the_clocks_say() {
    for loss in [Loss::WorkerLost, Loss::Stalled, Loss::TimedOut, Loss::Released] {
        let mut bed = Bed::running(two_runs());
        bed.must(cancel());
        assert_eq!(bed.outcome(bed.lose(loss)), "cancelled");
    }
}

// The queue.

#[test]
fn the_queue_sees_pool_order_time_and_cost_of_the_run() {
    let mut bed = Bed::queued(two_runs());
    let place = project(bed.state()).queue.unwrap();
    let start = i64::try_from(START.0).unwrap();
    assert_eq!((place.pool.as_str(), place.order, place.cost_ms), ("gpu", start, 20_000));
    bed.must(Action::Prioritize(Priority::Interactive));
    assert_eq!(project(bed.state()).queue.unwrap().order, start - 60_000);
    assert_eq!(bed.outcome(Action::Prioritize(Priority::Interactive)), "nothing new");
    bed.grant();
    assert_eq!(project(bed.state()).queue, None);
    assert_eq!(project(bed.state()).pipeline, "bench@1");
}

#[test]
fn a_run_is_the_stages_of_one_pool_from_where_the_generation_stands() {
    let mut bed = Bed::running(two_runs());
    assert_eq!(bed.state().run(), 0..2);
    bed.must(bed.stage_completed("draw"));
    assert_eq!(bed.state().run(), 1..2);
    bed.must(bed.done(json!({})));
    assert_eq!(bed.state().run(), 2..3);
    assert_eq!(Bed::queued(Pipeline::external()).state().run(), 0..0);
}

// Producers outside.

#[test]
fn a_producer_outside_is_never_queued_and_its_words_are_checked() {
    let mut bed = Bed::queued(Pipeline::external());
    assert_eq!(project(bed.state()).queue, None);
    assert_eq!(bed.outcome(report("no such word!", None)), "invalid");
    assert_eq!(bed.outcome(report("encoding", Some(101.0))), "invalid");
    assert_eq!(bed.outcome(report("queued", None)), "queued");
    assert_eq!(project(bed.state()).state, protocol::State::Queued);
    assert_eq!(bed.outcome(report("encoding", None)), "stage_started");
    assert_eq!(project(bed.state()).state, protocol::State::Running);
    assert_eq!(bed.outcome(report("encoding", None)), "stage_progress");
}

#[test]
fn a_silent_producer_fails_with_a_code() {
    let mut bed = Bed::queued(Pipeline::external());
    bed.must(Action::ExternalStalled);
    assert_eq!(bed.last().metadata["errorCode"], "STALLED");
}

// Storage.

#[test]
fn the_row_is_rewritten_at_edges_and_not_for_progress_or_notes() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.progress("draw", 5.0));
    bed.must(bed.log("a line", json!({})));
    bed.must(bed.artifact("a"));
    bed.must(bed.checkpoint(json!(1)));
    bed.must(bed.release("gpu"));
    assert_eq!(
        bed.history.iter().map(Event::is_edge).collect::<Vec<_>>(),
        [true, true, false, false, false, false, false]
    );
    let mut outside = Bed::queued(Pipeline::external());
    outside.must(report("encoding", None));
    assert!(outside.history.iter().all(Event::is_edge));
}

#[test]
fn a_fact_that_cannot_be_read_is_an_error_that_names_its_event() {
    let bed = Bed::queued(two_runs());
    let error = Event::from_stored(bed.last().clone().into(), br#"{"fact":"of the future"}"#).unwrap_err();
    assert_eq!(error.to_string(), "the stored fact of event c1.0 cannot be read");
}

#[test]
fn a_history_whose_beginning_is_gone_still_folds_and_ends() {
    let mut bed = Bed::running(two_runs());
    bed.must(bed.done(json!({})));
    let tail = &bed.history[2..];
    let state = tail.iter().fold(None, |state, event| Some(rushes_engine::evolve(state, event))).unwrap();
    let mut rest = Bed { state: Some(state), ..Bed::empty() };
    assert_eq!(rest.state().generation.as_str(), "gen_a");
    assert_eq!(rest.outcome(cancel()), "cancel_requested + cancelled");
}

#[test]
fn a_hint_is_the_generation_as_it_stands() {
    let bed = Bed::running(two_runs());
    let id = protocol::EventId::new("hint").unwrap();
    let shown = bed.state().show_now(id.clone(), bed.last().kind, bed.now);
    assert_eq!(shown, protocol::Event { event_id: id, ..bed.last().clone() });
}
