//! `rushes dead`: what failed for good, looked at, tried again, cleared away. For operators.

use clap::{Args, Subcommand};
use protocol::{
    GenerationId, Metadata, PipelineName, StageName, TenantId, UserId,
    dead::{DeadLetter, DeadLetterFilter, Redrive, RedriveMany},
    worker::FailureKind,
};
use serde_json::Value;

use super::narrow_runtime;
use crate::{fault::Fault, reach::Reach, text};

/// Letters of a list nobody gave a limit for: a screen.
const LISTED: usize = 40;

/// One line a letter: generation, pipeline and stage, code, message. Wants a token of role `operator`; a demo on this
/// machine is entered with one made from its secret.
#[derive(Debug, Args)]
pub(crate) struct Dead {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = LISTED)]
        limit: usize,
        #[command(flatten)]
        reach: Reach,
    },
    /// Count dead letters by cause
    Groups {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show one dead letter whole, as JSON
    Show {
        /// Which one
        id: GenerationId,
        #[command(flatten)]
        reach: Reach,
    },
    /// Make new generations of dead letters: of one, or of all that fit
    Redrive {
        /// Which one; without it, all that fit the filter and were not redriven yet
        id: Option<GenerationId>,
        #[command(flatten)]
        filter: Filter,
        /// Change this of the input: `seconds=2`, or `seconds=null` to leave it out
        #[arg(long = "set", value_name = "KEY=JSON", value_parser = pair)]
        set: Vec<(String, Value)>,
        /// Run it under the newest version of its pipeline
        #[arg(long)]
        newest: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Remove dead letters; their generations stay, as failed
    Purge {
        /// Which one; without it, all that fit the filter
        id: Option<GenerationId>,
        #[command(flatten)]
        filter: Filter,
        /// Yes, all of them
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
struct Filter {
    /// Only of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// Only of this owner
    #[arg(long, value_name = "USER")]
    owner: Option<UserId>,
    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<PipelineName>,
    /// Only those that failed in this stage
    #[arg(long, value_name = "NAME")]
    stage: Option<StageName>,
    /// Only of this kind: retryable, fatal, `invalid_input`, `out_of_memory`, stalled or `worker_lost`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    cause: Option<FailureKind>,
    /// Only with this code
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Only with this fingerprint, as `groups` prints them
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
}

fn kind(text: &str) -> Result<FailureKind, String> {
    let known = "write retryable, fatal, invalid_input, out_of_memory, stalled or worker_lost";
    serde_json::from_value(Value::from(text)).map_err(|_| known.to_owned())
}

fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=JSON, such as seconds=2")?;
    // A bare word is a text: shells take quotes away.
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((key.to_owned(), value))
}

impl Filter {
    fn read(self, generation: Option<GenerationId>) -> DeadLetterFilter {
        let Self { tenant, owner, pipeline, stage, cause, code, fingerprint } = self;
        DeadLetterFilter {
            generation,
            tenant,
            owner,
            pipeline,
            stage,
            cause,
            code,
            fingerprint,
            ..DeadLetterFilter::default()
        }
    }
}

impl Dead {
    pub(crate) fn run(self) -> Result<(), Fault> {
        narrow_runtime()?.block_on(self.what.run())
    }
}

impl What {
    async fn run(self) -> Result<(), Fault> {
        match self {
            Self::List { filter, limit, reach } => {
                let page = reach.operator()?.dead_letters(&filter.read(None), limit, None).await?;
                page.letters.iter().for_each(|letter| println!("{}", line(letter)));
                if page.next_cursor.is_some() {
                    eprintln!("and more; `--limit` shows up to 200, `rushes dead groups` counts them");
                }
            }
            Self::Groups { filter, reach } => {
                let groups = reach.operator()?.dead_letter_groups(&filter.read(None)).await?.groups;
                for group in groups {
                    let stage = group.stage.map(|stage| stage.to_string()).unwrap_or_default();
                    let (print, count, code) = (group.fingerprint, group.count, group.code);
                    let line = format!("{count:>6}  {print}  {}/{stage}  {code}  {}", group.pipeline, group.message);
                    println!("{}", text::plain(&line));
                }
            }
            Self::Show { id, reach } => {
                println!("{}", text::json(&reach.operator()?.dead_letter(&id).await?)?);
            }
            Self::Redrive { id, filter, set, newest, reach } => {
                let input = (!set.is_empty()).then(|| set.into_iter().collect::<Metadata>());
                let change = Redrive { input, priority: None, newest };
                redrive(&reach, id, filter, change).await?;
            }
            Self::Purge { id, filter, all, reach } => {
                let purged = reach.operator()?.purge_dead_letters(&filter.read(id), all).await?.purged;
                println!("{purged} purged");
            }
        }
        Ok(())
    }
}

async fn redrive(reach: &Reach, id: Option<GenerationId>, filter: Filter, change: Redrive) -> Result<(), Fault> {
    let client = reach.operator()?;
    if let Some(id) = id {
        println!("{id} -> {}", client.redrive(&id, &change).await?.generation.id);
        return Ok(());
    }
    let many = client.redrive_many(&RedriveMany { filter: filter.read(None), limit: None, change }).await?;
    let mut refused = 0;
    for letter in &many.letters {
        match (&letter.redriven_as, &letter.error) {
            (Some(made), _) => println!("{} -> {made}", letter.generation_id),
            (None, error) => {
                refused += 1;
                let why = error.as_ref().map(ToString::to_string).unwrap_or_default();
                eprintln!("{}: {}", letter.generation_id, text::plain(&why));
            }
        }
    }
    if many.more {
        eprintln!("there are more: say it again");
    }
    if refused > 0 { Err(Fault::failed(format!("{refused} were not redriven"))) } else { Ok(()) }
}

fn line(letter: &DeadLetter) -> String {
    let stage = letter.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    let made = letter.redriven_as.as_ref().map(|made| format!("  -> {made}")).unwrap_or_default();
    let (id, code) = (&letter.generation_id, &letter.code);
    text::plain(&format!("{id}  {}/{stage}  {code}  {}{made}", letter.pipeline, letter.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker wrote reaches an operator's terminal and scripts that read lines.
    #[test]
    fn a_letter_is_one_line_that_steers_no_terminal() {
        let letter: DeadLetter = serde_json::from_value(serde_json::json!({
            "schema": "dlq.pipeline.v1", "generationId": "gen_a", "tenantId": "default", "userId": "ada",
            "causalId": "c", "pipeline": "video", "version": 1, "stage": "encoding", "cause": "fatal",
            "code": "X\u{1b}[2J", "message": "gone\ngen_b  video/encoding  X  well\u{9b}31m", "hint": "",
            "fingerprint": "0", "createdAt": 0, "failedAt": 0
        }))
        .unwrap();
        let line = line(&letter);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.starts_with("gen_a  video/encoding  X") && line.contains("gone gen_b"), "{line:?}");
    }
}
