//! What a watcher may ask of the generations it sees. The orchestrator implements it; the gateway never sees a rule.
//!
//! Whether the caller *may* ask is checked before, by whoever holds its identity.

use async_trait::async_trait;
use protocol::{
    CausalId, CommandId, Event, GenerationId, Problem, Sequence, TenantId, TraceParent, TraceState, UserId,
    http::{Priority, Report, Submission},
};

/// A submission with everything its sender did not write.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// Who will own it.
    pub owner: UserId,
    /// The owner's customer.
    pub tenant: TenantId,
    /// From `x-correlation-id`, or made.
    pub causal: CausalId,
    /// From `traceparent`, where it was sent and is one.
    pub trace: Option<TraceParent>,
    /// From `tracestate`, where it was sent beside that and can be passed on.
    pub trace_state: Option<TraceState>,
    /// `Idempotency-Key`, or the `requestId` of a live `generate`. The same key and submission answer as the first time.
    pub idempotency: Option<String>,
    /// What was asked.
    pub submission: Submission,
}

/// An accepted submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// Its latest event; the first one unless it is a repeat.
    pub event: Event,
    /// Was it accepted before, under the same key?
    pub repeated: bool,
}

/// Commands from outside. Each answers after the commit is durable.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Makes a new generation.
    ///
    /// # Errors
    /// `invalid_input`, `unknown_pipeline`, `idempotency_conflict`, `queue_full`, `storage_full`, `unavailable`.
    async fn submit(&self, submit: Submit) -> Result<Submitted, Problem>;

    /// Makes a new generation like an ended one, sharing its finished artifacts; `idempotency` as in [`Submit`].
    ///
    /// # Errors
    /// `not_found`, `state_conflict` while it has not ended, and those of [`Commands::submit`].
    async fn retry(
        &self,
        generation: &GenerationId,
        causal: CausalId,
        idempotency: Option<String>,
    ) -> Result<Submitted, Problem>;

    /// Asks a generation to stop. Answers its latest event: after the end, the end.
    ///
    /// # Errors
    /// `not_found`, `storage_full`, `unavailable`.
    async fn cancel(&self, generation: &GenerationId, command: CommandId, reason: &str) -> Result<Event, Problem>;

    /// Changes the place of a queued generation. Answers its latest event.
    ///
    /// # Errors
    /// `not_found`, `state_conflict` unless queued, `storage_full`, `unavailable`.
    async fn prioritize(
        &self,
        generation: &GenerationId,
        command: CommandId,
        priority: Priority,
    ) -> Result<Event, Problem>;

    /// Takes events of an external producer, in order. Answers the sequence of the last.
    ///
    /// # Errors
    /// `not_found`, `lease_required` on a managed generation, `state_conflict` after the end, `storage_full`, `unavailable`.
    async fn report(&self, generation: &GenerationId, reports: Vec<Report>) -> Result<Sequence, Problem>;
}
