//! A live connection without its socket: bytes in, bytes out.
//!
//! Owns the dialogue of the first dialect and its superset, what a connection watches, and all its deadlines. What has to
//! wait (the log, commands) it asks for as a [`Need`]; the transport moves the bytes, tells the time and brings the answers.

mod bucket;
mod command;
mod lane;
mod life;
mod need;
mod outbox;
mod say;
mod subscribe;
mod subscription;

use std::{collections::VecDeque, sync::Arc};

use access::{Door, Identity};
use bytes::Bytes;
use protocol::{
    ErrorCode, GenerationId, Problem, RequestId, Timestamp, limits,
    live::{ClientMessage, ServerMessage},
};
use serde_json::Value;

pub(crate) use self::subscribe::note_visit;
use self::{
    bucket::Bucket,
    command::Command,
    life::Life,
    subscribe::{Asked, Mine},
    subscription::{Reading, Subscription, Want},
};
pub use self::{
    need::{Answer, Need},
    outbox::{Outbox, SLICES_MAX},
};
use crate::{
    counts::Transport,
    hub::Wake,
    node::Node,
    websocket::{
        close::CloseCode,
        decoder::Decoder,
        encoder::{self, Header},
        message::Message,
    },
};

/// Bytes of answers that may wait; beyond it the client's next messages wait on its own socket.
const REPLIES_BYTES_MAX: usize = limits::GATHER_BYTES_MAX;

/// Which limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/ws` and `/`.
    First,
    /// `/v1/live`.
    Native,
}

impl Dialect {
    const fn message_bytes_max(self) -> usize {
        match self {
            Self::First => limits::MESSAGE_BYTES_FIRST_DIALECT_MAX,
            Self::Native => limits::MESSAGE_BYTES_LIVE_MAX,
        }
    }
}

/// How a connection ended for the session. What is in the outbox is still to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It goes on.
    Not,
    /// A close frame is written, or on its way: wait for the client's, but not for long.
    Closing,
    /// Both sides said so, or the client is dead: drop the socket.
    Gone,
}

/// One live connection.
pub struct Session {
    node: Arc<Node>,
    wake: Arc<Wake>,
    dialect: Dialect,
    decoder: Decoder,
    /// Bytes behind a message that waits for an answer.
    held: Option<Box<[u8]>>,
    /// Shared with the doors, which remember it as long as the token is good.
    identity: Option<Arc<Identity>>,
    /// A good token that is let in at this time, not before.
    waiting: Option<Box<(Timestamp, Arc<Identity>)>>,
    life: Life,
    bucket: Bucket,
    subscriptions: Vec<Subscription>,
    mine: Option<Box<Mine>>,
    page: Option<Box<Reading>>,
    /// A message of the client that waits for an answer from outside.
    asked: Option<Box<Asked>>,
    /// Is a need with the transport?
    under_way: Option<UnderWay>,
    replies: Option<Box<Replies>>,
    /// The log did not answer: not before this time again.
    retry_at: Option<Timestamp>,
    /// Where the next gathering begins, so that nobody is always last.
    turn: usize,
}

/// Answers that wait for the socket, and their bytes.
#[derive(Default)]
struct Replies {
    queue: VecDeque<Bytes>,
    bytes: usize,
}

/// For whom a need is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UnderWay {
    /// A message of the client.
    Message,
    /// A subscription behind its tail, and what it wanted when it asked.
    Subscription(GenerationId, Want),
    /// The subscription to all of one's own.
    Mine,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("subscriptions", &self.subscriptions.len()).finish_non_exhaustive()
    }
}

impl Session {
    /// A connection that just opened. `spread` is any number that differs between connections; pings follow it.
    #[must_use]
    pub fn new(node: Arc<Node>, wake: Arc<Wake>, dialect: Dialect, spread: u64, now: Timestamp) -> Self {
        node.counts.of(Transport::Live).connections.enter();
        node.counts.of(Transport::Live).opened.add(1);
        Self {
            node,
            wake,
            dialect,
            decoder: Decoder::new(limits::MESSAGE_BYTES_BEFORE_AUTHENTICATION_MAX),
            held: None,
            identity: None,
            waiting: None,
            life: Life::new(spread, now),
            bucket: Bucket::full(now),
            subscriptions: Vec::new(),
            mine: None,
            page: None,
            asked: None,
            under_way: None,
            replies: None,
            retry_at: None,
            turn: 0,
        }
    }

    /// Takes a token that came with the upgrade, or the guest where there is one and no token.
    pub fn authenticate(&mut self, token: Option<&str>, now: Timestamp) {
        match self.node.identify(token, Door::Live, now) {
            Ok(identity) if self.identity.is_none() => self.arrive(identity, now),
            Ok(identity) => self.admit(identity, now),
            Err(_) => self.refuse_token(CloseCode::AUTHENTICATION_FAILED, "Authentication failed", now),
        }
    }

    /// May the socket be read? Not while a message waits for its answer, or answers wait for the socket.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.is_busy() && self.replies_bytes() < REPLIES_BYTES_MAX && self.life.ended() != Ended::Gone
    }

    /// Does the client's next message wait?
    const fn is_busy(&self) -> bool {
        self.asked.is_some() || self.waiting.is_some()
    }

    /// Takes what the client sent.
    pub fn receive(&mut self, bytes: &[u8], now: Timestamp) {
        let mut input = bytes;
        while !self.is_busy() && self.life.ended() != Ended::Gone {
            match self.decoder.decode(&mut input) {
                Ok(Some(message)) => self.hear(message, now),
                Ok(None) => break,
                Err(error) => {
                    // What still comes is read and discarded: closing over unread bytes would reset the connection, and
                    // the client might never see why.
                    self.close(error.code(), &error.to_string(), now);
                    break;
                }
            }
        }
        if self.is_busy() && !input.is_empty() {
            let before = self.held.take().unwrap_or_default();
            self.held = Some([&before, input].concat().into());
        }
    }

    /// What to do for it; `None` while something is under way, or there is nothing to do.
    pub fn need(&mut self, now: Timestamp) -> Option<Need> {
        if self.under_way.is_some() || self.life.ended() != Ended::Not {
            return None;
        }
        if let Some(asked) = &mut self.asked {
            self.under_way = Some(UnderWay::Message);
            return asked.need.take();
        }
        self.need_of_subscriptions(now)
    }

    /// Takes the answer to what [`Self::need`] gave.
    pub fn answer(&mut self, answer: Answer, now: Timestamp) {
        let asked = match self.under_way.take() {
            Some(UnderWay::Message) => self.asked.take(),
            Some(UnderWay::Subscription(generation, wanted)) => {
                return self.answer_subscription(&generation, wanted, answer, now);
            }
            Some(UnderWay::Mine) => return self.answer_listing(answer, now),
            None => return,
        };
        if let Some(asked) = asked {
            self.answer_message(asked.kind, answer, now);
        }
        self.go_on(now);
    }

    /// Takes what was held back behind a message that waited.
    fn go_on(&mut self, now: Timestamp) {
        if let Some(held) = self.held.take() {
            self.receive(&held, now);
        }
    }

    /// A connection whose token is good: at once, or later where its user makes too many.
    fn arrive(&mut self, identity: Arc<Identity>, now: Timestamp) {
        let wait = self.node.arrivals.wait_of(&identity, now);
        if wait == 0 {
            return self.admit(identity, now);
        }
        self.node.counts.connects_delayed.add(1);
        self.waiting = Some(Box::new((now.plus(wait), identity)));
    }

    /// Lets in who has waited long enough.
    fn admit_waiting(&mut self, now: Timestamp) {
        let waited = self.waiting.take_if(|waiting| now >= waiting.0);
        if let Some((_, identity)) = waited.map(|waited| *waited).filter(|_| self.life.ended() == Ended::Not) {
            self.admit(identity, now);
            self.go_on(now);
        }
    }

    /// Looks at the clock: timeouts, pings, expiry, and frames that waited too long. `flushed` says that all that was
    /// gathered has left.
    pub fn tick(&mut self, now: Timestamp, flushed: bool) {
        self.admit_waiting(now);
        self.live(now, flushed);
        for at in 0..self.subscriptions.len() {
            let subscription = &mut self.subscriptions[at];
            let Some(lane) = &mut subscription.lane else { continue };
            if let Some(dropped) = lane.give_up(&subscription.watch, now) {
                self.node.counts.frames_dropped.add(dropped);
                let message = ServerMessage::Backpressure { reason: "frames".to_owned(), dropped: Some(dropped) };
                self.say(&message, now);
            }
        }
    }

    /// When [`Self::tick`] and [`Self::gather`] want to be called at the latest. While something gathered has not left
    /// (`flushed` is false) no frame can go, and none is waited for.
    #[must_use]
    pub fn deadline(&self, flushed: bool) -> Timestamp {
        let frames = self.subscriptions.iter().filter_map(|subscription| {
            let may_go = flushed && subscription.is_served();
            subscription.lane.as_ref()?.deadline(&subscription.watch, may_go)
        });
        // A deadline at which nothing can be done would pass, stay, and wake the connection again and again.
        let goes_on = self.life.ended() == Ended::Not;
        let expiry = self.expiry().filter(|_| goes_on);
        let retry_at = self.retry_at.filter(|_| goes_on && self.under_way.is_none());
        let waiting = self.waiting.as_ref().map(|waiting| waiting.0);
        let life = self.life.deadline(self.is_known());
        frames.chain(expiry).chain(retry_at).chain(waiting).fold(life, Timestamp::min)
    }

    /// Fills `out`, which is empty, with what may be sent: answers, then events, then at most one frame.
    pub fn gather(&mut self, out: &mut Outbox, now: Timestamp) {
        debug_assert!(out.is_empty(), "gathered before the last gathering was written");
        if self.life.ended() == Ended::Not {
            // First: it may have to refuse, which goes out with the replies. Nothing else would wake the task for it.
            self.hear_of_new(now);
        }
        if let Some(replies) = &mut self.replies {
            while !out.is_full()
                && let Some(reply) = replies.queue.pop_front()
            {
                replies.bytes -= reply.len();
                out.push(reply);
            }
        }
        self.replies.take_if(|replies| replies.queue.is_empty());
        if self.life.ended() != Ended::Not {
            return;
        }
        self.gather_events(out, now);
        self.say_mine_subscribed(out, now);
        if !out.is_full() {
            self.gather_frame(out, now);
        }
    }

    /// Is nothing left that only has to be written?
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.replies.is_none()
    }

    fn replies_bytes(&self) -> usize {
        self.replies.as_ref().map_or(0, |replies| replies.bytes)
    }

    /// Was its token good?
    const fn is_known(&self) -> bool {
        self.identity.is_some() || self.waiting.is_some()
    }

    /// Has it ended?
    #[must_use]
    pub const fn ended(&self) -> Ended {
        self.life.ended()
    }

    fn hear(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Text(text) => self.hear_json(text.as_bytes(), now),
            Message::Binary(bytes) => self.hear_json(&bytes, now),
            Message::Ping(payload) => self.reply(encoder::pong(&payload)),
            Message::Pong(_) => self.life.pong(),
            Message::Close(code) => {
                self.close(code.map_or(CloseCode::NORMAL, |(code, _)| code), "", now);
                self.life.gone();
            }
        }
    }

    /// The rows of the first dialect, in the order in which they are decided.
    fn hear_json(&mut self, text: &[u8], now: Timestamp) {
        if self.life.ended() != Ended::Not {
            return;
        }
        let value = match serde_json::from_slice::<Value>(text) {
            Ok(Value::Null) | Err(_) => {
                return self.refuse(
                    &Problem::new(ErrorCode::InvalidRequest, "Invalid message format"),
                    None,
                    None,
                    now,
                );
            }
            Ok(value) => value,
        };
        match value.get("type").and_then(Value::as_str) {
            Some("authenticate") => {
                let token = value.get("token").and_then(Value::as_str).unwrap_or_default();
                self.authenticate(Some(token), now);
            }
            Some("ping") => self.say(&ServerMessage::Pong, now),
            Some("unsubscribe") => self.unsubscribe(&value, now),
            Some("subscribe" | "generate" | "cancel" | "prioritize" | "credit") => self.command(value, now),
            // Unknown to the first dialect means silence.
            _ => {}
        }
    }

    fn command(&mut self, value: Value, now: Timestamp) {
        let Some(identity) = self.identity.clone() else {
            let early = Problem::new(ErrorCode::Unauthorized, "Must authenticate before subscribing");
            return self.refuse(&early, None, None, now);
        };
        let is_subscribe = value["type"] == "subscribe";
        if is_subscribe && !self.may_subscribe(now) {
            return;
        }
        if let Some(problem) = command::unreadable_field(&value) {
            return self.refuse(&problem, None, command::request_of(&value).as_ref(), now);
        }
        let request = command::request_of(&value);
        let generation = command::generation_of(&value);
        match serde_json::from_value::<ClientMessage>(value) {
            Ok(ClientMessage::Subscribe { generation_id, mine, after, delivery, frames }) => {
                let wanted = subscribe::Wanted { after, delivery, frames };
                self.subscribe(&identity, generation_id, mine, wanted, now);
            }
            Ok(message) => {
                if let Some(command) = Command::read(message) {
                    self.begin(&identity, command, now);
                }
            }
            // An id that cannot be one is as unknown as any other.
            Err(_) if is_subscribe && generation.is_none() => self.refuse_access(None, now),
            Err(error) => {
                let problem = Problem::new(ErrorCode::InvalidRequest, format!("Invalid message: {error}"));
                self.refuse(&problem, generation.as_ref(), request.as_ref(), now);
            }
        }
    }

    fn admit(&mut self, identity: Arc<Identity>, now: Timestamp) {
        let same = self.identity.as_ref().is_some_and(|old| {
            (&old.user, &old.tenant, old.role, &old.scope)
                == (&identity.user, &identity.tenant, identity.role, &identity.scope)
        });
        if !same {
            self.drop_subscriptions();
        }
        self.decoder.set_max(self.dialect.message_bytes_max());
        let message = ServerMessage::Authenticated { user_id: identity.user.clone(), expires_at: identity.expires_at };
        self.identity = Some(identity);
        self.say(&message, now);
    }

    fn drop_subscriptions(&mut self) {
        self.node.counts.of(Transport::Live).subscriptions.leave(self.subscriptions.len() as u64);
        self.subscriptions = Vec::new();
        self.mine = None;
        self.page = None;
    }

    fn say(&mut self, message: &ServerMessage, now: Timestamp) {
        self.reply(say::message(message, now));
    }

    fn refuse(
        &mut self,
        problem: &Problem,
        generation: Option<&GenerationId>,
        request: Option<&RequestId>,
        now: Timestamp,
    ) {
        self.reply(say::problem(problem, generation, request, now));
    }

    /// What unknown ids, foreign ids and missing ids get.
    fn refuse_access(&mut self, generation: Option<&GenerationId>, now: Timestamp) {
        let problem = Problem::new(ErrorCode::NotFound, "You do not have access to this generation");
        self.refuse(&problem, generation, None, now);
    }

    fn reply(&mut self, bytes: Bytes) {
        let replies = self.replies.get_or_insert_default();
        replies.bytes += bytes.len();
        replies.queue.push_back(bytes);
    }

    fn gather_frame(&mut self, out: &mut Outbox, now: Timestamp) {
        let count = self.subscriptions.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let subscription = &mut self.subscriptions[at];
            // Caught up first: a picture beside an old status would mislead.
            let served = subscription.is_served();
            let Some(lane) = subscription.lane.as_mut().filter(|_| served) else { continue };
            if let Some(frame) = lane.take(&subscription.watch, now) {
                out.push_part(Bytes::copy_from_slice(Header::binary(frame.bytes.len()).as_bytes()));
                out.push(frame.bytes.clone());
                self.node.counts.frames_sent.add(1);
                self.turn = at + 1;
                return;
            }
        }
    }

    fn gather_events(&mut self, out: &mut Outbox, now: Timestamp) {
        if out.is_full() {
            // Of answers. Whoever is not looked at goes on wanting what it waits for.
            return;
        }
        let count = self.subscriptions.len();
        let mut over = Vec::new();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let subscription = &mut self.subscriptions[at];
            if !subscription.watch.moved() {
                continue;
            }
            match subscription.gather(&mut self.page, &self.node, out, now) {
                Want::Over => over.push(at),
                want => subscription.want = want,
            }
            if out.is_full() {
                self.turn = at + 1;
                break;
            }
        }
        over.sort_unstable();
        for at in over.into_iter().rev() {
            let ended = self.subscriptions.swap_remove(at);
            self.forget_page_of(ended.generation());
            self.node.counts.of(Transport::Live).subscriptions.leave(1);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.drop_subscriptions();
        self.node.counts.of(Transport::Live).connections.leave(1);
    }
}

#[cfg(test)]
mod tests;
