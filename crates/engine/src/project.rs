//! What a store's columns need of a generation, so that the store need not understand the rest.

use protocol::{PoolName, Timestamp};

use crate::state::{Phase, State};

/// The columns of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Where it stands, as watchers see it.
    pub state: protocol::State,
    /// `name@version`.
    pub pipeline: String,
    /// Its place in the queue; `None` when it waits for no worker.
    pub queue: Option<QueuePlace>,
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlace {
    /// Workers of this pool can take it.
    pub pool: PoolName,
    /// Order inside its lane: when it was submitted less the head start of its priority, in milliseconds.
    pub order: i64,
    /// In no lane before this; 0 for at once.
    pub not_before: Timestamp,
    /// What the run is expected to take a worker, in milliseconds.
    pub cost_ms: i64,
}

/// The columns of `state`.
#[must_use]
pub fn project(state: &State) -> Projection {
    Projection {
        state: state.state_now(),
        pipeline: format!("{}@{}", state.pipeline.name, state.pipeline.version),
        queue: queue_place(state),
    }
}

fn queue_place(state: &State) -> Option<QueuePlace> {
    let pool = state.pool_here().filter(|_| state.phase == Phase::Queued)?;
    let stages = state.run().filter_map(|index| state.pipeline.stage_at(index));
    let expected = stages.fold(0, |sum: u64, stage| sum.saturating_add(stage.expected_ms));
    let submitted = i64::try_from(state.created_at.0).unwrap_or(i64::MAX);
    Some(QueuePlace {
        pool: pool.clone(),
        order: submitted.saturating_sub(state.priority.head_start_ms()),
        not_before: state.not_before,
        cost_ms: i64::try_from(expected).unwrap_or(i64::MAX),
    })
}
