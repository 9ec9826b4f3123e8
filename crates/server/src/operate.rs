//! What an operator looks at: queues, pools, workers, pipelines, and why one generation is not running. Role `operator`.
//!
//! ```text
//! operate/why.rs      why a generation is where it is; pure
//! operate/pools.rs    how much work waits for each pool, for autoscalers
//! ```

pub(crate) mod pools;
mod why;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use access::{Identity, Verb, may};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use orchestrator::WorkerView;
use protocol::{
    ErrorCode, GenerationId, Pipeline, PipelineName, PoolName, State as Stand, TenantId, Timestamp, UserId,
    operate::{InFlight, Place},
};
use serde::{Deserialize, Serialize};
use store::{Filter, Listed};

use crate::{
    problem::{Answer, Failure},
    surface::{Caller, Surface, forbidden},
};
use why::Scene;

/// Waiting generations shown of one pool, or unfinished ones of one owner: two screens.
const SHOWN_MAX: usize = 100;

/// Unfinished generations of one owner that are counted.
const COUNTED_MAX: usize = 10_000;

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

/// What `GET /v1/queue` answers: the pools, or what one client has in flight.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum QueueAnswer {
    Pools(Queues),
    Owner(InFlight),
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
    owner: Option<UserId>,
    tenant: Option<TenantId>,
}

/// Refuses whoever is no operator.
pub(crate) fn operator(identity: &Identity) -> Answer<()> {
    if may(identity, Verb::Operate, None) { Ok(()) } else { Err(forbidden()) }
}

pub(crate) async fn queue(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    query: Result<Query<QueueQuery>, QueryRejection>,
) -> Answer<Json<QueueAnswer>> {
    operator(&identity)?;
    let Query(query) = query
        .map_err(|error| Failure::new(ErrorCode::InvalidRequest, error.body_text(), "known: pool, owner, tenant"))?;
    Ok(Json(match query {
        QueueQuery { pool, owner: None, tenant: None } => QueueAnswer::Pools(queues(&surface, pool.as_ref()).await?),
        QueueQuery { pool: None, owner: Some(owner), tenant } => {
            QueueAnswer::Owner(in_flight(&surface, owner, tenant).await?)
        }
        _ => {
            let hint = "ask by `pool`, or by `owner` and maybe `tenant`";
            return Err(Failure::new(ErrorCode::InvalidRequest, "a question about two things", hint));
        }
    }))
}

async fn queues(surface: &Surface, wanted: Option<&PoolName>) -> Answer<Queues> {
    let mut pools = Vec::new();
    for (pool, waiting, oldest_submitted_at) in surface.store.depth().await? {
        if wanted.is_some_and(|wanted| *wanted != pool) {
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
    Ok(Queues { pools })
}

/// What is unfinished of `owner`: of every tenant that has such a user, unless one is named.
async fn in_flight(surface: &Surface, owner: UserId, tenant: Option<TenantId>) -> Answer<InFlight> {
    let filter = Filter { owner: Some(owner.clone()), tenant, state: None, unfinished: true };
    let count = async |state: Stand| {
        let filter = Filter { state: Some(state), ..filter.clone() };
        Ok::<_, Failure>(surface.store.count(&filter, COUNTED_MAX).await? as u64)
    };
    let (queued, running) = (count(Stand::Queued).await?, count(Stand::Running).await?);
    let cancelling = count(Stand::Cancelling).await?;
    let page = surface.store.list(&filter, None, SHOWN_MAX).await?;
    let scene = scene(surface, &page.rows).await?;
    let generations = page.rows.iter().map(|listed| scene.place(listed)).collect::<Answer<_>>()?;
    Ok(InFlight { owner, queued, running, cancelling, generations })
}

/// Workers, and how much comes before each of `listed` that waits.
async fn scene(surface: &Surface, listed: &[Listed]) -> Answer<Scene> {
    let mut by_pool: BTreeMap<&PoolName, Vec<GenerationId>> = BTreeMap::new();
    for one in listed {
        if let Some(entry) = &one.row.queue {
            by_pool.entry(&entry.pool).or_default().push(one.generation.clone());
        }
    }
    let mut ranks = HashMap::new();
    for (pool, generations) in by_pool {
        ranks.extend(surface.store.ranks(pool, &generations).await?.into_iter().map(|(id, rank)| (id, rank.before)));
    }
    Ok(Scene { now: (surface.now)(), workers: surface.orchestrator.workers().await?, ranks })
}

pub(crate) async fn place(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(id): Path<String>,
) -> Answer<Json<Place>> {
    operator(&identity)?;
    let id = GenerationId::new(id).map_err(|_| Failure::not_found())?;
    let listed = surface.store.get(&id).await?.ok_or_else(Failure::not_found)?;
    let scene = scene(&surface, std::slice::from_ref(&listed)).await?;
    Ok(Json(scene.place(&listed)?))
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
