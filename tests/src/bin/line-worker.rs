//! A worker as a process of its own that talks instead of drawing: each stage is so many lines of log, said as fast as they
//! are acknowledged. What it said and was not acknowledged when its connection ended it says again, under the same ids.
//!
//! `line-worker URL NAME LINES`: lines of a stage, each `line <n>` from 0.

use anyhow::{Context, Result, ensure};
use rushes_tests::{
    Heard, Socket,
    taker::{Run, Taker},
};
use serde_json::{Value, json};

/// What may be said and not yet acknowledged. Twelve of these together stay within three of the store's batches, so that
/// what is said last does not wait for long; one write carries half of it.
const UNACKED_MAX: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, lines] = arguments.as_slice() else { anyhow::bail!("line-worker URL NAME LINES") };
    let lines = lines.parse()?;
    let taker = Taker::new(url, name);
    taker
        .serve(async |socket: &mut Socket, run: &mut Run| Script::of(&taker, run, lines).play(socket, run).await)
        .await;
    Ok(())
}

/// All that is to be said of one run, by number.
struct Script {
    /// Goes before the number in the ids of its messages.
    prefix: String,
    lines: usize,
}

impl Script {
    fn of(taker: &Taker, run: &Run, lines: usize) -> Self {
        Self { prefix: format!("{}.{}.{}.", taker.name, taker.instance, run.fence), lines }
    }

    /// Each stage has its lines and its end; last comes the run's.
    fn message(&self, run: &Run, step: usize) -> Value {
        let (stage, line) = (step / (self.lines + 1), step % (self.lines + 1));
        let mut message = match run.stages.get(stage) {
            Some(_) if line < self.lines => json!({"type": "event", "event": "log", "message": format!("line {line}")}),
            Some(stage) => json!({"type": "event", "event": "stage_completed", "stage": stage}),
            None => json!({"type": "done", "outputs": {}}),
        };
        message["eventId"] = json!(format!("{}{step}", self.prefix));
        message["lease"] = json!(run.lease);
        message
    }

    /// How far the stage is. Nobody acknowledges it, and most of it is passed over for what follows.
    fn progress(&self, run: &Run, step: usize) -> Option<Value> {
        let (stage, line) = (step / (self.lines + 1), step % (self.lines + 1));
        let per_cent = 100.0 * line as f64 / self.lines as f64;
        let stage = run.stages.get(stage)?;
        Some(json!({"type": "progress", "lease": run.lease, "stage": stage, "progress": per_cent}))
    }

    /// Says it from where the run is to its end, or until the run is somebody else's.
    async fn play(&self, socket: &mut Socket, run: &mut Run) -> Result<()> {
        let steps = run.stages.len() * (self.lines + 1) + 1;
        let mut said = run.done;
        while run.done < steps {
            if said < steps && said - run.done <= UNACKED_MAX / 2 {
                let until = steps.min(run.done + UNACKED_MAX);
                let messages: Vec<Value> = self
                    .progress(run, said)
                    .into_iter()
                    .chain((said..until).map(|step| self.message(run, step)))
                    .collect();
                socket.say_all(&messages).await?;
                said = until;
            }
            let Heard::Message(answer) = socket.hear().await? else { anyhow::bail!("the connection ended") };
            let of_ours = answer["eventId"].as_str().and_then(|id| id.strip_prefix(&self.prefix));
            match (answer["type"].as_str(), of_ours) {
                (Some("ack"), Some(step)) => {
                    let step: usize = step.parse().context("a number of ours")?;
                    ensure!(step == run.done, "{step} is acknowledged where {} comes next", run.done);
                    run.done += 1;
                }
                (Some("refused"), Some(_)) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }
}
