//! Random workers, clients and operators over the core and a real store; then everything is driven to rest and must be
//! whole. Workers crash, stall, lie, disconnect, come back after their lease and say things twice; the disk fills, answers
//! get lost, the server restarts anywhere, the clock jumps both ways, pipelines are paused, breakers open.
//! A failure prints its seed; `RUSHES_SEED=<seed>` runs that one alone, `SIMULATION_SEEDS=<count>` so many.
//!
//! That it would notice is shown by rules broken on purpose (`engine::Flaw`), which are an option of the core and not a
//! feature of the build: so the code that is tested is the code that ships, and no second build of it is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{Action, Command, Flaw};
use protocol::{
    CommandId, Durability, EventType, Fence, GenerationId, LeaseId, OfferId, Pipeline, Sequence, Stage,
    http::Priority,
    limits,
    worker::{FailureKind, HeldLease, Resumption, RunEvent, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::{
    Config, Share, Shares, Threshold,
    core::{Answer, Ask, SessionId, Ticket},
};
use store::{History, Store};

use crate::world::{Dice, World};

/// As many as run within twenty seconds on a machine of two cores.
const SEEDS: u64 = 300;
/// Seeds in which a broken rule must have been noticed: a hundred times less than a night runs.
const SEEDS_TO_NOTICE: u64 = 150;
/// Choices per seed: enough for each worker to come and go a few times.
const STEPS: usize = 300;
/// Rounds in which a healthy worker must have finished everything: many times what the work takes.
const ROUNDS_MAX: usize = 400;

#[tokio::test]
async fn whatever_happens_all_that_was_accepted_ends_once() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let count = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let seeds = number("RUSHES_SEED").map_or(1..count + 1, |seed| seed..seed + 1);
    for seed in seeds {
        println!("RUSHES_SEED={seed}");
        Play::new(seed, None).await.run().await;
    }
}

async fn notices(flaw: Flaw) {
    for seed in 1..=SEEDS_TO_NOTICE {
        let (mut plays, here) = (tokio::task::JoinSet::new(), tokio::task::LocalSet::new());
        plays.spawn_local_on(async move { Play::new(seed, Some(flaw)).await.run().await }, &here);
        if here.run_until(plays.join_next()).await.expect("one was begun").is_err() {
            println!("{flaw:?} was noticed with seed {seed}");
            return;
        }
    }
    panic!("{flaw:?} was not noticed in {SEEDS_TO_NOTICE} seeds");
}

#[tokio::test]
async fn writes_under_an_old_fence_would_be_noticed() {
    notices(Flaw::NoFenceCheck).await;
}

#[tokio::test]
async fn a_run_granted_twice_would_be_noticed() {
    notices(Flaw::DoubleGrant).await;
}

#[tokio::test]
async fn a_forgotten_timer_would_be_noticed() {
    notices(Flaw::ForgottenTimer).await;
}

#[tokio::test]
async fn a_retry_after_the_end_would_be_noticed() {
    notices(Flaw::RetryAfterEnd).await;
}

#[tokio::test]
async fn a_skipped_clean_up_would_be_noticed() {
    notices(Flaw::SkippedCleanUp).await;
}

#[derive(Debug, Clone)]
struct Run {
    fence: Fence,
    stages: Vec<protocol::StageName>,
    progress: f64,
    /// It has said its last word.
    over: bool,
}

/// A worker as a simple but honest one would be: it repeats what was not answered, and names what it holds.
#[derive(Debug, Default)]
struct Worker {
    name: String,
    instance: u32,
    session: Option<SessionId>,
    offers: Vec<(OfferId, Vec<protocol::StageName>)>,
    accepted: BTreeMap<OfferId, Vec<protocol::StageName>>,
    runs: BTreeMap<LeaseId, Run>,
    unanswered: BTreeMap<CommandId, WorkerMessage>,
    acked: BTreeMap<CommandId, (WorkerMessage, Sequence)>,
    /// What it said under a lease that another has superseded: must be refused.
    lies: BTreeSet<CommandId>,
}

struct Play {
    world: World,
    workers: Vec<Worker>,
    pipelines: Vec<Arc<Pipeline>>,
    /// What has a clean-up.
    tidy: BTreeSet<GenerationId>,
    asked: Vec<(GenerationId, Ticket)>,
    submitted: Vec<(GenerationId, Ticket)>,
    /// Answers of processes that ended.
    accepted: BTreeSet<GenerationId>,
    commands: Vec<(GenerationId, Command)>,
    said: u64,
}

impl Play {
    async fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let bound = Dice(seed).once_in(2);
        let share = Share { running_max: bound.then_some(3), running_per_owner_max: bound.then_some(1) };
        let config = Config {
            // Soon and short, so that it happens at all.
            breaker: Threshold { failures: Some(3), open_ms: 3_000 },
            shares: Shares { standard: share, ..Shares::default() },
            flaw,
            ..Config::default()
        };
        let mut world = World::with(seed, config).await;
        let count = 1 + world.dice.below(3);
        let workers = (0..count).map(|n| Worker { name: format!("w{n}"), ..Worker::default() }).collect();
        Self {
            world,
            workers,
            pipelines: ["strict", "relay", "tidy", "bounded"].map(pipeline).into(),
            tidy: BTreeSet::new(),
            asked: Vec::new(),
            submitted: Vec::new(),
            accepted: BTreeSet::new(),
            commands: Vec::new(),
            said: 0,
        }
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            self.step().await;
        }
        self.rest().await;
        self.check().await;
    }

    async fn step(&mut self) {
        match self.world.dice.below(28) {
            0..5 => {
                let count = 1 + self.world.dice.below(3);
                self.world.land(count).await;
            }
            5..9 => self.world.read_one().await,
            9 | 19 | 20 => self.world.settle().await,
            10 | 11 => {
                let most = [50, 300, 2_500, 12_000][self.world.dice.below(4)];
                let milliseconds = 1 + self.world.dice.below(most) as u64;
                self.world.advance(milliseconds).await;
            }
            12 | 13 => self.client().await,
            14 if self.world.dice.once_in(6) => self.restart().await,
            15 if self.world.dice.once_in(3) => self.world.full = !self.world.full,
            17 if self.world.dice.once_in(4) => {
                let name = self.pipelines[self.world.dice.below(self.pipelines.len())].name.to_string();
                let paused = self.world.dice.once_in(2);
                self.world.pause(&name, paused).await;
            }
            // The clock of the machine is set back.
            18 if self.world.dice.once_in(8) => self.world.now -= 1 + self.world.dice.below(5_000) as u64,
            16 if !self.world.full && self.world.dice.once_in(3) => self.world.land_unheard().await,
            _ => {
                let worker = self.world.dice.below(self.workers.len());
                self.work(worker).await;
            }
        }
        for worker in 0..self.workers.len() {
            self.read_mail(worker);
        }
    }

    async fn client(&mut self) {
        let any = (!self.submitted.is_empty()).then(|| self.world.dice.below(self.submitted.len()));
        match (self.world.dice.below(6), any) {
            (0..3, _) | (_, None) => {
                let pipeline = Arc::clone(&self.pipelines[self.world.dice.below(self.pipelines.len())]);
                let owner = ["ann", "bob"][self.world.dice.below(2)];
                let submitted = self.world.submit(&pipeline, owner).await;
                if pipeline.on_failed.is_some() {
                    self.tidy.insert(submitted.0.clone());
                }
                self.submitted.push(submitted);
            }
            (3, Some(_)) if !self.commands.is_empty() => {
                let (generation, command) = self.commands[self.world.dice.below(self.commands.len())].clone();
                self.command(generation, command).await;
            }
            (4, Some(at)) => {
                let id = self.next_id();
                let generation = self.submitted[at].0.clone();
                self.command(generation, Command { id, action: Action::Cancel { reason: String::new() } }).await;
            }
            (5, Some(at)) if self.world.dice.once_in(2) => {
                let generation = self.submitted[at].0.clone();
                let ticket = self.world.ask(&generation, Ask::Read).await;
                self.asked.push((generation, ticket));
            }
            (_, Some(at)) => {
                let id = self.next_id();
                let priority = [Priority::Interactive, Priority::Batch][self.world.dice.below(2)];
                let generation = self.submitted[at].0.clone();
                self.command(generation, Command { id, action: Action::Prioritize(priority) }).await;
            }
        }
    }

    async fn command(&mut self, generation: GenerationId, command: Command) {
        self.commands.push((generation.clone(), command.clone()));
        let ticket = self.world.ask(&generation, Ask::Command(command)).await;
        self.asked.push((generation, ticket));
    }

    async fn restart(&mut self) {
        self.note_accepted();
        // Whoever asked a process that ended asks again or never knows.
        self.asked.clear();
        self.submitted.retain(|(generation, _)| self.accepted.contains(generation));
        for worker in &mut self.workers {
            worker.session = None;
            worker.offers.clear();
            worker.accepted.clear();
        }
        let gracefully = self.world.dice.once_in(2);
        self.world.restart(gracefully).await;
    }

    fn note_accepted(&mut self) {
        for (generation, ticket) in &self.submitted {
            if let Some(Ok(Answer::Generation { .. })) = self.world.answered(*ticket) {
                self.accepted.insert(generation.clone());
            }
        }
    }

    async fn work(&mut self, at: usize) {
        let Some(session) = self.workers[at].session.filter(|session| !self.world.closed.contains(session)) else {
            return self.come_back(at).await;
        };
        match self.world.dice.below(16) {
            0..3 => self.world.say(session, WorkerMessage::Heartbeat { tokens: limits::TOKENS_MAX }).await,
            3..6 => self.answer_offer(at, session).await,
            6 if self.world.dice.once_in(3) => self.vanish(at, session).await,
            7 if self.world.dice.once_in(3) => self.world.say(session, WorkerMessage::Drain).await,
            8 => self.repeat(at, session).await,
            9 => drop(self.workers[at].offers.pop()),
            10 | 11 => self.lie(at, session).await,
            _ => self.go_on(at, session).await,
        }
    }

    async fn come_back(&mut self, at: usize) {
        let reborn = self.world.dice.once_in(4);
        let worker = &mut self.workers[at];
        if reborn {
            let lies = std::mem::take(&mut worker.lies);
            *worker = Worker { name: worker.name.clone(), instance: worker.instance + 1, lies, ..Worker::default() };
        }
        worker.offers.clear();
        worker.accepted.clear();
        let leases =
            worker.runs.iter().map(|(lease, run)| HeldLease { lease: lease.clone(), fence: run.fence }).collect();
        let (name, instance) = (worker.name.clone(), worker.instance.to_string());
        let slots = 1 + u32::try_from(at).unwrap();
        let session = self.world.hello(&name, &instance, slots, leases).await;
        self.workers[at].session = Some(session);
        let pending: Vec<_> = self.workers[at].unanswered.values().cloned().collect();
        for message in pending {
            self.world.say(session, message).await;
        }
    }

    async fn vanish(&mut self, at: usize, session: SessionId) {
        self.workers[at].session = None;
        self.world.hang_up(session).await;
    }

    async fn answer_offer(&mut self, at: usize, session: SessionId) {
        let Some((offer, stages)) = self.workers[at].offers.pop() else { return };
        if self.world.dice.once_in(6) {
            return self.world.say(session, WorkerMessage::Decline { offer, reason: String::new() }).await;
        }
        self.workers[at].accepted.insert(offer.clone(), stages);
        self.world.say(session, WorkerMessage::Accept { offer }).await;
    }

    /// A worker that goes on under a lease although another has the run, or says what makes no sense.
    async fn lie(&mut self, at: usize, session: SessionId) {
        let Some(lease) = self.world.superseded() else { return };
        let event_id = self.next_id();
        let message = match self.world.dice.below(3) {
            0 => WorkerMessage::Done { lease, event_id: event_id.clone(), outputs: Default::default() },
            1 => {
                let what = RunEvent::Log { message: "a lie".into(), metadata: None };
                WorkerMessage::Event { lease, event_id: event_id.clone(), what }
            }
            _ => {
                let stage = "draw".parse().unwrap();
                let message = WorkerMessage::Progress { lease, stage, progress: 400.0, message: None, metadata: None };
                return self.world.say(session, message).await;
            }
        };
        self.workers[at].lies.insert(event_id);
        self.world.say(session, message).await;
    }

    async fn repeat(&mut self, at: usize, session: SessionId) {
        let worker = &self.workers[at];
        let said: Vec<_> =
            worker.unanswered.values().chain(worker.acked.values().map(|(message, _)| message)).cloned().collect();
        if !said.is_empty() {
            let message = said[self.world.dice.below(said.len())].clone();
            self.world.say(session, message).await;
        }
    }

    async fn go_on(&mut self, at: usize, session: SessionId) {
        let open: Vec<_> = self.workers[at].runs.iter().filter(|(_, run)| !run.over).collect();
        if open.is_empty() {
            return self.answer_offer(at, session).await;
        }
        let (lease, run) = open[self.world.dice.below(open.len())];
        let (lease, stage) = (lease.clone(), run.stages[self.world.dice.below(run.stages.len())].clone());
        let event_id = self.next_id();
        let held = self.workers[at].runs.get_mut(&lease).expect("it was just found");
        let message = match self.world.dice.below(12) {
            0..5 => {
                held.progress = (held.progress + 7.0).min(100.0);
                let progress = held.progress;
                let message = WorkerMessage::Progress { lease, stage, progress, message: None, metadata: None };
                return self.world.say(session, message).await;
            }
            5 => WorkerMessage::Event { lease, event_id, what: RunEvent::StageCompleted { stage, outputs: None } },
            6 => {
                WorkerMessage::Event { lease, event_id, what: RunEvent::Log { message: "line".into(), metadata: None } }
            }
            7 => WorkerMessage::Release { lease, event_id, pool: "gpu".parse().unwrap() },
            8 => {
                held.over = true;
                let kinds =
                    [FailureKind::Retryable, FailureKind::Retryable, FailureKind::Fatal, FailureKind::OutOfMemory];
                let kind = kinds[self.world.dice.below(kinds.len())];
                WorkerMessage::Fail { lease, event_id, kind, code: String::new(), message: String::new() }
            }
            9 => {
                held.over = true;
                WorkerMessage::HandBack { lease, event_id }
            }
            _ => {
                held.over = true;
                WorkerMessage::Done { lease, event_id, outputs: Default::default() }
            }
        };
        self.send(at, session, message).await;
    }

    async fn send(&mut self, at: usize, session: SessionId, message: WorkerMessage) {
        let id = event_id(&message).expect("only what is answered is sent so");
        self.workers[at].unanswered.insert(id, message.clone());
        self.world.say(session, message).await;
    }

    fn read_mail(&mut self, at: usize) {
        let Some(session) = self.workers[at].session else { return };
        for message in self.world.mail(session) {
            self.workers[at].hear(message);
        }
    }

    fn next_id(&mut self) -> CommandId {
        self.said += 1;
        CommandId::new(format!("said.{}", self.said)).unwrap()
    }

    /// Everybody leaves, the disk has room, and one healthy worker does what is left.
    async fn rest(&mut self) {
        self.world.full = false;
        for name in ["strict", "relay", "tidy", "bounded"] {
            self.world.pause(name, false).await;
        }
        for at in 0..self.workers.len() {
            if let Some(session) = self.workers[at].session.take() {
                self.world.hang_up(session).await;
            }
        }
        self.world.pass(limits::LEASE_SILENCE_MAX_MS + 10_000).await;
        self.note_accepted();
        let mut fresh = Worker { name: "fresh".into(), ..Worker::default() };
        let session = self.world.hello("fresh", "1", 1, Vec::new()).await;
        fresh.session = Some(session);
        self.workers = vec![fresh];
        for _ in 0..ROUNDS_MAX {
            self.world.settle().await;
            self.read_mail(0);
            while let Some((offer, stages)) = self.workers[0].offers.pop() {
                self.workers[0].accepted.insert(offer.clone(), stages);
                self.world.say(session, WorkerMessage::Accept { offer }).await;
            }
            let open: Vec<_> =
                self.workers[0].runs.iter().filter(|(_, run)| !run.over).map(|(l, _)| l.clone()).collect();
            for lease in open {
                self.workers[0].runs.get_mut(&lease).expect("listed above").over = true;
                let event_id = self.next_id();
                self.send(0, session, WorkerMessage::Done { lease, event_id, outputs: Default::default() }).await;
            }
            if self.all_ended() {
                break;
            }
            self.world.pass(limits::HEARTBEAT_MS / 4).await;
            self.world.say(session, WorkerMessage::Heartbeat { tokens: limits::TOKENS_MAX }).await;
        }
        self.world.settle().await;
        self.read_mail(0);
    }

    /// What was accepted, and what was stored although nobody heard that it was.
    fn all(&self) -> BTreeSet<GenerationId> {
        self.world.shown.lock().iter().map(|event| event.generation_id.clone()).chain(self.accepted.clone()).collect()
    }

    fn all_ended(&self) -> bool {
        let shown = self.world.shown.lock().clone();
        let ended: BTreeSet<_> =
            shown.iter().filter(|event| event.kind.is_terminal()).map(|event| &event.generation_id).collect();
        self.all().iter().all(|generation| ended.contains(generation))
    }

    async fn check(&mut self) {
        for generation in self.all() {
            let stored = self.world.stored(&generation).await;
            let sequences: Vec<_> = stored.iter().map(|event| event.sequence.0).collect();
            assert_eq!(sequences, (1..=stored.len() as u64).collect::<Vec<_>>());
            let ends = stored.iter().filter(|event| event.kind.is_terminal()).count();
            assert_eq!(ends, 1, "{generation} ends once: {:#?}", kinds(&stored));
            assert!(stored.last().is_some_and(|event| event.kind.is_terminal()), "nothing follows the end");
            assert!(stored.iter().map(|event| event.progress).is_sorted(), "the bar never falls");
            let has = |kind| stored.iter().any(|event| event.kind == kind);
            let unhappy = has(EventType::Failed) || has(EventType::Cancelled);
            if self.tidy.contains(&generation) && unhappy && has(EventType::StageStarted) {
                assert!(has(EventType::CleanUpStarted), "{generation} was not cleaned up: {:#?}", kinds(&stored));
            }
            let letter = self.world.store.letter(&generation).await.unwrap();
            assert_eq!(letter.is_some(), has(EventType::Failed), "a dead letter is what failed for good");
            assert_eq!(self.world.shown_of(&generation), stored, "what was shown is what was stored");
        }
        for (generation, ticket) in self.asked.iter().chain(&self.submitted) {
            assert!(self.world.answered(*ticket).is_some() || self.accepted.contains(generation), "an answer is due");
        }
        for (_, ticket) in &self.asked {
            assert!(self.world.answered(*ticket).is_some(), "{ticket:?} was never answered");
        }
        assert!(self.workers[0].unanswered.is_empty(), "{:#?}", self.workers[0].unanswered);
        assert!(self.world.gates().await.paused.is_empty());
        let views = self.world.workers().await;
        assert_eq!(views.len(), 1);
        assert!(views[0].busy.values().all(|busy| *busy == 0), "slots leaked: {:?}", views[0]);
        assert!(views[0].generations.is_empty(), "leases leaked: {:?}", views[0]);
        assert!(self.world.store.leased().await.unwrap().is_empty(), "nobody holds what has ended");
    }
}

impl Worker {
    fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { offer, stages, .. } => {
                self.offers.push((offer, stages.into_iter().map(|stage| stage.name).collect()));
            }
            ServerMessage::Withdrawn { offer } => {
                self.offers.retain(|(known, _)| *known != offer);
                self.accepted.remove(&offer);
            }
            ServerMessage::Granted { offer, lease, fence, .. } => {
                let stages = self.accepted.remove(&offer).expect("granted is what was accepted");
                self.runs.insert(lease, Run { fence, stages, progress: 0.0, over: false });
            }
            ServerMessage::LeaseLost { lease } => drop(self.runs.remove(&lease)),
            ServerMessage::Welcome { leases, .. } => {
                for answer in leases.iter().filter(|answer| answer.result == Resumption::LeaseLost) {
                    self.runs.remove(&answer.lease);
                }
            }
            ServerMessage::Ack { event_id, sequence } => {
                assert!(!self.lies.contains(&event_id), "{event_id} was taken under an old fence");
                if let Some(message) = self.unanswered.remove(&event_id) {
                    self.forget_if_last(&message);
                    self.acked.insert(event_id, (message, sequence));
                } else if let Some((message, first)) = self.acked.get(&event_id) {
                    // What changed nothing has no event of its own, and is answered with what stands.
                    let changed = !matches!(message, WorkerMessage::Event { .. } | WorkerMessage::Release { .. });
                    assert!(!changed || *first == sequence, "{event_id} was {first:?}, then {sequence:?}");
                }
            }
            ServerMessage::Refused { event_id, .. } => {
                // What changed nothing was taken as it came, and is nobody's when the run is over.
                let may = |(message, _): &(WorkerMessage, Sequence)| {
                    matches!(message, WorkerMessage::Event { .. } | WorkerMessage::Release { .. })
                };
                assert!(self.acked.get(&event_id).is_none_or(may), "{event_id} was taken, then refused");
                if let Some(message) = self.unanswered.remove(&event_id) {
                    self.forget_if_last(&message);
                }
            }
            _ => {}
        }
    }

    fn forget_if_last(&mut self, message: &WorkerMessage) {
        if let WorkerMessage::Done { lease, .. }
        | WorkerMessage::Fail { lease, .. }
        | WorkerMessage::HandBack { lease, .. } = message
        {
            self.runs.remove(lease);
        }
    }
}

fn event_id(message: &WorkerMessage) -> Option<CommandId> {
    match message {
        WorkerMessage::Event { event_id, .. }
        | WorkerMessage::Release { event_id, .. }
        | WorkerMessage::Done { event_id, .. }
        | WorkerMessage::Fail { event_id, .. }
        | WorkerMessage::HandBack { event_id, .. } => Some(event_id.clone()),
        _ => None,
    }
}

fn kinds(events: &[protocol::Event]) -> Vec<(u64, EventType)> {
    events.iter().map(|event| (event.sequence.0, event.kind)).collect()
}

/// Two runs, of two stages and of one; small bounds, so that they are reached.
fn pipeline(name: &str) -> Arc<Pipeline> {
    let stage = |name: &str, pool: &str| Stage {
        pool: pool.parse().unwrap(),
        expected_ms: 1_000,
        stall_ms: 6_000,
        timeout_ms: 20_000,
        bigger_pool: (pool == "gpu").then(|| "big".parse().unwrap()),
        retries: 2,
        ..Stage::new(name.parse().unwrap())
    };
    let stages = vec![stage("draw", "gpu"), stage("smooth", "gpu"), stage("encode", "cpu")];
    let plain = Pipeline::new(name.parse().unwrap(), stages);
    Arc::new(match name {
        "relay" => Pipeline { durability: Durability::Relay, ..plain },
        "tidy" => Pipeline { on_failed: Some(Box::new(Stage { retries: 1, ..stage("sweep", "cpu") })), ..plain },
        "bounded" => Pipeline { timeout_ms: Some(30_000), queue_timeout_ms: Some(8_000), ..plain },
        _ => plain,
    })
}
