//! What the rest of the server holds of the orchestrator: commands in, durable answers out. What operators ask is in
//! `handle/steer.rs` and `handle/dead.rs`.

mod dead;
mod steer;

pub use dead::REDRIVEN_MAX;
pub(crate) use steer::switches;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use engine::{Action, Phase, Request, State};
use gateway::{Commands, Submit, Submitted, WorkerLink, Workers};
use protocol::{
    CausalId, CommandId, ErrorCode, Event, GenerationId, LeaseId, Problem, Sequence, StageName, TenantId, UserId,
    http::{Priority, Report, Submission},
    limits,
    worker::Artifact,
};
use store::{Claim, Store, StoreError};
use tokio::sync::oneshot;

use crate::{
    bounds::Bounds,
    clock::Clock,
    core::{Answer, Ask, Counts, Input, Ticket, Waiting, Whose, WorkerView},
    intake,
    pipelines::Pipelines,
    shell::{Doorway, Letter, MakeInput, sequence_of},
};

/// Talks to the core's task. Shared by everybody.
pub struct Handle {
    doorway: Doorway,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pipelines: Arc<Pipelines>,
    counts: Arc<Counts>,
    bounds: Bounds,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// A question about one generation.
#[derive(Debug)]
struct Asked(GenerationId, Ask);

impl MakeInput for Asked {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Ask { ticket, generation: self.0, ask: self.1 }
    }
}

#[derive(Debug)]
struct AskedHolds(GenerationId, LeaseId, UserId);

impl MakeInput for AskedHolds {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Holds { ticket, generation: self.0, lease: self.1, bearer: self.2 }
    }
}

#[derive(Debug)]
struct AskedWorkers;

impl MakeInput for AskedWorkers {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Workers { ticket }
    }
}

#[derive(Debug)]
struct AskedEstimates(Vec<Waiting>);

impl MakeInput for AskedEstimates {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Estimate { ticket, waiting: self.0 }
    }
}

#[derive(Debug)]
struct AskedRoom(Whose);

impl MakeInput for AskedRoom {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Room { ticket, whose: self.0 }
    }
}

#[derive(Debug)]
struct AskedDrain {
    after_ms: u64,
}

impl MakeInput for AskedDrain {
    fn make(self: Box<Self>, ticket: Ticket) -> Input {
        Input::Drain { ticket, after_ms: self.after_ms }
    }
}

/// A new generation before it has an id.
struct Draft {
    owner: UserId,
    tenant: TenantId,
    causal: CausalId,
    request: Request,
    claim: Option<Claim>,
    redrives: Option<GenerationId>,
}

impl Handle {
    pub(crate) fn new(
        doorway: Doorway,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        pipelines: Arc<Pipelines>,
        counts: Arc<Counts>,
        bounds: Bounds,
    ) -> Self {
        Self { doorway, store, clock, pipelines, counts, bounds }
    }

    /// Which pipelines there are.
    #[must_use]
    pub fn pipelines(&self) -> &Pipelines {
        &self.pipelines
    }

    /// What happened since the start.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Connected workers and what they work on.
    ///
    /// # Errors
    /// `unavailable` while the server stops.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Problem> {
        match self.question(Box::new(AskedWorkers)).await? {
            Answer::Workers(views) => Ok(views),
            _ => Ok(Vec::new()),
        }
    }

    /// Seconds until each of these ends, as hints tell them: `None` while nobody works on its pool.
    ///
    /// # Errors
    /// `unavailable` while the server stops.
    pub async fn estimates(&self, waiting: Vec<Waiting>) -> Result<Vec<Option<u64>>, Problem> {
        match self.question(Box::new(AskedEstimates(waiting))).await? {
            Answer::Estimates(seconds) => Ok(seconds),
            _ => Ok(Vec::new()),
        }
    }

    /// Offers nothing from here on, tells the workers so, and waits until none that is connected holds a run, or the time
    /// is over. Answers whether none does; those that do keep their leases over the restart.
    pub async fn drain(&self, within: Duration) -> bool {
        let after_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let drained = self.question(Box::new(AskedDrain { after_ms }));
        matches!(tokio::time::timeout(within, drained).await, Ok(Ok(Answer::Drained)))
    }

    /// Does `bearer` hold `lease` of `generation` now?
    ///
    /// # Errors
    /// `unavailable` while the server stops.
    pub async fn holds(&self, generation: &GenerationId, lease: &LeaseId, bearer: &UserId) -> Result<bool, Problem> {
        let asked = AskedHolds(generation.clone(), lease.clone(), bearer.clone());
        Ok(matches!(self.question(Box::new(asked)).await?, Answer::Holds(true)))
    }

    /// A generation as it stands, whole.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn state(&self, generation: &GenerationId) -> Result<(Arc<State>, Event), Problem> {
        match self.question(Box::new(Asked(generation.clone(), Ask::Read))).await? {
            Answer::Generation { event, state, .. } => Ok((state, Arc::unwrap_or_clone(event))),
            _ => Err(Problem::not_found()),
        }
    }

    async fn question(&self, make: Box<dyn MakeInput>) -> Result<Answer, Problem> {
        let (tx, rx) = oneshot::channel();
        let gone = || Problem::new(ErrorCode::Unavailable, "the server is stopping").hint("repeat in a few seconds");
        self.doorway.letters.send(Letter::Question(make, tx)).await.map_err(|_| gone())?;
        rx.await.map_err(|_| gone())?
    }

    async fn command(&self, generation: &GenerationId, id: CommandId, action: Action) -> Result<Answer, Problem> {
        let ask = Ask::Command(engine::Command { id, action });
        self.question(Box::new(Asked(generation.clone(), ask))).await
    }

    async fn create(&self, draft: Draft) -> Result<Submitted, Problem> {
        let now = self.clock.now();
        let generation = GenerationId::generate(now, random()?);
        let submit = engine::Submit {
            generation: generation.clone(),
            owner: draft.owner,
            tenant: draft.tenant,
            causal: draft.causal,
            request: draft.request,
        };
        let command = CommandId::generate(now, random()?);
        let ask = Ask::Submit { submit: Box::new(submit), command, claim: draft.claim, redrives: draft.redrives };
        match self.question(Box::new(Asked(generation, ask))).await? {
            Answer::Generation { event, repeated, .. } => {
                Ok(Submitted { event: Arc::unwrap_or_clone(event), repeated })
            }
            _ => Err(Problem::not_found()),
        }
    }

    /// Of what an ended generation had kept, what is still there.
    async fn still_kept(&self, state: &State) -> Result<Vec<(StageName, Artifact)>, Problem> {
        let there = self.store.artifacts(&state.generation).await.map_err(|error| store_problem(&error))?;
        let is_there = |one: &Artifact| there.iter().any(|row| row.name == one.name && row.sha256 == one.sha256);
        Ok(state.artifacts.iter().filter(|(_, one)| is_there(one)).cloned().collect())
    }

    /// Is there a place for one more? Where there is none, the answer says when to ask again. A repeat takes no place: the
    /// store answers it with what its first made.
    async fn room_for(&self, owner: &UserId, tenant: &TenantId, claim: Option<&Claim>) -> Result<(), Problem> {
        let bound = self.bounds.of(tenant);
        for (word, owner, max) in [("owner", Some(owner), bound.per_owner_max), ("tenant", None, bound.per_tenant_max)]
        {
            let unfinished = self.store.unfinished(tenant, owner).await.map_err(|error| store_problem(&error))?;
            if unfinished < max {
                continue;
            }
            if let Some(claim) = claim
                && self.store.is_claimed(claim).await.map_err(|error| store_problem(&error))?
            {
                return Ok(());
            }
            let whose = Whose { tenant: tenant.clone(), owner: owner.cloned() };
            let full = Problem::new(ErrorCode::QueueFull, format!("{max} generations of this {word} are unfinished"))
                .hint("wait for some to end, or cancel some");
            return Err(match self.question(Box::new(AskedRoom(whose))).await? {
                Answer::Room(seconds) => full.after(seconds),
                _ => full,
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Commands for Handle {
    async fn submit(&self, submit: Submit) -> Result<Submitted, Problem> {
        let checked = intake::check(&submit.submission, &self.pipelines)?;
        let claim = claim(&submit.tenant, &submit.owner, submit.idempotency, &submit.submission)?;
        self.room_for(&submit.owner, &submit.tenant, claim.as_ref()).await?;
        self.create(Draft {
            owner: submit.owner,
            tenant: submit.tenant,
            causal: submit.causal,
            request: Request {
                input: checked.input,
                priority: submit.submission.priority,
                client: submit.submission.metadata,
                trace: submit.trace,
                trace_state: submit.trace_state,
                deadline: submit.submission.deadline,
                ..Request::of(checked.pipeline)
            },
            claim,
            redrives: None,
        })
        .await
    }

    async fn retry(
        &self,
        generation: &GenerationId,
        causal: CausalId,
        idempotency: Option<String>,
    ) -> Result<Submitted, Problem> {
        let (state, _) = self.state(generation).await?;
        if !state.is_terminal() || state.phase == Phase::External {
            return Err(Problem::new(ErrorCode::StateConflict, "it has not ended").hint("cancel it first, or wait"));
        }
        // The same key for the same original is one retry.
        let asks_for = Submission { metadata: Some(retry_marker(generation)), ..Submission::default() };
        let claim = claim(&state.tenant, &state.owner, idempotency, &asks_for)?;
        self.room_for(&state.owner, &state.tenant, claim.as_ref()).await?;
        self.create(Draft {
            owner: state.owner.clone(),
            tenant: state.tenant.clone(),
            causal,
            request: Request {
                kept: if state.phase == Phase::Complete { Vec::new() } else { self.still_kept(&state).await? },
                ..again(&state)
            },
            claim,
            redrives: None,
        })
        .await
    }

    async fn cancel(&self, generation: &GenerationId, command: CommandId, reason: &str) -> Result<Event, Problem> {
        let mut reason = reason.to_owned();
        if reason.len() > limits::MESSAGE_BYTES_MAX {
            reason.truncate(reason.floor_char_boundary(limits::MESSAGE_BYTES_MAX));
        }
        event_of(self.command(generation, command, Action::Cancel { reason }).await?)
    }

    async fn prioritize(
        &self,
        generation: &GenerationId,
        command: CommandId,
        priority: Priority,
    ) -> Result<Event, Problem> {
        event_of(self.command(generation, command, Action::Prioritize(priority)).await?)
    }

    async fn report(&self, generation: &GenerationId, reports: Vec<Report>) -> Result<Sequence, Problem> {
        let mut last = Sequence(0);
        for report in reports {
            let answer = self.command(generation, report.event_id.clone(), Action::Report(Box::new(report))).await?;
            last = sequence_of(&answer);
        }
        Ok(last)
    }
}

impl Workers for Handle {
    fn connect(&self, bearer: access::Identity) -> Option<WorkerLink> {
        self.doorway.open(bearer)
    }
}

/// What a generation asked for, to be asked for again. It belongs to the story that the first request began; a deadline was
/// meant for the first alone.
fn again(state: &State) -> Request {
    Request {
        input: protocol::Metadata::clone(&state.input),
        priority: state.priority,
        client: state.client.as_deref().cloned(),
        retry_of: Some(state.generation.clone()),
        trace: state.trace.clone(),
        trace_state: state.trace_state.clone(),
        ..Request::of(Arc::clone(&state.pipeline))
    }
}

fn event_of(answer: Answer) -> Result<Event, Problem> {
    match answer {
        Answer::Generation { event, .. } => Ok(Arc::unwrap_or_clone(event)),
        _ => Err(Problem::not_found()),
    }
}

fn retry_marker(generation: &GenerationId) -> protocol::Metadata {
    [("retryOf".to_owned(), serde_json::Value::from(generation.as_str()))].into_iter().collect()
}

/// The key is scoped to tenant and owner; lengths before the parts keep two scopes from reading alike.
fn claim(
    tenant: &TenantId,
    owner: &UserId,
    key: Option<String>,
    submission: &Submission,
) -> Result<Option<Claim>, Problem> {
    let Some(key) = key else { return Ok(None) };
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(Problem::new(ErrorCode::InvalidRequest, format!("Idempotency-Key has {} bytes", key.len()))
            .hint(format!("1 to {}", limits::IDEMPOTENCY_KEY_BYTES_MAX)));
    }
    // Maps are sorted, so the order of fields in the body does not matter.
    let body = serde_json::to_vec(submission).map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
    let scope = format!("{}:{tenant}:{}:{owner}", tenant.as_str().len(), owner.as_str().len());
    Ok(Some(Claim { scope, key, digest: access::digest::sha256(&body) }))
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Problem::new(ErrorCode::Internal, format!("no random numbers: {error}")))?;
    Ok(bytes)
}

fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Full => Problem::new(ErrorCode::StorageFull, "the disk is full; nothing was stored")
            .hint("free space on the data folder's disk; no restart is needed"),
        StoreError::Unavailable(_) => Problem::new(ErrorCode::Unavailable, error.to_string()).hint("repeat later"),
    }
}
