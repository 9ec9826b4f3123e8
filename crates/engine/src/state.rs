//! Where a generation stands: the fold of its events. Serialised into the generation's row at stage edges.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use protocol::{
    Attempt, CausalId, Fence, GenerationId, LeaseId, Metadata, Pipeline, PoolName, Sequence, Stage, StageName,
    TenantId, Timestamp, UserId, WorkerId,
    http::Priority,
    worker::{Artifact, Checkpoint},
};
use serde::{Deserialize, Serialize};

/// Where it stands, finer than [`protocol::State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In its lane, or waiting for its time.
    Queued,
    /// Under a lease.
    Running,
    /// Under a lease, told to stop.
    Cancelling,
    /// A producer outside writes it.
    External,
    /// Ended.
    Complete,
    /// Ended.
    Failed,
    /// Ended.
    Cancelled,
}

/// Who holds the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The right.
    pub lease: LeaseId,
    /// The worker.
    pub worker: WorkerId,
    /// Its process.
    pub instance: String,
    /// The node that granted it.
    pub node: String,
    /// Whose token the lease is bound to.
    pub bearer: UserId,
    /// When it was granted.
    pub since: Timestamp,
    /// Pools whose slots were released early.
    pub released: Vec<PoolName>,
}

/// What is known of one stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageState {
    /// Done, under whichever attempt.
    pub completed: bool,
    /// Burned tries.
    pub failures: u32,
    /// When the current try began.
    pub started_at: Option<Timestamp>,
    /// When it last moved: progress rose, a file was kept, a checkpoint saved.
    pub moved_at: Option<Timestamp>,
    /// 0 to 100.
    pub progress: f64,
    /// Facts for later stages.
    pub outputs: Metadata,
}

/// A generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which one.
    pub generation: GenerationId,
    /// Who owns it.
    pub owner: UserId,
    /// The owner's customer.
    pub tenant: TenantId,
    /// Constant across everything it causes.
    pub causal: CausalId,
    /// Of the request, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<protocol::TraceParent>,
    /// Its pipeline, whole.
    pub pipeline: Arc<Pipeline>,
    /// What to make.
    pub input: Metadata,
    /// How soon.
    pub priority: Priority,
    /// The client's own facts.
    pub client: Option<Metadata>,
    /// Which generation it retries.
    pub retry_of: Option<GenerationId>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its latest event was decided.
    pub updated_at: Timestamp,
    /// The latest event's number.
    pub sequence: Sequence,
    /// Where it stands.
    pub phase: Phase,
    /// Index into `pipeline.stages` of the stage that runs or will run next.
    pub stage: usize,
    /// By index into `pipeline.stages`.
    pub stages: Vec<StageState>,
    /// The latest fence granted; 0 before the first.
    pub fence: Fence,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// In no lane before this.
    pub not_before: Timestamp,
    /// When the grace of a cancelled run ends.
    pub cancel_grace_until: Option<Timestamp>,
    /// Why it was cancelled.
    pub cancel_reason: String,
    /// Per cent of the whole as last shown; never falls.
    pub progress: f64,
    /// The message as last shown.
    pub message: String,
    /// Only of an external producer: its latest word, absent while that is `queued`.
    pub reported: Option<StageName>,
    /// Kept files, with the stage that kept them.
    pub artifacts: Vec<(StageName, Artifact)>,
    /// Where the last attempt had come to.
    pub checkpoint: Option<Checkpoint>,
    /// Facts that stay visible in each event's metadata (from logs and outputs).
    pub facts: Metadata,
    /// Try of the stage that runs, for people, from 1.
    pub attempt: Attempt,
    /// Tries by stage, for people, with stages never tried left out.
    pub attempts: BTreeMap<StageName, Attempt>,
}

/// When the stage that runs has to end, one way or the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageDeadlines {
    /// From here on it counts as stalled, unless it moves; `None` when no stage runs.
    pub stalled_at: Option<Timestamp>,
    /// From here on it has taken too long; `None` when no stage runs.
    pub timed_out_at: Option<Timestamp>,
}

impl State {
    /// Where it stands, as watchers see it.
    #[must_use]
    pub const fn state_now(&self) -> protocol::State {
        match self.phase {
            Phase::Queued => protocol::State::Queued,
            Phase::Running => protocol::State::Running,
            Phase::Cancelling => protocol::State::Cancelling,
            Phase::External if self.reported.is_some() => protocol::State::Running,
            Phase::External => protocol::State::Queued,
            Phase::Complete => protocol::State::Complete,
            Phase::Failed => protocol::State::Failed,
            Phase::Cancelled => protocol::State::Cancelled,
        }
    }

    /// The stage that runs, as watchers see it; `None` when none does.
    #[must_use]
    pub fn stage_now(&self) -> Option<&StageName> {
        match (self.phase, &self.holder) {
            (Phase::Running | Phase::Cancelling, Some(_)) => self.stage_here().map(|stage| &stage.name),
            (Phase::External | Phase::Cancelling, _) => self.reported.as_ref(),
            _ => None,
        }
    }

    /// The definition of the stage that runs or will run next; `None` only of an external producer.
    #[must_use]
    pub fn stage_here(&self) -> Option<&Stage> {
        self.pipeline.stages.get(self.stage)
    }

    /// The consecutive stages of one pool that begin with the one that runs or will run next: what an offer holds.
    #[must_use]
    pub fn run(&self) -> Range<usize> {
        let Some(first) = self.stage_here() else { return self.stage..self.stage };
        let rest = &self.pipeline.stages[self.stage..];
        self.stage..self.stage + rest.iter().take_while(|stage| stage.pool == first.pool).count()
    }

    /// Has it ended?
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.state_now().is_terminal()
    }

    /// May a write under `lease` and `fence` change it? Only the latest grant's may, and only while it lasts.
    #[must_use]
    pub fn holds(&self, lease: &LeaseId, fence: Fence) -> bool {
        self.fence == fence && self.holder.as_ref().is_some_and(|holder| holder.lease == *lease)
    }

    /// When the stage that runs has to end. A stage that is completed keeps its bounds until the run goes on, so that a
    /// worker that never says `done` does not hold it for ever.
    #[must_use]
    pub fn deadlines(&self) -> StageDeadlines {
        let (Some(_), Some(stage), Some(known)) = (&self.holder, self.stage_here(), self.stages.get(self.stage)) else {
            return StageDeadlines::default();
        };
        StageDeadlines {
            stalled_at: known.moved_at.map(|at| at.plus(stage.stall_ms)),
            timed_out_at: known.started_at.map(|at| at.plus(stage.timeout_ms)),
        }
    }

    /// Where `name` stands in the pipeline.
    pub(crate) fn index_of(&self, name: &StageName) -> Option<usize> {
        self.pipeline.stages.iter().position(|stage| stage.name == *name)
    }
}
