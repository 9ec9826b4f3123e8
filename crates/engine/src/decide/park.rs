//! Parking: what a pause or a breaker holds back burns nothing, and its owner is told why it waits.

use protocol::EventType;

use crate::{
    command::Context,
    decide::{Decision, draft::Draft},
    event::Fact,
    holds::Hold,
    refusal::Refusal,
    show::Says,
    state::Phase,
    words,
};

/// Adds to a decision that leaves it waiting what holds it back, if anything does.
pub(super) fn note(draft: &mut Draft<'_>, context: &Context<'_>) {
    if draft.state().phase == Phase::Queued
        && draft.state().parked.is_none()
        && let Some(hold) = hold(draft, context)
    {
        push(draft, hold);
    }
}

/// What holds back the run that waits.
fn hold(draft: &Draft<'_>, context: &Context<'_>) -> Option<Hold> {
    context.holds?.before_start(draft.state(), draft.now())
}

fn push(draft: &mut Draft<'_>, hold: Hold) {
    let (word, message) = match &hold {
        Hold::Pause { pipeline } => ("pause", words::paused(pipeline)),
        Hold::Breaker { breaker } => ("breaker", words::broken(breaker)),
        Hold::Tenant { .. } | Hold::Owner { .. } => return,
    };
    let mut says = Says::message(message).fact("parkedBy", word);
    if let Hold::Breaker { breaker } = &hold {
        says = says.fact("breaker", breaker.as_str());
    }
    draft.push(EventType::Parked, Fact::Parked { hold }, says);
}

/// What waits is held back.
pub(super) fn park(mut draft: Draft<'_>, context: &Context<'_>) -> Result<Decision, Refusal> {
    if draft.state().phase != Phase::Queued {
        return Err(Refusal::NotNow { command: "parking", state: draft.state().state_now() });
    }
    match hold(&draft, context) {
        Some(hold) if draft.state().parked.as_ref() != Some(&hold) => {
            // A pause that goes on and off all day fills no history.
            draft.check_room(draft.state().updated_at, protocol::limits::EXTERNAL_STALL_MS)?;
            push(&mut draft, hold);
            Ok(draft.finish())
        }
        _ => Err(Refusal::NothingNew),
    }
}

/// What was held back no longer is.
pub(super) fn unpark(mut draft: Draft<'_>, context: &Context<'_>) -> Result<Decision, Refusal> {
    if draft.state().phase != Phase::Queued {
        return Err(Refusal::NotNow { command: "the end of parking", state: draft.state().state_now() });
    }
    if draft.state().parked.is_none() || hold(&draft, context).is_some() {
        return Err(Refusal::NothingNew);
    }
    draft.check_room(draft.state().updated_at, protocol::limits::EXTERNAL_STALL_MS)?;
    draft.push(EventType::Unparked, Fact::Unparked, Says::message(words::QUEUED));
    Ok(draft.finish())
}
