//! A worker that only publishes: it takes runs of a pipeline of its own and says lines under their leases.

use access::Role;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{house::House, peer::Peer};

/// A connected worker with a run for each generation.
pub(crate) struct Producer {
    pub(crate) peer: Peer,
    pub(crate) runs: Vec<Run>,
    said: u64,
}

/// A run it holds.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) generation: String,
    lease: String,
}

/// The message that submits one generation of the bench's pipeline over a live socket.
pub(crate) fn generate(request: u64) -> Value {
    json!({"type": "generate", "requestId": format!("r{request}"), "pipeline": "bench", "input": {}})
}

impl Producer {
    /// Connects, submits `count` generations as `user`, and takes them all.
    pub(crate) async fn start(house: &House, user: &str, count: usize) -> Result<Self> {
        let mut peer = Self::greet(house, count).await?;
        let mut client = Peer::connect(&house.address, "/v1/live", &house.token(user, Role::User)?).await?;
        let mut runs = Vec::new();
        for request in 0..count as u64 {
            client.say(&generate(request)).await?;
            client.hear_until(|message| message["type"] == "accepted").await?;
            runs.push(Self::take(&mut peer).await?);
            // Each offer used a token; a heartbeat refills them.
            peer.say(&json!({"type": "heartbeat", "tokens": 10})).await?;
        }
        Ok(Self { peer, runs, said: 0 })
    }

    /// Connects a worker of the bench's pipeline without any run.
    pub(crate) async fn greet(house: &House, slots: usize) -> Result<Peer> {
        let mut peer = Peer::connect(&house.address, "/v1/worker", &house.token("bench", Role::Worker)?).await?;
        let pipeline = json!({"name": "bench", "version": 1, "stages": [{"name": "publishing", "pool": "bench"}]});
        peer.say(&json!({"type": "hello", "worker": "bench", "instance": "1", "pools": {"bench": slots.clamp(1, 256)},
            "pipelines": [pipeline]}))
            .await?;
        peer.hear_until(|message| message["type"] == "welcome").await?;
        Ok(peer)
    }

    async fn take(peer: &mut Peer) -> Result<Run> {
        let offer = peer.hear_until(|message| message["type"] == "offer").await?;
        peer.say(&json!({"type": "accept", "offer": offer["offer"]})).await?;
        let granted = peer.hear_until(|message| message["type"] == "granted").await?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
        Ok(Run { generation: text(&offer["generation"])?, lease: text(&granted["lease"])? })
    }

    /// Says one line of `bytes` or so under run `index`; its `ack` comes when it is durable.
    pub(crate) async fn publish(&mut self, index: usize, mark: &Value) -> Result<()> {
        self.said += 1;
        let message = json!({"type": "event", "lease": self.runs[index].lease, "eventId": format!("b{}", self.said),
            "event": "log", "message": "Generating frames (22/48)", "metadata": {"mark": mark}});
        self.peer.say(&message).await
    }
}
