//! Dead letters: looked at, made into new generations.

use std::sync::Arc;

use engine::{Request, State};
use gateway::Submitted;
use protocol::{
    CausalId, ErrorCode, EventType, GenerationId, Metadata, Problem, Sequence,
    dead::{DeadLetter, DeadLetterFilter, FailedTry, Redrive, Redriven, RedrivenMany},
    limits,
};
use serde_json::Value;
use store::Claim;

use super::{Draft, Handle, again, store_problem};
use crate::intake;

/// Letters redriven by one request: what is committed within a second or two.
pub const REDRIVEN_MAX: usize = 100;
/// Failed tries told of one generation: all tries of a dozen stages.
const TRIES_MAX: usize = 256;

impl Handle {
    /// A dead letter with its input and every try that failed.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn letter(&self, generation: &GenerationId) -> Result<DeadLetter, Problem> {
        let letter = self.store.letter(generation).await.map_err(|error| store_problem(&error))?;
        let mut letter = letter.ok_or_else(no_letter)?;
        let (state, _) = self.state(generation).await?;
        letter.input = Some(Metadata::clone(&state.input));
        letter.history = self.tries(generation).await?;
        Ok(letter)
    }

    async fn tries(&self, generation: &GenerationId) -> Result<Vec<FailedTry>, Problem> {
        let (mut tries, mut after) = (Vec::new(), Sequence(0));
        while tries.len() < TRIES_MAX {
            let page = self.store.events_after(generation, after, limits::PAGE_EVENTS_MAX).await;
            let page = page.map_err(|error| store_problem(&error))?;
            let Some(last) = page.last() else { break };
            after = last.event.sequence;
            let failed = page.into_iter().filter(|stored| stored.event.kind == EventType::StageFailed);
            tries.extend(failed.map(|stored| failed_try(&stored.event)));
        }
        tries.truncate(TRIES_MAX);
        Ok(tries)
    }

    /// Makes a new generation of a dead letter. The same change again is answered with the same generation.
    ///
    /// # Errors
    /// `not_found`, `state_conflict` unless it failed here for good, `idempotency_conflict` when it was redriven with
    /// another change, and those of a submission.
    pub async fn redrive(
        &self,
        generation: &GenerationId,
        change: &Redrive,
        causal: CausalId,
    ) -> Result<Submitted, Problem> {
        let letter = self.store.letter(generation).await.map_err(|error| store_problem(&error))?;
        let (state, _) = self.state(generation).await?;
        if letter.is_none() {
            return Err(not_dead(&state));
        }
        let same_work = change.input.is_none() && !change.newest;
        let pipeline = match self.pipelines.newest(state.pipeline.name.as_str()) {
            Some(newest) if change.newest => Arc::clone(&newest.pipeline),
            _ => Arc::clone(&state.pipeline),
        };
        let input = changed(&state, change.input.as_ref());
        intake::check_input(&pipeline, &input)?;
        let body = serde_json::to_vec(change).map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        let digest = access::digest::sha256(&body);
        let claim = Some(Claim { scope: "redrive".to_owned(), key: generation.to_string(), digest });
        self.room_for(&state.owner, &state.tenant, claim.as_ref()).await?;
        let draft = Draft {
            owner: state.owner.clone(),
            tenant: state.tenant.clone(),
            causal,
            request: Request {
                pipeline,
                input,
                priority: change.priority.unwrap_or(state.priority),
                // What was made of other parameters, or by other stages, is no part of it.
                kept: if same_work { self.still_kept(&state).await? } else { Vec::new() },
                ..again(&state)
            },
            claim,
            redrives: Some(generation.clone()),
        };
        self.create(draft).await.map_err(|problem| match problem.code {
            ErrorCode::IdempotencyConflict => {
                Problem::new(problem.code, "it was redriven already, with another change").hint("see its `redrivenAs`")
            }
            _ => problem,
        })
    }

    /// The same of many, newest first: of those that fit and were not redriven yet.
    ///
    /// # Errors
    /// `unavailable`. What goes wrong with one letter stands beside it.
    pub async fn redrive_many(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
        change: &Redrive,
        causal: &CausalId,
    ) -> Result<RedrivenMany, Problem> {
        let filter = DeadLetterFilter { redriven: Some(false), ..filter.clone() };
        let page = self.store.letters(&filter, None, limit.min(REDRIVEN_MAX)).await;
        let page = page.map_err(|error| store_problem(&error))?;
        let mut letters = Vec::with_capacity(page.letters.len());
        for letter in page.letters {
            let generation_id = letter.generation_id;
            letters.push(match self.redrive(&generation_id, change, causal.clone()).await {
                Ok(made) => Redriven { generation_id, redriven_as: Some(made.event.generation_id), error: None },
                Err(problem) => Redriven { generation_id, redriven_as: None, error: Some(problem) },
            });
        }
        Ok(RedrivenMany { letters, more: page.next.is_some() })
    }
}

fn failed_try(event: &protocol::Event) -> FailedTry {
    let text = |key: &str| event.metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    FailedTry {
        at: event.timestamp,
        sequence: event.sequence,
        stage: event.stage.clone(),
        attempt: event.attempt,
        code: text("errorCode"),
        message: text("errorMessage"),
    }
}

fn no_letter() -> Problem {
    Problem::new(ErrorCode::NotFound, "no such dead letter").hint("see GET /v1/dead-letters")
}

fn not_dead(state: &State) -> Problem {
    let stands = state.state_now();
    let hint = if stands.is_terminal() {
        "only what failed here can be redriven, until it is purged; use retry"
    } else {
        "wait for its end, or cancel it"
    };
    Problem::new(ErrorCode::StateConflict, format!("it is {} and no dead letter", stands.as_str())).hint(hint)
}

/// The input with some keys replaced, and without those that are `null`.
fn changed(state: &State, change: Option<&Metadata>) -> Metadata {
    let mut input = Metadata::clone(&state.input);
    for (key, value) in change.into_iter().flatten() {
        if value.is_null() {
            input.remove(key);
        } else {
            input.insert(key.clone(), value.clone());
        }
    }
    input
}
