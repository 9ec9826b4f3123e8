//! The desk: each generation's commands pass here one after another, decided on the last *decided* state, so that
//! commits can follow each other without waiting. What the store refuses is decided again on what it holds.

mod change;
mod conclude;
mod unread;

use std::{collections::VecDeque, sync::Arc};

use engine::{Action, Decision, Event as Decided, Refusal, State};
use protocol::{
    CommandId, Durability, ErrorCode, Event, EventType, GenerationId, OfferId, Problem, Sequence, Timestamp, UserId,
    limits, live::close,
};
use store::{Claim, CommitError, Committed, Loaded, Queued, StoreError};

pub(super) use unread::Unread;

use super::{Ask, Core, Effect, FlightId, SessionId, Ticket, timers::Timer};

/// Command ids remembered per generation, so that most repeats are answered from memory: two reconnects of a worker
/// with everything it had in flight.
const RECENT_MAX: usize = 64;
/// Commands that may wait for one generation: a worker's socket and a few clients; beyond it `unavailable`.
const WAITING_MAX: usize = 1_024;
/// How long work waits when the store is full or away, in milliseconds.
const STORE_RETRY_MS: u64 = 1_000;
/// A generation nobody works on leaves memory after so long, in milliseconds.
const IDLE_IN_MEMORY_MS: u64 = 60_000;

/// One generation in memory.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// As last decided; `None` when unknown or not there.
    pub(super) state: Option<Arc<State>>,
    /// The latest event as last decided.
    latest: Option<Arc<Event>>,
    /// Is `state` what the store holds (and `None` means there is none)?
    known: bool,
    /// Something must come back before the next work is done.
    pause: Option<Pause>,
    /// The store was full or away: no work before this.
    held_until: Option<Timestamp>,
    waiting: VecDeque<Work>,
    flying: VecDeque<Flight>,
    /// A change was not applied: what was decided after it is decided again.
    stale: bool,
    /// What is decided again, in its order, before all that waits.
    again: VecDeque<Work>,
    /// What the store holds is looked at although nobody waits: a lease may have begun or ended there.
    reload: bool,
    recent: VecDeque<(CommandId, Sequence)>,
}

#[derive(Debug)]
enum Pause {
    Loading,
    Finding(Work, Refusal),
    Verifying(Work),
}

#[derive(Debug)]
struct Work {
    task: Task,
    then: Then,
    /// Was an announced artifact compared already?
    verified: bool,
}

/// What is to be done with a generation.
#[derive(Debug)]
pub(super) enum Task {
    /// Decide and commit.
    Decide { command: engine::Command, birth: Option<Box<Birth>> },
    /// Answer with what is durable.
    Read { repeated: bool },
    /// Offer it, if it still waits.
    Offer(Queued),
    /// A worker accepted: grant it.
    Grant(OfferId),
}

/// What goes with the first command of a generation.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    /// Its `Idempotency-Key`.
    claim: Option<Claim>,
    /// The dead letter it is made of.
    redrives: Option<GenerationId>,
}

/// What follows.
#[derive(Debug, Clone)]
pub(super) enum Then {
    /// A client waits.
    Answer(Ticket),
    /// A worker waits for `ack` or `refused`, and came with the token of `bearer`.
    Ack { session: SessionId, event_id: CommandId, bearer: UserId },
    /// An offer becomes a lease.
    Grant(OfferId),
    /// Nobody waits, and it must happen: repeated until the store takes it.
    Must,
    /// Nobody waits, and nobody misses it.
    May,
}

#[derive(Debug)]
struct Flight {
    id: FlightId,
    work: Work,
    cargo: Cargo,
    /// How the generation stood when this was decided: durable as soon as all that flew before has landed.
    seen: Option<Seen>,
    result: Option<Result<Committed, CommitError>>,
}

/// A generation as an answer shows it.
#[derive(Debug)]
struct Seen {
    state: Arc<State>,
    latest: Arc<Event>,
}

#[derive(Debug)]
enum Cargo {
    /// Events on their way to the store.
    Events { before: Option<Arc<State>>, after: Arc<State>, events: Vec<Decided> },
    /// Nothing to write; waits only until what came before is durable.
    Refused(Refusal),
    /// Decided before, under the same command id.
    Repeated(Sequence),
    /// A look.
    Read { repeated: bool },
}

impl Core {
    pub(super) fn ask(&mut self, ticket: Ticket, generation: &GenerationId, ask: Ask) {
        let task = match ask {
            Ask::Submit { submit, command, claim, redrives } => {
                // A fresh id is known to name nothing; the store would refuse it otherwise.
                self.desk.entry(generation.clone()).or_insert_with(|| Entry { known: true, ..Entry::default() });
                let birth = Some(Box::new(Birth { claim, redrives }));
                Task::Decide { command: engine::Command { id: command, action: Action::Submit(submit) }, birth }
            }
            Ask::Command(command) => Task::Decide { command, birth: None },
            Ask::Read => Task::Read { repeated: false },
        };
        self.put(generation, task, Then::Answer(ticket));
    }

    /// Puts work on the desk and does what can be done.
    pub(super) fn put(&mut self, generation: &GenerationId, task: Task, then: Then) {
        self.timers.arm(Timer::Evict(generation.clone()), self.now.plus(IDLE_IN_MEMORY_MS));
        let entry = self.desk.entry(generation.clone()).or_default();
        let work = Work { task, then, verified: false };
        if entry.waiting.len() >= WAITING_MAX && !matches!(work.then, Then::Must) {
            self.turn_away(generation, work);
            return;
        }
        entry.waiting.push_back(work);
        self.advance(generation);
    }

    /// Too much waits for one generation.
    fn turn_away(&mut self, generation: &GenerationId, work: Work) {
        if let Then::Ack { session, .. } = work.then {
            // `refused` would be for ever. A worker that comes back says again what was not answered.
            self.close(session, close::TRY_LATER, "too many messages wait for one generation");
            return;
        }
        let busy =
            Problem::new(ErrorCode::Unavailable, "too many commands wait for this generation").hint("repeat later");
        self.conclude_failed(generation, work, &busy);
    }

    /// The state as last decided, if it is in memory.
    pub(super) fn state(&self, generation: &GenerationId) -> Option<&Arc<State>> {
        self.desk.get(generation).and_then(|entry| entry.state.as_ref())
    }

    /// The latest event as last decided, if it is in memory.
    pub(super) fn latest(&self, generation: &GenerationId) -> Option<&Arc<Event>> {
        self.desk.get(generation).and_then(|entry| entry.latest.as_ref())
    }

    /// Puts a generation into memory as the store holds it.
    pub(super) fn place(
        &mut self,
        generation: &GenerationId,
        loaded: Option<(Loaded, Arc<Event>)>,
    ) -> Result<(), String> {
        let entry = self.desk.entry(generation.clone()).or_default();
        if let Some((loaded, latest)) = loaded {
            let mut state: State = serde_json::from_slice(&loaded.row.snapshot).map_err(|error| error.to_string())?;
            for stored in loaded.after {
                let event = Decided::from_stored(stored.event, &stored.fact).map_err(|error| error.to_string())?;
                state = engine::evolve(Some(state), &event);
            }
            entry.state = Some(Arc::new(state));
            entry.latest = Some(latest);
        }
        entry.known = true;
        entry.reload = false;
        let at = self.now.plus(IDLE_IN_MEMORY_MS);
        self.timers.arm(Timer::Evict(generation.clone()), at);
        Ok(())
    }

    pub(super) fn loaded(
        &mut self,
        generation: &GenerationId,
        result: Result<Option<(Loaded, Arc<Event>)>, StoreError>,
    ) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        if !matches!(entry.pause, Some(Pause::Loading)) {
            return;
        }
        entry.pause = None;
        let placed = match result {
            Ok(loaded) => self.place(generation, loaded).map_err(|why| {
                let what = "the stored generation cannot be read";
                (why, Problem::new(ErrorCode::Internal, what).hint("see the server's log"))
            }),
            Err(error) => Err((error.to_string(), store_problem(&error))),
        };
        match placed {
            Ok(()) => self.reconcile(generation),
            Err((why, problem)) => {
                self.note_unread(generation, &why);
                self.hold_off(generation, &problem);
            }
        }
        self.advance(generation);
    }

    /// The store cannot be asked now: clients are told so, what must happen waits.
    fn hold_off(&mut self, generation: &GenerationId, problem: &Problem) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        let waiting = std::mem::take(&mut entry.waiting);
        self.hold(generation);
        for work in waiting {
            if must_happen(&work.then) {
                if let Some(entry) = self.desk.get_mut(generation) {
                    entry.waiting.push_back(work);
                }
            } else {
                self.conclude_failed(generation, work, problem);
            }
        }
    }

    fn hold(&mut self, generation: &GenerationId) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        let until = self.now.plus(STORE_RETRY_MS);
        entry.held_until = Some(until);
        self.timers.arm(Timer::Desk(generation.clone()), until);
    }

    pub(super) fn resume_desk(&mut self, generation: &GenerationId) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        match entry.held_until {
            // Held again since this timer was set.
            Some(until) if until > self.now => self.timers.arm(Timer::Desk(generation.clone()), until),
            _ => {
                entry.held_until = None;
                self.advance(generation);
            }
        }
    }

    fn advance(&mut self, generation: &GenerationId) {
        while let Some(entry) = self.desk.get_mut(generation) {
            if entry.pause.is_some() || entry.held_until.is_some() || (entry.stale && !entry.flying.is_empty()) {
                return;
            }
            if entry.stale {
                let mut waiting = std::mem::take(&mut entry.again);
                waiting.append(&mut entry.waiting);
                *entry = Entry { waiting, reload: entry.reload, ..Entry::default() };
            }
            if entry.waiting.is_empty() && !entry.reload {
                return;
            }
            if !entry.known {
                entry.pause = Some(Pause::Loading);
                self.effects.push(Effect::Load(generation.clone()));
                return;
            }
            let Some(work) = entry.waiting.pop_front() else { return };
            self.work(generation, work);
        }
    }

    fn work(&mut self, generation: &GenerationId, mut work: Work) {
        match &work.task {
            Task::Read { repeated } => {
                let repeated = *repeated;
                self.fly(generation, work, Cargo::Read { repeated });
            }
            Task::Offer(queued) => {
                let queued = queued.clone();
                self.offer(queued);
            }
            Task::Grant(offer) => match self.grant_command(offer) {
                Some(command) => {
                    work.task = Task::Decide { command, birth: None };
                    self.decide(generation, work);
                }
                None => self.conclude_refused(&work, &Refusal::Unknown, None),
            },
            Task::Decide { command: engine::Command { action: Action::Lose { loss, .. }, .. }, .. }
                if self.is_loss_outdated(generation, *loss) => {}
            Task::Decide { command: engine::Command { action: Action::ExternalStalled, .. }, .. }
                if self.is_silence_outdated(generation) => {}
            Task::Decide { .. } => self.decide(generation, work),
        }
    }

    fn decide(&mut self, generation: &GenerationId, work: Work) {
        let random = self.random();
        let context = engine::Context { random, holds: Some(&self.holds), flaw: self.config.flaw };
        let Some(entry) = self.desk.get_mut(generation) else { return };
        let Task::Decide { command, .. } = &work.task else { return };
        if let Some((_, sequence)) = entry.recent.iter().find(|(id, _)| *id == command.id) {
            let sequence = *sequence;
            self.fly(generation, work, Cargo::Repeated(sequence));
            return;
        }
        let before = entry.state.clone();
        let holder = before.as_ref().and_then(|state| state.holder.as_ref());
        let stolen =
            matches!((&work.then, holder), (Then::Ack { bearer, .. }, Some(holder)) if holder.bearer != *bearer);
        let decided = if stolen {
            Err(Refusal::LeaseLost { current: before.as_ref().map_or_else(Default::default, |state| state.fence) })
        } else {
            engine::decide(before.as_deref(), &context, command, self.now)
        };
        match decided {
            // Only whoever may announce a file learns what is stored under its name.
            Ok(_) if !work.verified && matches!(command.action, Action::Artifact { .. }) => {
                if let Action::Artifact { artifact, .. } = &command.action {
                    self.effects.push(Effect::Verify { generation: generation.clone(), artifact: artifact.clone() });
                }
                entry.pause = Some(Pause::Verifying(work));
            }
            Ok(decision) if self.is_relayed(before.as_deref(), &decision.events) => self.relay(generation, decision),
            Ok(Decision { events, after }) => {
                self.fly(generation, work, Cargo::Events { before, after: Arc::new(after), events });
            }
            Err(refusal) => self.refuse(generation, work, refusal),
        }
    }

    /// A repeat of something that no longer fits is not refused but answered: the store is asked first.
    fn refuse(&mut self, generation: &GenerationId, work: Work, refusal: Refusal) {
        let asks_again = matches!(work.then, Then::Ack { .. } | Then::Answer(_))
            && !matches!(refusal, Refusal::NothingNew | Refusal::Unknown | Refusal::Exists);
        let Task::Decide { command, .. } = &work.task else { return };
        if !asks_again {
            self.fly(generation, work, Cargo::Refused(refusal));
            return;
        }
        self.effects.push(Effect::Find { generation: generation.clone(), command: command.id.clone() });
        if let Some(entry) = self.desk.get_mut(generation) {
            entry.pause = Some(Pause::Finding(work, refusal));
        }
    }

    pub(super) fn found(&mut self, generation: &GenerationId, result: Result<Option<Sequence>, StoreError>) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        let (work, refusal) = match entry.pause.take() {
            Some(Pause::Finding(work, refusal)) => (work, refusal),
            other => {
                entry.pause = other;
                return;
            }
        };
        match result {
            Ok(Some(sequence)) => self.fly(generation, work, Cargo::Repeated(sequence)),
            Ok(None) => self.fly(generation, work, Cargo::Refused(refusal)),
            Err(error) => {
                entry.waiting.push_front(work);
                self.hold_off(generation, &store_problem(&error));
            }
        }
        self.advance(generation);
    }

    pub(super) fn verified(&mut self, generation: &GenerationId, result: Result<(), Problem>) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        let mut work = match entry.pause.take() {
            Some(Pause::Verifying(work)) => work,
            other => {
                entry.pause = other;
                return;
            }
        };
        match result {
            Ok(()) => {
                work.verified = true;
                entry.waiting.push_front(work);
            }
            Err(problem) if problem.retryable => {
                entry.waiting.push_front(work);
                self.hold_off(generation, &problem);
            }
            Err(problem) => self.conclude_failed(generation, work, &problem),
        }
        self.advance(generation);
    }

    /// Sends cargo behind what flies already, and settles at once what has nothing to wait for.
    fn fly(&mut self, generation: &GenerationId, work: Work, cargo: Cargo) {
        self.flights += 1;
        let id = FlightId(self.flights);
        if let Cargo::Events { before, after, events } = &cargo {
            let Some(change) = self.change(generation, &work, before.as_deref(), after, events) else { return };
            self.effects.push(Effect::Commit { flight: id, change: Box::new(change) });
        }
        let Some(entry) = self.desk.get_mut(generation) else { return };
        let seen = entry.state.clone().zip(entry.latest.clone()).map(|(state, latest)| Seen { state, latest });
        if let Cargo::Events { after, events, .. } = &cargo {
            entry.state = Some(Arc::clone(after));
            entry.latest = events.last().map(|event| Arc::clone(&event.show));
            if let Task::Decide { command, .. } = &work.task {
                if entry.recent.len() >= RECENT_MAX {
                    entry.recent.pop_front();
                }
                entry.recent.push_back((command.id.clone(), after.sequence));
            }
        }
        entry.flying.push_back(Flight { id, work, cargo, seen, result: None });
        self.settle(generation);
    }

    pub(super) fn committed(
        &mut self,
        generation: &GenerationId,
        flight: FlightId,
        result: Result<Committed, CommitError>,
    ) {
        let Some(entry) = self.desk.get_mut(generation) else { return };
        if let Some(one) = entry.flying.iter_mut().find(|one| one.id == flight) {
            one.result = Some(result);
        }
        self.settle(generation);
        self.advance(generation);
    }

    /// Concludes from the front whatever is decided and durable.
    fn settle(&mut self, generation: &GenerationId) {
        while let Some(entry) = self.desk.get_mut(generation) {
            let ready = entry
                .flying
                .front()
                .is_some_and(|flight| flight.result.is_some() || !matches!(flight.cargo, Cargo::Events { .. }));
            if !ready {
                break;
            }
            let Some(flight) = entry.flying.pop_front() else { break };
            let stale = entry.stale;
            if let Some(work) = self.land(generation, flight, stale)
                && let Some(entry) = self.desk.get_mut(generation)
            {
                entry.again.push_back(work);
            }
        }
    }

    /// Concludes one flight; gives its work back when it has to be decided again.
    fn land(&mut self, generation: &GenerationId, flight: Flight, stale: bool) -> Option<Work> {
        let Flight { work, cargo, seen, result, .. } = flight;
        match (cargo, result) {
            (Cargo::Events { before, after, events }, Some(Ok(Committed::New { last }))) => {
                self.conclude_new(generation, &work.then, before.as_deref(), &after, &events, last);
                None
            }
            (Cargo::Events { .. }, Some(Ok(Committed::Repeated { last }))) => {
                self.mark_stale(generation, true);
                self.conclude_repeated(generation, work.then, last);
                None
            }
            (Cargo::Events { .. }, Some(Ok(Committed::Claimed { generation: holder, same }))) => {
                self.mark_stale(generation, false);
                self.conclude_claimed(&work.then, &holder, same);
                None
            }
            (Cargo::Events { before, .. }, Some(Err(CommitError::Conflict { .. }))) => {
                self.mark_stale(generation, before.is_some());
                Some(work)
            }
            (Cargo::Events { before, .. }, Some(Err(error))) => {
                self.mark_stale(generation, before.is_some());
                self.store_failed(generation, work, &error)
            }
            (Cargo::Events { .. }, None) => None,
            (_, _) if stale => Some(work),
            (Cargo::Refused(refusal), _) => {
                self.conclude_refused(&work, &refusal, seen);
                None
            }
            (Cargo::Repeated(sequence), _) => {
                self.conclude_repeated(generation, work.then, sequence);
                None
            }
            (Cargo::Read { repeated }, _) => {
                self.conclude_read(generation, &work.then, seen, repeated);
                None
            }
        }
    }

    /// `reload` unless nothing can be there that matters.
    fn mark_stale(&mut self, generation: &GenerationId, reload: bool) {
        if let Some(entry) = self.desk.get_mut(generation) {
            entry.stale = true;
            entry.reload |= reload;
            self.timers.arm(Timer::Evict(generation.clone()), self.now.plus(IDLE_IN_MEMORY_MS));
        }
    }

    fn store_failed(&mut self, generation: &GenerationId, work: Work, error: &CommitError) -> Option<Work> {
        if must_happen(&work.then) {
            self.hold(generation);
            return Some(work);
        }
        let problem = match error {
            CommitError::Full => store_problem(&StoreError::Full),
            CommitError::Gone { .. } => Problem::new(ErrorCode::StateConflict, error.to_string())
                .hint("its files were removed meanwhile: submit it anew"),
            other => store_problem(&StoreError::Unavailable(other.to_string())),
        };
        self.conclude_failed(generation, work, &problem);
        None
    }

    /// Progress of a `relay` pipeline is shown and not stored.
    fn is_relayed(&self, before: Option<&State>, events: &[Decided]) -> bool {
        before.is_some_and(|state| state.pipeline.durability == Durability::Relay)
            && matches!(events, [one] if one.show.kind == EventType::StageProgress)
    }

    /// The state with progress that has no event of its own.
    pub(super) fn keep_relayed(&mut self, generation: &GenerationId, state: State) {
        if let Some(entry) = self.desk.get_mut(generation) {
            entry.state = Some(Arc::new(state));
        }
    }

    /// A generation that nobody works on leaves memory.
    pub(super) fn evict(&mut self, generation: &GenerationId) {
        let Some(entry) = self.desk.get(generation) else { return };
        let busy = entry.pause.is_some()
            || entry.held_until.is_some()
            || !(entry.waiting.is_empty() && entry.again.is_empty() && entry.flying.is_empty());
        let held = entry.state.as_ref().is_some_and(|state| state.holder.is_some());
        let ended_at = entry.state.as_ref().filter(|state| state.is_terminal()).map(|state| state.updated_at);
        let young = ended_at.is_some_and(|at| self.now.since(at) < limits::FINISHED_IN_MEMORY_MS);
        // Whoever waits in a queue and is watched gets positions, which are made from what is in memory.
        let waits = self.interests.contains_key(generation) && ended_at.is_none();
        if busy || held || young || waits {
            self.timers.arm(Timer::Evict(generation.clone()), self.now.plus(IDLE_IN_MEMORY_MS));
        } else {
            self.desk.remove(generation);
        }
    }

    /// A deleted generation is unknown from here on.
    pub(super) fn forget(&mut self, generation: &GenerationId) {
        if let Some(entry) = self.desk.get_mut(generation) {
            entry.stale = true;
        }
        self.advance(generation);
    }
}

/// A worker that waits for its `ack` keeps the event; the server keeps trying for it.
const fn must_happen(then: &Then) -> bool {
    matches!(then, Then::Must | Then::Ack { .. })
}

fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Full => Problem::new(ErrorCode::StorageFull, "the disk is full; nothing was stored")
            .hint("free space on the data folder's disk; no restart is needed"),
        StoreError::Unavailable(why) => {
            Problem::new(ErrorCode::Unavailable, format!("the store cannot be reached: {why}")).hint("repeat later")
        }
    }
}
