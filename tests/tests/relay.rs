//! Pipelines that are not strict: what `relay` shows between two edges never claims to be durable, and what `relaxed` shows is
//! there again after a kill.

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{
    PATIENCE, Puppet, Reply, Server, Socket,
    program::token,
    watch::{self, sequences},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

async fn watching(server: &Server, id: &str) -> Result<Socket> {
    let mut socket = Socket::live(&server.url, "ada").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": "start"})).await?;
    socket.until("subscribed").await?;
    Ok(socket)
}

/// Everything in the log.
async fn log(server: &Server, id: &str) -> Result<Vec<Value>> {
    let (status, page) =
        server.request("GET", &format!("/v1/generations/{id}/events?after=start"), "ada", None).await?;
    ensure!(status == 200, "{page}");
    Ok(page["events"].as_array().context("events")?.clone())
}

/// A page that waits for the event behind the one numbered `sequence`.
fn poll(server: &Server, id: &str, sequence: usize) -> Result<JoinSet<reqwest::Result<reqwest::Response>>> {
    let path = format!("/v1/generations/{id}/events?after={sequence}");
    let request = server.http("GET", &path)?.bearer_auth(token("ada", Role::User)).header("prefer", "wait=25");
    let mut polling = JoinSet::new();
    polling.spawn(request.send());
    Ok(polling)
}

async fn progress(worker: &mut Puppet, lease: &str, percent: u32) -> Result<()> {
    let stage = "prompt_analysis";
    worker
        .socket
        .say(&json!({"type": "progress", "lease": lease, "stage": stage, "progress": percent, "message": "thinking"}))
        .await
}

/// The next update that is ephemeral, or is not.
async fn update(socket: &mut Socket, ephemeral: bool) -> Result<Value> {
    loop {
        let update = socket.until("status_update").await?;
        if (update["data"]["ephemeral"] == true) == ephemeral {
            return Ok(update);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relayed_progress_is_shown_everywhere_and_claims_nothing() -> Result<()> {
    let mut server = Server::start_with(&[("RUSHES_DURABILITY", "relay")])?;
    server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    let id = lease.generation.clone();
    let mut socket = watching(&server, &id).await?;
    let events = format!("/v1/generations/{id}/events");
    let request = server.http("GET", &events)?.bearer_auth(token("ada", Role::User));
    let mut stream = request.header("accept", "text/event-stream").send().await?;
    let before = log(&server, &id).await?;
    let mut polling = poll(&server, &id, before.len())?;

    let mut last = (0, 0);
    for percent in [20, 40, 60] {
        progress(&mut worker, &lease.id, percent).await?;
        let hint = update(&mut socket, true).await?;
        assert!(hint.get("position").is_none(), "a hint has no place to resume from: {hint}");
        let data = &hint["data"];
        let at = (data["sequence"].as_u64().context("a sequence")?, data["tick"].as_u64().context("a tick")?);
        assert_eq!(Some(at.0), before.last().and_then(|event| event["sequence"].as_u64()), "{data}");
        assert!(at > last, "{at:?} after {last:?}");
        last = at;
    }
    // As a stream: unnamed, without an id.
    let mut seen = String::new();
    while !seen.contains("\"ephemeral\":true") || !seen.ends_with("\n\n") {
        let chunk = timeout(PATIENCE, stream.chunk()).await??.context("the stream goes on")?;
        seen.push_str(std::str::from_utf8(&chunk)?);
    }
    let block = seen.split("\n\n").find(|block| block.contains("\"ephemeral\":true")).context("a hint")?;
    assert!(block.starts_with("data: "), "{block}");
    // Who comes later sees the latest, and so does who only asks for the status.
    let mut late = watching(&server, &id).await?;
    assert_eq!(update(&mut late, true).await?["data"]["tick"], json!(last.1));
    let (_, status) = server.request("GET", &format!("/api/generations/{id}/status"), "ada", None).await?;
    assert_eq!((&status["ephemeral"], &status["tick"]), (&json!(true), &json!(last.1)), "{status}");
    // None of it is in the log.
    assert_eq!(log(&server, &id).await?, before);

    // Nor in a page: a long-poll waits for the next event, whatever is relayed meanwhile.
    assert!(polling.try_join_next().is_none(), "a hint has no position to go on from");
    // An edge is an event like any other.
    let edge = json!({"type": "event", "event": "stage_completed", "stage": "prompt_analysis", "lease": lease.id,
        "eventId": "edge", "outputs": {}});
    assert_eq!(worker.durable(&edge).await?["type"], "ack");
    let shown = update(&mut socket, false).await?;
    assert!(shown["position"].is_string() && shown["data"]["type"] != "stage_progress", "{shown}");
    let page = timeout(PATIENCE, polling.join_next()).await?.context("a page")???;
    let page: Value = serde_json::from_str(&page.text().await?)?;
    assert_eq!(page["events"].as_array().context("events")?.first(), Some(&shown["data"]), "{page}");
    worker.finish(&server, &lease).await?;
    let events = watch::until(&server, "ada", &id, watch::is_terminal).await?;
    assert_eq!(sequences(&events), (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["type"] != "stage_progress" && event["ephemeral"] != true), "{events:#?}");
    server.kill();
    server.start_again()?;
    assert_eq!(log(&server, &id).await?, events);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_events_are_numbered_and_outlive_a_kill() -> Result<()> {
    let mut server = Server::start_with(&[("RUSHES_DURABILITY", "relaxed")])?;
    server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    let mut socket = watching(&server, &lease.generation).await?;
    let mut position = Value::Null;
    for percent in [30, 60, 90] {
        progress(&mut worker, &lease.id, percent).await?;
        let shown = update(&mut socket, false).await?;
        assert!(shown["position"].is_string() && shown["data"].get("ephemeral").is_none(), "{shown}");
        position = shown["position"].clone();
    }
    let before = log(&server, &lease.generation).await?;
    server.kill();
    server.start_again()?;
    // The process was killed, not the machine: the system has written what it was given.
    let after = log(&server, &lease.generation).await?;
    assert_eq!(after[..before.len()], before);
    let path = format!("/v1/generations/{}/events?after={}", lease.generation, position.as_str().context("text")?);
    let page = Reply::of(server.http("GET", &path)?.bearer_auth(token("ada", Role::User))).await?.json()?;
    assert!(page.get("recovery").is_none(), "{page}");
    Ok(())
}
