//! A worker as a process of its own that waits instead of drawing: what is tested with it is who gets which run, and what
//! becomes of it when the process is killed or frozen. Each stage takes as long as it is told.
//!
//! `stage-worker URL NAME LOG SHORTEST LONGEST`: milliseconds of a stage. Every answered message of a run is written to LOG
//! as `generation fence sequence` when it was taken, and as `generation fence refused` when it was not.

use std::{io::Write as _, time::Duration};

use anyhow::Result;
use rushes_tests::{
    Heard, Socket,
    taker::{Run, Taker},
};
use serde_json::{Value, json};

/// Does the runs.
struct Hand {
    /// Goes before the ids of its messages.
    name: String,
    log: std::fs::File,
    shortest_ms: u64,
    longest_ms: u64,
    dice: u64,
    said: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, log, shortest, longest] = arguments.as_slice() else {
        anyhow::bail!("stage-worker URL NAME LOG SHORTEST LONGEST")
    };
    let taker = Taker::new(url, name);
    let mut hand = Hand {
        name: format!("{name}.{}", taker.instance),
        log: std::fs::OpenOptions::new().create(true).append(true).open(log)?,
        shortest_ms: shortest.parse()?,
        longest_ms: longest.parse()?,
        dice: u64::from(std::process::id()),
        said: 0,
    };
    taker.serve(async |socket: &mut Socket, run: &mut Run| hand.work(socket, run).await).await;
    Ok(())
}

impl Hand {
    async fn work(&mut self, socket: &mut Socket, run: &mut Run) -> Result<()> {
        while let Some(stage) = run.stages.first().cloned() {
            let takes =
                Duration::from_millis(self.shortest_ms + self.roll() % (self.longest_ms - self.shortest_ms + 1));
            tokio::time::sleep(takes).await;
            let event = json!({"type": "event", "event": "stage_completed", "stage": stage});
            if !self.durable(socket, run, event).await? {
                return Ok(());
            }
            run.stages.remove(0);
        }
        self.durable(socket, run, json!({"type": "done", "outputs": {}})).await?;
        Ok(())
    }

    /// Says something of the run until it is answered, and notes the answer. False when it was refused.
    async fn durable(&mut self, socket: &mut Socket, run: &Run, mut message: Value) -> Result<bool> {
        self.said += 1;
        let id = format!("{}.{}", self.name, self.said);
        message["eventId"] = json!(id);
        message["lease"] = json!(run.lease);
        socket.say(&message).await?;
        loop {
            let Heard::Message(answer) = socket.hear().await? else { anyhow::bail!("the connection ended") };
            if answer["eventId"] != json!(id) {
                continue;
            }
            let taken = answer["type"] == "ack";
            let word = if taken { answer["sequence"].to_string() } else { "refused".to_owned() };
            writeln!(self.log, "{} {} {word}", run.generation, run.fence)?;
            return Ok(taken);
        }
    }

    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 33
    }
}
