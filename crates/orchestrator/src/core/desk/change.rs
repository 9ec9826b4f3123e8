//! What is written: a decided command as a change of the store, its row and its lane's charge.

use std::sync::Arc;

use engine::{Action, Event as Decided, Phase, State};
use protocol::{Durability, GenerationId, Sequence};
use store::{Change, Charge, Lease, NewEvent, QueueEntry, Row, Shares};

use super::{Task, Work};
use crate::core::Core;

impl Core {
    pub(super) fn change(
        &self,
        generation: &GenerationId,
        work: &Work,
        before: Option<&State>,
        after: &State,
        events: &[Decided],
    ) -> Option<Change> {
        let Task::Decide { command, birth } = &work.task else { return None };
        let edge = events.iter().any(Decided::is_edge);
        Some(Change {
            generation: generation.clone(),
            command: command.id.clone(),
            expected: before.map_or(Sequence(0), |state| state.sequence),
            events: events
                .iter()
                .map(|event| NewEvent { event: Arc::clone(&event.show), fact: event.fact_bytes() })
                .collect(),
            row: edge.then(|| self.row(generation, after)),
            claim: birth.as_ref().and_then(|birth| birth.claim.clone()),
            charge: self.charge(generation, before, after),
            shares: shares(&command.action),
            letter: engine::letter(after, events).map(Box::new),
            redrives: birth.as_ref().and_then(|birth| birth.redrives.clone()),
            durability: match after.pipeline.durability {
                Durability::Relaxed => Durability::Relaxed,
                Durability::Strict | Durability::Relay => Durability::Strict,
            },
        })
    }

    fn row(&self, generation: &GenerationId, state: &State) -> Row {
        let projection = engine::project(state);
        let external = || QueueEntry {
            // The watchdog of producers outside is a queue nobody works on: what becomes eligible has been silent too long.
            pool: protocol::PoolName::new(protocol::Pipeline::EXTERNAL).expect("a literal pool name is valid"),
            order: i64::try_from(state.created_at.0).unwrap_or(i64::MAX),
            not_before: state.updated_at.plus(self.config.external_stall_ms),
            cost_ms: 0,
            gates: Vec::new(),
        };
        Row {
            owner: state.owner.clone(),
            tenant: state.tenant.clone(),
            state: projection.state,
            pipeline: projection.pipeline,
            snapshot: serde_json::to_vec(state).expect("a state of text keys and numbers is always JSON"),
            created_at: state.created_at,
            updated_at: state.updated_at,
            queue: match state.phase {
                Phase::External => Some(external()),
                _ => projection.queue.map(|place| QueueEntry {
                    pool: place.pool,
                    order: place.order,
                    not_before: place.not_before,
                    cost_ms: i64::try_from(self.experience.run_ms(state)).unwrap_or(i64::MAX),
                    gates: self.holds.gates(state).iter().map(ToString::to_string).collect(),
                }),
            },
            lease: state.holder.as_ref().map(|holder| Lease {
                generation: generation.clone(),
                lease: holder.lease.clone(),
                fence: state.fence,
                worker: holder.worker.to_string(),
                node: holder.node.to_string(),
            }),
            due_at: state.expires_at(),
        }
    }

    /// A lane is charged when work starts, and corrected by what it really took when it ends.
    fn charge(&self, generation: &GenerationId, before: Option<&State>, after: &State) -> Option<Charge> {
        let before = before?;
        let started = after.holder.is_some() && before.fence != after.fence;
        if let Some(holder) = after.holder.as_ref().filter(|_| started) {
            let pool = before.pool_here()?.clone();
            return Some(Charge { tenant: after.tenant.clone(), pool, cost_ms: holder.charged_ms });
        }
        let holder = before.holder.as_ref().filter(|_| after.holder.is_none())?;
        let clock = self.leases.get(generation)?;
        // A slot that was released early cost only until then.
        let until = clock.released_at.unwrap_or(self.now);
        let took = i64::try_from(until.since(holder.since)).unwrap_or(i64::MAX);
        let cost_ms = took.saturating_sub(clock.predicted_ms);
        Some(Charge { tenant: after.tenant.clone(), pool: clock.pool.clone(), cost_ms })
    }
}

/// The files of a retried generation, which the new one names as its own.
fn shares(action: &Action) -> Option<Shares> {
    let Action::Submit(submit) = action else { return None };
    let from = submit.request.retry_of.clone().filter(|_| !submit.request.kept.is_empty())?;
    Some(Shares { from, names: submit.request.kept.iter().map(|(_, artifact)| artifact.name.clone()).collect() })
}
