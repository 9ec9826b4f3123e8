//! Bad input by every door: each is answered by an error that names what to change, and the server goes on.
//!
//! ```text
//! submission.rs   what asks for a film, and what asks for lists, pages and changes
//! tokens.rs       who asks
//! foreign.rs      another's generation
//! lease.rs        a worker that writes what it does not hold
//! crowds.rs       handshakes, subscriptions and positions beyond all measure
//! socket.rs       bytes that are no WebSocket, or too much of one
//! start.rs        what a server refuses to start with
//! ```

mod crowds;
mod foreign;
mod lease;
mod socket;
mod start;
mod submission;
mod tokens;

use access::Role;
use anyhow::{Result, ensure};
use rushes_tests::{Reply, Server, program::token};
use serde_json::{Value, json};

/// The server takes and gives back what is good, and says that it can.
async fn goes_on(server: &Server) -> Result<()> {
    let ready = Reply::of(server.http("GET", "/readyz")?).await?;
    ensure!(ready.status == 200, "{}", ready.text());
    let id = server.submit("ada").await?;
    let (status, generation) = server.request("GET", &format!("/v1/generations/{id}"), "ada", None).await?;
    ensure!(status == 200 && generation["id"] == json!(id), "{status} {generation}");
    Ok(())
}

/// A request of ada with a JSON body.
async fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Result<Reply> {
    Reply::of(server.http(method, path)?.bearer_auth(token("ada", Role::User)).json(body)).await
}

/// A request of ada with any body.
async fn ask_raw(server: &Server, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Result<Reply> {
    Reply::of(server.http(method, path)?.bearer_auth(token("ada", Role::User)).body(body)).await
}
