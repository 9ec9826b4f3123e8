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
    program::{brief_token, token},
    watch::{self, Event},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
};

/// Longest form of the example: what a person reads before they believe it.
const LINES_MAX: usize = 60;
/// Between two looks at whether the worker is there.
const LOOK: Duration = Duration::from_millis(20);

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/worker.py")
}

fn start_worker(url: &str, token: String) -> Result<Child> {
    let worker = Command::new(clients::python())
        .arg(script())
        .arg(url.replacen("http", "ws", 1))
        .arg(token)
        // How soon its library comes back after a broken connection; its defaults are made for the internet.
        .envs([("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "0.1"), ("WEBSOCKETS_BACKOFF_MIN_DELAY", "0.1")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(worker)
}

fn server() -> Result<Server> {
    Server::start_with(&[("RUSHES_WORKER_PIPELINES", "true")])
}

/// A server that takes pipelines of workers, with the worker whose pipeline it knows.
async fn counting() -> Result<(Server, Child)> {
    let server = server()?;
    let mut worker = start_worker(&server.url, token("python", Role::Worker))?;
    known(&server, &mut worker).await?;
    Ok((server, worker))
}

/// Waits until the server knows the worker's pipeline.
async fn known(server: &Server, worker: &mut Child) -> Result<()> {
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
    tokio::time::timeout(PATIENCE, known).await.context("the pipeline never became known")?
}

/// Stands before a server, passes everything on, and refuses files for good. Answers where it listens.
async fn refuse_files(address: &str, running: &mut JoinSet<Result<()>>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (url, address) = (format!("http://{}", listener.local_addr()?), address.to_owned());
    running.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await?;
            let address = address.clone();
            connections.spawn(async move {
                let mut method = [0; 3];
                while client.peek(&mut method).await? < method.len() {}
                if &method == b"PUT" {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\n") || request.ends_with(b"\r\n") {
                        client.read_buf(&mut request).await?;
                    }
                    let refusal = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    client.write_all(refusal).await?;
                    return client.shutdown().await;
                }
                let mut server = TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(|_| ())
            });
        }
    });
    Ok(url)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_for_good_fails_the_run_instead_of_handing_it_back_for_ever() -> Result<()> {
    let server = server()?;
    let mut running = JoinSet::new();
    let url = refuse_files(server.address(), &mut running).await?;
    let mut worker = start_worker(&url, token("python", Role::Worker))?;
    known(&server, &mut worker).await?;
    let id = count(&server, 1).await?;
    // With the reason, not because it stood still.
    watch::until(&server, "ada", &id, |event| event["type"] == "stage_failed" && event.to_string().contains("413"))
        .await?;
    Ok(())
}

/// Waits out the grace a socket has after its token: half a minute, beside the other tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_the_worker_and_burns_no_attempt_of_its_run() -> Result<()> {
    let server = server()?;
    let mut old = start_worker(&server.url, brief_token("python", Duration::from_secs(5))?)?;
    known(&server, &mut old).await?;
    let id = count(&server, 300).await?;
    watch::until(&server, "ada", &id, |event| event["type"] == "stage_progress").await?;
    let ended = tokio::time::timeout(PATIENCE, old.wait()).await.context("it never ends")??;
    ensure!(!ended.success(), "{ended}");
    let _new = start_worker(&server.url, token("python", Role::Worker))?;
    let events = Watcher::Poll.watch(server.url.clone(), "ada", &id).await?;
    ended_well(&server, &id, &events, 300).await
}
