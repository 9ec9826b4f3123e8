//! A live socket against the real orchestrator: everything a client can say on it.

use access::Role;
use protocol::{TenantId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    bed::{Answer, Bed},
    peer::{Heard, Peer},
};

impl Bed {
    /// A new event of a waiting generation.
    async fn move_it(&self, id: &str, token: &str, priority: &str) {
        let request = self.request(Method::PATCH, &format!("/v1/generations/{id}"), token);
        let body = json!({"priority": priority}).to_string();
        let answer = Answer::of(request.body(body).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn subscribe(id: &str) -> Value {
    json!({"type": "subscribe", "generationId": id})
}

#[tokio::test]
async fn a_socket_generates_prioritizes_and_cancels_what_it_watches() {
    let bed = Bed::start().await;
    let mut ada = Peer::live(&bed, &bed.user("ada")).await;
    ada.say(&json!({"type": "subscribe", "mine": true})).await;
    assert_eq!(ada.next_of("subscribed").await["mine"], true);
    let generate = json!({"type": "generate", "requestId": "r1", "prompt": "a lake", "params": {"seconds": 1}});
    ada.say(&generate).await;
    let (mut id, mut shown) = (None, None);
    while id.is_none() || shown.is_none() {
        let Heard::Json(said) = ada.next().await else { panic!("no message") };
        match said["type"].as_str().unwrap() {
            "accepted" => {
                assert_eq!(said["requestId"], "r1");
                id = Some(said["generation"]["generationId"].as_str().unwrap().to_owned());
            }
            "status_update" => shown = Some(said["generationId"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(id, shown, "what was made is among one's own");
    let id = id.unwrap();
    // An answer that got lost: the same request comes to the same generation.
    ada.say(&generate).await;
    assert_eq!(ada.hear("accepted").await["generation"]["generationId"], id.as_str());

    ada.say(&json!({"type": "prioritize", "generationId": id, "priority": "interactive"})).await;
    assert_eq!(ada.event("priority_changed").await["sequence"], 2);
    let eve = bed.user("eve");
    let mut eve = Peer::live(&bed, &eve).await;
    for command in ["cancel", "credit", "subscribe"] {
        eve.say(&json!({"type": command, "generationId": id, "events": 1})).await;
        assert_eq!(eve.next_of("error").await["code"], "not_found", "{command}");
    }
    ada.say(&json!({"type": "cancel", "generationId": id})).await;
    assert_eq!(ada.event("cancel_requested").await["sequence"], 3);
    assert_eq!(ada.event("cancelled").await["sequence"], 4);
    assert_eq!(ada.hear("done").await["generationId"], id.as_str());
    let state = bed.get(&format!("/v1/generations/{id}"), &bed.user("ada")).await;
    assert_eq!(state.json()["state"], "cancelled");
}

#[tokio::test]
async fn a_generate_that_is_refused_names_its_request_and_the_socket_goes_on() {
    let bed = Bed::start().await;
    let mut ada = Peer::live(&bed, &bed.user("ada")).await;
    for (request, code) in [
        (json!({"prompt": ""}), "invalid_input"),
        (json!({"prompt": "x", "colour": "red"}), "invalid_request"),
        (json!({"prompt": "x", "webhook": "https://films.example"}), "unsupported"),
        (json!({"prompt": "x", "pipeline": "nobody_has_it"}), "unknown_pipeline"),
    ] {
        let mut message = json!({"type": "generate", "requestId": "r1"});
        message.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        ada.say(&message).await;
        let error = ada.next_of("error").await;
        assert_eq!((&error["code"], &error["requestId"]), (&json!(code), &json!("r1")), "{error}");
    }
    ada.has_nothing_to_say().await;
}

#[tokio::test]
async fn credit_holds_events_back_and_lets_them_go_in_order() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let id = bed.submit(&token).await;
    let mut ada = Peer::live(&bed, &token).await;
    ada.say(&subscribe(&id)).await;
    ada.hear("subscribed").await;
    ada.say(&json!({"type": "credit", "generationId": id, "events": 0})).await;
    for priority in ["batch", "interactive", "standard"] {
        bed.move_it(&id, &token, priority).await;
    }
    ada.has_nothing_to_say().await;
    ada.say(&json!({"type": "credit", "generationId": id, "events": 2})).await;
    assert_eq!(ada.event("priority_changed").await["sequence"], 2);
    assert_eq!(ada.event("priority_changed").await["sequence"], 3);
    ada.has_nothing_to_say().await;
    // The end comes whatever the credit is.
    ada.say(&json!({"type": "credit", "generationId": id, "events": 9})).await;
    assert_eq!(ada.event("priority_changed").await["sequence"], 4);
}

#[tokio::test]
async fn a_token_is_renewed_without_a_gap_and_another_user_starts_with_nothing() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let id = bed.submit(&token).await;
    let mut socket = Peer::live(&bed, &token).await;
    socket.say(&subscribe(&id)).await;
    socket.hear("subscribed").await;
    let renewed = bed.server.doors().mint(
        &"ada".parse().unwrap(),
        &TenantId::fallback(),
        Role::User,
        Timestamp(rushes_server::now().0 + 1_200_000),
    );
    let first = socket.authenticate(&renewed).await;
    assert!(first["expiresAt"].as_u64().unwrap() > rushes_server::now().0 + 900_000);
    bed.move_it(&id, &token, "batch").await;
    assert_eq!(socket.event("priority_changed").await["sequence"], 2);

    assert_eq!(socket.authenticate(&bed.user("eve")).await["userId"], "eve");
    bed.move_it(&id, &token, "interactive").await;
    socket.has_nothing_to_say().await;
    socket.say(&subscribe(&id)).await;
    assert_eq!(socket.next_of("error").await["code"], "not_found");

    socket.say(&json!({"type": "authenticate", "token": "nonsense"})).await;
    assert_eq!(socket.next_of("error").await["code"], "unauthorized");
    assert_eq!(socket.next().await, Heard::Closed(4003));
}

#[tokio::test]
async fn what_is_unsubscribed_says_nothing_more() {
    let bed = Bed::start().await;
    let token = bed.user("ada");
    let (one, other) = (bed.submit(&token).await, bed.submit(&token).await);
    let mut ada = Peer::live(&bed, &token).await;
    for id in [&one, &other] {
        ada.say(&subscribe(id)).await;
        ada.hear("subscribed").await;
    }
    ada.say(&json!({"type": "unsubscribe", "generationId": one})).await;
    assert_eq!(ada.next_of("unsubscribed").await["generationId"], one.as_str());
    bed.move_it(&one, &token, "batch").await;
    bed.move_it(&other, &token, "batch").await;
    assert_eq!(ada.next_of("status_update").await["generationId"], other.as_str());
    ada.has_nothing_to_say().await;
    // Seen again from where it was left.
    ada.say(&json!({"type": "subscribe", "generationId": one, "after": "1"})).await;
    assert_eq!(ada.next_of("status_update").await["data"]["sequence"], 2);
    assert_eq!(ada.next_of("subscribed").await["recovery"], "resumed");
}

/// Clients of the first dialect cannot renew a token without a gap, so the socket lives 30 seconds longer than it.
#[tokio::test]
async fn a_socket_whose_token_expired_is_closed_after_its_grace() {
    let bed = Bed::start().await;
    let soon = Timestamp(rushes_server::now().0 + 2_000);
    let token = bed.server.doors().mint(&"ada".parse().unwrap(), &TenantId::fallback(), Role::User, soon);
    let mut ada = Peer::open(&bed, "/v1/live", "").await;
    let expires_at = ada.authenticate(&token).await["expiresAt"].as_u64().unwrap();
    let error = ada.hear("error").await;
    assert_eq!((&error["code"], &error["error"]), (&json!("unauthorized"), &json!("Invalid or expired token")));
    assert_eq!(ada.next().await, Heard::Closed(4003));
    assert!(rushes_server::now().0 >= expires_at + 30_000, "closed before the grace was over");
}
