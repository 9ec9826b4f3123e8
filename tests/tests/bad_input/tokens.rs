//! Who asks: tokens that are missing, wrong, expired or meant for another door.

use access::Role;
use anyhow::Result;
use protocol::Timestamp;
use rushes_tests::{
    Reply, Server, Socket,
    program::{FAR, SECRET, signed, token, token_of},
};
use serde_json::{Value, json};

use super::{ask, goes_on};

/// What is wrong, the token, and what the refusal names.
fn bad_tokens() -> Vec<(String, &'static str)> {
    let exp = FAR.0 / 1_000;
    let unsigned = "eyJhbGciOiJub25lIn0.eyJ1c2VySWQiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDB9.";
    vec![
        ("garbage".to_owned(), "malformed"),
        ("a.b.c".to_owned(), "malformed"),
        (unsigned.to_owned(), "algorithm"),
        (token_of("the secret of another deployment, as long", "ada", Role::User, FAR), "signature"),
        (token_of(SECRET, "ada", Role::User, Timestamp(1_000)), "expired"),
        (signed(&json!({"userId": "ada"})), "exp"),
        (signed(&json!({"sub": "ada", "exp": exp})), "userId"),
        (signed(&json!({"userId": "ada", "exp": exp, "aud": "https://other.example"})), "audience"),
        (signed(&json!({"userId": "ada", "exp": exp, "tenantId": 7})), "tenantId"),
    ]
}

/// Every HTTP door, with a generation and a file that are there.
async fn doors(server: &Server) -> Result<Vec<(&'static str, String)>> {
    let id = server.submit("ada").await?;
    let of = |rest: &str| format!("/v1/generations/{id}{rest}");
    Ok(vec![
        ("POST", "/v1/generations".to_owned()),
        ("GET", "/v1/generations".to_owned()),
        ("GET", of("")),
        ("PATCH", of("")),
        ("DELETE", of("")),
        ("POST", of("/cancel")),
        ("POST", of("/retry")),
        ("GET", of("/events")),
        ("POST", of("/events")),
        ("GET", of("/frames/latest")),
        ("GET", of("/artifacts/film.mp4")),
        ("PUT", of("/artifacts/film.mp4")),
        ("GET", format!("/v1/events?generation={id}")),
        ("GET", "/v1/events?mine".to_owned()),
        ("GET", format!("/api/generations/{id}/status")),
        ("POST", "/v1/uploads".to_owned()),
        ("GET", "/v1/uploads/upl_a".to_owned()),
        ("POST", "/v1/tokens".to_owned()),
        ("GET", "/v1/queue".to_owned()),
        ("GET", "/v1/workers".to_owned()),
        ("GET", "/v1/pipelines".to_owned()),
        ("GET", "/v1/worker".to_owned()),
    ])
}

#[tokio::test]
async fn without_a_token_every_door_stays_closed_and_says_how_it_opens() -> Result<()> {
    let server = Server::start()?;
    for (method, path) in doors(&server).await? {
        let answer = Reply::of(server.http(method, &path)?).await?;
        println!("{method} {path}");
        answer.assert_refused(401, "unauthorized", &["token", "Bearer"]);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_bad_token_is_refused_at_every_door_and_told_why() -> Result<()> {
    let server = Server::start()?;
    for (method, path) in doors(&server).await? {
        for (token, name) in bad_tokens() {
            let answer = Reply::of(server.http(method, &path)?.bearer_auth(&token)).await?;
            println!("{method} {path} {name}");
            answer.assert_refused(401, "unauthorized", &[name]);
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn an_authorization_that_is_no_bearer_token_is_refused() -> Result<()> {
    let server = Server::start()?;
    for value in ["Basic YWRhOnNlY3JldA==", "Bearer", "Bearer ", ""] {
        let request = server.http("GET", "/v1/generations")?.header("authorization", value);
        Reply::of(request).await?.assert_refused(401, "unauthorized", &["Bearer"]);
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_bad_token_on_a_socket_is_told_and_closed_with_4003() -> Result<()> {
    let server = Server::start()?;
    for path in ["/v1/live", "/ws"] {
        for (token, name) in bad_tokens() {
            let mut said = Socket::open(&server.url, path, None).await?;
            said.say(&json!({"type": "authenticate", "token": token})).await?;
            let mut carried = Socket::open(&server.url, &format!("{path}?token={token}"), None).await?;
            let mut headed = Socket::open(&server.url, path, Some(&token)).await?;
            for socket in [&mut said, &mut carried, &mut headed] {
                let error = socket.message().await?;
                assert_eq!(error["error"], "Invalid or expired token", "{name}");
                assert_eq!(socket.closed().await?, (4003, "Authentication failed".to_owned()), "{name}");
            }
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn only_a_worker_enters_by_the_workers_door() -> Result<()> {
    let server = Server::start()?;
    for role in [Role::User, Role::Service, Role::Operator, Role::Admin] {
        let answer = Reply::of(server.http("GET", "/v1/worker")?.bearer_auth(token("ada", role))).await?;
        answer.assert_refused(403, "forbidden", &["worker"]);
        assert!(Socket::open(&server.url, "/v1/worker", Some(&token("ada", role))).await.is_err());
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_worker_asks_for_no_films_and_lists_none() -> Result<()> {
    let server = Server::start()?;
    let id = server.submit("ada").await?;
    let worker = token("w1", Role::Worker);
    let submit = server.http("POST", "/v1/generations")?.json(&json!({"prompt": "a lake"}));
    Reply::of(submit.bearer_auth(&worker)).await?.assert_refused(403, "forbidden", &["token", "role"]);
    let list = server.http("GET", "/v1/generations")?.bearer_auth(&worker);
    Reply::of(list).await?.assert_refused(403, "forbidden", &["token", "role"]);
    let read = server.http("GET", &format!("/v1/generations/{id}"))?.bearer_auth(&worker);
    Reply::of(read).await?.assert_refused(404, "not_found", &["id"]);
    goes_on(&server).await
}

#[tokio::test]
async fn operators_pages_are_for_operators() -> Result<()> {
    let server = Server::start()?;
    for path in ["/v1/queue", "/v1/workers", "/v1/pipelines"] {
        for role in [Role::User, Role::Worker, Role::Service, Role::Admin] {
            let answer = Reply::of(server.http("GET", path)?.bearer_auth(token("ada", role))).await?;
            answer.assert_refused(403, "forbidden", &["token", "role"]);
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_live_token_watches_what_it_names_and_does_nothing_else() -> Result<()> {
    let server = Server::start()?;
    let film = json!({"prompt": "a lake"});
    let accepted = ask(&server, "POST", "/v1/generations", &film).await?.json()?;
    let (id, live) = (&accepted["generation"]["id"], accepted["liveToken"].as_str().unwrap_or_default());
    let path = format!("/v1/generations/{}", id.as_str().unwrap_or_default());
    let with = async |method: &str, path: &str, body: &Value| {
        Reply::of(server.http(method, path)?.bearer_auth(live).json(body)).await
    };
    assert_eq!(with("GET", &path, &json!({})).await?.status, 200);
    assert_eq!(with("GET", &format!("{path}/events"), &json!({})).await?.status, 200);
    let report = json!([{"eventId": "e1", "status": "encoding"}]);
    for (method, path, body) in [
        ("POST", "/v1/generations".to_owned(), &film),
        ("POST", format!("{path}/cancel"), &json!({})),
        ("POST", format!("{path}/retry"), &json!({})),
        ("PATCH", path.clone(), &json!({"priority": "batch"})),
        ("DELETE", path.clone(), &json!({})),
        ("POST", format!("{path}/events"), &report),
        ("PUT", format!("{path}/artifacts/film.mp4"), &json!({})),
        ("POST", "/v1/tokens".to_owned(), &json!({"generations": [id]})),
        ("POST", "/v1/uploads".to_owned(), &json!({})),
        ("GET", "/v1/generations".to_owned(), &json!({})),
    ] {
        println!("{method} {path}");
        with(method, &path, body).await?.assert_refused(403, "forbidden", &["token"]);
    }
    with("GET", "/v1/worker", &json!({})).await?.assert_refused(401, "unauthorized", &["audience"]);
    let mut socket = Socket::open(&server.url, "/v1/live", Some(live)).await?;
    socket.until("authenticated").await?;
    for (message, code) in [
        (json!({"type": "generate", "requestId": "r", "prompt": "a lake"}), "forbidden"),
        (json!({"type": "cancel", "generationId": id}), "not_found"),
        (json!({"type": "prioritize", "generationId": id, "priority": "batch"}), "not_found"),
        (json!({"type": "subscribe", "mine": true}), "not_found"),
    ] {
        socket.say(&message).await?;
        let error = socket.message().await?;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{message}: {error}");
    }
    socket.say(&json!({"type": "subscribe", "generationId": id})).await?;
    assert_eq!(socket.message().await?["data"]["state"], "queued", "and nothing changed");
    goes_on(&server).await
}
