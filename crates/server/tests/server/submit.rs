//! What may be submitted, by whom, and what everybody else is told.

use access::Role;
use reqwest::Method;
use serde_json::json;

use crate::bed::{Answer, Bed};

#[tokio::test]
async fn an_accepted_submission_says_where_to_go_from_here() {
    let bed = Bed::with(&[("public_url", "https://films.example")]).await;
    let token = bed.user("ada");
    let request = bed.request(Method::POST, "/v1/generations", &token).header("x-correlation-id", "order-7");
    let body = json!({"prompt": "a lake", "params": {"seconds": 2}, "priority": "batch", "metadata": {"order": 7}});
    let answer = Answer::of(request.body(body.to_string()).send().await.unwrap()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("x-correlation-id"), "order-7");
    let accepted = answer.json();
    let generation = &accepted["generation"];
    let id = generation["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("https://films.example/v1/generations/{id}"));
    assert_eq!(accepted["urls"]["live"], "wss://films.example/v1/live");
    assert_eq!(generation["state"], "queued");
    assert_eq!(generation["input"], json!({"prompt": "a lake", "seconds": 2}));
    assert_eq!(generation["priority"], "batch");
    assert_eq!(generation["status"]["causalId"], "order-7");
    assert_eq!(generation["status"]["userId"], "ada");
    let live = accepted["liveToken"].as_str().unwrap();
    assert_eq!(bed.get(&format!("/v1/generations/{id}"), live).await.status, 200);
    assert_eq!(bed.send(Method::POST, &format!("/v1/generations/{id}/cancel"), live).await.refusal().0, 403);
    assert_eq!(bed.post("/v1/generations", live, r#"{"prompt":"x"}"#).await.refusal(), (403, "forbidden".into()));
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_named() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let long = json!({"prompt": "x".repeat(4_001)}).to_string();
    let huge = json!({"prompt": "x".repeat(140_000)}).to_string();
    for (body, status, code, word) in [
        ("", 400, "invalid_request", "EOF"),
        ("not json", 400, "invalid_request", "line 1 column 2"),
        ("{\"prompt\":\n\"a\",}", 400, "invalid_request", "line 2"),
        ("[]", 400, "invalid_request", "expected a map"),
        ("\"text\"", 400, "invalid_request", "expected a map"),
        ("{\"prompt\":\"\u{0}\"}", 400, "invalid_request", "control character"),
        (r#"{"promt":"a"}"#, 400, "invalid_request", "`promt`"),
        (r#"{"prompt":5}"#, 400, "invalid_request", "`prompt`"),
        (r#"{"prompt":"a","params":[]}"#, 400, "invalid_request", "`params`"),
        (r#"{"prompt":"a","priority":"high"}"#, 400, "invalid_request", "`priority`"),
        (r#"{"prompt":"a","pipeline":"no/such"}"#, 400, "invalid_request", "`pipeline`"),
        (r#"{"prompt":"a","webhook":"https://x"}"#, 400, "unsupported", "`webhook`"),
        (r#"{"prompt":"a","pipeline":"nope"}"#, 422, "unknown_pipeline", "nope"),
        ("{}", 422, "invalid_input", "prompt"),
        (r#"{"prompt":"  "}"#, 422, "invalid_input", "prompt"),
        (&long, 422, "invalid_input", "prompt"),
        (r#"{"prompt":"a","params":{"width":100000}}"#, 422, "invalid_input", "width"),
        (r#"{"prompt":"a","params":{"seconds":1e300}}"#, 422, "invalid_input", "seconds"),
        (r#"{"prompt":"a","params":{"seconds":-1}}"#, 422, "invalid_input", "seconds"),
        (&huge, 413, "too_large", "131072"),
    ] {
        let answer = bed.post("/v1/generations", &token, body.to_owned()).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{:.80}: {}", body, answer.text());
        assert!(answer.text().contains(word), "{:.80}: {}", body, answer.text());
        assert_ne!(answer.json()["error"]["hint"], json!(null), "{:.80}", body);
    }
    assert_eq!(bed.get("/v1/generations", &token).await.json()["generations"], json!([]), "nothing was made");
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_with_what_to_do() {
    let bed = Bed::start().await;
    let worker = bed.token("w", "default", Role::Worker);
    for (token, status, word) in [("", 401, "no token"), ("nonsense", 401, "malformed"), (worker.as_str(), 403, "role")]
    {
        let answer = bed.post("/v1/generations", token, r#"{"prompt":"a"}"#).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(word), "{}", answer.text());
        assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
    }
    let basic = bed.request(Method::GET, "/v1/generations", "").header("authorization", "Basic YTpi");
    assert_eq!(Answer::of(basic.send().await.unwrap()).await.refusal(), (401, "unauthorized".into()));
}

#[tokio::test]
async fn the_same_key_and_body_answer_the_same_generation() {
    let bed = Bed::start().await;
    let submit = async |user: &str, key: &str, prompt: &str| {
        let request = bed.request(Method::POST, "/v1/generations", &bed.user(user)).header("idempotency-key", key);
        Answer::of(request.body(json!({"prompt": prompt}).to_string()).send().await.unwrap()).await
    };
    let first = submit("ada", "k1", "a lake").await;
    let again = submit("ada", "k1", "a lake").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json()["generation"]["id"], again.json()["generation"]["id"]);
    let id = |answer: &Answer| answer.json()["generation"]["id"].clone();
    assert_ne!(id(&submit("ada", "k2", "a lake").await), id(&first));
    assert_ne!(id(&submit("bob", "k1", "a lake").await), id(&first), "keys are each owner's own");
    assert_eq!(submit("ada", "k1", "a hill").await.refusal(), (409, "idempotency_conflict".into()));
    assert_eq!(submit("ada", &"k".repeat(256), "a").await.refusal(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn only_services_submit_for_others_and_only_in_their_tenant() {
    let bed = Bed::start().await;
    let body = |tenant: &str| json!({"prompt": "a", "owner": "ada", "tenant": tenant}).to_string();
    let service = bed.token("backend", "acme", Role::Service);
    let answer = bed.post("/v1/generations", &service, body("acme")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["generation"]["id"].as_str().unwrap().to_owned();
    let ada = bed.token("ada", "acme", Role::User);
    assert_eq!(bed.get(&format!("/v1/generations/{id}"), &ada).await.status, 200);
    assert_eq!(bed.post("/v1/generations", &service, body("other")).await.refusal(), (403, "forbidden".into()));
    for role in [Role::User, Role::Admin, Role::Operator] {
        let token = bed.token("eve", "acme", role);
        let answer = bed.post("/v1/generations", &token, body("acme")).await;
        assert_eq!(answer.refusal(), (403, "forbidden".into()), "{role}");
        assert!(answer.text().contains("`owner`"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_owner_with_too_much_unfinished_work_waits() {
    let bed = Bed::with(&[("limits.unfinished_per_owner", "2")]).await;
    let token = bed.user("ada");
    let submit = async |key: &str| {
        let request = bed.request(Method::POST, "/v1/generations", &token).header("idempotency-key", key);
        Answer::of(request.body(r#"{"prompt":"a"}"#).send().await.unwrap()).await
    };
    let first = submit("k1").await;
    bed.submit(&token).await;
    let answer = submit("k2").await;
    assert_eq!(answer.refusal(), (429, "queue_full".into()));
    let again = submit("k1").await;
    assert_eq!(again.status, 201, "a repeat takes no place: {}", again.text());
    assert_eq!(again.json()["generation"]["id"], first.json()["generation"]["id"]);
    assert_ne!(answer.header("retry-after"), "");
    bed.submit(&bed.user("bob")).await;
}

#[tokio::test]
async fn errors_have_one_shape_wherever_they_come_from() {
    let bed = Bed::start().await;
    let nowhere = bed.get("/v1/nowhere", "").await;
    assert_eq!(nowhere.refusal(), (404, "not_found".into()));
    let method = bed.send(Method::DELETE, "/v1/tokens", "").await;
    assert_eq!(method.refusal(), (405, "method_not_allowed".into()));
    assert_eq!(method.header("allow"), "POST");
    for answer in [&nowhere, &method] {
        assert_eq!(answer.header("x-correlation-id").len(), 26, "{:?}", answer.headers);
    }
    let page = bed.request(Method::GET, "/v1/nowhere", "").header("origin", "https://app.example");
    let page = Answer::of(page.send().await.unwrap()).await;
    assert_eq!(page.header("access-control-allow-origin"), "*", "a page can read the error");
}

#[tokio::test]
async fn a_generation_fails_at_its_own_deadline_and_a_retry_has_none() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let deadline = rushes_server::now().0 + 1_000;
    let body = json!({"prompt": "a lake", "deadline": deadline}).to_string();
    let accepted = bed.post("/v1/generations", &ada, body).await.json();
    assert_eq!(accepted["generation"]["deadline"], deadline, "{accepted}");
    let id = accepted["generation"]["id"].as_str().unwrap();
    // A long-poll ends with the next event.
    let path = format!("/v1/generations/{id}/events?after=1");
    let waiting = bed.request(Method::GET, &path, &ada).header("prefer", "wait=20");
    let events = Answer::of(waiting.send().await.unwrap()).await.json();
    let last = &events["events"][0];
    assert_eq!((&last["type"], &last["metadata"]["errorCode"]), (&json!("failed"), &json!("DEADLINE_EXCEEDED")));
    assert!(last["timestamp"].as_u64().unwrap() >= deadline);
    let again = bed.post(&format!("/v1/generations/{id}/retry"), &ada, "").await.json();
    assert!(again["generation"].get("deadline").is_none(), "{again}");
}
