//! One generation as one connection watches it: where it is, and what it may send next.
//!
//! Decides by [`crate::cursor::next`]; writes into the outbox; reads no log itself.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{
    ErrorCode, GenerationId, Position, Problem, Sequence, Tick, Timestamp,
    live::{Delivery, FrameWish, Recovery, ServerMessage},
};

use super::{lane::Lane, outbox::Outbox, say};
use crate::{
    cursor::{self, Cursor, Next, Window as _},
    encode::{Aside, Encoded},
    hub::{Recent, Watch},
    node::Node,
    pages::{Page, Stretch},
};

/// A page of the log, on its way to one watcher and perhaps to others.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) generation: GenerationId,
    pub(super) page: Arc<Page>,
    pub(super) head: Sequence,
}

/// What a subscription waits for from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing: it is served, or waits for its tail.
    Nothing,
    /// The log after this event.
    Page(Sequence),
    /// The state to go on from.
    State,
    /// It is over: it ended, or was deleted.
    Over,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its position is gone; the state comes next.
    Lost,
    /// It follows the rule.
    Following,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) watch: Watch,
    pub(super) lane: Option<Box<Lane>>,
    pub(super) want: Want,
    cursor: Cursor,
    phase: Phase,
    /// The head when `subscribe` came: once there, `subscribed` is said.
    until: Sequence,
    recovery: Recovery,
    said_subscribed: bool,
    /// Came with `mine`, which is answered as a whole.
    pub(super) of_mine: bool,
    /// The last hint sent, by the event it stands on.
    hint: (Sequence, Tick),
    /// The terminal event was sent.
    ended: bool,
    /// Events that may still be sent; `None` without a limit.
    pub(super) credit: Option<u32>,
}

/// Where a new subscription starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// The last event it has; `None` when its position is gone.
    pub(super) after: Option<Sequence>,
    /// The head as it is.
    pub(super) head: Sequence,
    pub(super) recovery: Recovery,
    pub(super) delivery: Delivery,
    pub(super) of_mine: bool,
}

/// What one look into the tail came to.
enum Looked {
    Sent,
    Next(Next),
    Deleted,
}

impl Subscription {
    pub(super) fn new(watch: Watch, wish: Option<FrameWish>, start: Start, now: Timestamp) -> Self {
        let Start { after, head, recovery, delivery, of_mine } = start;
        let lane = wish.map(|wish| Box::new(Lane::new(wish, &watch, now)));
        Self {
            watch,
            lane,
            want: Want::Nothing,
            cursor: Cursor { after: after.unwrap_or_default(), delivery },
            phase: if after.is_some() { Phase::Following } else { Phase::Lost },
            until: head,
            recovery,
            said_subscribed: false,
            of_mine,
            hint: (Sequence(0), Tick(0)),
            ended: false,
            credit: None,
        }
    }

    pub(super) fn generation(&self) -> &GenerationId {
        self.watch.tail().generation()
    }

    pub(super) const fn has_caught_up(&self) -> bool {
        self.said_subscribed
    }

    /// Does it wait for nothing from outside, and has it what was missed?
    pub(super) fn is_served(&self) -> bool {
        self.said_subscribed && self.want == Want::Nothing
    }

    /// Its position is gone: a hole in the log.
    pub(super) fn lose(&mut self, node: &Node) {
        self.phase = Phase::Lost;
        self.recovery = Recovery::Snapshot;
        self.watch.again();
        node.counts.snapshots.add(1);
    }

    /// Moves what may be sent into `out`, until it is full or there is no more.
    pub(super) fn gather(
        &mut self,
        page: &mut Option<Box<Reading>>,
        node: &Node,
        out: &mut Outbox,
        now: Timestamp,
    ) -> Want {
        loop {
            if out.is_full() {
                self.watch.again();
                return Want::Nothing;
            }
            if self.phase == Phase::Lost {
                let Some(newest) = self.watch.tail().newest() else { return Want::State };
                self.send_state(&newest, node, out, now);
            }
            if self.has_reached_the_head_it_asked_for() {
                self.say_subscribed(node, out, now);
            }
            let looked = self.send_from_tail(node, out, now);
            if self.has_sent_the_end() {
                self.say_subscribed(node, out, now);
                out.push(say::message(&ServerMessage::Done { generation_id: self.generation().clone() }, now));
                return Want::Over;
            }
            match looked {
                Looked::Sent => {}
                Looked::Deleted => {
                    let gone = Problem::new(ErrorCode::NotFound, "the generation was deleted");
                    out.push(say::problem(&gone, Some(self.generation()), None, now));
                    return Want::Over;
                }
                Looked::Next(Next::Snapshot) => self.lose(node),
                Looked::Next(Next::ReadLog { after }) if self.may_send() => {
                    if !self.send_from_page(page, node, out, now) {
                        return Want::Page(after);
                    }
                }
                // It was made, and its tail was forgotten before this connection looked: the log knows how far it went.
                Looked::Next(Next::Wait) if self.cursor.after == Sequence(0) && self.knows_no_head() => {
                    return Want::State;
                }
                Looked::Next(Next::Wait) => {
                    self.let_go_of(page);
                    self.send_hint(node, out, now);
                    return Want::Nothing;
                }
                // Out of credit: `credit` will look again.
                Looked::Next(Next::Send { .. } | Next::ReadLog { .. }) => {
                    self.let_go_of(page);
                    return Want::Nothing;
                }
            }
        }
    }

    /// Who needs its page no more, or not for now, keeps nobody else from theirs.
    fn let_go_of(&self, page: &mut Option<Box<Reading>>) {
        page.take_if(|reading| reading.generation == *self.generation());
    }

    /// Is it time for `subscribed`? What came after `subscribe` comes after it.
    fn has_reached_the_head_it_asked_for(&self) -> bool {
        !self.said_subscribed && self.cursor.after >= self.until
    }

    fn knows_no_head(&self) -> bool {
        self.watch.tail().look(|recent| recent.log.head() == Sequence(0))
    }

    const fn may_send(&self) -> bool {
        !matches!(self.credit, Some(0))
    }

    fn send_state(&mut self, newest: &Encoded, node: &Node, out: &mut Outbox, now: Timestamp) {
        let aside = Aside { previous: None, recovery: Some(Recovery::Snapshot) };
        out.push(node.encoder.live_with(newest, aside, now));
        self.cursor = self.cursor.at(newest.event().sequence);
        self.until = self.cursor.after;
        self.phase = Phase::Following;
    }

    /// Sends as much as the tail holds, under one lock.
    fn send_from_tail(&mut self, node: &Node, out: &mut Outbox, now: Timestamp) -> Looked {
        let tail = Arc::clone(self.watch.tail());
        tail.look(|recent: &Recent| {
            if recent.deleted {
                return Looked::Deleted;
            }
            node.counts.lag.observe(recent.log.head().0.saturating_sub(self.cursor.after.0));
            loop {
                let next = cursor::next(self.cursor, &recent.log);
                let Next::Send { sequence, previous } = next else { return Looked::Next(next) };
                let Some(event) = recent.log.get(sequence) else {
                    // The rule sends only what the window holds; the log has it in any case.
                    return Looked::Next(Next::ReadLog { after: self.cursor.after });
                };
                if !self.may_send() {
                    return Looked::Next(next);
                }
                self.send(event, previous, node, out, now);
                if out.is_full() || event.event().kind.is_terminal() || self.has_reached_the_head_it_asked_for() {
                    return Looked::Sent;
                }
            }
        })
    }

    /// Sends from a page of the log that was read for it. False when it needs another one.
    fn send_from_page(
        &mut self,
        slot: &mut Option<Box<Reading>>,
        node: &Node,
        out: &mut Outbox,
        now: Timestamp,
    ) -> bool {
        let Some(reading) = slot.as_deref().filter(|one| one.generation == *self.generation()) else { return false };
        let page = Arc::clone(&reading.page);
        let stretch = Stretch { page: &page, head: reading.head };
        // A page that is used up asks for the next one.
        let mut any = false;
        loop {
            let (sequence, previous) = match cursor::next(self.cursor, &stretch) {
                Next::Send { sequence, previous } => (sequence, previous),
                Next::Snapshot => {
                    self.lose(node);
                    any = true;
                    break;
                }
                Next::ReadLog { .. } | Next::Wait => break,
            };
            let Some(event) = page.get(sequence) else { break };
            if out.is_full() {
                return true;
            }
            if !self.may_send() {
                // Others need the place; it is read again when there is credit.
                break;
            }
            self.send(event, previous, node, out, now);
            any = true;
            if event.event().kind.is_terminal() {
                break;
            }
            if self.has_reached_the_head_it_asked_for() {
                return true;
            }
        }
        *slot = None;
        any
    }

    fn send(&mut self, event: &Encoded, previous: Option<Sequence>, node: &Node, out: &mut Outbox, now: Timestamp) {
        let bytes: Bytes = match previous {
            None => node.encoder.live(event, now),
            Some(_) => node.encoder.live_with(event, Aside { previous, recovery: None }, now),
        };
        out.push(bytes);
        node.counts.commit_to_socket.observe(now.since(event.event().timestamp));
        self.cursor = self.cursor.at(event.event().sequence);
        if event.event().kind.is_terminal() {
            self.ended = true;
        } else if let Some(credit) = &mut self.credit {
            *credit -= 1;
        }
    }

    fn has_sent_the_end(&self) -> bool {
        self.ended
            || self.watch.tail().look(|recent| {
                recent.log.newest().is_some_and(|newest| {
                    newest.event().kind.is_terminal() && newest.event().sequence == self.cursor.after
                })
            })
    }

    fn say_subscribed(&mut self, node: &Node, out: &mut Outbox, now: Timestamp) {
        if std::mem::replace(&mut self.said_subscribed, true) || self.of_mine {
            return;
        }
        let position: Position = node.encoder.position(self.cursor.after);
        let message = ServerMessage::Subscribed {
            generation_id: Some(self.generation().clone()),
            mine: false,
            position: Some(position),
            recovery: self.recovery,
        };
        out.push(say::message(&message, now));
    }

    fn send_hint(&mut self, node: &Node, out: &mut Outbox, now: Timestamp) {
        let tail = Arc::clone(self.watch.tail());
        tail.look(|recent| {
            let Some((tick, hint)) = &recent.hint else { return };
            let place = (hint.event().sequence, *tick);
            // A hint stands on the event it was made for: before that it would show the future, after it the past.
            if place.0 == self.cursor.after && place > self.hint {
                self.hint = place;
                out.push(node.encoder.live(hint, now));
            }
        });
    }
}
