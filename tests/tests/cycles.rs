//! Connections there and away again, on each transport: descriptors and memory of the server return to where they were.
//! `CYCLES=5000` goes on for so many of each.
#![cfg(target_os = "linux")]

use std::time::Duration;

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{PATIENCE, Reply, Server, encrypted::Certificate, program::token};
use serde_json::json;
use tokio::time::timeout;

/// Without another wish: enough that a leak of a descriptor or a page each shows.
const CYCLES: usize = 400;
/// At once: the crowd whose buffers are the server's high water before anything is measured.
const AT_ONCE: usize = 20;
/// What the allocator may keep in its arenas beyond the first round, which is no leak: after 5,000 cycles a leak of a hundred
/// bytes a connection would be more.
const GROWTH_MAX: u64 = 2 * 1024 * 1024;
/// A poll is given up by its client after so long.
const GIVEN_UP: Duration = Duration::from_millis(50);

/// One user may connect as often as all of this does.
const UNLIMITED: (&str, &str) = ("RUSHES_LIMITS_CONNECTS_PER_USER", "off");

/// What the server holds.
#[derive(Debug)]
struct Holds {
    descriptors: usize,
    memory: u64,
}

fn holds(server: &Server) -> Result<Holds> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid()))?.count();
    Ok(Holds { descriptors, memory: server.own_memory()? })
}

/// One connection on each transport, watching, and gone again: every second socket by a close, the others without a word;
/// polls that are answered, and polls that are given up.
async fn cycle(server: &Server, id: &str, n: usize) -> Result<()> {
    let mut socket = server.live("ada").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": "start"})).await?;
    socket.until("subscribed").await?;
    if n.is_multiple_of(2) {
        socket.close().await?;
    } else {
        drop(socket);
    }
    let ask = |path: &str| Ok::<_, anyhow::Error>(server.http("GET", path)?.bearer_auth(token("ada", Role::User)));
    let events = format!("/v1/generations/{id}/events");
    for stream in [&events, &format!("/v1/events?generation={id}@start")] {
        let mut stream = ask(stream)?.header("accept", "text/event-stream").send().await?;
        ensure!(stream.chunk().await?.is_some(), "cycle {n}: the stream has begun");
    }
    let page = Reply::of(ask(&events)?).await?;
    ensure!(page.status == 200, "cycle {n}: {}", page.text());
    let page = page.json()?;
    let position = page["position"].as_str().context("a position")?;
    let waiting = ask(&format!("{events}?after={position}"))?.header("prefer", "wait=25").timeout(GIVEN_UP).send();
    ensure!(
        waiting.await.is_err_and(|error| error.is_timeout()),
        "cycle {n}: nothing came, and nothing was there to come"
    );
    Ok(())
}

async fn cycles(server: &Server, id: &str, count: usize) -> Result<()> {
    for first in (0..count).step_by(AT_ONCE) {
        let crowd = (first..count.min(first + AT_ONCE)).map(|n| cycle(server, id, n));
        Box::pin(futures_util::future::try_join_all(crowd)).await?;
    }
    // Until the server has noticed that the last ones are gone.
    let gone = async {
        while server.metric("rushes_connections").await? > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, gone).await.context("connections are left")?
}

/// The server returns to where it was.
async fn come_and_go(server: &Server) -> Result<()> {
    let count = std::env::var("CYCLES").map_or(Ok(CYCLES), |text| text.parse())?;
    let id = server.submit_this("ada", &json!({"pipeline": "external"})).await?;
    cycles(server, &id, AT_ONCE * 5).await?;
    let before = holds(server)?;
    cycles(server, &id, count).await?;
    let settled = async {
        loop {
            let after = holds(server)?;
            // The connection that asks for the metrics may still be open.
            if after.descriptors <= before.descriptors + 1 {
                return anyhow::Ok(after);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let after = timeout(PATIENCE, settled).await.context("descriptors are left")??;
    println!("{count} cycles a transport of {}: {before:?} before, {after:?} after", server.url);
    assert!(after.memory < before.memory + GROWTH_MAX, "{before:?} before, {after:?} after");
    assert_eq!(server.metric("rushes_subscriptions").await?, 0.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_neither_descriptors_nor_memory() -> Result<()> {
    come_and_go(&Server::start_with(&[UNLIMITED])?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_they_over_tls() -> Result<()> {
    let certificate = Certificate::new()?;
    come_and_go(&Server::start_encrypted(&certificate, &[UNLIMITED])?).await
}
