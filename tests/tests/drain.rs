//! A server that is stopped in order: its workers hear of it, what they end or hand back in time counts, and what they
//! render on is there after the start.

use std::time::Duration;

use anyhow::{Context, Result};
use rushes_tests::{PATIENCE, Puppet, Server, Worker};
use serde_json::{Value, json};

async fn events(server: &Server, id: &str) -> Result<Vec<Value>> {
    let (status, page) = server.request("GET", &format!("/v1/generations/{id}/events"), "ada", None).await?;
    anyhow::ensure!(status == 200, "{status} {page}");
    Ok(page["events"].as_array().context("events")?.clone())
}

async fn state(server: &Server, id: &str) -> Result<Value> {
    Ok(server.request("GET", &format!("/v1/generations/{id}"), "ada", None).await?.1["state"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_finish_or_hand_back_and_no_attempt_is_burned() -> Result<()> {
    // Half of it is the workers': longer than this test may take, so that only their words end the wait.
    let mut server = Server::start_with(&[("RUSHES_DRAIN", "10m")])?;
    let (mut first, mut second) = (Puppet::connect(&server, "w1").await?, Puppet::connect(&server, "w2").await?);
    server.submit("ada").await?;
    let returned = first.take().await?;
    server.submit("ada").await?;
    let finished = second.take().await?;

    let url = server.url.clone();
    let workers = async move {
        for worker in [&mut first, &mut second] {
            let told = worker.socket.until("drain").await?;
            assert_eq!(told["afterMs"], 300_000, "{told}");
        }
        let ready = rushes_tests::client().get(format!("{url}/readyz")).send().await?;
        assert_eq!(ready.status(), 503, "whoever balances load sends nobody here any more");
        let hand_back = json!({"type": "hand_back", "lease": returned.id, "eventId": "h1"});
        assert_eq!(first.durable(&hand_back).await?["type"], "ack");
        first.socket.say(&json!({"type": "heartbeat", "tokens": 10})).await?;
        // It comes back while the other still works: it hears the same, and is offered nothing.
        let done = json!({"type": "done", "lease": finished.id, "eventId": "d1"});
        assert_eq!(second.durable(&done).await?["type"], "ack");
        while let Ok(message) = first.socket.message().await {
            assert_ne!(message["type"], "offer", "{message}");
        }
        anyhow::Ok((returned, finished))
    };
    let ((returned, finished), ended) =
        tokio::time::timeout(PATIENCE, async { tokio::try_join!(workers, server.terminate()) }).await??;
    assert_eq!(ended.code(), Some(0));

    server.start_again()?;
    assert_eq!(state(&server, &finished.generation).await?, "complete");
    let mut third = Puppet::connect(&server, "w3").await?;
    let offer = third.socket.until("offer").await?;
    assert_eq!((&offer["generation"], &offer["attempt"]), (&json!(returned.generation), &json!(1)), "{offer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_takes_longer_than_the_drain_is_rendered_on_across_the_restart() -> Result<()> {
    let mut server = Server::start_with(&[("RUSHES_DRAIN", "200ms")])?;
    let _worker = Worker::start(&server, "renderer")?;
    let film = json!({"prompt": "a long road", "params": {"width": 640, "height": 360, "fps": 12, "seconds": 3}});
    let id = server.submit_this("ada", &film).await?;
    let look = Duration::from_millis(20);
    while state(&server, &id).await? != "running" {
        tokio::time::sleep(look).await;
    }
    assert_eq!(server.terminate().await?.code(), Some(0));
    server.start_again()?;
    let wait = async {
        while state(&server, &id).await? != "complete" {
            tokio::time::sleep(look).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.context("it does not end")??;
    let all = events(&server, &id).await?;
    let burned = ["stage_failed", "retry_scheduled", "stage_queued"];
    assert!(all.iter().all(|event| !burned.contains(&event["type"].as_str().unwrap_or_default())), "{all:#?}");
    let grants = all.iter().filter(|event| event["metadata"]["attempt"].as_u64().unwrap_or(1) > 1).count();
    assert_eq!(grants, 0, "one worker, one lease, one try: {all:#?}");
    Ok(())
}

/// The server is killed, and this time nobody comes back: a full term later the run is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_outlived_its_server_is_resumed_by_its_worker_and_ends_without_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("rushes.toml");
    std::fs::write(&config, "[lease]\nsilence = \"5s\"\nafter_close = \"1s\"\n")?;
    let mut server = Server::start_with(&[("RUSHES_CONFIG", config.to_str().context("a path")?)])?;
    let mut faithful = Puppet::connect(&server, "w1").await?;
    server.submit("ada").await?;
    let kept = faithful.take().await?;
    let mut faithless = Puppet::connect(&server, "w2").await?;
    server.submit("ada").await?;
    let lost = faithless.take().await?;
    server.kill();
    drop((faithful, faithless));
    server.start_again()?;

    let mut faithful = Puppet::connect_holding(&server, "w1", &[&kept]).await?;
    faithful.finish(&server, &kept).await?;
    assert_eq!(state(&server, &kept.generation).await?, "complete");
    // The other never comes back: when a full term is over its run is this one's to take.
    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            faithful.socket.say(&json!({"type": "heartbeat", "tokens": 10})).await?;
            // Who says nothing for 5 s is offered nothing.
            let Ok(message) = tokio::time::timeout(Duration::from_secs(1), faithful.socket.message()).await else {
                continue;
            };
            let message = message?;
            if message["type"] == "offer" {
                return anyhow::Ok(message);
            }
        }
    })
    .await
    .context("nobody takes the lease away")??;
    assert_eq!((&again["generation"], &again["attempt"]), (&json!(lost.generation), &json!(2)), "{again}");
    Ok(())
}
