//! A browser, which nobody of us wrote: a page of another origin follows a generation and plays the film it became.

use anyhow::{Context, Result};
use rushes_tests::{Server, Worker, clients};
use serde_json::{Value, json};

/// Seconds of film; long enough that its middle is somewhere else than its start.
const SECONDS: f64 = 3.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_follows_a_generation_and_plays_and_seeks_its_film() -> Result<()> {
    let server = Server::start()?;
    let film = json!({"prompt": "a quiet mountain lake at sunset",
        "params": {"width": 320, "height": 180, "fps": 12, "seconds": SECONDS, "seed": 7}});
    let (status, accepted) = server.request("POST", "/v1/generations", "ada", Some(&film)).await?;
    assert_eq!(status, 201, "{accepted}");
    let id = accepted["generation"]["id"].as_str().context("an id")?;
    let _worker = Worker::start(&server, "w1")?;
    let input = json!({"server": server.url, "generation": id, "liveToken": accepted["liveToken"]});
    let mut printed = clients::node("play.mjs", &input).await?;
    let saw = printed.pop().context("a line")?;

    let (_, page) = server.request("GET", &format!("/v1/generations/{id}/events"), "ada", None).await?;
    let stored: Vec<u64> = rushes_tests::watch::sequences(page["events"].as_array().context("events")?);
    assert_eq!(stored, (1..=stored.len() as u64).collect::<Vec<_>>());
    let by_source: Vec<&Value> = saw["events"].as_array().context("events")?.iter().collect();
    assert_eq!(
        by_source.iter().filter_map(|event| event["sequence"].as_u64()).collect::<Vec<_>>(),
        stored,
        "EventSource"
    );
    assert_eq!(by_source.last().context("an event")?["position"], page["position"], "what a browser would resume from");
    assert_eq!((&saw["socket"]["sequences"], &saw["socket"]["protocol"]), (&json!(stored), &json!("rushes.v1")));

    let played = &saw["played"];
    let number = |key: &str| played[key].as_f64().with_context(|| format!("{key} of {played}"));
    assert_eq!((&played["error"], &played["ended"]), (&Value::Null, &json!(true)), "{played}");
    assert_eq!((&played["width"], &played["height"]), (&json!(320), &json!(180)), "{played}");
    assert!((number("duration")? - SECONDS).abs() < 0.1 && number("seekable")? >= SECONDS - 0.1, "{played}");
    assert!(number("advanced")? >= 0.2, "{played}");
    assert!((number("middle")? - SECONDS / 2.0).abs() < 0.1 && number("start")?.abs() < 0.01, "{played}");
    let statuses = saw["statuses"].as_array().context("statuses")?;
    assert!(statuses.contains(&json!(206)) && statuses.iter().all(|s| *s == 206 || *s == 200), "{statuses:?}");
    Ok(())
}
