//! The core: inputs in, effects out. No I/O, no clock, no randomness of its own, so that the simulation runs this code.
//!
//! It owns every generation in memory, every worker session and every lease. Nothing else writes one. Its parts:
//! `desk` decides and commits, `dispatch` offers, `drain` ends that, `sessions` listens to workers, `leases` watches their clocks, `expiry` the
//! generations' own, `gates` tells what holds work back, `interest` carries demand from screens to workers and queue
//! positions back, `experience` knows how long things take, `room` when there is a place for more.

mod counts;
mod desk;
mod dispatch;
mod drain;
mod experience;
mod expiry;
mod gates;
mod interest;
mod leases;
mod message;
mod movement;
mod room;
mod sessions;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use access::Identity;
use bus::{Interest, Signal};
use bytes::Bytes;
use engine::{Flaw, Gate, Holds, Shares, State, breaker::Threshold};
use gateway::Outbound;
use protocol::{
    CommandId, Event, GenerationId, LeaseId, OfferId, PoolName, Problem, Sequence, Timestamp, UserId, WorkerId, limits,
    worker::{Artifact, WorkerMessage},
};
use store::{Change, Claim, CommitError, Committed, Loaded, Queued, Rank, StoreError};

pub use counts::{Counts, STAGE_SECONDS, StageCounts};
use desk::{Entry, Unread};
use dispatch::{Offer, Pool};
use drain::Drain;
use experience::Experience;
pub use gates::{BreakerView, GatesView, Switch};
use leases::LeaseClock;
pub use room::Whose;
use sessions::Session;
pub use sessions::WorkerView;
use timers::Timers;

use crate::pipelines::Pipelines;

/// Names one worker connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Names one question that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Names one change on its way to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlightId(pub u64);

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name, written into leases.
    pub node: String,
    /// Leases of this worker are released at start: it lived in the process that ended.
    pub in_process_worker: Option<WorkerId>,
    /// May workers bring pipelines?
    pub worker_pipelines: bool,
    /// A lease silent for so long is lost, in milliseconds.
    pub lease_silence_ms: u64,
    /// A lease whose worker's socket closed is lost after so long, in milliseconds.
    pub lease_after_close_ms: u64,
    /// An external producer silent for so long has failed, in milliseconds.
    pub external_stall_ms: u64,
    /// When a breaker opens, and for how long.
    pub breaker: Threshold,
    /// How much tenants and owners may have under way at once.
    pub shares: Shares,
    /// A rule to break, for the simulation that has to notice. No configuration leads here.
    #[doc(hidden)]
    pub flaw: Option<Flaw>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: "node".to_owned(),
            in_process_worker: None,
            worker_pipelines: false,
            lease_silence_ms: limits::LEASE_SILENCE_MAX_MS,
            lease_after_close_ms: limits::LEASE_AFTER_CLOSE_MS,
            external_stall_ms: limits::EXTERNAL_STALL_MS,
            breaker: Threshold::default(),
            shares: Shares::default(),
            flaw: None,
        }
    }
}

/// What a client asks of one generation.
#[derive(Debug)]
pub enum Ask {
    /// Make it.
    Submit {
        /// What it is.
        submit: Box<engine::Submit>,
        /// Makes a repeat harmless.
        command: CommandId,
        /// Its `Idempotency-Key`.
        claim: Option<Claim>,
        /// The dead letter it is made of.
        redrives: Option<GenerationId>,
    },
    /// Change it.
    Command(engine::Command),
    /// Only look.
    Read,
}

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// A client asks.
    Ask {
        /// Where the answer goes.
        ticket: Ticket,
        /// Which generation.
        generation: GenerationId,
        /// What.
        ask: Ask,
    },
    /// Does `bearer` hold `lease`? Asked before a file is taken.
    Holds {
        /// Where the answer goes.
        ticket: Ticket,
        /// Which generation.
        generation: GenerationId,
        /// The lease shown.
        lease: LeaseId,
        /// Whose token it was shown with.
        bearer: UserId,
    },
    /// Who works on what?
    Workers {
        /// Where the answer goes.
        ticket: Ticket,
    },
    /// Which gates are closed?
    Gates {
        /// Where the answer goes.
        ticket: Ticket,
    },
    /// When will these end?
    Estimate {
        /// Where the answer goes.
        ticket: Ticket,
        /// In the order of the answers.
        waiting: Vec<Waiting>,
    },
    /// When is there likely to be room for another generation?
    Room {
        /// Where the answer goes.
        ticket: Ticket,
        /// Whose.
        whose: Whose,
    },
    /// The server goes away.
    Drain {
        /// Answered when no connected worker holds a run.
        ticket: Ticket,
        /// For how long workers are still listened to.
        after_ms: u64,
    },
    /// An operator decided, and it is stored.
    Switch(Switch),
    /// Who waits before a gate that changed.
    Waiting {
        /// Which one.
        gate: Gate,
        /// Those that come first.
        generations: Vec<GenerationId>,
    },
    /// A worker's socket opened.
    Connected {
        /// Its name from here on.
        session: SessionId,
        /// Whose token it came with.
        bearer: Identity,
    },
    /// A worker said something.
    Said {
        /// Which one.
        session: SessionId,
        /// What.
        message: Box<WorkerMessage>,
    },
    /// A worker said something that is no message.
    Unreadable {
        /// Which one.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// A worker sent a picture.
    Frame {
        /// Which one.
        session: SessionId,
        /// Lease handle and frame.
        bytes: Bytes,
    },
    /// A worker's socket closed.
    Closed {
        /// Which one.
        session: SessionId,
    },
    /// The store read a generation; its latest event beside it.
    Loaded {
        /// Which one.
        generation: GenerationId,
        /// What was there.
        result: Result<Option<(Loaded, Arc<Event>)>, StoreError>,
    },
    /// The store looked for a command.
    Found {
        /// Of which generation.
        generation: GenerationId,
        /// The last event it caused.
        result: Result<Option<Sequence>, StoreError>,
    },
    /// An announced artifact was compared with what was uploaded.
    Verified {
        /// Of which generation.
        generation: GenerationId,
        /// Is it there, and the same?
        result: Result<(), Problem>,
    },
    /// The store answered a change.
    Committed {
        /// Of which generation.
        generation: GenerationId,
        /// Which change.
        flight: FlightId,
        /// How it ended.
        result: Result<Committed, CommitError>,
    },
    /// The store reserved work, and says when more becomes eligible.
    Reserved {
        /// Of which pool.
        pool: PoolName,
        /// How much was asked for.
        asked: usize,
        /// What there is.
        result: Result<(Vec<Queued>, Option<Timestamp>), StoreError>,
    },
    /// How much comes before watched generations in a pool's queue.
    Surveyed {
        /// Which pool.
        pool: PoolName,
        /// Of those that are in a lane.
        ranks: Vec<(GenerationId, Rank)>,
    },
    /// Who looks at each of these generations.
    Interest(Arc<[Interest]>),
    /// A generation was deleted.
    Deleted(GenerationId),
    /// Time passed.
    Tick,
}

/// One that waits in a lane, as somebody read it.
#[derive(Debug)]
pub struct Waiting {
    /// Where it stands.
    pub state: Box<State>,
    /// In whose queue.
    pub pool: PoolName,
    /// Worker-milliseconds predicted to come first.
    pub before_ms: i64,
}

/// What a question is answered with.
#[derive(Debug)]
pub enum Answer {
    /// A generation as it stands, durable.
    Generation {
        /// Its latest event.
        event: Arc<Event>,
        /// Its state.
        state: Arc<State>,
        /// Was this answered before, under the same id or key?
        repeated: bool,
    },
    /// Yes or no.
    Holds(bool),
    /// Who works on what.
    Workers(Vec<WorkerView>),
    /// Which gates are closed.
    Gates(GatesView),
    /// Seconds until each ends; `None` while nobody works on its pool.
    Estimates(Vec<Option<u64>>),
    /// Seconds until there is likely to be room.
    Room(u64),
    /// No connected worker holds a run.
    Drained,
}

/// What the core wants done. Changes of one generation are committed in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Write.
    Commit {
        /// Answer under this name.
        flight: FlightId,
        /// What.
        change: Box<Change>,
    },
    /// Read a generation.
    Load(GenerationId),
    /// Look for a command.
    Find {
        /// Of which generation.
        generation: GenerationId,
        /// Which command.
        command: CommandId,
    },
    /// Compare an announced artifact with what was uploaded.
    Verify {
        /// Of which generation.
        generation: GenerationId,
        /// What was announced.
        artifact: Artifact,
    },
    /// Reserve work.
    Reserve {
        /// Of which pool.
        pool: PoolName,
        /// How much.
        count: usize,
        /// Until when.
        until: Timestamp,
    },
    /// Give a reservation back.
    Unreserve(GenerationId),
    /// Ask how much comes before generations in a pool's queue.
    Survey {
        /// Which pool.
        pool: PoolName,
        /// Those that are watched.
        generations: Vec<GenerationId>,
    },
    /// Close a gate of the queue, or open it again; before anything is reserved that was asked for later.
    Gate {
        /// Its name.
        name: String,
        /// Is it open?
        open: bool,
    },
    /// Look who waits before a gate.
    FindWaiting(Gate),
    /// Say something to a worker.
    Send {
        /// Which one.
        session: SessionId,
        /// What.
        outbound: Outbound,
    },
    /// Tell whoever listens.
    Publish(Signal),
    /// Answer a question.
    Answer {
        /// Which one.
        ticket: Ticket,
        /// With what.
        answer: Result<Answer, Problem>,
    },
}

/// Random bits, drawn by whoever runs the core.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// Owns generations, sessions and leases.
pub struct Core {
    config: Config,
    pipelines: Arc<Pipelines>,
    counts: Arc<Counts>,
    random: Random,
    now: Timestamp,
    effects: Vec<Effect>,
    timers: Timers,
    desk: HashMap<GenerationId, Entry>,
    sessions: HashMap<SessionId, Session>,
    pools: HashMap<PoolName, Pool>,
    offers: HashMap<OfferId, Offer>,
    leases: HashMap<GenerationId, LeaseClock>,
    interests: HashMap<GenerationId, interest::Seen>,
    holds: Holds,
    /// Gates the queue was told are closed.
    closed: BTreeSet<Gate>,
    experience: Experience,
    ends: room::Ends,
    /// Reserved, and held back by what closes no gate of the queue; with when that was seen.
    passed_by: BTreeMap<GenerationId, Timestamp>,
    /// What could not be read, as far as it was told.
    unread: Unread,
    /// The server goes away.
    drain: Option<Drain>,
    flights: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("now", &self.now)
            .field("generations", &self.desk.len())
            .field("sessions", &self.sessions.len())
            .field("leases", &self.leases.len())
            .finish_non_exhaustive()
    }
}

impl Core {
    /// An empty core. [`Core::adopt`] the leases of an earlier run before anything else.
    #[must_use]
    pub fn new(config: Config, pipelines: Arc<Pipelines>, counts: Arc<Counts>, random: Random, now: Timestamp) -> Self {
        let holds = Holds::new(config.breaker, config.shares.clone());
        Self {
            config,
            pipelines,
            counts,
            random,
            now,
            effects: Vec::new(),
            timers: Timers::default(),
            desk: HashMap::new(),
            sessions: HashMap::new(),
            pools: HashMap::new(),
            offers: HashMap::new(),
            leases: HashMap::new(),
            interests: HashMap::new(),
            holds,
            closed: BTreeSet::new(),
            experience: Experience::default(),
            ends: room::Ends::default(),
            passed_by: BTreeMap::new(),
            unread: Unread::default(),
            drain: None,
            flights: 0,
        }
    }

    /// Takes one input at `now`, fires what is due, and answers what is to be done.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        // A clock that jumps back must not make deadlines of the past.
        self.now = self.now.max(now);
        match input {
            Input::Ask { ticket, generation, ask } => self.ask(ticket, &generation, ask),
            Input::Holds { ticket, generation, lease, bearer } => {
                let holds = self.leases.get(&generation).is_some_and(|one| one.lease == lease && one.bearer == bearer);
                self.effects.push(Effect::Answer { ticket, answer: Ok(Answer::Holds(holds)) });
            }
            Input::Workers { ticket } => {
                let answer = Ok(Answer::Workers(self.worker_views()));
                self.effects.push(Effect::Answer { ticket, answer });
            }
            Input::Gates { ticket } => {
                let answer = Ok(Answer::Gates(self.gates_view()));
                self.effects.push(Effect::Answer { ticket, answer });
            }
            Input::Estimate { ticket, waiting } => {
                let answer = Ok(Answer::Estimates(self.estimates(&waiting)));
                self.effects.push(Effect::Answer { ticket, answer });
            }
            Input::Room { ticket, whose } => {
                let answer = Ok(Answer::Room(self.room_s(&whose)));
                self.effects.push(Effect::Answer { ticket, answer });
            }
            Input::Drain { ticket, after_ms } => self.drain(ticket, after_ms),
            Input::Switch(switch) => self.switch(&switch),
            Input::Waiting { gate, generations } => self.waiting(&gate, generations),
            Input::Connected { session, bearer } => self.connected(session, bearer.user),
            Input::Said { session, message } => self.said(session, message),
            Input::Unreadable { session, why } => self.complain(session, &why),
            Input::Frame { session, bytes } => self.frame(session, &bytes),
            Input::Closed { session } => self.closed(session),
            Input::Loaded { generation, result } => self.loaded(&generation, result),
            Input::Found { generation, result } => self.found(&generation, result),
            Input::Verified { generation, result } => self.verified(&generation, result),
            Input::Committed { generation, flight, result } => self.committed(&generation, flight, result),
            Input::Reserved { pool, asked, result } => self.reserved(&pool, asked, result),
            Input::Surveyed { pool, ranks } => self.surveyed(&pool, &ranks),
            Input::Interest(interests) => interests.iter().for_each(|interest| self.interest(interest)),
            Input::Deleted(generation) => self.forget(&generation),
            Input::Tick => {}
        }
        self.fire_timers();
        self.answer_drain();
        std::mem::take(&mut self.effects)
    }

    /// When to be given a [`Input::Tick`] at the latest.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    fn random(&mut self) -> u64 {
        (self.random)()
    }

    fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let bits = self.random().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
        bytes
    }

    /// An id for a command of our own, which nobody repeats.
    fn command_id(&mut self) -> CommandId {
        let random = self.random_bytes();
        CommandId::generate(self.now, random)
    }

    fn send(&mut self, session: SessionId, message: protocol::worker::ServerMessage) {
        self.effects.push(Effect::Send { session, outbound: Outbound::Message(Box::new(message)) });
    }
}
