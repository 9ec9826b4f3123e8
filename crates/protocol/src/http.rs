//! Bodies of the HTTP surface, `/v1/*`.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, Metadata, State},
    id::{GenerationId, PipelineName, TenantId, UserId},
    number::Timestamp,
    position::Position,
    trace::{TraceParent, TraceState},
};

/// How soon a generation wants to run. Priority is a head start on the clock, so that nothing starves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// A person waits.
    Interactive,
    /// The default.
    #[default]
    Standard,
    /// Whenever there is room.
    Batch,
}

impl Priority {
    /// Milliseconds by which it is treated as if it had been submitted earlier (later when negative): a minute before
    /// the default, ten minutes after it.
    #[must_use]
    pub const fn head_start_ms(self) -> i64 {
        match self {
            Self::Interactive => 60_000,
            Self::Standard => 0,
            Self::Batch => -600_000,
        }
    }
}

/// `POST /v1/generations`. `prompt` and `params` are the default pipeline's short form of `input`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    /// Which pipeline; absent means the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineName>,
    /// What to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Width, height, fps, seconds, seed, …; merged into `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Metadata>,
    /// Whatever the pipeline's schema wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Metadata>,
    /// How soon.
    #[serde(default)]
    pub priority: Priority,
    /// The client's own facts, given back in every event's `metadata.client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// By when it has to have ended; else it fails with `DEADLINE_EXCEEDED`. To come, and within the pipeline's own bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// On whose behalf; role `service` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// For which customer; role `service` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

impl Submission {
    /// The fields a body may have. (`deny_unknown_fields` cannot be: on the live socket they share an object with others.)
    pub const FIELDS: &'static [&'static str] =
        &["pipeline", "prompt", "params", "input", "priority", "metadata", "deadline", "owner", "tenant"];
    /// Fields of the specification that are not built; they answer `unsupported`, never silence.
    pub const FIELDS_UNSUPPORTED: &'static [&'static str] = &["webhook", "delay"];
}

/// Where to go from an accepted submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Urls {
    /// The snapshot.
    #[serde(rename = "self")]
    pub itself: String,
    /// The events: a page, a stream or a long-poll.
    pub events: String,
    /// The live socket.
    pub live: String,
    /// `POST` here to cancel.
    pub cancel: String,
    /// Kept files live below.
    pub artifacts: String,
}

/// The answer to an accepted submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its first state.
    pub generation: Snapshot,
    /// Where to go from here.
    pub urls: Urls,
    /// Watches this generation and nothing else; hand it to the page.
    pub live_token: String,
}

/// A kept file, as a snapshot lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ArtifactLink {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Hex SHA-256.
    pub sha256: String,
    /// A signed link, valid at least 24 hours.
    pub url: String,
}

/// A generation as it stands: its latest event and what only the server knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Which one.
    pub id: GenerationId,
    /// The latest event.
    pub status: Event,
    /// Its state, again, to filter by.
    pub state: State,
    /// Pipeline and version, `video@1`.
    pub pipeline: String,
    /// What it was asked to make.
    pub input: Metadata,
    /// How soon.
    pub priority: Priority,
    /// Where a watcher stands that has seen this.
    pub position: Position,
    /// Its place in the queue, 1 for the next; absent unless queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
    /// Seconds until it ends, estimated; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// By when it has to have ended, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Kept files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactLink>,
    /// Which generation this one retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<GenerationId>,
    /// Of the request that submitted it, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// Beside it, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<TraceState>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its latest event was decided.
    pub updated_at: Timestamp,
}

/// A page of generations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GenerationPage {
    /// Newest first.
    pub generations: Vec<Snapshot>,
    /// Give it back as `cursor=` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// In order; with `recovery: "snapshot"` the one state to go on from.
    pub events: Vec<Event>,
    /// Give it back as `after=`.
    pub position: Position,
    /// Is there more already?
    pub more: bool,
    /// Has the terminal event been sent up to this position?
    pub done: bool,
    /// `snapshot` when the position was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<crate::live::Recovery>,
}

/// `PATCH /v1/generations/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    /// Its new priority.
    pub priority: Priority,
}

/// `POST /v1/tokens`: a live token for named generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    /// 1 to 64 generations the caller may see.
    pub generations: Vec<GenerationId>,
    /// Seconds it is valid; 3,600 by default, a day at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// The minted live token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The two people of the demo, so that one can see what is not shown to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DemoUser {
    /// The first.
    Ada,
    /// The other.
    Grace,
}

impl DemoUser {
    /// Whose generations hers are.
    #[must_use]
    pub fn id(self) -> UserId {
        let id = match self {
            Self::Ada => "ada",
            Self::Grace => "grace",
        };
        UserId::new(id).expect("a literal user id is valid")
    }
}

/// `POST /v1/demo/sign-in`, which only a demo has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DemoSignIn {
    /// As whom.
    pub user: DemoUser,
}

/// What a page of the demo goes on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DemoToken {
    /// The token, of role `user`.
    pub token: String,
    /// Whose it is.
    pub user: DemoUser,
    /// When it expires; then sign in again.
    pub expires_at: Timestamp,
}

/// The answer to `POST /v1/uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    /// Usable anywhere in `input`.
    pub file: crate::id::FileId,
    /// Bytes.
    pub size: u64,
    /// Hex SHA-256.
    pub sha256: String,
}

/// One event of an external producer, `POST /v1/generations/{id}/events` takes an array of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// Makes a repeat harmless.
    pub event_id: crate::id::CommandId,
    /// A word of the first dialect, or the producer's own stage name.
    pub status: String,
    /// Per cent of the whole.
    #[serde(default)]
    pub progress: Option<f64>,
    /// A sentence for people.
    #[serde(default)]
    pub message: Option<String>,
    /// Facts beside it.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

/// The answer to reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// Where a watcher stands that has seen them all.
    pub position: Position,
}
