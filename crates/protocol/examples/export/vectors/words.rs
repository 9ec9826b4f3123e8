//! Samples of what is text: positions, ids, status words and error codes.

use rushes_protocol::{
    After, ArtifactName, CommandId, ErrorCode, GenerationId, LeaseId, Position, StageName, State, Status, UserId,
    limits,
};
use serde_json::{Value, json};

pub(super) fn positions() -> Value {
    let cases: Vec<_> = ["k3f9:12", "a:0", "k3f9:007", "abcdefghijklmnop:18446744073709551615"]
        .iter()
        .map(|text| {
            let position: Position = text.parse().expect("a good sample is a position");
            // Text, because a sequence may be beyond what a double holds.
            json!({"text": text, "epoch": position.epoch.as_str(), "sequence": position.sequence.to_string(), "canonical": position.to_string()})
        })
        .collect();
    let after: Vec<_> = ["k3f9:12", "12", "0", "start", "now"]
        .iter()
        .map(|text| {
            let kind = match text.parse().expect("a good sample is a place") {
                After::Position(_) => "position",
                After::Sequence(_) => "sequence",
                After::Start => "start",
                After::Now => "now",
            };
            json!({"text": text, "kind": kind})
        })
        .collect();
    json!({
        "about": "Positions as they stand in SSE ids, `Last-Event-ID`, `after=` and JSON; `after` is what `after=` may say. `bad` is neither.",
        "cases": cases,
        "after": after,
        "bad": [
            "", ":", "k3f9:", ":12", "k3f9:+1", "k3f9:-1", "k3f9:1.0", "k3f9: 1", "K3:1", "k_3:1", "abcdefghijklmnopq:1",
            "k3f9:18446744073709551616", "18446744073709551616", "-1", "+1", "1e3", "a:b:c", "Start", "now ", "k3f9:12\n"
        ]
    })
}

pub(super) fn ids() -> Value {
    let longest = "x".repeat(limits::ID_BYTES_MAX);
    let too_long = "x".repeat(limits::ID_BYTES_MAX + 1);
    let kind = |allowed: fn(&str) -> bool, samples: &[&str]| {
        let (good, bad): (Vec<&str>, Vec<&str>) = samples.iter().copied().partition(|text| allowed(text));
        json!({"good": good, "bad": bad})
    };
    let samples = [
        "gen_a", "A-1", "a.b", "a:b", "", " ", "a b", "a/b", "a\\b", "..", ".", "film.mp4", "jürgen", "a\u{0}b",
        "a\nb", &longest, &too_long,
    ];
    json!({
        "about": "Which texts are ids of which kind. Bounds are in bytes of UTF-8.",
        "generation": kind(|text| GenerationId::new(text).is_ok(), &samples),
        "command": kind(|text| CommandId::new(text).is_ok(), &samples),
        "artifact": kind(|text| ArtifactName::new(text).is_ok(), &samples),
        "user": kind(|text| UserId::new(text).is_ok(), &samples)
    })
}

pub(super) fn leases() -> Value {
    let address = |text: &str| {
        let lease = LeaseId::new(text).expect("a good sample is a lease id");
        let address = lease.address().map(|(fence, generation)| json!({"fence": fence, "generation": generation}));
        json!({"text": text, "address": address})
    };
    json!({
        "about": "A lease id is `<fence>-<128 random bits>-<generation>`; a worker may read its address and nothing else from it.",
        "cases": [address("3-9k2m4p6r8t0v1c3e5g7i9l1n3q-gen_a"), address("12-0-gen_a-b"), address("nonsense")],
        "bad": ["1-a/b-gen_a", "1-a b-gen_a", "1-ä-gen_a"]
    })
}

pub(super) fn status_words() -> Value {
    let stages = [
        None,
        Some("prompt_analysis"),
        Some("generating_frames"),
        Some("interpolating"),
        Some("upscaling"),
        Some("encoding"),
        Some("face_swap"),
    ];
    let states = [State::Queued, State::Running, State::Cancelling, State::Complete, State::Failed, State::Cancelled];
    let mut cases = Vec::new();
    for state in states {
        for stage in stages {
            for before_frames in [true, false] {
                let name = stage.map(|stage| StageName::new(stage).expect("a literal stage name is valid"));
                let status = Status::of(state, name.as_ref(), before_frames);
                cases.push(json!({"state": state, "stage": stage, "beforeFrames": before_frames, "status": status}));
            }
        }
    }
    json!({
        "about": "Which word of the first dialect a client sees. `beforeFrames` only matters for a stage it has no word for: does it run before the pictures are made?",
        "cases": cases
    })
}

pub(super) fn errors() -> Value {
    let cases: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| json!({"code": code, "status": code.status(), "retryable": code.retryable()}))
        .collect();
    json!({"about": "The closed list of error codes; errors.md says what to do about each.", "cases": cases})
}
