//! The table of phases and commands, one test a cell, and the same table in this crate's README.
//!
//! The pipeline has two stages on one pool and its first one runs. An hour has passed, so the grace of a cancel is over.
//! Words joined by `+` are the types of the events; anything else is the refusal.

use protocol::{Fence, Pipeline, Stage, http::Priority, worker::FailureKind};
use rushes_engine::{Action, Loss, Refusal};
use serde_json::json;

use crate::bed::{Bed, cancel, grant, name, pipeline, report, submit};

const COLUMNS: [&str; 9] =
    ["(unknown)", "queued", "running", "cancelling", "cleaning up", "external", "complete", "failed", "cancelled"];

macro_rules! table {
    ($($command:ident $unknown:literal $queued:literal $running:literal $cancelling:literal $cleaning:literal
        $external:literal $complete:literal $failed:literal $cancelled:literal;)+) => {
        $(mod $command {
            use super::check;
            const COMMAND: &str = stringify!($command);
            #[test] fn of_an_unknown_generation() { check(COMMAND, 0, $unknown); }
            #[test] fn while_queued() { check(COMMAND, 1, $queued); }
            #[test] fn while_running() { check(COMMAND, 2, $running); }
            #[test] fn while_cancelling() { check(COMMAND, 3, $cancelling); }
            #[test] fn while_cleaning_up() { check(COMMAND, 4, $cleaning); }
            #[test] fn while_written_from_outside() { check(COMMAND, 5, $external); }
            #[test] fn after_complete() { check(COMMAND, 6, $complete); }
            #[test] fn after_failed() { check(COMMAND, 7, $failed); }
            #[test] fn after_cancelled() { check(COMMAND, 8, $cancelled); }
        })+
        const ROWS: &[(&str, [&str; 9])] = &[
            $((stringify!($command),
                [$unknown, $queued, $running, $cancelling, $cleaning, $external, $complete, $failed, $cancelled]),)+
        ];
    };
}

#[rustfmt::skip]
table! {
    submit           "queued" "exists" "exists" "exists" "exists" "exists" "exists" "exists" "exists";
    grant            "unknown" "stage_started" "not now" "not now" "not now" "not now" "ended" "ended" "ended";
    progress         "unknown" "lease lost" "stage_progress" "stage_progress" "stage_progress" "lease lost" "ended" "ended" "ended";
    stage_completed  "unknown" "lease lost" "stage_completed + stage_started" "stage_completed + stage_started" "stage_completed" "lease lost" "ended" "ended" "ended";
    log              "unknown" "lease lost" "log" "log" "log" "lease lost" "ended" "ended" "ended";
    artifact         "unknown" "lease lost" "artifact" "artifact" "artifact" "lease lost" "ended" "ended" "ended";
    checkpoint       "unknown" "lease lost" "checkpoint" "checkpoint" "checkpoint" "lease lost" "ended" "ended" "ended";
    release          "unknown" "lease lost" "log" "log" "log" "lease lost" "ended" "ended" "ended";
    done             "unknown" "lease lost" "stage_completed + stage_completed + complete" "cancelled" "stage_completed + failed" "lease lost" "ended" "ended" "ended";
    fail             "unknown" "lease lost" "stage_failed + retry_scheduled" "cancelled" "stage_failed + retry_scheduled" "lease lost" "ended" "ended" "ended";
    fail_fatally     "unknown" "lease lost" "stage_failed + failed" "cancelled" "stage_failed + failed" "lease lost" "ended" "ended" "ended";
    hand_back        "unknown" "lease lost" "handed_back" "cancelled" "handed_back" "lease lost" "ended" "ended" "ended";
    worker_lost      "unknown" "lease lost" "stage_failed + retry_scheduled" "cancelled" "stage_failed + retry_scheduled" "lease lost" "ended" "ended" "ended";
    stalled          "unknown" "lease lost" "stage_failed + retry_scheduled" "cancelled" "stage_failed + retry_scheduled" "lease lost" "ended" "ended" "ended";
    timed_out        "unknown" "lease lost" "stage_failed + retry_scheduled" "cancelled" "stage_failed + retry_scheduled" "lease lost" "ended" "ended" "ended";
    grace_over       "unknown" "lease lost" "not now" "cancelled" "not now" "lease lost" "ended" "ended" "ended";
    released         "unknown" "lease lost" "handed_back" "cancelled" "handed_back" "lease lost" "ended" "ended" "ended";
    cancel           "unknown" "cancel_requested + cancelled" "cancel_requested" "nothing new" "nothing new" "cancel_requested + cancelled" "ended" "ended" "ended";
    prioritize       "unknown" "priority_changed" "not now" "not now" "not now" "not now" "ended" "ended" "ended";
    report           "unknown" "lease required" "lease required" "lease required" "lease required" "stage_started" "ended" "ended" "ended";
    report_complete  "unknown" "lease required" "lease required" "lease required" "lease required" "complete" "ended" "ended" "ended";
    report_failed    "unknown" "lease required" "lease required" "lease required" "lease required" "failed" "ended" "ended" "ended";
    report_cancelled "unknown" "lease required" "lease required" "lease required" "lease required" "cancelled" "ended" "ended" "ended";
    external_stalled "unknown" "not now" "not now" "not now" "not now" "failed" "ended" "ended" "ended";
    park             "unknown" "nothing new" "not now" "not now" "not now" "not now" "ended" "ended" "ended";
    unpark           "unknown" "nothing new" "not now" "not now" "not now" "not now" "ended" "ended" "ended";
    warn             "unknown" "lease lost" "log" "nothing new" "log" "lease lost" "ended" "ended" "ended";
    expire           "unknown" "failed" "failed" "cancelled" "failed" "not now" "ended" "ended" "ended";
}

fn check(command: &str, column: usize, expected: &str) {
    let mut bed = in_column(column);
    bed.wait(3_600_000);
    let action = action(&bed, command);
    let before = bed.clone();
    let outcome = bed.outcome(action);
    if bed.history.len() == before.history.len() {
        assert_eq!(bed.state, before.state, "a refused command changed the state");
    }
    assert_eq!(outcome, expected);
}

fn two_stages() -> Pipeline {
    // An hour has passed: it has taken too long, wherever it stands.
    Pipeline { timeout_ms: Some(3_600_000), ..pipeline(&[("draw", "gpu", false), ("encode", "gpu", false)]) }
}

fn in_column(column: usize) -> Bed {
    let mut bed = match column {
        0 => Bed::empty(),
        1 | 8 => Bed::queued(two_stages()),
        4 => Bed::running(Pipeline { on_failed: Some(Box::new(Stage::new(name("sweep")))), ..two_stages() }),
        5 => Bed::queued(Pipeline::external()),
        _ => Bed::running(two_stages()),
    };
    match column {
        3 | 8 => drop(bed.must(cancel())),
        4 => {
            bed.must(bed.fail(FailureKind::Fatal));
            bed.grant();
        }
        6 => drop(bed.must(bed.done(json!({})))),
        7 => drop(bed.must(bed.fail(FailureKind::Fatal))),
        _ => {}
    }
    let stands = bed.state.as_ref().map_or("(unknown)", |state| state.state_now().as_str());
    // Until its first word a producer outside reads as queued.
    let expected = match COLUMNS[column] {
        "external" => "queued",
        "cleaning up" => "running",
        word => word,
    };
    assert_eq!(stands, expected);
    bed
}

fn action(bed: &Bed, command: &str) -> Action {
    let stage = bed.state.as_ref().and_then(|state| state.stage_here()).map_or("draw", |stage| stage.name.as_str());
    match command {
        "submit" => submit(two_stages()),
        "grant" => grant(Fence(bed.right().1.0 + 1)),
        "progress" => bed.progress(stage, 50.0),
        "stage_completed" => bed.stage_completed(stage),
        "log" => bed.log("a line", json!({"scene": "sea"})),
        "artifact" => bed.artifact("frames.tar"),
        "checkpoint" => bed.checkpoint(json!({"frame": 7})),
        "release" => bed.release("gpu"),
        "done" => bed.done(json!({})),
        "fail" => bed.fail(FailureKind::Retryable),
        "fail_fatally" => bed.fail(FailureKind::Fatal),
        "hand_back" => bed.hand_back(),
        "worker_lost" => bed.lose(Loss::WorkerLost),
        "stalled" => bed.lose(Loss::Stalled),
        "timed_out" => bed.lose(Loss::TimedOut),
        "grace_over" => bed.lose(Loss::CancelGraceOver),
        "released" => bed.lose(Loss::Released),
        "cancel" => cancel(),
        "prioritize" => Action::Prioritize(Priority::Interactive),
        "park" => Action::Park,
        "unpark" => Action::Unpark,
        "warn" => Action::Warn { fence: bed.right().1 },
        "expire" => Action::Expire,
        "report" => report("upscaling", Some(80.0)),
        "report_complete" => report("complete", None),
        "report_failed" => report("failed", None),
        "report_cancelled" => report("cancelled", None),
        "external_stalled" => Action::ExternalStalled,
        other => panic!("no command {other}"),
    }
}

#[test]
fn the_readme_prints_this_table() {
    let mut table = format!("| command | {} |\n|---|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for (command, cells) in ROWS {
        table.push_str(&format!("| {command} |"));
        for cell in cells {
            let is_event = cell.contains('_') || cell.contains('+') || EVENTS.contains(cell);
            table.push_str(&if is_event { format!(" **{cell}** |") } else { format!(" {cell} |") });
        }
        table.push('\n');
    }
    let readme = include_str!("../../README.md").replace("\r\n", "\n");
    assert!(readme.contains(&table), "put this table into crates/engine/README.md:\n\n{table}");
}

/// Types of events that are single words.
const EVENTS: [&str; 7] = ["queued", "log", "artifact", "checkpoint", "complete", "failed", "cancelled"];

#[test]
fn a_generation_that_ended_refuses_with_its_end() {
    let mut bed = in_column(8);
    assert_eq!(bed.ask(cancel()), Err(Refusal::Ended(protocol::State::Cancelled)));
}
