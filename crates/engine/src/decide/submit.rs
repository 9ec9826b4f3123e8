//! A new generation: accepted, and waiting in its lane.

use protocol::{CommandId, Timestamp};

use crate::{
    command::{Context, Submit},
    decide::{draft::Draft, park},
    event::{Event, Fact},
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
) -> Result<Vec<Event>, Refusal> {
    submit.pipeline.check().map_err(Refusal::Invalid)?;
    metadata::check("metadata", submit.client.as_ref())?;
    let identity = Identity {
        generation: submit.generation.clone(),
        owner: submit.owner.clone(),
        tenant: submit.tenant.clone(),
        causal: submit.causal.clone(),
    };
    let fact = Fact::Accepted {
        pipeline: submit.pipeline.clone(),
        input: submit.input.clone(),
        priority: submit.priority,
        client: submit.client.clone(),
        retry_of: submit.retry_of.clone(),
        kept: submit.kept.clone(),
        trace: submit.trace.clone(),
    };
    let mut state = State::born(identity, &fact, now);
    state.message = words::QUEUED.to_owned();
    let mut draft = Draft::born(state, fact, command, now, Says::message(words::QUEUED));
    park::note(&mut draft, context);
    Ok(draft.finish())
}
