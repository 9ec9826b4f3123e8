//! The words: ids, events, messages, frames, errors and limits that every part of Rushes agrees on.
//!
//! Serde types and nothing else: no I/O, no clock, no randomness, no async. Whoever needs a new id passes in the
//! time and the random bytes. `spec/` is generated from here, and the vectors in `spec/vectors` are run by every SDK.

pub mod dead;
pub mod error;
pub mod event;
pub mod frame;
pub mod fuzz;
pub mod http;
pub mod id;
mod json;
pub mod limits;
pub mod live;
pub mod number;
pub mod operate;
pub mod pipeline;
pub mod position;
pub mod timeline;
pub mod trace;
pub mod worker;

pub use error::{ErrorCode, Problem};
pub use event::{Event, EventType, Hint, Metadata, State, Status};
pub use id::{
    ArtifactName, BackendName, BreakerName, CausalId, CommandId, EventId, FileId, GenerationId, InvalidId, LeaseId,
    OfferId, PipelineName, PoolName, RequestId, StageName, TenantId, UserId, WorkerId,
};
pub use json::{in_scratch, json_depth, json_depth_of, json_length, json_of};
pub use number::{Attempt, Fence, FrameIndex, Handle, Revision, Sequence, Tick, Timestamp};
pub use pipeline::{Durability, Pipeline, Stage};
pub use position::{After, Epoch, Position};
pub use trace::{TraceParent, TraceState};
