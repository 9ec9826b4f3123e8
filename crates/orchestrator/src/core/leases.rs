//! Leases: who holds which run, and the clocks that end it. Lease (is the worker alive?) and stall (is progress moving?)
//! are two clocks. The fence is durable, the deadline is not: it lives here, and starts anew with the node.

use std::sync::Arc;

use engine::{Action, Event as Decided, Fact, Flaw, Holder, Loss, Phase, State};
use protocol::{
    EventType, Fence, GenerationId, Handle, LeaseId, Metadata, PoolName, StageName, TenantId, Timestamp, UserId,
    WorkerId, limits,
    worker::{HeldLease, LeaseAnswer, Resumption, ServerMessage},
};
use store::Loaded;

use super::{
    Core, SessionId,
    desk::{Task, Then},
    interest::Told,
    movement::Movement,
    sessions::{Hello, Session},
    timers::Timer,
};

/// Progress that waits for its turn.
#[derive(Debug, Clone)]
pub(super) struct PendingProgress {
    pub(super) stage: StageName,
    pub(super) progress: f64,
    pub(super) message: Option<String>,
    pub(super) metadata: Option<Metadata>,
}

/// A worker that says hello.
pub(super) struct Claimant<'a> {
    pub(super) session: SessionId,
    pub(super) hello: &'a Hello,
    pub(super) bearer: &'a UserId,
}

/// The clocks of one lease.
#[derive(Debug)]
pub(super) struct LeaseClock {
    pub(super) lease: LeaseId,
    fence: Fence,
    worker: WorkerId,
    instance: Arc<str>,
    pub(super) bearer: UserId,
    pub(super) pool: PoolName,
    /// What its lane was charged, in worker-milliseconds.
    pub(super) predicted_ms: i64,
    /// The connection that speaks for it.
    pub(super) session: Option<SessionId>,
    handle: Handle,
    tenant: TenantId,
    owner: UserId,
    /// When its worker was last heard; what its open connection knows counts more.
    heard_at: Timestamp,
    closed_at: Option<Timestamp>,
    /// Granted, or adopted by this node: no clock counts from before.
    since: Timestamp,
    /// Its slot is free although the run goes on.
    slot_released: bool,
    /// When that was said.
    pub(super) released_at: Option<Timestamp>,
    /// How far it has come, whatever of that is stored.
    movement: Movement,
    /// Since when it stood still when people were told so.
    warned_of: Option<Timestamp>,
    /// The loss was decided; what remains is to commit it.
    pub(super) ending: bool,
    progress_at: Timestamp,
    pending: Option<PendingProgress>,
    pub(super) told: Told,
}

impl LeaseClock {
    pub(super) fn granted(
        state: &State,
        holder: &Holder,
        pool: &PoolName,
        predicted_ms: i64,
        connection: Option<(SessionId, Handle)>,
        now: Timestamp,
    ) -> Self {
        Self {
            lease: holder.lease.clone(),
            fence: state.fence,
            worker: holder.worker.clone(),
            instance: Arc::clone(&holder.instance),
            bearer: holder.bearer.clone(),
            pool: pool.clone(),
            predicted_ms,
            session: connection.map(|(session, _)| session),
            handle: connection.map_or(Handle(0), |(_, handle)| handle),
            tenant: state.tenant.clone(),
            owner: state.owner.clone(),
            heard_at: now,
            closed_at: connection.is_none().then_some(now),
            since: now,
            slot_released: holder.released.contains(pool),
            released_at: None,
            movement: Movement::begun(state, now),
            warned_of: None,
            ending: false,
            progress_at: Timestamp(0),
            pending: None,
            told: Told::default(),
        }
    }
}

impl Core {
    /// Takes over the leases of an earlier run of this node, each with a full lease from now on.
    pub fn adopt(&mut self, leased: Vec<(GenerationId, Loaded, Arc<protocol::Event>)>, now: Timestamp) {
        self.now = self.now.max(now);
        for (generation, loaded, latest) in leased {
            if let Err(why) = self.place(&generation, Some((loaded, latest))) {
                self.adopt_unread(&generation, &why);
                continue;
            }
            let Some(state) = self.state(&generation).cloned() else { continue };
            self.take_over(&state);
            let lived_here =
                self.config.in_process_worker.as_ref() == self.leases.get(&generation).map(|clock| &clock.worker);
            if lived_here {
                self.lose(&generation, Loss::Released);
            }
        }
        tracing::info!(leases = self.leases.len(), "leases adopted");
        // Producers outside may have gone silent while nobody looked.
        self.kick(&PoolName::new(protocol::Pipeline::EXTERNAL).expect("a literal pool name is valid"));
    }

    /// A lease that the store knows and this process does not: it has a full term from now on.
    fn take_over(&mut self, state: &State) {
        let (Some(holder), Some(pool)) = (state.holder.as_ref(), state.pool_here()) else { return };
        let predicted_ms = if holder.charged_ms > 0 { holder.charged_ms } else { predicted_ms(state, holder) };
        let mut clock = LeaseClock::granted(state, holder, pool, predicted_ms, None, self.now);
        // Nobody closed a socket here: the worker has the whole silence to come back.
        clock.closed_at = None;
        self.leases.insert(state.generation.clone(), clock);
        self.taken(state);
        self.arm_lease(&state.generation);
    }

    /// The store was asked again after it had not answered, or not as expected: a lease may have begun or ended there.
    pub(super) fn reconcile(&mut self, generation: &GenerationId) {
        let Some(state) = self.state(generation).cloned() else { return };
        let known = self.leases.get(generation).map(|clock| &clock.lease);
        let holds = state.holder.as_ref().map(|holder| &holder.lease);
        if known != holds {
            self.drop_lease(generation);
            self.take_over(&state);
        } else if state.phase == Phase::Cancelling {
            self.tell_cancel(generation, &state);
        }
        self.arm_lease(generation);
        self.arm_expiry(generation, state.expires_at());
        if state.phase == Phase::Queued
            && let Some(pool) = state.pool_here()
        {
            self.kick(pool);
        }
    }

    /// A lease that ended unseen.
    fn drop_lease(&mut self, generation: &GenerationId) {
        let Some(clock) = self.leases.remove(generation) else { return };
        self.left(generation, &clock.tenant, &clock.owner);
        let Some(session) = clock.session else { return };
        self.leave_worker(generation, session, &clock);
        self.lease_gone(session, clock.lease);
        self.kick(&clock.pool);
    }

    /// A run that is over is none of its worker's: handle and slot are free.
    fn leave_worker(&mut self, generation: &GenerationId, session: SessionId, clock: &LeaseClock) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.drop_handle(generation);
        }
        if !clock.slot_released {
            self.free_slot(session, &clock.pool);
        }
    }

    /// Anything a worker says is a life sign for all it holds.
    pub(super) fn heard(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.heard_at = self.now;
        }
    }

    /// When the worker of a lease was last heard.
    fn heard_at(&self, clock: &LeaseClock) -> Timestamp {
        let spoken = clock.session.and_then(|session| self.sessions.get(&session)).map(|session| session.heard_at);
        spoken.map_or(clock.heard_at, |at| at.max(clock.heard_at))
    }

    pub(super) fn session_left_its_leases(&mut self, id: SessionId, session: &Session) {
        let now = self.now;
        for generation in session.held() {
            let Some(clock) = self.leases.get_mut(&generation).filter(|clock| clock.session == Some(id)) else {
                continue;
            };
            clock.session = None;
            clock.heard_at = clock.heard_at.max(session.heard_at);
            clock.closed_at = Some(now);
            self.arm_lease(&generation);
        }
    }

    /// What becomes of the leases a returning worker names, and of those it does not.
    pub(super) fn resume_leases(&mut self, claimant: &Claimant<'_>, held: &[HeldLease]) -> Vec<LeaseAnswer> {
        let mut answers = Vec::with_capacity(held.len());
        for one in held.iter().take(limits::SLOTS_MAX as usize) {
            answers.push(self.resume(claimant, one));
        }
        let mut forgotten: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, clock)| clock.worker == claimant.hello.worker && clock.bearer == *claimant.bearer)
            .filter(|(_, clock)| clock.session != Some(claimant.session))
            .map(|(generation, clock)| (generation.clone(), *clock.instance == *claimant.hello.instance))
            .collect();
        // The same input gives the same output: no order of a map shows.
        forgotten.sort();
        for (generation, same_process) in forgotten {
            // The same process never heard of the grant: nothing was tried. Another process lost what it tried.
            self.lose(&generation, if same_process { Loss::Released } else { Loss::WorkerLost });
        }
        answers
    }

    fn resume(&mut self, claimant: &Claimant<'_>, held: &HeldLease) -> LeaseAnswer {
        let lost =
            LeaseAnswer { lease: held.lease.clone(), handle: None, result: Resumption::LeaseLost, cancel: false };
        let Some((_, generation)) = held.lease.address() else { return lost };
        let cancelling = self.state(&generation).is_some_and(|state| state.phase == Phase::Cancelling);
        let now = self.now;
        let Some(clock) = self.leases.get_mut(&generation) else { return lost };
        let same = clock.lease == held.lease && clock.fence == held.fence && clock.bearer == *claimant.bearer;
        let same_process = clock.worker == claimant.hello.worker && *clock.instance == *claimant.hello.instance;
        if !same || !same_process || clock.ending {
            return lost;
        }
        let resumed = |handle| LeaseAnswer {
            lease: held.lease.clone(),
            handle: Some(handle),
            result: Resumption::Resumed,
            cancel: cancelling,
        };
        if clock.session == Some(claimant.session) {
            // Named twice in one hello.
            return resumed(clock.handle);
        }
        let Some(session) = self.sessions.get_mut(&claimant.session) else { return lost };
        let handle = session.add_handle(&generation);
        if !clock.slot_released {
            *session.busy.entry(clock.pool.clone()).or_default() += 1;
        }
        clock.session = Some(claimant.session);
        clock.handle = handle;
        clock.heard_at = now;
        clock.closed_at = None;
        clock.told = Told::default();
        resumed(handle)
    }

    /// After the welcome: who looks at what the worker resumed.
    pub(super) fn tell_resumed(&mut self, session: SessionId) {
        let resumed = self.sessions.get(&session).map(Session::held).unwrap_or_default();
        for generation in resumed {
            self.tell_wanted(&generation);
        }
    }

    pub(super) fn progress(&mut self, session: SessionId, lease: &LeaseId, progress: PendingProgress) {
        let generation = lease.address().map(|(_, generation)| generation);
        let now = self.now;
        let state = generation.as_ref().and_then(|generation| self.state(generation)).cloned();
        let wrong = state.as_ref().and_then(|state| why_not(state, &progress));
        let clock = generation.as_ref().and_then(|generation| self.leases.get_mut(generation));
        let (Some(generation), Some(clock)) =
            (generation.as_ref(), clock.filter(|c| c.lease == *lease && c.session == Some(session)))
        else {
            self.lease_gone(session, lease.clone());
            return;
        };
        if let Some(why) = wrong {
            // Nobody waits for an answer to progress: without a word its author would look for the mistake for long.
            self.complain(session, &why);
            return;
        }
        clock.movement.hear(state.as_deref(), &progress.stage, progress.progress, now);
        clock.pending = Some(progress);
        if now.since(clock.progress_at) >= limits::PROGRESS_INTERVAL_MS {
            self.flush_progress(generation);
        } else {
            let at = clock.progress_at.plus(limits::PROGRESS_INTERVAL_MS);
            self.timers.arm(Timer::Lease(generation.clone()), at);
        }
    }

    fn flush_progress(&mut self, generation: &GenerationId) {
        let id = self.command_id();
        let now = self.now;
        let Some(clock) = self.leases.get_mut(generation) else { return };
        let Some(pending) = clock.pending.take() else { return };
        clock.progress_at = now;
        let action = Action::Progress {
            lease: clock.lease.clone(),
            fence: clock.fence,
            stage: pending.stage,
            progress: pending.progress,
            message: pending.message,
            metadata: pending.metadata.map(Arc::new),
        };
        self.put(generation, Task::Decide { command: engine::Command { id, action }, birth: None }, Then::May);
    }

    /// What waits is said before its stage ends well, so that the last line people read is true; a failure needs none. Only
    /// the holder's word counts: what comes under another right is refused at the desk, and changes nothing here either.
    pub(super) fn before_edge(&mut self, generation: &GenerationId, action: &Action, bearer: &UserId) {
        let (lease, ends_well) = match action {
            Action::StageCompleted { lease, .. } | Action::Done { lease, .. } => (lease, true),
            Action::Fail { lease, .. } | Action::HandBack { lease, .. } => (lease, false),
            _ => return,
        };
        let clock = self.leases.get_mut(generation);
        let Some(clock) = clock.filter(|clock| clock.lease == *lease && clock.bearer == *bearer) else { return };
        if ends_well {
            self.flush_progress(generation);
        } else {
            clock.pending = None;
        }
    }

    pub(super) fn arm_lease(&mut self, generation: &GenerationId) {
        if self.config.flaw == Some(Flaw::ForgottenTimer) {
            return;
        }
        let end = self.next_end(generation).map(|(at, _)| at);
        if let Some(at) = end.into_iter().chain(self.next_warning(generation).map(|(at, _)| at)).min() {
            let at = at.max(self.now.plus(1));
            self.timers.arm(Timer::Lease(generation.clone()), at);
        }
    }

    /// When people are told that the stage stands still, and since when it does.
    fn next_warning(&self, generation: &GenerationId) -> Option<(Timestamp, Timestamp)> {
        let (clock, state) = (self.leases.get(generation)?, self.state(generation)?);
        // A node that starts has not looked before.
        let moved_at = state.stages.get(state.stage)?.moved_at?.max(clock.movement.at);
        let half_ms = state.stage_here()?.stall_ms / 2;
        let at = state.warns_at()?.max(moved_at.plus(half_ms));
        (!clock.ending && clock.warned_of != Some(moved_at)).then_some((at, moved_at))
    }

    fn warn(&mut self, generation: &GenerationId) {
        let Some((at, moved_at)) = self.next_warning(generation) else { return };
        if at > self.now {
            return;
        }
        let id = self.command_id();
        let Some(clock) = self.leases.get_mut(generation) else { return };
        clock.warned_of = Some(moved_at);
        let command = engine::Command { id, action: Action::Warn { fence: clock.fence } };
        tracing::warn!(generation = %generation, worker = %clock.worker, "a stage stands still");
        self.counts.silent();
        self.put(generation, Task::Decide { command, birth: None }, Then::May);
    }

    /// When the lease ends if nothing else happens, and why.
    fn next_end(&self, generation: &GenerationId) -> Option<(Timestamp, Loss)> {
        let clock = self.leases.get(generation)?;
        if clock.ending {
            return None;
        }
        let silence = (self.heard_at(clock).plus(self.config.lease_silence_ms), Loss::WorkerLost);
        let closed = clock.closed_at.map(|at| (at.plus(self.config.lease_after_close_ms), Loss::WorkerLost));
        let mut ends = vec![silence];
        ends.extend(closed);
        if let Some(state) = self.state(generation) {
            ends.extend(self.stage_ends(state, clock));
        }
        ends.into_iter().min_by_key(|(at, _)| *at)
    }

    fn stage_ends(&self, state: &State, clock: &LeaseClock) -> Vec<(Timestamp, Loss)> {
        if state.phase == Phase::Cancelling {
            return state
                .cancel_grace_until
                .map(|at| (at.max(clock.since), Loss::CancelGraceOver))
                .into_iter()
                .collect();
        }
        let (Some(stage), Some(known)) = (state.stage_here(), state.stages.get(state.stage)) else {
            return Vec::new();
        };
        let started = known.started_at.unwrap_or(clock.since).max(clock.since);
        let moved = known.moved_at.unwrap_or(started).max(clock.movement.at);
        vec![(started.plus(stage.timeout_ms), Loss::TimedOut), (moved.plus(stage.stall_ms), Loss::Stalled)]
    }

    pub(super) fn check_lease(&mut self, generation: &GenerationId) {
        let now = self.now;
        let due = self.leases.get(generation).is_some_and(|clock| {
            clock.pending.is_some() && now.since(clock.progress_at) >= limits::PROGRESS_INTERVAL_MS
        });
        if due {
            self.flush_progress(generation);
        }
        match self.next_end(generation) {
            Some((at, loss)) if at <= now => self.lose(generation, loss),
            _ => {
                self.warn(generation);
                self.arm_lease(generation);
            }
        }
        if let Some(clock) = self.leases.get(generation)
            && clock.pending.is_some()
        {
            let at = clock.progress_at.plus(limits::PROGRESS_INTERVAL_MS).max(now.plus(1));
            self.timers.arm(Timer::Lease(generation.clone()), at);
        }
    }

    pub(super) fn lose(&mut self, generation: &GenerationId, loss: Loss) {
        let correlation = self.state(generation).map(|state| state.causal.clone());
        let Some(clock) = self.leases.get_mut(generation) else { return };
        if std::mem::replace(&mut clock.ending, true) {
            return;
        }
        let fence = clock.fence;
        let correlation = correlation.as_ref().map_or("", |causal| causal.as_str());
        tracing::warn!(generation = %generation, correlation, worker = %clock.worker, loss = ?loss, "lease lost");
        self.counts.lost(loss);
        // Not to be guessed: a worker that wrote under this id before would outlive its lease.
        let id = self.command_id();
        let command = engine::Command { id, action: Action::Lose { fence, loss } };
        self.put(generation, Task::Decide { command, birth: None }, Then::Must);
    }

    /// Between the watchdog's look and its turn at the desk the producer may have spoken.
    pub(super) fn is_silence_outdated(&mut self, generation: &GenerationId) -> bool {
        let Some(state) = self.state(generation) else { return false };
        let until = state.updated_at.plus(self.config.external_stall_ms);
        state.phase == Phase::External && until > self.now
    }

    /// Between a clock's look and its turn at the desk the stage may have moved: then the loss is no longer true.
    pub(super) fn is_loss_outdated(&mut self, generation: &GenerationId, loss: Loss) -> bool {
        if !matches!(loss, Loss::Stalled | Loss::TimedOut) {
            return false;
        }
        let Some(state) = self.state(generation).cloned() else { return false };
        let Some(clock) = self.leases.get(generation) else { return false };
        if self.stage_ends(&state, clock).into_iter().any(|(at, _)| at <= self.now) {
            return false;
        }
        if let Some(clock) = self.leases.get_mut(generation) {
            clock.ending = false;
        }
        self.arm_lease(generation);
        true
    }

    /// What a durable change means for leases, workers and the queue.
    pub(super) fn follow(
        &mut self,
        generation: &GenerationId,
        before: Option<&State>,
        after: &State,
        events: &[Decided],
    ) {
        self.counts.follow(before, events, self.now);
        self.learn(before, events);
        self.follow_breakers(after, events);
        self.arm_expiry(generation, after.expires_at());
        let held = before.and_then(|state| state.holder.as_ref());
        let ended =
            held.is_some() && after.holder.as_ref().map(|holder| &holder.lease) != held.map(|holder| &holder.lease);
        if ended {
            self.end_lease(generation, after, events);
        }
        if after.phase == Phase::Cancelling && before.is_some_and(|state| state.phase == Phase::Running) {
            self.tell_cancel(generation, after);
        }
        if let Some(pool) = events.iter().find_map(released_pool) {
            self.release_slot(generation, &pool);
        }
        let waits = after.phase == Phase::Queued && events.iter().any(|event| event.show.kind != EventType::Log);
        if waits && let Some(pool) = after.pool_here().cloned() {
            if after.not_before > self.now {
                self.timers.arm(Timer::Pool(pool), after.not_before);
            } else {
                self.kick(&pool);
            }
            self.survey_soon(generation);
        }
        if after.phase == Phase::External {
            let pool = PoolName::new(protocol::Pipeline::EXTERNAL).expect("a literal pool name is valid");
            self.pools.entry(pool.clone()).or_default();
            self.timers.arm(Timer::Pool(pool), self.now.plus(self.config.external_stall_ms + 1));
        }
        if after.is_terminal() {
            self.withdraw_all_of(generation);
            self.note_end(after);
        }
        if after.holder.is_none() {
            self.timers.arm(Timer::Evict(generation.clone()), self.now.plus(1_000));
        } else {
            self.arm_lease(generation);
        }
    }

    /// How long stages took that ended well.
    fn learn(&mut self, before: Option<&State>, events: &[Decided]) {
        let Some(before) = before else { return };
        for event in events {
            let Fact::StageCompleted { stage, .. } = &event.fact else { continue };
            let index = before.pipeline.stages.iter().position(|one| one.name == *stage);
            if let Some(began) = index.and_then(|index| before.stages.get(index)?.started_at) {
                self.experience.note(&before.pipeline.name, stage, event.show.timestamp.since(began));
            }
        }
    }

    fn end_lease(&mut self, generation: &GenerationId, after: &State, events: &[Decided]) {
        let Some(clock) = self.leases.remove(generation) else { return };
        self.left(generation, &clock.tenant, &clock.owner);
        // A worker that was lost has nothing in memory worth waiting for.
        if !clock.ending
            && let Some(pool) = after.pool_here().cloned()
            && !after.is_terminal()
        {
            self.remember_holder(generation, &pool, &clock.worker);
        }
        let Some(session) = clock.session else { return };
        self.leave_worker(generation, session, &clock);
        // Not by its own word: it must hear that it is over.
        if clock.ending || events.iter().any(|event| event.show.kind == EventType::CancelRequested) {
            self.lease_gone(session, clock.lease.clone());
        }
        self.kick(&clock.pool);
    }

    fn tell_cancel(&mut self, generation: &GenerationId, state: &State) {
        let Some(clock) = self.leases.get(generation) else { return };
        let (lease, session) = (clock.lease.clone(), clock.session);
        if let Some(session) = session {
            let reason = state.cancel_reason.clone();
            self.send(session, ServerMessage::Cancel { lease, reason, grace_ms: limits::CANCEL_GRACE_MS });
        }
    }

    fn release_slot(&mut self, generation: &GenerationId, pool: &PoolName) {
        let Some(clock) = self.leases.get_mut(generation) else { return };
        if clock.pool != *pool || std::mem::replace(&mut clock.slot_released, true) {
            return;
        }
        clock.released_at = Some(self.now);
        if let Some(session) = clock.session {
            self.free_slot(session, pool);
            self.kick(pool);
        }
    }
}

/// What the lane of a lease was charged at its grant: the stages of the run since.
fn predicted_ms(state: &State, holder: &Holder) -> i64 {
    let run = state.run();
    let begun = (0..run.start).rev().take_while(|&index| {
        state.stages.get(index).and_then(|known| known.started_at).is_some_and(|at| at >= holder.since)
    });
    let stages = begun.chain(run).filter_map(|index| state.pipeline.stages.get(index));
    let expected = stages.fold(0, |sum: u64, stage| sum.saturating_add(stage.expected_ms));
    i64::try_from(expected).unwrap_or(i64::MAX)
}

/// What is wrong with progress that no moment would make right.
fn why_not(state: &State, said: &PendingProgress) -> Option<String> {
    if let Err(refusal) = engine::progress::check(said.progress) {
        return Some(refusal.problem().message);
    }
    let all = || state.pipeline.stages.iter().chain(state.pipeline.on_failed.as_deref()).map(|stage| &stage.name);
    if all().any(|name| *name == said.stage) {
        return None;
    }
    let known: Vec<_> = all().map(StageName::as_str).collect();
    Some(format!("progress of stage {}: {} has {}", said.stage, state.pipeline.name, known.join(", ")))
}

fn released_pool(event: &Decided) -> Option<PoolName> {
    match &event.fact {
        Fact::Released { pool } => Some(pool.clone()),
        _ => None,
    }
}
