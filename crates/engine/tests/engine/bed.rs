//! A generation on a bench: commands go in with fresh ids, what is decided is folded, and the clock moves by hand.

use std::sync::Arc;

use protocol::{
    ArtifactName, CausalId, CommandId, EventType, Fence, GenerationId, LeaseId, Metadata, Pipeline, PipelineName,
    PoolName, Stage, StageName, TenantId, Timestamp, UserId, WorkerId,
    http::Report,
    worker::{Artifact, FailureKind},
};
use rushes_engine::{
    Action, Command, Context, Decision, Event, Grant, Holds, Loss, Refusal, Request, State, Submit, decide, evolve,
};
use serde_json::Value;

/// When every bench starts.
pub(crate) const START: Timestamp = Timestamp(1_737_331_200_000);

#[derive(Debug, Clone)]
pub(crate) struct Bed {
    pub(crate) state: Option<State>,
    pub(crate) now: Timestamp,
    pub(crate) history: Vec<Event>,
    pub(crate) random: u64,
    pub(crate) commands: u64,
    pub(crate) holds: Holds,
}

impl Bed {
    pub(crate) fn empty() -> Self {
        Self { state: None, now: START, history: Vec::new(), random: 0, commands: 0, holds: Holds::default() }
    }

    pub(crate) fn queued(pipeline: Pipeline) -> Self {
        let mut bed = Self::empty();
        bed.must(submit(pipeline));
        bed
    }

    pub(crate) fn running(pipeline: Pipeline) -> Self {
        let mut bed = Self::queued(pipeline);
        bed.must(grant(Fence(1)));
        bed
    }

    pub(crate) fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    pub(crate) fn last(&self) -> &protocol::Event {
        &self.history.last().unwrap().show
    }

    pub(crate) fn wait(&mut self, milliseconds: u64) -> &mut Self {
        self.now = self.now.plus(milliseconds);
        self
    }

    /// Decides and folds; answers with the types of the events.
    pub(crate) fn ask(&mut self, action: Action) -> Result<Vec<EventType>, Refusal> {
        self.commands += 1;
        let command = Command { id: CommandId::new(format!("c{}", self.commands)).unwrap(), action };
        let Decision { events, after } = decide(
            self.state.as_ref(),
            &Context { random: self.random, holds: Some(&self.holds), flaw: None },
            &command,
            self.now,
        )?;
        for event in &events {
            self.state = Some(evolve(self.state.take(), event));
        }
        assert_eq!(self.state.as_ref(), Some(&after), "the state that was decided is the fold of what was decided");
        let kinds = events.iter().map(|event| event.show.kind).collect();
        self.history.extend(events);
        Ok(kinds)
    }

    /// The types of the events, or the word for the refusal.
    pub(crate) fn outcome(&mut self, action: Action) -> String {
        match self.ask(action) {
            Ok(kinds) => words(&kinds),
            Err(refusal) => word(&refusal).to_owned(),
        }
    }

    pub(crate) fn must(&mut self, action: Action) -> Vec<EventType> {
        self.ask(action).unwrap()
    }

    /// The lease of the latest grant, whether it still counts or not.
    pub(crate) fn right(&self) -> (LeaseId, Fence) {
        let fence = self.state.as_ref().map_or(Fence(0), |state| state.fence);
        (lease(fence), fence)
    }

    /// Grants the next run as soon as it may begin.
    pub(crate) fn grant(&mut self) -> Vec<EventType> {
        self.now = self.now.max(self.state().not_before);
        let fence = self.state().fence.next();
        self.must(grant(fence))
    }

    pub(crate) fn progress(&self, stage: &str, progress: f64) -> Action {
        let (lease, fence) = self.right();
        Action::Progress { lease, fence, stage: name(stage), progress, message: None, metadata: None }
    }

    pub(crate) fn said(&self, stage: &str, progress: f64, message: &str, metadata: Value) -> Action {
        let (lease, fence) = self.right();
        let (message, metadata) =
            (Some(message.to_owned()).filter(|text| !text.is_empty()), Some(facts(metadata).into()));
        Action::Progress { lease, fence, stage: name(stage), progress, message, metadata }
    }

    pub(crate) fn stage_completed(&self, stage: &str) -> Action {
        let (lease, fence) = self.right();
        Action::StageCompleted { lease, fence, stage: name(stage), outputs: None }
    }

    pub(crate) fn log(&self, message: &str, metadata: Value) -> Action {
        let (lease, fence) = self.right();
        Action::Log { lease, fence, message: message.to_owned(), metadata: Some(facts(metadata).into()) }
    }

    pub(crate) fn artifact(&self, name: &str) -> Action {
        let (lease, fence) = self.right();
        Action::Artifact { lease, fence, artifact: file(name) }
    }

    pub(crate) fn checkpoint(&self, data: Value) -> Action {
        let (lease, fence) = self.right();
        Action::Checkpoint { lease, fence, artifact: None, data: Some(data) }
    }

    pub(crate) fn release(&self, pool: &str) -> Action {
        let (lease, fence) = self.right();
        Action::Release { lease, fence, pool: PoolName::new(pool).unwrap() }
    }

    pub(crate) fn done(&self, outputs: Value) -> Action {
        let (lease, fence) = self.right();
        Action::Done { lease, fence, outputs: facts(outputs).into() }
    }

    pub(crate) fn fail(&self, kind: FailureKind) -> Action {
        let (lease, fence) = self.right();
        Action::Fail { lease, fence, kind, code: String::new(), message: "it broke".to_owned() }
    }

    pub(crate) fn hand_back(&self) -> Action {
        let (lease, fence) = self.right();
        Action::HandBack { lease, fence }
    }

    pub(crate) fn lose(&self, loss: Loss) -> Action {
        Action::Lose { fence: self.right().1, loss }
    }
}

pub(crate) fn name(stage: &str) -> StageName {
    StageName::new(stage).unwrap()
}

pub(crate) fn facts(value: Value) -> Metadata {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

pub(crate) fn file(name: &str) -> Artifact {
    Artifact { name: ArtifactName::new(name).unwrap(), size: 3, sha256: "00".repeat(32) }
}

pub(crate) fn lease(fence: Fence) -> LeaseId {
    LeaseId::generate(fence, [7; 16], &GenerationId::new("gen_a").unwrap())
}

/// Stages given as name, pool and whether their files are uploaded.
pub(crate) fn pipeline(stages: &[(&str, &str, bool)]) -> Pipeline {
    let stage = |&(stage, pool, keep): &(&str, &str, bool)| Stage {
        pool: PoolName::new(pool).unwrap(),
        keep,
        ..Stage::new(name(stage))
    };
    Pipeline {
        durability: protocol::Durability::Strict,
        ..Pipeline::new(PipelineName::new("bench").unwrap(), stages.iter().map(stage).collect())
    }
}

pub(crate) fn submission(pipeline: Pipeline) -> Submit {
    Submit {
        generation: GenerationId::new("gen_a").unwrap(),
        owner: UserId::new("user_456").unwrap(),
        tenant: TenantId::fallback(),
        causal: CausalId::new("cause").unwrap(),
        request: Request {
            input: facts(serde_json::json!({"prompt": "a boat at dawn"})),
            ..Request::of(Arc::new(pipeline))
        },
    }
}

pub(crate) fn submit(pipeline: Pipeline) -> Action {
    Action::Submit(Box::new(submission(pipeline)))
}

pub(crate) fn grant(fence: Fence) -> Action {
    Action::Grant(Grant {
        lease: lease(fence),
        worker: WorkerId::new("worker").unwrap(),
        instance: "i1".to_owned(),
        node: "node".to_owned(),
        bearer: UserId::new("workers").unwrap(),
        charged_ms: 0,
    })
}

pub(crate) fn cancel() -> Action {
    Action::Cancel { reason: String::new() }
}

pub(crate) fn report(status: &str, progress: Option<f64>) -> Action {
    Action::Report(Box::new(Report {
        event_id: CommandId::new("report").unwrap(),
        status: status.to_owned(),
        progress,
        message: None,
        metadata: None,
    }))
}

/// Types as they travel, to compare with a line of text.
pub(crate) fn words(kinds: &[EventType]) -> String {
    let word = |kind: &EventType| serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned();
    kinds.iter().map(word).collect::<Vec<_>>().join(" + ")
}

/// A refusal as a table prints it.
const fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Exists => "exists",
        Refusal::Unknown => "unknown",
        Refusal::LeaseLost { .. } => "lease lost",
        Refusal::LeaseRequired => "lease required",
        Refusal::Ended(_) => "ended",
        Refusal::NotNow { .. } => "not now",
        Refusal::WrongStage { .. } => "wrong stage",
        Refusal::Held(_) => "held",
        Refusal::NothingNew => "nothing new",
        Refusal::Invalid(_) | Refusal::Deadline { .. } => "invalid",
    }
}
