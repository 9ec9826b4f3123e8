//! A worker whose every message the test says: what a worker may not do can only be tried by one that does it.

use access::{Role, digest::sha256_hex};
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{Reply, Server, Socket, program::token};

/// A worker's connection.
#[derive(Debug)]
pub struct Puppet {
    /// The socket, to say anything.
    pub socket: Socket,
    /// The token it came with; leases are bound to its user.
    pub token: String,
}

/// A run the server gave away.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The right to write.
    pub id: String,
    /// Its place in the order of grants.
    pub fence: u32,
    /// Its name before binary frames.
    pub handle: u32,
    /// Whose run.
    pub generation: String,
}

impl Puppet {
    /// Connects as worker and user `name`, with one slot of pool `gpu`.
    ///
    /// # Errors
    /// When the server does not welcome it.
    pub async fn connect(server: &Server, name: &str) -> Result<Self> {
        Self::connect_holding(server, name, &[]).await
    }

    /// The same, naming leases it says it holds.
    ///
    /// # Errors
    /// When the server does not welcome it.
    pub async fn connect_holding(server: &Server, name: &str, leases: &[&Lease]) -> Result<Self> {
        Self::enter(server, name, token(name, Role::Worker), leases).await
    }

    /// The same with a token of the test's, holding nothing.
    ///
    /// # Errors
    /// When the server does not welcome it.
    pub async fn connect_with(server: &Server, name: &str, token: String) -> Result<Self> {
        Self::enter(server, name, token, &[]).await
    }

    async fn enter(server: &Server, name: &str, token: String, leases: &[&Lease]) -> Result<Self> {
        let mut socket = server.socket("/v1/worker", Some(&token)).await?;
        let held: Vec<Value> = leases.iter().map(|lease| json!({"lease": lease.id, "fence": lease.fence})).collect();
        let hello = json!({"type": "hello", "worker": name, "instance": "1", "pools": {"gpu": 1}, "leases": held});
        socket.say(&hello).await?;
        socket.until("welcome").await?;
        Ok(Self { socket, token })
    }

    /// Takes the next offer.
    ///
    /// # Errors
    /// When none comes, or it is not granted.
    pub async fn take(&mut self) -> Result<Lease> {
        let offer = self.socket.until("offer").await?;
        self.socket.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
        let granted = self.socket.until("granted").await?;
        Ok(Lease {
            id: granted["lease"].as_str().context("a lease")?.to_owned(),
            fence: u32::try_from(granted["fence"].as_u64().context("a fence")?)?,
            handle: u32::try_from(granted["handle"].as_u64().context("a handle")?)?,
            generation: offer["generation"].as_str().context("a generation")?.to_owned(),
        })
    }

    /// Says something durable and answers what came back for it: `ack` or `refused`.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn durable(&mut self, message: &Value) -> Result<Value> {
        self.socket.say(message).await?;
        loop {
            let answer = self.socket.message().await?;
            if answer["eventId"] == message["eventId"] {
                return Ok(answer);
            }
        }
    }

    /// Uploads a file under `lease`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn put(&self, server: &Server, lease: &Lease, name: &str, content: Vec<u8>) -> Result<Reply> {
        let path = format!("/v1/generations/{}/artifacts/{name}", lease.generation);
        let request = server.http("PUT", &path)?.bearer_auth(&self.token).header("x-rushes-lease", &lease.id);
        Reply::of(request.body(content)).await
    }

    /// Keeps a film and ends the run well.
    ///
    /// # Errors
    /// When the server takes any of it otherwise.
    pub async fn finish(&mut self, server: &Server, lease: &Lease) -> Result<()> {
        let film = b"not really a film".to_vec();
        let (size, sha256) = (film.len(), sha256_hex(&film));
        let put = self.put(server, lease, "film.mp4", film).await?;
        anyhow::ensure!(put.status == 201, "{}", put.text());
        let said = [
            json!({"type": "artifact", "eventId": format!("film-{}", lease.fence), "lease": lease.id,
                "name": "film.mp4", "size": size, "sha256": sha256}),
            json!({"type": "done", "eventId": format!("done-{}", lease.fence), "lease": lease.id,
                "outputs": {"video": "film.mp4"}}),
        ];
        for message in said {
            let answer = self.durable(&message).await?;
            anyhow::ensure!(answer["type"] == "ack", "{answer}");
        }
        Ok(())
    }
}
