//! Random workers and clients over the core and a real store; then everything is driven to rest and must be whole.
//! A failure prints its seed; `RUSHES_SEED=<seed>` runs that one alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{Action, Command};
use protocol::{
    CommandId, Durability, EventType, Fence, GenerationId, LeaseId, OfferId, Pipeline, Sequence, Stage,
    http::Priority,
    limits,
    worker::{FailureKind, HeldLease, Resumption, RunEvent, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::core::{Answer, Ask, SessionId, Ticket};
use store::Store;

use crate::world::World;

/// As many as run within ten seconds on a machine of two cores.
const SEEDS: u64 = 300;
/// Choices per seed: enough for each worker to come and go a few times.
const STEPS: usize = 70;
/// Rounds in which a healthy worker must have finished everything: many times what the work takes.
const ROUNDS_MAX: usize = 400;

#[tokio::test]
async fn whatever_happens_all_that_was_accepted_ends_once() {
    let named = std::env::var("RUSHES_SEED").ok().map(|text| text.parse().expect("RUSHES_SEED is a number"));
    let seeds = named.map_or(1..SEEDS + 1, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!("RUSHES_SEED={seed}");
        Play::new(seed).await.run().await;
    }
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
}

struct Play {
    world: World,
    workers: Vec<Worker>,
    pipelines: Vec<Arc<Pipeline>>,
    asked: Vec<(GenerationId, Ticket)>,
    submitted: Vec<(GenerationId, Ticket)>,
    /// Answers of processes that ended.
    accepted: BTreeSet<GenerationId>,
    commands: Vec<(GenerationId, Command)>,
    said: u64,
}

impl Play {
    async fn new(seed: u64) -> Self {
        let mut world = World::new(seed).await;
        let count = 1 + world.dice.below(3);
        let workers = (0..count).map(|n| Worker { name: format!("w{n}"), ..Worker::default() }).collect();
        Self {
            world,
            workers,
            pipelines: vec![pipeline("strict", Durability::Strict), pipeline("relay", Durability::Relay)],
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
        match self.world.dice.below(24) {
            0..5 => {
                let count = 1 + self.world.dice.below(3);
                self.world.land(count).await;
            }
            5..9 => self.world.read_one().await,
            9 => self.world.settle().await,
            10 | 11 => {
                let most = [50, 300, 2_500, 12_000][self.world.dice.below(4)];
                let milliseconds = 1 + self.world.dice.below(most) as u64;
                self.world.advance(milliseconds).await;
            }
            12 | 13 => self.client().await,
            14 if self.world.dice.once_in(6) => self.restart().await,
            15 if self.world.dice.once_in(3) => self.world.full = !self.world.full,
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
                let pipeline = Arc::clone(&self.pipelines[self.world.dice.below(2)]);
                let owner = ["ann", "bob"][self.world.dice.below(2)];
                let submitted = self.world.submit(&pipeline, owner).await;
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
            _ => self.go_on(at, session).await,
        }
    }

    async fn come_back(&mut self, at: usize) {
        let reborn = self.world.dice.once_in(4);
        let worker = &mut self.workers[at];
        if reborn {
            *worker = Worker { name: worker.name.clone(), instance: worker.instance + 1, ..Worker::default() };
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
                let kind = [FailureKind::Retryable, FailureKind::Fatal][self.world.dice.below(2)];
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
            assert_eq!(self.world.shown_of(&generation), stored, "what was shown is what was stored");
        }
        for (generation, ticket) in self.asked.iter().chain(&self.submitted) {
            assert!(self.world.answered(*ticket).is_some() || self.accepted.contains(generation), "an answer is due");
        }
        for (_, ticket) in &self.asked {
            assert!(self.world.answered(*ticket).is_some(), "{ticket:?} was never answered");
        }
        assert!(self.workers[0].unanswered.is_empty(), "{:#?}", self.workers[0].unanswered);
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
                assert!(!self.acked.contains_key(&event_id), "{event_id} was taken, then refused");
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

/// Two runs, of two stages and of one.
fn pipeline(name: &str, durability: Durability) -> Arc<Pipeline> {
    let stage = |name: &str, pool: &str| Stage {
        pool: pool.parse().unwrap(),
        expected_ms: 1_000,
        ..Stage::new(name.parse().unwrap())
    };
    Arc::new(Pipeline {
        durability,
        ..Pipeline::new(
            name.parse().unwrap(),
            vec![stage("draw", "gpu"), stage("smooth", "gpu"), stage("encode", "cpu")],
        )
    })
}
