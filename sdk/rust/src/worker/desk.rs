//! The desk: which runs are held, and what is still to be said of them. Pure: no socket, no clock, no task.
//!
//! Everything with an event id stays here until the server acknowledged or refused it, and is said again on the next
//! connection under the same id. A lease that is lost takes what was said of it along, but for the run's end: that may
//! have been committed before the answer got lost, so it is repeated until it is answered.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use protocol::{
    CommandId, ErrorCode, Fence, Handle, LeaseId, OfferId, Sequence, StageName, limits,
    worker::{Deadlines, HeldLease, LeaseAnswer, Resumption, RunEvent, ServerMessage, WorkerMessage},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Failure, Outputs, Stop,
    run::{FrameLane, Offer, Progress, SayError, Saying, Shared, Wanted},
};

/// Sayings that wait for an answer; beyond it runs wait before they say more. 256: every run of the largest pool at once.
const PENDING_MAX: usize = 256;
/// Answers to offers that wait for the socket; a server makes at most ten offers between two heartbeats.
const REPLIES_MAX: usize = 64;
/// As often as the server writes progress; faster would only be thrown away there.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(limits::PROGRESS_INTERVAL_MS);

/// One run that is held.
#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    /// The handler has not returned.
    working: bool,
    /// Somebody else has it.
    lost: bool,
    /// Stages reported completed on this connection, and those the server acknowledged.
    stages_said: usize,
    stages_acked: usize,
    progress_at: Option<Instant>,
}

impl Held {
    /// Takes the waiting progress of the stage whose turn it is, if enough time has passed since the last.
    fn take_progress(&mut self, now: Instant) -> Option<Progress> {
        if !self.working || self.progress_at.is_some_and(|at| now < at + PROGRESS_INTERVAL) {
            return None;
        }
        self.take_last_progress(now)
    }

    /// Takes it whenever the last was: nothing of this stage comes after what is said next.
    fn take_last_progress(&mut self, now: Instant) -> Option<Progress> {
        if self.lost {
            return None;
        }
        let mut waiting = self.shared.progress.lock();
        // Of a stage that is over: nobody wants it.
        *waiting = waiting.split_off(&self.stages_said);
        let progress = waiting.remove(&self.stages_said)?;
        self.progress_at = Some(now);
        Some(progress)
    }

    /// When the waiting progress may be said.
    fn progress_due(&self) -> Option<Instant> {
        let waits = self.shared.progress.lock().contains_key(&self.stages_said);
        self.progress_at.filter(|_| waits && self.working && !self.lost).map(|at| at + PROGRESS_INTERVAL)
    }
}

/// Something that waits for its answer.
#[derive(Debug)]
struct Pending {
    event_id: CommandId,
    lease: LeaseId,
    message: WorkerMessage,
    sent: bool,
    /// The run's end.
    last: bool,
    answer: Option<oneshot::Sender<Result<Sequence, SayError>>>,
}

/// What the owner task is to do.
#[derive(Debug)]
pub(super) enum Todo {
    /// Ask the handler, then [`Desk::answer_offer`].
    Consider(Box<Offer>),
    /// Start the handler.
    Start(Arc<Shared>),
    /// The server greeted: from here on everything may be said.
    Welcomed {
        /// Between two heartbeats.
        heartbeat: Duration,
    },
    /// The token's time is over, the server says: hand everything back while the connection lasts.
    Leave(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    held: BTreeMap<LeaseId, Held>,
    accepted: HashMap<OfferId, Offer>,
    pending: VecDeque<Pending>,
    replies: VecDeque<WorkerMessage>,
    welcomed: bool,
    pub(super) draining: bool,
    drain_said: bool,
}

impl Desk {
    /// Leases to name in `hello`.
    pub(super) fn leases(&self) -> Vec<HeldLease> {
        let alive = self.held.iter().filter(|(_, held)| !held.lost);
        alive.map(|(lease, held)| HeldLease { lease: lease.clone(), fence: held.shared.fence }).collect()
    }

    /// The connection is gone: offers with it; what was said and not answered is said again.
    pub(super) fn disconnected(&mut self) {
        self.welcomed = false;
        self.drain_said = false;
        self.accepted.clear();
        self.replies.clear();
        for pending in &mut self.pending {
            pending.sent = false;
        }
        for held in self.held.values_mut() {
            *held.shared.lane.lock() = None;
            // Nobody sees pictures of a worker that is away; whoever looks is named again after the welcome.
            held.shared.wanted.send_replace(Wanted::default());
            held.shared.slow.send_replace(1.0);
            held.stages_said = held.stages_acked;
        }
    }

    /// Handlers that have not returned.
    pub(super) fn working(&self) -> usize {
        self.held.values().filter(|held| held.working).count()
    }

    /// Is there nothing left to do or to say?
    pub(super) fn is_empty(&self) -> bool {
        let said = self.drain_said || !self.welcomed;
        self.held.is_empty() && self.pending.is_empty() && self.accepted.is_empty() && said
    }

    /// May runs say more?
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
    }

    /// Every run that is in work.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.held.values().filter(|held| held.working).map(|held| &held.shared)
    }

    /// What a run says.
    pub(super) fn say(&mut self, saying: Saying) {
        let Saying { lease, event_id, message, answer } = saying;
        // What is said of a run that is over, or behind its end, is answered by dropping `answer`.
        if self.held.get(&lease).is_some_and(|held| !held.lost && held.working) {
            self.pending.push_back(Pending {
                event_id,
                lease,
                message,
                sent: false,
                last: false,
                answer: Some(answer),
            });
        }
    }

    /// The handler returned.
    pub(super) fn finished(&mut self, lease: &LeaseId, result: Result<Outputs, Failure>, event_id: CommandId) {
        let Some(held) = self.held.get_mut(lease) else { return };
        let stopped_for = held.shared.stopped_for();
        held.working = false;
        held.shared.stop(Stop::Finished);
        if held.lost {
            self.held.remove(lease);
            return;
        }
        let (id, lease) = (event_id.clone(), lease.clone());
        let message = match (result, stopped_for) {
            (Ok(outputs), _) => WorkerMessage::Done { lease: lease.clone(), event_id: id, outputs },
            (Err(_), Some(Stop::Draining)) => WorkerMessage::HandBack { lease: lease.clone(), event_id: id },
            (Err(Failure { kind, code, message }), _) => {
                WorkerMessage::Fail { lease: lease.clone(), event_id: id, kind, code, message }
            }
        };
        self.pending.push_back(Pending { event_id, lease, message, sent: false, last: true, answer: None });
    }

    /// What the server says; `lane` carries frames on this connection.
    pub(super) fn receive(
        &mut self,
        message: ServerMessage,
        lane: &tokio::sync::mpsc::Sender<bytes::Bytes>,
    ) -> Vec<Todo> {
        match message {
            ServerMessage::Welcome { heartbeat_ms, leases, .. } => {
                self.welcomed = true;
                for answer in leases {
                    self.resumed(&answer, lane);
                }
                return vec![Todo::Welcomed { heartbeat: Duration::from_millis(heartbeat_ms.max(100)) }];
            }
            ServerMessage::Offer {
                offer,
                generation,
                pipeline,
                version,
                stages,
                attempt,
                inputs,
                checkpoint,
                causal_id,
                traceparent,
                tracestate,
            } => {
                let inputs = *inputs;
                return vec![Todo::Consider(Box::new(Offer {
                    id: offer,
                    generation,
                    pipeline,
                    version,
                    stages,
                    attempt,
                    inputs,
                    checkpoint,
                    causal_id,
                    traceparent,
                    tracestate,
                }))];
            }
            ServerMessage::Granted { offer, lease, fence, handle, deadlines } => {
                let lane = FrameLane { handle, frames: lane.clone() };
                return self.granted(&offer, lease, fence, deadlines, lane).map(Todo::Start).into_iter().collect();
            }
            ServerMessage::Error { code: ErrorCode::Unauthorized, error } => return vec![Todo::Leave(error)],
            other => self.heard(other),
        }
        Vec::new()
    }

    fn heard(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Withdrawn { offer } => {
                self.accepted.remove(&offer);
            }
            ServerMessage::Ack { event_id, sequence } => self.acked(&event_id, sequence),
            ServerMessage::Refused { event_id, code, message } => self.refused(&event_id, code, message),
            ServerMessage::Cancel { lease, reason, .. } => self.stop(&lease, Stop::Cancelled { reason }),
            ServerMessage::LeaseLost { lease } => self.lose(&lease),
            ServerMessage::Wanted { lease, full, tile } => {
                if let Some(held) = self.held.get(&lease) {
                    held.shared.wanted.send_replace(Wanted { full, tile });
                }
            }
            ServerMessage::Slow { lease, factor } => {
                if let Some(held) = self.held.get(&lease) {
                    held.shared.slow.send_replace(factor.max(1.0));
                }
            }
            ServerMessage::Drain { after_ms } => tracing::info!(after_ms, "the server is going away; runs go on"),
            ServerMessage::Error { code, error } => tracing::warn!(code = %code, error, "the server complains"),
            ServerMessage::Welcome { .. } | ServerMessage::Offer { .. } | ServerMessage::Granted { .. } => {}
        }
    }

    fn resumed(&mut self, answer: &LeaseAnswer, lane: &tokio::sync::mpsc::Sender<bytes::Bytes>) {
        if answer.result == Resumption::LeaseLost {
            self.lose(&answer.lease);
            return;
        }
        if let (Some(held), Some(handle)) = (self.held.get_mut(&answer.lease), answer.handle) {
            held.attach(handle, lane);
        }
        if answer.cancel {
            self.stop(&answer.lease, Stop::Cancelled { reason: String::new() });
        }
    }

    /// Takes or leaves an offer.
    pub(super) fn answer_offer(&mut self, offer: Offer, take: Result<(), &str>) {
        if self.replies.len() >= REPLIES_MAX {
            return; // The server withdraws it by itself.
        }
        let id = offer.id.clone();
        let reply = match take {
            Ok(()) => {
                self.accepted.insert(id.clone(), offer);
                WorkerMessage::Accept { offer: id }
            }
            Err(reason) => WorkerMessage::Decline { offer: id, reason: reason.to_owned() },
        };
        self.replies.push_back(reply);
    }

    fn granted(
        &mut self,
        offer: &OfferId,
        lease: LeaseId,
        fence: Fence,
        deadlines: Deadlines,
        lane: FrameLane,
    ) -> Option<Arc<Shared>> {
        let offer = self.accepted.remove(offer)?;
        let shared = Arc::new(Shared::new(offer, lease.clone(), fence, deadlines));
        *shared.lane.lock() = Some(lane);
        if self.draining {
            shared.stop(Stop::Draining);
        }
        let held = Held {
            shared: Arc::clone(&shared),
            working: true,
            lost: false,
            stages_said: 0,
            stages_acked: 0,
            progress_at: None,
        };
        self.held.insert(lease, held);
        Some(shared)
    }

    fn stop(&self, lease: &LeaseId, why: Stop) {
        if let Some(held) = self.held.get(lease) {
            held.shared.stop(why);
        }
    }

    fn lose(&mut self, lease: &LeaseId) {
        let Some(held) = self.held.get_mut(lease) else { return };
        held.lost = true;
        held.shared.stop(Stop::LeaseLost);
        *held.shared.lane.lock() = None;
        self.pending.retain(|pending| pending.lease != *lease || pending.last);
    }

    fn acked(&mut self, event_id: &CommandId, sequence: Sequence) {
        let Some(pending) = self.take_pending(event_id) else { return };
        if let Some(stage) = completed(&pending.message)
            && let Some(held) = self.held.get_mut(&pending.lease)
        {
            held.stages_acked = held.stages_acked.max(place_after(held, stage));
        }
        self.close(pending, Ok(sequence));
    }

    fn refused(&mut self, event_id: &CommandId, code: ErrorCode, message: String) {
        let Some(pending) = self.take_pending(event_id) else { return };
        if code == ErrorCode::LeaseLost {
            self.lose(&pending.lease);
            self.close(pending, Err(SayError::Over));
        } else {
            if pending.last {
                tracing::warn!(code = %code, message, "the end of a run was refused");
            }
            self.close(pending, Err(SayError::Refused { code, message }));
        }
    }

    fn take_pending(&mut self, event_id: &CommandId) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.event_id == *event_id)?;
        self.pending.remove(at)
    }

    fn close(&mut self, pending: Pending, answer: Result<Sequence, SayError>) {
        if pending.last {
            self.held.remove(&pending.lease);
        }
        if let Some(waiting) = pending.answer {
            // Whoever said it may have stopped waiting.
            let _ = waiting.send(answer);
        }
    }

    /// What to say now, most urgent first.
    pub(super) fn next(&mut self, now: Instant) -> Option<WorkerMessage> {
        if !self.welcomed {
            return None;
        }
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        if self.draining && !std::mem::replace(&mut self.drain_said, true) {
            return Some(WorkerMessage::Drain);
        }
        if let Some(at) = self.pending.iter().position(|pending| !pending.sent) {
            // How far the stage came is said before its end.
            return Some(self.last_progress_before(at, now).unwrap_or_else(|| self.say_pending(at)));
        }
        self.held.iter_mut().find_map(|(lease, held)| Some(held.take_progress(now)?.of(lease)))
    }

    fn last_progress_before(&mut self, at: usize, now: Instant) -> Option<WorkerMessage> {
        let Pending { lease, message, .. } = &self.pending[at];
        let held = self.held.get_mut(lease)?;
        let ends = match message {
            WorkerMessage::Done { .. } => true,
            other => completed(other).is_some_and(|stage| held.shared.place(stage) == Some(held.stages_said)),
        };
        if ends { Some(held.take_last_progress(now)?.of(lease)) } else { None }
    }

    fn say_pending(&mut self, at: usize) -> WorkerMessage {
        let pending = &mut self.pending[at];
        pending.sent = true;
        let message = pending.message.clone();
        if let (Some(stage), Some(held)) = (completed(&message), self.held.get_mut(&pending.lease)) {
            held.stages_said = held.stages_said.max(place_after(held, stage));
        }
        message
    }

    /// When waiting progress may be said, if nothing else happens before.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.held.values().filter_map(Held::progress_due).min()
    }
}

impl Progress {
    fn of(self, lease: &LeaseId) -> WorkerMessage {
        let Self { stage, percent, message, metadata } = self;
        WorkerMessage::Progress { lease: lease.clone(), stage, progress: percent, message, metadata }
    }
}

impl Held {
    fn attach(&self, handle: Handle, lane: &tokio::sync::mpsc::Sender<bytes::Bytes>) {
        *self.shared.lane.lock() = Some(FrameLane { handle, frames: lane.clone() });
    }
}

fn completed(message: &WorkerMessage) -> Option<&StageName> {
    match message {
        WorkerMessage::Event { what: RunEvent::StageCompleted { stage, .. }, .. } => Some(stage),
        _ => None,
    }
}

/// How many stages are over once `stage` is.
fn place_after(held: &Held, stage: &StageName) -> usize {
    held.shared.place(stage).map_or(0, |place| place + 1)
}

#[cfg(test)]
#[path = "desk/tests.rs"]
mod tests;
