//! A new generation: accepted, and waiting in its lane.

use protocol::{CommandId, Timestamp, limits};

use crate::{
    command::{Context, Request, Submit},
    decide::{Decision, draft::Draft, park},
    event::Fact,
    evolve::Identity,
    metadata,
    refusal::Refusal,
    show::Says,
    state::State,
    words,
};

/// Accepts it. That `input` fits the pipeline's schema is checked by whoever has the schema compiled.
pub(super) fn submit(
    submit: &Submit,
    context: &Context<'_>,
    command: &CommandId,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let request = &submit.request;
    request.pipeline.check().map_err(Refusal::Invalid)?;
    metadata::check("metadata", request.client.as_ref())?;
    check_deadline(request, now)?;
    let identity = Identity {
        generation: submit.generation.clone(),
        owner: submit.owner.clone(),
        tenant: submit.tenant.clone(),
        causal: submit.causal.clone(),
    };
    let fact = Fact::Accepted(request.clone());
    let mut state = State::born(identity, &fact, now);
    state.message = words::QUEUED.to_owned();
    let mut draft = Draft::born(state, fact, command, now, Says::message(words::QUEUED));
    park::note(&mut draft, context);
    Ok(draft.finish())
}

/// A deadline is in the time that the pipeline gives, and of something that we end.
fn check_deadline(request: &Request, now: Timestamp) -> Result<(), Refusal> {
    let Some(deadline) = request.deadline else { return Ok(()) };
    let pipeline = &request.pipeline;
    let bound_ms = pipeline.timeout_ms.unwrap_or(limits::PIPELINE_BOUND_MAX_MS);
    let why = if pipeline.is_external() {
        "its producer ends an external generation: leave it out".to_owned()
    } else if deadline <= now {
        format!("it is {} ms now: a time to come, in milliseconds since 1970", now.0)
    } else if deadline.since(now) > bound_ms {
        format!(
            "pipeline {} ends after {bound_ms} ms: say {} at most, or leave it out",
            pipeline.name,
            now.0 + bound_ms
        )
    } else {
        return Ok(());
    };
    Err(Refusal::Deadline { deadline, why })
}
