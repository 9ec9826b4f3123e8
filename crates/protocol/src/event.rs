//! The event: a complete snapshot of what a screen needs, durable, ordered and numbered. Also the body of a status.
//!
//! What only the rules need to fold a generation is not here: the engine keeps it beside the event.

use std::sync::Arc;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::{CausalId, EventId, GenerationId, StageName, TenantId, UserId},
    number::{Attempt, Sequence, Tick, Timestamp},
};

/// Free-form facts beside a status. Keys the first dialect knows: `currentFrame`, `totalFrames`,
/// `estimatedSecondsRemaining`, `videoUrl`, `errorCode`, `errorMessage`.
pub type Metadata = serde_json::Map<String, Value>;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// Accepted and waiting; also each time it waits again for its next run.
    Queued,
    /// A worker holds the run and this stage of it has begun.
    StageStarted,
    /// The stage moved on.
    StageProgress,
    /// The stage ended well.
    StageCompleted,
    /// A try of the stage ended badly.
    StageFailed,
    /// It will be tried again at `metadata.retryAt`.
    RetryScheduled,
    /// A draining worker gave the run back; no attempt is burned.
    HandedBack,
    /// Kept out of the queue for a reason that is named.
    Parked,
    /// Back in the queue.
    Unparked,
    /// Its place in the queue changed by request.
    PriorityChanged,
    /// A line from the worker worth keeping.
    Log,
    /// A file was kept.
    Artifact,
    /// The worker saved a point to go on from.
    Checkpoint,
    /// Somebody asked it to stop.
    CancelRequested,
    /// The pipeline's clean-up stage began.
    CleanUpStarted,
    /// Terminal: the film is there.
    Complete,
    /// Terminal: it will not be.
    Failed,
    /// Terminal: nobody wants it any more.
    Cancelled,
}

impl EventType {
    /// Nothing follows a terminal event.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Cancelled)
    }

    /// May a watcher that asked for the latest skip this one when a newer is there? Stage edges and ends never.
    #[must_use]
    pub const fn is_superseded_by_newer(self) -> bool {
        matches!(self, Self::StageProgress | Self::Log)
    }
}

/// Where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for a worker.
    Queued,
    /// A worker holds a lease.
    Running,
    /// Asked to stop, and a worker has yet to say that it did.
    Cancelling,
    /// Ended well.
    Complete,
    /// Ended badly.
    Failed,
    /// Ended by request.
    Cancelled,
}

impl State {
    /// Has it ended?
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Cancelled)
    }

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A word of the first dialect, the only ones its clients have labels and colours for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the first dialect's and explain themselves")]
pub enum Status {
    Queued,
    PromptAnalysis,
    GeneratingFrames,
    Interpolating,
    Upscaling,
    Encoding,
    Complete,
    Failed,
}

impl Status {
    /// The word for `state` while `stage` runs, or ran last. `before_frames` tells, for a stage the dialect has no word
    /// for, whether it comes before the pictures are made.
    #[must_use]
    pub fn of(state: State, stage: Option<&StageName>, before_frames: bool) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Complete => Self::Complete,
            State::Failed | State::Cancelled => Self::Failed,
            State::Running | State::Cancelling => match stage.map(StageName::as_str) {
                None => Self::Queued,
                Some("prompt_analysis") => Self::PromptAnalysis,
                Some("generating_frames") => Self::GeneratingFrames,
                Some("interpolating") => Self::Interpolating,
                Some("upscaling") => Self::Upscaling,
                Some("encoding") => Self::Encoding,
                Some(_) if before_frames => Self::PromptAnalysis,
                Some(_) => Self::Encoding,
            },
        }
    }
}

/// One durable event. Losing interest in the ones before it costs nothing: each is a complete snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its identity; a repeat of the same id is the same event.
    pub event_id: EventId,
    /// Whose history it belongs to.
    pub generation_id: GenerationId,
    /// The customer.
    pub tenant_id: TenantId,
    /// The owner.
    pub user_id: UserId,
    /// Constant across everything one request caused.
    pub causal_id: CausalId,
    /// Dense from 1. Zero only before the store has assigned it.
    #[serde(default)]
    pub sequence: Sequence,
    /// Try of the stage that runs, from 1.
    pub attempt: Attempt,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// Where the generation stands after it.
    pub state: State,
    /// The pipeline's own name for what runs; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// The first dialect's word for it.
    pub status: Status,
    /// Per cent of the whole, 0 to 100; never falls.
    pub progress: f64,
    /// A sentence for people.
    pub message: String,
    /// Facts beside it; absent when there are none.
    // Shared with what they were made of: most events add nothing to it.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Arc<Metadata>,
    /// When it was decided.
    pub timestamp: Timestamp,
}

/// An ephemeral status between two events: queue position, time remaining, relayed progress. Never stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Hint {
    /// The status as of the last durable event, with what the hint changes. Its `sequence` is that event's.
    #[serde(flatten)]
    pub status: Event,
    /// Always true.
    pub ephemeral: bool,
    /// Rises within one sequence; what is not above the last (sequence, tick) seen is dropped.
    pub tick: Tick,
}

impl Hint {
    /// A hint over `status`, which already holds what the hint changes.
    #[must_use]
    pub const fn new(status: Event, tick: Tick) -> Self {
        Self { status, ephemeral: true, tick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_looks_on_the_wire_as_the_specification_prints_it() {
        let text = r#"{"eventId":"0193","generationId":"gen_a","tenantId":"default","userId":"user_456","causalId":"c","sequence":12,"attempt":1,"type":"stage_progress","state":"running","stage":"generating_frames","status":"generating_frames","progress":45.0,"message":"Generating frames (22/48)","metadata":{"currentFrame":22,"totalFrames":48},"timestamp":1737331280000}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }

    #[test]
    fn a_stage_the_first_dialect_does_not_know_shows_the_nearest_word() {
        let stage = StageName::new("face_swap").unwrap();
        assert_eq!(Status::of(State::Running, Some(&stage), true), Status::PromptAnalysis);
        assert_eq!(Status::of(State::Running, Some(&stage), false), Status::Encoding);
        assert_eq!(Status::of(State::Cancelled, Some(&stage), false), Status::Failed);
    }
}
