//! What follows a decision once it is durable: an answer, an `ack`, a lease; or why there is none.

use std::sync::Arc;

use engine::{Action, Event as Decided, Refusal, State};
use protocol::{ErrorCode, GenerationId, Problem, Sequence};

use super::{Seen, Task, Then, Work};
use crate::core::{Answer, Core, Effect, Ticket};

impl Core {
    pub(super) fn conclude_read(&mut self, generation: &GenerationId, then: &Then, seen: Option<Seen>, repeated: bool) {
        let Then::Answer(ticket) = then else {
            // Only read to be in memory: a watched generation that waits, or one whose time may be up.
            self.survey_soon(generation);
            if self.state(generation).is_some() {
                self.check_expiry(generation);
            }
            return;
        };
        self.answer_seen(*ticket, seen, repeated);
    }

    fn answer_seen(&mut self, ticket: Ticket, seen: Option<Seen>, repeated: bool) {
        let answer = match seen {
            Some(Seen { state, latest }) => Ok(Answer::Generation { event: latest, state, repeated }),
            None => Err(Problem::not_found()),
        };
        self.effects.push(Effect::Answer { ticket, answer });
    }

    pub(super) fn conclude_new(
        &mut self,
        generation: &GenerationId,
        then: &Then,
        before: Option<&State>,
        after: &Arc<State>,
        events: &[Decided],
        last: Sequence,
    ) {
        self.follow(generation, before, after, events);
        match then {
            Then::Answer(ticket) => {
                let Some(event) = events.last().map(|event| Arc::clone(&event.show)) else { return };
                let answer = Ok(Answer::Generation { event, state: Arc::clone(after), repeated: false });
                self.effects.push(Effect::Answer { ticket: *ticket, answer });
            }
            Then::Ack { session, event_id, .. } => self.ack(*session, event_id.clone(), last),
            Then::Grant(offer) => self.granted(generation, offer, after),
            Then::Must | Then::May => {}
        }
    }

    pub(super) fn conclude_repeated(&mut self, generation: &GenerationId, then: Then, last: Sequence) {
        match then {
            // Answered with what stands now, which follows from it.
            Then::Answer(ticket) => self.put(generation, Task::Read { repeated: true }, Then::Answer(ticket)),
            Then::Ack { session, event_id, .. } => self.ack(session, event_id, last),
            Then::Grant(offer) => self.grant_refused(&offer),
            Then::Must | Then::May => {}
        }
    }

    pub(super) fn conclude_claimed(&mut self, then: &Then, holder: &GenerationId, same: bool) {
        let Then::Answer(ticket) = then else { return };
        if same {
            self.put(holder, Task::Read { repeated: true }, Then::Answer(*ticket));
            return;
        }
        let problem = Problem::new(ErrorCode::IdempotencyConflict, "this Idempotency-Key was used with another body")
            .hint("use a new key for a new request");
        self.effects.push(Effect::Answer { ticket: *ticket, answer: Err(problem) });
    }

    pub(super) fn conclude_refused(&mut self, work: &Work, refusal: &Refusal, seen: Option<Seen>) {
        match &work.then {
            Then::Answer(ticket) => {
                let is_cancel = matches!(&work.task, Task::Decide { command, .. } if matches!(command.action, Action::Cancel { .. }));
                let answered_by_state =
                    matches!(refusal, Refusal::NothingNew) || (is_cancel && matches!(refusal, Refusal::Ended(_)));
                if answered_by_state {
                    self.answer_seen(*ticket, seen, false);
                } else {
                    self.conclude_failed_then(&work.then, &refusal.problem());
                }
            }
            Then::Ack { session, event_id, .. } if matches!(refusal, Refusal::NothingNew) => {
                let last = seen.map_or(Sequence(0), |seen| seen.state.sequence);
                self.ack(*session, event_id.clone(), last);
            }
            Then::Ack { .. } => {
                let problem = match refusal {
                    // To a worker an end, or a generation that is gone, is a lease that is gone.
                    Refusal::Ended(_) | Refusal::Unknown => {
                        Refusal::LeaseLost { current: protocol::Fence(0) }.problem()
                    }
                    other => other.problem(),
                };
                self.conclude_failed_then(&work.then, &problem);
            }
            Then::Grant(offer) => self.grant_refused(&offer.clone()),
            Then::Must | Then::May => {}
        }
    }

    pub(super) fn conclude_failed(&mut self, generation: &GenerationId, work: Work, problem: &Problem) {
        match work.task {
            Task::Offer(queued) => self.pass_over(&queued),
            _ => self.conclude_failed_then(&work.then, problem),
        }
        if let Then::Grant(offer) = &work.then {
            tracing::debug!(generation = %generation, "a grant was not committed");
            self.grant_failed(&offer.clone());
        }
    }

    pub(super) fn conclude_failed_then(&mut self, then: &Then, problem: &Problem) {
        match then {
            Then::Answer(ticket) => self.effects.push(Effect::Answer { ticket: *ticket, answer: Err(problem.clone()) }),
            Then::Ack { session, event_id, .. } => self.refused(*session, event_id.clone(), problem),
            Then::Grant(_) | Then::Must | Then::May => {}
        }
    }
}
