//! Clients in other languages, which others wrote: Node with `ws` and Chromium, Python with `websockets`.
//!
//! `scripts/test` installs what they need.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::PATIENCE;

/// The folder of the Node clients.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs a script of that folder with `input` as its one argument, and answers the lines of JSON it printed.
///
/// # Errors
/// When it fails, with what it said.
pub async fn node(script: &str, input: &Value) -> Result<Vec<Value>> {
    let folder = folder();
    ensure!(folder.join("node_modules").is_dir(), "{} lacks its packages: run scripts/test once", folder.display());
    let running = Command::new("node")
        .arg(folder.join(script))
        .arg(input.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, running).await.with_context(|| format!("{script} takes too long"))??;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{script}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    printed.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// A Python with the packages of the example worker.
///
/// # Panics
/// When it was not installed.
#[must_use]
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tests-venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/test once", python.display());
    python
}
