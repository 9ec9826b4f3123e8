//! The first dialect, word for word: the recorded dialogue of `tests/clients/dialogue.txt` against the real server, said
//! by two clients, one of which we did not write; and its HTTP.

use std::collections::BTreeMap;

use access::Role;
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use protocol::Timestamp;
use rushes_tests::{
    Heard, Reply, Server, Socket, clients,
    program::{FAR, signed, token, token_of},
};
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../clients/dialogue.txt");
/// The words a status may be; a client of this dialect has a label and a colour for each.
const STATUSES: [&str; 8] =
    ["queued", "prompt_analysis", "generating_frames", "interpolating", "upscaling", "encoding", "complete", "failed"];

/// One connection's dialogue.
struct Row<'a> {
    name: &'a str,
    /// A mark and what stands behind it.
    lines: Vec<(&'a str, &'a str)>,
}

fn rows() -> Vec<Row<'static>> {
    let row = |text: &'static str| {
        let (name, rest) = text.split_once('\n').expect("a row has lines");
        let lines = rest.lines().filter(|line| !line.is_empty());
        Row { name, lines: lines.map(|line| line.split_once(' ').expect("a mark and a space")).collect() }
    };
    RECORDED.split("\n== ").skip(1).map(row).collect()
}

/// What stands for the words with a dollar.
fn words() -> BTreeMap<&'static str, String> {
    let second = 1_000;
    BTreeMap::from([
        ("ADA", token("ada", Role::User)),
        ("BOB", token("bob", Role::User)),
        ("FORGED", token_of("the secret of another deployment, as long", "ada", Role::User, FAR)),
        ("EXPIRED", token_of(rushes_tests::program::SECRET, "ada", Role::User, Timestamp(second))),
        ("NOBODY", signed(&json!({"sub": "ada", "exp": FAR.0 / second}))),
        ("PLAIN", signed(&json!({"userId": "ada", "exp": FAR.0 / second}))),
        ("LONG", "x".repeat(1_024)),
    ])
}

fn fill(text: &str, words: &BTreeMap<&'static str, String>) -> String {
    words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(&format!("${word}"), value))
}

/// Is all that was recorded there? More may be.
fn holds(found: &Value, recorded: &Value) -> bool {
    match recorded {
        Value::Object(fields) => fields.iter().all(|(key, value)| holds(&found[key], value)),
        Value::Number(number) => found.as_f64() == number.as_f64(),
        _ => found == recorded,
    }
}

/// What is true of every message of the dialect.
fn ensure_well_formed(message: &Value) -> Result<()> {
    ensure!(message["timestamp"].is_u64(), "no time of sending: {message}");
    if message["type"] != "status_update" {
        return Ok(());
    }
    let data = &message["data"];
    let progress = data["progress"].as_f64().context("a progress")?;
    ensure!(STATUSES.iter().any(|word| data["status"] == *word) && (0.0..=100.0).contains(&progress), "{data}");
    ensure!(data["message"].is_string() && data["timestamp"].is_u64(), "{data}");
    ensure!(data.get("metadata").is_none_or(Value::is_object), "metadata is never null: {data}");
    Ok(())
}

async fn play(server: &Server, path: &str, row: &Row<'_>) -> Result<()> {
    let external = json!({"pipeline": "external"});
    let mine = server.submit_this("ada", &external).await?;
    let mut words = words();
    words.insert("THEIRS", server.submit_this("bob", &external).await?);
    words.insert("MINE", mine.clone());
    let mut socket = Socket::open(&server.url, path, None).await?;
    for (at, (mark, text)) in row.lines.iter().enumerate() {
        let text = fill(text, &words);
        match *mark {
            ">" => socket.say_text(&text).await?,
            ">b" => socket.say_bytes(text.as_bytes()).await?,
            "!" => report(server, &mine, at, &text).await?,
            "x" => {
                let (code, reason) = text.split_once(' ').map_or((&*text, None), |(code, why)| (code, Some(why)));
                let heard = socket.hear().await?;
                let Heard::Closed(heard_code, heard_reason) = &heard else { anyhow::bail!("{text}: {heard:?}") };
                ensure!(heard_code.to_string() == code, "{text}: {heard:?}");
                ensure!(reason.is_none_or(|reason| reason == heard_reason), "{text}: {heard:?}");
            }
            "<" => {
                let heard = socket.hear().await.with_context(|| text.clone())?;
                let Heard::Message(message) = &heard else { anyhow::bail!("{text}: {heard:?}") };
                ensure!(holds(message, &serde_json::from_str(&text)?), "recorded {text}, heard {message}");
                ensure_well_formed(message)?;
            }
            _ => anyhow::bail!("the record has a mark {mark:?}"),
        }
    }
    Ok(())
}

async fn report(server: &Server, id: &str, at: usize, text: &str) -> Result<()> {
    let mut report: Value = serde_json::from_str(text)?;
    report["eventId"] = json!(format!("report-{at}"));
    let path = format!("/v1/generations/{id}/events");
    let (status, answer) = server.request("POST", &path, "ada", Some(&json!([report]))).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

/// All rows at once, each on a connection of its own.
async fn play_all(path: &str) -> Result<()> {
    let server = Server::start()?;
    let rows = rows();
    for row in 1..=14 {
        assert!(rows.iter().any(|one| one.name.starts_with(&format!("W{row} "))), "W{row} is not recorded");
    }
    let played = rows.iter().map(async |row| play(&server, path, row).await.context(row.name));
    try_join_all(played).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_dialogue_is_held_on_its_path_and_at_the_root() -> Result<()> {
    tokio::try_join!(play_all("/ws"), play_all("/")).map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_dialogue_is_held_with_a_client_we_did_not_write() -> Result<()> {
    let server = Server::start()?;
    let words = words();
    let input = json!({"server": server.url, "path": "/ws", "ada": words["ADA"], "bob": words["BOB"], "words": words});
    let played = clients::node("dialogue.mjs", &input).await?;
    let missing = rows().into_iter().map(|row| json!(row.name)).filter(|row| !played.contains(row));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<Value>::new(), "rows that were not played");
    Ok(())
}

#[tokio::test]
async fn polling_answers_the_bare_status() -> Result<()> {
    let server = Server::start()?;
    let id = server.submit_this("ada", &json!({"pipeline": "external"})).await?;
    report(&server, &id, 0, r#"{"status":"encoding","progress":90,"message":"Encoding final video..."}"#).await?;
    let path = format!("/api/generations/{id}/status");
    let poll = async |user: &str| Reply::of(server.http("GET", &path)?.bearer_auth(token(user, Role::User))).await;
    let answer = poll("ada").await?;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let status = answer.json()?;
    let recorded = json!({"generationId": id, "userId": "ada", "status": "encoding", "progress": 90,
        "message": "Encoding final video..."});
    assert!(holds(&status, &recorded), "{status}");
    poll("bob").await?.assert_refused(404, "not_found", &["id", "owner"]);
    Reply::of(server.http("GET", &path)?).await?.assert_refused(401, "unauthorized", &["Bearer"]);
    Ok(())
}

#[tokio::test]
async fn health_counts_connections_before_they_authenticate_and_distinct_generations() -> Result<()> {
    let server = Server::start()?;
    let id = server.submit_this("ada", &json!({"pipeline": "external"})).await?;
    let health = async || Reply::of(server.http("GET", "/health")?).await?.json();
    let before = health().await?;
    assert_eq!((&before["status"], &before["connections"]), (&json!("healthy"), &json!(0)), "{before}");
    assert!(before["uptime"].is_f64() && before["subscriptions"] == 0, "{before}");
    let mut silent = Socket::open(&server.url, "/ws", None).await?;
    silent.say(&json!({"type": "ping"})).await?;
    silent.until("pong").await?;
    let mut watchers = [Socket::live(&server.url, "ada").await?, Socket::live(&server.url, "ada").await?];
    for watcher in &mut watchers {
        watcher.say(&json!({"type": "subscribe", "generationId": id})).await?;
        watcher.until("subscribed").await?;
    }
    let now = health().await?;
    assert_eq!((&now["connections"], &now["subscriptions"]), (&json!(3), &json!(1)), "{now}");
    Ok(())
}
