//! An owner at their bound is told when to come back: by what runs, and by the rate at which theirs end.

use anyhow::{Context, Result};
use rushes_tests::{Puppet, Reply, Server};
use serde_json::json;

const PIPELINE: &str = r#"
[[pipeline]]
name = "short"
stages = [{ name = "draw", pool = "gpu", expected = "20s" }]
"#;

/// What a submission above the bound is told, in seconds; the header and the body have to say the same.
async fn wait_s(server: &Server) -> Result<u64> {
    let request = server.http("POST", "/v1/generations")?;
    let token = rushes_tests::program::token("ada", access::Role::User);
    let answer = Reply::of(request.bearer_auth(token).json(&json!({"pipeline": "short"}))).await?;
    anyhow::ensure!(answer.status == 429, "{} {}", answer.status, answer.text());
    let told: u64 = answer.header("retry-after").parse()?;
    let error = &answer.json()?["error"];
    assert_eq!((&error["code"], &error["details"]["retryAfterSeconds"]), (&json!("queue_full"), &json!(told)));
    Ok(told)
}

#[tokio::test]
async fn whoever_is_at_their_bound_hears_when_a_place_is_likely_to_be_free() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("rushes.toml");
    std::fs::write(&config, PIPELINE)?;
    let config = config.to_str().context("a path of text")?;
    let server = Server::start_with(&[("RUSHES_CONFIG", config), ("RUSHES_LIMITS_UNFINISHED_PER_OWNER", "1")])?;
    let submit = async || server.submit_this("ada", &json!({"pipeline": "short"})).await;

    submit().await?;
    assert_eq!(wait_s(&server).await?, 60, "nobody works, and nothing ended");
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    let told = wait_s(&server).await?;
    assert!((2..=20).contains(&told), "{told}: it runs, and takes twenty seconds");
    worker.finish(&server, &lease).await?;

    for _ in 0..6 {
        submit().await?;
        let lease = worker.take().await?;
        worker.finish(&server, &lease).await?;
    }
    submit().await?;
    let told = wait_s(&server).await?;
    assert!(told < 20, "{told}: theirs end far faster than expected");
    Ok(())
}
