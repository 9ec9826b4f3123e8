//! The protocol is easy: `examples/worker.py`, sixty lines that know nothing of ours, works for the real server.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{
    PATIENCE, Reply, Server, Watcher, clients,
    program::token,
    watch::{self, Event},
};
use serde_json::json;
use tokio::process::{Child, Command};

/// Longest form of the example: what a person reads before they believe it.
const LINES_MAX: usize = 60;
/// Between two looks at whether the worker is there.
const LOOK: Duration = Duration::from_millis(20);

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/worker.py")
}

fn start_worker(server: &Server) -> Result<Child> {
    let worker = Command::new(clients::python())
        .arg(script())
        .arg(server.url.replacen("http", "ws", 1))
        .arg(token("python", Role::Worker))
        // How soon its library comes back after a broken connection; its defaults are made for the internet.
        .envs([("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "0.1"), ("WEBSOCKETS_BACKOFF_MIN_DELAY", "0.1")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(worker)
}

/// A server that takes pipelines of workers, with the worker whose pipeline it knows.
async fn counting() -> Result<(Server, Child)> {
    let server = Server::start_with(&[("RUSHES_WORKER_PIPELINES", "true")])?;
    let mut worker = start_worker(&server)?;
    let known = async {
        loop {
            let request = server.http("GET", "/v1/pipelines")?.bearer_auth(token("op", Role::Operator));
            if Reply::of(request).await?.text().contains("\"count\"") {
                return Ok(());
            }
            ensure!(worker.try_wait()?.is_none(), "the worker ended");
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.context("the pipeline never became known")??;
    Ok((server, worker))
}

async fn count(server: &Server, goal: u32) -> Result<String> {
    server.submit_this("ada", &json!({"pipeline": "count", "input": {"goal": goal}})).await
}

/// It ended well, at its first try, with the file.
async fn ended_well(server: &Server, id: &str, events: &[Event], goal: u32) -> Result<()> {
    let sequences = watch::sequences(events);
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "{events:#?}");
    let last = events.last().context("an event")?;
    assert_eq!((&last["type"], &last["metadata"]["counted"]), (&json!("complete"), &json!(goal)), "{last:#}");
    assert!(events.iter().all(|event| event["type"] != "stage_failed" && event["attempt"] == 1), "{events:#?}");
    let request = server.http("GET", &format!("/v1/generations/{id}/artifacts/count.txt"))?;
    let file = Reply::of(request.bearer_auth(token("ada", Role::User))).await?;
    assert_eq!((file.status, file.text()), (200, format!("{goal}\n")));
    Ok(())
}

#[test]
fn the_example_is_short_and_needs_one_package() -> Result<()> {
    let text = std::fs::read_to_string(script())?;
    assert!(text.lines().count() <= LINES_MAX, "{} lines", text.lines().count());
    let from: Vec<_> = text.lines().filter(|line| line.starts_with("from ")).collect();
    assert_eq!(from, ["from websockets import ConnectionClosed, connect"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_another_language_brings_its_pipeline_and_completes_a_generation() -> Result<()> {
    let (server, _worker) = counting().await?;
    let id = count(&server, 10).await?;
    let events = Watcher::Socket.watch(server.url.clone(), "ada", &id).await?;
    assert!(
        events.iter().any(|event| event["type"] == "stage_progress" && event["stage"] == "counting"),
        "{events:#?}"
    );
    ended_well(&server, &id, &events, 10).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_in_the_middle_burns_no_attempt_of_it() -> Result<()> {
    let (mut server, _worker) = counting().await?;
    let id = count(&server, 60).await?;
    for progress in [10.0, 40.0, 70.0] {
        watch::until(&server, "ada", &id, |event| event["progress"].as_f64() >= Some(progress)).await?;
        server.kill();
        server.start_again()?;
    }
    let events = Watcher::Poll.watch(server.url.clone(), "ada", &id).await?;
    assert_eq!(events.iter().filter(|event| event["type"] == "stage_started").count(), 1, "{events:#?}");
    ended_well(&server, &id, &events, 60).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_it_and_it_works_on_afterwards() -> Result<()> {
    let (server, _worker) = counting().await?;
    let id = count(&server, 10_000).await?;
    watch::until(&server, "ada", &id, |event| event["type"] == "stage_progress").await?;
    server.request("POST", &format!("/v1/generations/{id}/cancel"), "ada", None).await?;
    let events = Watcher::Stream.watch(server.url.clone(), "ada", &id).await?;
    let at = |kind| events.iter().find(|event| event["type"] == kind).and_then(|event| event["timestamp"].as_u64());
    let took = at("cancelled").context("cancelled")? - at("cancel_requested").context("asked")?;
    assert!(took < protocol::limits::CANCEL_GRACE_MS, "the lease was revoked, the worker did not answer: {took} ms");
    let next = count(&server, 5).await?;
    let events = Watcher::Poll.watch(server.url.clone(), "ada", &next).await?;
    ended_well(&server, &next, &events, 5).await
}
