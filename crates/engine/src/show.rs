//! What a screen sees of a generation: each event is a complete snapshot, rendered from the state after it.

use std::sync::Arc;

use protocol::{Attempt, EventId, EventType, Metadata, Status, Timestamp};
use serde_json::{Map, Value};

use crate::{
    progress,
    state::{Phase, State},
    words,
};

/// What an event says beyond the state.
#[derive(Debug, Default)]
pub(crate) struct Says {
    /// For people; `None` leaves the sentence that is shown.
    pub(crate) message: Option<String>,
    /// Beside what stays visible.
    pub(crate) metadata: Arc<Metadata>,
    /// When it is not the try of the stage that runs.
    pub(crate) attempt: Option<Attempt>,
}

impl Says {
    /// Says this sentence.
    pub(crate) fn message(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::default() }
    }

    /// Says it with these facts.
    pub(crate) fn facts(mut self, metadata: Arc<Metadata>) -> Self {
        if self.metadata.is_empty() {
            self.metadata = metadata;
        } else {
            Arc::make_mut(&mut self.metadata).extend(Arc::unwrap_or_clone(metadata));
        }
        self
    }

    /// Says it with this fact.
    pub(crate) fn fact(mut self, key: &str, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.metadata).insert(key.to_owned(), value.into());
        self
    }

    /// Says it of this try.
    pub(crate) const fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(Attempt(attempt));
        self
    }
}

impl State {
    /// The generation as a screen would show it now, under the sequence of its latest event: what a hint starts from. What
    /// is not durable, such as a queue position, is put on top of it by whoever knows.
    #[must_use]
    pub fn show_now(&self, event_id: EventId, kind: EventType, at: Timestamp) -> protocol::Event {
        protocol::Event { sequence: self.sequence, ..self.show(event_id, kind, at, Says::default()) }
    }

    /// The event after the latest, in this state.
    pub(crate) fn show(&self, event_id: EventId, kind: EventType, at: Timestamp, says: Says) -> protocol::Event {
        let state = self.state_now();
        let stage = self.stage_now().cloned();
        protocol::Event {
            event_id,
            generation_id: self.generation.clone(),
            tenant_id: self.tenant.clone(),
            user_id: self.owner.clone(),
            causal_id: self.causal.clone(),
            sequence: self.sequence.next(),
            attempt: says.attempt.unwrap_or_else(|| self.attempt_now()),
            kind,
            state,
            status: Status::of(state, stage.as_ref(), self.is_before_frames()),
            stage,
            progress: progress::overall(self),
            message: self.sentence(says.message),
            metadata: self.visible(says.metadata),
            timestamp: at,
        }
    }

    /// A generation that is to stop says so, whatever its worker says meanwhile.
    fn sentence(&self, said: Option<String>) -> String {
        match (self.phase, said) {
            (Phase::Cancelling, _) => words::CANCELLING.to_owned(),
            (_, Some(said)) => said,
            (_, None) => self.message.clone(),
        }
    }

    /// What stays visible, with `own` on top. Most events add nothing, or say all that stays: then nothing is copied.
    fn visible(&self, own: Arc<Metadata>) -> Arc<Metadata> {
        if self.client.is_none() && own.is_empty() {
            return Arc::clone(&self.facts);
        }
        if self.client.is_none() && self.facts.keys().all(|key| own.contains_key(key)) {
            return own;
        }
        let mut all: Map<String, Value> = Map::clone(&self.facts);
        if let Some(client) = &self.client {
            all.insert("client".to_owned(), Value::Object(Map::clone(client)));
        }
        all.extend(Arc::unwrap_or_clone(own));
        all.into()
    }

    fn attempt_now(&self) -> Attempt {
        match self.stages.get(self.stage) {
            Some(known) if !self.is_terminal() => Attempt(known.failures + 1),
            _ => self.attempt,
        }
    }

    /// Is the stage one that comes before the pictures are made? Without a stage of that name the first of several is; of
    /// a producer outside we know only how far it is, and its pictures begin at 5.
    fn is_before_frames(&self) -> bool {
        let stages = &self.pipeline.stages;
        if stages.is_empty() {
            return self.progress < 5.0;
        }
        match stages.iter().position(|stage| stage.name.as_str() == "generating_frames") {
            Some(frames) => self.stage < frames,
            None => self.stage == 0 && stages.len() > 1,
        }
    }
}
