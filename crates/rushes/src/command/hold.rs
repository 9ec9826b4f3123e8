//! `rushes pause`, `rushes resume` and `rushes breaker`: what an operator holds back.

use clap::{Args, Subcommand};
use protocol::{BreakerName, PipelineName};

use super::narrow_runtime;
use crate::{fault::Fault, reach::Reach, text};

/// What runs goes on, what waits keeps its place, and owners are told. Wants a token of role `operator`.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Which pipeline
    pipeline: PipelineName,
    #[command(flatten)]
    reach: Reach,
}

impl Hold {
    pub(crate) fn run(self, paused: bool) -> Result<(), Fault> {
        let client = self.reach.operator()?;
        narrow_runtime()?.block_on(client.pause(&self.pipeline, paused))?;
        println!("{} is {}", self.pipeline, if paused { "paused" } else { "resumed" });
        Ok(())
    }
}

/// A breaker belongs to a stage and what it leans on: `upscaling:gpu`. Wants a token of role `operator`.
#[derive(Debug, Args)]
pub(crate) struct Breaker {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List breakers that are not at rest, as JSON
    List {
        #[command(flatten)]
        reach: Reach,
    },
    /// Let nothing start that needs it
    Open(Force),
    /// Let everything start, whatever fails
    Close(Force),
    /// Leave it to itself, as if nothing had happened
    Reset(Force),
}

#[derive(Debug, Args)]
struct Force {
    /// Which one: `<stage>:<backend>`
    breaker: BreakerName,
    #[command(flatten)]
    reach: Reach,
}

impl Breaker {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let (force, word) = match self.what {
            What::List { reach } => {
                let breakers = narrow_runtime()?.block_on(reach.operator()?.breakers())?;
                println!("{}", text::json(&breakers)?);
                return Ok(());
            }
            What::Open(force) => (force, Some("open")),
            What::Close(force) => (force, Some("closed")),
            What::Reset(force) => (force, None),
        };
        let client = force.reach.operator()?;
        narrow_runtime()?.block_on(client.force_breaker(&force.breaker, word))?;
        println!(
            "{} is {}",
            force.breaker,
            word.map_or_else(|| "left to itself".to_owned(), |word| format!("held {word}"))
        );
        Ok(())
    }
}
