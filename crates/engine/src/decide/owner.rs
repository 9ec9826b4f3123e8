//! What a generation's owner may ask while it is on its way: to stop it, and to move it in the queue.

use protocol::{EventType, Timestamp, http::Priority, limits};

use crate::{
    command::Context,
    decide::{Decision, draft::Draft, end},
    event::Fact,
    refusal::Refusal,
    show::Says,
    state::Phase,
    words,
};

/// Stops it: at once when nobody holds it, else the worker has the grace to stop by itself.
pub(super) fn cancel(mut draft: Draft<'_>, context: &Context<'_>, reason: &str) -> Result<Decision, Refusal> {
    if draft.state().ending.is_some() {
        // Its end is decided; what still runs is the clean-up.
        return Err(Refusal::NothingNew);
    }
    match draft.state().phase {
        Phase::Cancelling => Err(Refusal::NothingNew),
        Phase::Running => {
            request(&mut draft, reason, |now| now.plus(limits::CANCEL_GRACE_MS));
            Ok(draft.finish())
        }
        _ => {
            request(&mut draft, reason, |now| now);
            Ok(cancelled(draft, context))
        }
    }
}

fn request(draft: &mut Draft<'_>, reason: &str, grace_until: impl Fn(Timestamp) -> Timestamp) {
    let fact = Fact::CancelRequested {
        reason: words::clip(reason, limits::MESSAGE_BYTES_MAX),
        grace_until: grace_until(draft.now()),
    };
    draft.push(EventType::CancelRequested, fact, Says::message(words::CANCELLING));
}

/// Ends what was asked to stop.
pub(super) fn cancelled(draft: Draft<'_>, context: &Context<'_>) -> Decision {
    end::cancelled(draft, context)
}

/// Moves it in the queue.
pub(super) fn prioritize(mut draft: Draft<'_>, priority: Priority) -> Result<Decision, Refusal> {
    if draft.state().phase != Phase::Queued {
        return Err(Refusal::NotNow { command: "a change of priority", state: draft.state().state_now() });
    }
    if draft.state().priority == priority {
        return Err(Refusal::NothingNew);
    }
    draft.check_room(draft.state().updated_at, limits::EXTERNAL_STALL_MS)?;
    draft.push(EventType::PriorityChanged, Fact::Prioritized { priority }, Says::default());
    Ok(draft.finish())
}
