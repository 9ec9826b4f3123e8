//! Where a generation stands: the fold of its events. Serialised into the generation's row at stage edges.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    Attempt, CausalId, Fence, GenerationId, LeaseId, Metadata, Pipeline, PoolName, Sequence, StageName, TenantId, Timestamp,
    UserId, WorkerId,
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
    /// When its progress last moved.
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
