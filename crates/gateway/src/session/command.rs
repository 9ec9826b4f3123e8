//! What a client asks for beside watching: `generate`, `cancel`, `prioritize`, `credit`.

use access::{Identity, Verb, may};
use protocol::{
    CausalId, ErrorCode, GenerationId, Problem, RequestId, Timestamp,
    http::{Priority, Submission},
    live::{ClientMessage, ServerMessage},
};
use serde_json::Value;

use super::{
    Session,
    need::{Answer, Need},
    subscribe::{Asked, AskedFor},
};
use crate::{commands::Submit, encode::Encoded, gateway::unavailable, node::may_with};

/// A command that was read.
#[derive(Debug)]
pub(super) enum Command {
    Generate { request: RequestId, submission: Box<Submission> },
    Cancel(GenerationId),
    Prioritize(GenerationId, Priority),
    Credit { generation: GenerationId, frames: Option<u32>, events: Option<u32> },
}

impl Command {
    /// `None` for messages that are no commands.
    pub(super) fn read(message: ClientMessage) -> Option<Self> {
        Some(match message {
            ClientMessage::Generate { request_id, submission } => {
                Self::Generate { request: request_id, submission: Box::new(submission) }
            }
            ClientMessage::Cancel { generation_id } => Self::Cancel(generation_id),
            ClientMessage::Prioritize { generation_id, priority } => Self::Prioritize(generation_id, priority),
            ClientMessage::Credit { generation_id, frames, events } => {
                Self::Credit { generation: generation_id, frames, events }
            }
            ClientMessage::Authenticate { .. }
            | ClientMessage::Subscribe { .. }
            | ClientMessage::Unsubscribe { .. }
            | ClientMessage::Ping => return None,
        })
    }

    /// The generation it is about, what that takes, and how it is put to the orchestrator.
    fn steps(&self) -> Option<(&GenerationId, Verb, Need)> {
        match self {
            Self::Cancel(generation) => Some((generation, Verb::Cancel, Need::Cancel(generation.clone()))),
            Self::Prioritize(generation, priority) => {
                Some((generation, Verb::Prioritize, Need::Prioritize(generation.clone(), *priority)))
            }
            Self::Generate { .. } | Self::Credit { .. } => None,
        }
    }

    const fn generation(&self) -> Option<&GenerationId> {
        match self {
            Self::Cancel(generation) | Self::Prioritize(generation, _) | Self::Credit { generation, .. } => {
                Some(generation)
            }
            Self::Generate { .. } => None,
        }
    }

    const fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Generate { request, .. } => Some(request),
            Self::Cancel(_) | Self::Prioritize(..) | Self::Credit { .. } => None,
        }
    }
}

impl Session {
    pub(super) fn begin(&mut self, identity: &Identity, command: Command, now: Timestamp) {
        match command {
            Command::Credit { generation, frames, events } => self.credit(&generation, frames, events, now),
            Command::Generate { .. } => self.generate(identity, command, now),
            Command::Cancel(_) | Command::Prioritize(..) => {
                let Some((generation, verb, need)) = command.steps() else { return };
                let known = self.node.hub.tail(generation).and_then(|tail| tail.newest());
                match known {
                    Some(newest) if may_with(identity, verb, newest.event()) => {
                        self.ask(AskedFor::Done(command), need);
                    }
                    Some(_) => self.refuse(&Problem::not_found(), Some(&generation.clone()), None, now),
                    None => {
                        let need = Need::Latest(generation.clone());
                        self.ask(AskedFor::Permission(command), need);
                    }
                }
            }
        }
    }

    pub(super) fn answer_message(&mut self, kind: AskedFor, answer: Answer, now: Timestamp) {
        match kind {
            AskedFor::Subscribe(watch, wanted) => self.answer_subscribe(watch, &wanted, answer, now),
            AskedFor::Mine => self.answer_mine(answer, now),
            AskedFor::Permission(command) => self.answer_permission(command, answer, now),
            AskedFor::Done(command) => self.answer_command(&command, answer, now),
        }
    }

    fn generate(&mut self, identity: &Identity, command: Command, now: Timestamp) {
        let Command::Generate { request, submission } = &command else { return };
        let for_another = submission.owner.is_some() || submission.tenant.is_some();
        let verb = if for_another { Verb::SubmitFor } else { Verb::Submit };
        let tenant = submission.tenant.clone().unwrap_or_else(|| identity.tenant.clone());
        if !may(identity, verb, None) || (for_another && tenant != identity.tenant) {
            let problem = Problem::new(ErrorCode::Forbidden, "This token does not allow to submit that");
            return self.refuse(&problem, None, Some(&request.clone()), now);
        }
        let submit = Submit {
            owner: submission.owner.clone().unwrap_or_else(|| identity.user.clone()),
            tenant,
            causal: CausalId::generate(now, (self.node.random)()),
            trace: None,
            trace_state: None,
            idempotency: Some(request.as_str().to_owned()),
            submission: (**submission).clone(),
        };
        self.ask(AskedFor::Done(command), Need::Submit(Box::new(submit)));
    }

    fn answer_permission(&mut self, command: Command, answer: Answer, now: Timestamp) {
        let Some(identity) = self.identity.clone() else { return };
        let Some((generation, verb, need)) = command.steps() else { return };
        match answer {
            Answer::Latest(Ok(Some(latest))) if may_with(&identity, verb, &latest.event) => {
                self.ask(AskedFor::Done(command), need);
            }
            Answer::Latest(Err(error)) => self.refuse(&unavailable(&error), Some(&generation.clone()), None, now),
            _ => self.refuse(&Problem::not_found(), Some(&generation.clone()), None, now),
        }
    }

    fn answer_command(&mut self, command: &Command, answer: Answer, now: Timestamp) {
        match answer {
            Answer::Submitted(Ok(submitted)) => {
                let Some(request) = command.request() else { return };
                let event = self.node.encoder.event(&submitted.event, now);
                let generation = serde_json::to_value(event).expect("an event is JSON");
                let request_id = request.clone();
                self.say(&ServerMessage::Accepted { request_id, generation: Box::new(generation) }, now);
            }
            Answer::Commanded(Ok(event)) => {
                // Who watches it hears of it in its order; anybody else has no other answer than this.
                if self.find(&event.generation_id).is_none() {
                    let update = self.node.encoder.live(&Encoded::one(event), now);
                    self.reply(update);
                }
            }
            Answer::Submitted(Err(problem)) | Answer::Commanded(Err(problem)) => {
                self.refuse(&problem, command.generation(), command.request(), now);
            }
            Answer::Latest(_) | Answer::Page(_) | Answer::Mine(_) => {}
        }
    }

    fn credit(&mut self, generation: &GenerationId, frames: Option<u32>, events: Option<u32>, now: Timestamp) {
        let Some(at) = self.find(generation) else { return self.refuse_access(Some(generation), now) };
        let subscription = &mut self.subscriptions[at];
        if events.is_some() {
            subscription.credit = events;
        }
        if let (Some(lane), Some(_)) = (&mut subscription.lane, frames) {
            lane.credit = frames;
        }
        subscription.watch.again();
    }

    fn ask(&mut self, kind: AskedFor, need: Need) {
        self.asked = Some(Box::new(Asked { kind, need: Some(need) }));
    }
}

/// A `generate` with a field that does not exist, or is not built: said, never swallowed.
pub(super) fn unreadable_field(message: &Value) -> Option<Problem> {
    if message["type"] != "generate" {
        return None;
    }
    let own = ["type", "requestId"];
    let field = message
        .as_object()?
        .keys()
        .map(String::as_str)
        .find(|key| !own.contains(key) && !Submission::FIELDS.contains(key))?;
    let unsupported = Submission::FIELDS_UNSUPPORTED.contains(&field);
    let (code, what) = if unsupported {
        (ErrorCode::Unsupported, "not supported yet")
    } else {
        (ErrorCode::InvalidRequest, "unknown")
    };
    Some(Problem::new(code, format!("field `{field}` is {what}")))
}

/// The request an error is about, where it can be read.
pub(super) fn request_of(message: &Value) -> Option<RequestId> {
    message.get("requestId")?.as_str()?.parse().ok()
}

/// The generation an error is about, where it can be read.
pub(super) fn generation_of(message: &Value) -> Option<GenerationId> {
    message.get("generationId")?.as_str()?.parse().ok()
}
