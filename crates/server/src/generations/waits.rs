//! What snapshots tell of generations that wait: how many come first, and when it will end. Both come from where hints
//! come from, the lanes and the orchestrator's experience, so that who asks and who watches is told the same.

use std::collections::BTreeMap;

use orchestrator::Waiting;
use protocol::{GenerationId, PoolName, State as Stand, http::Snapshot};
use store::{Listed, Rank};

use crate::{
    problem::{Answer, Failure},
    surface::Surface,
};

/// Fills in the places of those of `rows` that stand in a lane; `snapshots` are theirs, in the same order.
pub(super) async fn tell(surface: &Surface, rows: &[Listed], snapshots: &mut [Snapshot]) -> Answer<()> {
    let ranks = ranks(surface, rows).await?;
    let (mut told, mut waiting) = (Vec::new(), Vec::new());
    for (listed, snapshot) in rows.iter().zip(snapshots) {
        let (Some((pool, rank)), Some(_)) = (ranks.get(&listed.generation), &listed.row.queue) else { continue };
        snapshot.queue_position = Some(rank.before + 1);
        let state = serde_json::from_slice(&listed.row.snapshot)
            .map_err(|error| Failure::internal(&format!("state of {}: {error}", listed.generation)))?;
        waiting.push(Waiting { state, pool: pool.clone(), before_ms: rank.before_ms });
        told.push(snapshot);
    }
    if waiting.is_empty() {
        return Ok(());
    }
    for (snapshot, seconds) in told.into_iter().zip(surface.orchestrator.estimates(waiting).await?) {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a wait are far below 2^53")]
        let seconds = seconds.map(|seconds| seconds as f64);
        snapshot.eta = seconds;
    }
    Ok(())
}

/// Where those that wait stand, with the pool they wait for.
async fn ranks(surface: &Surface, rows: &[Listed]) -> Answer<BTreeMap<GenerationId, (PoolName, Rank)>> {
    let mut by_pool: BTreeMap<PoolName, Vec<GenerationId>> = BTreeMap::new();
    for listed in rows.iter().filter(|listed| listed.latest.state == Stand::Queued) {
        if let Some(entry) = &listed.row.queue {
            by_pool.entry(entry.pool.clone()).or_default().push(listed.generation.clone());
        }
    }
    let mut ranks = BTreeMap::new();
    for (pool, generations) in by_pool {
        let found = surface.store.ranks(&pool, &generations).await?;
        ranks.extend(found.into_iter().map(|(generation, rank)| (generation, (pool.clone(), rank))));
    }
    Ok(ranks)
}
