//! Messages of the live socket (`/v1/live`, `/ws`, `/`): a superset of the first dialect, whose clients ignore what they do not know.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::ErrorCode,
    http::Submission,
    id::{GenerationId, RequestId, UserId},
    number::{Sequence, Timestamp},
    position::{After, Position},
};

/// Which events a watcher wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Each, in order.
    #[default]
    All,
    /// Superseded progress may be skipped; stage edges and the end always come.
    Latest,
}

/// Which preview frames a watcher wants. Events are lossless, frames are conflated unless asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrameWish {
    /// Frames per second at most; 1 to 60.
    #[serde(default = "FrameWish::default_fps")]
    pub max_fps: u32,
    /// Pixels at most; at or below 192 the worker's small tiles are enough.
    #[serde(default = "FrameWish::default_width")]
    pub max_width: u32,
    /// `latest`, or `all` for the requester that plays what it receives.
    #[serde(default = "FrameWish::default_delivery")]
    pub delivery: Delivery,
}

impl FrameWish {
    const fn default_fps() -> u32 {
        12
    }
    const fn default_width() -> u32 {
        854
    }
    const fn default_delivery() -> Delivery {
        Delivery::Latest
    }
}

impl Default for FrameWish {
    fn default() -> Self {
        Self { max_fps: Self::default_fps(), max_width: Self::default_width(), delivery: Delivery::Latest }
    }
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// Who it is. May be repeated; another identity ends the subscriptions of the first.
    Authenticate {
        /// A JWT or a live token.
        #[serde(default)]
        token: String,
    },
    /// Watch one generation, or all of one's own.
    Subscribe {
        /// Which one; absent with `mine`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation_id: Option<GenerationId>,
        /// All of the user's own, present and to come.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mine: bool,
        /// What was missed starts after this; absent means the current state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<After>,
        /// All events, or only what is not superseded.
        #[serde(default)]
        delivery: Delivery,
        /// Preview frames; absent means none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameWish>,
    },
    /// Stop watching.
    Unsubscribe {
        /// Which one; absent with `mine`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation_id: Option<GenerationId>,
        /// The subscription to all of the user's own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mine: bool,
    },
    /// Asks for a `pong`.
    Ping,
    /// Submits, as `POST /v1/generations` does.
    Generate {
        /// Finds the answer again, and makes a repeat harmless.
        request_id: RequestId,
        /// The same fields as in HTTP.
        #[serde(flatten)]
        submission: Submission,
    },
    /// Asks a generation to stop.
    Cancel {
        /// Which one.
        generation_id: GenerationId,
    },
    /// Changes the place of a queued generation.
    Prioritize {
        /// Which one.
        generation_id: GenerationId,
        /// `interactive`, `standard` or `batch`.
        priority: crate::http::Priority,
    },
    /// Allows more; without any credit message there is no limit but the window.
    Credit {
        /// Which one.
        generation_id: GenerationId,
        /// Frames that may be sent from here on; 0 pauses them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<u32>,
        /// Events that may be sent from here on; 0 pauses them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        events: Option<u32>,
    },
}

/// How a subscription found its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// No position was given; what came first is the current state.
    Fresh,
    /// The position was good; what was missed came first.
    Resumed,
    /// The position is gone (another epoch, swept, beyond the head); what came first is the state to go on from.
    Snapshot,
}

/// What the server says, apart from `status_update`, whose body is spliced in encoded form. Each message also carries
/// `timestamp`, the time of sending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The token was good.
    Authenticated {
        /// Whose it is.
        user_id: UserId,
        /// When it expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// An event, or with `ephemeral` a hint. (Built by splicing; this variant is for clients.)
    StatusUpdate {
        /// The event.
        data: Box<Value>,
        /// Whose it is.
        generation_id: GenerationId,
        /// Where a watcher stands that has seen it; absent on hints.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// The sequence sent before, when some were skipped on request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Sequence>,
        /// `snapshot` when this is the state to go on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery: Option<Recovery>,
    },
    /// Caught up to the head as it was when `subscribe` came; from here on it is live.
    Subscribed {
        /// Which one; absent for `mine`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation_id: Option<GenerationId>,
        /// True for the subscription to all of one's own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mine: bool,
        /// The position reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// How the place was found.
        recovery: Recovery,
    },
    /// No longer watching.
    Unsubscribed {
        /// As in the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation_id: Option<Value>,
        /// As in the request.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mine: bool,
    },
    /// A `generate` was committed.
    Accepted {
        /// The client's name for it.
        request_id: RequestId,
        /// The first state.
        generation: Box<Value>,
    },
    /// The terminal event was sent; the server ended the subscription.
    Done {
        /// Which one.
        generation_id: GenerationId,
    },
    /// Something had to give.
    Backpressure {
        /// Why.
        reason: String,
        /// How many frames were dropped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dropped: Option<u64>,
    },
    /// Come back after this long; the connection is about to close.
    Reconnect {
        /// Milliseconds, already spread over all clients.
        after_ms: u64,
        /// Why.
        reason: String,
    },
    /// Something was refused; the socket stays open unless a close follows.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people, and for the first dialect, which knows this text.
        error: String,
        /// Would the same message have a chance later?
        retryable: bool,
        /// What it was about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation_id: Option<GenerationId>,
        /// What it was about, for `generate`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
    },
    /// Answers `ping`.
    Pong,
}

/// WebSocket close codes of this protocol. The first dialect stops for ever on 4001 and 4003 and reconnects on any other.
pub mod close {
    /// Nothing more to say.
    pub const NORMAL: u16 = 1000;
    /// The server is going away; reconnect.
    pub const DRAIN: u16 = 1001;
    /// The peer broke RFC 6455.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A text message that is not UTF-8.
    pub const NOT_TEXT: u16 = 1007;
    /// Refused by policy.
    pub const POLICY: u16 = 1008;
    /// A message over its limit.
    pub const TOO_BIG: u16 = 1009;
    /// Overload; reconnect later.
    pub const TRY_LATER: u16 = 1013;
    /// Nobody authenticated in time.
    pub const AUTHENTICATION_TIMEOUT: u16 = 4001;
    /// Authentication failed or expired: come back only with a new token.
    pub const AUTHENTICATION_FAILED: u16 = 4003;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dialects_messages_are_understood() {
        let subscribe: ClientMessage =
            serde_json::from_str(r#"{"type":"subscribe","generationId":"gen_abc"}"#).unwrap();
        assert!(matches!(subscribe, ClientMessage::Subscribe { after: None, frames: None, mine: false, .. }));
        assert_eq!(serde_json::from_str::<ClientMessage>(r#"{"type":"ping"}"#).unwrap(), ClientMessage::Ping);
    }

    #[test]
    fn generate_takes_the_fields_of_a_submission() {
        let text = r#"{"type":"generate","requestId":"r1","prompt":"a lake","params":{"seconds":2}}"#;
        let ClientMessage::Generate { submission, .. } = serde_json::from_str(text).unwrap() else {
            panic!("not a generate")
        };
        assert_eq!(submission.prompt.as_deref(), Some("a lake"));
    }
}
