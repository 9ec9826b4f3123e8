//! `rushes generate`: a prompt becomes a film.

use std::path::PathBuf;

use clap::Args;
use protocol::{Metadata, PipelineName, http::Submission, position::After};

use super::{
    narrow_runtime,
    watch::{check_output, finish, follow},
};
use crate::{fault::Fault, reach::Reach, signals::Signals};

/// Ctrl-C stops the watching, not the generation. Without `--token`, a demo on this machine is entered with a token made
/// from the secret in its data folder.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// What to show
    prompt: String,
    /// Save the film here; without it its link is printed
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Length of the film
    #[arg(long, value_name = "NUMBER")]
    seconds: Option<f64>,
    /// Width of the film in pixels
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Height of the film in pixels
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// Pictures a second
    #[arg(long, value_name = "NUMBER")]
    fps: Option<u32>,
    /// Chooses what the prompt leaves open; the same seed gives the same film
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Which pipeline; the server's default without it
    #[arg(long, value_name = "NAME")]
    pipeline: Option<PipelineName>,
    #[command(flatten)]
    reach: Reach,
}

impl Generate {
    fn submission(&self) -> Submission {
        let mut params = Metadata::new();
        let mut put = |key: &str, value: Option<serde_json::Value>| {
            if let Some(value) = value {
                params.insert(key.to_owned(), value);
            }
        };
        put("seconds", self.seconds.map(Into::into));
        put("width", self.width.map(Into::into));
        put("height", self.height.map(Into::into));
        put("fps", self.fps.map(Into::into));
        put("seed", self.seed.map(Into::into));
        Submission {
            pipeline: self.pipeline.clone(),
            prompt: Some(self.prompt.clone()),
            params: (!params.is_empty()).then_some(params),
            ..Submission::default()
        }
    }

    pub(crate) fn run(self) -> Result<(), Fault> {
        check_output(self.output.as_deref())?;
        let client = self.reach.client()?;
        narrow_runtime()?.block_on(async {
            let signals = Signals::listen()?;
            let accepted = client.submit(&self.submission(), Some(&key()?)).await?;
            let id = accepted.generation.id;
            eprintln!("{id}");
            let end = follow(&client, &id, After::Start, signals.stop()).await?;
            finish(&client, &end, self.output.as_deref()).await
        })
    }
}

/// Names this one wish: a proxy that repeats the request does not repeat the film.
fn key() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::failed(format!("no random numbers: {error}")))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        generate: Generate,
    }

    #[test]
    fn only_what_was_asked_for_is_submitted() {
        let line = Line::parse_from(["x", "a lake", "--seconds", "2.5", "--seed", "7"]);
        let text = serde_json::to_value(line.generate.submission()).unwrap();
        assert_eq!(text["params"], serde_json::json!({"seconds": 2.5, "seed": 7}));
        assert_eq!(text["prompt"], "a lake");
        let line = Line::parse_from(["x", "a lake"]);
        assert_eq!(line.generate.submission().params, None);
    }
}
