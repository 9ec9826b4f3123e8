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
    for path in ["/v1/queue", "/v1/workers", "/v1/pipelines", &format!("/v1/queue/{first}")] {
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
    assert_eq!(why(&first).await, "it is running");
    assert_eq!(why(&second).await, "no slot of pool gpu is free");
    let workers = bed.get("/v1/workers", &operator).await.json();
    assert_eq!(workers["workers"][0]["worker"], "w1", "{workers}");
    assert_eq!(workers["workers"][0]["generations"], json!([first]));
    assert!(!workers.to_string().contains("lease"), "leases are rights: {workers}");
    assert_eq!(bed.get("/v1/queue/gen_unknown", &operator).await.status, 404);
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
