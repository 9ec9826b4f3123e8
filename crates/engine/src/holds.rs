//! What keeps runs from starting and lies in no generation: paused pipelines, open breakers, and how much a tenant or an
//! owner may have under way at once.
//!
//! Each of these is a *gate*, known by a name; whoever keeps the queue leaves out what stands before a closed one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use protocol::{BreakerName, GenerationId, PipelineName, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    breaker::{Breaker, Forced, Reach, Threshold},
    state::State,
};

/// Breakers remembered that have nothing to tell are dropped; of the others there are at most so many: ten times what a
/// product has of stages.
const BREAKERS_MAX: usize = 1_024;

/// Why a run may not start, though a worker is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Hold {
    /// An operator paused its pipeline.
    Pause {
        /// Which one.
        pipeline: PipelineName,
    },
    /// A stage of the run needs what is broken.
    Breaker {
        /// Which one.
        breaker: BreakerName,
    },
    /// Its tenant has as many runs under way as it may.
    Tenant {
        /// So many.
        running_max: usize,
    },
    /// Its owner has as many runs under way as they may.
    Owner {
        /// So many.
        running_max: usize,
    },
}

impl Hold {
    /// Is its owner told, as of something that concerns all? Waiting for one's own earlier work is an ordinary wait.
    #[must_use]
    pub const fn parks(&self) -> bool {
        matches!(self, Self::Pause { .. } | Self::Breaker { .. })
    }
}

/// What a run has to pass to start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// What a stage of it needs is not broken for its owner alone. First in the order, so that the few that are closed are
    /// found among many of owners.
    BreakerOf(BreakerName, TenantId, UserId),
    /// Its pipeline is not paused.
    Pipeline(PipelineName),
    /// What a stage of it needs is not broken.
    Breaker(BreakerName),
    /// Its tenant has room.
    Tenant(TenantId),
    /// Its owner has room.
    Owner(TenantId, UserId),
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline(name) => write!(f, "pipeline {name}"),
            Self::Breaker(name) => write!(f, "breaker {name}"),
            Self::BreakerOf(name, tenant, owner) => {
                write!(f, "breaker {name} of {} {tenant} {owner}", tenant.as_str().len())
            }
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            // The length keeps two pairs from reading alike.
            Self::Owner(tenant, owner) => write!(f, "owner {} {tenant} {owner}", tenant.as_str().len()),
        }
    }
}

/// What one tenant may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Runs under way at once; `None` for as many as there are slots.
    pub running_max: Option<usize>,
    /// The same of each of its owners.
    pub running_per_owner_max: Option<usize>,
}

/// What every tenant may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Whoever is not named.
    pub standard: Share,
    /// Whoever is.
    pub named: BTreeMap<TenantId, Share>,
}

impl Shares {
    fn of(&self, tenant: &TenantId) -> Share {
        self.named.get(tenant).copied().unwrap_or(self.standard)
    }
}

/// The gates.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    threshold: Threshold,
    shares: Shares,
    paused: BTreeSet<PipelineName>,
    breakers: BTreeMap<BreakerName, Breaker>,
    by_tenant: HashMap<TenantId, usize>,
    by_owner: HashMap<(TenantId, UserId), usize>,
}

impl Holds {
    /// All open, nothing under way.
    #[must_use]
    pub fn new(threshold: Threshold, shares: Shares) -> Self {
        Self { threshold, shares, ..Self::default() }
    }

    /// The gates before the run that waits. A clean-up passes all but breakers: it is what ends the work that was let in.
    #[must_use]
    pub fn gates(&self, state: &State) -> Vec<Gate> {
        let mut gates = Vec::new();
        if state.ending.is_none() {
            gates.push(Gate::Pipeline(state.pipeline.name.clone()));
            let share = self.shares.of(&state.tenant);
            if share.running_max.is_some() {
                gates.push(Gate::Tenant(state.tenant.clone()));
            }
            if share.running_per_owner_max.is_some() {
                gates.push(Gate::Owner(state.tenant.clone(), state.owner.clone()));
            }
        }
        for stage in state.run().filter_map(|index| state.pipeline.stage_at(index)) {
            let name = stage.breaker_name();
            gates.push(Gate::Breaker(name.clone()));
            gates.push(Gate::BreakerOf(name, state.tenant.clone(), state.owner.clone()));
        }
        gates
    }

    /// Is `gate` open to those who are not on the way yet?
    #[must_use]
    pub fn is_open(&self, gate: &Gate, now: Timestamp) -> bool {
        match gate {
            Gate::Pipeline(name) => !self.paused.contains(name),
            Gate::Breaker(name) => self.reach(name, now) != Reach::All,
            Gate::BreakerOf(name, tenant, owner) => !self.is_closed_to(name, tenant, owner, now),
            Gate::Tenant(tenant) => self.tenant_hold(tenant).is_none(),
            Gate::Owner(tenant, owner) => self.owner_hold(tenant, owner).is_none(),
        }
    }

    /// Whom a breaker keeps from starting now.
    #[must_use]
    pub fn reach(&self, breaker: &BreakerName, now: Timestamp) -> Reach {
        self.breakers.get(breaker).map_or(Reach::Nobody, |known| known.reach(now))
    }

    fn is_closed_to(&self, breaker: &BreakerName, tenant: &TenantId, owner: &UserId, now: Timestamp) -> bool {
        self.reach(breaker, now) == Reach::OneOwner
            && self.breakers.get(breaker).and_then(Breaker::only_owner) == Some((tenant, owner))
    }

    /// Why the run of `state` may not be offered.
    #[must_use]
    pub fn before_offer(&self, state: &State, now: Timestamp) -> Option<Hold> {
        self.before_start(state, now).or_else(|| {
            if state.ending.is_some() {
                return None;
            }
            self.tenant_hold(&state.tenant).or_else(|| self.owner_hold(&state.tenant, &state.owner))
        })
    }

    /// Why the run of `state`, which was offered and is counted, may not start.
    #[must_use]
    pub fn before_start(&self, state: &State, now: Timestamp) -> Option<Hold> {
        self.gates(state).into_iter().find_map(|gate| match gate {
            Gate::Pipeline(pipeline) if self.paused.contains(&pipeline) => Some(Hold::Pause { pipeline }),
            Gate::Breaker(breaker) if self.breakers.get(&breaker).is_some_and(|known| !known.lets(state, now)) => {
                Some(Hold::Breaker { breaker })
            }
            _ => None,
        })
    }

    fn tenant_hold(&self, tenant: &TenantId) -> Option<Hold> {
        let running_max = self.shares.of(tenant).running_max?;
        let running = self.by_tenant.get(tenant).copied().unwrap_or(0);
        (running >= running_max).then_some(Hold::Tenant { running_max })
    }

    fn owner_hold(&self, tenant: &TenantId, owner: &UserId) -> Option<Hold> {
        let running_max = self.shares.of(tenant).running_per_owner_max?;
        let running = self.by_owner.get(&(tenant.clone(), owner.clone())).copied().unwrap_or(0);
        (running >= running_max).then_some(Hold::Owner { running_max })
    }

    /// Pauses a pipeline, or lets it go on.
    pub fn pause(&mut self, pipeline: &PipelineName, paused: bool) {
        if paused {
            self.paused.insert(pipeline.clone());
        } else {
            self.paused.remove(pipeline);
        }
    }

    /// Which pipelines are paused.
    #[must_use]
    pub const fn paused(&self) -> &BTreeSet<PipelineName> {
        &self.paused
    }

    /// An operator decides on a breaker, or no longer does.
    pub fn force(&mut self, breaker: &BreakerName, forced: Option<Forced>) {
        self.with_breaker(breaker, |breaker| breaker.force(forced));
    }

    /// The breakers that have something to tell.
    #[must_use]
    pub const fn breakers(&self) -> &BTreeMap<BreakerName, Breaker> {
        &self.breakers
    }

    /// A run of `state` is offered or adopted: it counts, and may be a probe.
    pub fn taken(&mut self, state: &State, now: Timestamp) {
        *self.by_tenant.entry(state.tenant.clone()).or_default() += 1;
        *self.by_owner.entry((state.tenant.clone(), state.owner.clone())).or_default() += 1;
        for gate in self.gates(state) {
            if let Gate::Breaker(name) = gate
                && let Some(breaker) = self.breakers.get_mut(&name)
            {
                breaker.taken(state, now);
            }
        }
    }

    /// An offer came to nothing, or a run is over.
    pub fn left(&mut self, generation: &GenerationId, tenant: &TenantId, owner: &UserId, now: Timestamp) {
        leave(&mut self.by_tenant, tenant.clone());
        leave(&mut self.by_owner, (tenant.clone(), owner.clone()));
        for breaker in self.breakers.values_mut() {
            breaker.left(generation, now);
        }
    }

    /// A stage ended well.
    pub fn succeeded(&mut self, breaker: &BreakerName, state: &State) {
        if self.breakers.contains_key(breaker) {
            self.with_breaker(breaker, |breaker| breaker.succeeded(state));
        }
    }

    /// A stage failed in a way that counts.
    pub fn failed(&mut self, breaker: &BreakerName, state: &State, now: Timestamp) {
        let threshold = self.threshold;
        self.with_breaker(breaker, |breaker| breaker.failed(state, threshold, now));
    }

    fn with_breaker(&mut self, name: &BreakerName, change: impl FnOnce(&mut Breaker)) {
        if !self.breakers.contains_key(name) && self.breakers.len() >= BREAKERS_MAX {
            return;
        }
        let breaker = self.breakers.entry(name.clone()).or_default();
        change(breaker);
        if breaker.is_at_rest() {
            self.breakers.remove(name);
        }
    }
}

fn leave<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
