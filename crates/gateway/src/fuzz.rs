//! Bodies for fuzzers: each takes any bytes, and must neither panic, nor take long, nor hold more than its bounds.

use std::sync::Arc;

use access::{Doors, Identity, Links, Role, Scope, Secret};
use protocol::{Epoch, TenantId, Timestamp, limits};

use crate::{
    arrivals::Arrivals,
    counts::Counts,
    encode::Encoder,
    hub::{Hub, Wake},
    node::Node,
    session::{Answer, Dialect, Need, Outbox, Session},
    websocket::{decoder::Decoder, handshake},
};

pub use crate::transport::fuzz::request;

const NOW: Timestamp = Timestamp(1_737_331_280_000);
/// A whole message of text from a client; its mask is zeros.
const TEXT: u8 = 0x81;

/// What a client sends after its handshake: as one piece, and byte by byte, it is the same.
///
/// # Panics
/// When it is not, or when more is held than a message may have.
pub fn decoder(bytes: &[u8]) {
    const MAX: usize = 1_024;
    let all = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut heard, mut broken) = (Decoder::new(MAX), Vec::new(), None);
        for mut piece in pieces {
            while broken.is_none() {
                match decoder.decode(&mut piece) {
                    Ok(Some(message)) => heard.push(message),
                    Ok(None) => break,
                    Err(error) => broken = Some(error.to_string()),
                }
            }
            assert!(decoder.held_bytes() <= 4 * MAX, "{} bytes are held", decoder.held_bytes());
        }
        (heard, broken)
    };
    assert_eq!(all(&mut std::iter::once(bytes)), all(&mut bytes.chunks(1)));
}

/// The headers of a handshake, a line each.
pub fn handshake(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n');
    let headers = lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..at]).ok()?, line[at + 1..].trim_ascii()))
    });
    let _ = handshake::accept(headers);
}

/// A dialogue: each line is a message of a client whose token was good; the log and the commands answer that there is nothing.
///
/// # Panics
/// When more answers wait than may, or more is watched.
pub fn session(bytes: &[u8]) {
    let node = node();
    let mut session = Session::new(Arc::clone(&node), Arc::<Wake>::default(), Dialect::Native, 0, NOW);
    session.authenticate(None, NOW);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| line.len() < limits::MESSAGE_BYTES_LIVE_MAX) {
        session.receive(&message(line), NOW);
        while let Some(need) = session.need(NOW) {
            session.answer(nothing(&need), NOW);
        }
        let mut out = Outbox::default();
        session.gather(&mut out, NOW);
        assert!(out.bytes() <= 2 * limits::GATHER_BYTES_MAX, "{} bytes at once", out.bytes());
        session.tick(NOW, true);
    }
    assert!(node.hub.watched() <= limits::SUBSCRIPTIONS_PER_CONNECTION_MAX);
}

fn message(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![TEXT, 0x80 | 127];
    // Its shortest form, which is the only one that is taken.
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(short), _) if short < 126 => bytes[1] = 0x80 | short,
        (_, Ok(medium)) => {
            bytes[1] = 0x80 | 126;
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => bytes.extend_from_slice(&(text.len() as u64).to_be_bytes()),
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text);
    bytes
}

fn nothing(need: &Need) -> Answer {
    match need {
        Need::Latest(_) => Answer::Latest(Ok(None)),
        Need::Page { .. } => Answer::Page(Ok(Arc::new(crate::pages::Page::new(Vec::new())))),
        Need::Mine { .. } => Answer::Mine(Ok(Vec::new())),
        Need::Submit(_) => Answer::Submitted(Err(protocol::Problem::not_found())),
        Need::Cancel(_) | Need::Prioritize(..) => Answer::Commanded(Err(protocol::Problem::not_found())),
    }
}

fn node() -> Arc<Node> {
    let secret = Secret::new("the secret of a server that nobody talks to").expect("the secret is not empty");
    let guest = Identity {
        user: "ada".parse().expect("a literal user id is valid"),
        tenant: TenantId::fallback(),
        role: Role::User,
        scope: Scope::Everything,
        expires_at: None,
    };
    Arc::new(Node {
        hub: Hub::new(Arc::new(|| NOW)),
        encoder: Arc::new(Encoder::new(
            Epoch::new("k3f9").expect("a literal epoch is valid"),
            Links::new(&secret, None),
        )),
        doors: Arc::new(Doors::new(&secret)),
        guest: Some(Arc::new(guest)),
        expiry_grace_ms: None,
        arrivals: Arrivals::new(None),
        counts: Counts::default(),
        clock: Arc::new(|| NOW),
        random: Arc::new(|| [7; 10]),
    })
}
