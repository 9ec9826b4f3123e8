//! Producers outside: they write the status themselves, hold no lease, and end by their own word or by silence.

use std::sync::Arc;

use protocol::{EventType, StageName, http::Report, limits, worker::FailureKind};

use crate::{
    decide::{Decision, draft::Draft, lease::Failure},
    event::Fact,
    metadata, progress,
    refusal::Refusal,
    show::Says,
    state::Phase,
    words,
};

/// What to do when a generation failed that we did not run: only its producer can try again.
const HINT: &str = "submit it again where it was made; its producer can tell more";

/// A producer said something. Repeating itself is a sign of life and is kept.
pub(super) fn report(mut draft: Draft<'_>, report: &Report) -> Result<Decision, Refusal> {
    let progress = report.progress.map_or_else(|| Ok(draft.state().progress), progress::check)?;
    metadata::check("metadata", report.metadata.as_ref())?;
    let said = report.message.as_deref().filter(|message| !message.is_empty());
    let said = said.map(|message| words::clip(message, limits::MESSAGE_BYTES_MAX));
    let facts = Arc::new(report.metadata.clone().unwrap_or_default());
    let line = |fallback: &str| Says::message(said.clone().unwrap_or_else(|| fallback.to_owned()));
    match report.status.as_str() {
        "complete" => Ok(draft.end(protocol::State::Complete, line(words::COMPLETE).facts(facts))),
        "failed" => {
            let reason = said.as_deref().unwrap_or("the producer says so");
            let failure = Failure::said(FailureKind::Retryable, "", reason).hint(HINT);
            Ok(draft.end(protocol::State::Failed, failure.says(line(&words::failed(&failure.message))).facts(facts)))
        }
        "cancelled" => {
            let says = line(&words::cancelled("")).fact("errorCode", "CANCELLED").facts(facts);
            Ok(draft.end(protocol::State::Cancelled, says))
        }
        status => {
            let word = StageName::new(status).map_err(|why| Refusal::Invalid(format!("status {status:?} is {why}")))?;
            draft.check_room(draft.state().updated_at, limits::EXTERNAL_STALL_MS)?;
            let (kind, fallback) = match status {
                "queued" => (EventType::Queued, words::QUEUED.to_owned()),
                _ if draft.state().reported.as_ref() == Some(&word) => (EventType::StageProgress, words::named(status)),
                _ => (EventType::StageStarted, words::named(status)),
            };
            let fact = Fact::Reported { progress, status: status.to_owned() };
            draft.push(kind, fact, line(&fallback).facts(facts));
            Ok(draft.finish())
        }
    }
}

/// The producer has been silent for too long.
pub(super) fn stalled(draft: Draft<'_>) -> Result<Decision, Refusal> {
    if draft.state().phase != Phase::External {
        return Err(Refusal::NotNow { command: "the watchdog of producers outside", state: draft.state().state_now() });
    }
    let failure = Failure::said(FailureKind::Stalled, "", "the producer went silent").hint(HINT);
    let says = failure.says(Says::message(words::failed(&failure.message)));
    Ok(draft.end(protocol::State::Failed, says))
}
