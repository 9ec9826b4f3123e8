//! Messages between a worker and the server, `/v1/worker`.
//!
//! Everything with an `eventId` is answered by `ack` (or `refused`), and may be repeated on any connection, to any
//! node, until it is.

mod read;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::{
    error::ErrorCode,
    event::Metadata,
    id::{
        ArtifactName, CausalId, CommandId, GenerationId, LeaseId, OfferId, PipelineName, PoolName, StageName, WorkerId,
    },
    number::{Attempt, Fence, Handle, Sequence, Timestamp},
    pipeline::Pipeline,
    trace::{TraceParent, TraceState},
};

/// Why a stage ended badly. Decides whether it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Another try may succeed.
    Retryable,
    /// No try will.
    Fatal,
    /// The request cannot be done; the fault is the client's.
    InvalidInput,
    /// It did not fit; another try may meet a bigger worker.
    OutOfMemory,
    /// Progress stood still.
    Stalled,
    /// The worker went silent.
    WorkerLost,
}

impl FailureKind {
    /// Is another try worth it?
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        !matches!(self, Self::Fatal | Self::InvalidInput)
    }

    /// The code people and programs read when it is final.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Retryable => "WORKER_ERROR",
            Self::Fatal => "FATAL",
            Self::InvalidInput => "INVALID_INPUT",
            Self::OutOfMemory => "OUT_OF_MEMORY",
            Self::Stalled => "STALLED",
            Self::WorkerLost => "WORKER_LOST",
        }
    }
}

/// A lease a returning worker still holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeldLease {
    /// Which one.
    pub lease: LeaseId,
    /// Its fence.
    pub fence: Fence,
}

/// A kept file a stage leaves behind, already uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its name.
    pub name: ArtifactName,
    /// Bytes.
    pub size: u64,
    /// Hex SHA-256 of its content.
    pub sha256: String,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum WorkerMessage {
    /// First of all: who it is, what it can run, and what it still holds.
    Hello {
        /// Its name, kept across restarts.
        worker: WorkerId,
        /// Its process: another instance of the same worker holds nothing.
        instance: String,
        /// Slots by pool.
        pools: BTreeMap<PoolName, u32>,
        /// Free facts for operators.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// Name and version of its SDK.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sdk: Option<String>,
        /// Leases it still works on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leases: Vec<HeldLease>,
        /// Pipelines it brings, where the server allows it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pipelines: Vec<Pipeline>,
    },
    /// Takes an offer.
    Accept {
        /// Which one.
        offer: OfferId,
    },
    /// Leaves an offer to another.
    Decline {
        /// Which one.
        offer: OfferId,
        /// Why, for operators.
        #[serde(default)]
        reason: String,
    },
    /// How far the stage is. Never answered; what comes faster than ten a second replaces what waits.
    Progress {
        /// Under which lease.
        lease: LeaseId,
        /// Which stage of the run.
        stage: StageName,
        /// Per cent of the stage, 0 to 100.
        progress: f64,
        /// A sentence for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Facts beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Metadata>,
    },
    /// A stage edge or a line worth keeping.
    Event {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
        /// What happened.
        #[serde(flatten)]
        what: RunEvent,
    },
    /// A point to go on from.
    Checkpoint {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
        /// A kept file that holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<ArtifactName>,
        /// Or the point itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Value>,
    },
    /// A file was uploaded.
    Artifact {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
        /// Which file.
        #[serde(flatten)]
        artifact: Artifact,
    },
    /// A slot of this pool is free again although the run goes on.
    Release {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
        /// Which pool.
        pool: PoolName,
    },
    /// The run is done.
    Done {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
        /// Facts for the terminal event, if this run is the last. `video` and `thumbnail` name artifacts.
        #[serde(default)]
        outputs: Metadata,
    },
    /// The run failed.
    Fail {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
        /// Decides whether it is tried again.
        kind: FailureKind,
        /// For programs; empty takes the kind's own.
        #[serde(default)]
        code: String,
        /// For people.
        #[serde(default)]
        message: String,
    },
    /// Alive, and how many offers it would take now.
    Heartbeat {
        /// Offers until the next heartbeat, 10 at most.
        #[serde(default = "default_tokens")]
        tokens: u32,
    },
    /// Takes no more offers; hands back what it gives up.
    Drain,
    /// Gives a run back unfinished; no attempt is burned.
    HandBack {
        /// Under which lease.
        lease: LeaseId,
        /// Makes a repeat harmless.
        event_id: CommandId,
    },
}

const fn default_tokens() -> u32 {
    crate::limits::TOKENS_MAX
}

/// What a worker may report of its run, durably.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum RunEvent {
    /// The stage ended well; the next one of the run begins.
    StageCompleted {
        /// Which one.
        stage: StageName,
        /// Facts for later stages of other runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Metadata>,
    },
    /// A line worth keeping, with facts that stay visible in `metadata`.
    Log {
        /// A sentence for people.
        message: String,
        /// Facts beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Metadata>,
    },
}

/// One stage of an offered run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OfferedStage {
    /// Its name.
    pub name: StageName,
    /// Are its outputs to be uploaded?
    pub keep: bool,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// How a lease came through a reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Resumption {
    /// Go on.
    Resumed,
    /// Somebody else has it; stop.
    LeaseLost,
}

/// What became of a lease named in `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseAnswer {
    /// Which one.
    pub lease: LeaseId,
    /// Its name in binary frames of this connection; absent when lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Go on, or stop.
    pub result: Resumption,
    /// Was a cancel asked for meanwhile?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

/// Preview frames somebody looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Frames per second at most.
    pub max_fps: u32,
    /// Pixels at most.
    pub max_width: u32,
    /// Somebody plays each picture: give every one of them, in order and without regard to `max_fps`, and stretch the
    /// time between them when told `slow`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub every: bool,
}

impl Demand {
    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            max_fps: self.max_fps.max(other.max_fps),
            max_width: self.max_width.max(other.max_width),
            every: self.every || other.every,
        }
    }
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// Answers `hello`.
    Welcome {
        /// Send a heartbeat this often, in milliseconds.
        heartbeat_ms: u64,
        /// A lease silent for so long is lost, in milliseconds.
        lease_ms: u64,
        /// The server's time.
        clock: Timestamp,
        /// What became of the leases named in `hello`.
        #[serde(default)]
        leases: Vec<LeaseAnswer>,
    },
    /// A run to take or leave, for five seconds.
    Offer {
        /// Name it in `accept`.
        offer: OfferId,
        /// Whose run.
        generation: GenerationId,
        /// The pipeline.
        pipeline: PipelineName,
        /// Its version.
        version: u32,
        /// The stages of the run, in order, those already done left out.
        stages: Vec<OfferedStage>,
        /// Try of the first stage, from 1.
        attempt: Attempt,
        /// What the client asked for, under `input`, and kept artifacts under `artifacts`.
        inputs: Box<RunInputs>,
        /// Where the last attempt had come to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Checkpoint>,
        /// Constant across everything the request caused.
        causal_id: CausalId,
        /// What the request's sender sent of its trace; spans of the run are its children.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<TraceParent>,
        /// What it sent beside it; pass it on with the spans.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracestate: Option<TraceState>,
    },
    /// The run is yours.
    Granted {
        /// Which offer.
        offer: OfferId,
        /// Carry it in everything you say of the run.
        lease: LeaseId,
        /// Put it in frame headers.
        fence: Fence,
        /// Put it before binary frames.
        handle: Handle,
        /// Bounds of the run.
        deadlines: Deadlines,
    },
    /// The offer is gone: taken by another, cancelled, or timed out.
    Withdrawn {
        /// Which offer.
        offer: OfferId,
    },
    /// What came under this id is durable.
    Ack {
        /// Which one.
        event_id: CommandId,
        /// The last event it caused.
        sequence: Sequence,
    },
    /// What came under this id changed nothing, and never will.
    Refused {
        /// Which one.
        event_id: CommandId,
        /// Why.
        code: ErrorCode,
        /// For people.
        #[serde(default)]
        message: String,
    },
    /// Stop, say `done`, `fail` or nothing; after the grace the lease is revoked.
    Cancel {
        /// Which run.
        lease: LeaseId,
        /// For people.
        reason: String,
        /// Milliseconds.
        grace_ms: u64,
    },
    /// Who looks: absent sizes mean nobody does, and no preview need be encoded.
    Wanted {
        /// Which run.
        lease: LeaseId,
        /// Frames for a player.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        full: Option<Demand>,
        /// Frames for small tiles.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tile: Option<Demand>,
    },
    /// The requester that wanted each frame cannot keep up.
    Slow {
        /// Which run.
        lease: LeaseId,
        /// Stretch the time between frames by this much.
        factor: f64,
    },
    /// Stop; what you write of it is refused.
    LeaseLost {
        /// Which run.
        lease: LeaseId,
    },
    /// Hand back or finish; the server is going away or wants you gone.
    Drain {
        /// Milliseconds until it closes.
        after_ms: u64,
    },
    /// The message was not understood; nothing was done.
    Error {
        /// Why.
        code: ErrorCode,
        /// For people.
        error: String,
    },
}

/// What a run starts from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunInputs {
    /// What the client asked for.
    pub input: Metadata,
    /// Files kept by earlier stages, to be fetched from `GET /v1/generations/{id}/artifacts/{name}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What earlier stages said in `outputs`, by stage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<StageName, Metadata>,
}

/// A point to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// In which stage it was saved.
    pub stage: StageName,
    /// A kept file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactName>,
    /// Or the point itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Bounds of a granted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// Silence after which the lease is lost, in milliseconds.
    pub lease_ms: u64,
    /// Standstill of progress after which the stage fails, in milliseconds.
    pub stall_ms: u64,
    /// Time after which the first stage fails, in milliseconds.
    pub stage_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_in_any_language_can_write_these_by_hand() {
        let hello: WorkerMessage =
            serde_json::from_str(r#"{"type":"hello","worker":"w1","instance":"i1","pools":{"gpu":1}}"#).unwrap();
        assert!(matches!(hello, WorkerMessage::Hello { .. }));
        let done: WorkerMessage = serde_json::from_str(r#"{"type":"done","lease":"l","eventId":"e1"}"#).unwrap();
        assert!(matches!(done, WorkerMessage::Done { .. }));
        let event: WorkerMessage = serde_json::from_str(
            r#"{"type":"event","lease":"l","eventId":"e2","event":"stage_completed","stage":"upscaling"}"#,
        )
        .unwrap();
        assert!(matches!(event, WorkerMessage::Event { what: RunEvent::StageCompleted { .. }, .. }));
    }
}
