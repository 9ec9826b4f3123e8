//! A session on a bench: what it says is collected, what it asks for is answered from a list.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use access::{Doors, Links, Role, Secret};
use bus::{Bus, Local, Signal};
use bytes::Bytes;
use protocol::{
    Epoch, Event, EventType, Fence, FrameIndex, GenerationId, Revision, Sequence, State, Status, TenantId, Timestamp,
    frame::{Format, Header},
    limits,
};
use serde_json::Value;
use store::{Latest, StoredEvent};

use crate::{
    arrivals::Arrivals,
    counts::Counts,
    encode::Encoder,
    hub::{Hub, Wake},
    node::Node,
    pages::Page,
    session::{Answer, Dialect, Ended, Need, Outbox, Session},
};

pub(super) const NOW: u64 = 1_737_331_280_000;
const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// What a server said, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Json(Value),
    Frame(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(u16, String),
}

impl Said {
    /// `type`, and for an error its text.
    pub(super) fn gist(&self) -> String {
        match self {
            Self::Json(value) if value["type"] == "error" => format!("error: {}", value["error"].as_str().unwrap()),
            Self::Json(value) if value["type"] == "status_update" => {
                format!("status_update {}", value["data"]["sequence"])
            }
            Self::Json(value) => value["type"].as_str().unwrap().to_owned(),
            Self::Frame(_) => "frame".to_owned(),
            Self::Ping => "ping".to_owned(),
            Self::Pong(_) => "pong frame".to_owned(),
            Self::Close(code, reason) => format!("close {code} {reason}"),
        }
    }
}

pub(super) struct Bench {
    pub(super) node: Arc<Node>,
    pub(super) session: Session,
    pub(super) now: Timestamp,
    /// All events of all generations, and how many of the oldest were swept.
    pub(super) log: Vec<Event>,
    pub(super) swept: usize,
    /// How many pages were read.
    pub(super) reads: usize,
    bus: Local,
    clock: Arc<AtomicU64>,
}

impl Bench {
    pub(super) fn new(dialect: Dialect) -> Self {
        let secret = Secret::new(SECRET).unwrap();
        let clock = Arc::new(AtomicU64::new(NOW));
        let read = Arc::clone(&clock);
        let clock_of_node: crate::node::Clock = Arc::new(move || Timestamp(read.load(Relaxed)));
        let hub = Hub::new(Arc::clone(&clock_of_node));
        let bus = Local::default();
        bus.listen(Arc::clone(&hub) as Arc<dyn bus::Listener>);
        let node = Arc::new(Node {
            hub,
            encoder: Arc::new(Encoder::new(Epoch::new("k3f9").unwrap(), Links::new(&secret, None))),
            doors: Arc::new(Doors::new(&secret)),
            guest: None,
            expiry_grace_ms: Some(30_000),
            arrivals: Arrivals::new(None),
            counts: Counts::default(),
            clock: clock_of_node,
            random: Arc::new(|| [7; 10]),
        });
        let session = Session::new(Arc::clone(&node), Arc::<Wake>::default(), dialect, 0, Timestamp(NOW));
        Self { node, session, now: Timestamp(NOW), log: Vec::new(), swept: 0, reads: 0, bus, clock }
    }

    /// A bench whose client is user_456.
    pub(super) fn authenticated(dialect: Dialect) -> Self {
        let mut bench = Self::new(dialect);
        let token = bench.token("user_456");
        bench.say(&format!(r#"{{"type":"authenticate","token":"{token}"}}"#));
        assert_eq!(bench.gists(), ["authenticated"]);
        bench
    }

    pub(super) fn token(&self, user: &str) -> String {
        let expires_at = Timestamp(NOW + 3_600_000);
        self.node.doors.mint(&user.parse().unwrap(), &TenantId::fallback(), Role::User, expires_at)
    }

    pub(super) fn later(&mut self, milliseconds: u64) {
        self.now = self.now.plus(milliseconds);
        self.clock.store(self.now.0, Relaxed);
        self.session.tick(self.now, true);
    }

    /// The client sends a text.
    pub(super) fn say(&mut self, text: &str) {
        self.send(&client_frame(0x81, text.as_bytes()));
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.session.receive(bytes, self.now);
    }

    /// Events of `generation` become durable; the bus brings them.
    pub(super) fn commit(&mut self, generation: &str, kinds: &[EventType]) {
        let events = self.write(generation, kinds);
        self.bus.publish(Signal::Events(events));
    }

    /// Events become durable, and the bus loses them.
    pub(super) fn write(&mut self, generation: &str, kinds: &[EventType]) -> Arc<[Arc<Event>]> {
        let id: GenerationId = generation.parse().unwrap();
        let head = self.log.iter().filter(|event| event.generation_id == id).count() as u64;
        let events: Arc<[Arc<Event>]> =
            kinds.iter().zip(head + 1..).map(|(kind, sequence)| event(&id, sequence, *kind).into()).collect();
        self.log.extend(events.iter().map(|event| Event::clone(event)));
        events
    }

    pub(super) fn delete(&mut self, generation: &str) {
        let generation: GenerationId = generation.parse().unwrap();
        self.log.retain(|event| event.generation_id != generation);
        self.bus.publish(Signal::Deleted(generation));
    }

    pub(super) fn frame(&self, generation: &str, index: u32) {
        self.revision(generation, index, 0);
    }

    pub(super) fn revision(&self, generation: &str, index: u32, revision: u32) {
        let generation: GenerationId = generation.parse().unwrap();
        let header = Header {
            format: Format::Webp,
            flags: 0,
            fence: Fence(1),
            index: FrameIndex(index),
            total: 48,
            revision: Revision(revision),
            pts_micros: 0,
            width: 4,
            height: 4,
            generation: Some(generation.clone()),
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        let picture_at = bytes.len();
        bytes.extend_from_slice(b"RIFF\x10\0\0\0WEBPVP8 ");
        self.bus.publish(Signal::Frame(Arc::new(bus::Frame {
            generation,
            header,
            bytes: Bytes::from(bytes),
            picture_at,
        })));
    }

    /// One gathering, after everything it asked for was answered. The socket takes it all.
    pub(super) fn gather(&mut self) -> Vec<Said> {
        while let Some(need) = self.session.need(self.now) {
            let answer = self.fulfil(need);
            self.session.answer(answer, self.now);
        }
        self.gather_unanswered()
    }

    /// One gathering, and the question it leads to, which is with the store.
    pub(super) fn asks(&mut self) -> (Vec<String>, Need) {
        let said = self.gather_unanswered();
        let need = self.session.need(self.now).expect("a question for the log");
        (said.iter().map(Said::gist).collect(), need)
    }

    /// The store's answer to a question arrives.
    pub(super) fn answer(&mut self, need: Need) {
        let answer = self.fulfil(need);
        self.session.answer(answer, self.now);
    }

    /// The store fails at a read of a page.
    pub(super) fn fail(&mut self) {
        self.session.answer(Answer::Page(Err(store::StoreError::Unavailable("on the bench".into()))), self.now);
    }

    /// One gathering, while what it asked for may be under way.
    pub(super) fn gather_unanswered(&mut self) -> Vec<Said> {
        let mut out = Outbox::default();
        self.session.gather(&mut out, self.now);
        let mut slices = [std::io::IoSlice::new(&[]); 128];
        let mut bytes = Vec::new();
        while !out.is_empty() {
            let used = out.slices(&mut slices);
            let written: usize = slices[..used].iter().map(|slice| slice.len()).sum();
            slices[..used].iter().for_each(|slice| bytes.extend_from_slice(slice));
            slices = [std::io::IoSlice::new(&[]); 128];
            out.advance(written);
        }
        take_apart(&bytes)
    }

    /// Everything it has to say.
    pub(super) fn heard(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        loop {
            let said = self.gather();
            if said.is_empty() {
                // A gathering may have found out that it needs the log.
                match self.session.need(self.now) {
                    Some(need) => {
                        let answer = self.fulfil(need);
                        self.session.answer(answer, self.now);
                    }
                    None => return all,
                }
            }
            all.extend(said);
        }
    }

    pub(super) fn gists(&mut self) -> Vec<String> {
        self.heard().iter().map(Said::gist).collect()
    }

    pub(super) fn ended(&self) -> Ended {
        self.session.ended()
    }

    fn fulfil(&mut self, need: Need) -> Answer {
        let of = |generation: &GenerationId| {
            let events = self.log.iter().filter(|event| event.generation_id == *generation).cloned();
            events.skip(self.swept).collect::<Vec<_>>()
        };
        match need {
            Need::Latest(generation) => {
                let events = of(&generation);
                let oldest = events.first().map(|event| event.sequence).unwrap_or_default();
                Answer::Latest(Ok(events.into_iter().last().map(|event| Latest { event, oldest })))
            }
            Need::Page { generation, after, .. } => {
                self.reads += 1;
                let events = of(&generation).into_iter().filter(|event| event.sequence > after);
                let events = events.take(limits::PAGE_EVENTS_MAX);
                let events = events.map(|event| StoredEvent { event: event.into(), fact: Vec::new() }).collect();
                Answer::Page(Ok(Arc::new(Page::new(events))))
            }
            Need::Mine { user, .. } => {
                let mut latest: Vec<Event> = Vec::new();
                for event in self.log.iter().filter(|event| event.user_id == user) {
                    latest.retain(|known| known.generation_id != event.generation_id);
                    latest.push(event.clone());
                }
                latest.retain(|event| !event.kind.is_terminal());
                Answer::Mine(Ok(latest))
            }
            Need::Cancel(generation) => {
                Answer::Commanded(of(&generation).into_iter().last().ok_or_else(protocol::Problem::not_found))
            }
            Need::Submit(_) | Need::Prioritize(..) => panic!("not on this bench: {need:?}"),
        }
    }
}

pub(super) fn event(generation: &GenerationId, sequence: u64, kind: EventType) -> Event {
    let state = match kind {
        EventType::Queued => State::Queued,
        EventType::Complete => State::Complete,
        _ => State::Running,
    };
    let event = crate::cursor::tests::event(sequence);
    Event {
        generation_id: generation.clone(),
        sequence: Sequence(sequence),
        kind,
        state,
        status: Status::of(state, None, true),
        progress: 45.0,
        message: format!("Generating frames ({sequence}/48)"),
        timestamp: Timestamp(NOW),
        ..event
    }
}

/// A client's frame, masked with zeros.
pub(super) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Reads the server's frames, which are unmasked and never fragmented.
fn take_apart(mut bytes: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match *length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (usize::try_from(u64::from_be_bytes(rest[..8].try_into().unwrap())).unwrap(), &rest[8..]),
            short => (usize::from(short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        said.push(match first {
            0x81 => Said::Json(serde_json::from_slice(payload).unwrap()),
            0x82 => Said::Frame(payload.to_vec()),
            0x88 => Said::Close(
                u16::from_be_bytes([payload[0], payload[1]]),
                String::from_utf8(payload[2..].to_vec()).unwrap(),
            ),
            0x89 => Said::Ping,
            0x8a => Said::Pong(payload.to_vec()),
            other => panic!("a server does not send {other:#x}"),
        });
        bytes = rest;
    }
    said
}
