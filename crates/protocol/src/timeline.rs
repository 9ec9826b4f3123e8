//! What a generation's time went into: each wait, each run and its stages, with causes and costs.
//! `GET /v1/generations/{id}/timeline`.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event::State,
    id::{CausalId, GenerationId, PoolName, StageName, WorkerId},
    number::{Attempt, Fence, Timestamp},
    trace::{TraceParent, TraceState},
    worker::FailureKind,
};

/// Where the time of a generation went. Its spans follow each other without a gap, from its submission to its end, or to
/// `asOf` while it has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Which one.
    pub generation_id: GenerationId,
    /// Constant across everything one request caused.
    pub causal_id: CausalId,
    /// Of the request that submitted it, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// Beside it, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<TraceState>,
    /// Which generation this one retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<GenerationId>,
    /// Pipeline and version, `video@1`.
    pub pipeline: String,
    /// Where it stands.
    pub state: State,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When this was told.
    pub as_of: Timestamp,
    /// Milliseconds in all.
    pub total_ms: u64,
    /// Of them waiting.
    pub waiting_ms: u64,
    /// Of them under a lease, or with a producer outside.
    pub running_ms: u64,
    /// Seconds that workers were taken: what it cost.
    pub worker_seconds: f64,
    /// Tries of stages that ended badly.
    pub failures: u32,
    /// In order.
    pub spans: Vec<Span>,
    /// How many further spans there are, whose time is in the sums and which are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One piece of a generation's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// From when.
    pub from: Timestamp,
    /// Until when; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How long, or how long so far.
    pub duration_ms: u64,
    /// Doing what.
    #[serde(flatten)]
    pub what: Activity,
}

/// What a generation does in a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Activity {
    /// It waits for a worker.
    Wait {
        /// Since what.
        cause: WaitCause,
        /// At which stage it goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<StageName>,
        /// Of which pool the worker must be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<PoolName>,
        /// Not before, where a retry has to wait.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
    },
    /// A worker holds it.
    Run {
        /// Which one.
        worker: WorkerId,
        /// Of which pool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<PoolName>,
        /// Under which fence.
        fence: Fence,
        /// How it ended.
        end: SpanEnd,
        /// What it cost.
        worker_seconds: f64,
        /// What it did, in order. Between its last stage and its end a worker keeps files and says that it is done.
        stages: Vec<StageSpan>,
    },
    /// A producer outside writes it.
    External {
        /// How it ended.
        end: SpanEnd,
    },
}

/// Why a generation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitCause {
    /// It was submitted.
    Submitted,
    /// A run ended well, and the next stage is of another pool.
    NextRun,
    /// A try failed.
    Retry,
    /// A worker gave it back, and no attempt was burned.
    HandedBack,
    /// It is kept out of the queue for a reason that its event names.
    Parked,
    /// Its end is decided, and its clean-up has to run.
    CleanUp,
}

/// How a run or a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpanEnd {
    /// It has not.
    Running,
    /// Well.
    Completed,
    /// Badly.
    Failed,
    /// Given back.
    HandedBack,
    /// Stopped on request.
    Cancelled,
}

/// One stage within a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StageSpan {
    /// Which one.
    pub stage: StageName,
    /// Which try of it, from 1.
    pub attempt: Attempt,
    /// From when.
    pub from: Timestamp,
    /// Until when; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How long, or how long so far.
    pub duration_ms: u64,
    /// How it ended.
    pub end: SpanEnd,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<StageFailure>,
}

/// Why a try of a stage ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StageFailure {
    /// Its kind.
    pub kind: FailureKind,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}
