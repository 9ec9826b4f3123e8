//! Worker sessions: what a connected worker is, can, and says.

use std::collections::{BTreeMap, HashMap};

use gateway::Outbound;
use protocol::{
    CommandId, ErrorCode, GenerationId, Handle, LeaseId, PoolName, Problem, Sequence, Timestamp, UserId, WorkerId,
    limits,
    live::close,
    worker::{HeldLease, ServerMessage, WorkerMessage},
};
use serde::Serialize;

use super::{
    Core, Effect, SessionId,
    desk::{Task, Then},
    leases::{Claimant, PendingProgress},
    message::{self, Unaddressed},
    timers::Timer,
};

/// Most pools one worker may serve: a machine has a few kinds of work, not hundreds.
const POOLS_MAX: usize = 32;

/// What a worker said of itself.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) worker: WorkerId,
    pub(super) instance: String,
    labels: BTreeMap<String, String>,
    sdk: Option<String>,
}

/// One worker connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) bearer: UserId,
    pub(super) hello: Option<Hello>,
    pools: BTreeMap<PoolName, u32>,
    /// Slots taken, by offers and leases.
    pub(super) busy: BTreeMap<PoolName, u32>,
    /// Offers it may get before its next heartbeat.
    pub(super) tokens: u32,
    pub(super) heard_at: Timestamp,
    draining: bool,
    handles: HashMap<Handle, GenerationId>,
    next_handle: Handle,
    /// Offers it declined, not repeated before.
    pub(super) declined: HashMap<GenerationId, Timestamp>,
}

/// A worker, as operators see it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// Its name.
    pub worker: WorkerId,
    /// Its process.
    pub instance: String,
    /// Slots by pool.
    pub pools: BTreeMap<PoolName, u32>,
    /// Slots taken by pool.
    pub busy: BTreeMap<PoolName, u32>,
    /// Offers it may get before its next heartbeat.
    pub tokens: u32,
    /// Takes no more offers.
    pub draining: bool,
    /// When it was last heard.
    pub heard_at: Timestamp,
    /// Free facts.
    pub labels: BTreeMap<String, String>,
    /// Name and version of its SDK.
    pub sdk: Option<String>,
    /// What it works on.
    pub generations: Vec<GenerationId>,
}

impl Session {
    /// Slots that an offer could take now.
    pub(super) fn room(&self, pool: &PoolName, now: Timestamp) -> usize {
        let silent = now.since(self.heard_at) > limits::CAPACITY_WINDOW_MS;
        if self.draining || self.tokens == 0 || silent {
            return 0;
        }
        let slots = self.pools.get(pool).copied().unwrap_or(0);
        slots.saturating_sub(self.busy.get(pool).copied().unwrap_or(0)) as usize
    }

    pub(super) fn has_pool(&self, pool: &PoolName) -> bool {
        self.pools.contains_key(pool)
    }

    pub(super) fn serves(&self, pool: &PoolName) -> bool {
        !self.draining && self.pools.contains_key(pool)
    }

    pub(super) fn is_worker(&self, worker: &WorkerId) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.worker == *worker)
    }

    pub(super) fn add_handle(&mut self, generation: &GenerationId) -> Handle {
        let handle = self.next_handle;
        self.next_handle = handle.next();
        self.handles.insert(handle, generation.clone());
        handle
    }

    pub(super) fn generation_of(&self, handle: Handle) -> Option<&GenerationId> {
        self.handles.get(&handle)
    }

    /// What it holds.
    pub(super) fn held(&self) -> Vec<GenerationId> {
        let mut held: Vec<_> = self.handles.values().cloned().collect();
        // No order of a map shows.
        held.sort();
        held
    }

    /// Slots of `pool` of one that is there.
    pub(super) fn slots(&self, pool: &PoolName, now: Timestamp) -> u32 {
        let silent = now.since(self.heard_at) > limits::CAPACITY_WINDOW_MS;
        if self.draining || silent { 0 } else { self.pools.get(pool).copied().unwrap_or(0) }
    }

    pub(super) fn drop_handle(&mut self, generation: &GenerationId) {
        self.handles.retain(|_, held| held != generation);
    }
}

impl Core {
    pub(super) fn connected(&mut self, session: SessionId, bearer: UserId) {
        let fresh = Session {
            bearer,
            hello: None,
            pools: BTreeMap::new(),
            busy: BTreeMap::new(),
            tokens: 0,
            heard_at: self.now,
            draining: false,
            handles: HashMap::new(),
            next_handle: Handle(1),
            declined: HashMap::new(),
        };
        self.sessions.insert(session, fresh);
        self.timers.arm(Timer::Hello(session), self.now.plus(limits::AUTHENTICATION_TIMEOUT_MS));
    }

    pub(super) fn hello_timed_out(&mut self, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|session| session.hello.is_none()) {
            self.complain(session, "say hello within 10 seconds of connecting");
            self.close(session, close::POLICY, "no hello");
        }
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        self.drop_offers_of(session);
        let Some(gone) = self.sessions.remove(&session) else { return };
        self.session_left_its_leases(session, &gone);
        // Nobody may be left who serves its pools.
        for pool in gone.pools.keys() {
            self.kick(pool);
        }
        if let Some(hello) = gone.hello {
            tracing::info!(worker = %hello.worker, "worker disconnected");
        }
    }

    pub(super) fn said(&mut self, session: SessionId, message: Box<WorkerMessage>) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.heard_at = self.now;
        let bearer = known.bearer.clone();
        let greeted = known.hello.is_some();
        if !greeted && !matches!(*message, WorkerMessage::Hello { .. }) {
            self.complain(session, "the first message is hello");
            self.close(session, close::POLICY, "no hello");
            return;
        }
        match message::address(message) {
            Ok(addressed) => {
                self.before_edge(&addressed.generation, &addressed.action, &bearer);
                let then = Then::Ack { session, event_id: addressed.event_id.clone(), bearer };
                let command = engine::Command { id: addressed.event_id, action: addressed.action };
                self.put(&addressed.generation, Task::Decide { command, birth: None }, then);
            }
            Err(Unaddressed::NoSuchLease(event_id)) => {
                let problem =
                    Problem::new(ErrorCode::LeaseLost, "no such lease").hint("stop this run and take new offers");
                self.refused(session, event_id, &problem);
            }
            Err(Unaddressed::TooLarge(event_id)) => {
                let problem = Problem::new(ErrorCode::TooLarge, "checkpoint data is over 64 KiB")
                    .hint("upload it as an artifact and name it");
                self.refused(session, event_id, &problem);
            }
            Err(Unaddressed::NotDurable(message)) => self.said_in_passing(session, *message),
        }
    }

    fn said_in_passing(&mut self, session: SessionId, message: WorkerMessage) {
        match message {
            WorkerMessage::Hello { worker, instance, pools, labels, sdk, leases, pipelines } => {
                for pipeline in pipelines {
                    self.register(session, pipeline);
                }
                let hello = Hello { worker, instance, labels, sdk };
                self.greet(session, &hello, &pools, &leases);
            }
            WorkerMessage::Accept { offer } => self.accept(session, &offer),
            WorkerMessage::Decline { offer, reason } => self.decline(session, &offer, &reason),
            WorkerMessage::Progress { lease, stage, progress, message, metadata } => {
                self.progress(session, &lease, PendingProgress { stage, progress, message, metadata });
            }
            WorkerMessage::Heartbeat { tokens } => self.heartbeat(session, tokens),
            WorkerMessage::Drain => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.draining = true;
                }
                self.drop_offers_of(session);
            }
            _ => {}
        }
    }

    fn register(&mut self, session: SessionId, pipeline: protocol::Pipeline) {
        let problem = if self.config.worker_pipelines {
            let Err(problem) = self.pipelines.register(pipeline) else { return };
            problem
        } else if self.pipelines.all().iter().any(|known| **known == pipeline) {
            return;
        } else {
            Problem::new(ErrorCode::Forbidden, "this server takes no pipelines from workers")
                .hint("set worker_pipelines = true, or write it into rushes.toml")
        };
        let (code, error) = (problem.code, problem.to_string());
        self.send(session, ServerMessage::Error { code, error });
    }

    fn greet(&mut self, id: SessionId, hello: &Hello, pools: &BTreeMap<PoolName, u32>, leases: &[HeldLease]) {
        if pools.len() > POOLS_MAX || pools.values().any(|slots| *slots > limits::SLOTS_MAX) {
            self.complain(id, &format!("at most {POOLS_MAX} pools with {} slots each", limits::SLOTS_MAX));
            self.close(id, close::POLICY, "too many slots");
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.hello.is_some() {
            self.complain(id, "hello was said already");
            return;
        }
        let bearer = session.bearer.clone();
        session.hello = Some(hello.clone());
        session.pools.clone_from(pools);
        session.tokens = limits::TOKENS_MAX;
        self.replace_older(id, hello, &bearer);
        let answers = self.resume_leases(&Claimant { session: id, hello, bearer: &bearer }, leases);
        tracing::info!(worker = %hello.worker, slots = pools.values().sum::<u32>(), "worker connected");
        self.send(
            id,
            ServerMessage::Welcome {
                heartbeat_ms: limits::HEARTBEAT_MS,
                lease_ms: self.config.lease_silence_ms,
                clock: self.now,
                leases: answers,
            },
        );
        self.tell_resumed(id);
        self.tell_drain(id);
        for pool in pools.keys() {
            self.kick(pool);
        }
    }

    /// A worker has one connection: the newest. Half-open sockets are found this way.
    fn replace_older(&mut self, id: SessionId, hello: &Hello, bearer: &UserId) {
        let mut older: Vec<_> = self
            .sessions
            .iter()
            .filter(|(other, session)| **other != id && session.bearer == *bearer && session.is_worker(&hello.worker))
            .map(|(other, _)| *other)
            .collect();
        older.sort();
        for other in older {
            self.close(other, close::NORMAL, "replaced by a newer connection");
            self.closed(other);
        }
    }

    fn heartbeat(&mut self, id: SessionId, tokens: u32) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.tokens = tokens.min(limits::TOKENS_MAX);
        let pools: Vec<_> = session.pools.keys().cloned().collect();
        for pool in pools {
            self.kick(&pool);
        }
    }

    pub(super) fn ack(&mut self, session: SessionId, event_id: CommandId, sequence: Sequence) {
        self.send(session, ServerMessage::Ack { event_id, sequence });
    }

    pub(super) fn refused(&mut self, session: SessionId, event_id: CommandId, problem: &Problem) {
        let (code, message) = (problem.code, problem.to_string());
        self.send(session, ServerMessage::Refused { event_id, code, message });
    }

    /// What it said, or did not say, was not understood; nothing was done.
    pub(super) fn complain(&mut self, session: SessionId, why: &str) {
        self.send(session, ServerMessage::Error { code: ErrorCode::InvalidRequest, error: why.to_owned() });
    }

    pub(super) fn close(&mut self, session: SessionId, code: u16, reason: &'static str) {
        self.effects.push(Effect::Send { session, outbound: Outbound::Close { code, reason } });
    }

    pub(super) fn lease_gone(&mut self, session: SessionId, lease: LeaseId) {
        self.send(session, ServerMessage::LeaseLost { lease });
    }

    pub(super) fn worker_views(&self) -> Vec<WorkerView> {
        let mut views: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(id, session)| {
                let hello = session.hello.clone()?;
                let held = session.held();
                let holds = |one: &GenerationId| self.leases.get(one).is_some_and(|c| c.session == Some(*id));
                let generations = held.into_iter().filter(holds).collect();
                Some(WorkerView {
                    worker: hello.worker,
                    instance: hello.instance,
                    pools: session.pools.clone(),
                    busy: session.busy.clone(),
                    tokens: session.tokens,
                    draining: session.draining,
                    heard_at: session.heard_at,
                    labels: hello.labels,
                    sdk: hello.sdk,
                    generations,
                })
            })
            .collect();
        views.sort_by(|a, b| a.worker.cmp(&b.worker));
        views
    }
}
