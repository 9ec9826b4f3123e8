//! A worker that speaks the protocol by hand, against the real orchestrator: every message of both sides.

use access::{Role, digest::sha256_hex};
use protocol::{
    Fence, FrameIndex, Handle, Revision,
    frame::{Format, Header},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    bed::{Answer, Bed},
    peer::{Heard, Peer},
};

/// Pictures a watcher does not take at first: within two windows, beyond one.
const FRAMES: u32 = 20;

/// A run somebody holds.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) lease: String,
    fence: u32,
    handle: u32,
}

impl Grant {
    fn of(granted: &Value) -> Self {
        let number = |name: &str| u32::try_from(granted[name].as_u64().unwrap()).unwrap();
        Self { lease: granted["lease"].as_str().unwrap().to_owned(), fence: number("fence"), handle: number("handle") }
    }

    /// A message of this run, under an event id.
    pub(crate) fn say(&self, kind: &str, event_id: &str, more: &Value) -> Value {
        let mut message = json!({"type": kind, "lease": self.lease, "eventId": event_id});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    }

    fn picture(&self, index: u32, revision: u32) -> Vec<u8> {
        let header = Header {
            format: Format::Webp,
            flags: 0,
            fence: Fence(u64::from(self.fence).try_into().unwrap()),
            index: FrameIndex(index),
            total: FRAMES / 2,
            revision: Revision(revision),
            pts_micros: 0,
            width: 854,
            height: 480,
            generation: None,
        };
        let mut bytes = Handle(self.handle).0.to_le_bytes().to_vec();
        header.write(&mut bytes);
        bytes.extend_from_slice(b"RIFF\x10\0\0\0WEBPVP8 ");
        bytes
    }
}

impl Bed {
    /// A worker's socket, greeted.
    pub(crate) async fn greeted(&self, name: &str, hello: &Value) -> (Peer, Value) {
        let token = self.token(name, "default", Role::Worker);
        let mut worker = Peer::open(self, "/v1/worker", &token).await;
        let mut message = json!({"type": "hello", "worker": name, "instance": "i1", "pools": {"gpu": 1}});
        message.as_object_mut().unwrap().extend(hello.as_object().unwrap().clone());
        worker.say(&message).await;
        let welcome = worker.next_of("welcome").await;
        worker.say(&json!({"type": "heartbeat", "tokens": 10})).await;
        (worker, welcome)
    }

    async fn cancel(&self, id: &str, token: &str) {
        let answer = self.post(&format!("/v1/generations/{id}/cancel"), token, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) async fn state(&self, id: &str, token: &str) -> String {
        self.get(&format!("/v1/generations/{id}"), token).await.json()["state"].as_str().unwrap().to_owned()
    }
}

impl Peer {
    /// Accepts the next offer; the offer and the grant.
    pub(crate) async fn accept(&mut self) -> (Value, Grant) {
        let offer = self.hear("offer").await;
        self.say(&json!({"type": "accept", "offer": offer["offer"]})).await;
        let granted = self.hear("granted").await;
        assert_eq!(granted["offer"], offer["offer"]);
        (offer, Grant::of(&granted))
    }
}

#[tokio::test]
async fn a_run_from_hello_to_done_is_seen_as_it_happens() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let (mut worker, welcome) = bed.greeted("w1", &json!({"labels": {"gpu": "h100"}, "sdk": "by-hand/1"})).await;
    assert_eq!((&welcome["heartbeatMs"], &welcome["leases"]), (&json!(2_000), &json!([])));
    let id = bed.submit(&token).await;
    let (offer, run) = worker.accept().await;
    assert_eq!((&offer["generation"], &offer["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(offer["inputs"]["input"]["prompt"], "a lake");
    assert_eq!(offer["stages"][0]["name"], "prompt_analysis");

    let mut ada = Peer::live(&bed, &token).await;
    let frames = json!({"maxFps": 12, "maxWidth": 480, "delivery": "all"});
    ada.say(&json!({"type": "subscribe", "generationId": id, "after": "start", "frames": frames})).await;
    ada.hear("subscribed").await;
    let wanted = worker.hear("wanted").await;
    assert_eq!(wanted["full"], json!({"maxFps": 12, "maxWidth": 480, "every": true}));

    worker
        .say(&json!({"type": "progress", "lease": run.lease, "stage": "prompt_analysis", "progress": 50, "message": "Half"}))
        .await;
    assert_eq!(ada.event("stage_progress").await["message"], "Half");
    worker
        .acknowledged(&run.say("event", "e1", &json!({"event": "log", "message": "Seen", "metadata": {"a": 1}})))
        .await;
    assert_eq!(ada.event("log").await["metadata"]["a"], 1);
    worker.acknowledged(&run.say("checkpoint", "e2", &json!({"data": {"step": 7}}))).await;
    ada.event("checkpoint").await;
    let edge = run.say("event", "e3", &json!({"event": "stage_completed", "stage": "prompt_analysis"}));
    let sequence = worker.acknowledged(&edge).await;
    assert_eq!(worker.acknowledged(&edge).await, sequence, "a repeat is answered as the first time");
    assert_eq!(ada.event("stage_completed").await["stage"], "prompt_analysis");
    assert_eq!(ada.event("stage_started").await["stage"], "generating_frames");

    let film = b"a film";
    let put = bed.request(
        Method::PUT,
        &format!("/v1/generations/{id}/artifacts/film.mp4"),
        &bed.token("w1", "default", Role::Worker),
    );
    let put = Answer::of(put.header("x-rushes-lease", &run.lease).body(film.to_vec()).send().await.unwrap()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let artifact = json!({"name": "film.mp4", "size": film.len(), "sha256": sha256_hex(film)});
    worker.acknowledged(&run.say("artifact", "e4", &artifact)).await;
    ada.event("artifact").await;
    worker.acknowledged(&run.say("done", "e5", &json!({"outputs": {"video": "film.mp4"}}))).await;
    let complete = ada.event("complete").await;
    let url = complete["metadata"]["videoUrl"].as_str().unwrap().to_owned();
    assert_eq!(bed.get(&url, "").await.bytes, film);
    ada.hear("done").await;

    // The run is over: what is still said of it changes nothing.
    worker.say(&json!({"type": "progress", "lease": run.lease, "stage": "encoding", "progress": 1})).await;
    assert_eq!(worker.hear("lease_lost").await["lease"], run.lease.as_str());
    worker.say(&run.say("event", "e6", &json!({"event": "log", "message": "late"}))).await;
    let refused = worker.hear("refused").await;
    assert_eq!((&refused["eventId"], &refused["code"]), (&json!("e6"), &json!("lease_lost")));
    worker.text("no message").await;
    assert_eq!(worker.hear("error").await["code"], "invalid_request");
    assert_eq!(bed.state(&id, &token).await, "complete");
}

/// `delivery:"all"`: every revision of every picture, in order; whoever cannot follow slows the worker, not the server.
#[tokio::test]
async fn whoever_plays_each_picture_gets_each_and_slows_the_worker() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let id = bed.submit(&token).await;
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let (_, run) = worker.accept().await;
    let mut ada = Peer::live(&bed, &token).await;
    let frames = json!({"maxFps": 1, "delivery": "all"});
    ada.say(&json!({"type": "subscribe", "generationId": id, "frames": frames})).await;
    ada.hear("subscribed").await;
    assert_eq!(worker.hear("wanted").await["full"]["every"], true);
    ada.say(&json!({"type": "credit", "generationId": id, "frames": 0})).await;
    ada.has_nothing_to_say().await;
    let drawn: Vec<_> = (0..FRAMES).map(|n| (n % (FRAMES / 2), n / (FRAMES / 2))).collect();
    for (index, revision) in &drawn {
        worker.binary(run.picture(*index, *revision)).await;
    }
    let factor = |slow: &Value| slow["factor"].as_f64().unwrap();
    assert!(factor(&worker.hear("slow").await) > 1.0);
    ada.say(&json!({"type": "credit", "generationId": id, "frames": FRAMES})).await;
    let mut seen = Vec::new();
    while seen.len() < drawn.len() {
        let Heard::Frame(bytes) = ada.next().await else { continue };
        let (header, _) = Header::read(&bytes).unwrap();
        assert_eq!(header.generation.unwrap().as_str(), id);
        seen.push((header.index.0, header.revision.0));
    }
    assert_eq!(seen, drawn);
    // Caught up: no more slowness than there was.
    while factor(&worker.hear("slow").await) > 1.0 {}
    drop(ada);
    let wanted = worker.hear("wanted").await;
    assert!(wanted.get("full").is_none(), "nobody looks: {wanted}");
}

#[tokio::test]
async fn a_run_goes_from_worker_to_worker_and_only_a_failure_burns_an_attempt() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let (mut first, _) = bed.greeted("w1", &json!({})).await;
    let id = bed.submit(&token).await;
    let offer = first.hear("offer").await;
    first.say(&json!({"type": "decline", "offer": offer["offer"], "reason": "no model"})).await;

    let (mut second, _) = bed.greeted("w2", &json!({})).await;
    let (offer, run) = second.accept().await;
    assert_eq!((&offer["generation"], &offer["attempt"]), (&json!(id), &json!(1)));
    second.say(&json!({"type": "drain"})).await;
    second.acknowledged(&run.say("hand_back", "e1", &json!({}))).await;

    let (mut third, _) = bed.greeted("w3", &json!({})).await;
    let (offer, again) = third.accept().await;
    assert_eq!(offer["attempt"], 1, "what was handed back was not tried");
    assert!(again.fence > run.fence);
    third
        .acknowledged(&again.say("fail", "e2", &json!({"kind": "retryable", "code": "FLAKY", "message": "no luck"})))
        .await;
    let (offer, last) = third.accept().await;
    assert_eq!(offer["attempt"], 2);
    third.acknowledged(&last.say("fail", "e3", &json!({"kind": "fatal", "code": "BROKEN", "message": "never"}))).await;
    assert_eq!(bed.state(&id, &token).await, "failed");
}

#[tokio::test]
async fn a_cancel_withdraws_an_offer_and_stops_a_run() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let offered = bed.submit(&token).await;
    let offer = worker.hear("offer").await;
    bed.cancel(&offered, &token).await;
    assert_eq!(worker.hear("withdrawn").await["offer"], offer["offer"]);
    // Too late: there is nothing to accept.
    worker.say(&json!({"type": "accept", "offer": offer["offer"]})).await;
    assert_eq!(worker.hear("withdrawn").await["offer"], offer["offer"]);

    let running = bed.submit(&token).await;
    let (_, run) = worker.accept().await;
    bed.cancel(&running, &token).await;
    let cancel = worker.hear("cancel").await;
    assert_eq!((&cancel["lease"], &cancel["graceMs"]), (&json!(run.lease), &json!(10_000)));
    worker.acknowledged(&run.say("done", "e1", &json!({}))).await;
    assert_eq!(bed.state(&running, &token).await, "cancelled");
}

#[tokio::test]
async fn a_slot_released_takes_the_next_run_while_the_first_goes_on() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let (first, second) = (bed.submit(&token).await, bed.submit(&token).await);
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let (offer, run) = worker.accept().await;
    assert_eq!(offer["generation"], first.as_str());
    worker.acknowledged(&run.say("release", "e1", &json!({"pool": "gpu"}))).await;
    let (offer, other) = worker.accept().await;
    assert_eq!(offer["generation"], second.as_str());
    for (run, event_id) in [(&run, "e2"), (&other, "e3")] {
        worker.acknowledged(&run.say("done", event_id, &json!({}))).await;
    }
    assert_eq!(
        (bed.state(&first, &token).await, bed.state(&second, &token).await),
        ("complete".into(), "complete".into())
    );
}

#[tokio::test]
async fn a_worker_that_comes_back_goes_on_and_is_told_what_it_lost() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let id = bed.submit(&token).await;
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let (_, run) = worker.accept().await;
    drop(worker);
    let strange = "1-00000000000000000000000000-gen_unknown";
    let leases = json!({"leases": [{"lease": run.lease, "fence": run.fence}, {"lease": strange, "fence": 1}]});
    let (mut worker, welcome) = bed.greeted("w1", &leases).await;
    assert_eq!(
        (&welcome["leases"][0]["lease"], &welcome["leases"][0]["result"]),
        (&json!(run.lease), &json!("resumed"))
    );
    assert_eq!(welcome["leases"][1]["result"], "lease_lost");
    let resumed = Grant { handle: u32::try_from(welcome["leases"][0]["handle"].as_u64().unwrap()).unwrap(), ..run };
    let sequence = worker.acknowledged(&resumed.say("done", "e1", &json!({}))).await;
    assert_eq!(bed.state(&id, &token).await, "complete");
    // The answer got lost, and it says so again on another connection.
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    assert_eq!(worker.acknowledged(&resumed.say("done", "e1", &json!({}))).await, sequence);
}

#[tokio::test]
async fn what_is_too_large_or_of_another_worker_is_refused_and_changes_nothing() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let id = bed.submit(&token).await;
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let (_, run) = worker.accept().await;
    worker.say(&run.say("checkpoint", "e1", &json!({"data": "x".repeat(65 * 1024)}))).await;
    assert_eq!(worker.hear("refused").await["code"], "too_large");
    let forged = Grant { lease: format!("{}-{}-{id}", run.fence, "0".repeat(26)), ..run };
    worker.say(&forged.say("done", "e2", &json!({}))).await;
    assert_eq!(worker.hear("refused").await["code"], "lease_lost");
    assert_eq!(bed.state(&id, &token).await, "running");
    let user = bed.get("/v1/worker", &token).await;
    assert_eq!(user.refusal(), (403, "forbidden".to_owned()));
}
