//! The fold: a generation is what its events make of it. Decides nothing; whatever was committed is taken as it is.

use std::sync::Arc;

use protocol::{
    CausalId, GenerationId, Metadata, Pipeline, Sequence, StageName, TenantId, Timestamp, UserId, http::Priority,
    worker::Checkpoint,
};

use crate::{
    command::Request,
    event::{Event, Fact},
    metadata,
    state::{Ending, Holder, Phase, StageState, State},
};

/// The state after `event`. Total: a fact that does not fit changes nothing but the sequence and what is shown. A history
/// whose beginning is gone is folded from what its first event shows, as if by a producer outside: it can be looked at,
/// nobody can get a lease of it, and its stall bound ends it.
#[must_use]
pub fn evolve(state: Option<State>, event: &Event) -> State {
    let show = &event.show;
    let mut state = match state {
        Some(mut state) => {
            state.apply(&event.fact, show.timestamp);
            state
        }
        None => State::born(Identity::of(show), &event.fact, show.timestamp),
    };
    state.absorb(show);
    state
}

/// Who and what a generation is, from its submission to its end.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) generation: GenerationId,
    pub(crate) owner: UserId,
    pub(crate) tenant: TenantId,
    pub(crate) causal: CausalId,
}

impl Identity {
    fn of(show: &protocol::Event) -> Self {
        Self {
            generation: show.generation_id.clone(),
            owner: show.user_id.clone(),
            tenant: show.tenant_id.clone(),
            causal: show.causal_id.clone(),
        }
    }
}

impl State {
    /// The state that the first fact makes, before it is shown.
    pub(crate) fn born(identity: Identity, fact: &Fact, at: Timestamp) -> Self {
        let mut state = Self {
            generation: identity.generation,
            owner: identity.owner,
            tenant: identity.tenant,
            causal: identity.causal,
            trace: None,
            trace_state: None,
            pipeline: Pipeline::external().into(),
            input: Arc::default(),
            priority: Priority::default(),
            client: None,
            retry_of: None,
            deadline: None,
            created_at: at,
            updated_at: at,
            sequence: Sequence(0),
            phase: Phase::External,
            stage: 0,
            stages: Vec::new(),
            fence: protocol::Fence(0),
            holder: None,
            not_before: Timestamp(0),
            queued_at: at,
            parked: None,
            ending: None,
            failure: None,
            cancel_grace_until: None,
            cancel_reason: String::new(),
            progress: 0.0,
            message: String::new(),
            reported: None,
            artifacts: Vec::new(),
            checkpoint: None,
            facts: Arc::default(),
            attempt: protocol::Attempt(1),
            attempts: Arc::default(),
        };
        let Fact::Accepted(request) = fact else {
            state.apply(fact, at);
            return state;
        };
        let Request { pipeline, input, priority, client, retry_of, kept, trace, trace_state, deadline } =
            request.clone();
        state.pipeline = pipeline;
        state.input = Arc::new(input);
        state.priority = priority;
        state.client = client.map(Arc::new);
        state.retry_of = retry_of;
        state.trace = trace;
        state.trace_state = trace_state;
        state.deadline = deadline;
        if !state.pipeline.is_external() {
            state.phase = Phase::Queued;
            let all = state.pipeline.stages.len() + usize::from(state.pipeline.on_failed.is_some());
            state.stages = vec![StageState::default(); all];
            state.artifacts = kept;
            state.skip_kept();
        }
        state
    }

    /// Goes on after the last stage that left kept files behind. The last stage of the pipeline is always run: without
    /// it the generation would have nothing to do and nothing to say.
    fn skip_kept(&mut self) {
        let last = self.pipeline.stages.len().saturating_sub(1);
        let kept =
            |stage: &protocol::Stage| stage.keep && self.artifacts.iter().any(|(keeper, _)| *keeper == stage.name);
        self.stage = self.pipeline.stages[..last].iter().rposition(kept).map_or(0, |stage| stage + 1);
        for done in &mut self.stages[..self.stage] {
            done.completed = true;
            done.progress = 100.0;
        }
        let skipped = &self.pipeline.stages[..self.stage];
        self.artifacts.retain(|(keeper, _)| skipped.iter().any(|stage| stage.name == *keeper));
    }

    /// What happened.
    pub(crate) fn apply(&mut self, fact: &Fact, at: Timestamp) {
        match fact {
            Fact::Accepted(_) => {}
            Fact::Granted { lease, fence, worker, instance, node, bearer, stage, charged_ms } => {
                self.phase = Phase::Running;
                self.fence = *fence;
                self.holder = Some(Holder {
                    lease: lease.clone(),
                    worker: worker.clone(),
                    instance: instance.as_str().into(),
                    node: node.as_str().into(),
                    bearer: bearer.clone(),
                    since: at,
                    released: Vec::new(),
                    charged_ms: *charged_ms,
                });
                self.parked = None;
                self.begin(stage, at);
            }
            Fact::StageStarted { stage } => self.begin(stage, at),
            Fact::Progressed { progress } => self.move_on(*progress, at),
            Fact::StageCompleted { stage, outputs } => self.complete_stage(stage, outputs.as_ref(), at),
            Fact::StageFailed { stage, burned, .. } => {
                if let Some(known) = self.index_of(stage).and_then(|index| self.stages.get_mut(index)) {
                    known.failures += u32::from(*burned);
                }
            }
            Fact::Queued { stage, not_before, outputs, pool } => {
                self.put_out(outputs.as_ref());
                self.queue(stage, *not_before, at);
                self.move_run(pool.as_ref());
            }
            Fact::Parked { hold } => self.parked = Some(hold.clone()),
            Fact::Unparked => self.parked = None,
            Fact::Warned => {
                if let Some(known) = self.stages.get_mut(self.stage) {
                    known.warned = true;
                }
            }
            Fact::CleanUpStarted { ending, not_before } => self.clean_up(ending, *not_before, at),
            Fact::Prioritized { priority } => self.priority = *priority,
            Fact::Logged { metadata } => self.remember(metadata.as_deref()),
            Fact::Kept { stage, artifact } => {
                self.artifacts.retain(|(_, other)| other.name != artifact.name);
                self.artifacts.push((stage.clone(), artifact.clone()));
                self.touch(at);
            }
            Fact::Checkpointed { stage, artifact, data } => {
                self.checkpoint =
                    Some(Checkpoint { stage: stage.clone(), artifact: artifact.clone(), data: data.clone() });
                self.touch(at);
            }
            Fact::Released { pool } => {
                if let Some(holder) = &mut self.holder {
                    holder.released.push(pool.clone());
                }
            }
            Fact::CancelRequested { reason, grace_until } => {
                self.phase = Phase::Cancelling;
                self.cancel_grace_until = Some(*grace_until);
                self.cancel_reason.clone_from(reason);
            }
            Fact::Reported { progress, status } => {
                self.progress = self.progress.max(*progress);
                self.reported = StageName::new(status.as_str()).ok().filter(|word| word.as_str() != "queued");
            }
            Fact::Ended { state, failure } => {
                self.end(*state);
                self.failure.clone_from(failure);
            }
        }
    }

    /// What was shown of it.
    pub(crate) fn absorb(&mut self, show: &protocol::Event) {
        self.sequence = self.sequence.next();
        self.updated_at = show.timestamp;
        self.progress = show.progress;
        self.message.clone_from(&show.message);
        self.attempt = show.attempt;
    }

    fn begin(&mut self, stage: &StageName, at: Timestamp) {
        let Some(index) = self.index_of(stage) else { return };
        let Some(known) = self.stages.get_mut(index) else { return };
        known.started_at = Some(at);
        known.moved_at = Some(at);
        known.warned = false;
        known.progress = 0.0;
        self.stage = index;
        Arc::make_mut(&mut self.attempts).insert(stage.clone(), protocol::Attempt(known.failures + 1));
    }

    fn move_on(&mut self, progress: f64, at: Timestamp) {
        if let Some(known) = self.stages.get_mut(self.stage)
            && progress > known.progress
        {
            known.progress = progress;
            known.moved_at = Some(at);
            known.warned = false;
        }
    }

    fn touch(&mut self, at: Timestamp) {
        if let Some(known) = self.stages.get_mut(self.stage) {
            known.moved_at = Some(at);
            known.warned = false;
        }
    }

    fn complete_stage(&mut self, stage: &StageName, outputs: Option<&Metadata>, at: Timestamp) {
        let Some(index) = self.index_of(stage) else { return };
        let Some(known) = self.stages.get_mut(index) else { return };
        known.completed = true;
        known.progress = 100.0;
        known.moved_at = Some(at);
        self.stage = index;
        self.put_out(outputs);
    }

    /// Facts of the stage that runs, for later stages and, as far as they fit, for everybody.
    fn put_out(&mut self, outputs: Option<&Metadata>) {
        let (Some(known), Some(outputs)) = (self.stages.get_mut(self.stage), outputs) else { return };
        known.outputs.extend(outputs.clone());
        self.remember(Some(outputs));
    }

    fn remember(&mut self, facts: Option<&Metadata>) {
        if let Some(facts) = facts {
            metadata::remember(&mut self.facts, facts);
        }
    }

    fn queue(&mut self, stage: &StageName, not_before: Timestamp, at: Timestamp) {
        let Some(index) = self.index_of(stage) else { return };
        self.phase = Phase::Queued;
        self.holder = None;
        self.stage = index;
        self.not_before = not_before;
        self.queued_at = at;
        for known in self.stages.iter_mut().skip(index) {
            // Only what was burned is remembered of a stage that is to be run again, and where it found room.
            let (failures, pool) = (known.failures, known.pool.take());
            *known = StageState { failures, pool, ..StageState::default() };
        }
        // A checkpoint of a stage that is not run again leads nowhere.
        let behind =
            self.checkpoint.as_ref().and_then(|point| self.index_of(&point.stage)).is_some_and(|at| at < index);
        if behind {
            self.checkpoint = None;
        }
    }

    /// The run that waits goes on in `pool`, whole: what its stages hand each other stays in one memory.
    fn move_run(&mut self, pool: Option<&protocol::PoolName>) {
        let Some(pool) = pool else { return };
        let run = self.run();
        for known in self.stages.iter_mut().take(run.end).skip(run.start) {
            known.pool = Some(pool.clone());
        }
    }

    fn clean_up(&mut self, ending: &Ending, not_before: Timestamp, at: Timestamp) {
        let Some(stage) = self.pipeline.on_failed.as_ref().map(|stage| stage.name.clone()) else { return };
        self.ending = Some(ending.clone());
        self.parked = None;
        self.cancel_grace_until = None;
        self.queue(&stage, not_before, at);
    }

    fn end(&mut self, state: protocol::State) {
        self.phase = match state {
            protocol::State::Complete => Phase::Complete,
            protocol::State::Cancelled => Phase::Cancelled,
            // The other three are no ends; to leave such a generation open would let something follow.
            _ => Phase::Failed,
        };
        self.holder = None;
        self.parked = None;
        self.ending = None;
        self.cancel_grace_until = None;
    }
}
