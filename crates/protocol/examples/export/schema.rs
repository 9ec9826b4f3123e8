//! JSON Schemas (draft 2020-12) of everything that travels as JSON, one self-contained file each.

use rushes_protocol::{
    Event, Hint, Pipeline,
    dead::{DeadLetter, DeadLetterGroups, DeadLetterPage, Purged, Redrive, RedriveMany, RedrivenMany},
    error::ErrorBody,
    http::{
        Accepted, EventPage, GenerationPage, Patch, Report, Reported, Snapshot, Submission, TokenAnswer, TokenRequest,
        Uploaded,
    },
    live::{ClientMessage, ServerMessage},
    operate::{InFlight, Place, PoolList, PoolView},
    timeline::Timeline,
    worker,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

/// What the live server says.
pub(crate) const LIVE_SERVER: &str = "live-server-message";
/// What a live client says.
pub(crate) const LIVE_CLIENT: &str = "live-client-message";
/// What a worker says.
pub(crate) const WORKER: &str = "worker-message";
/// What the server says to a worker.
pub(crate) const WORKER_SERVER: &str = "worker-server-message";

/// File name without its ending, and content.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("event", of::<Event>()),
        ("hint", of::<Hint>()),
        ("pipeline", of::<Pipeline>()),
        ("error", of::<ErrorBody>()),
        (LIVE_CLIENT, of::<ClientMessage>()),
        (LIVE_SERVER, live_server()),
        (WORKER, of::<worker::WorkerMessage>()),
        (WORKER_SERVER, of::<worker::ServerMessage>()),
        ("submission", of::<Submission>()),
        ("accepted", of::<Accepted>()),
        ("generation", of::<Snapshot>()),
        ("generation-page", of::<GenerationPage>()),
        ("event-page", of::<EventPage>()),
        ("patch", of::<Patch>()),
        ("report", of::<Report>()),
        ("reported", of::<Reported>()),
        ("token-request", of::<TokenRequest>()),
        ("token-answer", of::<TokenAnswer>()),
        ("uploaded", of::<Uploaded>()),
        ("timeline", of::<Timeline>()),
        ("queue-place", of::<Place>()),
        ("in-flight", of::<InFlight>()),
        ("pool", of::<PoolView>()),
        ("pool-list", of::<PoolList>()),
        ("dead-letter", of::<DeadLetter>()),
        ("dead-letter-page", of::<DeadLetterPage>()),
        ("dead-letter-groups", of::<DeadLetterGroups>()),
        ("redrive", of::<Redrive>()),
        ("redrive-many", of::<RedriveMany>()),
        ("redriven-many", of::<RedrivenMany>()),
        ("purged", of::<Purged>()),
    ]
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn of<T: JsonSchema>() -> Value {
    generator().into_root_schema_for::<T>().to_value()
}

/// The type holds statuses as values already encoded, and leaves the time of sending to whoever writes; the wire has both.
fn live_server() -> Value {
    let mut generator = generator();
    let event = generator.subschema_for::<Event>().to_value();
    let hint = generator.subschema_for::<Hint>().to_value();
    let mut schema = generator.into_root_schema_for::<ServerMessage>().to_value();
    for variant in schema["oneOf"].as_array_mut().expect("a tagged enum is a `oneOf`") {
        variant["required"].as_array_mut().expect("`type` is required").push("timestamp".into());
        let kind = variant["properties"]["type"]["const"].clone();
        let fields = &mut variant["properties"];
        fields["timestamp"] =
            json!({"type": "integer", "minimum": 0, "description": "When it was sent, in epoch milliseconds."});
        if kind == "status_update" {
            fields["data"] = json!({"description": "The event or hint.", "anyOf": [event, hint]});
        }
        if kind == "accepted" {
            fields["generation"] =
                json!({"description": "Its latest event, the first unless this is a repeat.", "anyOf": [event]});
        }
    }
    schema
}
