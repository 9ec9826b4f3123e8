//! `[[pipeline]]` tables: the words of the file, with durations for people, become a [`Pipeline`].

use std::{ops::Range, time::Duration};

use protocol::{BackendName, Durability, Pipeline, PipelineName, PoolName, Stage, StageName};
use serde::{Deserialize, Deserializer, de::Error as _, de::IntoDeserializer as _};
use toml::{Spanned, de::DeValue};

use super::value;

/// One table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: PipelineName,
    #[serde(default = "first_version")]
    version: u32,
    #[serde(default)]
    durability: Durability,
    stages: Vec<Step>,
    on_failed: Option<Step>,
    timeout: Option<Span>,
    queue_timeout: Option<Span>,
    /// JSON Schema of `input`, written in TOML.
    input_schema: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: StageName,
    pool: Option<PoolName>,
    weight: Option<u32>,
    message: Option<String>,
    timeout: Option<Span>,
    stall: Option<Span>,
    retries: Option<u32>,
    backoff: Option<Span>,
    backoff_max: Option<Span>,
    breaker: Option<BackendName>,
    bigger_pool: Option<PoolName>,
    #[serde(default)]
    keep: bool,
    expected: Option<Span>,
}

/// `30m` and the like.
struct Span(u64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration: Duration = value::duration(&text).map_err(D::Error::custom)?;
        u64::try_from(duration.as_millis()).map(Self).map_err(D::Error::custom)
    }
}

const fn first_version() -> u32 {
    1
}

/// What a table of the file looks like, for the reference page.
pub(super) const EXAMPLE: &str = r#"[[pipeline]]
name = "portrait"
version = 1
durability = "strict"             # as the option of that name
stages = [
    { name = "prompt_analysis", pool = "cpu", weight = 5 },
    { name = "generating_frames", pool = "gpu", weight = 80, timeout = "30m", stall = "2m", retries = 3, keep = true, backoff = "200ms", backoff_max = "1m", breaker = "model-server", bigger_pool = "gpu-80gb" },
    { name = "encoding", pool = "cpu", weight = 15, message = "Encoding final video...", expected = "8s" },
]
on_failed = { name = "clean_up", pool = "cpu", timeout = "1m" }   # before the end, when it failed or was cancelled
timeout = "2h"                    # of the whole, from its submission
queue_timeout = "30m"             # of one wait
input_schema = { type = "object", required = ["prompt"] }
"#;

/// Reads one table, without comparing it with others.
pub(super) fn read(table: Spanned<DeValue<'_>>) -> Result<Pipeline, (Option<Range<usize>>, String)> {
    let table = Table::deserialize(table.into_deserializer())
        .map_err(|error| (error.span(), format!("pipeline: {}", error.message())))?;
    let wrong = |problem| (None, problem);
    let pipeline = Pipeline {
        version: table.version,
        on_failed: table.on_failed.map(Step::stage).transpose().map_err(wrong)?.map(Box::new),
        timeout_ms: table.timeout.map(|span| span.0),
        queue_timeout_ms: table.queue_timeout.map(|span| span.0),
        input_schema: table.input_schema,
        durability: table.durability,
        ..Pipeline::new(table.name, table.stages.into_iter().map(Step::stage).collect::<Result<_, _>>().map_err(wrong)?)
    };
    if pipeline.is_external() {
        return Err((None, "pipeline `external` is built in; give this one another name".to_owned()));
    }
    pipeline.check().map_err(|problem| (None, problem))?;
    Ok(pipeline)
}

impl Step {
    fn stage(self) -> Result<Stage, String> {
        let standard = Stage::new(self.name);
        if let (Some(timeout), Some(stall)) = (&self.timeout, &self.stall)
            && stall.0 > timeout.0
        {
            return Err(format!("stage {}: stall is longer than timeout and would never be reached", standard.name));
        }
        Ok(Stage {
            pool: self.pool.unwrap_or(standard.pool),
            weight: self.weight.unwrap_or(standard.weight),
            message: self.message,
            timeout_ms: self.timeout.map_or(standard.timeout_ms, |span| span.0),
            stall_ms: self.stall.map_or(standard.stall_ms, |span| span.0),
            retries: self.retries.unwrap_or(standard.retries),
            backoff_ms: self.backoff.map_or(standard.backoff_ms, |span| span.0),
            backoff_max_ms: self.backoff_max.map_or(standard.backoff_max_ms, |span| span.0),
            breaker: self.breaker,
            bigger_pool: self.bigger_pool,
            keep: self.keep,
            expected_ms: self.expected.map_or(standard.expected_ms, |span| span.0),
            name: standard.name,
        })
    }
}
