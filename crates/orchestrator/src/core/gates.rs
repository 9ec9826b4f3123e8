//! Gates: tells the queue which of them are closed, and owners what holds their work back. Whether one is open is the
//! engine's to say ([`engine::Holds`]); here it is noticed that it changed.

use engine::{
    Action, Event as Decided, Fact, Gate, Hold, State,
    breaker::{self, Reach},
};
use protocol::{BreakerName, GenerationId, PipelineName, TenantId, Timestamp, UserId};
use serde::Serialize;

use super::{
    Core, Effect,
    desk::{Task, Then},
    timers::Timer,
};

/// What an operator decides about gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// New runs of a pipeline start, or do not.
    Pause {
        /// Which one.
        pipeline: PipelineName,
        /// Do they not?
        paused: bool,
    },
    /// A breaker is held open or closed, or left to itself.
    Force {
        /// Which one.
        breaker: BreakerName,
        /// How.
        forced: Option<breaker::Forced>,
    },
}

/// A breaker, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    /// `<stage>:<backend>`.
    pub breaker: BreakerName,
    /// `closed`, `open`, or `probing` while one run may show whether all is well again.
    pub state: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// When a probe may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<GenerationId>,
    /// The only owner it concerns, while all failures in a row were of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// That owner's tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What an operator decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced: Option<breaker::Forced>,
}

/// The gates an operator steers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatesView {
    /// Paused pipelines.
    pub paused: Vec<PipelineName>,
    /// Breakers that have something to tell.
    pub breakers: Vec<BreakerView>,
}

impl Core {
    /// What operators decided in an earlier run of this node. Whoever it concerns was told then.
    pub fn adopt_switches(&mut self, switches: &[Switch]) {
        for switch in switches {
            let gate = self.turn(switch);
            self.retell([gate]);
        }
    }

    /// An operator decided; it was stored before.
    pub(super) fn switch(&mut self, switch: &Switch) {
        let gate = self.turn(switch);
        self.retell([gate.clone()]);
        self.look_again();
        self.effects.push(Effect::FindWaiting(gate));
    }

    fn turn(&mut self, switch: &Switch) -> Gate {
        match switch {
            Switch::Pause { pipeline, paused } => {
                self.holds.pause(pipeline, *paused);
                Gate::Pipeline(pipeline.clone())
            }
            Switch::Force { breaker, forced } => {
                self.holds.force(breaker, *forced);
                Gate::Breaker(breaker.clone())
            }
        }
    }

    /// Those that wait before a gate that changed hear of it.
    pub(super) fn waiting(&mut self, gate: &Gate, generations: Vec<GenerationId>) {
        let open = match gate {
            Gate::Breaker(name) => self.holds.reach(name, self.now) == Reach::Nobody,
            _ => self.holds.is_open(gate, self.now),
        };
        for generation in generations {
            // Whom it does not concern refuses to be told.
            let action = if open { Action::Unpark } else { Action::Park };
            let command = engine::Command { id: self.command_id(), action };
            self.put(&generation, Task::Decide { command, birth: None }, Then::May);
        }
    }

    /// A run is offered or adopted.
    pub(super) fn taken(&mut self, state: &State) {
        self.holds.taken(state, self.now);
        self.retell(self.holds.gates(state));
    }

    /// An offer came to nothing, or a run is over.
    pub(super) fn left(&mut self, generation: &GenerationId, tenant: &TenantId, owner: &UserId) {
        self.holds.left(generation, tenant, owner, self.now);
        self.retell([Gate::Tenant(tenant.clone()), Gate::Owner(tenant.clone(), owner.clone())]);
        self.retell_breakers();
    }

    /// What stages say of what they lean on.
    pub(super) fn follow_breakers(&mut self, after: &State, events: &[Decided]) {
        for event in events {
            let (stage, failed) = match &event.fact {
                Fact::StageCompleted { stage, .. } => (stage, None),
                Fact::StageFailed { stage, kind, .. } => (stage, Some(*kind)),
                _ => continue,
            };
            let all = after.pipeline.stages.iter().chain(after.pipeline.on_failed.as_deref());
            let Some(definition) = all.into_iter().find(|one| one.name == *stage) else { continue };
            let name = definition.breaker_name();
            let known = self.holds.breakers().contains_key(&name);
            let before = self.holds.reach(&name, self.now);
            let was_open = before != Reach::Nobody || self.is_for_one(&name);
            match failed {
                Some(kind) if breaker::counts(kind) => self.holds.failed(&name, after, self.now),
                Some(_) => continue,
                None => self.holds.succeeded(&name, after),
            }
            let gate = Gate::Breaker(name.clone());
            self.retell([gate.clone()]);
            let reach = self.holds.reach(&name, self.now);
            let closed_for_good = known && !self.holds.breakers().contains_key(&name);
            if reach != before && reach != Reach::Nobody || was_open && closed_for_good {
                tracing::warn!(breaker = %name, reach = ?reach, "breaker turned");
                self.look_again();
                self.effects.push(Effect::FindWaiting(gate));
            }
        }
    }

    /// A breaker's time is up: one run may pass.
    pub(super) fn check_breaker(&mut self, breaker: &BreakerName) {
        self.retell([Gate::Breaker(breaker.clone())]);
    }

    /// Is it open for one owner alone?
    fn is_for_one(&self, breaker: &BreakerName) -> bool {
        self.holds.breakers().get(breaker).is_some_and(|known| known.only_owner().is_some())
    }

    fn retell_breakers(&mut self) {
        let breakers: Vec<_> = self.holds.breakers().keys().cloned().map(Gate::Breaker).collect();
        self.retell(breakers);
    }

    /// With a breaker's gate go those of the owner it is open for, or was.
    fn with_owners(&self, gate: Gate) -> Vec<Gate> {
        let Gate::Breaker(name) = &gate else { return vec![gate] };
        let of_owners = self.closed.iter().take_while(|gate| matches!(gate, Gate::BreakerOf(..)));
        let was = of_owners.filter(|gate| matches!(gate, Gate::BreakerOf(breaker, ..) if breaker == name)).cloned();
        let is = self.holds.breakers().get(name).and_then(breaker::Breaker::only_owner);
        let is = is.map(|(tenant, owner)| Gate::BreakerOf(name.clone(), tenant.clone(), owner.clone()));
        was.chain(is).chain([gate.clone()]).collect()
    }

    /// Tells the queue of gates that changed.
    fn retell(&mut self, gates: impl IntoIterator<Item = Gate>) {
        let mut opened = false;
        let gates: Vec<_> = gates.into_iter().flat_map(|gate| self.with_owners(gate)).collect();
        for gate in gates {
            let open = self.holds.is_open(&gate, self.now);
            if let Gate::Breaker(name) = &gate
                && let Some(breaker::Standing::Open { until }) = self.holds.breakers().get(name).map(|b| b.standing())
                && *until > self.now
            {
                self.timers.arm(Timer::Breaker(name.clone()), *until);
            }
            let changed = if open { self.closed.remove(&gate) } else { self.closed.insert(gate.clone()) };
            if changed {
                self.effects.push(Effect::Gate { name: gate.to_string(), open });
                opened |= open;
            }
        }
        if opened {
            self.look_again();
        }
    }

    /// Is an entry of the queue kept out of its lane by what holds it back? One written before a bound was set is not.
    pub(super) fn is_gated(&self, hold: &Hold, state: &State, gates: &[String]) -> bool {
        let (tenant, owner) = (state.tenant.clone(), state.owner.clone());
        let in_its_way = match hold {
            Hold::Pause { pipeline } => vec![Gate::Pipeline(pipeline.clone())],
            Hold::Breaker { breaker } => {
                vec![Gate::Breaker(breaker.clone()), Gate::BreakerOf(breaker.clone(), tenant, owner)]
            }
            Hold::Tenant { .. } => vec![Gate::Tenant(tenant)],
            Hold::Owner { .. } => vec![Gate::Owner(tenant, owner)],
        };
        in_its_way.iter().any(|gate| gates.contains(&gate.to_string()) && self.closed.contains(gate))
    }

    pub(super) fn gates_view(&self) -> GatesView {
        let view = |(name, one): (&BreakerName, &breaker::Breaker)| {
            let (state, until, probe) = match one.standing() {
                breaker::Standing::Closed => ("closed", None, None),
                breaker::Standing::Open { until } => ("open", Some(*until), None),
                breaker::Standing::Probing { generation } => ("probing", None, Some(generation.clone())),
            };
            let state = match one.forced() {
                Some(breaker::Forced::Open) => "open",
                Some(breaker::Forced::Closed) => "closed",
                None => state,
            };
            let only = one.only_owner();
            BreakerView {
                breaker: name.clone(),
                state,
                failures: one.failures(),
                until,
                probe,
                owner: only.map(|(_, owner)| owner.clone()),
                tenant: only.map(|(tenant, _)| tenant.clone()),
                forced: one.forced(),
            }
        };
        GatesView {
            paused: self.holds.paused().iter().cloned().collect(),
            breakers: self.holds.breakers().iter().map(view).collect(),
        }
    }
}
