//! Samples of everything that travels as JSON.

use rushes_protocol::{
    Event, Hint,
    http::Submission,
    live::{ClientMessage, ServerMessage},
    worker,
};
use serde_json::{Value, json};

use super::decoded;

const GENERATION: &str = "gen_06a3q5h4c9v2kd8n7m1p0r4t6s";
const LEASE: &str = "3-9k2m4p6r8t0v1c3e5g7i9l1n3q-gen_06a3q5h4c9v2kd8n7m1p0r4t6s";

fn event() -> Value {
    json!({
        "eventId": "c1.0", "generationId": GENERATION, "tenantId": "default", "userId": "user_456", "causalId": "corr-1",
        "sequence": 12, "attempt": 1, "type": "stage_progress", "state": "running", "stage": "generating_frames",
        "status": "generating_frames", "progress": 45.0, "message": "Generating frames (22/48)",
        "metadata": {"currentFrame": 22, "totalFrames": 48, "estimatedSecondsRemaining": 65},
        "timestamp": 1_737_331_280_000_u64
    })
}

/// `base` with `fields` over it; a `null` takes a field away.
fn with(mut base: Value, fields: &Value) -> Value {
    let object = base.as_object_mut().expect("a sample is an object");
    for (key, value) in fields.as_object().expect("the fields of a sample are an object") {
        if value.is_null() {
            object.remove(key);
        } else {
            object.insert(key.clone(), value.clone());
        }
    }
    base
}

fn good_events() -> Vec<(&'static str, Value)> {
    vec![
        ("progress of a stage", event()),
        (
            "waiting, with neither stage nor metadata",
            with(
                event(),
                &json!({
                    "sequence": 1, "type": "queued", "state": "queued", "stage": null, "status": "queued", "progress": 0.0,
                    "message": "Waiting in queue...", "metadata": null
                }),
            ),
        ),
        ("progress with a fraction", with(event(), &json!({"progress": 33.33}))),
        (
            "a stage the first dialect has no word for",
            with(
                event(),
                &json!({
                    "stage": "face_swap", "status": "encoding", "message": "Face swap..."
                }),
            ),
        ),
        (
            "a cancel that the worker has yet to follow",
            with(
                event(),
                &json!({
                    "type": "cancel_requested", "state": "cancelling", "message": "Cancelling..."
                }),
            ),
        ),
        (
            "complete, with links",
            with(
                event(),
                &json!({
                    "type": "complete", "state": "complete", "stage": null, "status": "complete", "progress": 100.0,
                    "message": "Video ready!", "metadata": {"videoUrl": "https://rushes.example/v1/generations/gen_a/artifacts/film.mp4"}
                }),
            ),
        ),
        (
            "cancelled shows as failed to the first dialect",
            with(
                event(),
                &json!({
                    "type": "cancelled", "state": "cancelled", "stage": null, "status": "failed", "message": "Cancelled",
                    "metadata": {"errorCode": "CANCELLED", "errorMessage": "Cancelled"}
                }),
            ),
        ),
        (
            "text beyond ASCII",
            with(event(), &json!({"message": "Örtlich begrenzt 🎬", "userId": "jürgen@example.org"})),
        ),
        ("a field of a later version", with(event(), &json!({"weather": "fine"}))),
        ("a sequence beyond 32 bits", with(event(), &json!({"sequence": 9_007_199_254_740_991_u64}))),
    ]
}

pub(super) fn events() -> Value {
    let hint = with(event(), &json!({"ephemeral": true, "tick": 4}));
    let events = decoded::<Event>(
        "Events, also the body of a status. Readers ignore fields they do not know.",
        &good_events(),
        &[
            ("no generation", with(event(), &json!({"generationId": null}))),
            ("an id with a slash", with(event(), &json!({"generationId": "gen/1"}))),
            ("an empty id", with(event(), &json!({"eventId": ""}))),
            ("a status of no dialect", with(event(), &json!({"status": "rendering"}))),
            ("progress as text", with(event(), &json!({"progress": "45"}))),
            ("a negative sequence", with(event(), &json!({"sequence": -1}))),
            ("a list", json!([event()])),
        ],
        &[("a type nobody defined", with(event(), &json!({"type": "teleported"})))],
    );
    let hints = decoded::<Hint>(
        "Hints: an event's shape with `ephemeral` and `tick`; never stored.",
        &[("queue position between two events", hint.clone())],
        &[("no tick", with(hint, &json!({"tick": null})))],
        &[],
    );
    json!({"events": events, "hints": hints})
}

pub(super) fn submissions() -> Value {
    decoded::<Submission>(
        "Bodies of `POST /v1/generations`, and the fields of a live `generate`.",
        &[
            ("only a prompt", json!({"prompt": "a lake at dawn"})),
            (
                "the short form",
                json!({
                    "prompt": "a lake at dawn", "params": {"width": 854, "height": 480, "seconds": 2}, "priority": "interactive"
                }),
            ),
            ("another pipeline", json!({"pipeline": "external", "input": {"title": "t"}, "metadata": {"order": 7}})),
            ("on behalf of somebody", json!({"prompt": "p", "owner": "user_1", "tenant": "acme", "priority": "batch"})),
        ],
        &[
            ("a priority nobody defined", json!({"prompt": "p", "priority": "urgent"})),
            ("a prompt that is a number", json!({"prompt": 7})),
            ("parameters that are a list", json!({"prompt": "p", "params": [1]})),
            ("a pipeline with a space", json!({"pipeline": "my video"})),
        ],
        &[],
    )
}

pub(super) fn live_client() -> Value {
    decoded::<ClientMessage>(
        "What a client says on the live socket. Fields a server does not know are ignored.",
        &[
            ("authenticate", json!({"type": "authenticate", "token": "a.b.c"})),
            ("authenticate without a token, which fails later", json!({"type": "authenticate"})),
            ("subscribe as the first dialect does", json!({"type": "subscribe", "generationId": "gen_abc"})),
            ("subscribe after a position", json!({"type": "subscribe", "generationId": "gen_abc", "after": "k3f9:12"})),
            ("subscribe from the start", json!({"type": "subscribe", "generationId": "gen_abc", "after": "start"})),
            ("subscribe to what comes", json!({"type": "subscribe", "generationId": "gen_abc", "after": "now"})),
            ("subscribe to one's own", json!({"type": "subscribe", "mine": true, "delivery": "latest"})),
            (
                "subscribe with frames as they come",
                json!({"type": "subscribe", "generationId": "gen_abc", "frames": {}}),
            ),
            (
                "subscribe to each frame",
                json!({
                    "type": "subscribe", "generationId": "gen_abc", "frames": {"maxFps": 24, "maxWidth": 480, "delivery": "all"}
                }),
            ),
            ("unsubscribe", json!({"type": "unsubscribe", "generationId": "gen_abc"})),
            ("unsubscribe from one's own", json!({"type": "unsubscribe", "mine": true})),
            ("ping", json!({"type": "ping"})),
            ("generate", json!({"type": "generate", "requestId": "r-1", "prompt": "a lake", "params": {"seconds": 2}})),
            ("cancel", json!({"type": "cancel", "generationId": "gen_abc"})),
            ("prioritize", json!({"type": "prioritize", "generationId": "gen_abc", "priority": "interactive"})),
            ("credit", json!({"type": "credit", "generationId": "gen_abc", "frames": 8})),
        ],
        &[
            ("no type", json!({"generationId": "gen_abc"})),
            ("null", Value::Null),
            (
                "a position that cannot be read",
                json!({"type": "subscribe", "generationId": "gen_abc", "after": "K3:1"}),
            ),
            (
                "frames with an unknown wish",
                json!({"type": "subscribe", "generationId": "gen_abc", "frames": {"colour": 1}}),
            ),
            ("generate without a request id", json!({"type": "generate", "prompt": "a lake"})),
            ("a priority nobody defined", json!({"type": "prioritize", "generationId": "gen_abc", "priority": "now"})),
        ],
        &[("a type nobody defined: answered by silence", json!({"type": "sing"}))],
    )
}

pub(super) fn live_server() -> Value {
    let hint = with(event(), &json!({"ephemeral": true, "tick": 1}));
    decoded::<ServerMessage>(
        "What the server says on the live socket. Each also carries `timestamp`, the time of sending. Clients skip a type they do not know.",
        &[
            (
                "authenticated",
                json!({
                    "type": "authenticated", "userId": "user_456", "expiresAt": 1_737_334_880_000_u64, "timestamp": 1_737_331_280_001_u64
                }),
            ),
            ("authenticated by the original", json!({"type": "authenticated", "userId": "user_456"})),
            (
                "status_update",
                json!({
                    "type": "status_update", "generationId": GENERATION, "data": event(), "position": "k3f9:12",
                    "timestamp": 1_737_331_280_002_u64
                }),
            ),
            (
                "status_update after skipping",
                json!({
                    "type": "status_update", "generationId": GENERATION, "data": event(), "position": "k3f9:12", "previous": 9
                }),
            ),
            (
                "status_update that starts over",
                json!({
                    "type": "status_update", "generationId": GENERATION, "data": event(), "position": "m7q2:12", "recovery": "snapshot"
                }),
            ),
            ("a hint has no position", json!({"type": "status_update", "generationId": GENERATION, "data": hint})),
            (
                "subscribed",
                json!({
                    "type": "subscribed", "generationId": GENERATION, "position": "k3f9:12", "recovery": "resumed"
                }),
            ),
            ("subscribed to one's own", json!({"type": "subscribed", "mine": true, "recovery": "fresh"})),
            ("unsubscribed", json!({"type": "unsubscribed", "generationId": "gen_abc"})),
            ("accepted", json!({"type": "accepted", "requestId": "r-1", "generation": event()})),
            ("done", json!({"type": "done", "generationId": GENERATION})),
            ("backpressure", json!({"type": "backpressure", "reason": "frames", "dropped": 12})),
            ("reconnect", json!({"type": "reconnect", "afterMs": 1_500, "reason": "drain"})),
            (
                "error",
                json!({
                    "type": "error", "code": "not_found", "error": "You do not have access to this generation",
                    "retryable": false, "generationId": "gen_abc"
                }),
            ),
            ("pong", json!({"type": "pong"})),
        ],
        &[("a recovery nobody defined", json!({"type": "subscribed", "generationId": "gen_abc", "recovery": "maybe"}))],
        &[
            ("a type nobody defined", json!({"type": "weather"})),
            (
                "an error code outside the list",
                json!({"type": "error", "code": "odd", "error": "x", "retryable": false}),
            ),
        ],
    )
}

fn artifact() -> Value {
    json!({
        "type": "artifact", "lease": LEASE, "eventId": "e-4", "name": "film.mp4", "size": 1_048_576,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    })
}

fn good_worker() -> Vec<(&'static str, Value)> {
    vec![
        ("hello of a small worker", json!({"type": "hello", "worker": "w1", "instance": "i1", "pools": {"gpu": 1}})),
        (
            "hello after a reconnect, with a pipeline of its own",
            json!({
                "type": "hello", "worker": "w1", "instance": "i1", "pools": {"gpu": 1, "cpu": 4}, "labels": {"zone": "a"},
                "sdk": "rushes-sdk/0.1.0", "leases": [{"lease": LEASE, "fence": 3}],
                "pipelines": [{"name": "still", "stages": [{"name": "draw"}]}]
            }),
        ),
        ("accept", json!({"type": "accept", "offer": "off_1"})),
        ("decline", json!({"type": "decline", "offer": "off_1", "reason": "out of disk"})),
        (
            "progress",
            json!({
                "type": "progress", "lease": LEASE, "stage": "generating_frames", "progress": 45.5,
                "metadata": {"currentFrame": 22, "totalFrames": 48}
            }),
        ),
        (
            "a stage ended",
            json!({
                "type": "event", "lease": LEASE, "eventId": "e-1", "event": "stage_completed", "stage": "upscaling"
            }),
        ),
        (
            "a line worth keeping",
            json!({
                "type": "event", "lease": LEASE, "eventId": "e-2", "event": "log", "message": "seed 42", "metadata": {"seed": 42}
            }),
        ),
        (
            "checkpoint with its data",
            json!({
                "type": "checkpoint", "lease": LEASE, "eventId": "e-3", "data": {"frame": 22}
            }),
        ),
        (
            "checkpoint in a file",
            json!({
                "type": "checkpoint", "lease": LEASE, "eventId": "e-3", "artifact": "frames.bin"
            }),
        ),
        ("artifact", artifact()),
        ("release", json!({"type": "release", "lease": LEASE, "eventId": "e-5", "pool": "gpu"})),
        ("done", json!({"type": "done", "lease": LEASE, "eventId": "e-6", "outputs": {"video": "film.mp4"}})),
        ("done with nothing to say", json!({"type": "done", "lease": LEASE, "eventId": "e-6"})),
        (
            "fail",
            json!({
                "type": "fail", "lease": LEASE, "eventId": "e-7", "kind": "out_of_memory", "code": "CUDA_OOM", "message": "no room"
            }),
        ),
        ("fail in few words", json!({"type": "fail", "lease": LEASE, "eventId": "e-7", "kind": "retryable"})),
        ("hand_back", json!({"type": "hand_back", "lease": LEASE, "eventId": "e-8"})),
        ("heartbeat", json!({"type": "heartbeat", "tokens": 4})),
        ("heartbeat with the most tokens", json!({"type": "heartbeat"})),
        ("drain", json!({"type": "drain"})),
    ]
}

pub(super) fn worker() -> Value {
    decoded::<worker::WorkerMessage>(
        "What a worker says. Everything with an `eventId` is answered by `ack` or `refused`.",
        &good_worker(),
        &[
            ("an artifact that is a path", with(artifact(), &json!({"name": "../film.mp4"}))),
            (
                "a failure kind nobody defined",
                json!({"type": "fail", "lease": LEASE, "eventId": "e-7", "kind": "tired"}),
            ),
            ("done without an event id", json!({"type": "done", "lease": LEASE})),
            ("hello without pools", json!({"type": "hello", "worker": "w1", "instance": "i1"})),
            ("negative slots", json!({"type": "hello", "worker": "w1", "instance": "i1", "pools": {"gpu": -1}})),
        ],
        &[("an event nobody defined", json!({"type": "event", "lease": LEASE, "eventId": "e-1", "event": "sang"}))],
    )
}

pub(super) fn worker_server() -> Value {
    decoded::<worker::ServerMessage>(
        "What the server says to a worker. Workers skip a type they do not know.",
        &[
            (
                "welcome",
                json!({"type": "welcome", "heartbeatMs": 2_000, "leaseMs": 30_000, "clock": 1_737_331_280_000_u64}),
            ),
            (
                "welcome back",
                json!({
                    "type": "welcome", "heartbeatMs": 2_000, "leaseMs": 30_000, "clock": 1_737_331_280_000_u64, "leases": [
                        {"lease": LEASE, "handle": 1, "result": "resumed", "cancel": true},
                        {"lease": "2-0-gen_b", "result": "lease_lost"}
                    ]
                }),
            ),
            (
                "offer",
                json!({
                    "type": "offer", "offer": "off_1", "generation": GENERATION, "pipeline": "video", "version": 1,
                    "stages": [{"name": "encoding", "keep": true, "timeoutMs": 1_800_000}], "attempt": 2,
                    "inputs": {"input": {"prompt": "a lake"}, "outputs": {"prompt_analysis": {"scene": "lake"}}},
                    "checkpoint": {"stage": "encoding", "data": {"frame": 22}}, "causalId": "corr-1"
                }),
            ),
            (
                "granted",
                json!({
                    "type": "granted", "offer": "off_1", "lease": LEASE, "fence": 3, "handle": 1,
                    "deadlines": {"leaseMs": 30_000, "stallMs": 120_000, "stageMs": 1_800_000}
                }),
            ),
            ("withdrawn", json!({"type": "withdrawn", "offer": "off_1"})),
            ("ack", json!({"type": "ack", "eventId": "e-1", "sequence": 14})),
            (
                "refused",
                json!({"type": "refused", "eventId": "e-1", "code": "lease_lost", "message": "held under fence 4"}),
            ),
            ("cancel", json!({"type": "cancel", "lease": LEASE, "reason": "by its owner", "graceMs": 10_000})),
            (
                "wanted by a player and a tile",
                json!({
                    "type": "wanted", "lease": LEASE, "full": {"maxFps": 12, "maxWidth": 854}, "tile": {"maxFps": 2, "maxWidth": 192}
                }),
            ),
            (
                "wanted by one that plays each picture",
                json!({"type": "wanted", "lease": LEASE, "full": {"maxFps": 12, "maxWidth": 854, "every": true}}),
            ),
            ("wanted by nobody", json!({"type": "wanted", "lease": LEASE})),
            ("slow", json!({"type": "slow", "lease": LEASE, "factor": 1.5})),
            ("lease_lost", json!({"type": "lease_lost", "lease": LEASE})),
            ("drain", json!({"type": "drain", "afterMs": 10_000})),
            ("error", json!({"type": "error", "code": "invalid_request", "error": "expected a message with a `type`"})),
        ],
        &[
            ("an ack of nothing", json!({"type": "ack", "sequence": 14})),
            (
                "a fence beyond 32 bits",
                json!({
                    "type": "granted", "offer": "off_1", "lease": LEASE, "fence": 4_294_967_296_u64, "handle": 1,
                    "deadlines": {"leaseMs": 1, "stallMs": 1, "stageMs": 1}
                }),
            ),
        ],
        &[("a type nobody defined", json!({"type": "applause"}))],
    )
}
