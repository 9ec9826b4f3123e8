//! Who is let in, and what the others hear.

use access::{
    Role,
    origin::{OriginPolicy, Origins},
};
use futures_util::SinkExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

use crate::bed::{Bed, USER, hear, http, next, say};

#[tokio::test]
async fn unknown_and_foreign_ids_are_the_same_404_by_every_door() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let stranger = bed.token("stranger", Role::User);
    for path in [
        "/v1/generations/{}/events",
        "/v1/generations/{}/frames/latest",
        "/api/generations/{}/status",
        "/v1/events?generation={}",
    ] {
        let mut bodies = Vec::new();
        for id in [generation.as_str(), "gen_unknown", "no%2Fid"] {
            let url = format!("http://{}{}", bed.address, path.replace("{}", id));
            let response = http().get(&url).bearer_auth(&stranger).send().await.unwrap();
            assert_eq!(response.status(), 404, "{url}");
            bodies.push(response.json::<Value>().await.unwrap());
        }
        assert_eq!(bodies[0]["error"]["code"], "not_found");
        assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{path}: {bodies:?}");
    }
}

#[tokio::test]
async fn without_a_good_token_it_is_401() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let url = format!("http://{}/v1/generations/{generation}/events", bed.address);
    for request in [http().get(&url), http().get(&url).bearer_auth("nonsense")] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "unauthorized");
    }
    let token = bed.token(USER, Role::User);
    assert_eq!(http().get(format!("{url}?token={token}")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_with_the_upgrade_authenticates_and_a_bad_one_closes_with_4003() {
    let bed = Bed::start().await;
    let mut socket = bed.connect(&format!("/ws?token={}", bed.token(USER, Role::User))).await;
    let said = hear(&mut socket).await;
    assert_eq!((&said["type"], &said["userId"]), (&"authenticated".into(), &USER.into()));

    let mut socket = bed.connect("/?token=nonsense").await;
    assert_eq!(hear(&mut socket).await["error"], "Invalid or expired token");
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4003, "Authentication failed"));
}

#[tokio::test]
async fn a_foreign_page_is_refused_on_sockets_and_routes() {
    let origins = Origins::parse(&["https://app.example"]).unwrap();
    let bed = Bed::with_origins(OriginPolicy::Allow(origins)).await;
    let mut request = format!("ws://{}/ws", bed.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let Err(Error::Http(refused)) = tokio_tungstenite::connect_async(request).await else { panic!("let in") };
    assert_eq!(refused.status(), 403);

    let evil = bed.get("/health").header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(evil.status(), 403);
    let good = bed.get("/health").header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(good.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(good.headers()["vary"], "origin");
}

#[tokio::test]
async fn a_preflight_names_what_is_allowed() {
    let bed = Bed::start().await;
    let request = http()
        .request(reqwest::Method::OPTIONS, format!("http://{}/v1/events", bed.address))
        .header("origin", "https://anywhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "last-event-id");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
    assert_eq!(
        allowed,
        "authorization, content-type, idempotency-key, if-none-match, if-range, last-event-id, prefer, range, \
         traceparent, tracestate, x-correlation-id"
    );
}

/// Whoever has a picture asks for the next by `If-None-Match`, and goes on with a broken download by `If-Range`.
#[tokio::test]
async fn a_page_elsewhere_may_send_every_header_that_a_client_of_ours_sends() {
    let bed = Bed::start().await;
    let asked = ["authorization", "content-type", "idempotency-key", "if-none-match", "if-range", "range"];
    let request = http()
        .request(reqwest::Method::OPTIONS, format!("http://{}/v1/generations/gen_a/frames/latest", bed.address))
        .header("origin", "https://anywhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", asked.join(","));
    let response = request.send().await.unwrap();
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
    let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
    for name in asked {
        assert!(allowed.contains(&name), "a browser would not send {name}: {allowed:?}");
    }
}

#[tokio::test]
async fn a_drain_tells_watchers_when_to_come_back_and_ends_every_task() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let mut socket = bed.live().await;
    let stream = bed.get(&format!("/v1/generations/{generation}/events")).header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    bed.stop.cancel();
    assert_eq!(hear(&mut socket).await["type"], "reconnect");
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1001);
    drop(socket);
    assert!(stream.text().await.unwrap().contains("retry: "));
    bed.tracker.close();
    tokio::time::timeout(crate::bed::PATIENCE, bed.tracker.wait()).await.expect("every task ends");
}

#[tokio::test]
async fn a_message_over_the_limit_is_answered_with_1009_before_the_socket_goes() {
    let bed = Bed::start().await;
    let mut socket = bed.live().await;
    let long = "x".repeat(1_000_000);
    // The server may stop reading half-way; what it has to say still arrives.
    let _ = socket.send(Message::text(long)).await;
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1009);
}

#[tokio::test]
async fn a_plain_request_to_a_socket_path_is_told_what_it_speaks() {
    let bed = Bed::start().await;
    let response = bed.get("/v1/live").send().await.unwrap();
    assert_eq!(response.status(), 400);
    let mut socket = bed.live().await;
    say(&mut socket, r#"{"type":"ping"}"#).await;
    assert_eq!(hear(&mut socket).await["type"], "pong");
}
