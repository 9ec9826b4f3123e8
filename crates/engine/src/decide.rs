//! The decisions: which commands fit where a generation stands, and which events they become.
//!
//! Here stands who may ask what in which phase; what then happens stands in the module of each concept. The whole table of
//! phases and commands is in this crate's README and, cell by cell, in `tests/engine/table.rs`.

mod draft;
mod end;
mod expiry;
mod external;
mod lease;
mod notes;
mod owner;
mod park;
mod stages;
mod submit;

use protocol::{Fence, LeaseId, Timestamp};

use crate::{
    command::{Action, Command, Context, Flaw},
    event::Event,
    refusal::Refusal,
    state::{Phase, State},
};
use draft::Draft;

/// What a command comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Committed together or not at all.
    pub events: Vec<Event>,
    /// The state they fold to: what [`crate::evolve`] makes of them, one after another.
    pub after: State,
}

/// What `command` does to a generation in `state` at `now`; `None` when there is no such generation yet.
///
/// # Errors
/// The [`Refusal`] that says why it changes nothing.
pub fn decide(
    state: Option<&State>,
    context: &Context<'_>,
    command: &Command,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let Some(state) = state else {
        return match &command.action {
            Action::Submit(submit) => submit::submit(submit, context, &command.id, now),
            _ => Err(Refusal::Unknown),
        };
    };
    if matches!(command.action, Action::Submit(_)) {
        return Err(Refusal::Exists);
    }
    if state.is_terminal() {
        return Err(Refusal::Ended(state.state_now()));
    }
    if let Some((lease, fence)) = right(&command.action)
        && !state.holds(lease, fence)
        && (context.flaw != Some(Flaw::NoFenceCheck) || state.holder.is_none())
    {
        return Err(Refusal::LeaseLost { current: state.fence });
    }
    of_unfinished(state, context, command, now)
}

/// Under which right a worker writes; `None` for those who need none.
const fn right(action: &Action) -> Option<(&LeaseId, Fence)> {
    match action {
        Action::Progress { lease, fence, .. }
        | Action::StageCompleted { lease, fence, .. }
        | Action::Log { lease, fence, .. }
        | Action::Artifact { lease, fence, .. }
        | Action::Checkpoint { lease, fence, .. }
        | Action::Release { lease, fence, .. }
        | Action::Done { lease, fence, .. }
        | Action::Fail { lease, fence, .. }
        | Action::HandBack { lease, fence } => Some((lease, *fence)),
        _ => None,
    }
}

fn of_unfinished(state: &State, context: &Context<'_>, command: &Command, now: Timestamp) -> Result<Decision, Refusal> {
    let draft = Draft::new(state, &command.id, now);
    match &command.action {
        Action::Submit(_) => Err(Refusal::Exists),
        Action::Grant(grant) => lease::grant(draft, context, grant),
        Action::Progress { stage, progress, message, metadata, .. } => {
            let moved =
                stages::Moved { stage, progress: *progress, message: message.as_deref(), metadata: metadata.as_ref() };
            stages::moved(draft, &moved)
        }
        Action::StageCompleted { stage, outputs, .. } => stages::completed(draft, stage, outputs.as_ref()),
        Action::Log { message, metadata, .. } => notes::log(draft, message, metadata.as_ref()),
        Action::Artifact { artifact, .. } => notes::artifact(draft, artifact),
        Action::Checkpoint { artifact, data, .. } => notes::checkpoint(draft, artifact.as_ref(), data.as_ref()),
        Action::Release { pool, .. } => notes::release(draft, pool),
        Action::Done { outputs, .. } => lease::done(draft, context, outputs),
        Action::Fail { kind, code, message, .. } => {
            Ok(lease::fail(draft, context, &lease::Failure::said(*kind, code, message)))
        }
        Action::HandBack { .. } => Ok(lease::hand_back(draft, context)),
        Action::Lose { fence, loss } => lease::lose(draft, context, *fence, *loss),
        Action::Cancel { reason } => owner::cancel(draft, context, reason),
        Action::Prioritize(priority) => owner::prioritize(draft, *priority),
        Action::Park => park::park(draft, context),
        Action::Unpark => park::unpark(draft, context),
        Action::Warn { fence } => expiry::warn(draft, *fence),
        Action::Expire => expiry::expire(draft, context),
        Action::Report(report) if state.phase == Phase::External => external::report(draft, report),
        Action::Report(_) => Err(Refusal::LeaseRequired),
        Action::ExternalStalled => external::stalled(draft),
    }
}
