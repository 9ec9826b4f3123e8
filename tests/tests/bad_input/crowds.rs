//! Too much of what one alone would be fine: handshakes that never end, subscriptions without end, positions nobody had.

use std::time::{Duration, Instant};

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{PATIENCE, Reply, Server, Socket, program::token};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::goes_on;

/// Beyond the ten seconds a head may take.
const HEAD_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_trickle_are_dropped_and_keep_nobody_out() -> Result<()> {
    let server = Server::start()?;
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut stream = TcpStream::connect(server.address()).await?;
        // Nothing at all, a line that does not end, and a head that does not end.
        let said: &[u8] = [&b""[..], b"GET /v1/li", b"GET /v1/live HTTP/1.1\r\nhost: a\r\n"][n % 3];
        stream.write_all(said).await?;
        slow.push(stream);
    }
    let began = Instant::now();
    Socket::live(&server.url, "ada").await?;
    assert!(began.elapsed() < Duration::from_secs(5), "a good client waited {:?}", began.elapsed());
    for mut stream in slow {
        let trickle = async {
            let mut rest = [0; 1024];
            loop {
                // One byte of a header a second is no progress.
                tokio::select! {
                    read = stream.read(&mut rest) => if read.unwrap_or(0) == 0 { return },
                    () = tokio::time::sleep(Duration::from_secs(1)) => {
                        if stream.write_all(b"x").await.is_err() {
                            return;
                        }
                    }
                }
            }
        };
        timeout(HEAD_MAX, trickle).await.context("a handshake that never ends is kept")?;
    }
    goes_on(&server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_subscribes_are_answered_and_cost_nothing() -> Result<()> {
    const SUBSCRIBES: usize = 100_000;
    let server = Server::start()?;
    let mut socket = Socket::live(&server.url, "ada").await?;
    let before = server.own_memory()?;
    let (mut answered, mut limited) = (0, 0);
    // In rounds, so that both sides take turns.
    for round in 0..SUBSCRIBES / 100 {
        for n in 0..100 {
            let id = format!("gen_{round}_{n}");
            socket.say_text(&format!(r#"{{"type":"subscribe","generationId":"{id}"}}"#)).await?;
        }
        for _ in 0..100 {
            let answer = socket.message().await?;
            ensure!(answer["type"] == "error", "{answer}");
            answered += 1;
            limited += usize::from(answer["code"] == "rate_limited");
        }
    }
    assert_eq!(answered, SUBSCRIBES);
    assert!(limited > SUBSCRIBES / 2, "{limited} were too many");
    let grown = server.own_memory()?.saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes are left of them");
    // Ids that do not exist leave no tails.
    let health = Reply::of(server.http("GET", "/health")?).await?.json()?;
    assert_eq!(health["subscriptions"], 0, "{health}");
    socket.say(&json!({"type": "ping"})).await?;
    socket.until("pong").await?;
    goes_on(&server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_cannot_be_read_are_refused_and_those_nobody_had_are_told() -> Result<()> {
    let server = Server::start()?;
    let id = server.submit("ada").await?;
    let path = format!("/v1/generations/{id}/events");
    let ask = |after: &str, kind: &str| -> Result<_> {
        let request =
            server.http("GET", &path)?.bearer_auth(token("ada", Role::User)).header("accept", kind.to_owned());
        Ok(Reply::of(request.header("last-event-id", after.as_bytes())))
    };
    let garbage =
        ["x", "k3f9:", ":1", "k3f9:-1", "k3f9:1:1", "k3f9:99999999999999999999", "K3F9:1", "0x1", "{}", "\"", "a b"];
    for bad in garbage {
        for kind in ["application/json", "text/event-stream"] {
            ask(bad, kind)?.await?.assert_refused(400, "invalid_position", &["position"]);
        }
        let query: String = bad.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let request = server.http("GET", &format!("{path}?after={query}"))?.bearer_auth(token("ada", Role::User));
        Reply::of(request).await?.assert_refused(400, "invalid_position", &["position"]);
    }
    // Of another history, and beyond the end of this one: the state, and honestly so.
    let (_, page) = server.request("GET", &format!("{path}?after=start"), "ada", None).await?;
    let (epoch, _) = page["position"].as_str().and_then(|text| text.split_once(':')).context("a position")?;
    for forged in ["zzzzzz:1", "zzzzzz:18446744073709551615", &format!("{epoch}:4000000"), "4000000"] {
        let page: Value = ask(forged, "application/json")?.await?.json()?;
        assert_eq!(page["recovery"], "snapshot", "{forged}: {page}");
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{forged}: {page}");
        let mut socket = Socket::live(&server.url, "ada").await?;
        socket.say(&json!({"type": "subscribe", "generationId": id, "after": forged})).await?;
        let state = socket.message().await?;
        assert_eq!((&state["type"], &state["recovery"]), (&json!("status_update"), &json!("snapshot")), "{state}");
        assert_eq!(socket.until("subscribed").await?["recovery"], "snapshot");
    }
    let mut socket = Socket::live(&server.url, "ada").await?;
    for bad in ["x", "k3f9:", "k3f9:-1"] {
        socket.say(&json!({"type": "subscribe", "generationId": id, "after": bad})).await?;
        let error = socket.message().await?;
        assert_eq!(error["type"], "error", "{bad}: {error}");
    }
    timeout(PATIENCE, goes_on(&server)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_one_generation_without_end_is_named_to_the_operator() -> Result<()> {
    /// One more than anybody has a reason for within a minute.
    const VISITS: usize = 21;
    let server = Server::start_logging()?;
    let (churned, calm) = (server.submit("ada").await?, server.submit("ada").await?);
    let mut socket = Socket::live(&server.url, "ada").await?;
    for visit in 1..=VISITS + 5 {
        let watched = if visit <= VISITS { &churned } else { &calm };
        socket.say(&json!({"type": "subscribe", "generationId": watched})).await?;
        socket.until("subscribed").await?;
        let counted = server.metric("rushes_watchers_churning_total").await?;
        ensure!(counted == f64::from(u8::from(visit >= VISITS)), "{counted} after {visit} visits");
        socket.say(&json!({"type": "unsubscribe", "generationId": watched})).await?;
    }
    let log = server.log()?;
    let named: Vec<_> = log.iter().filter(|line| line["generation"].is_string() && line["user"].is_string()).collect();
    let [line] = named[..] else { anyhow::bail!("not named once: {log:?}") };
    ensure!(line["level"] == "WARN" && line["user"] == "ada" && line["generation"] == churned, "{line}");
    ensure!(line["visits"] == VISITS, "{line}");
    goes_on(&server).await
}
