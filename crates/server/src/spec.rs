//! `/openapi.json`: the specification this program was built with, whole.
//!
//! On disk it names the schemas beside it, as tools that read folders want it; served, the same schemas stand inside. They are
//! exported from the types this program reads and writes, which the protocol's tests hold them to.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header;
use serde_json::{Map, Value, json};

/// The text of `spec/openapi.json`.
const OPENAPI: &str = include_str!("../../../spec/openapi.json");

/// One schema: the file's name as `spec/openapi.json` refers to it, and its text.
macro_rules! schema {
    ($name:literal) => {
        (concat!("schema/", $name, ".json"), include_str!(concat!("../../../spec/schema/", $name, ".json")))
    };
}

/// The files that `spec/openapi.json` names.
const SCHEMAS: &[(&str, &str)] = &[
    schema!("accepted"),
    schema!("dead-letter"),
    schema!("dead-letter-groups"),
    schema!("dead-letter-page"),
    schema!("demo-sign-in"),
    schema!("demo-token"),
    schema!("error"),
    schema!("event"),
    schema!("event-page"),
    schema!("generation"),
    schema!("generation-page"),
    schema!("in-flight"),
    schema!("patch"),
    schema!("pipeline"),
    schema!("pool"),
    schema!("pool-list"),
    schema!("purged"),
    schema!("queue-place"),
    schema!("redrive"),
    schema!("redrive-many"),
    schema!("redriven-many"),
    schema!("report"),
    schema!("reported"),
    schema!("submission"),
    schema!("timeline"),
    schema!("token-answer"),
    schema!("token-request"),
    schema!("uploaded"),
];

/// The specification with its schemas inside.
static BUNDLED: LazyLock<String> = LazyLock::new(|| bundle().to_string());

pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], BUNDLED.as_str())
}

fn bundle() -> Value {
    let mut document = read(OPENAPI);
    let mut components = Map::new();
    for (file, text) in SCHEMAS {
        let mut schema = read(text);
        let fields = schema.as_object_mut().expect("a schema is an object");
        fields.remove("$schema");
        let inner = fields.remove("$defs").unwrap_or_else(|| json!({}));
        let title = fields["title"].as_str().expect("a schema has a title").to_owned();
        point(&mut document, file, &format!("#/components/schemas/{title}"));
        components.extend(inner.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())));
        components.insert(title, schema);
    }
    document["components"]["schemas"] = Value::Object(components);
    point(&mut document, "#/$defs/", "#/components/schemas/");
    document
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("the specification is JSON, which a test reads too")
}

/// Lets every reference that begins with `from` begin with `to`.
fn point(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(rest) = reference.strip_prefix(from)
            {
                *reference = format!("{to}{rest}");
            }
            fields.values_mut().for_each(|inner| point(inner, from, to));
        }
        Value::Array(entries) => entries.iter_mut().for_each(|inner| point(inner, from, to)),
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
