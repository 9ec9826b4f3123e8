//! Beginning and ending to watch: who may, from where, and what the log has to say about it.

use access::{Identity, Verb, may};
use protocol::{
    After, ErrorCode, Event, GenerationId, Problem, Sequence, Timestamp, limits,
    live::{Delivery, FrameWish, Recovery, ServerMessage},
};
use serde_json::Value;

use super::{
    Session, UnderWay,
    command::Command,
    need::{Answer, Need},
    outbox::Outbox,
    say,
    subscription::{Reading, Start, Subscription, Want},
};
use crate::{
    counts::Transport,
    cursor::{self, Window as _},
    gateway::unavailable,
    hub::{Follow, Fresh, Watch},
    node::{Node, may_with},
    pages::Reader,
};

/// After the log did not answer, it is asked again so much later, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// How somebody wants to watch.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) after: Option<After>,
    pub(super) delivery: Delivery,
    pub(super) frames: Option<FrameWish>,
}

/// A client's message that waits for an answer from outside.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: AskedFor,
    /// The question, until the transport took it.
    pub(super) need: Option<Need>,
}

#[derive(Debug)]
pub(super) enum AskedFor {
    /// Is there such a generation, and whose is it?
    Subscribe(Watch, Wanted),
    /// Which are mine?
    Mine,
    /// May this be done?
    Permission(Command),
    /// It is being done.
    Done(Command),
}

/// The subscription to all of one's own.
#[derive(Debug)]
pub(super) struct Mine {
    follow: Follow,
    wanted: Wanted,
    identity: Identity,
    said_subscribed: bool,
    listing: Listing,
}

/// Whether the list of one's own is read once more, because more were made than the index remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// No.
    Known,
    /// As soon as the log may be asked.
    Wanted,
    /// For this subscription, and not for one before it.
    UnderWay,
}

impl Session {
    /// Takes one from the bucket, or says that it is empty.
    pub(super) fn may_subscribe(&mut self, now: Timestamp) -> bool {
        let may = self.bucket.take(now);
        if !may {
            let problem =
                Problem::new(ErrorCode::RateLimited, "Too many subscribe and unsubscribe messages, slow down");
            self.refuse(&problem, None, None, now);
        }
        may
    }

    pub(super) fn subscribe(
        &mut self,
        identity: &Identity,
        generation: Option<GenerationId>,
        mine: bool,
        wanted: Wanted,
        now: Timestamp,
    ) {
        if mine {
            return self.subscribe_mine(identity, wanted, now);
        }
        let Some(generation) = generation else { return self.refuse_access(None, now) };
        if !self.has_room_for(&generation) {
            return self.refuse(&too_many(), Some(&generation), None, now);
        }
        // Joined before anything is read: what is committed meanwhile reaches the tail.
        let watch = self.node.hub.watch(&generation, self.wake.clone(), None);
        match watch.tail().newest() {
            Some(newest) => self.place(identity, watch, newest.event(), &wanted, now),
            None => {
                let need = Some(Need::Latest(generation));
                self.asked = Some(Box::new(Asked { kind: AskedFor::Subscribe(watch, wanted), need }));
            }
        }
    }

    /// `unsubscribed` answers whatever was named, known or not: the first dialect's row W9.
    pub(super) fn unsubscribe(&mut self, message: &Value, now: Timestamp) {
        if !self.may_subscribe(now) {
            return;
        }
        let named = message.get("generationId").cloned();
        let mine = message.get("mine").and_then(Value::as_bool).unwrap_or_default();
        let before = self.subscriptions.len();
        if mine {
            self.mine = None;
            self.subscriptions.retain(|subscription| !subscription.of_mine);
        }
        if let Some(id) = named.as_ref().and_then(Value::as_str) {
            self.subscriptions.retain(|subscription| subscription.generation().as_str() != id);
        }
        let left = (before - self.subscriptions.len()) as u64;
        self.node.counts.of(Transport::Live).subscriptions.leave(left);
        let held = self.page.as_ref().map(|page| page.generation.clone());
        if held.is_some_and(|held| self.find(&held).is_none()) {
            self.page = None;
        }
        self.say(&ServerMessage::Unsubscribed { generation_id: named, mine }, now);
    }

    pub(super) fn answer_subscribe(&mut self, watch: Watch, wanted: &Wanted, answer: Answer, now: Timestamp) {
        let Some(identity) = self.identity.clone() else { return };
        let generation = watch.tail().generation().clone();
        match answer {
            Answer::Latest(Ok(Some(latest))) => {
                // Who may not see it learns nothing, and leaves nothing in the tail.
                if may_with(&identity, Verb::Watch, &latest.event) {
                    watch.tail().seed(latest.event.clone());
                }
                self.place(&identity, watch, &latest.event, wanted, now);
            }
            Answer::Latest(Err(error)) => self.refuse(&unavailable(&error), Some(&generation), None, now),
            _ => self.refuse_access(Some(&generation), now),
        }
    }

    /// Begins at the place that was asked for, if `identity` may.
    fn place(&mut self, identity: &Identity, watch: Watch, newest: &Event, wanted: &Wanted, now: Timestamp) {
        if !may_with(identity, Verb::Watch, newest) {
            return self.refuse_access(Some(&newest.generation_id), now);
        }
        let head = newest.sequence.max(watch.tail().look(|recent| recent.log.head()));
        let (after, recovery) = cursor::place(wanted.after.as_ref(), self.node.encoder.epoch(), head);
        if after.is_none() {
            self.node.counts.snapshots.add(1);
        }
        let start = Start { after, head, recovery, delivery: wanted.delivery, of_mine: false };
        self.add(watch, wanted.frames, start, now);
    }

    fn add(&mut self, watch: Watch, frames: Option<FrameWish>, start: Start, now: Timestamp) {
        let wish = frames.map(clamp);
        watch.wish(wish);
        let generation = watch.tail().generation().clone();
        let subscription = Subscription::new(watch, wish, start, now);
        self.forget_page_of(&generation);
        match self.subscriptions.iter_mut().find(|known| known.generation() == &generation) {
            // Again: what was missed and `subscribed` once more, later updates once.
            Some(known) => *known = subscription,
            None => {
                if let Some(identity) = &self.identity {
                    note_visit(&self.node, identity, &generation, now);
                }
                if self.subscriptions.is_empty() {
                    // Most watch one, and a vector begins with room for four.
                    self.subscriptions.reserve_exact(1);
                }
                self.subscriptions.push(subscription);
                self.node.counts.of(Transport::Live).subscriptions.enter();
            }
        }
    }

    fn subscribe_mine(&mut self, identity: &Identity, wanted: Wanted, now: Timestamp) {
        if !may(identity, Verb::Watch, None) {
            return self.refuse_access(None, now);
        }
        let follow = self.node.hub.follow(&identity.tenant, &identity.user, self.wake.clone());
        let need = Need::Mine { tenant: identity.tenant.clone(), user: identity.user.clone() };
        let identity = identity.clone();
        let mine = Mine { follow, wanted, identity, said_subscribed: false, listing: Listing::Known };
        self.mine = Some(Box::new(mine));
        self.asked = Some(Box::new(Asked { kind: AskedFor::Mine, need: Some(need) }));
    }

    /// The list of one's own arrived: each that is not watched yet begins with its state.
    pub(super) fn answer_mine(&mut self, answer: Answer, now: Timestamp) {
        let Some(mine) = &mut self.mine else { return };
        let events = match answer {
            Answer::Mine(Ok(events)) => events,
            Answer::Mine(Err(error)) if mine.said_subscribed => {
                mine.listing = Listing::Wanted;
                self.retry_at = Some(now.plus(RETRY_MS));
                tracing::warn!(%error, "list of one's own not read");
                return;
            }
            Answer::Mine(Err(error)) => {
                self.mine = None;
                return self.refuse(&unavailable(&error), None, None, now);
            }
            _ => return,
        };
        let wanted = mine.wanted.clone();
        // `now` was when it subscribed: what a later list brings was made since.
        let is_first = !mine.said_subscribed;
        let after = wanted.after.filter(|after| is_first && *after == After::Now);
        for event in events {
            if self.find(&event.generation_id).is_some() {
                continue;
            }
            if !self.has_room_for(&event.generation_id) {
                return self.refuse(&too_many(), Some(&event.generation_id), None, now);
            }
            let watch = self.node.hub.watch(&event.generation_id, self.wake.clone(), None);
            let head = event.sequence;
            watch.tail().seed(event);
            let (place, recovery) = cursor::place(after.as_ref(), self.node.encoder.epoch(), head);
            let start = Start { after: place, head, recovery, delivery: wanted.delivery, of_mine: true };
            self.add(watch, wanted.frames, start, now);
        }
    }

    /// The list was read again. If it was for somebody who was here before, or for a subscription before this one, it is
    /// nobody's.
    pub(super) fn answer_listing(&mut self, answer: Answer, now: Timestamp) {
        if let Some(mine) = self.mine.as_mut().filter(|mine| mine.listing == Listing::UnderWay) {
            mine.listing = Listing::Known;
            self.answer_mine(answer, now);
        }
    }

    /// New generations of one's own, from their first event on.
    pub(super) fn hear_of_new(&mut self, now: Timestamp) {
        let Some(mine) = &mut self.mine else { return };
        let (delivery, frames) = (mine.wanted.delivery, mine.wanted.frames);
        let fresh = match mine.follow.all_fresh() {
            Fresh::Generations(fresh) => fresh,
            Fresh::TooMany => {
                mine.listing = Listing::Wanted;
                // Those that have ended are in no list of what is under way, and the others begin with their state.
                let message = ServerMessage::Backpressure { reason: "generations".to_owned(), dropped: None };
                return self.say(&message, now);
            }
        };
        for generation in fresh {
            if self.find(&generation).is_some() {
                continue;
            }
            if !self.has_room_for(&generation) {
                return self.refuse(&too_many(), Some(&generation), None, now);
            }
            let watch = self.node.hub.watch(&generation, self.wake.clone(), None);
            let (after, recovery) = (Some(Sequence(0)), Recovery::Fresh);
            let start = Start { after, head: Sequence(0), recovery, delivery, of_mine: true };
            self.add(watch, frames, start, now);
        }
    }

    /// `subscribed` for all of one's own, once each of them has its state.
    pub(super) fn say_mine_subscribed(&mut self, out: &mut Outbox, now: Timestamp) {
        let listing = matches!(self.asked.as_deref(), Some(Asked { kind: AskedFor::Mine, .. }));
        let Some(mine) = self.mine.as_mut().filter(|mine| !mine.said_subscribed && !listing) else { return };
        if self.subscriptions.iter().any(|s| s.of_mine && !s.has_caught_up()) {
            return;
        }
        mine.said_subscribed = true;
        let recovery = Recovery::Fresh;
        out.push(say::message(
            &ServerMessage::Subscribed { generation_id: None, mine: true, position: None, recovery },
            now,
        ));
    }

    /// The next question a subscription has for the log, one at a time, and none while a page is still being sent.
    pub(super) fn need_of_subscriptions(&mut self, now: Timestamp) -> Option<Need> {
        if self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        if let Some(mine) = self.mine.as_mut().filter(|mine| mine.listing == Listing::Wanted) {
            mine.listing = Listing::UnderWay;
            self.under_way = Some(UnderWay::Mine);
            return Some(Need::Mine { tenant: mine.identity.tenant.clone(), user: mine.identity.user.clone() });
        }
        let count = self.subscriptions.len();
        for step in 0..count {
            let subscription = &self.subscriptions[(self.turn + step) % count];
            let (generation, wanted) = (subscription.generation().clone(), subscription.want);
            let need = match wanted {
                Want::State => Need::Latest(generation.clone()),
                Want::Page(after) if self.page.is_none() => {
                    let reader = if subscription.has_caught_up() { Reader::Live } else { Reader::Newcomer };
                    Need::Page { generation: generation.clone(), after, reader }
                }
                Want::Page(_) | Want::Nothing | Want::Over => continue,
            };
            self.under_way = Some(UnderWay::Subscription(generation, wanted));
            return Some(need);
        }
        None
    }

    pub(super) fn answer_subscription(
        &mut self,
        generation: &GenerationId,
        wanted: Want,
        answer: Answer,
        now: Timestamp,
    ) {
        let Some(at) = self.find(generation) else { return };
        let subscription = &mut self.subscriptions[at];
        if subscription.want != wanted {
            // Asked by a subscription before this one, or the tail has brought it meanwhile: about what is wanted it says nothing.
            return;
        }
        subscription.watch.again();
        match answer {
            Answer::Page(Ok(page)) => {
                let known = subscription.watch.tail().look(|recent| recent.log.head());
                let head = page.last().map_or(known, |last| known.max(last));
                subscription.want = Want::Nothing;
                if matches!(wanted, Want::Page(after) if page.get(after.next()).is_some()) {
                    self.page = Some(Box::new(Reading { generation: generation.clone(), page, head }));
                } else {
                    // It was committed, and the log has it no more.
                    subscription.lose(&self.node);
                }
            }
            Answer::Latest(Ok(Some(latest))) => {
                subscription.want = Want::Nothing;
                subscription.watch.tail().seed(latest.event);
            }
            Answer::Latest(Ok(None)) => {
                self.subscriptions.swap_remove(at);
                self.forget_page_of(generation);
                self.node.counts.of(Transport::Live).subscriptions.leave(1);
                self.refuse_access(Some(generation), now);
            }
            Answer::Page(Err(error)) | Answer::Latest(Err(error)) => {
                // What it wants stays wanted.
                self.retry_at = Some(now.plus(RETRY_MS));
                tracing::warn!(%error, "log not read for a watcher");
            }
            _ => {}
        }
    }

    pub(super) fn find(&self, generation: &GenerationId) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.generation() == generation)
    }

    pub(super) fn forget_page_of(&mut self, generation: &GenerationId) {
        if self.page.as_ref().is_some_and(|page| &page.generation == generation) {
            self.page = None;
        }
    }

    fn has_room_for(&self, generation: &GenerationId) -> bool {
        self.subscriptions.len() < limits::SUBSCRIPTIONS_PER_CONNECTION_MAX || self.find(generation).is_some()
    }
}

/// Names who watches one generation again and again: something of theirs is broken, and they may not know.
pub(crate) fn note_visit(node: &Node, identity: &Identity, generation: &GenerationId, now: Timestamp) {
    if let Some(visits) = node.arrivals.visit(identity, generation, now) {
        node.counts.churning.add(1);
        let (user, tenant) = (identity.user.as_str(), identity.tenant.as_str());
        tracing::warn!(user, tenant, %generation, visits, "a user watches one generation again and again");
    }
}

fn clamp(wish: FrameWish) -> FrameWish {
    FrameWish { max_fps: wish.max_fps.clamp(1, 60), max_width: wish.max_width.clamp(1, 4_096), ..wish }
}

fn too_many() -> Problem {
    let max = limits::SUBSCRIPTIONS_PER_CONNECTION_MAX;
    Problem::new(ErrorCode::RateLimited, format!("At most {max} subscriptions on one connection"))
}
