//! Restarts and restores: what watchers and workers see when a server goes away and comes back.

use std::{fs, net::TcpListener};

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{
    Heard, Reply, Server, Socket, Worker,
    program::{run, token},
    watch,
};
use serde_json::{Value, json};

/// A generation whose events the test makes.
async fn external(server: &Server) -> Result<String> {
    server.submit_this("ada", &json!({"pipeline": "external"})).await
}

/// Its producer reports progress.
async fn report(server: &Server, id: &str, progress: u32) -> Result<()> {
    let event = json!([{"eventId": format!("p{progress}"), "status": "generating_frames", "progress": progress}]);
    let (status, answer) = server.request("POST", &format!("/v1/generations/{id}/events"), "ada", Some(&event)).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

async fn page(server: &Server, id: &str, after: &str) -> Result<Value> {
    let path = format!("/v1/generations/{id}/events?after={after}");
    let (status, page) = server.request("GET", &path, "ada", None).await?;
    ensure!(status == 200, "{status} {page}");
    Ok(page)
}

/// A socket that watches from a position on, and what came up to `subscribed`.
async fn watch_after(server: &Server, id: &str, after: &str) -> Result<(Socket, Vec<Value>)> {
    let mut socket = Socket::live(&server.url, "ada").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": after})).await?;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last: &Value| last["type"] != "subscribed") {
        heard.push(socket.message().await?);
    }
    Ok((socket, heard))
}

fn epoch(position: &Value) -> Result<String> {
    Ok(position.as_str().and_then(|text| text.split_once(':')).context("a position")?.0.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_every_watcher_and_none_loses_anything() -> Result<()> {
    let mut server = Server::start()?;
    let id = external(&server).await?;
    report(&server, &id, 10).await?;
    let (mut socket, seen) = watch_after(&server, &id, "start").await?;
    let position = seen.last().context("subscribed")?["position"].as_str().context("a position")?.to_owned();
    let events = format!("/v1/generations/{id}/events?after={position}");
    let stream = server.http("GET", &events)?.bearer_auth(token("ada", Role::User));
    let mut stream = stream.header("accept", "text/event-stream").send().await?;
    assert!(stream.chunk().await?.is_some(), "the stream has begun");
    let poll = server.http("GET", &events)?.bearer_auth(token("ada", Role::User)).header("prefer", "wait=25");
    let poll = Reply::of(poll);
    let mut poll = std::pin::pin!(poll);
    // The long-poll is under way when the server counts it.
    while server.metric("rushes_connections").await? < 3.0 {
        tokio::select! {
            early = &mut poll => anyhow::bail!("nothing to wait for: {}", early?.text()),
            () = tokio::task::yield_now() => {}
        }
    }

    let ended = server.terminate().await;
    assert_eq!(ended?.code(), Some(0), "a drain is no failure");
    let Heard::Message(told) = socket.hear().await? else { anyhow::bail!("closed without a word") };
    assert_eq!((&told["type"], &told["reason"]), (&json!("reconnect"), &json!("drain")), "{told}");
    assert!(told["afterMs"].as_u64().is_some_and(|after| after < 10_000), "{told}");
    assert_eq!(socket.closed().await?, (1001, "Server is restarting".to_owned()));
    let mut rest = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        rest.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(rest)?.contains("retry: "), "the stream says when to come back");
    let empty = poll.await?;
    assert_eq!((empty.status, &empty.json()?["events"]), (200, &json!([])), "{}", empty.text());
    assert_eq!(empty.json()?["position"], json!(position));

    server.start_again()?;
    report(&server, &id, 20).await?;
    let (mut socket, heard) = watch_after(&server, &id, &position).await?;
    assert_eq!(heard.last().context("subscribed")?["recovery"], "resumed", "{heard:#?}");
    assert_eq!(heard.iter().filter_map(|one| one["data"]["progress"].as_f64()).collect::<Vec<_>>(), [20.0]);
    report(&server, &id, 30).await?;
    assert_eq!(socket.until("status_update").await?["data"]["progress"], 30.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_hands_its_run_back_and_burns_no_attempt() -> Result<()> {
    let server = Server::start()?;
    let mut first = Worker::start(&server, "w1")?;
    // Long enough to be in the middle of when the worker is asked.
    let film = json!({"prompt": "a city at night", "params": {"width": 640, "height": 360, "fps": 24, "seconds": 4}});
    let id = server.submit_this("ada", &film).await?;
    watch::until(&server, "ada", &id, |event| event["metadata"]["currentFrame"].as_u64() >= Some(1)).await?;
    assert_eq!(first.terminate().await?.code(), Some(0));
    let events =
        watch::until(&server, "ada", &id, |event| event["state"] == "queued" && event["sequence"] != 1).await?;
    assert!(events.iter().any(|event| event["type"] == "handed_back"), "{events:#?}");
    assert!(events.iter().all(|event| event["type"] != "stage_failed"), "{events:#?}");
    Ok(())
}

#[tokio::test]
async fn every_kind_of_restart_keeps_the_epoch() -> Result<()> {
    let mut server = Server::start()?;
    let id = external(&server).await?;
    let before = page(&server, &id, "start").await?;
    server.terminate().await?;
    server.start_again()?;
    assert_eq!(page(&server, &id, "start").await?, before);
    for _ in 0..3 {
        server.kill();
        server.start_again()?;
        assert_eq!(page(&server, &id, "start").await?, before);
    }
    Ok(())
}

/// A server whose database was put back from an older copy.
struct Restored {
    server: Server,
    id: String,
    /// Of a watcher that saw what was lost.
    position: String,
    /// Of another one, that follows several.
    cursor: String,
}

async fn many(server: &Server, id: &str, after: &str) -> Result<Value> {
    let path = format!("/v1/events?generation={id}&after={after}");
    let (status, page) = server.request("GET", &path, "ada", None).await?;
    ensure!(status == 200, "{status} {page}");
    Ok(page)
}

async fn restored(forget: &[&str]) -> Result<Restored> {
    let mut server = Server::start()?;
    let id = external(&server).await?;
    report(&server, &id, 10).await?;
    assert_eq!(server.terminate().await?.code(), Some(0));
    let database = server.data().join("rushes.db");
    let copy = fs::read(&database)?;
    server.start_again()?;
    report(&server, &id, 20).await?;
    report(&server, &id, 30).await?;
    let position = page(&server, &id, "start").await?["position"].as_str().context("a position")?.to_owned();
    let cursor = many(&server, &id, "start").await?["cursor"].as_str().context("a cursor")?.to_owned();
    assert_eq!(server.terminate().await?.code(), Some(0));
    fs::write(&database, copy)?;
    for name in forget {
        fs::remove_file(server.data().join(name))?;
    }
    server.start_again()?;
    Ok(Restored { server, id, position, cursor })
}

#[tokio::test]
async fn an_older_copy_is_another_history_and_watchers_are_told() -> Result<()> {
    let Restored { server, id, position, cursor } = restored(&[]).await?;
    let fresh = page(&server, &id, "start").await?;
    assert_ne!(epoch(&fresh["position"])?, epoch(&json!(position))?, "the epoch is new");
    // As many events as were lost, so that the old sequence exists again and means something else.
    report(&server, &id, 15).await?;
    report(&server, &id, 16).await?;
    let (mut socket, heard) = watch_after(&server, &id, &position).await?;
    let [state, subscribed] = heard.as_slice() else { anyhow::bail!("not one state: {heard:#?}") };
    assert_eq!((&state["recovery"], &state["data"]["progress"]), (&json!("snapshot"), &json!(16.0)), "{state}");
    assert_eq!(subscribed["recovery"], "snapshot", "{subscribed}");
    report(&server, &id, 17).await?;
    assert_eq!(socket.until("status_update").await?["data"]["progress"], 17.0);

    let page = page(&server, &id, &position).await?;
    let events = page["events"].as_array().context("events")?;
    assert_eq!((&page["recovery"], events.len()), (&json!("snapshot"), 1), "{page}");
    assert_eq!(events[0]["progress"], 17.0, "{page}");
    // The cursor of several is ours still, and says so too; the one it is answered with is of this history.
    let several = many(&server, &id, &cursor).await?;
    let events = several["events"].as_array().context("events")?;
    assert_eq!((&several["snapshots"], events.len()), (&json!([id]), 1), "{several}");
    assert_eq!(events[0]["progress"], 17.0, "{several}");
    let next = many(&server, &id, several["cursor"].as_str().context("a cursor")?).await?;
    assert_eq!((&next["events"], &next["snapshots"]), (&json!([]), &Value::Null), "{next}");

    let end = json!([{"eventId": "end", "status": "complete"}]);
    server.request("POST", &format!("/v1/generations/{id}/events"), "ada", Some(&end)).await?;
    let (one, several) = (format!("/v1/generations/{id}/events"), format!("/v1/events?generation={id}"));
    for (path, place) in [(one, &position), (several, &cursor)] {
        let stream = server.http("GET", &path)?.bearer_auth(token("ada", Role::User));
        let stream = stream.header("accept", "text/event-stream").header("last-event-id", place);
        let stream = Reply::of(stream).await?.text();
        let recovery = stream.find("event: recovery").with_context(|| stream.clone())?;
        assert!(recovery < stream.find("id: ").context("a status")? && stream.contains("event: done"), "{stream}");
        assert_eq!(stream.matches("id: ").count(), 1, "{stream}");
    }
    Ok(())
}

#[tokio::test]
async fn a_copy_of_the_whole_folder_is_another_history_without_its_boot_file() -> Result<()> {
    let Restored { server, id, position, cursor } = restored(&["boot"]).await?;
    let fresh = page(&server, &id, "start").await?;
    assert_ne!(epoch(&fresh["position"])?, epoch(&json!(position))?);
    assert_eq!(many(&server, &id, &cursor).await?["snapshots"], json!([id]));
    Ok(())
}

#[tokio::test]
async fn one_folder_has_one_server_and_no_lock_outlives_its_holder() -> Result<()> {
    let mut first = Server::start()?;
    let id = external(&first).await?;
    let refused = Server::start_in(first.data(), &[]);
    assert!(refused.is_err(), "two servers on one folder");
    report(&first, &id, 10).await?;
    first.kill();
    let second = Server::start_in(first.data(), &[])?;
    report(&second, &id, 20).await?;
    Ok(())
}

#[tokio::test]
async fn health_is_told_by_the_exit_code() -> Result<()> {
    let server = Server::start()?;
    let healthy = run(&["health", "--url", &server.url], &[]).await?;
    assert!(healthy.code == 0 && healthy.said.contains("pong"), "{healthy:?}");
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("http://{nobody}");
    let away = run(&["health", "--url", &url], &[]).await?;
    assert!(away.code == 3 && away.said.contains(&nobody.to_string()) && away.said.contains("hint:"), "{away:?}");
    let nonsense = run(&["health", "--url", "not an address"], &[]).await?;
    assert_eq!(nonsense.code, 2, "{nonsense:?}");
    Ok(())
}
