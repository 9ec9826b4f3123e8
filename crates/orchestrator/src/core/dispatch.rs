//! Dispatch: reserve, offer, accept, grant. No token or slot, no offer: the work waits, in order, it is not dropped.
//! Reserving and offering change no state; a crash in between leaves nothing.

use std::collections::HashMap;

use engine::{Action, Flaw, Grant, Loss, Phase, State};
use protocol::{
    Attempt, CommandId, GenerationId, LeaseId, OfferId, PoolName, TenantId, Timestamp, UserId, limits,
    worker::{Deadlines, OfferedStage, RunInputs, ServerMessage},
};
use store::{QueueEntry, Queued, StoreError};

use super::{
    Core, Effect, SessionId,
    desk::{Task, Then},
    leases::LeaseClock,
    sessions::Session,
    timers::Timer,
};

/// Work reserved at once: two heartbeats' worth of tokens of a worker; more would only wait under a reservation.
const RESERVE_MAX: usize = 16;
/// Reserved beyond the free slots, to get past work that waits for one worker or was declined: what one worker can
/// decline between two heartbeats, times three.
const PASSED_MAX: usize = 32;
/// A reservation outlives its offer by this, in milliseconds, so that the offer's own end gives it back first.
const RESERVATION_SLACK_MS: u64 = 1_000;
/// Handed out and not read, one after another, before the pool rests: a damaged page holds fewer generations. When more
/// fail it is the store that cannot be read, and asking for the whole queue would be for nothing.
const UNREAD_MAX: usize = 32;
/// After a store that did not answer, the pool is looked at again, in milliseconds.
const RESERVE_RETRY_MS: u64 = 1_000;

/// What is known of a pool's queue.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// A reservation is under way.
    reserving: bool,
    /// Something changed while it was.
    again: bool,
    /// Handed out by the queue and on the way to a worker: each will want a slot.
    loading: usize,
    /// Of them, how many could not be read since one could.
    unread: usize,
    /// So many could not that nothing is asked before this.
    rests_until: Timestamp,
    /// Nothing was eligible when last asked; nothing is asked until something changes.
    empty: bool,
    /// Who held which run last: its memory may hold the inputs of the next.
    last_holder: HashMap<GenerationId, (protocol::WorkerId, Timestamp)>,
}

/// A run offered to one worker.
#[derive(Debug)]
pub(super) struct Offer {
    generation: GenerationId,
    tenant: TenantId,
    owner: UserId,
    pub(super) session: SessionId,
    pool: PoolName,
    predicted_ms: i64,
    accepted: bool,
}

impl Core {
    /// Something changed in a pool: work came, a slot fell free, a time was reached. A pool no worker serves is not
    /// remembered: whoever comes to serve it kicks it.
    pub(super) fn kick(&mut self, pool: &PoolName) {
        if !self.is_served(pool) {
            if self.pools.get(pool).is_some_and(|known| !known.reserving) {
                self.pools.remove(pool);
            }
            return;
        }
        let entry = self.pools.entry(pool.clone()).or_default();
        entry.empty = false;
        entry.again = true;
        self.pump(pool);
    }

    fn is_served(&self, pool: &PoolName) -> bool {
        pool.as_str() == protocol::Pipeline::EXTERNAL || self.sessions.values().any(|session| session.has_pool(pool))
    }

    /// Asks for as much work as there are free slots, unless it was asked already or nothing is there.
    pub(super) fn pump(&mut self, pool: &PoolName) {
        if self.is_draining() {
            return;
        }
        let external = pool.as_str() == protocol::Pipeline::EXTERNAL;
        let free = if external { RESERVE_MAX } else { self.free_slots(pool) };
        let Some(entry) = self.pools.get_mut(pool) else { return };
        let free = free.saturating_sub(entry.loading);
        if entry.reserving || entry.empty || free == 0 || entry.rests_until > self.now {
            return;
        }
        entry.reserving = true;
        entry.again = false;
        let until = self.now.plus(limits::OFFER_TIMEOUT_MS + RESERVATION_SLACK_MS);
        let count = free.min(RESERVE_MAX) + self.passed_over(pool).min(PASSED_MAX);
        self.effects.push(Effect::Reserve { pool: pool.clone(), count, until });
    }

    /// Most that may stand at the head of the queue and cannot be offered now: without asking for so much more, one run
    /// that nobody takes would hide all behind it.
    fn passed_over(&self, pool: &PoolName) -> usize {
        let now = self.now;
        let declined = |session: &Session| match session.serves(pool) {
            true => session.declined.values().filter(|until| **until > now).count(),
            false => 0,
        };
        let waiting = self
            .pools
            .get(pool)
            .map_or(0, |pool| pool.last_holder.values().filter(|(_, at)| now.since(*at) < limits::AFFINITY_MS).count());
        self.sessions.values().map(declined).sum::<usize>() + waiting
    }

    pub(super) fn reserved(
        &mut self,
        pool: &PoolName,
        asked: usize,
        result: Result<(Vec<Queued>, Option<Timestamp>), StoreError>,
    ) {
        let Some(entry) = self.pools.get_mut(pool) else { return };
        entry.reserving = false;
        let (queued, next) = match result {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(pool = %pool, error = %error, "the queue cannot be read");
                entry.empty = true;
                self.timers.arm(Timer::Pool(pool.clone()), self.now.plus(RESERVE_RETRY_MS));
                return;
            }
        };
        entry.empty = queued.len() < asked && !entry.again;
        if let Some(at) = next {
            self.timers.arm(Timer::Pool(pool.clone()), at.max(self.now.plus(1)));
        }
        if pool.as_str() != protocol::Pipeline::EXTERNAL {
            entry.loading += queued.len();
        }
        for one in queued {
            if pool.as_str() == protocol::Pipeline::EXTERNAL {
                self.external_is_silent(&one.generation);
            } else {
                self.put(&one.generation.clone(), Task::Offer(one), Then::May);
            }
        }
        self.pump(pool);
    }

    fn external_is_silent(&mut self, generation: &GenerationId) {
        let command = engine::Command { id: self.command_id(), action: Action::ExternalStalled };
        self.put(generation, Task::Decide { command, birth: None }, Then::Must);
    }

    /// Offers a reserved run, its generation being in memory.
    pub(super) fn offer(&mut self, queued: Queued) {
        let generation = queued.generation;
        let pool = queued.entry.pool.clone();
        self.loaded_for(&pool);
        if self.is_offered(&generation) && self.config.flaw != Some(Flaw::DoubleGrant) {
            // It was so long on its way that its reservation ended before its offer, which gives this one back too.
            self.kick(&pool);
            return;
        }
        if self.is_draining() {
            self.effects.push(Effect::Unreserve(generation));
            return;
        }
        let fits = self.state(&generation).is_some_and(|state| {
            state.phase == Phase::Queued && state.not_before <= self.now && state.pool_here() == Some(&pool)
        });
        if !fits {
            // What moved it is on its way to the store and ends the reservation; the next in line need not wait for that.
            self.kick(&pool);
            return;
        }
        if self.is_held_back(&generation, &queued.entry) {
            self.kick(&pool);
            return;
        }
        let session = self.choose(&generation, &pool);
        let (Some(session), Some(state)) = (session, self.state(&generation).cloned()) else {
            self.effects.push(Effect::Unreserve(generation));
            if let Some(entry) = self.pools.get_mut(&pool) {
                // Still there, and nobody can take it now: asking again at once would only turn in a circle. Whatever
                // changes that (a slot, a heartbeat, a time) kicks the pool.
                entry.empty = true;
            }
            return;
        };
        let random = self.random_bytes();
        let id = OfferId::generate(random);
        let predicted_ms = queued.entry.cost_ms;
        let (tenant, owner) = (state.tenant.clone(), state.owner.clone());
        if self.config.flaw == Some(Flaw::DoubleGrant) {
            self.effects.push(Effect::Unreserve(generation.clone()));
        }
        let offer = Offer { generation, tenant, owner, session, pool: pool.clone(), predicted_ms, accepted: false };
        if let Some(session) = self.sessions.get_mut(&session) {
            session.tokens = session.tokens.saturating_sub(1);
            *session.busy.entry(pool).or_default() += 1;
        }
        self.timers.arm(Timer::Offer(id.clone()), self.now.plus(limits::OFFER_TIMEOUT_MS));
        self.offers.insert(id.clone(), offer);
        self.taken(&state);
        self.send(session, offer_message(id, &state));
    }

    /// Is it in a worker's hands already, to take or to leave?
    fn is_offered(&self, generation: &GenerationId) -> bool {
        self.offers.values().any(|offer| offer.generation == *generation)
    }

    /// One that was on its way to a worker is there.
    fn loaded_for(&mut self, pool: &PoolName) {
        if let Some(known) = self.pools.get_mut(pool) {
            known.loading = known.loading.saturating_sub(1);
            known.unread = 0;
        }
    }

    /// One that was on its way to a worker cannot be read. Given back, it would be the first to be handed out again, and
    /// keep the slot from all behind it: it stays reserved until that ends by itself, and the next in line has its turn.
    pub(super) fn pass_over(&mut self, queued: &Queued) {
        let pool = &queued.entry.pool;
        let Some(known) = self.pools.get_mut(pool) else { return };
        known.loading = known.loading.saturating_sub(1);
        known.unread += 1;
        if known.unread < UNREAD_MAX {
            self.kick(pool);
            return;
        }
        let until = self.now.plus(RESERVE_RETRY_MS);
        (known.unread, known.rests_until) = (0, until);
        self.timers.arm(Timer::Pool(pool.clone()), until);
    }

    /// Does something outside it keep its run from starting? Then it goes back to the queue, which leaves it out until the
    /// gate opens. What no gate of the queue stands for (an entry written before a bound was set) keeps its reservation
    /// instead, and is looked at when that ends.
    fn is_held_back(&mut self, generation: &GenerationId, entry: &QueueEntry) -> bool {
        let Some(state) = self.state(generation).cloned() else { return false };
        let Some(hold) = self.holds.before_offer(&state, self.now) else { return false };
        if self.is_gated(&hold, &state, &entry.gates) {
            self.effects.push(Effect::Unreserve(generation.clone()));
        } else {
            let now = self.now;
            self.passed_by.retain(|_, at| now.since(*at) < limits::OFFER_TIMEOUT_MS);
            self.passed_by.insert(generation.clone(), now);
        }
        true
    }

    /// What was passed by is looked at again. Younger than an offer, its reservation has surely not ended yet: nobody
    /// else's is given back.
    pub(super) fn look_again(&mut self) {
        for (generation, at) in std::mem::take(&mut self.passed_by) {
            if self.now.since(at) < limits::OFFER_TIMEOUT_MS {
                self.effects.push(Effect::Unreserve(generation));
            }
        }
        let pools: Vec<_> = self.pools.keys().cloned().collect();
        for pool in pools {
            self.kick(&pool);
        }
    }

    /// The worker that held the last run comes first (its memory may hold the inputs), then most tokens, then most room.
    fn choose(&mut self, generation: &GenerationId, pool: &PoolName) -> Option<SessionId> {
        let last = self.pools.get(pool).and_then(|pool| pool.last_holder.get(generation)).cloned();
        let now = self.now;
        let known = last.filter(|(_, at)| now.since(*at) < limits::AFFINITY_MS);
        let mut best: Option<(bool, u32, usize, std::cmp::Reverse<SessionId>)> = None;
        let mut waits_for_known = None;
        for (id, session) in &self.sessions {
            let is_known = known.as_ref().is_some_and(|(worker, _)| session.is_worker(worker));
            let room = session.room(pool, now);
            if is_known && room == 0 && session.serves(pool) {
                waits_for_known = known.as_ref().map(|(_, at)| at.plus(limits::AFFINITY_MS));
            }
            if room == 0 || session.declined.get(generation).is_some_and(|until| *until > now) {
                continue;
            }
            let rank = (is_known, session.tokens, room, std::cmp::Reverse(*id));
            if best.is_none_or(|best| rank > best) {
                best = Some(rank);
            }
        }
        if let Some(until) = waits_for_known {
            self.timers.arm(Timer::Pool(pool.clone()), until);
            return None;
        }
        best.map(|(.., id)| id.0)
    }

    fn free_slots(&self, pool: &PoolName) -> usize {
        self.sessions.values().map(|session| session.room(pool, self.now).min(session.tokens as usize)).sum()
    }

    pub(super) fn accept(&mut self, session: SessionId, id: &OfferId) {
        let Some(offer) = self.offers.get_mut(id).filter(|offer| offer.session == session) else {
            self.send(session, ServerMessage::Withdrawn { offer: id.clone() });
            return;
        };
        if !offer.accepted {
            offer.accepted = true;
            let generation = offer.generation.clone();
            self.put(&generation, Task::Grant(id.clone()), Then::Grant(id.clone()));
        }
    }

    pub(super) fn decline(&mut self, session: SessionId, id: &OfferId, reason: &str) {
        let taken = self.offers.get(id).is_some_and(|offer| offer.session == session && !offer.accepted);
        if !taken {
            return;
        }
        let Some(offer) = self.offers.remove(id) else { return };
        tracing::debug!(generation = %offer.generation, reason, "offer declined");
        self.not_again_soon(&offer);
        self.give_back(offer);
    }

    fn not_again_soon(&mut self, offer: &Offer) {
        let (now, until) = (self.now, self.now.plus(limits::OFFER_TIMEOUT_MS));
        if let Some(session) = self.sessions.get_mut(&offer.session) {
            session.declined.retain(|_, at| *at > now);
            session.declined.insert(offer.generation.clone(), until);
        }
        self.timers.arm(Timer::Pool(offer.pool.clone()), until.plus(1));
    }

    /// A worker that says nothing left it to another: asking it first again would keep the others from it for ever.
    pub(super) fn offer_timed_out(&mut self, id: &OfferId) {
        if self.offers.get(id).is_none_or(|offer| offer.accepted) {
            return;
        }
        let Some(offer) = self.offers.remove(id) else { return };
        self.send(offer.session, ServerMessage::Withdrawn { offer: id.clone() });
        self.not_again_soon(&offer);
        self.give_back(offer);
    }

    /// What is offered of a generation that ended: nobody needs to answer any more.
    pub(super) fn withdraw_all_of(&mut self, generation: &GenerationId) {
        for id in self.unanswered(|offer| offer.generation == *generation) {
            self.withdraw(&id);
        }
    }

    /// Offers nobody has taken yet, of those that are `theirs`. No order of a map shows.
    fn unanswered(&self, theirs: impl Fn(&Offer) -> bool) -> Vec<OfferId> {
        let open = self.offers.iter().filter(|(_, offer)| !offer.accepted && theirs(offer));
        let mut open: Vec<_> = open.map(|(id, _)| id.clone()).collect();
        open.sort();
        open
    }

    fn withdraw(&mut self, id: &OfferId) {
        let Some(offer) = self.offers.remove(id) else { return };
        self.send(offer.session, ServerMessage::Withdrawn { offer: id.clone() });
        self.give_back(offer);
    }

    /// An offer that led to nothing: the reservation and the slot are free again.
    fn give_back(&mut self, offer: Offer) {
        let pool = self.undo(offer);
        self.kick(&pool);
    }

    /// The same, and whoever calls says when the pool is looked at again.
    fn undo(&mut self, offer: Offer) -> PoolName {
        self.free_slot(offer.session, &offer.pool);
        self.left(&offer.generation, &offer.tenant, &offer.owner);
        self.effects.push(Effect::Unreserve(offer.generation));
        offer.pool
    }

    /// Every offer nobody has taken yet.
    pub(super) fn withdraw_unanswered(&mut self) {
        for id in self.unanswered(|_| true) {
            self.withdraw(&id);
        }
    }

    /// Offers to a worker that went away.
    pub(super) fn drop_offers_of(&mut self, session: SessionId) {
        for id in self.unanswered(|offer| offer.session == session) {
            if let Some(offer) = self.offers.remove(&id) {
                self.give_back(offer);
            }
        }
    }

    /// The command that makes a lease of an accepted offer.
    pub(super) fn grant_command(&mut self, id: &OfferId) -> Option<engine::Command> {
        let random = self.random_bytes();
        let offer = self.offers.get(id)?;
        let session = self.sessions.get(&offer.session)?;
        let hello = session.hello.as_ref()?;
        let fence = self.state(&offer.generation)?.fence.next();
        let grant = Grant {
            lease: LeaseId::generate(fence, random, &offer.generation),
            worker: hello.worker.clone(),
            instance: hello.instance.clone(),
            node: self.config.node.clone(),
            bearer: session.bearer.clone(),
            charged_ms: offer.predicted_ms,
        };
        let id = CommandId::new(format!("grant.{id}")).ok()?;
        Some(engine::Command { id, action: Action::Grant(grant) })
    }

    /// The grant is durable: the worker may begin.
    pub(super) fn granted(&mut self, generation: &GenerationId, id: &OfferId, state: &State) {
        let Some(offer) = self.offers.remove(id) else { return };
        let Some(holder) = state.holder.as_ref() else {
            self.left(generation, &offer.tenant, &offer.owner);
            return;
        };
        let handle = self.sessions.get_mut(&offer.session).map(|session| session.add_handle(generation));
        let clock = LeaseClock::granted(
            state,
            holder,
            &offer.pool,
            offer.predicted_ms,
            handle.map(|h| (offer.session, h)),
            self.now,
        );
        self.leases.insert(generation.clone(), clock);
        self.counts.granted();
        let Some(handle) = handle else {
            // The socket closed while the grant was committed: the worker never heard of it, and nothing was tried.
            self.lose(generation, Loss::Released);
            return;
        };
        let stage = state.stage_here();
        let deadlines = Deadlines {
            lease_ms: self.config.lease_silence_ms,
            stall_ms: stage.map_or(0, |stage| stage.stall_ms),
            stage_ms: stage.map_or(0, |stage| stage.timeout_ms),
        };
        let (lease, fence) = (holder.lease.clone(), state.fence);
        self.send(offer.session, ServerMessage::Granted { offer: id.clone(), lease, fence, handle, deadlines });
        self.tell_wanted(generation);
        self.arm_lease(generation);
    }

    pub(super) fn grant_refused(&mut self, id: &OfferId) {
        self.withdraw(id);
    }

    /// The store could not take the grant: the offer ends, and the pool is left alone for a moment.
    pub(super) fn grant_failed(&mut self, id: &OfferId) {
        let Some(offer) = self.offers.remove(id) else { return };
        self.send(offer.session, ServerMessage::Withdrawn { offer: id.clone() });
        let pool = self.undo(offer);
        self.timers.arm(Timer::Pool(pool), self.now.plus(RESERVE_RETRY_MS));
    }

    pub(super) fn free_slot(&mut self, session: SessionId, pool: &PoolName) {
        if let Some(busy) = self.sessions.get_mut(&session).and_then(|session| session.busy.get_mut(pool)) {
            *busy = busy.saturating_sub(1);
        }
    }

    /// Remembers who held a run, for the next one of the same generation.
    pub(super) fn remember_holder(
        &mut self,
        generation: &GenerationId,
        next_pool: &PoolName,
        worker: &protocol::WorkerId,
    ) {
        let now = self.now;
        if !self.is_served(next_pool) {
            return;
        }
        let pool = self.pools.entry(next_pool.clone()).or_default();
        pool.last_holder.retain(|_, (_, at)| now.since(*at) < limits::AFFINITY_MS);
        pool.last_holder.insert(generation.clone(), (worker.clone(), now));
    }
}

fn offer_message(offer: OfferId, state: &State) -> ServerMessage {
    let stages = state.run().filter_map(|index| state.pipeline.stage_at(index));
    let offered = |stage: &protocol::Stage| OfferedStage {
        name: stage.name.clone(),
        keep: stage.keep,
        timeout_ms: stage.timeout_ms,
    };
    let outputs = state
        .pipeline
        .stages
        .iter()
        .zip(&state.stages)
        .filter(|(_, known)| !known.outputs.is_empty())
        .map(|(stage, known)| (stage.name.clone(), known.outputs.clone()))
        .collect();
    ServerMessage::Offer {
        offer,
        generation: state.generation.clone(),
        pipeline: state.pipeline.name.clone(),
        version: state.pipeline.version,
        stages: stages.map(offered).collect(),
        attempt: Attempt(state.stages.get(state.stage).map_or(0, |stage| stage.failures) + 1),
        inputs: Box::new(RunInputs {
            input: protocol::Metadata::clone(&state.input),
            artifacts: state.artifacts.iter().map(|(_, artifact)| artifact.clone()).collect(),
            outputs,
        }),
        checkpoint: state.checkpoint.clone(),
        causal_id: state.causal.clone(),
        traceparent: state.trace.clone(),
        tracestate: state.trace_state.clone(),
    }
}
