//! Watching one generation across connections: each event once and in order, from a position to the end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use protocol::{
    ErrorCode, Event, GenerationId, Hint, Position, Sequence, Tick,
    frame::Header,
    live::{ClientMessage, Delivery, FrameWish, Recovery, ServerMessage},
    position::After,
};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::live::{Heard, Live, Lost};
use crate::{Address, backoff::Backoff, random};

/// What a watcher sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A durable event.
    Event {
        /// It.
        event: Box<Event>,
        /// Give it to a later watch to go on from here.
        position: Position,
        /// The events between are gone from the server (another epoch, swept): this is the state to go on from.
        snapshot: bool,
    },
    /// An ephemeral status between two events.
    Hint(Box<Hint>),
    /// A preview picture; asked for with [`crate::Client::watch_with_frames`].
    Frame {
        /// What its header says.
        header: Header,
        /// The picture's own bytes.
        picture: Bytes,
    },
    /// What was missed has been given; from here on it is live.
    Live,
    /// The connection is gone; the watch goes on by itself. Nothing will be missing.
    Reconnecting {
        /// Why, for people.
        why: String,
        /// Until the next try.
        after: Duration,
    },
}

/// Why a watch ended before the generation did.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WatchError {
    /// The server does not want this token, or it expired. Come back with a new one.
    #[error("the server refused the token: {0}")]
    TokenRefused(String),
    /// It does not exist, or the token does not allow it.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The server skipped an event, which it promises never to do.
    #[error("event {got} came after {last}: events are missing")]
    Gap {
        /// The last event seen.
        last: Sequence,
        /// The one that came.
        got: Sequence,
    },
    /// An event that cannot be read: the server is of another age.
    #[error("an event that this client cannot read: {0}")]
    Unreadable(String),
    /// Nobody answered a health check.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
}

/// A watch over one generation. It owns its connection and has no task: it lives while [`Watch::next`] is called.
#[derive(Debug)]
pub struct Watch {
    address: Address,
    token: String,
    frames: Option<FrameWish>,
    live: Option<Live>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    place: Place,
}

/// Where the watch is. Pure: every rule about order is here.
#[derive(Debug)]
struct Place {
    generation: GenerationId,
    after: After,
    last: Option<Sequence>,
    tick: Tick,
    ended: bool,
}

impl Watch {
    pub(super) fn new(
        address: Address,
        token: String,
        generation: GenerationId,
        after: After,
        frames: Option<FrameWish>,
    ) -> Self {
        let last = match &after {
            After::Position(position) => Some(position.sequence),
            After::Sequence(sequence) => Some(*sequence),
            After::Start => Some(Sequence(0)),
            After::Now => None,
        };
        let place = Place { generation, after, last, tick: Tick(0), ended: false };
        Self { address, token, frames, live: None, backoff: Backoff::default(), retry_at: None, place }
    }

    /// What comes next; `None` after the terminal event, and after an error.
    ///
    /// # Errors
    /// [`WatchError`] ends the watch. A connection that breaks is no error.
    ///
    /// # Cancel safety
    /// Safe to drop: nothing is lost or given twice.
    pub async fn next(&mut self) -> Option<Result<Update, WatchError>> {
        while !self.place.ended {
            if let Some(at) = self.retry_at {
                sleep_until(at).await;
                self.retry_at = None;
            }
            match self.step().await {
                Ok(Step::Show(update)) => return Some(Ok(update)),
                Ok(Step::Nothing) => {}
                Ok(Step::Again { why, after }) => return Some(Ok(self.again(why, after))),
                Err(error) => {
                    self.place.ended = true;
                    self.live = None;
                    return Some(Err(error));
                }
            }
        }
        self.live = None;
        None
    }

    /// The watch as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Update, WatchError>> {
        stream::unfold(self, async |mut watch| watch.next().await.map(|update| (update, watch)))
    }

    async fn step(&mut self) -> Result<Step, WatchError> {
        let heard = match &mut self.live {
            Some(live) => live.hear().await,
            None => match Live::open(&self.address, &self.greeting()).await {
                Ok(live) => {
                    self.live = Some(live);
                    return Ok(Step::Nothing);
                }
                Err(lost) => Err(lost),
            },
        };
        match heard {
            Ok(Heard::Frame(bytes)) => Ok(self.place.frame(&bytes)),
            Ok(Heard::Message(message)) => {
                let step = self.place.receive(*message)?;
                if matches!(step, Step::Show(Update::Live)) {
                    self.backoff.reset();
                }
                Ok(step)
            }
            Err(Lost::Gone(why)) => Ok(Step::Again { why, after: None }),
            Err(Lost::Refused(why)) => Err(WatchError::TokenRefused(why)),
        }
    }

    fn again(&mut self, why: String, after: Option<Duration>) -> Update {
        self.live = None;
        let after = after.unwrap_or_else(|| self.backoff.next(random::unit()));
        self.retry_at = Some(Instant::now() + after);
        Update::Reconnecting { why, after }
    }

    fn greeting(&self) -> Vec<ClientMessage> {
        let mut greeting = Vec::with_capacity(2);
        // Without a token the server decides whether this machine is trusted; an empty one would be refused.
        if !self.token.is_empty() {
            greeting.push(ClientMessage::Authenticate { token: self.token.clone() });
        }
        greeting.push(ClientMessage::Subscribe {
            generation_id: Some(self.place.generation.clone()),
            mine: false,
            after: Some(self.place.after.clone()),
            delivery: Delivery::All,
            frames: self.frames,
        });
        greeting
    }
}

/// What became of something heard.
#[derive(Debug, PartialEq)]
enum Step {
    Show(Update),
    Nothing,
    Again { why: String, after: Option<Duration> },
}

impl Place {
    fn receive(&mut self, message: ServerMessage) -> Result<Step, WatchError> {
        match message {
            ServerMessage::StatusUpdate { data, generation_id, position, recovery, .. }
                if generation_id == self.generation =>
            {
                self.status(*data, position, recovery)
            }
            ServerMessage::Subscribed { .. } => Ok(Step::Show(Update::Live)),
            ServerMessage::Done { generation_id } if generation_id == self.generation => {
                self.ended = true;
                Ok(Step::Nothing)
            }
            ServerMessage::Reconnect { after_ms, reason } => {
                Ok(Step::Again { why: reason, after: Some(Duration::from_millis(after_ms)) })
            }
            ServerMessage::Error { code: ErrorCode::Unauthorized, error, .. } => Err(WatchError::TokenRefused(error)),
            ServerMessage::Error { error, retryable: true, .. } => Ok(Step::Again { why: error, after: None }),
            ServerMessage::Error { code, error, .. } => Err(WatchError::Refused { code, message: error }),
            _ => Ok(Step::Nothing),
        }
    }

    fn status(
        &mut self,
        data: Value,
        position: Option<Position>,
        recovery: Option<Recovery>,
    ) -> Result<Step, WatchError> {
        let unreadable = |error: serde_json::Error| WatchError::Unreadable(error.to_string());
        let Some(position) = position else {
            let hint: Hint = serde_json::from_value(data).map_err(unreadable)?;
            return Ok(self.hint(hint));
        };
        let event: Event = serde_json::from_value(data).map_err(unreadable)?;
        let snapshot = recovery == Some(Recovery::Snapshot);
        let got = event.sequence;
        match self.last {
            // A snapshot starts over, wherever it stands: of another epoch, sequences say nothing.
            _ if snapshot => {}
            Some(last) if got <= last => return Ok(Step::Nothing),
            Some(last) if got != last.next() => return Err(WatchError::Gap { last, got }),
            _ => {}
        }
        self.last = Some(got);
        self.after = After::Position(position.clone());
        self.tick = Tick(0);
        self.ended = event.kind.is_terminal();
        Ok(Step::Show(Update::Event { event: Box::new(event), position, snapshot }))
    }

    fn hint(&mut self, hint: Hint) -> Step {
        let current = self.last.is_none_or(|last| hint.status.sequence == last);
        if !current || hint.tick <= self.tick {
            return Step::Nothing;
        }
        self.tick = hint.tick;
        Step::Show(Update::Hint(Box::new(hint)))
    }

    fn frame(&self, bytes: &Bytes) -> Step {
        match Header::read(bytes) {
            Ok((header, picture)) if header.generation.as_ref() == Some(&self.generation) => {
                let picture = bytes.slice_ref(picture);
                Step::Show(Update::Frame { header, picture })
            }
            Ok(_) => Step::Nothing,
            Err(error) => {
                tracing::debug!(%error, "a frame that cannot be read");
                Step::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(after: After) -> Place {
        let client = crate::Client::new("http://h", "").unwrap();
        client.watch(&GenerationId::new("gen_a").unwrap(), after).place
    }

    fn update(sequence: u64, kind: &str, recovery: Option<Recovery>) -> ServerMessage {
        let data = serde_json::json!({
            "eventId": "e", "generationId": "gen_a", "tenantId": "t", "userId": "u", "causalId": "c",
            "sequence": sequence, "attempt": 1, "type": kind, "state": "running", "status": "encoding",
            "progress": 1.0, "message": "m", "timestamp": 1,
        });
        ServerMessage::StatusUpdate {
            data: Box::new(data),
            generation_id: GenerationId::new("gen_a").unwrap(),
            position: Some(format!("k3f9:{sequence}").parse().unwrap()),
            previous: None,
            recovery,
        }
    }

    fn shown(step: Result<Step, WatchError>) -> Option<u64> {
        match step.unwrap() {
            Step::Show(Update::Event { event, .. }) => Some(event.sequence.0),
            _ => None,
        }
    }

    #[test]
    fn an_event_is_shown_once_and_the_place_moves() {
        let mut place = place(After::Start);
        assert_eq!(shown(place.receive(update(1, "queued", None))), Some(1));
        assert_eq!(shown(place.receive(update(1, "queued", None))), None);
        assert_eq!(shown(place.receive(update(2, "log", None))), Some(2));
        assert_eq!(place.after.to_string(), "k3f9:2");
    }

    #[test]
    fn a_hole_is_an_error_and_not_silence() {
        let mut place = place(After::Start);
        assert_eq!(shown(place.receive(update(1, "queued", None))), Some(1));
        let error = place.receive(update(3, "log", None)).unwrap_err();
        assert_eq!(error, WatchError::Gap { last: Sequence(1), got: Sequence(3) });
    }

    #[test]
    fn a_snapshot_starts_over_wherever_it_stands() {
        let mut place = place("k3f9:40".parse().unwrap());
        assert_eq!(shown(place.receive(update(7, "log", Some(Recovery::Snapshot)))), Some(7));
        assert_eq!(shown(place.receive(update(8, "complete", None))), Some(8));
        assert!(place.ended);
    }

    #[test]
    fn only_a_retryable_error_is_waited_out() {
        let error = |code, retryable| ServerMessage::Error {
            code,
            error: "no".to_owned(),
            retryable,
            generation_id: None,
            request_id: None,
        };
        let mut place = place(After::Start);
        assert!(matches!(place.receive(error(ErrorCode::Unavailable, true)), Ok(Step::Again { .. })));
        assert!(matches!(place.receive(error(ErrorCode::NotFound, false)), Err(WatchError::Refused { .. })));
        assert!(matches!(place.receive(error(ErrorCode::Unauthorized, false)), Err(WatchError::TokenRefused(_))));
    }
}
