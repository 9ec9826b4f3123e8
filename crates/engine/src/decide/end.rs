//! The way to the end of what failed for good or is cancelled: through the pipeline's clean-up, where there is one and
//! anything was begun. The end itself is decided before it and does not depend on how it goes.

use protocol::{EventType, Timestamp};

use crate::{
    command::{Context, Flaw},
    decide::{Decision, draft::Draft, lease::Failure, park},
    event::Fact,
    show::Says,
    state::{Ending, Failed},
    words,
};

/// Ends it as failed, or begins the clean-up before that.
pub(super) fn failed(draft: Draft<'_>, context: &Context<'_>, failure: &Failure) -> Decision {
    let stage = draft.state().stage_here().map(|stage| stage.name.clone());
    let failure = Some(Failed { stage, ..failure.for_good() });
    let ending = Ending { state: protocol::State::Failed, failure, since: draft.now() };
    end(draft, context, ending)
}

/// Ends it as cancelled, or begins the clean-up before that.
pub(super) fn cancelled(draft: Draft<'_>, context: &Context<'_>) -> Decision {
    let ending = Ending { state: protocol::State::Cancelled, failure: None, since: draft.now() };
    end(draft, context, ending)
}

fn end(mut draft: Draft<'_>, context: &Context<'_>, ending: Ending) -> Decision {
    // What never began has left nothing behind.
    let begun = draft.state().fence.0 > 0 && context.flaw != Some(Flaw::SkippedCleanUp);
    if !begun || draft.state().pipeline.on_failed.is_none() {
        return last_word(draft, context, &ending, None);
    }
    let says = says(&ending, &draft).fact("cleanUp", "started");
    let says = Says { message: Some(words::CLEANING_UP.to_owned()), ..says };
    draft.push(EventType::CleanUpStarted, Fact::CleanUpStarted { ending, not_before: Timestamp(0) }, says);
    park::note(&mut draft, context);
    draft.finish()
}

/// The clean-up is over, one way or the other: the end that was decided before it.
pub(super) fn cleaned_up(draft: Draft<'_>, context: &Context<'_>, went_well: bool) -> Decision {
    let Some(ending) = draft.state().ending.clone() else { return draft.finish() };
    last_word(draft, context, &ending, Some(if went_well { "done" } else { "failed" }))
}

fn last_word(draft: Draft<'_>, context: &Context<'_>, ending: &Ending, clean_up: Option<&str>) -> Decision {
    let mut says = says(ending, &draft);
    if let Some(word) = clean_up {
        says = says.fact("cleanUp", word);
    }
    // Not after a deadline, which would pass again at once and for ever.
    let in_time = draft.state().expires_at().is_none_or(|at| draft.now() < at);
    if context.flaw == Some(Flaw::RetryAfterEnd) && ending.state == protocol::State::Failed && in_time {
        return draft.end_and_go_on(ending.state, says);
    }
    draft.end_because(ending.state, ending.failure.clone(), says)
}

fn says(ending: &Ending, draft: &Draft<'_>) -> Says {
    match &ending.failure {
        Some(failure) => failure.says(),
        None => Says::message(words::cancelled(&draft.state().cancel_reason)).fact("errorCode", "CANCELLED"),
    }
}

impl Failed {
    fn says(&self) -> Says {
        Says::message(words::failed(&self.message))
            .fact("errorCode", self.code.as_str())
            .fact("errorMessage", self.message.as_str())
            .fact("errorHint", self.hint.as_str())
            .fact("retryable", self.kind.is_retryable())
    }
}
