//! Why a generation is where it is: the first thing that keeps it from running, in the order in which dispatch looks at
//! them. Pure over what was read; reading is in `operate`.

use std::collections::{BTreeMap, HashMap};

use orchestrator::WorkerView;
use protocol::{
    BreakerName, GenerationId, Pipeline, PipelineName, PoolName, State as Stand, Timestamp, WorkerId,
    http::Priority,
    limits,
    operate::{Place, Reason},
};
use serde::Deserialize;
use store::{Listed, QueueEntry};

use crate::problem::{Answer, Failure};

/// What is read of the engine's state. The rest of it is the engine's alone.
#[derive(Deserialize)]
struct Shown {
    priority: Priority,
    parked: Option<Parked>,
}

/// What its owner was told keeps it from running.
#[derive(Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
enum Parked {
    Pause {
        pipeline: PipelineName,
    },
    Breaker {
        breaker: BreakerName,
    },
    #[serde(other)]
    Other,
}

/// What answers depend on, read once for all of them.
pub(super) struct Scene {
    pub(super) now: Timestamp,
    pub(super) workers: Vec<WorkerView>,
    /// How many come first, of those that are in a lane.
    pub(super) ranks: HashMap<GenerationId, u64>,
}

/// Workers of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Crew {
    connected: usize,
    /// Heard lately, and not about to leave.
    able: usize,
    /// Slots of the able that are free.
    free: u32,
}

impl Scene {
    /// Where `listed` stands, and why.
    pub(super) fn place(&self, listed: &Listed) -> Answer<Place> {
        let shown: Shown = serde_json::from_slice(&listed.row.snapshot)
            .map_err(|error| Failure::internal(&format!("state of {}: {error}", listed.generation)))?;
        let state = listed.latest.state;
        // What a producer outside writes waits for its watchdog, not for a worker.
        let entry = listed.row.queue.as_ref().filter(|_| state == Stand::Queued && !is_external(listed));
        let pool = entry.map(|entry| entry.pool.clone());
        let crew = pool.as_ref().map(|pool| self.crew(pool)).unwrap_or_default();
        let before = entry.and_then(|_| self.ranks.get(&listed.generation)).copied();
        let not_before = entry.map(|entry| entry.not_before).filter(|at| *at > self.now);
        let reason = match entry {
            Some(entry) => {
                held(entry, shown.parked, before, not_before).unwrap_or_else(|| waits(crew, before, not_before))
            }
            None => stands(listed),
        };
        Ok(Place {
            why: self.say(&reason, state, pool.as_ref()),
            generation: listed.generation.clone(),
            tenant: listed.row.tenant.clone(),
            owner: listed.row.owner.clone(),
            state,
            stage: listed.latest.stage.clone(),
            priority: shown.priority,
            submitted_at: listed.row.created_at,
            pool,
            queue_position: before.map(|before| before + 1),
            not_before,
            workers: crew.connected,
            free_slots: crew.free,
            reason,
        })
    }

    fn crew(&self, pool: &PoolName) -> Crew {
        let mut crew = Crew::default();
        for worker in self.workers.iter().filter(|worker| worker.pools.contains_key(pool)) {
            crew.connected += 1;
            if worker.draining || self.now.since(worker.heard_at) > limits::CAPACITY_WINDOW_MS {
                continue;
            }
            let of = |slots: &BTreeMap<PoolName, u32>| slots.get(pool).copied().unwrap_or(0);
            crew.able += 1;
            crew.free += of(&worker.pools).saturating_sub(of(&worker.busy));
        }
        crew
    }

    /// The same for people.
    fn say(&self, reason: &Reason, state: Stand, pool: Option<&PoolName>) -> String {
        let pool = pool.map_or("nobody", PoolName::as_str);
        match reason {
            Reason::Running { worker } => format!("it is running on {worker}"),
            Reason::Cancelling { worker: Some(worker) } => format!("it was cancelled, and {worker} has yet to stop"),
            Reason::Cancelling { worker: None } => "it was cancelled, and its clean-up is under way".to_owned(),
            Reason::Ended => format!("it is {}", state.as_str()),
            Reason::External => "a producer outside writes it".to_owned(),
            Reason::RetryAt { at } => format!("it waits {} ms more before its next try", at.since(self.now)),
            Reason::NoWorker => format!("no worker of pool {pool} is connected"),
            Reason::NoAbleWorker => {
                format!("every worker of pool {pool} is silent or about to leave")
            }
            Reason::NoFreeSlot => format!("no slot of pool {pool} is free"),
            Reason::Paused { pipeline } => format!("pipeline {pipeline} is paused"),
            Reason::BreakerOpen { breaker } => format!("breaker {breaker} is open: what it needs is broken"),
            Reason::TenantLimit => "its tenant has as many under way as it may".to_owned(),
            Reason::OwnerLimit => "its owner has as many under way as they may".to_owned(),
            Reason::TenantOrOwnerLimit => "its tenant or its owner has as many under way as they may".to_owned(),
            Reason::Behind { before: 1 } => "one comes first".to_owned(),
            Reason::Behind { before } => format!("{before} come first"),
            Reason::Next => "it is next, and about to be offered".to_owned(),
        }
    }
}

/// What keeps something from running that is no want of workers: what its owner was told, or a bound on how much runs at
/// once, whose gate keeps it out of its lane.
fn held(
    entry: &QueueEntry,
    parked: Option<Parked>,
    position: Option<u64>,
    not_before: Option<Timestamp>,
) -> Option<Reason> {
    match parked {
        Some(Parked::Pause { pipeline }) => return Some(Reason::Paused { pipeline }),
        Some(Parked::Breaker { breaker }) => return Some(Reason::BreakerOpen { breaker }),
        Some(Parked::Other) | None => {}
    }
    if position.is_some() || not_before.is_some() {
        return None;
    }
    let limited = |whose: &str| entry.gates.iter().any(|gate| gate.starts_with(whose));
    match (limited("tenant "), limited("owner ")) {
        (true, true) => Some(Reason::TenantOrOwnerLimit),
        (true, false) => Some(Reason::TenantLimit),
        (false, true) => Some(Reason::OwnerLimit),
        (false, false) => None,
    }
}

/// Why something waits that nothing but its turn keeps from running.
fn waits(crew: Crew, position: Option<u64>, not_before: Option<Timestamp>) -> Reason {
    match (not_before, crew, position) {
        (Some(at), ..) => Reason::RetryAt { at },
        (_, Crew { connected: 0, .. }, _) => Reason::NoWorker,
        (_, Crew { able: 0, .. }, _) => Reason::NoAbleWorker,
        (_, Crew { free: 0, .. }, _) => Reason::NoFreeSlot,
        (_, _, Some(before @ 1..)) => Reason::Behind { before },
        _ => Reason::Next,
    }
}

fn is_external(listed: &Listed) -> bool {
    listed.row.pipeline.split('@').next() == Some(Pipeline::EXTERNAL)
}

/// What it is that does not wait.
fn stands(listed: &Listed) -> Reason {
    let worker = listed.row.lease.as_ref().and_then(|lease| lease.worker.parse::<WorkerId>().ok());
    match (listed.latest.state, worker) {
        (state, _) if state.is_terminal() => Reason::Ended,
        (_, _) if is_external(listed) => Reason::External,
        (Stand::Cancelling, worker) => Reason::Cancelling { worker },
        (_, Some(worker)) => Reason::Running { worker },
        // Its row was read between two changes of it.
        (_, None) => Reason::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(connected: usize, able: usize, free: u32) -> Crew {
        Crew { connected, able, free }
    }

    #[test]
    fn the_first_thing_in_the_way_is_the_reason() {
        let at = Timestamp(9);
        for (crew, position, not_before, reason) in [
            (crew(0, 0, 0), Some(3), Some(at), Reason::RetryAt { at }),
            (crew(0, 0, 0), Some(3), None, Reason::NoWorker),
            (crew(2, 0, 0), Some(3), None, Reason::NoAbleWorker),
            (crew(2, 1, 0), Some(3), None, Reason::NoFreeSlot),
            (crew(2, 1, 1), Some(3), None, Reason::Behind { before: 3 }),
            (crew(2, 1, 1), Some(0), None, Reason::Next),
            (crew(2, 1, 1), None, None, Reason::Next),
        ] {
            assert_eq!(waits(crew, position, not_before), reason);
        }
    }

    #[test]
    fn silent_and_leaving_workers_are_connected_and_not_able() {
        let now = Timestamp(100_000);
        let worker = |heard_at: u64, draining: bool, busy: u32| {
            let slots = |count: u32| [("gpu".parse().unwrap(), count)].into_iter().collect();
            WorkerView {
                worker: "w".parse().unwrap(),
                instance: "1".into(),
                pools: slots(2),
                busy: slots(busy),
                tokens: 1,
                draining,
                heard_at: Timestamp(heard_at),
                labels: BTreeMap::new(),
                sdk: None,
                generations: Vec::new(),
            }
        };
        let silent = now.0 - limits::CAPACITY_WINDOW_MS - 1;
        let workers = vec![worker(now.0, false, 1), worker(silent, false, 0), worker(now.0, true, 0)];
        let scene = Scene { now, workers, ranks: HashMap::new() };
        assert_eq!(scene.crew(&"gpu".parse().unwrap()), crew(3, 1, 1));
        assert_eq!(scene.crew(&"cpu".parse().unwrap()), Crew::default());
    }
}
