//! What operators are told: why a generation is where it is, what a client has in flight, and how much work waits for a
//! pool. `GET /v1/queue/{id}`, `GET /v1/queue?owner=`, `GET /v1/pools`.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event::State,
    http::Priority,
    id::{BreakerName, GenerationId, PipelineName, PoolName, StageName, TenantId, UserId, WorkerId},
    number::Timestamp,
};

/// Why a generation is where it is. The list is closed: a program may act on each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "reason", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Reason {
    /// It is running.
    Running {
        /// On which worker.
        worker: WorkerId,
    },
    /// It was cancelled, and its worker has yet to say that it stopped.
    Cancelling {
        /// Which worker; absent when none holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// It has ended.
    Ended,
    /// A producer outside writes it; it never waits for a worker.
    External,
    /// An operator paused its pipeline.
    Paused {
        /// Which one.
        pipeline: PipelineName,
    },
    /// What a stage of it needs is broken.
    BreakerOpen {
        /// Which breaker.
        breaker: BreakerName,
    },
    /// Its tenant has as many runs under way as it may.
    TenantLimit,
    /// Its owner has as many runs under way as they may.
    OwnerLimit,
    /// Both are bounded, and one of them has as many runs under way as it may.
    TenantOrOwnerLimit,
    /// A try failed, and the next one waits.
    RetryAt {
        /// Until when.
        at: Timestamp,
    },
    /// No worker of its pool is connected.
    NoWorker,
    /// Workers of its pool are connected, and all of them are silent or about to leave.
    NoAbleWorker,
    /// All slots of its pool are taken.
    NoFreeSlot,
    /// Others come first.
    Behind {
        /// How many.
        before: u64,
    },
    /// It is next, and about to be offered.
    Next,
}

/// Where a generation stands in the queue, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Which one.
    pub generation: GenerationId,
    /// Whose customer's.
    pub tenant: TenantId,
    /// Whose.
    pub owner: UserId,
    /// Where it stands.
    pub state: State,
    /// The stage that runs; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    /// How soon it wants to run.
    pub priority: Priority,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// Which pool it waits for; absent unless it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Its place in the queue of its pool, 1 for the next; absent unless it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
    /// Not before; absent when it may run now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Connected workers of its pool.
    pub workers: usize,
    /// Their free slots.
    pub free_slots: u32,
    /// Why, for programs.
    #[serde(flatten)]
    pub reason: Reason,
    /// Why, for people.
    pub why: String,
}

/// What one client has in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Whose.
    pub owner: UserId,
    /// Unfinished ones by state, all of them.
    pub queued: u64,
    /// Under a lease.
    pub running: u64,
    /// Told to stop.
    pub cancelling: u64,
    /// Newest first; at most 100.
    pub generations: Vec<Place>,
}

/// Pools, and the work that waits for each: what an autoscaler asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PoolList {
    /// By name.
    pub pools: Vec<PoolView>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Which one.
    pub pool: PoolName,
    /// Generations that wait for it, those that wait for their time among them.
    pub waiting: u64,
    /// Seconds of one worker's slot that those are expected to take.
    pub backlog_seconds: f64,
    /// Seconds the oldest of them has waited; 0 when none does.
    pub oldest_seconds: f64,
    /// Connected workers.
    pub workers: u64,
    /// Their slots.
    pub slots: u64,
    /// Slots that are taken.
    pub busy_slots: u64,
    /// Seconds until what waits could have begun, with the slots there are; absent without a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<f64>,
}
