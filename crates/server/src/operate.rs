//! What an operator looks at: queues, workers, pipelines, and why one generation is not running. Role `operator`.

use std::{collections::BTreeMap, sync::Arc};

use access::{Identity, Verb, may};
use axum::{
    Json,
    extract::{Path, Query, State},
};
use orchestrator::WorkerView;
use protocol::{
    ErrorCode, GenerationId, Pipeline, PipelineName, PoolName, State as Stand, TenantId, Timestamp, limits,
};
use serde::{Deserialize, Serialize};

use crate::{
    generations,
    problem::{Answer, Failure},
    surface::{Caller, Surface, forbidden},
};

/// Waiting generations shown of one pool: two screens.
const SHOWN_MAX: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Queues {
    pools: Vec<PoolQueue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolQueue {
    pool: PoolName,
    waiting: u64,
    oldest_submitted_at: Timestamp,
    /// The head of the queue, in the order of claiming.
    next: Vec<Waiting>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    generation: GenerationId,
    tenant: TenantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
}

/// Why a generation is where it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    generation: GenerationId,
    state: Stand,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    /// Connected workers of its pool, and their free slots.
    workers: usize,
    free_slots: u32,
    /// A sentence.
    why: String,
}

#[derive(Serialize)]
pub(crate) struct Workers {
    workers: Vec<WorkerView>,
}

#[derive(Serialize)]
pub(crate) struct PipelineList {
    pipelines: Vec<Arc<Pipeline>>,
    /// Of those, and of others that still have work, whose runs do not start.
    paused: Vec<PipelineName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueQuery {
    pool: Option<PoolName>,
}

/// Refuses whoever is no operator.
pub(crate) fn operator(identity: &Identity) -> Answer<()> {
    if may(identity, Verb::Operate, None) { Ok(()) } else { Err(forbidden()) }
}

pub(crate) async fn queue(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    query: Result<Query<QueueQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Queues>> {
    operator(&identity)?;
    let Query(query) =
        query.map_err(|error| Failure::new(ErrorCode::InvalidRequest, error.body_text(), "known: pool"))?;
    let mut pools = Vec::new();
    for (pool, waiting, oldest_submitted_at) in surface.store.depth().await? {
        if query.pool.as_ref().is_some_and(|wanted| *wanted != pool) {
            continue;
        }
        let next = surface.store.queue(&pool, SHOWN_MAX).await?;
        let next = next.into_iter().map(|queued| Waiting {
            generation: queued.generation,
            tenant: queued.tenant,
            not_before: Some(queued.entry.not_before).filter(|at| *at > Timestamp(0)),
        });
        pools.push(PoolQueue { pool, waiting, oldest_submitted_at, next: next.collect() });
    }
    Ok(Json(Queues { pools }))
}

pub(crate) async fn place(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<Json<Place>> {
    operator(&identity)?;
    let id = GenerationId::new(id).map_err(|_| Failure::not_found())?;
    let listed = surface.store.get(&id).await?.ok_or_else(Failure::not_found)?;
    let state = listed.latest.state;
    let entry = listed.row.queue.as_ref().filter(|_| state == Stand::Queued);
    let pool = entry.map(|entry| entry.pool.clone());
    let queue_position = generations::queue_position(&surface, &listed).await?;
    let now = (surface.now)();
    let not_before = entry.map(|entry| entry.not_before).filter(|at| *at > now);
    let workers = surface.orchestrator.workers().await?;
    let able: Vec<&WorkerView> =
        workers.iter().filter(|worker| pool.as_ref().is_some_and(|pool| worker.pools.contains_key(pool))).collect();
    let free_slots = able.iter().map(|worker| free_slots(worker, pool.as_ref(), now)).sum();
    let why = why(state, pool.as_ref(), queue_position, not_before.map(|at| at.since(now)), able.len(), free_slots);
    Ok(Json(Place { generation: id, state, pool, queue_position, not_before, workers: able.len(), free_slots, why }))
}

/// Slots of `worker` that an offer could take now. A worker that is silent or leaves has none.
fn free_slots(worker: &WorkerView, pool: Option<&PoolName>, now: Timestamp) -> u32 {
    let Some(pool) = pool else { return 0 };
    if worker.draining || now.since(worker.heard_at) > limits::CAPACITY_WINDOW_MS {
        return 0;
    }
    let of = |slots: &BTreeMap<PoolName, u32>| slots.get(pool).copied().unwrap_or(0);
    of(&worker.pools).saturating_sub(of(&worker.busy))
}

fn why(
    state: Stand,
    pool: Option<&PoolName>,
    position: Option<u64>,
    delay_ms: Option<u64>,
    workers: usize,
    free: u32,
) -> String {
    let Some(pool) = pool else { return format!("it is {}", state.as_str()) };
    if let Some(ms) = delay_ms {
        return format!("it waits {ms} ms more before its next try");
    }
    match (workers, free, position) {
        (0, ..) => format!("no worker of pool {pool} is connected"),
        (_, 0, _) => format!("no slot of pool {pool} is free"),
        (_, _, Some(before)) if before > 0 => format!("{before} of pool {pool} come first"),
        _ => "it is next, and about to be offered".to_owned(),
    }
}

pub(crate) async fn workers(State(surface): State<Surface>, Caller(identity): Caller) -> Answer<Json<Workers>> {
    operator(&identity)?;
    Ok(Json(Workers { workers: surface.orchestrator.workers().await? }))
}

pub(crate) async fn pipelines(State(surface): State<Surface>, Caller(identity): Caller) -> Answer<Json<PipelineList>> {
    operator(&identity)?;
    let paused = surface.orchestrator.gates().await?.paused;
    Ok(Json(PipelineList { pipelines: surface.orchestrator.pipelines().all(), paused }))
}
