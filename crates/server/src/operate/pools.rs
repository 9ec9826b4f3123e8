//! How much work waits for each pool, in seconds: what an autoscaler acts upon. Role `operator`, and `/metrics`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
};
use protocol::{
    Pipeline, PoolName,
    operate::{PoolList, PoolView},
};

use super::operator;
use crate::{
    problem::{Answer, Failure},
    surface::{Caller, Surface},
};

pub(crate) async fn list(State(surface): State<Surface>, Caller(identity): Caller) -> Answer<Json<PoolList>> {
    operator(&identity)?;
    Ok(Json(PoolList { pools: all(&surface).await? }))
}

pub(crate) async fn one(
    State(surface): State<Surface>,
    Caller(identity): Caller,
    Path(name): Path<String>,
) -> Answer<Json<PoolView>> {
    operator(&identity)?;
    let pool = all(&surface).await?.into_iter().find(|view| view.pool.as_str() == name);
    Ok(Json(pool.ok_or_else(Failure::not_found)?))
}

/// Every pool that a pipeline names, that a worker serves or that something waits for, by name. What nothing waits for
/// stands there too: a scaler that gets no answer keeps what it has.
pub(crate) async fn all(surface: &Surface) -> Answer<Vec<PoolView>> {
    let now = (surface.now)();
    let mut pools = BTreeMap::new();
    for pipeline in surface.orchestrator.pipelines().all() {
        for stage in &pipeline.stages {
            entry(&mut pools, &stage.pool);
        }
    }
    for worker in surface.orchestrator.workers().await? {
        for (pool, slots) in &worker.pools {
            let view = entry(&mut pools, pool);
            view.workers += 1;
            view.slots += u64::from(*slots);
            view.busy_slots += u64::from(worker.busy.get(pool).copied().unwrap_or(0));
        }
    }
    for (pool, waiting, oldest) in surface.store.depth().await? {
        let view = entry(&mut pools, &pool);
        view.waiting = waiting;
        view.oldest_seconds = now.since(oldest) as f64 / 1_000.0;
    }
    for (pool, cost_ms) in surface.store.backlog().await? {
        entry(&mut pools, &pool).backlog_seconds = cost_ms as f64 / 1_000.0;
    }
    // Producers outside wait in a queue of their own for their watchdog, and for no worker.
    pools.retain(|pool, _| pool.as_str() != Pipeline::EXTERNAL);
    let mut pools: Vec<PoolView> = pools.into_values().collect();
    for view in &mut pools {
        view.drain_seconds = (view.slots > 0).then(|| view.backlog_seconds / view.slots as f64);
    }
    Ok(pools)
}

fn entry<'a>(pools: &'a mut BTreeMap<PoolName, PoolView>, pool: &PoolName) -> &'a mut PoolView {
    pools.entry(pool.clone()).or_insert_with(|| PoolView {
        pool: pool.clone(),
        waiting: 0,
        backlog_seconds: 0.0,
        oldest_seconds: 0.0,
        workers: 0,
        slots: 0,
        busy_slots: 0,
        drain_seconds: None,
    })
}
