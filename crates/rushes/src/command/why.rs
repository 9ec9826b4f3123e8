//! `rushes why`: the reason why a generation is not running, in a sentence.

use clap::Args;
use protocol::{GenerationId, operate::Place};

use super::narrow_runtime;
use crate::{fault::Fault, reach::Reach, text};

/// One sentence, and beside it where the generation stands. Needs a token of role `operator`
/// (`rushes token --role operator`).
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Which generation
    id: GenerationId,
    /// Print it as JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Why {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let client = self.reach.operator()?;
        let place = narrow_runtime()?.block_on(client.why(&self.id))?;
        if self.json {
            println!("{}", text::json(&place)?);
        } else {
            print!("{}", page(&place));
        }
        Ok(())
    }
}

fn page(place: &Place) -> String {
    let mut lines = vec![text::plain(&place.why), format!("  state     {}", place.state.as_str())];
    lines.extend(place.stage.as_ref().map(|stage| format!("  stage     {stage}")));
    if let Some(pool) = &place.pool {
        let slots = format!("{} connected, {} slots free", place.workers, place.free_slots);
        lines.push(format!("  pool      {pool} (workers: {slots})"));
    }
    lines.extend(place.queue_position.map(|position| format!("  position  {position} in its queue")));
    lines.extend(place.not_before.map(|at| format!("  not before {}", at.to_rfc3339())));
    lines.push(format!("  owner     {} of {}", place.owner, place.tenant));
    lines.push(format!("  submitted {}", place.submitted_at.to_rfc3339()));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_comes_first() {
        let place: Place = serde_json::from_value(serde_json::json!({
            "generation": "gen_a", "tenant": "default", "owner": "ada", "state": "queued", "priority": "standard",
            "submittedAt": 0, "pool": "gpu", "queuePosition": 4, "workers": 1, "freeSlots": 0,
            "reason": "no_free_slot", "why": "no slot of pool gpu is free"
        }))
        .unwrap();
        assert_eq!(
            page(&place),
            "no slot of pool gpu is free\n  state     queued\n  pool      gpu (workers: 1 connected, 0 slots free)\n  \
             position  4 in its queue\n  owner     ada of default\n  submitted 1970-01-01T00:00:00.000Z\n"
        );
    }
}
