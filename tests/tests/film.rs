//! A prompt becomes a film, watched in every way there is, and survives the death of any process.

use access::Role;
use anyhow::{Context, Result};
use rushes_tests::{Server, Watcher, Worker, program::token, watch};
use serde_json::Value;

/// Deaths per test, each at another moment.
const ROUNDS: usize = 20;

/// All transports see the same events, dense from 1, each once.
async fn watch_all(server: &Server, id: &str) -> Result<Vec<Value>> {
    let watch = |watcher: Watcher| watcher.watch(server.url.clone(), "ada", id);
    let (socket, stream, poll) =
        tokio::try_join!(watch(Watcher::Socket), watch(Watcher::Stream), watch(Watcher::Poll))?;
    assert_one_history(&socket);
    assert_eq!(watch::sequences(&socket), watch::sequences(&stream), "WebSocket and SSE saw different histories");
    assert_eq!(socket, poll, "WebSocket and long-poll saw different histories");
    Ok(socket)
}

fn assert_one_history(events: &[Value]) {
    let sequences = watch::sequences(events);
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "not dense: {events:#?}");
    assert_eq!(events.iter().filter(|event| watch::is_terminal(event)).count(), 1);
    let progress: Vec<_> = events.iter().filter_map(|event| event["progress"].as_f64()).collect();
    assert!(progress.is_sorted(), "progress fell: {progress:?}");
}

fn attempts_burned(events: &[Value]) -> usize {
    events.iter().filter(|event| event["type"] == "stage_failed").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_sees_the_same_history_and_the_film_is_one() -> Result<()> {
    let server = Server::start()?;
    let _worker = Worker::start(&server, "w1")?;
    let id = server.submit("ada").await?;
    let events = Box::pin(watch_all(&server, &id)).await?;
    let last = events.last().context("an event")?;
    assert_eq!(last["type"], "complete", "{last:#}");
    for stage in ["prompt_analysis", "generating_frames", "interpolating", "upscaling", "encoding"] {
        let started = |event: &&Value| event["type"] == "stage_started" && event["stage"] == stage;
        assert!(events.iter().any(|event| started(&event)), "{stage} never started");
    }
    let url = last["metadata"]["videoUrl"].as_str().context("a film")?;
    let url = if url.starts_with('/') { format!("{}{url}", server.url) } else { url.to_owned() };
    let film = server.data().join("film.mp4");
    let bytes = rushes_tests::client().get(&url).send().await?.error_for_status()?.bytes().await?;
    std::fs::write(&film, &bytes)?;
    let probe = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-count_frames", "-of", "json"])
        .args(["-show_entries", "stream=codec_name,width,height,nb_read_frames,pix_fmt,color_space"])
        .arg(&film)
        .output()?;
    let probe: Value = serde_json::from_slice(&probe.stdout)?;
    let stream = &probe["streams"][0];
    assert_eq!((&stream["codec_name"], &stream["pix_fmt"]), (&"h264".into(), &"yuv420p".into()), "{probe:#}");
    Ok(())
}

/// The film goes on from where it was: the worker keeps its lease, no attempt is burned.
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_in_the_middle_burns_no_attempt() -> Result<()> {
    let mut server = Server::start()?;
    let _worker = Worker::start(&server, "w1")?;
    for round in 0..ROUNDS {
        let id = server.submit("ada").await?;
        let url = server.url.clone();
        let mut watchers = tokio::task::JoinSet::new();
        let watched = id.clone();
        watchers.spawn(async move {
            let watch = |watcher: Watcher| watcher.watch(url.clone(), "ada", &watched);
            tokio::try_join!(watch(Watcher::Socket), watch(Watcher::Stream), watch(Watcher::Poll))
        });
        // Another moment each round: from the first event to deep in the pictures.
        until_sequence(&server, &id, 2 + (round as u64 * 3) % 10).await?;
        server.kill();
        server.start_again()?;
        let (socket, stream, poll) = watchers.join_next().await.context("watchers")???;
        assert_one_history(&socket);
        assert_eq!(watch::sequences(&socket), watch::sequences(&stream));
        assert_eq!(watch::sequences(&socket), watch::sequences(&poll));
        assert_eq!(socket.last().context("an event")?["type"], "complete", "round {round}: {socket:#?}");
        assert_eq!(attempts_burned(&socket), 0, "round {round}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_worker_lets_another_finish() -> Result<()> {
    let server = Server::start_with(&[("RUSHES_LEASE_AFTER_CLOSE", "1s")])?;
    for round in 0..ROUNDS {
        let mut first = Worker::start(&server, &format!("first-{round}"))?;
        let id = server.submit("ada").await?;
        until_sequence(&server, &id, 2 + (round as u64 * 3) % 8).await?;
        first.kill();
        let _second = Worker::start(&server, &format!("second-{round}"))?;
        let events = Box::pin(watch_all(&server, &id)).await?;
        assert_eq!(events.last().context("an event")?["type"], "complete", "round {round}: {events:#?}");
        assert!(attempts_burned(&events) <= 1, "round {round}: one death burns one attempt");
    }
    Ok(())
}

/// Follows a generation until it has come to `sequence`, or ended.
async fn until_sequence(server: &Server, id: &str, sequence: u64) -> Result<()> {
    let mut after = "start".to_owned();
    loop {
        let answer = rushes_tests::client()
            .get(format!("{}/v1/generations/{id}/events?after={after}", server.url))
            .bearer_auth(token("ada", Role::User))
            .header("prefer", "wait=25")
            .send()
            .await?
            .error_for_status()?;
        let page: Value = serde_json::from_str(&answer.text().await?)?;
        let events = page["events"].as_array().context("events")?;
        let reached = watch::sequences(events).last().is_some_and(|last| *last >= sequence);
        if reached || page["done"] == true {
            return Ok(());
        }
        page["position"].as_str().context("a position")?.clone_into(&mut after);
    }
}

/// A deploy in the middle: the server leaves as asked, the worker draws on, the next server takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_film_goes_on_through_a_restart_and_burns_no_attempt() -> Result<()> {
    let mut server = Server::start()?;
    let _worker = Worker::start(&server, "w1")?;
    let id = server.submit("ada").await?;
    watch::until(&server, "ada", &id, |event| event["stage"] == "generating_frames").await?;
    assert_eq!(server.terminate().await?.code(), Some(0));
    server.start_again()?;
    let events = Watcher::Socket.watch(server.url.clone(), "ada", &id).await?;
    assert_one_history(&events);
    assert_eq!(events.last().context("an event")?["type"], "complete", "{events:#?}");
    assert_eq!(attempts_burned(&events), 0);
    Ok(())
}
