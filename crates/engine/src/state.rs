//! Where a generation stands: the fold of its events. Serialised into the generation's row at stage edges.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use protocol::{
    Attempt, CausalId, Fence, GenerationId, LeaseId, Metadata, Pipeline, PoolName, Sequence, Stage, StageName,
    TenantId, Timestamp, UserId, WorkerId,
    http::Priority,
    limits,
    worker::{Artifact, Checkpoint, FailureKind},
};
use serde::{Deserialize, Serialize};

use crate::holds::Hold;

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
    pub instance: Arc<str>,
    /// The node that granted it.
    pub node: Arc<str>,
    /// Whose token the lease is bound to.
    pub bearer: UserId,
    /// When it was granted.
    pub since: Timestamp,
    /// Pools whose slots were released early.
    pub released: Vec<PoolName>,
    /// What its lane was charged, in worker-milliseconds.
    #[serde(default)]
    pub charged_ms: i64,
}

/// What a generation ends as when its clean-up is over, whatever becomes of that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// `failed` or `cancelled`.
    pub state: protocol::State,
    /// Why it failed; absent of a cancel.
    pub failure: Option<Failed>,
    /// When that was decided.
    pub since: Timestamp,
}

/// A failure for good, as it is told at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Its kind.
    pub kind: FailureKind,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The stage that ran, or would have run next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
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
    /// Where it runs instead of its own pool: the bigger one, after it ran out of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Were people told that it stands still, since it last moved?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warned: bool,
}

/// A generation. Each decision clones it, so what seldom changes is shared.
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
    /// Beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<protocol::TraceState>,
    /// Its pipeline, whole.
    pub pipeline: Arc<Pipeline>,
    /// What to make.
    pub input: Arc<Metadata>,
    /// How soon.
    pub priority: Priority,
    /// The client's own facts.
    pub client: Option<Arc<Metadata>>,
    /// Which generation it retries.
    pub retry_of: Option<GenerationId>,
    /// By when it has to have ended, where the client said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its latest event was decided.
    pub updated_at: Timestamp,
    /// The latest event's number.
    pub sequence: Sequence,
    /// Where it stands.
    pub phase: Phase,
    /// Index into `pipeline.stages` of the stage that runs or will run next; one beyond the last is the clean-up.
    pub stage: usize,
    /// By index into `pipeline.stages`, and the clean-up's behind them.
    pub stages: Vec<StageState>,
    /// The latest fence granted; 0 before the first.
    pub fence: Fence,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// In no lane before this.
    pub not_before: Timestamp,
    /// Since when it waits, if it does; when it was submitted in states of before it was noted.
    #[serde(default)]
    pub queued_at: Timestamp,
    /// What its owner was told holds it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<Hold>,
    /// What it ends as; set while its clean-up waits or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Why it failed, when it did and ran here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failed>,
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
    pub facts: Arc<Metadata>,
    /// Try of the stage that runs, for people, from 1.
    pub attempt: Attempt,
    /// Tries by stage, for people, with stages never tried left out.
    pub attempts: Arc<BTreeMap<StageName, Attempt>>,
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
        if let (Phase::Queued | Phase::Running, Some(Ending { state: protocol::State::Cancelled, .. })) =
            (self.phase, &self.ending)
        {
            return protocol::State::Cancelling;
        }
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
        self.pipeline.stage_at(self.stage)
    }

    /// Where the stage at `index` runs.
    #[must_use]
    pub fn pool_at(&self, index: usize) -> Option<&PoolName> {
        let own = &self.pipeline.stage_at(index)?.pool;
        Some(self.stages.get(index).and_then(|known| known.pool.as_ref()).unwrap_or(own))
    }

    /// Where the stage that runs, or will run next, does so.
    #[must_use]
    pub fn pool_here(&self) -> Option<&PoolName> {
        self.pool_at(self.stage)
    }

    /// The consecutive stages of one pool that begin with the one that runs or will run next: what an offer holds.
    #[must_use]
    pub fn run(&self) -> Range<usize> {
        let here = self.pool_here();
        if here.is_none() {
            return self.stage..self.stage;
        }
        // A clean-up is a run of its own.
        let last = if self.ending.is_some() { self.stage + 1 } else { self.pipeline.stages.len() };
        let end = (self.stage..last).take_while(|&index| self.pool_at(index) == here).count();
        self.stage..self.stage + end
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

    /// When it, its wait or its clean-up has taken too long; `None` when nobody set a bound.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        if self.is_terminal() {
            return None;
        }
        if let Some(ending) = &self.ending {
            return Some(ending.since.plus(limits::CLEAN_UP_MAX_MS));
        }
        let whole = self.pipeline.timeout_ms.map(|bound| self.created_at.plus(bound));
        let wait = self.pipeline.queue_timeout_ms.filter(|_| self.phase == Phase::Queued);
        // The wait before a retry is no wait for a worker.
        let wait = wait.map(|bound| self.queued_at.max(self.not_before).plus(bound));
        whole.into_iter().chain(wait).chain(self.deadline).min()
    }

    /// When people are told that the stage stands still; `None` when they were, or no stage runs.
    #[must_use]
    pub fn warns_at(&self) -> Option<Timestamp> {
        let (Some(_), Some(stage), Some(known)) = (&self.holder, self.stage_here(), self.stages.get(self.stage)) else {
            return None;
        };
        known.moved_at.filter(|_| !known.warned && self.phase == Phase::Running).map(|at| at.plus(stage.stall_ms / 2))
    }

    /// Where `name` stands in the pipeline.
    pub(crate) fn index_of(&self, name: &StageName) -> Option<usize> {
        let all = self.pipeline.stages.iter().chain(self.pipeline.on_failed.as_deref());
        all.into_iter().position(|stage| stage.name == *name)
    }
}
