//! The AsyncAPI 3 document of the live and the worker socket. Messages point into the exported schemas.

use serde_json::{Map, Value, json};

use crate::schema::{LIVE_CLIENT, LIVE_SERVER, WORKER, WORKER_SERVER};

/// One side of one socket: which messages travel there, and in which schema they stand.
struct Side<'a> {
    channel: &'a str,
    operation: &'a str,
    /// From the server's point of view.
    action: &'a str,
    summary: &'a str,
    schema: &'a str,
    prefix: &'a str,
    binary: Option<&'a str>,
}

const SIDES: [Side<'static>; 4] = [
    Side {
        channel: "live",
        operation: "hearClient",
        action: "receive",
        summary: "A client authenticates, watches and commands.",
        schema: LIVE_CLIENT,
        prefix: "client",
        binary: None,
    },
    Side {
        channel: "live",
        operation: "showClient",
        action: "send",
        summary: "The server shows events, hints and preview frames.",
        schema: LIVE_SERVER,
        prefix: "server",
        binary: Some("A preview picture behind its header, protocol.md section 6."),
    },
    Side {
        channel: "worker",
        operation: "hearWorker",
        action: "receive",
        summary: "A worker takes offers, reports its run and sends preview frames.",
        schema: WORKER,
        prefix: "worker",
        binary: Some(
            "A little-endian u32 lease handle, then a preview picture behind its header, protocol.md section 6.",
        ),
    },
    Side {
        channel: "worker",
        operation: "tellWorker",
        action: "send",
        summary: "The server offers runs, grants leases and acknowledges.",
        schema: WORKER_SERVER,
        prefix: "toWorker",
        binary: None,
    },
];

/// The document.
pub(crate) fn document(schemas: &[(&'static str, Value)]) -> Value {
    let mut channels = json!({
        "live": {
            "address": "/v1/live",
            "title": "Live",
            "description": "Watching and commanding generations. `/ws` and `/` speak the same with smaller client messages.",
            "messages": {}
        },
        "worker": {
            "address": "/v1/worker",
            "title": "Worker",
            "description": "Offers, leases and what workers report.",
            "messages": {}
        }
    });
    let mut operations = Map::new();
    let mut components = Map::new();
    for side in &SIDES {
        let messages = messages(side, schemas);
        let channel = format!("#/channels/{}", side.channel);
        let names: Vec<_> =
            messages.iter().map(|(name, _)| json!({"$ref": format!("{channel}/messages/{name}")})).collect();
        for (name, message) in messages {
            channels[side.channel]["messages"][&name] = json!({"$ref": format!("#/components/messages/{name}")});
            components.insert(name, message);
        }
        let operation = json!({
            "action": side.action, "channel": {"$ref": channel}, "summary": side.summary, "messages": names
        });
        operations.insert(side.operation.to_owned(), operation);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rushes native protocol: live and worker sockets",
            "version": "1",
            "description": "The sentences are in protocol.md; where this document and that one disagree, it is a bug.",
            "license": {"name": "Apache-2.0 OR MIT"}
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": components}
    })
}

/// `client` and `status_update` become `clientStatusUpdate`.
fn camel(prefix: &str, words: &str) -> String {
    let mut name = prefix.to_owned();
    for word in words.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

fn messages(side: &Side<'_>, schemas: &[(&'static str, Value)]) -> Vec<(String, Value)> {
    let schema = schemas.iter().find(|(name, _)| *name == side.schema).map(|(_, schema)| schema);
    let variants = schema.and_then(|schema| schema["oneOf"].as_array()).expect("a socket's messages are a tagged enum");
    let mut messages: Vec<_> = variants
        .iter()
        .enumerate()
        .map(|(n, variant)| {
            let kind = variant["properties"]["type"]["const"].as_str().expect("each message has its `type`");
            let payload = json!({"$ref": format!("schema/{}.json#/oneOf/{n}", side.schema)});
            let message = json!({"name": kind, "summary": variant["description"], "payload": payload});
            (camel(side.prefix, kind), message)
        })
        .collect();
    if let Some(about) = side.binary {
        let payload = json!({"type": "string", "format": "binary"});
        let message =
            json!({"name": "frame", "summary": about, "contentType": "application/octet-stream", "payload": payload});
        messages.push((camel(side.prefix, "frame"), message));
    }
    messages
}
