//! What operators see, and what machines ask.

use access::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::Bed;

#[tokio::test]
async fn operators_see_queues_workers_and_pipelines_and_nobody_else_does() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let (first, second) = (bed.submit(&ada).await, bed.submit(&ada).await);
    let operator = bed.token("op", "default", Role::Operator);
    let owner = "/v1/queue?owner=ada";
    for path in [
        "/v1/queue",
        owner,
        "/v1/workers",
        "/v1/pools",
        "/v1/pools/gpu",
        "/v1/pipelines",
        &format!("/v1/queue/{first}"),
    ] {
        assert_eq!(bed.get(path, &operator).await.status, 200, "{path}");
        assert_eq!(bed.get(path, &ada).await.refusal(), (403, "forbidden".into()), "{path}");
        assert_eq!(bed.get(path, "").await.status, 401, "{path}");
    }
    let queue = bed.get("/v1/queue", &operator).await.json();
    assert_eq!(queue["pools"][0]["waiting"], 2, "{queue}");
    assert_eq!(queue["pools"][0]["next"][0]["generation"], json!(first));
    let why = async |id: &str| bed.get(&format!("/v1/queue/{id}"), &operator).await.json()["why"].clone();
    assert_eq!(why(&first).await, "no worker of pool gpu is connected");
    let mut worker = bed.worker("w1").await;
    worker.take().await;
    assert_eq!(why(&first).await, "it is running on w1");
    assert_eq!(why(&second).await, "no slot of pool gpu is free");
    let workers = bed.get("/v1/workers", &operator).await.json();
    assert_eq!(workers["workers"][0]["worker"], "w1", "{workers}");
    assert_eq!(workers["workers"][0]["generations"], json!([first]));
    assert!(!workers.to_string().contains("lease"), "leases are rights: {workers}");
    assert_eq!(bed.get("/v1/queue/gen_unknown", &operator).await.status, 404);
}

#[tokio::test]
async fn every_reason_why_something_does_not_run_is_told_by_name() {
    let bed = Bed::start().await;
    let (ada, op) = (bed.user("ada"), bed.token("op", "default", Role::Operator));
    let ids = [bed.submit(&ada).await, bed.submit(&ada).await, bed.submit(&ada).await];
    let place = async |id: &str| bed.get(&format!("/v1/queue/{id}"), &op).await.json();
    let first = place(&ids[0]).await;
    assert_eq!((&first["reason"], &first["pool"], &first["workers"]), (&json!("no_worker"), &json!("gpu"), &json!(0)));
    let mut worker = bed.worker("w1").await;
    let lease = worker.take().await;
    let running = place(&ids[0]).await;
    assert_eq!((&running["reason"], &running["worker"]), (&json!("running"), &json!("w1")), "{running}");
    assert_eq!(running["stage"], "prompt_analysis");
    let second = place(&ids[1]).await;
    assert_eq!((&second["reason"], &second["queuePosition"]), (&json!("no_free_slot"), &json!(1)), "{second}");
    // A failed try waits for its time.
    let fail = json!({"type": "fail", "lease": lease, "eventId": "f1", "kind": "retryable", "message": "no luck"});
    worker.say(fail).await;
    worker.hear("ack").await;
    let failed = place(&ids[0]).await;
    assert_eq!(failed["state"], "queued");
    assert!(["retry_at", "next", "behind", "no_free_slot"].contains(&failed["reason"].as_str().unwrap()), "{failed}");
    // It takes the next; told to stop, it has yet to.
    worker.take().await;
    let held = bed.get("/v1/workers", &op).await.json()["workers"][0]["generations"][0].as_str().unwrap().to_owned();
    bed.post(&format!("/v1/generations/{held}/cancel"), &ada, "").await;
    let cancelling = place(&held).await;
    assert_eq!((&cancelling["reason"], &cancelling["worker"]), (&json!("cancelling"), &json!("w1")), "{cancelling}");
    worker.say(json!({"type": "drain"})).await;
    let waiting = ids.iter().find(|id| **id != held && **id != ids[0]).unwrap();
    while place(waiting).await["reason"] != "no_able_worker" {}
    bed.post(&format!("/v1/generations/{waiting}/cancel"), &ada, "").await;
    let ended = place(waiting).await;
    assert_eq!((&ended["reason"], &ended["why"]), (&json!("ended"), &json!("it is cancelled")));
    let external = bed.post("/v1/generations", &ada, r#"{"pipeline":"external"}"#).await.json();
    let external = place(external["generation"]["id"].as_str().unwrap()).await;
    assert_eq!(external["reason"], "external", "{external}");
}

#[tokio::test]
async fn what_a_client_has_in_flight_is_told() {
    let bed = Bed::start().await;
    let (ada, bob, op) = (bed.user("ada"), bed.user("bob"), bed.token("op", "default", Role::Operator));
    let (first, second) = (bed.submit(&ada).await, bed.submit(&ada).await);
    bed.submit(&bob).await;
    let gone = bed.submit(&ada).await;
    bed.post(&format!("/v1/generations/{gone}/cancel"), &ada, "").await;
    let mut worker = bed.worker("w1").await;
    worker.take().await;
    let flight = bed.get("/v1/queue?owner=ada", &op).await.json();
    assert_eq!((&flight["queued"], &flight["running"], &flight["cancelling"]), (&json!(1), &json!(1), &json!(0)));
    let told = flight["generations"].as_array().unwrap();
    let told: Vec<_> = told.iter().map(|one| (one["generation"].clone(), one["reason"].clone())).collect();
    assert_eq!(told, [(json!(second), json!("no_free_slot")), (json!(first), json!("running"))], "newest first");
    let nobody = bed.get("/v1/queue?owner=nobody&tenant=default", &op).await.json();
    assert_eq!((&nobody["owner"], &nobody["generations"]), (&json!("nobody"), &json!([])));
    for query in ["owner=ada&pool=gpu", "tenant=default", "colour=red", "owner="] {
        let answer = bed.get(&format!("/v1/queue?{query}"), &op).await;
        assert_eq!(answer.refusal(), (400, "invalid_request".into()), "{query}");
    }
}

#[tokio::test]
async fn the_backlog_of_a_pool_is_told_in_seconds_of_work() {
    let bed = Bed::start().await;
    let (ada, op) = (bed.user("ada"), bed.token("op", "default", Role::Operator));
    let empty = bed.get("/v1/pools/gpu", &op).await.json();
    assert_eq!((&empty["backlogSeconds"], &empty["slots"]), (&json!(0.0), &json!(0)), "a scaler may start from zero");
    assert!(empty.get("drainSeconds").is_none(), "{empty}");
    for _ in 0..3 {
        bed.submit(&ada).await;
    }
    // Of the stages of `video` 95 seconds are expected, all of pool `gpu`.
    let pool = bed.get("/v1/pools/gpu", &op).await.json();
    assert_eq!((&pool["waiting"], &pool["backlogSeconds"]), (&json!(3), &json!(285.0)), "{pool}");
    let mut worker = bed.worker("w1").await;
    worker.take().await;
    let pools = bed.get("/v1/pools", &op).await.json();
    let pool = &pools["pools"][0];
    assert_eq!(
        (&pool["waiting"], &pool["backlogSeconds"], &pool["drainSeconds"]),
        (&json!(2), &json!(190.0), &json!(190.0))
    );
    assert_eq!((&pool["workers"], &pool["slots"], &pool["busySlots"]), (&json!(1), &json!(1), &json!(1)), "{pool}");
    let metrics = bed.get("/metrics", "").await.text();
    for line in [
        r#"rushes_pool_backlog_seconds{pool="gpu"} 190.0"#,
        r#"rushes_pool_slots{pool="gpu"} 1"#,
        r#"rushes_pool_slots_busy{pool="gpu"} 1"#,
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    assert_eq!(bed.get("/v1/pools/nowhere", &op).await.status, 404);
}

#[tokio::test]
async fn a_trace_goes_from_the_request_to_the_worker_and_back() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let submit = async |trace: &str| {
        let request = bed.request(Method::POST, "/v1/generations", &ada).header("traceparent", trace);
        let request = request.header("tracestate", "rojo=00f0, ,").header("tracestate", "congo=t61");
        let answer = request.header("x-correlation-id", "order-7").body(r#"{"prompt":"a lake"}"#).send().await.unwrap();
        crate::bed::Answer::of(answer).await.json()["generation"].clone()
    };
    let generation = submit(TRACE).await;
    assert_eq!(generation["traceparent"], TRACE);
    let mut worker = bed.worker("w1").await;
    let offer = worker.hear("offer").await;
    assert_eq!((&offer["traceparent"], &offer["causalId"]), (&json!(TRACE), &json!("order-7")));
    assert_eq!(offer["tracestate"], "rojo=00f0,congo=t61");
    worker.say(json!({"type": "accept", "offer": offer["offer"]})).await;
    let lease = worker.hear("granted").await["lease"].clone();
    worker.say(json!({"type": "fail", "lease": lease, "eventId": "f1", "kind": "fatal", "message": "no"})).await;
    worker.hear("ack").await;
    let id = generation["id"].as_str().unwrap();
    let timeline = bed.get(&format!("/v1/generations/{id}/timeline"), &ada).await.json();
    assert_eq!((&timeline["traceparent"], &timeline["causalId"]), (&json!(TRACE), &json!("order-7")), "{timeline:#}");
    assert_eq!(timeline["tracestate"], "rojo=00f0,congo=t61");
    let spans = timeline["spans"].as_array().unwrap();
    assert_eq!((&spans[0]["kind"], &spans[0]["cause"]), (&json!("wait"), &json!("submitted")));
    assert_eq!((&spans[1]["worker"], &spans[1]["end"]), (&json!("w1"), &json!("failed")), "{timeline:#}");
    assert_eq!(spans[1]["stages"][0]["failure"]["message"], "no");
    assert!(!timeline.to_string().contains(lease.as_str().unwrap()), "a lease is a right");
    let retried = bed.post(&format!("/v1/generations/{id}/retry"), &ada, "").await.json();
    assert_eq!(retried["generation"]["traceparent"], TRACE, "a retry belongs to the same story");
    assert_eq!(retried["generation"]["tracestate"], "rojo=00f0,congo=t61");
    for bad in ["00-00000000000000000000000000000000-b7ad6b7169203331-01", "nonsense", &TRACE.to_uppercase()] {
        let ignoring = submit(bad).await;
        assert!(ignoring.get("traceparent").is_none(), "{bad} is ignored");
        assert!(ignoring.get("tracestate").is_none(), "it says nothing without the other");
    }
    let stranger = bed.user("eve");
    assert_eq!(bed.get(&format!("/v1/generations/{id}/timeline"), &stranger).await.status, 404);
}

#[tokio::test]
async fn metrics_tell_of_requests_queues_and_work() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    bed.submit(&ada).await;
    bed.submit(&ada).await;
    bed.worker("w1").await.take().await;
    bed.get("/v1/nowhere", "").await;
    let answer = bed.get("/metrics", "").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        r#"rushes_http_requests_total{method="POST",route="/v1/generations",status="2xx"} 2"#,
        r#"rushes_http_requests_total{method="GET",route="none",status="4xx"} 1"#,
        r#"rushes_queue_depth{pool="gpu"} 1"#,
        "rushes_generations_submitted_total 2",
        "rushes_leases_granted_total 1",
        r#"rushes_connections{transport="websocket"} 0"#,
        "rushes_commit_to_socket_seconds_count 0",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    let values = text.lines().filter(|line| !line.starts_with('#'));
    for line in values {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn what_the_specification_describes_is_what_is_answered() {
    let bed = Bed::start().await;
    let document = bed.get("/openapi.json", "").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let sent = path
            .replace("{id}", "gen_x")
            .replace("breakers/{name}", "breakers/s:b")
            .replace("{name}", "film.mp4")
            .replace("{file}", "upl_x");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = bed.send(method.clone(), &sent, "").await;
            let described = operations.get(method.as_str().to_lowercase()).is_some();
            assert_eq!(answer.status != 405, described, "{method} {path}: {} {}", answer.status, answer.text());
            assert!(!answer.text().contains("nothing at"), "{method} {path} is nowhere");
        }
    }
}

#[tokio::test]
async fn a_browser_may_ask_first_on_every_route() {
    let bed = Bed::with(&[("allowed_origins", "https://app.example")]).await;
    let document = bed.get("/openapi.json", "").await.json();
    for path in document["paths"].as_object().unwrap().keys() {
        let sent = path
            .replace("{id}", "gen_x")
            .replace("breakers/{name}", "breakers/s:b")
            .replace("{name}", "film.mp4")
            .replace("{file}", "upl_x");
        let preflight = async |origin: &str| {
            let request = bed.request(Method::OPTIONS, &sent, "").header("origin", origin);
            request.header("access-control-request-method", "GET").send().await.unwrap()
        };
        let allowed = preflight("https://app.example").await;
        assert_eq!(allowed.status(), 204, "{path}");
        assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example", "{path}");
        assert_eq!(preflight("https://evil.example").await.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_server_says_whether_it_lives_and_whether_it_is_ready() {
    let bed = Bed::start().await;
    assert_eq!(bed.get("/livez", "").await.status, 200);
    assert_eq!(bed.get("/readyz", "").await.text(), "ready\n");
    let health: Value = bed.get("/health", "").await.json();
    assert_eq!(health["status"], "healthy");
}

#[tokio::test]
async fn what_holds_runs_back_is_the_reason_before_any_want_of_workers() {
    let bed = Bed::with(&[("limits.running_per_tenant", "1")]).await;
    let (ada, op) = (bed.user("ada"), bed.token("op", "default", Role::Operator));
    let (first, second) = (bed.submit(&ada).await, bed.submit(&ada).await);
    let place = async |id: &str| bed.get(&format!("/v1/queue/{id}"), &op).await.json();
    let mut worker = bed.worker("w1").await;
    let mut other = bed.worker("w2").await;
    tokio::select! {
        _ = worker.take() => {}
        _ = other.take() => {}
    }
    let running = place(&first).await;
    assert_eq!(running["reason"], "running", "{running}");
    let limited = place(&second).await;
    assert_eq!((&limited["reason"], &limited["freeSlots"]), (&json!("tenant_limit"), &json!(1)), "{limited}");
    let paused = bed.post("/v1/pipelines/video/pause", &op, "").await;
    assert!(paused.status < 300, "{}", paused.text());
    while place(&second).await["reason"] != "paused" {}
    let paused = place(&second).await;
    assert_eq!(
        (&paused["pipeline"], &paused["why"]),
        (&json!("video"), &json!("pipeline video is paused")),
        "{paused}"
    );
}
