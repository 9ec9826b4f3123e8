//! Events as they go on the wire: each encoded once per format, and the bytes shared by everybody who gets them.
//!
//! Position and links are written here and never stored: the epoch belongs to the store of the moment, and a link has an
//! expiry. Nothing here knows who the reader is; what differs between readers (`previous`, `recovery`) is built for one.

use std::sync::{Arc, OnceLock};

use access::Links;
use bytes::Bytes;
use protocol::{
    ArtifactName, Epoch, Event, Hint, Metadata, Position, Sequence, Timestamp, in_scratch, json_length, live::Recovery,
};
use serde::Serialize;
use serde_json::Value;

use crate::websocket::encoder::encode_text;

/// A shared live message carries the time it was first sent for so long, in milliseconds; a later reader gets its own
/// copy with its own time. One second: watchers of one event hear it within milliseconds, latecomers are few.
const STAMP_AGE_MAX_MS: u64 = 1_000;

/// Artifacts whose names events carry in `metadata`, and the key under which their link is written.
const LINKED: [(&str, &str); 2] = [("video", "videoUrl"), ("thumbnail", "thumbnailUrl")];

/// Writes events. One per node, shared by all who write them.
#[derive(Debug)]
pub struct Encoder {
    epoch: Epoch,
    links: Links,
}

/// An event with the forms it was asked for so far.
#[derive(Debug)]
pub struct Encoded {
    source: Source,
    data: OnceLock<Bytes>,
    live: OnceLock<(Timestamp, Bytes)>,
    sse: OnceLock<Bytes>,
}

/// The event as the bus or the log handed it over.
#[derive(Debug)]
enum Source {
    Event(Arc<Event>),
    Hint(Arc<Hint>),
}

/// What differs between two readers of the same event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aside {
    /// The sequence sent before, where some were skipped on request.
    pub previous: Option<Sequence>,
    /// Set on the state a reader goes on from when its position was gone.
    pub recovery: Option<Recovery>,
}

impl Encoded {
    /// A durable event.
    #[must_use]
    pub fn one(event: impl Into<Arc<Event>>) -> Arc<Self> {
        Arc::new(Self::new(Source::Event(event.into())))
    }

    /// An ephemeral status.
    #[must_use]
    pub fn hint(hint: Arc<Hint>) -> Arc<Self> {
        Arc::new(Self::new(Source::Hint(hint)))
    }

    const fn new(source: Source) -> Self {
        Self { source, data: OnceLock::new(), live: OnceLock::new(), sse: OnceLock::new() }
    }

    /// The event; of a hint, the status it shows.
    #[must_use]
    pub fn event(&self) -> &Event {
        match &self.source {
            Source::Event(event) => event,
            Source::Hint(hint) => &hint.status,
        }
    }

    /// Roughly what it holds in memory, in bytes: the event, and one encoding of it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let event = self.event();
        // Names of keys and the fixed fields come to about 400 bytes; metadata is counted by its written length.
        let metadata = if event.metadata.is_empty() { 0 } else { json_length(&event.metadata).unwrap_or(0) };
        2 * (400 + event.message.len() + metadata)
    }

    fn position(&self, epoch: &Epoch) -> Option<Position> {
        match self.source {
            Source::Event(_) => Some(Position { epoch: epoch.clone(), sequence: self.event().sequence }),
            Source::Hint(_) => None,
        }
    }
}

impl Encoder {
    /// Writes positions of `epoch` and links by `links`.
    #[must_use]
    pub const fn new(epoch: Epoch, links: Links) -> Self {
        Self { epoch, links }
    }

    /// The identity of the history whose events are written.
    #[must_use]
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// A place in this history.
    #[must_use]
    pub fn position(&self, sequence: Sequence) -> Position {
        Position { epoch: self.epoch.clone(), sequence }
    }

    /// The bare event with its links, for JSON pages and `GET …/status`.
    #[must_use]
    pub fn event(&self, event: &Event, now: Timestamp) -> Event {
        let mut event = event.clone();
        self.link(&mut event, now);
        event
    }

    /// The JSON of the event itself, shared. Links keep the hour in which it was first written; they live at least 24 hours
    /// and a tail forgets long before.
    pub fn data(&self, encoded: &Encoded, now: Timestamp) -> Bytes {
        let build = || {
            in_scratch(|text| {
                self.write(&encoded.source, now, text);
                Bytes::copy_from_slice(text)
            })
        };
        encoded.data.get_or_init(build).clone()
    }

    /// A whole WebSocket message, header included, shared by everybody it is sent to within a second.
    pub fn live(&self, encoded: &Encoded, now: Timestamp) -> Bytes {
        let build = || (now, self.frame(encoded, Aside::default(), now));
        let (at, shared) = encoded.live.get_or_init(build);
        if now.since(*at) <= STAMP_AGE_MAX_MS { shared.clone() } else { self.live_with(encoded, Aside::default(), now) }
    }

    /// A whole WebSocket message for one reader. Others come like it, and what they share is kept for them.
    pub fn live_with(&self, encoded: &Encoded, aside: Aside, now: Timestamp) -> Bytes {
        self.data(encoded, now);
        self.frame(encoded, aside, now)
    }

    /// A WebSocket message around the JSON of the event: that which is kept, or else one that is not. Most events have one
    /// message and no other form, and are so written once.
    fn frame(&self, encoded: &Encoded, aside: Aside, now: Timestamp) -> Bytes {
        let rest = Rest {
            generation_id: encoded.event().generation_id.as_str(),
            position: encoded.position(&self.epoch),
            previous: aside.previous,
            recovery: aside.recovery,
            timestamp: now,
        };
        in_scratch(|text| {
            text.extend_from_slice(br#"{"type":"status_update","data":"#);
            match encoded.data.get() {
                Some(data) => text.extend_from_slice(data),
                None => self.write(&encoded.source, now, text),
            }
            text.push(b',');
            append_fields(text, &rest);
            encode_text(text)
        })
    }

    /// The JSON of the event with its `position` in it, for one reader of many generations.
    pub fn placed(&self, encoded: &Encoded, now: Timestamp) -> Vec<u8> {
        let mut text = self.data(encoded, now).to_vec();
        if let Some(position) = encoded.position(&self.epoch) {
            text.pop();
            // Letters, digits and a colon: nothing to escape.
            text.extend_from_slice(format!(r#","position":"{position}"}}"#).as_bytes());
        }
        text
    }

    /// A whole server-sent event, shared. Hints carry no `id:`, so that nobody resumes from one.
    pub fn sse(&self, encoded: &Encoded, now: Timestamp) -> Bytes {
        let build = || {
            let id = encoded.position(&self.epoch).map(|position| position.to_string());
            sse_event(None, id.as_deref(), &self.data(encoded, now))
        };
        encoded.sse.get_or_init(build).clone()
    }

    fn write(&self, source: &Source, now: Timestamp, text: &mut Vec<u8>) {
        let written = match source {
            Source::Event(event) if has_links(&event.metadata) => serde_json::to_writer(text, &self.event(event, now)),
            Source::Event(event) => serde_json::to_writer(text, &**event),
            Source::Hint(hint) if has_links(&hint.status.metadata) => {
                serde_json::to_writer(text, &Hint::new(self.event(&hint.status, now), hint.tick))
            }
            Source::Hint(hint) => serde_json::to_writer(text, &**hint),
        };
        written.expect("events hold texts, numbers and JSON");
    }

    fn link(&self, event: &mut Event, now: Timestamp) {
        for (name, url) in LINKED {
            let Some(artifact) =
                event.metadata.get(name).and_then(Value::as_str).and_then(|n| n.parse::<ArtifactName>().ok())
            else {
                continue;
            };
            let link = self.links.url(&event.generation_id, &artifact, now);
            Arc::make_mut(&mut event.metadata).insert(url.to_owned(), Value::String(link));
        }
    }
}

/// One server-sent event. `data` is JSON on one line.
#[must_use]
pub fn sse_event(name: Option<&str>, id: Option<&str>, data: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(data.len() + 64);
    for (field, value) in [("event: ", name), ("id: ", id)] {
        if let Some(value) = value {
            text.extend_from_slice(field.as_bytes());
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
    }
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

/// What stands behind `data` in a `status_update`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rest<'a> {
    generation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Sequence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Recovery>,
    timestamp: Timestamp,
}

/// Appends the fields of an object without its opening brace.
fn append_fields(text: &mut Vec<u8>, fields: &impl Serialize) {
    let at = text.len();
    serde_json::to_writer(&mut *text, fields).expect("a vector takes every byte, and the fields are texts and numbers");
    text.remove(at);
}

fn has_links(metadata: &Metadata) -> bool {
    LINKED.iter().any(|(name, _)| metadata.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use access::Secret;
    use serde_json::json;
    use store::conformance::sample;

    use super::*;

    #[test]
    fn a_message_is_the_same_whichever_form_was_asked_for_before() {
        let event: Event = serde_json::from_value(json!({
            "eventId": "c.0", "generationId": "gen_a", "tenantId": "default", "userId": "u", "causalId": "c",
            "sequence": 7, "attempt": 1, "type": "complete", "state": "complete", "status": "complete",
            "progress": 100.0, "message": "ä", "metadata": {"video": "film.mp4"}, "timestamp": 5,
        }))
        .unwrap();
        let (now, secret) = (Timestamp(9), access::Secret::new("of a test").unwrap());
        let encoder = Encoder::new(Epoch::new("k3f9").unwrap(), Links::new(&secret, None));
        let forms = |encoded: &Encoded, first: bool| {
            if first {
                encoder.data(encoded, now);
            }
            (encoder.live(encoded, now), encoder.live_with(encoded, Aside::default(), now), encoder.data(encoded, now))
        };
        let (live, own, data) = forms(&Encoded::one(event.clone()), false);
        assert_eq!(forms(&Encoded::one(event), true), (live.clone(), live.clone(), data.clone()));
        assert_eq!(own, live);
        assert!(live.windows(data.len()).any(|part| part == data) && data.ends_with(b"}"));
    }

    fn same(one: &Bytes, other: &Bytes) -> bool {
        (one.as_ptr(), one.len()) == (other.as_ptr(), other.len())
    }

    /// A thousand watchers cost one encoding: they are given the same bytes, not equal ones.
    #[test]
    fn what_many_watchers_get_is_written_once() {
        let secret = Secret::new(&b"a secret of at least thirty-two bytes"[..]).unwrap();
        let encoder = Encoder::new(Epoch::new("abcdef").unwrap(), Links::new(&secret, None));
        let generation = sample::generation("shared");
        let created = sample::create(&generation, sample::row("default", protocol::State::Running));
        let encoded = Encoded::one(Arc::clone(&created.events[0].event));
        let first = Timestamp(1_000_000);
        let (soon, late) = (first.plus(STAMP_AGE_MAX_MS), first.plus(STAMP_AGE_MAX_MS + 1));

        let live = encoder.live(&encoded, first);
        assert!(same(&live, &encoder.live(&encoded, soon)));
        // Later ones are told their own time, from the same JSON.
        assert!(!same(&live, &encoder.live(&encoded, late)));
        assert!(same(&encoder.data(&encoded, first), &encoder.data(&encoded, late)));
        assert!(same(&encoder.sse(&encoded, first), &encoder.sse(&encoded, late)));
    }
}
