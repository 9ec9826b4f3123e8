//! A full disk: nothing new is taken, nothing that was acknowledged is lost, and when there is room again all goes on
//! without a restart.

use std::io::Write as _;

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{PATIENCE, Puppet, Reply, Server, Watcher, Worker, program::token, small::Small, watch};
use serde_json::{Value, json};

/// Megabytes of the small disk: an empty server takes one, a film of the test a few.
const MEGABYTES: u32 = 24;
/// Submissions until the disk must have refused one. What is left in the database's own files takes some.
const SUBMISSIONS_MAX: usize = 2_000;

fn small() -> Result<Option<Small>> {
    let small = Small::mount(MEGABYTES)?;
    if small.is_none() {
        // Past the test runner, which keeps what a passing test prints.
        writeln!(std::io::stderr(), "SKIPPED: mounting a tmpfs needs root; a full disk was NOT tried")?;
    }
    Ok(small)
}

/// Submits until it is refused. Answers the ids that were acknowledged, and the refusal.
async fn submit_until_refused(server: &Server) -> Result<(Vec<String>, Reply)> {
    let mut acknowledged = Vec::new();
    while acknowledged.len() < SUBMISSIONS_MAX {
        let request = server.http("POST", "/v1/generations")?.bearer_auth(token("bob", Role::User));
        let reply = Reply::of(request.json(&json!({"prompt": "x".repeat(4_000)}))).await?;
        if reply.status != 201 {
            return Ok((acknowledged, reply));
        }
        acknowledged.push(reply.json()?["generation"]["id"].as_str().context("an id")?.to_owned());
    }
    anyhow::bail!("a full disk took {SUBMISSIONS_MAX} submissions")
}

async fn state(server: &Server, user: &str, id: &str) -> Result<Value> {
    let (status, generation) = server.request("GET", &format!("/v1/generations/{id}"), user, None).await?;
    ensure!(status == 200, "{id}: {status} {generation}");
    Ok(generation["state"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_and_what_was_acknowledged_is_kept() -> Result<()> {
    let Some(small) = small()? else { return Ok(()) };
    // More than one person may have unfinished, so that the disk refuses first.
    let environment = [("RUSHES_LIMITS_UNFINISHED_PER_OWNER", "100000")];
    let mut server = Server::start_in(&small.path().join("data"), &environment)?;
    server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    small.fill()?;

    let (acknowledged, refused) = submit_until_refused(&server).await?;
    refused.assert_refused(507, "storage_full", &["disk", "full", "space"]);
    assert_eq!((refused.json()?["error"]["retryable"].clone(), refused.header("retry-after")), (json!(true), "30"));
    let put = worker.put(&server, &lease, "film.mp4", vec![7; 4 << 20]).await?;
    put.assert_refused(507, "storage_full", &["disk", "room"]);
    let upload = server.http("POST", "/v1/uploads")?.bearer_auth(token("ada", Role::User)).body(vec![7; 4 << 20]);
    Reply::of(upload).await?.assert_refused(507, "storage_full", &["disk", "room"]);
    assert_eq!(state(&server, "ada", &lease.generation).await?, "running", "reading works, and the lease goes on");
    // Said while there is no room; it waits.
    let log = json!({"type": "event", "event": "log", "message": "kept", "lease": lease.id, "eventId": "log"});
    worker.socket.say(&log).await?;
    worker.socket.say(&json!({"type": "heartbeat", "tokens": 0})).await?;

    small.empty()?;
    let answer = worker.durable(&log).await?;
    assert_eq!(answer["type"], "ack", "{answer}");
    worker.finish(&server, &lease).await?;
    let again = server.submit("ada").await?;
    assert_eq!(Reply::of(server.http("GET", "/readyz")?).await?.status, 200);

    server.kill();
    server.start_again()?;
    assert_eq!(state(&server, "ada", &lease.generation).await?, "complete");
    assert_eq!(state(&server, "ada", &again).await?, "queued");
    for id in &acknowledged {
        assert_eq!(state(&server, "bob", id).await?, "queued", "it was acknowledged");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_in_the_middle_is_completed_when_there_is_room_again() -> Result<()> {
    let Some(small) = small()? else { return Ok(()) };
    let server = Server::start_in(&small.path().join("data"), &[])?;
    let _worker = Worker::start(&server, "w1")?;
    let id = server.submit("ada").await?;
    watch::until(&server, "ada", &id, |event| event["stage"] == "generating_frames").await?;
    small.fill()?;
    // Until a file of the worker's found no room.
    let refused = async {
        loop {
            let metrics = Reply::of(server.http("GET", "/metrics")?).await?.text();
            let put = |line: &&str| {
                let of_the_worker = line.contains("\"PUT\"") && line.contains("/artifacts/") && line.contains("5xx");
                line.starts_with("rushes_http_requests_total") && of_the_worker
            };
            if metrics.lines().any(|line| put(&line)) {
                return Ok::<_, anyhow::Error>(());
            }
            let (_, generation) = server.request("GET", &format!("/v1/generations/{id}"), "ada", None).await?;
            ensure!(generation["state"] == "running", "{generation}");
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.context("no file was refused")??;
    assert_eq!(state(&server, "ada", &id).await?, "running");
    small.empty()?;
    let events = Watcher::Socket.watch(server.url.clone(), "ada", &id).await?;
    let sequences = watch::sequences(&events);
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().context("an event")?["type"], "complete", "{events:#?}");
    assert!(events.iter().all(|event| event["type"] != "stage_failed"), "no attempt was burned: {events:#?}");
    Ok(())
}
