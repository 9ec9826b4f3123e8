//! The events of one decision, each made on the state that the one before it left, with the fold that will be used to read
//! them back. So what is shown and what is folded cannot disagree.

use std::sync::Arc;

use protocol::{CommandId, EventType, Timestamp, limits};

use crate::{
    decide::Decision,
    event::{Event, Fact},
    refusal::Refusal,
    show::Says,
    state::{Failed, State},
};

/// Events in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    state: State,
    command: &'a CommandId,
    now: Timestamp,
    events: Vec<Event>,
}

impl<'a> Draft<'a> {
    /// Nothing yet, on `state`.
    pub(super) fn new(state: &State, command: &'a CommandId, now: Timestamp) -> Self {
        Self { state: state.clone(), command, now, events: Vec::with_capacity(1) }
    }

    /// The first event of a generation that `fact` just made.
    pub(super) fn born(state: State, fact: Fact, command: &'a CommandId, now: Timestamp, says: Says) -> Self {
        let mut draft = Self { state, command, now, events: Vec::new() };
        draft.record(EventType::Queued, fact, says);
        draft
    }

    /// The state as the events so far leave it.
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// When it is decided.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// One more event.
    pub(super) fn push(&mut self, kind: EventType, fact: Fact, says: Says) {
        self.state.apply(&fact, self.now);
        self.record(kind, fact, says);
    }

    fn record(&mut self, kind: EventType, fact: Fact, says: Says) {
        let show = self.state.show(self.command.event(self.events.len()), kind, self.now, says);
        self.state.absorb(&show);
        self.events.push(Event { show: Arc::new(show), fact });
    }

    /// The last event of a generation.
    pub(super) fn end(self, state: protocol::State, says: Says) -> Decision {
        self.end_because(state, None, says)
    }

    /// The same, with why it failed.
    pub(super) fn end_because(mut self, state: protocol::State, failure: Option<Failed>, says: Says) -> Decision {
        let kind = match state {
            protocol::State::Complete => EventType::Complete,
            protocol::State::Cancelled => EventType::Cancelled,
            _ => EventType::Failed,
        };
        self.push(kind, Fact::Ended { state, failure }, says);
        self.finish()
    }

    /// The last event, and one that must not follow it: a bug on purpose, see [`crate::Flaw`].
    pub(super) fn end_and_go_on(self, state: protocol::State, says: Says) -> Decision {
        let Self { command, now, .. } = self;
        let Decision { events, after } = self.end(state, says);
        let mut draft = Draft { state: after, command, now, events };
        if let Some(stage) = draft.state.pipeline.stages.first().map(|stage| stage.name.clone()) {
            let fact = Fact::Queued { stage, not_before: now, outputs: None, pool: None };
            draft.push(EventType::Queued, fact, Says::default());
        }
        draft.finish()
    }

    /// The events, and the state they leave.
    pub(super) fn finish(self) -> Decision {
        Decision { events: self.events, after: self.state }
    }

    /// Refuses what a generation can do without once its history is full, but for one event each half `patience_ms`: a
    /// stage that still moves must not be taken for one that stands still.
    pub(super) fn check_room(&self, last: Timestamp, patience_ms: u64) -> Result<(), Refusal> {
        // A second at least, so that a tiny bound does not open the history again.
        let interval = (patience_ms / 2).max(1_000);
        if self.state.sequence.0 >= limits::EVENTS_PER_GENERATION_MAX && self.now.since(last) < interval {
            return Err(Refusal::NothingNew);
        }
        Ok(())
    }
}
