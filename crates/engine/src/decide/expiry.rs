//! Time that is up: a stage that stands still is reported before it is ended, a generation that took or waited too long
//! fails, and a clean-up that does not come to its end is given up.

use protocol::{EventType, Fence, worker::FailureKind};

use crate::{
    command::Context,
    decide::{Decision, draft::Draft, end, lease::Failure, owner},
    event::Fact,
    refusal::Refusal,
    show::Says,
    state::Phase,
    words,
};

/// What to do about a deadline that passed.
const HINT: &str = "submit it again when there is more room, or ask the operator for a longer bound";

/// The stage has stood still for half its bound: said once, until it moves again.
pub(super) fn warn(mut draft: Draft<'_>, fence: Fence) -> Result<Decision, Refusal> {
    let state = draft.state();
    if state.holder.is_none() || state.fence != fence {
        return Err(Refusal::LeaseLost { current: state.fence });
    }
    let due = state.warns_at().is_some_and(|at| at <= draft.now());
    let moved_at = state.stages.get(state.stage).and_then(|known| known.moved_at);
    let (Some(moved_at), true) = (moved_at, due) else { return Err(Refusal::NothingNew) };
    let silent_ms = draft.now().since(moved_at);
    let says = Says::message(words::silent(silent_ms)).fact("silentMs", silent_ms);
    draft.push(EventType::Log, Fact::Warned, says);
    Ok(draft.finish())
}

/// A bound of the whole, of the wait or of the clean-up has passed.
pub(super) fn expire(draft: Draft<'_>, context: &Context<'_>) -> Result<Decision, Refusal> {
    let (state, now) = (draft.state(), draft.now());
    let not_yet = Refusal::NotNow { command: "a deadline", state: state.state_now() };
    if state.expires_at().is_none_or(|at| now < at) {
        return Err(not_yet);
    }
    if state.ending.is_some() {
        return Ok(end::cleaned_up(draft, context, false));
    }
    match state.phase {
        // Asked to stop: it is no longer waited for.
        Phase::Cancelling => return Ok(owner::cancelled(draft, context)),
        Phase::Queued | Phase::Running => {}
        _ => return Err(not_yet),
    }
    let whole = state.pipeline.timeout_ms.filter(|bound| now.since(state.created_at) >= *bound);
    let (code, message) = match whole {
        Some(bound) => ("DEADLINE_EXCEEDED", words::too_long("it took", bound)),
        None if state.deadline.is_some_and(|at| at <= now) => ("DEADLINE_EXCEEDED", words::LATE.to_owned()),
        None => {
            let bound = state.pipeline.queue_timeout_ms.unwrap_or(0);
            ("QUEUE_TIMEOUT", words::too_long("it waited", bound))
        }
    };
    let failure = Failure::said(FailureKind::Fatal, code, &message).hint(HINT);
    Ok(end::failed(draft, context, &failure))
}
