//! What a screen shows of the default pipeline, from the first line to the last, as the specification prints it.

use protocol::{Fence, Pipeline, worker::FailureKind};
use serde_json::json;

use crate::bed::{Bed, cancel, grant, report, submit, words};

fn lines(bed: &Bed) -> String {
    let line = |event: &rushes_engine::Event| {
        let show = &event.show;
        let status = serde_json::to_value(show.status).unwrap();
        format!(
            "{:>3} {:<17} {:<17} {:>5} {}",
            show.sequence,
            words(&[show.kind]),
            status.as_str().unwrap(),
            show.progress,
            show.message
        )
    };
    bed.history.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_default_pipeline_reads_as_the_specification_prints_it() {
    let mut bed = Bed::empty();
    bed.must(submit(Pipeline::video()));
    bed.must(grant(Fence(1)));
    bed.must(bed.stage_completed("prompt_analysis"));
    bed.must(bed.said("generating_frames", 50.0, "", json!({"currentFrame": 24, "totalFrames": 48})));
    for stage in ["generating_frames", "interpolating", "upscaling", "encoding"] {
        bed.must(bed.stage_completed(stage));
    }
    bed.must(bed.artifact("film.mp4"));
    bed.must(bed.done(json!({"video": "film.mp4"})));
    let expected = "\
  1 queued            queued                0 Waiting in queue...
  2 stage_started     prompt_analysis       0 Analyzing prompt...
  3 stage_completed   prompt_analysis       5 Analyzing prompt...
  4 stage_started     generating_frames     5 Generating frames...
  5 stage_progress    generating_frames  32.5 Generating frames (24/48)
  6 stage_completed   generating_frames    60 Generating frames (24/48)
  7 stage_started     interpolating        60 Interpolating between keyframes...
  8 stage_completed   interpolating        75 Interpolating between keyframes...
  9 stage_started     upscaling            75 Upscaling to 1080p...
 10 stage_completed   upscaling            90 Upscaling to 1080p...
 11 stage_started     encoding             90 Encoding final video...
 12 stage_completed   encoding            100 Encoding final video...
 13 artifact          encoding            100 Encoding final video...
 14 complete          complete            100 Video ready!";
    assert_eq!(lines(&bed).trim_start(), expected);
    assert_eq!(bed.last().metadata["video"], "film.mp4");
}

#[test]
fn a_retry_and_an_end_in_failure_read_well() {
    let mut pipeline = Pipeline::video();
    pipeline.stages[1].retries = 1;
    let mut bed = Bed::running(pipeline);
    bed.must(bed.progress("generating_frames", 20.0));
    bed.must(bed.fail(FailureKind::OutOfMemory));
    bed.grant();
    bed.must(bed.progress("generating_frames", 10.0));
    bed.must(bed.fail(FailureKind::OutOfMemory));
    let expected = "\
  1 queued            queued                0 Waiting in queue...
  2 stage_started     prompt_analysis       0 Analyzing prompt...
  3 stage_completed   prompt_analysis       5 Analyzing prompt...
  4 stage_started     generating_frames     5 Generating frames...
  5 stage_progress    generating_frames    16 Generating frames...
  6 stage_failed      generating_frames    16 it broke
  7 retry_scheduled   queued               16 Trying again (attempt 2 of 2): it broke
  8 stage_started     prompt_analysis      16 Analyzing prompt...
  9 stage_completed   prompt_analysis      16 Analyzing prompt...
 10 stage_started     generating_frames    16 Generating frames...
 11 stage_progress    generating_frames    16 Generating frames...
 12 stage_failed      generating_frames    16 it broke
 13 failed            failed               16 Generation failed: it broke";
    assert_eq!(lines(&bed).trim_start(), expected);
    let attempts: Vec<u32> = bed.history.iter().map(|event| event.show.attempt.0).collect();
    assert_eq!(attempts, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
    let end = serde_json::to_value(&bed.last().metadata).unwrap();
    assert_eq!(
        end,
        json!({"errorCode": "OUT_OF_MEMORY", "errorMessage": "it broke", "retryable": true,
            "errorHint": "ask for fewer pixels or seconds, or retry it when a bigger worker is there"})
    );
}

#[test]
fn a_cancel_reads_well_whatever_the_worker_says_meanwhile() {
    let mut bed = Bed::running(Pipeline::video());
    bed.must(cancel());
    bed.must(bed.said("prompt_analysis", 50.0, "Nearly there", json!({})));
    bed.must(bed.done(json!({})));
    let expected = "\
  1 queued            queued                0 Waiting in queue...
  2 stage_started     prompt_analysis       0 Analyzing prompt...
  3 cancel_requested  prompt_analysis       0 Cancelling...
  4 stage_progress    prompt_analysis     2.5 Cancelling...
  5 cancelled         failed              2.5 Cancelled";
    assert_eq!(lines(&bed).trim_start(), expected);
    assert_eq!(bed.last().metadata["errorCode"], "CANCELLED");
}

#[test]
fn a_producer_outside_reads_as_its_own_words() {
    let mut bed = Bed::queued(Pipeline::external());
    bed.must(report("prompt_analysis", Some(5.0)));
    bed.must(report("generating_frames", Some(20.0)));
    bed.must(report("generating_frames", Some(15.0)));
    bed.must(report("face_swap", Some(60.0)));
    bed.must(report("failed", Some(0.0)));
    let expected = "\
  1 queued            queued                0 Waiting in queue...
  2 stage_started     prompt_analysis       5 Analyzing prompt...
  3 stage_started     generating_frames    20 Generating frames...
  4 stage_progress    generating_frames    20 Generating frames...
  5 stage_started     encoding             60 Face swap...
  6 failed            failed               60 Generation failed: the producer says so";
    assert_eq!(lines(&bed).trim_start(), expected);
}
