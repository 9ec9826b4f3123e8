//! Workers that claim, say and repeat what makes no sense: each is told what is wrong, and harms nobody else.

use access::Role;
use serde_json::json;

use crate::{
    bed::Bed,
    peer::{Heard, Peer},
};

/// Progress messages of a flood: a worker that reports each step of a fast loop.
const FLOOD: usize = 20_000;
/// Offers at once, whatever is claimed: the tokens of a worker.
const OFFERS_MAX: usize = 10;

#[tokio::test]
async fn a_worker_that_claims_more_slots_than_there_may_be_is_told_how_many_and_sent_away() {
    let bed = Bed::start().await;
    let token = bed.token("w1", "default", Role::Worker);
    let mut worker = Peer::open(&bed, "/v1/worker", &token).await;
    worker.say(&json!({"type": "hello", "worker": "w1", "instance": "i1", "pools": {"gpu": 1_000_000}})).await;
    let error = worker.next_of("error").await;
    assert!(error["error"].as_str().unwrap().contains("256 slots"), "{error}");
    assert!(matches!(worker.next().await, Heard::Closed(1008)));
    // Neither zero nor a number that is none gets any further.
    for slots in [json!(-1), json!("many"), json!(1.5)] {
        let mut worker = Peer::open(&bed, "/v1/worker", &token).await;
        worker.say(&json!({"type": "hello", "worker": "w1", "instance": "i1", "pools": {"gpu": slots}})).await;
        assert_eq!(worker.next_of("error").await["code"], "invalid_request", "{slots}");
    }
}

/// It says 256 and can do one: it holds back no more than its tokens, and what it leaves goes to others.
#[tokio::test]
async fn a_worker_that_claims_slots_it_lacks_hoards_no_more_than_its_tokens() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let (mut boaster, _) = bed.greeted("w1", &json!({"pools": {"gpu": 256}})).await;
    let mut ids = Vec::new();
    for _ in 0..OFFERS_MAX + 2 {
        ids.push(bed.submit(&ada).await);
    }
    let mut offered = Vec::new();
    for _ in 0..OFFERS_MAX {
        offered.push(boaster.hear("offer").await);
    }
    let (mut honest, _) = bed.greeted("w2", &json!({"pools": {"gpu": 3}})).await;
    for id in &ids[OFFERS_MAX..] {
        assert_eq!(honest.hear("offer").await["generation"], json!(id));
    }
    // What it declines goes to whoever can.
    let decline = json!({"type": "decline", "offer": offered[0]["offer"], "reason": "no slot"});
    boaster.say(&decline).await;
    assert_eq!(honest.hear("offer").await["generation"], offered[0]["generation"]);
    // A lease it never had is not its own because it says so.
    let claimed = json!({"leases": [{"lease": "9-00000000000000000000000000-gen_none", "fence": 9}]});
    let (_, welcome) = bed.greeted("w3", &claimed).await;
    assert_eq!(welcome["leases"][0]["result"], "lease_lost");
}

#[tokio::test]
async fn a_worker_that_floods_fills_no_history_and_keeps_nobody_waiting() {
    let bed = Bed::start().await;
    let (ada, bob) = (bed.user("ada"), bed.user("bob"));
    let flooded = bed.submit(&ada).await;
    let (mut flooder, _) = bed.greeted("w1", &json!({})).await;
    let (_, run) = flooder.accept().await;
    for n in 0..FLOOD {
        let progress = (n % 100) as f64;
        let stage = "prompt_analysis";
        flooder.say(&json!({"type": "progress", "lease": run.lease, "stage": stage, "progress": progress})).await;
    }
    let other = bed.submit(&bob).await;
    let (mut calm, _) = bed.greeted("w2", &json!({})).await;
    let (offer, its) = calm.accept().await;
    assert_eq!(offer["generation"], json!(other));
    calm.acknowledged(&its.say("done", "d1", &json!({}))).await;
    assert_eq!(bed.state(&other, &bob).await, "complete");
    flooder.acknowledged(&run.say("done", "d2", &json!({}))).await;
    let events = bed.get(&format!("/v1/generations/{flooded}/events?after=start"), &ada).await.json();
    let count = events["events"].as_array().unwrap().len();
    assert!(count < FLOOD / 50, "ten a second at most were kept: {count}");
}

#[tokio::test]
async fn progress_that_cannot_be_is_told_and_changes_nothing() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let id = bed.submit(&ada).await;
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let (_, run) = worker.accept().await;
    for (stage, progress, said) in [
        ("prompt_analysis", json!(400), "progress is 400: a number from 0 to 100"),
        ("prompt_analysis", json!(-1), "progress is -1: a number from 0 to 100"),
        ("prompt_analysis", json!(1e300), "a number from 0 to 100"),
        ("dancing", json!(5), "progress of stage dancing: video has prompt_analysis, "),
        ("prompt_analysis", json!("half"), "f64"),
    ] {
        worker.say(&json!({"type": "progress", "lease": run.lease, "stage": stage, "progress": progress})).await;
        let error = worker.hear("error").await;
        assert_eq!(error["code"], "invalid_request");
        assert!(error["error"].as_str().unwrap().contains(said), "{said}: {error}");
    }
    let status = bed.get(&format!("/v1/generations/{id}"), &ada).await.json()["status"].clone();
    assert_eq!((&status["progress"], &status["state"]), (&json!(0.0), &json!("running")), "{status}");
    worker.acknowledged(&run.say("done", "d1", &json!({}))).await;
    assert_eq!(bed.state(&id, &ada).await, "complete");
}

#[tokio::test]
async fn what_a_worker_says_out_of_order_or_twice_is_refused_and_the_run_goes_on() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let id = bed.submit(&ada).await;
    let (mut worker, _) = bed.greeted("w1", &json!({})).await;
    let offer = worker.hear("offer").await;
    // It speaks of a run before it was given one, and accepts what nobody offered.
    let early = json!({"type": "done", "lease": format!("1-00000000000000000000000000-{id}"), "eventId": "e0"});
    worker.say(&early).await;
    assert_eq!(worker.hear("refused").await["code"], "lease_lost");
    worker.say(&json!({"type": "accept", "offer": "off_00000000000000000000000000"})).await;
    worker.hear("withdrawn").await;
    worker.say(&json!({"type": "accept", "offer": offer["offer"]})).await;
    worker.say(&json!({"type": "accept", "offer": offer["offer"]})).await;
    let granted = worker.hear("granted").await;
    let run = |kind: &str, event_id: &str, more: serde_json::Value| {
        let mut message = json!({"type": kind, "lease": granted["lease"], "eventId": event_id});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    for (event_id, stage) in [("e1", "encoding"), ("e2", "interpolating"), ("e3", "dancing")] {
        worker.say(&run("event", event_id, json!({"event": "stage_completed", "stage": stage}))).await;
        let refused = worker.hear("refused").await;
        assert_eq!(refused["eventId"], json!(event_id), "{refused}");
    }
    let first = run("event", "e4", json!({"event": "stage_completed", "stage": "prompt_analysis"}));
    let sequence = worker.acknowledged(&first).await;
    assert_eq!(worker.acknowledged(&first).await, sequence, "a repeat is answered as the first time");
    let again = run("event", "e5", json!({"event": "stage_completed", "stage": "prompt_analysis"}));
    assert!(worker.acknowledged(&again).await >= sequence, "said again under another id it is nothing new");
    // It finishes, and does so again: under the same id that is the answer it had, under another it is too late.
    let done = run("done", "e6", json!({}));
    let end = worker.acknowledged(&done).await;
    assert_eq!(worker.acknowledged(&done).await, end);
    for (kind, event_id, more) in [
        ("done", "e7", json!({})),
        ("fail", "e8", json!({"kind": "fatal", "message": "after all"})),
        ("hand_back", "e9", json!({})),
        ("release", "e10", json!({"pool": "gpu"})),
    ] {
        worker.say(&run(kind, event_id, more)).await;
        assert_eq!(worker.hear("refused").await["code"], "lease_lost", "{kind}");
    }
    // Nor does a client move the end.
    let cancelled = bed.post(&format!("/v1/generations/{id}/cancel"), &ada, "").await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("complete")), "the end is the answer");
    let path = format!("/v1/generations/{id}/events?after=start");
    let events = bed.get(&path, &ada).await.json();
    let events = events["events"].as_array().unwrap();
    let first_ends = events.iter().filter(|one| one["type"] == "stage_completed" && one["stage"] == "prompt_analysis");
    assert_eq!(first_ends.count(), 1, "{events:?}");
    assert_eq!(events.iter().filter(|one| one["type"] == "complete").count(), 1);
}
