//! The sentences people read. Programs read types, codes and keys; these may change.

use protocol::{BreakerName, Metadata, Pipeline, PipelineName, Stage, limits, worker::FailureKind};
use serde_json::Value;

pub(crate) const QUEUED: &str = "Waiting in queue...";
pub(crate) const HANDED_BACK: &str = "The worker gave it back; waiting in queue...";
pub(crate) const RELEASED: &str = "The server restarted; waiting in queue...";
pub(crate) const CANCELLING: &str = "Cancelling...";
pub(crate) const CLEANING_UP: &str = "Cleaning up...";
pub(crate) const COMPLETE: &str = "Video ready!";
pub(crate) const LATE: &str = "its deadline passed";

/// Longest failure code, in bytes: a word for programs, not a sentence.
pub(crate) const CODE_BYTES_MAX: usize = 64;

/// What people read while `stage` runs.
pub(crate) fn stage(stage: &Stage) -> String {
    match &stage.message {
        Some(message) => clip(message, limits::MESSAGE_BYTES_MAX),
        None => named(stage.name.as_str()),
    }
}

/// A stage nobody wrote a sentence for: `face_swap` reads `Face swap...`. The words of the first dialect have theirs.
pub(crate) fn named(name: &str) -> String {
    let known = Pipeline::video().stages.into_iter().find(|stage| stage.name.as_str() == name);
    if let Some(message) = known.and_then(|stage| stage.message) {
        return message;
    }
    let spaced = name.replace(['_', '-'], " ");
    let mut letters = spaced.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{}...", first.map(String::from).unwrap_or_default(), letters.as_str())
}

/// `Generating frames...` with a count beside it reads `Generating frames (22/48)`.
pub(crate) fn counted(line: String, metadata: Option<&Metadata>) -> String {
    let count = |key| metadata.and_then(|facts| facts.get(key)).and_then(Value::as_u64);
    match (line.strip_suffix("..."), count("currentFrame"), count("totalFrames")) {
        (Some(open), Some(current), Some(total)) => format!("{open} ({current}/{total})"),
        _ => line,
    }
}

pub(crate) fn failed(reason: &str) -> String {
    clip(&format!("Generation failed: {reason}"), limits::MESSAGE_BYTES_MAX)
}

pub(crate) fn cancelled(reason: &str) -> String {
    if reason.is_empty() {
        "Cancelled".to_owned()
    } else {
        clip(&format!("Cancelled: {reason}"), limits::MESSAGE_BYTES_MAX)
    }
}

/// Counts tries of the stage that failed, because its retries are what runs out.
pub(crate) fn retrying(attempt: u32, attempts: u32, reason: &str) -> String {
    clip(&format!("Trying again (attempt {attempt} of {attempts}): {reason}"), limits::MESSAGE_BYTES_MAX)
}

pub(crate) fn paused(pipeline: &PipelineName) -> String {
    clip(&format!("Waiting: {pipeline} is paused by the operator"), limits::MESSAGE_BYTES_MAX)
}

pub(crate) fn broken(breaker: &BreakerName) -> String {
    let stage = breaker.as_str().split(':').next().unwrap_or_default().replace(['_', '-'], " ");
    clip(&format!("Waiting until {stage} works again; nothing is lost"), limits::MESSAGE_BYTES_MAX)
}

pub(crate) fn silent(ms: u64) -> String {
    format!("No progress for {} s", ms / 1_000)
}

/// `it took longer than 30 s`; tiny bounds are told in milliseconds.
pub(crate) fn too_long(what: &str, bound_ms: u64) -> String {
    let bound =
        if bound_ms.is_multiple_of(1_000) { format!("{} s", bound_ms / 1_000) } else { format!("{bound_ms} ms") };
    format!("{what} longer than {bound}")
}

/// What a failure is called when nobody said.
pub(crate) const fn reason(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Retryable => "the worker met an error",
        FailureKind::Fatal => "the worker met an error that no other try can avoid",
        FailureKind::InvalidInput => "the worker cannot do what the input asks",
        FailureKind::OutOfMemory => "the worker ran out of memory",
        FailureKind::Stalled => "progress stood still",
        FailureKind::WorkerLost => "the worker went silent",
    }
}

/// What to do about it.
pub(crate) const fn hint(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Retryable => "every try failed: retry it later, finished stages are kept",
        FailureKind::Fatal => "another try would fail the same way: ask the operator, with the id of the generation",
        FailureKind::InvalidInput => "change the input and submit it again",
        FailureKind::OutOfMemory => "ask for fewer pixels or seconds, or retry it when a bigger worker is there",
        FailureKind::Stalled => {
            "retry it later; when it happens again, ask the operator, with the id of the generation"
        }
        FailureKind::WorkerLost => "retry it later, finished stages are kept",
    }
}

/// At most `bytes_max` bytes, cut between characters.
pub(crate) fn clip(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("aé", 3), "aé");
    }

    #[test]
    fn a_stage_without_a_sentence_reads_as_its_name() {
        assert_eq!(named("face_swap"), "Face swap...");
        assert_eq!(named("upscaling"), "Upscaling to 1080p...");
    }
}
