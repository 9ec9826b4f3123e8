//! The server goes away: nothing is offered any more, workers are told how long it still listens, and whoever asked hears
//! when none of them works. Nothing is taken away: what is neither finished nor handed back keeps its lease, and goes on
//! with whoever listens next.

use protocol::{Timestamp, worker::ServerMessage};

use super::{Answer, Core, Effect, SessionId, Ticket};

/// Since a drain was asked for.
#[derive(Debug)]
pub(super) struct Drain {
    /// Until when workers are listened to.
    until: Timestamp,
    /// Who waits for the last of them.
    waiting: Option<Ticket>,
}

impl Core {
    /// Said once; a second one changes nothing.
    pub(super) fn drain(&mut self, ticket: Ticket, after_ms: u64) {
        if self.drain.is_some() {
            self.effects.push(Effect::Answer { ticket, answer: Ok(Answer::Drained) });
            return;
        }
        self.drain = Some(Drain { until: self.now.plus(after_ms), waiting: Some(ticket) });
        self.withdraw_unanswered();
        let mut sessions: Vec<_> =
            self.sessions.iter().filter(|(_, session)| session.hello.is_some()).map(|(id, _)| *id).collect();
        // No order of a map shows.
        sessions.sort();
        for session in sessions {
            self.tell_drain(session);
        }
    }

    pub(super) const fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// A worker that comes during a drain hears of it too.
    pub(super) fn tell_drain(&mut self, session: SessionId) {
        if let Some(drain) = &self.drain {
            let after_ms = drain.until.since(self.now);
            self.send(session, ServerMessage::Drain { after_ms });
        }
    }

    /// Tells whoever waits once no connected worker holds a run. Runs of workers that are away wait for the next start.
    pub(super) fn answer_drain(&mut self) {
        let works = !self.offers.is_empty() || self.leases.values().any(|clock| clock.session.is_some());
        let Some(drain) = self.drain.as_mut().filter(|_| !works) else { return };
        if let Some(ticket) = drain.waiting.take() {
            self.effects.push(Effect::Answer { ticket, answer: Ok(Answer::Drained) });
        }
    }
}
