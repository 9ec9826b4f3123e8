//! `/openapi.json`: the specification this program was built with, whole.
//!
//! On disk it names the schemas beside it, as tools that read folders want it; served, the same schemas stand inside, made
//! from the types this program really reads and writes.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header;
use protocol::{dead, error::ErrorBody, event::Event, http as wire, pipeline::Pipeline};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The text of `spec/openapi.json`.
const OPENAPI: &str = include_str!("../../../spec/openapi.json");

/// The specification with its schemas inside.
static BUNDLED: LazyLock<String> = LazyLock::new(|| bundle().to_string());

pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], BUNDLED.as_str())
}

/// Makes the schema behind one file name.
type Make = fn(&mut SchemaGenerator) -> Value;

fn make<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// The files that `spec/openapi.json` names, and the types they describe.
const SCHEMAS: [(&str, Make); 26] = [
    ("schema/accepted.json", make::<wire::Accepted>),
    ("schema/error.json", make::<ErrorBody>),
    ("schema/event.json", make::<Event>),
    ("schema/event-page.json", make::<wire::EventPage>),
    ("schema/generation.json", make::<wire::Snapshot>),
    ("schema/generation-page.json", make::<wire::GenerationPage>),
    ("schema/patch.json", make::<wire::Patch>),
    ("schema/pipeline.json", make::<Pipeline>),
    ("schema/report.json", make::<wire::Report>),
    ("schema/reported.json", make::<wire::Reported>),
    ("schema/queue-place.json", make::<protocol::operate::Place>),
    ("schema/in-flight.json", make::<protocol::operate::InFlight>),
    ("schema/pool.json", make::<protocol::operate::PoolView>),
    ("schema/pool-list.json", make::<protocol::operate::PoolList>),
    ("schema/timeline.json", make::<protocol::timeline::Timeline>),
    ("schema/submission.json", make::<wire::Submission>),
    ("schema/token-request.json", make::<wire::TokenRequest>),
    ("schema/token-answer.json", make::<wire::TokenAnswer>),
    ("schema/uploaded.json", make::<wire::Uploaded>),
    ("schema/dead-letter.json", make::<dead::DeadLetter>),
    ("schema/dead-letter-page.json", make::<dead::DeadLetterPage>),
    ("schema/dead-letter-groups.json", make::<dead::DeadLetterGroups>),
    ("schema/redrive.json", make::<dead::Redrive>),
    ("schema/redrive-many.json", make::<dead::RedriveMany>),
    ("schema/redriven-many.json", make::<dead::RedrivenMany>),
    ("schema/purged.json", make::<dead::Purged>),
];

fn bundle() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let known: Map<String, Value> =
        SCHEMAS.iter().map(|(file, make)| ((*file).to_owned(), make(&mut generator))).collect();
    let mut document: Value = serde_json::from_str(OPENAPI).expect("the specification is JSON, which a test reads too");
    inline(&mut document, &known);
    document["components"]["schemas"] = Value::Object(generator.take_definitions(true));
    document
}

/// Puts what `known` has in the place of what names it.
fn inline(value: &mut Value, known: &Map<String, Value>) {
    let named = value.get("$ref").and_then(Value::as_str).and_then(|file| known.get(file));
    if let Some(schema) = named {
        *value = schema.clone();
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|inner| inline(inner, known)),
        Value::Array(entries) => entries.iter_mut().for_each(|inner| inline(inner, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface;

    /// Paths of the gateway alone, which are described here and answered there. Methods are compared over the wire.
    const OF_THE_GATEWAY: [&str; 8] = [
        "/",
        "/v1/events",
        "/v1/generations/{id}/frames/latest",
        "/v1/live",
        "/ws",
        "/v1/worker",
        "/api/generations/{id}/status",
        "/health",
    ];

    #[test]
    fn every_path_is_described_and_everything_described_is_a_path() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let ours = surface::table().into_iter().map(|(path, _)| path.replace("{*", "{"));
        let mut routed: Vec<String> = ours.chain(OF_THE_GATEWAY.map(str::to_owned)).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn what_is_served_names_nothing_outside_itself() {
        let document = bundle();
        let mut open = vec![&document];
        let mut refs = 0;
        while let Some(value) = open.pop() {
            if let Some(name) = value.get("$ref").and_then(Value::as_str) {
                let pointer = name.strip_prefix('#').unwrap_or_else(|| panic!("{name} is outside"));
                assert!(document.pointer(pointer).is_some(), "{name} is nowhere");
                refs += 1;
            }
            match value {
                Value::Object(fields) => open.extend(fields.values()),
                Value::Array(entries) => open.extend(entries),
                _ => {}
            }
        }
        assert!(refs > 20, "{refs} references: the walk found none");
    }
}
