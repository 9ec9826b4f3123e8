//! A worker whose token's time ends while it is connected: it hears of it, hands its run back, and goes.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use rushes_tests::{
    Heard, PATIENCE, Puppet, Server,
    program::{brief_token, program},
};
use serde_json::json;

/// Long enough for a worker to connect and take a run; the rest of it is waited for.
const LIFE: Duration = Duration::from_secs(4);
/// Between two looks at a generation.
const LOOK: Duration = Duration::from_millis(20);

/// Waits out the grace a socket has after its token: half a minute, beside the other tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_hears_that_its_token_expired_is_offered_nothing_and_has_a_grace_to_hand_back() -> Result<()> {
    let server = Server::start()?;
    let mut old = Puppet::connect_with(&server, "w1", brief_token("w1", LIFE)?).await?;
    let held = server.submit("ada").await?;
    let lease = old.take().await?;
    let told = tokio::time::timeout(PATIENCE, old.socket.until("error")).await.context("it hears nothing of it")??;
    assert_eq!(told["code"], "unauthorized", "{told}");

    let back = json!({"type": "hand_back", "lease": lease.id, "eventId": "h1"});
    assert_eq!(old.durable(&back).await?["type"], "ack");
    let waiting = server.submit("ada").await?;
    // It has a free slot and is there, and nobody else is.
    old.socket.say(&json!({"type": "heartbeat", "tokens": 10})).await?;
    let end = loop {
        match old.socket.hear().await? {
            Heard::Message(message) => assert_ne!(message["type"], "offer", "{message}"),
            Heard::Frame(_) => {}
            Heard::Closed(code, reason) => break (code, reason),
        }
    };
    assert_eq!(end, (4003, "Token expired".to_owned()));

    let mut left = vec![held, waiting];
    for name in ["w2", "w3"] {
        let mut new = Puppet::connect(&server, name).await?;
        let offer = new.socket.until("offer").await?;
        assert_eq!(offer["attempt"], 1, "{offer}");
        left.retain(|generation| offer["generation"] != *generation);
        new.socket.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
        new.socket.until("granted").await?;
    }
    assert!(left.is_empty(), "nobody got {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_worker_ends_with_the_reason_when_its_token_expires_and_its_run_loses_no_try() -> Result<()> {
    let server = Server::start()?;
    // Longer than the token.
    let film = json!({"prompt": "a long road", "params": {"width": 1280, "height": 720, "fps": 24, "seconds": 20}});
    let id = server.submit_this("ada", &film).await?;
    let worker = tokio::process::Command::new(program())
        .args(["worker", "--server", &server.url, "--name", "renderer"])
        .env("RUSHES_TOKEN", brief_token("worker", LIFE)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let runs = async {
        while server.request("GET", &format!("/v1/generations/{id}"), "ada", None).await?.1["state"] != "running" {
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, runs).await.context("nobody runs it")??;

    let ended = tokio::time::timeout(PATIENCE, worker.wait_with_output()).await.context("it works on")??;
    let said = String::from_utf8_lossy(&ended.stderr);
    // 4: refused.
    assert_eq!(ended.status.code(), Some(4), "{said}");
    assert!(said.contains("the server refused the token: Token expired"), "{said}");
    let mut next = Puppet::connect(&server, "w2").await?;
    let offer = next.socket.until("offer").await?;
    assert_eq!((&offer["generation"], &offer["attempt"]), (&json!(id), &json!(1)), "{offer}");
    Ok(())
}
