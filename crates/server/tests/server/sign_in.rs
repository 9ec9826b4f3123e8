//! The demo's sign-in: two people, this machine alone, and nowhere else.

use std::sync::Arc;

use reqwest::Method;
use rushes_server::Mode;
use serde_json::json;

use crate::bed::{Answer, Bed};

const PATH: &str = "/v1/demo/sign-in";

async fn demo() -> Bed {
    Bed::in_folder(Arc::new(tempfile::tempdir().unwrap()), Mode::Demo, &[]).await
}

async fn sign_in(bed: &Bed, user: &str) -> Answer {
    bed.post(PATH, "", json!({ "user": user }).to_string()).await
}

#[tokio::test]
async fn two_people_sign_in_and_each_sees_only_her_own() {
    let bed = demo().await;
    let (ada, grace) = (sign_in(&bed, "ada").await, sign_in(&bed, "grace").await);
    assert_eq!((ada.status, grace.status), (201, 201), "{} {}", ada.text(), grace.text());
    assert_eq!(ada.json()["user"], "ada");
    let left = ada.json()["expiresAt"].as_u64().unwrap() - rushes_server::now().0;
    assert!((3_500_000..=3_600_000).contains(&left), "{left} ms");
    let token = |answer: &Answer| answer.json()["token"].as_str().unwrap().to_owned();
    let id = bed.submit(&token(&ada)).await;
    let path = format!("/v1/generations/{id}");
    assert_eq!(bed.get(&path, &token(&ada)).await.json()["status"]["userId"], "ada");
    assert_eq!(bed.get(&path, &token(&grace)).await.refusal(), (404, "not_found".to_owned()));
    assert_eq!(bed.get("/v1/queue", &token(&ada)).await.status, 403, "a user is no operator");
}

#[tokio::test]
async fn nobody_else_signs_in() {
    let bed = demo().await;
    for body in [
        "",
        "ada",
        "{}",
        r#"{"user":"eve"}"#,
        r#"{"user":"Ada"}"#,
        r#"{"user":null}"#,
        r#"{"user":["ada"]}"#,
        r#"{"user":"ada","role":"admin"}"#,
    ] {
        let answer = bed.post(PATH, "", body).await;
        assert_eq!(answer.refusal(), (400, "invalid_request".to_owned()), "{body}");
    }
    let unknown = sign_in(&bed, "eve").await.json()["error"]["message"].to_string();
    assert!(unknown.contains("eve") && unknown.contains("ada") && unknown.contains("grace"), "{unknown}");
    assert_eq!(bed.get(PATH, "").await.status, 405);
}

#[tokio::test]
async fn a_foreign_page_and_a_rebound_name_are_refused() {
    let bed = demo().await;
    let address = bed.server.address();
    let body = r#"{"user":"ada"}"#;
    for (name, value) in [
        ("origin", "https://evil.example".to_owned()),
        ("origin", "null".to_owned()),
        ("origin", format!("http://localhost:{}", address.port())),
        ("host", format!("evil.example:{}", address.port())),
        ("host", "rebound.example".to_owned()),
    ] {
        let request = bed.request(Method::POST, PATH, "").header(name, &value).body(body);
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.refusal(), (403, "origin_refused".to_owned()), "{name}: {value}");
        assert!(!answer.text().contains("token"), "{}", answer.text());
    }
    let own = bed.request(Method::POST, PATH, "").header("origin", format!("http://{address}")).body(body);
    assert_eq!(own.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_server_for_others_signs_nobody_in() {
    let bed = Bed::start().await;
    for body in [r#"{"user":"ada"}"#, "nonsense"] {
        assert_eq!(bed.post(PATH, "", body).await.refusal(), (404, "not_found".to_owned()));
    }
}
