//! Connections there and away again, on each transport: descriptors and memory of the server return to where they were.
//! `CYCLES=5000` goes on for so many of each.
#![cfg(target_os = "linux")]

use std::time::Duration;

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{PATIENCE, Reply, Server, Socket, program::token};
use serde_json::json;
use tokio::time::timeout;

/// Without another wish: enough that a leak of a descriptor or a page each shows.
const CYCLES: usize = 400;
/// At once: the crowd whose buffers are the server's high water before anything is measured.
const AT_ONCE: usize = 20;
/// What the allocator may keep in its arenas beyond the first round, which is no leak: a leak of a kilobyte each would be
/// more after 5,000 cycles on three transports.
const GROWTH_MAX: u64 = 6 * 1024 * 1024;

/// What the server holds.
#[derive(Debug)]
struct Holds {
    descriptors: usize,
    resident: u64,
}

fn holds(server: &Server) -> Result<Holds> {
    let process = format!("/proc/{}", server.pid());
    let status = std::fs::read_to_string(format!("{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let resident = line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1024;
    Ok(Holds { descriptors: std::fs::read_dir(format!("{process}/fd"))?.count(), resident })
}

/// One connection on each transport, watching, and gone again: the socket by a close, or without a word.
async fn cycle(server: &Server, id: &str, n: usize) -> Result<()> {
    let mut socket = Socket::live(&server.url, "ada").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": "start"})).await?;
    socket.until("subscribed").await?;
    drop(socket);
    let events = format!("/v1/generations/{id}/events");
    let ask = || Ok::<_, anyhow::Error>(server.http("GET", &events)?.bearer_auth(token("ada", Role::User)));
    let mut stream = ask()?.header("accept", "text/event-stream").send().await?;
    ensure!(stream.chunk().await?.is_some(), "cycle {n}: the stream has begun");
    drop(stream);
    let page = Reply::of(ask()?).await?;
    ensure!(page.status == 200, "cycle {n}: {}", page.text());
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

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_neither_descriptors_nor_memory() -> Result<()> {
    let count = std::env::var("CYCLES").map_or(Ok(CYCLES), |text| text.parse())?;
    let server = Server::start_with(&[("RUSHES_LIMITS_CONNECTS_PER_USER", "off")])?;
    let id = server.submit_this("ada", &json!({"pipeline": "external"})).await?;
    cycles(&server, &id, AT_ONCE * 5).await?;
    let before = holds(&server)?;
    cycles(&server, &id, count).await?;
    let settled = async {
        loop {
            let after = holds(&server)?;
            // The connection that asks for the metrics may still be open.
            if after.descriptors <= before.descriptors + 1 {
                return anyhow::Ok(after);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let after = timeout(PATIENCE, settled).await.context("descriptors are left")??;
    println!("{count} cycles a transport: {before:?} before, {after:?} after");
    assert!(after.resident < before.resident + GROWTH_MAX, "{before:?} before, {after:?} after");
    assert_eq!(server.metric("rushes_subscriptions").await?, 0.0);
    Ok(())
}
