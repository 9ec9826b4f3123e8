//! Runs `spec/vectors` against the protocol's types, as every SDK does against its own, and keeps `spec/` equal to what the
//! types export. `UPDATE=1 cargo test -p rushes-protocol --features schema --test vectors` rewrites it.

#[path = "../examples/export/asyncapi.rs"]
mod asyncapi;
#[path = "../examples/export/documents.rs"]
mod documents;
#[path = "../examples/export/schema.rs"]
mod schema;
#[path = "../examples/export/vectors.rs"]
mod vectors;

use std::{collections::BTreeSet, path::Path, sync::LazyLock};

use data_encoding::HEXLOWER;
use rushes_protocol::{
    After, ArtifactName, CommandId, ErrorCode, Event, GenerationId, Hint, LeaseId, Position, StageName, State, Status,
    UserId,
    frame::{FrameError, Header, split_handle},
    http::Submission,
    live, worker,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What is exported, after rewriting the tree where that is wanted, so that no test reads a file half written.
static EXPORTED: LazyLock<Vec<documents::Document>> = LazyLock::new(|| {
    let documents = documents::all();
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        for document in &documents {
            document.write().unwrap_or_else(|error| panic!("spec/{}: {error}", document.path.display()));
        }
    }
    documents
});

fn read(path: impl AsRef<Path>) -> Value {
    LazyLock::force(&EXPORTED);
    let path = documents::spec().join(path);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> &[Value] {
    let list = value.as_array().expect("a list of vectors");
    assert!(!list.is_empty(), "a list of vectors is empty");
    list
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Decodes what may arrive, compares with what it encodes as, and sees the rest refused.
fn run<T: Serialize + DeserializeOwned>(vectors: &Value, schema: &str) {
    let schema = jsonschema::validator_for(&read(format!("schema/{schema}.json"))).expect("a schema");
    for case in list(&vectors["cases"]) {
        let name = text(&case["name"]);
        for form in ["wire", "canonical"] {
            let value: T = serde_json::from_value(case[form].clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(json!(value), case["canonical"], "{name}, from its {form} form");
        }
        let mut sent = case["canonical"].clone();
        if sent["type"].is_string() {
            // Written by whoever sends; on the live socket the schema asks for it.
            sent["timestamp"] = 1.into();
        }
        let complaints: Vec<_> = schema.iter_errors(&sent).map(|error| error.to_string()).collect();
        assert!(complaints.is_empty(), "{name} is not what its schema says: {complaints:?}");
    }
    let none = Vec::new();
    let unknown = vectors["unknown"].as_array().unwrap_or(&none);
    for case in list(&vectors["bad"]).iter().chain(unknown) {
        let refused = serde_json::from_value::<T>(case["wire"].clone()).is_err();
        assert!(refused, "{} was taken", case["name"]);
    }
}

#[test]
fn the_specification_is_what_the_types_export() {
    for document in EXPORTED.iter() {
        // Values and not texts: the order of keys depends on features other crates ask of serde_json.
        let same = read(&document.path) == document.content;
        assert!(same, "spec/{} differs from the types; UPDATE=1 rewrites it", document.path.display());
    }
    let exported: BTreeSet<_> = EXPORTED.iter().map(|document| document.path.clone()).collect();
    for folder in ["schema", "vectors"] {
        for file in std::fs::read_dir(documents::spec().join(folder)).unwrap() {
            let path = Path::new(folder).join(file.unwrap().file_name());
            assert!(exported.contains(&path), "spec/{} is exported by nobody", path.display());
        }
    }
}

#[test]
fn events_and_hints_decode_and_encode_as_the_vectors_say() {
    let vectors = read("vectors/events.json");
    run::<Event>(&vectors["events"], "event");
    run::<Hint>(&vectors["hints"], "hint");
}

#[test]
fn messages_decode_and_encode_as_the_vectors_say() {
    run::<live::ClientMessage>(&read("vectors/live-client-messages.json"), schema::LIVE_CLIENT);
    run::<live::ServerMessage>(&read("vectors/live-server-messages.json"), schema::LIVE_SERVER);
    run::<worker::WorkerMessage>(&read("vectors/worker-messages.json"), schema::WORKER);
    run::<worker::ServerMessage>(&read("vectors/worker-server-messages.json"), schema::WORKER_SERVER);
    run::<Submission>(&read("vectors/submissions.json"), "submission");
}

#[test]
fn each_kind_of_message_has_a_vector() {
    let covered = |file: &str| -> BTreeSet<String> {
        let vectors = read(format!("vectors/{file}.json"));
        list(&vectors["cases"]).iter().map(|case| text(&case["wire"]["type"]).to_owned()).collect()
    };
    for name in [schema::LIVE_CLIENT, schema::LIVE_SERVER, schema::WORKER, schema::WORKER_SERVER] {
        let schema = read(format!("schema/{name}.json"));
        let all: BTreeSet<_> = list(&schema["oneOf"])
            .iter()
            .map(|variant| text(&variant["properties"]["type"]["const"]).to_owned())
            .collect();
        assert_eq!(covered(&format!("{name}s")), all);
    }
}

#[test]
fn positions_are_read_as_the_vectors_say() {
    let vectors = read("vectors/positions.json");
    for case in list(&vectors["cases"]) {
        let position: Position = text(&case["text"]).parse().unwrap();
        assert_eq!(position.epoch.as_str(), text(&case["epoch"]));
        assert_eq!(position.sequence.to_string(), text(&case["sequence"]));
        assert_eq!(position.to_string(), text(&case["canonical"]));
    }
    for case in list(&vectors["after"]) {
        let kind = match text(&case["text"]).parse().unwrap() {
            After::Position(_) => "position",
            After::Sequence(_) => "sequence",
            After::Start => "start",
            After::Now => "now",
        };
        assert_eq!(kind, text(&case["kind"]), "{}", case["text"]);
    }
    for bad in list(&vectors["bad"]) {
        assert!(text(bad).parse::<After>().is_err(), "{bad} was taken");
        assert!(text(bad).parse::<Position>().is_err(), "{bad} was taken");
    }
}

#[test]
fn ids_are_taken_and_refused_as_the_vectors_say() {
    let vectors = read("vectors/ids.json");
    let check = |kind: &str, allowed: &dyn Fn(&str) -> bool| {
        for good in list(&vectors[kind]["good"]) {
            assert!(allowed(text(good)), "{good} was refused as {kind}");
        }
        for bad in list(&vectors[kind]["bad"]) {
            assert!(!allowed(text(bad)), "{bad} was taken as {kind}");
        }
    };
    check("generation", &|text| GenerationId::new(text).is_ok());
    check("command", &|text| CommandId::new(text).is_ok());
    check("artifact", &|text| ArtifactName::new(text).is_ok());
    check("user", &|text| UserId::new(text).is_ok());
}

#[test]
fn a_lease_is_addressed_as_the_vectors_say() {
    let vectors = read("vectors/leases.json");
    for case in list(&vectors["cases"]) {
        let address = LeaseId::new(text(&case["text"])).unwrap().address();
        let address = address.map(|(fence, generation)| json!({"fence": fence, "generation": generation}));
        assert_eq!(address.unwrap_or_default(), case["address"]);
    }
    for bad in list(&vectors["bad"]) {
        assert!(LeaseId::new(text(bad)).is_err(), "{bad} was taken");
    }
}

#[test]
fn each_state_and_stage_has_its_word() {
    for case in list(&read("vectors/status-words.json")["cases"]) {
        let state: State = serde_json::from_value(case["state"].clone()).unwrap();
        let stage: Option<StageName> = serde_json::from_value(case["stage"].clone()).unwrap();
        let status = Status::of(state, stage.as_ref(), case["beforeFrames"] == true);
        assert_eq!(json!(status), case["status"], "{case}");
    }
}

#[test]
fn each_error_code_has_its_status() {
    let vectors = read("vectors/errors.json");
    let cases = list(&vectors["cases"]);
    assert_eq!(cases.len(), ErrorCode::ALL.len());
    for case in cases {
        let code: ErrorCode = serde_json::from_value(case["code"].clone()).unwrap();
        assert_eq!(
            (json!(code.status()), json!(code.retryable())),
            (case["status"].clone(), case["retryable"].clone())
        );
    }
}

fn described(header: &Header) -> Value {
    json!({
        "format": header.format, "flags": header.flags, "fence": header.fence, "index": header.index, "total": header.total,
        "revision": header.revision, "ptsMicros": header.pts_micros.to_string(), "width": header.width,
        "height": header.height, "generation": header.generation
    })
}

fn bytes(hex: &Value) -> Vec<u8> {
    HEXLOWER.decode(text(hex).as_bytes()).expect("hex")
}

#[test]
fn frames_are_read_and_written_as_the_vectors_say() {
    let vectors = read("vectors/frames.json");
    for case in list(&vectors["cases"]) {
        let name = text(&case["name"]);
        let frame = bytes(&case["hex"]);
        let (header, picture) = Header::read(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(described(&header), case["header"], "{name}");
        assert_eq!(HEXLOWER.encode(picture), text(&case["picture"]), "{name}");
        if case["readOnly"] != true {
            let mut written = Vec::new();
            header.write(&mut written);
            written.extend_from_slice(picture);
            assert_eq!(HEXLOWER.encode(&written), text(&case["hex"]), "{name}");
        }
    }
    let worker = bytes(&vectors["worker"]["hex"]);
    let (handle, frame) = split_handle(&worker).unwrap();
    assert_eq!(json!(handle), vectors["worker"]["handle"]);
    assert_eq!(described(&Header::read(frame).unwrap().0), vectors["worker"]["header"]);
}

#[test]
fn what_is_no_frame_is_refused_by_name() {
    for case in list(&read("vectors/frames.json")["bad"]) {
        let mut frame = bytes(&case["hex"]);
        if let Some(length) = case["zerosTo"].as_u64() {
            frame.resize(usize::try_from(length).unwrap(), 0);
        }
        let error = match Header::read(&frame).expect_err(text(&case["name"])) {
            FrameError::Truncated => "truncated",
            FrameError::Magic => "magic",
            FrameError::Version(_) => "version",
            FrameError::Format(_) => "format",
            FrameError::Id => "id",
            FrameError::TooLarge(_) => "too_large",
            FrameError::Picture(_) => "picture",
        };
        assert_eq!(error, text(&case["error"]), "{}", case["name"]);
    }
}

/// Every `$ref` below `value`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn whatever_the_asyncapi_document_points_at_is_there() {
    let document = read("asyncapi.json");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "only {} references were found", found.len());
    for reference in found {
        let (file, pointer) = reference.split_once('#').expect("a reference names a place");
        let there = if file.is_empty() { document.clone() } else { read(file) };
        assert!(there.pointer(pointer).is_some(), "{reference} points nowhere");
    }
}
