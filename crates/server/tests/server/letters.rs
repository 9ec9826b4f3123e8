//! Operators over the wire: dead letters, pauses and breakers.

use access::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::{Bed, Worker};

async fn fail(worker: &mut Worker, message: &str) {
    let lease = worker.take().await;
    worker.say(json!({"type": "fail", "lease": lease, "eventId": format!("f.{lease}"), "kind": "fatal", "message": message})).await;
    worker.hear("ack").await;
}

async fn put(bed: &Bed, path: &str, token: &str, body: Value) -> u16 {
    bed.request(Method::PUT, path, token).body(body.to_string()).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_dead_letter_is_found_inspected_and_made_into_a_new_generation_with_other_parameters() {
    let bed = Bed::start().await;
    let (ada, operator) = (bed.user("ada"), bed.token("op", "default", Role::Operator));
    let mut worker = bed.worker("w1").await;
    let first = bed.submit(&ada).await;
    fail(&mut worker, "device 3 is gone").await;
    let second = bed.submit(&ada).await;
    fail(&mut worker, "device 4 is gone").await;

    let page = bed.get("/v1/dead-letters?limit=1", &operator).await.json();
    assert_eq!(page["letters"][0]["generationId"], json!(second), "{page}");
    assert_eq!((&page["letters"][0]["schema"], &page["nextCursor"].is_string()), (&json!("dlq.pipeline.v1"), &true));
    let groups = bed.get("/v1/dead-letters?group=fingerprint", &operator).await.json();
    assert_eq!(groups["groups"][0]["count"], 2, "numbers do not tell causes apart: {groups}");
    let letter = bed.get(&format!("/v1/dead-letters/{first}"), &operator).await.json();
    assert_eq!(letter["input"]["prompt"], "a lake");
    assert_eq!(letter["history"][0]["message"], "device 3 is gone");
    assert_eq!(letter["stage"], "prompt_analysis");

    let path = format!("/v1/dead-letters/{first}/redrive");
    let wrong = bed.post(&path, &operator, json!({"input": {"width": 9000}}).to_string()).await;
    assert_eq!(wrong.refusal(), (422, "invalid_input".into()));
    let change = json!({"input": {"seconds": 2}, "priority": "interactive"}).to_string();
    let made = bed.post(&path, &operator, change.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json()["generation"].clone();
    assert_eq!((&made["retryOf"], &made["input"]["seconds"]), (&json!(first), &json!(2)));
    assert_eq!(made["status"]["userId"], "ada", "it is its owner's");
    let again = bed.post(&path, &operator, change).await.json();
    assert_eq!(again["generation"]["id"], made["id"], "the same wish is granted once");
    assert_eq!(bed.post(&path, &operator, "{}").await.refusal(), (409, "idempotency_conflict".into()));
    let letter = bed.get(&format!("/v1/dead-letters/{first}"), &operator).await.json();
    assert_eq!(letter["redrivenAs"], made["id"]);
    let living = format!("/v1/dead-letters/{}/redrive", made["id"].as_str().unwrap());
    assert_eq!(bed.post(&living, &operator, "").await.refusal(), (409, "state_conflict".into()));

    let many =
        bed.post("/v1/dead-letters/redrive", &operator, json!({"filter": {"owner": "ada"}}).to_string()).await.json();
    assert_eq!(many["letters"].as_array().unwrap().len(), 1, "what was redriven is left alone: {many}");
    assert_eq!(many["letters"][0]["generationId"], json!(second));

    assert_eq!(
        bed.send(Method::DELETE, "/v1/dead-letters", &operator).await.status,
        400,
        "a purge of everything says so"
    );
    assert_eq!(bed.send(Method::DELETE, &format!("/v1/dead-letters/{first}"), &operator).await.status, 204);
    assert_eq!(bed.send(Method::DELETE, "/v1/dead-letters?code=FATAL", &operator).await.json()["purged"], 1);
    assert_eq!(
        bed.get(&format!("/v1/generations/{first}"), &ada).await.json()["state"],
        "failed",
        "the generation stays"
    );
    assert_eq!(bed.get("/v1/dead-letters", &ada).await.refusal(), (403, "forbidden".into()));
    assert_eq!(bed.get("/v1/dead-letters?colour=red", &operator).await.status, 400);
}

#[tokio::test]
async fn a_paused_pipeline_starts_nothing_and_stays_paused_over_a_restart() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let bed = Bed::in_folder(folder.clone(), rushes_server::Mode::Serve, &[]).await;
    let (ada, operator) = (bed.user("ada"), bed.token("op", "default", Role::Operator));
    let waiting = bed.submit(&ada).await;
    assert_eq!(bed.post("/v1/pipelines/video/pause", &operator, "").await.status, 204);
    assert_eq!(bed.post("/v1/pipelines/nope/pause", &operator, "").await.refusal(), (404, "not_found".into()));
    assert_eq!(bed.post("/v1/pipelines/video/pause", &ada, "").await.status, 403);
    let parked = bed.submit(&ada).await;
    let status = bed.get(&format!("/v1/generations/{parked}"), &ada).await.json()["status"].clone();
    assert_eq!((&status["type"], &status["metadata"]["parkedBy"]), (&json!("parked"), &json!("pause")));
    bed.server.stop().await;

    let bed = Bed::in_folder(folder, rushes_server::Mode::Serve, &[]).await;
    assert_eq!(bed.get("/v1/pipelines", &operator).await.json()["paused"], json!(["video"]));
    let mut worker = bed.worker("w1").await;
    // Answered after everything the hello caused: nothing was offered.
    bed.get("/v1/workers", &operator).await;
    assert_eq!(bed.post("/v1/pipelines/video/resume", &operator, "").await.status, 204);
    let offer = worker.hear("offer").await;
    assert_eq!(offer["generation"], json!(waiting), "the order is kept");
}

#[tokio::test]
async fn failures_in_a_row_open_a_breaker_and_an_operator_may_close_it() {
    let bed = Bed::with(&[("breaker.failures", "2"), ("breaker.open", "1h")]).await;
    let (ada, operator) = (bed.user("ada"), bed.token("op", "default", Role::Operator));
    let mut worker = bed.worker("w1").await;
    for _ in 0..2 {
        bed.submit(&ada).await;
        fail(&mut worker, "no answer").await;
    }
    let breakers = bed.get("/v1/breakers", &operator).await.json();
    assert_eq!(breakers["breakers"][0]["breaker"], "prompt_analysis:gpu", "{breakers}");
    assert_eq!(breakers["breakers"][0]["state"], "open");
    let parked = bed.submit(&ada).await;
    let status = bed.get(&format!("/v1/generations/{parked}"), &ada).await.json()["status"].clone();
    assert_eq!(status["metadata"]["breaker"], "prompt_analysis:gpu", "its owner is told: {status}");
    assert_eq!(status["attempt"], 1, "nothing is burned");
    let place = bed.get(&format!("/v1/queue/{parked}"), &operator).await.json();
    assert_eq!(place["reason"], "breaker_open", "{place}");
    assert_eq!(place["why"], "breaker prompt_analysis:gpu is open: what it needs is broken");
    assert_eq!(breakers["breakers"][0]["owner"], "ada", "all of it was one owner's: {breakers}");
    let path = "/v1/breakers/prompt_analysis:gpu";
    assert_eq!(put(&bed, path, &operator, json!({"forced": "wide"})).await, 400);
    assert_eq!(put(&bed, "/v1/breakers/nothing", &operator, json!({"forced": null})).await, 400);
    assert_eq!(put(&bed, path, &operator, json!({"forced": "closed"})).await, 204);
    assert_eq!(worker.hear("offer").await["generation"], json!(parked));
    assert_eq!(put(&bed, path, &operator, json!({"forced": null})).await, 204);
    assert_eq!(bed.get("/v1/breakers", &operator).await.json()["breakers"], json!([]));
}

#[tokio::test]
async fn an_owner_has_as_much_under_way_and_unfinished_as_they_may() {
    let bed = Bed::with(&[("limits.running_per_owner", "1"), ("limits.unfinished_per_tenant", "3")]).await;
    let (ada, bob) = (bed.user("ada"), bed.user("bob"));
    let first = bed.submit(&ada).await;
    let second = bed.submit(&ada).await;
    let others = bed.submit(&bob).await;
    let full = bed.post("/v1/generations", &bob, json!({"prompt": "x"}).to_string()).await;
    assert_eq!(full.refusal(), (429, "queue_full".into()));
    assert_eq!(full.header("retry-after"), "60", "nobody works for this tenant, and nothing of it ended");
    let (mut one, mut two) = (bed.worker("w1").await, bed.worker("w2").await);
    let lease = one.take().await;
    assert!(lease.ends_with(&first), "{lease}");
    assert!(two.take().await.ends_with(&others), "the owner's second waits, and does not hold up another's");
    let operator = bed.token("op", "default", Role::Operator);
    let place = bed.get(&format!("/v1/queue/{second}"), &operator).await.json();
    assert_eq!((&place["reason"], &place["owner"]), (&json!("owner_limit"), &json!("ada")), "{place}");
    assert_eq!(place["why"], "its owner has as many under way as they may");
}
