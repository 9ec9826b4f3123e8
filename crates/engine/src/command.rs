//! What may be asked of a generation, by clients, workers and timers.

use std::sync::Arc;

use protocol::{
    CausalId, CommandId, Fence, GenerationId, LeaseId, Metadata, Pipeline, PoolName, StageName, TenantId, Timestamp,
    TraceParent, TraceState, UserId, WorkerId,
    http::{Priority, Report},
    worker::{Artifact, FailureKind},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::holds::Holds;

/// One command, with the id that makes a repeat harmless.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Events are called `<id>.<n>`.
    pub id: CommandId,
    /// What is asked.
    pub action: Action,
}

/// What lies outside the generation and yet matters to a decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// Random bits for jitter; drawn by the caller so that the decision stays a function.
    pub random: u64,
    /// What keeps runs from starting; `None` where nothing does.
    pub holds: Option<&'a Holds>,
    /// A rule to break, so that a test can show that somebody notices.
    pub flaw: Option<Flaw>,
}

/// A bug on purpose. Nothing but the tests of whoever runs this code sets one: a simulation that does not notice a broken
/// rule would not notice it when it is broken by accident either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Writes under an old lease and fence are taken.
    NoFenceCheck,
    /// A run that is held is granted again, under the same fence.
    DoubleGrant,
    /// Lost leases are not looked for.
    ForgottenTimer,
    /// A generation that failed for good is put into the queue again.
    RetryAfterEnd,
    /// What failed or was cancelled ends without its clean-up.
    SkippedCleanUp,
}

/// A new generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// Its id.
    pub generation: GenerationId,
    /// Who owns it.
    pub owner: UserId,
    /// The owner's customer.
    pub tenant: TenantId,
    /// Constant across everything it causes.
    pub causal: CausalId,
    /// What it is to be.
    pub request: Request,
}

/// What is asked for: said once, and kept with the first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The whole definition: a later one does not change a running generation.
    pub pipeline: Arc<Pipeline>,
    /// What to make; already checked against the pipeline's schema.
    pub input: Metadata,
    /// How soon.
    pub priority: Priority,
    /// The client's own facts, repeated in `metadata.client`.
    pub client: Option<Metadata>,
    /// Which generation it retries.
    pub retry_of: Option<GenerationId>,
    /// Finished artifacts it shares with the one it retries, and the stage to start at because of them.
    pub kept: Vec<(StageName, Artifact)>,
    /// Of the HTTP request, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    /// Beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<TraceState>,
    /// By when it has to have ended, where the client said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

impl Request {
    /// A run of `pipeline` with nothing else said.
    #[must_use]
    pub fn of(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            input: Metadata::new(),
            priority: Priority::default(),
            client: None,
            retry_of: None,
            kept: Vec::new(),
            trace: None,
            trace_state: None,
            deadline: None,
        }
    }
}

/// A worker accepted an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The new right.
    pub lease: LeaseId,
    /// Who gets it.
    pub worker: WorkerId,
    /// The worker's process.
    pub instance: String,
    /// The node that grants.
    pub node: String,
    /// The user id of the token the worker came with: a lease is bound to it.
    pub bearer: UserId,
    /// What its lane is charged for it, in worker-milliseconds.
    pub charged_ms: i64,
}

/// Why a lease ended without the worker saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Silent for 30 s, or gone for 10 s after its socket closed, or a new instance of the same worker came.
    WorkerLost,
    /// Progress stood still for the stage's bound.
    Stalled,
    /// The stage took longer than its bound.
    TimedOut,
    /// It was told to cancel and did not within the grace.
    CancelGraceOver,
    /// The worker lived in this process and went with it at a restart; burns no attempt.
    Released,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Client: make this.
    Submit(Box<Submit>),
    /// Dispatcher: a worker accepted; the fence grows by one.
    Grant(Grant),
    /// Worker: how far the stage is, in per cent of the stage. Naming a later stage of the run says that those before it
    /// ended well, so a worker of few lines needs only this and [`Action::Done`].
    Progress {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// Which stage.
        stage: StageName,
        /// 0 to 100 of the stage.
        progress: f64,
        /// A sentence for people.
        message: Option<String>,
        /// Facts beside it.
        metadata: Option<Arc<Metadata>>,
    },
    /// Worker: the stage ended well; the next stage of the run starts in the same commit.
    StageCompleted {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// Which stage.
        stage: StageName,
        /// Facts for later stages.
        outputs: Option<Metadata>,
    },
    /// Worker: a line worth keeping; its metadata stays visible.
    Log {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// A sentence for people.
        message: String,
        /// Facts beside it.
        metadata: Option<Arc<Metadata>>,
    },
    /// Worker: a file was uploaded and is announced. It belongs to the stage that runs, so it comes before that stage's end.
    Artifact {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// Which file.
        artifact: Artifact,
    },
    /// Worker: a point to go on from.
    Checkpoint {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// A kept file that holds it.
        artifact: Option<protocol::ArtifactName>,
        /// Or the point itself.
        data: Option<Value>,
    },
    /// Worker: a slot of this pool is free although the run goes on.
    Release {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// Which pool.
        pool: PoolName,
    },
    /// Worker: the run is done; completes whatever of it is not completed yet.
    Done {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// Facts for the terminal event or for later runs.
        outputs: Arc<Metadata>,
    },
    /// Worker: the run failed.
    Fail {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
        /// Decides whether it is tried again.
        kind: FailureKind,
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// Worker: gives the run back; no attempt is burned.
    HandBack {
        /// Under which lease.
        lease: LeaseId,
        /// Under which fence.
        fence: Fence,
    },
    /// Timer: the lease ended without the worker saying so.
    Lose {
        /// Which fence is meant; another one is refused.
        fence: Fence,
        /// Why.
        loss: Loss,
    },
    /// Client: stop it. Refused after the end and when it was asked before; both carry the answer.
    Cancel {
        /// For people; empty means by its owner.
        reason: String,
    },
    /// Client: change its place in the queue.
    Prioritize(Priority),
    /// Dispatcher: what holds runs back holds this one; its owner is told.
    Park,
    /// Dispatcher: it no longer does.
    Unpark,
    /// Timer: the stage has stood still for half its bound; people are told before it is ended. Refused when that is no
    /// longer so.
    Warn {
        /// Which fence is meant.
        fence: Fence,
    },
    /// Timer: the generation, its wait or its clean-up has taken too long. Refused when that is not so.
    Expire,
    /// Producer outside: only for the external pipeline.
    Report(Box<Report>),
    /// Timer: an external producer has been silent for too long.
    ExternalStalled,
}
