//! Runs: granted to a worker, and ended by its word or by its loss. A retry is decided here, as is the end of all retries.

use std::sync::Arc;

use protocol::{EventType, Fence, Metadata, PoolName, Timestamp, limits, worker::FailureKind};
use serde_json::Value;

use crate::{
    command::{Context, Flaw, Grant, Loss},
    decide::{
        Decision,
        draft::Draft,
        end, notes, owner, park,
        stages::{complete_at, with_attempt},
    },
    event::Fact,
    metadata,
    refusal::Refusal,
    retry,
    show::Says,
    state::{Failed, Phase},
    words,
};

/// Outputs that name kept files.
const ARTIFACT_KEYS: [&str; 2] = ["video", "thumbnail"];

/// A worker gets the run, under a fence higher than any before.
pub(super) fn grant(mut draft: Draft<'_>, context: &Context<'_>, grant: &Grant) -> Result<Decision, Refusal> {
    let state = draft.state();
    let refused = Refusal::NotNow { command: "a grant", state: state.state_now() };
    let twice = context.flaw == Some(Flaw::DoubleGrant) && state.phase == Phase::Running;
    if !twice && (state.phase != Phase::Queued || draft.now() < state.not_before) {
        return Err(refused);
    }
    if let Some(hold) = context.holds.and_then(|holds| holds.before_start(state, draft.now())) {
        return Err(Refusal::Held(hold));
    }
    let Some(stage) = state.stage_here() else { return Err(refused) };
    let says = with_attempt(state, state.stage, Says::message(words::stage(stage)));
    let fact = Fact::Granted {
        lease: grant.lease.clone(),
        fence: if twice { state.fence } else { state.fence.next() },
        worker: grant.worker.clone(),
        instance: grant.instance.clone(),
        node: grant.node.clone(),
        bearer: grant.bearer.clone(),
        stage: stage.name.clone(),
        charged_ms: grant.charged_ms,
    };
    draft.push(EventType::StageStarted, fact, says);
    Ok(draft.finish())
}

/// The run is done: what of it is not completed yet is, and the next run waits for its worker, or all is over. Once a
/// cancel was asked for, completion is out of reach: the files stay and the end is `cancelled`.
pub(super) fn done(mut draft: Draft<'_>, context: &Context<'_>, outputs: &Arc<Metadata>) -> Result<Decision, Refusal> {
    metadata::check("outputs", Some(outputs))?;
    if draft.state().phase == Phase::Cancelling {
        return Ok(owner::cancelled(draft, context));
    }
    if draft.state().ending.is_some() {
        let index = draft.state().stage;
        if !draft.state().stages[index].completed {
            complete_at(&mut draft, index, None);
        }
        return Ok(end::cleaned_up(draft, context, true));
    }
    let run = draft.state().run();
    let is_last_run = run.end >= draft.state().pipeline.stages.len();
    if is_last_run {
        for key in ARTIFACT_KEYS {
            if let Some(Value::String(name)) = outputs.get(key) {
                notes::check_kept(&draft, key, name)?;
            }
        }
    }
    let mut outputs_left = Some(&**outputs).filter(|outputs| !outputs.is_empty());
    for index in run.clone() {
        if !draft.state().stages[index].completed {
            let outputs = outputs_left.take_if(|_| index + 1 == run.end);
            complete_at(&mut draft, index, outputs);
        }
    }
    if is_last_run {
        let says = Says::message(words::COMPLETE).facts(metadata::of_worker(outputs));
        return Ok(draft.end(protocol::State::Complete, says));
    }
    let waits = Wait { outputs: outputs_left.cloned(), ..Wait::at(run.end) };
    queue(&mut draft, context, EventType::Queued, waits, Says::message(words::QUEUED));
    Ok(draft.finish())
}

/// A failure as people and programs read it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) code: String,
    pub(super) message: String,
    hint: &'static str,
}

impl Failure {
    /// As a worker said it; what it left out is the kind's own.
    pub(super) fn said(kind: FailureKind, code: &str, message: &str) -> Self {
        let or =
            |said: &str, own: &'static str, bytes_max| words::clip(if said.is_empty() { own } else { said }, bytes_max);
        Self {
            kind,
            code: or(code, kind.code(), words::CODE_BYTES_MAX),
            message: or(message, words::reason(kind), limits::MESSAGE_BYTES_MAX),
            hint: words::hint(kind),
        }
    }

    /// The same, with another way out.
    pub(super) const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// As it is remembered while the clean-up runs.
    pub(super) fn for_good(&self) -> Failed {
        Failed {
            kind: self.kind,
            code: self.code.clone(),
            message: self.message.clone(),
            hint: self.hint.to_owned(),
            stage: None,
        }
    }

    /// As it ends a generation.
    pub(super) fn says(&self, says: Says) -> Says {
        says.fact("errorCode", self.code.as_str())
            .fact("errorMessage", self.message.as_str())
            .fact("errorHint", self.hint)
            .fact("retryable", self.kind.is_retryable())
    }
}

/// The run failed: it is tried again when that is worth it and tries are left, else the generation has failed; so it
/// goes with a clean-up, but for how the generation ends.
pub(super) fn fail(mut draft: Draft<'_>, context: &Context<'_>, failure: &Failure) -> Decision {
    if draft.state().phase == Phase::Cancelling {
        return owner::cancelled(draft, context);
    }
    let failed = draft.state().stage;
    let Some(stage) = draft.state().stage_here().cloned() else { return end::failed(draft, context, failure) };
    let failures = draft.state().stages[failed].failures;
    let attempt = failures + 1;
    let fact = Fact::StageFailed {
        stage: stage.name.clone(),
        kind: failure.kind,
        code: failure.code.clone(),
        message: failure.message.clone(),
        burned: true,
    };
    let says = Says::message(failure.message.as_str())
        .fact("attempt", attempt)
        .fact("errorCode", failure.code.as_str())
        .fact("errorMessage", failure.message.as_str())
        .attempt(attempt);
    draft.push(EventType::StageFailed, fact, says);
    if !failure.kind.is_retryable() || failures >= stage.retries {
        return match draft.state().ending {
            Some(_) => end::cleaned_up(draft, context, false),
            None => end::failed(draft, context, failure),
        };
    }
    let retry_at = draft.now().plus(retry::wait_ms(&stage, failures, context.random));
    let says = Says::message(words::retrying(attempt + 1, stage.retries.saturating_add(1), &failure.message))
        .fact("retryAt", retry_at.0)
        .fact("attempt", attempt + 1);
    let bigger = stage.bigger_pool.filter(|_| failure.kind == FailureKind::OutOfMemory);
    let resumes = retry::resume_at(draft.state(), failed);
    let waits = Wait { not_before: retry_at, pool: bigger, ..Wait::at(resumes) };
    queue(&mut draft, context, EventType::RetryScheduled, waits, says);
    draft.finish()
}

/// The worker gives the run back; nothing is burned.
pub(super) fn hand_back(draft: Draft<'_>, context: &Context<'_>) -> Decision {
    give_back(draft, context, words::HANDED_BACK)
}

fn give_back(mut draft: Draft<'_>, context: &Context<'_>, message: &str) -> Decision {
    if draft.state().phase == Phase::Cancelling {
        return owner::cancelled(draft, context);
    }
    let waits = Wait::at(retry::resume_at(draft.state(), draft.state().stage));
    queue(&mut draft, context, EventType::HandedBack, waits, Says::message(message));
    draft.finish()
}

/// The lease ended without the worker saying so. Whether a stage stalled or took too long is the caller's to judge, from
/// [`crate::State::deadlines`] and from when it adopted the lease; that a cancelled worker gets its whole grace is judged here.
pub(super) fn lose(draft: Draft<'_>, context: &Context<'_>, fence: Fence, loss: Loss) -> Result<Decision, Refusal> {
    let state = draft.state();
    if state.holder.is_none() || state.fence != fence {
        return Err(Refusal::LeaseLost { current: state.fence });
    }
    let cancelling = state.phase == Phase::Cancelling;
    let grace_over = cancelling && state.cancel_grace_until.is_some_and(|until| draft.now() >= until);
    if loss == Loss::CancelGraceOver && !grace_over {
        return Err(Refusal::NotNow { command: "the end of a cancel's grace", state: state.state_now() });
    }
    let bound_s = state.stage_here().map_or(0, |stage| stage.timeout_ms / 1_000);
    Ok(match loss {
        Loss::WorkerLost => fail(draft, context, &Failure::said(FailureKind::WorkerLost, "", "")),
        Loss::Stalled => fail(draft, context, &Failure::said(FailureKind::Stalled, "", "")),
        Loss::TimedOut => {
            let message = format!("the stage took longer than {bound_s} s");
            fail(draft, context, &Failure::said(FailureKind::Retryable, "TIMED_OUT", &message))
        }
        Loss::CancelGraceOver => owner::cancelled(draft, context),
        Loss::Released => give_back(draft, context, words::RELEASED),
    })
}

/// Where the next run begins, and when.
#[derive(Debug)]
struct Wait {
    stage: usize,
    not_before: Timestamp,
    outputs: Option<Metadata>,
    pool: Option<PoolName>,
}

impl Wait {
    const fn at(stage: usize) -> Self {
        Self { stage, not_before: Timestamp(0), outputs: None, pool: None }
    }
}

fn queue(draft: &mut Draft<'_>, context: &Context<'_>, kind: EventType, waits: Wait, says: Says) {
    let Wait { stage, not_before, outputs, pool } = waits;
    let Some(stage) = draft.state().pipeline.stage_at(stage).map(|stage| stage.name.clone()) else { return };
    draft.push(kind, Fact::Queued { stage, not_before, outputs, pool }, says);
    park::note(draft, context);
}
