//! What is sent: the body and the headers of Standard Webhooks.

use access::{digest::sha256, webhook};
use data_encoding::BASE32_DNSSEC;
use gateway::encode::Encoder;
use protocol::{Event, Timestamp};
use serde::Serialize;

use super::Endpoint;

/// One message, ready for one try.
#[derive(Debug)]
pub(super) struct Message {
    /// `webhook-id`: the same for every try, whatever happened in between.
    pub(super) id: String,
    /// `webhook-timestamp`: this try's.
    pub(super) timestamp: u64,
    /// `webhook-signature`.
    pub(super) signature: String,
    /// The request that caused it, as everywhere.
    pub(super) correlation: String,
    /// JSON.
    pub(super) body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    /// `generation.complete` and the like.
    #[serde(rename = "type")]
    kind: String,
    /// When it happened, in RFC 3339, which is ISO 8601.
    timestamp: String,
    /// As every watcher gets it, `sequence` included; links are fresh.
    data: &'a Event,
}

impl Message {
    /// `event` for `endpoint`, tried at `now`.
    pub(super) fn new(endpoint: &Endpoint, encoder: &Encoder, event: &Event, now: Timestamp) -> Self {
        let id = id(&endpoint.config.name, event);
        let data = encoder.event(event, now);
        let kind = serde_json::to_value(event.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        let body = Body {
            kind: format!("generation.{}", kind.unwrap_or_default()),
            timestamp: event.timestamp.to_rfc3339(),
            data: &data,
        };
        let body = serde_json::to_vec(&body).expect("events hold texts, numbers and JSON");
        let signature = webhook::signature(&endpoint.keys, &id, now, &body);
        Self { id, timestamp: webhook::seconds(now), signature, correlation: event.causal_id.to_string(), body }
    }
}

/// Made of what it names, so that every try has the same one, after a crash too. Event ids are unique within their
/// generation only, and may hold full stops, which a message id may not.
fn id(endpoint: &str, event: &Event) -> String {
    let names = format!("{endpoint}\n{}\n{}", event.generation_id, event.event_id);
    // 20 bytes: no two messages meet, and the text is of the length of ids people are used to.
    format!("msg_{}", BASE32_DNSSEC.encode(&sha256(names.as_bytes())[..20]))
}
