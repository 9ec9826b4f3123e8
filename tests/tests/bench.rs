//! `rushes bench` measures: each mode starts its server and its load, nothing is lost, and its rows are written. With loads so
//! small the figures say nothing, and nothing here reads them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rushes_tests::program::run;
use serde_json::Value;

/// One mode, a second each steady load. Answers its rows; a delivery that is lost, doubled or out of order refuses the run.
async fn measure(mode: &str, args: &[&str], folder: &Path) -> Result<Vec<Value>> {
    let file = folder.join(format!("{mode}.json"));
    let written = file.to_str().context("a path in letters")?;
    let args = [&["bench", mode, "--seconds", "1", "--json", written], args].concat();
    let ended = run(&args, &[]).await?;
    ensure!(ended.code == 0, "{mode}: {}: {}", ended.code, ended.said);
    let text = std::fs::read_to_string(&file)?;
    let json: Value = serde_json::from_str(&text)?;
    ensure!(json["about"].as_str().is_some_and(|about| about.starts_with("rushes ")), "{json}");
    let rows = json["rows"].as_array().context("rows")?.clone();
    for row in &rows {
        let name = row["name"].as_str().context("a name")?;
        ensure!(name.starts_with(&format!("{mode}: ")) && ended.said.contains(name), "{name}: {}", ended.said);
    }
    Ok(rows)
}

/// A fact of the one row whose name begins so.
fn fact(rows: &[Value], name: &str, key: &str) -> f64 {
    let found: Vec<_> = rows.iter().filter(|row| row["name"].as_str().is_some_and(|n| n.starts_with(name))).collect();
    assert_eq!(found.len(), 1, "{name} in {rows:?}");
    found[0]["facts"][key].as_f64().unwrap_or_else(|| panic!("no {key} in {}", found[0]))
}

fn folder() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir()?)
}

#[tokio::test]
async fn events_to_each_and_to_all_and_to_those_who_come_back_are_measured() -> Result<()> {
    let folder = folder()?;
    let svg = folder.path().join("latencies.svg");
    let drawn = svg.to_str().context("a path in letters")?;
    let rows = measure("unique", &["--connections", "20", "--rate", "100", "--svg", drawn], folder.path()).await?;
    assert!(fact(&rows, "unique: 20 connections, 100 events/s", "samples") > 0.0, "{rows:?}");
    assert!(fact(&rows, "unique: server at that rate", "bytes") > 1e6);
    let svg = std::fs::read_to_string(svg)?;
    assert!(svg.starts_with("<svg") && svg.contains("unique: 20 connections"), "{svg}");

    let rows = measure("broadcast", &["--watchers", "20", "--rate", "50"], folder.path()).await?;
    assert!(fact(&rows, "broadcast: 50/s to 20", "samples") > 0.0, "{rows:?}");
    let rows = measure("storm", &["--connections", "50"], folder.path()).await?;
    assert_eq!(fact(&rows, "storm: 50 drop and come back", "twice"), 0.0);
    Ok(())
}

#[tokio::test]
async fn idle_connections_are_measured_bare_and_over_tls() -> Result<()> {
    let folder = folder()?;
    let rows = measure("idle", &["--connections", "20"], folder.path()).await?;
    assert!(fact(&rows, "idle: memory of the server alone", "bytes") > 1e6);
    assert_eq!(fact(&rows, "idle: with 20 connections", "connections"), 20.0);
    fact(&rows, "idle: connecting and authenticating them", "microseconds");
    fact(&rows, "idle: server CPU, pings included", "cores");

    let rows = measure("tls", &["--connections", "20", "--rate", "50"], folder.path()).await?;
    // All came back with their tickets.
    assert_eq!(fact(&rows, "tls: 20 idle connections", "resumed"), 20.0);
    assert!(fact(&rows, "tls: bare, 20 connections", "samples") > 0.0, "{rows:?}");
    assert!(fact(&rows, "tls: over TLS, 20 connections", "samples") > 0.0, "{rows:?}");
    Ok(())
}

#[tokio::test]
async fn stalled_readers_and_previews_are_measured() -> Result<()> {
    let folder = folder()?;
    let rows = measure("slow", &["--watchers", "5", "--rate", "400"], folder.path()).await?;
    assert!(fact(&rows, "slow: live watchers, all reading", "samples") > 0.0);
    assert!(fact(&rows, "slow: live watchers, 100 others stalled", "samples") > 0.0);
    fact(&rows, "slow: memory the stalled cost", "bytes_more");
    assert!(fact(&rows, "slow: then they read again", "behind") > 0.0);

    let rows = measure("frames", &["--watchers", "5"], folder.path()).await?;
    assert!(fact(&rows, "frames: delivered", "delivered") > 0.0);
    for name in ["frames: sent → watcher", "frames: events without them", "frames: events beside them"] {
        assert!(fact(&rows, name, "samples") > 0.0, "{name}");
    }
    Ok(())
}
