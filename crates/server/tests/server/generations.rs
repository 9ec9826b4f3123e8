//! Generations as resources: who sees them, and what may be done with them when.

use access::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::{Answer, Bed};

#[tokio::test]
async fn unknown_and_foreign_generations_look_alike_at_every_door() {
    let bed = Bed::start().await;
    let id = bed.submit(&bed.user("ada")).await;
    let eve = bed.user("eve");
    for (method, suffix, body) in [
        (Method::GET, "", ""),
        (Method::DELETE, "", ""),
        (Method::PATCH, "", r#"{"priority":"batch"}"#),
        (Method::POST, "/cancel", ""),
        (Method::POST, "/retry", ""),
        (Method::POST, "/events", r#"[{"eventId":"e","status":"queued"}]"#),
        (Method::GET, "/events", ""),
        (Method::GET, "/frames/latest", ""),
        (Method::GET, "/artifacts/film.mp4", ""),
        (Method::PUT, "/artifacts/film.mp4", "x"),
    ] {
        let ask = async |id: &str| {
            let path = format!("/v1/generations/{id}{suffix}");
            let request = bed.request(method.clone(), &path, &eve).header("x-rushes-lease", "1-x-y");
            Answer::of(request.body(body.to_owned()).send().await.unwrap()).await
        };
        let (foreign, unknown, impossible) = (ask(&id).await, ask("gen_unknown").await, ask("gen_%2e%2e").await);
        assert_eq!(foreign.refusal(), (404, "not_found".into()), "{method} {suffix}: {}", foreign.text());
        assert_eq!(foreign.bytes, unknown.bytes, "{method} {suffix}");
        assert_eq!(foreign.bytes, impossible.bytes, "{method} {suffix}");
    }
    let token = |id: &str| json!({"generations": [id]}).to_string();
    let foreign = bed.post("/v1/tokens", &eve, token(&id)).await;
    assert_eq!(foreign.refusal(), (404, "not_found".into()));
    assert_eq!(foreign.bytes, bed.post("/v1/tokens", &eve, token("gen_unknown")).await.bytes);
    let namesake = bed.token("ada", "other", Role::Admin);
    assert_eq!(bed.get(&format!("/v1/generations/{id}"), &namesake).await.status, 404);
}

#[tokio::test]
async fn a_list_shows_ones_own_newest_first_in_pages() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bed.submit(&ada).await);
    }
    bed.submit(&bed.user("eve")).await;
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/generations?limit=2".to_owned();
    loop {
        let page = bed.get(&path, &ada).await.json();
        let rows = page["generations"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/generations?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    let count =
        async |path: &str, token: &str| bed.get(path, token).await.json()["generations"].as_array().map(Vec::len);
    let admin = bed.token("boss", "default", Role::Admin);
    assert_eq!(count("/v1/generations", &admin).await, Some(6));
    assert_eq!(count("/v1/generations?owner=eve", &admin).await, Some(1));
    assert_eq!(count("/v1/generations?state=complete", &ada).await, Some(0));
    assert_eq!(bed.get("/v1/generations?owner=eve", &ada).await.refusal(), (403, "forbidden".into()));
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=x", "state=done", "colour=red"] {
        let answer = bed.get(&format!("/v1/generations?{bad}"), &ada).await;
        assert_eq!(answer.refusal(), (400, "invalid_request".into()), "{bad}");
    }
}

#[tokio::test]
async fn only_what_has_ended_is_deleted_and_then_it_is_gone() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let id = bed.submit(&ada).await;
    let path = format!("/v1/generations/{id}");
    let early = bed.send(Method::DELETE, &path, &ada).await;
    assert_eq!(early.refusal(), (409, "state_conflict".into()));
    assert!(early.text().contains("cancel it first"), "{}", early.text());
    let cancelled = bed.send(Method::POST, &format!("{path}/cancel"), &ada).await.json();
    assert_eq!(cancelled["state"], "cancelled");
    let again = bed.send(Method::POST, &format!("{path}/cancel"), &ada).await.json();
    assert_eq!(again["position"], cancelled["position"], "a repeat changes nothing");
    assert_eq!(bed.send(Method::DELETE, &path, &ada).await.status, 204);
    assert_eq!(bed.get(&path, &ada).await.status, 404);
    assert_eq!(bed.get(&format!("{path}/events"), &ada).await.status, 404);
    assert_eq!(bed.send(Method::DELETE, &path, &ada).await.status, 404);
}

#[tokio::test]
async fn priority_moves_a_queued_generation() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let (first, second) = (bed.submit(&ada).await, bed.submit(&ada).await);
    let place = async |id: &str| bed.get(&format!("/v1/generations/{id}"), &ada).await.json()["queuePosition"].clone();
    assert_eq!((place(&first).await, place(&second).await), (json!(1), json!(2)));
    let patch = async |id: &str, body: &str| {
        let request = bed.request(Method::PATCH, &format!("/v1/generations/{id}"), &ada);
        Answer::of(request.body(body.to_owned()).send().await.unwrap()).await
    };
    let moved = patch(&second, r#"{"priority":"interactive"}"#).await.json();
    assert_eq!((&moved["priority"], &moved["queuePosition"]), (&json!("interactive"), &json!(1)));
    assert_eq!(place(&first).await, json!(2));
    for bad in ["", "{}", r#"{"priority":"now"}"#, r#"{"priority":"batch","x":1}"#] {
        assert_eq!(patch(&first, bad).await.refusal(), (400, "invalid_request".into()), "{bad}");
    }
    bed.send(Method::POST, &format!("/v1/generations/{first}/cancel"), &ada).await;
    assert_eq!(patch(&first, r#"{"priority":"batch"}"#).await.refusal(), (409, "state_conflict".into()));
}

#[tokio::test]
async fn a_retry_is_a_new_generation_that_names_the_old_one() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let id = bed.submit(&ada).await;
    let path = format!("/v1/generations/{id}");
    assert_eq!(bed.send(Method::POST, &format!("{path}/retry"), &ada).await.refusal(), (409, "state_conflict".into()));
    bed.send(Method::POST, &format!("{path}/cancel"), &ada).await;
    let retry = bed.send(Method::POST, &format!("{path}/retry"), &ada).await;
    assert_eq!(retry.status, 201, "{}", retry.text());
    let generation = &retry.json()["generation"];
    assert_eq!(generation["retryOf"], json!(id));
    assert_ne!(generation["id"], json!(id));
    assert_eq!(generation["input"], json!({"prompt": "a lake"}));
}

#[tokio::test]
async fn only_external_generations_take_reports() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let report = |event: &str, status: &str| json!({"eventId": event, "status": status, "progress": 50});
    let managed = format!("/v1/generations/{}/events", bed.submit(&ada).await);
    let refused = bed.post(&managed, &ada, json!([report("e1", "encoding")]).to_string()).await;
    assert_eq!(refused.refusal(), (409, "lease_required".into()));
    let made = bed.post("/v1/generations", &ada, r#"{"pipeline":"external","prompt":"a"}"#).await.json();
    let id = made["generation"]["id"].as_str().unwrap();
    let path = format!("/v1/generations/{id}/events");
    let reports = json!([report("e1", "generating_frames"), report("e2", "complete")]);
    let first = bed.post(&path, &ada, reports.to_string()).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = bed.post(&path, &ada, reports.to_string()).await;
    assert_eq!(again.json(), first.json(), "a repeat is answered as the first time");
    let snapshot = bed.get(&format!("/v1/generations/{id}"), &ada).await.json();
    assert_eq!((&snapshot["state"], &snapshot["position"]), (&json!("complete"), &first.json()["position"]));
    for bad in ["{}", "[]", "[1]", r#"[{"status":"x"}]"#, r#"[{"eventId":"a/b","status":"x"}]"#] {
        assert_eq!(bed.post(&path, &ada, bad).await.refusal(), (400, "invalid_request".into()), "{bad}");
    }
}

#[tokio::test]
async fn a_live_token_watches_what_it_names_and_nothing_else() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let (named, other) = (bed.submit(&ada).await, bed.submit(&ada).await);
    let minted = bed.post("/v1/tokens", &ada, json!({"generations": [named], "ttlSeconds": 60}).to_string()).await;
    assert_eq!(minted.status, 201, "{}", minted.text());
    let live = minted.json()["token"].as_str().unwrap().to_owned();
    assert!(minted.json()["expiresAt"].as_u64().unwrap() <= rushes_server::now().0 + 60_000);
    assert_eq!(bed.get(&format!("/v1/generations/{named}"), &live).await.status, 200);
    assert_eq!(bed.get(&format!("/v1/generations/{other}"), &live).await.status, 404);
    assert_eq!(bed.get("/v1/generations", &live).await.status, 403);
    let body = |value: Value| value.to_string();
    for bad in [
        body(json!({"generations": []})),
        body(json!({"generations": vec![&named; 65]})),
        body(json!({"generations": [named], "ttlSeconds": 0})),
        body(json!({"generations": [named], "ttlSeconds": 86_401})),
        body(json!({"generations": ["a/b"]})),
        body(json!({"generation": named})),
    ] {
        assert_eq!(bed.post("/v1/tokens", &ada, bad.clone()).await.refusal(), (400, "invalid_request".into()), "{bad}");
    }
}

#[tokio::test]
async fn what_waits_tells_when_it_will_end_by_itself_and_in_the_list() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let ids = [bed.submit(&ada).await, bed.submit(&ada).await, bed.submit(&ada).await];
    let read = async |id: &str| bed.get(&format!("/v1/generations/{id}"), &ada).await.json();
    assert!(read(&ids[0]).await.get("eta").is_none(), "nobody works: nobody knows");
    let mut worker = bed.worker("w1").await;
    worker.take().await;
    // The pipeline's own expectation is 95 s a film, of which one is running.
    assert_eq!((read(&ids[1]).await["eta"].as_f64(), read(&ids[2]).await["eta"].as_f64()), (Some(95.0), Some(190.0)));
    let list = bed.get("/v1/generations", &ada).await.json();
    let told: Vec<_> = list["generations"].as_array().unwrap().iter().rev().map(|one| one["eta"].as_f64()).collect();
    assert_eq!(told, [None, Some(95.0), Some(190.0)]);
    assert_eq!(list["generations"][0]["queuePosition"], 2);
}
