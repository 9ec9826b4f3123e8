//! `[[pipeline]]` tables: the words of the file, with durations for people, become a [`Pipeline`].

use std::{ops::Range, time::Duration};

use protocol::{Durability, Pipeline, PipelineName, PoolName, Stage, StageName};
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
    { name = "generating_frames", pool = "gpu", weight = 80, timeout = "30m", stall = "2m", retries = 3, keep = true },
    { name = "encoding", pool = "cpu", weight = 15, message = "Encoding final video...", expected = "8s" },
]
input_schema = { type = "object", required = ["prompt"] }
"#;

/// Reads one table.
pub(super) fn read(table: Spanned<DeValue<'_>>) -> Result<Pipeline, (Option<Range<usize>>, String)> {
    let table = Table::deserialize(table.into_deserializer())
        .map_err(|error| (error.span(), format!("pipeline: {}", error.message())))?;
    let pipeline = Pipeline {
        name: table.name,
        version: table.version,
        stages: table.stages.into_iter().map(Step::stage).collect(),
        input_schema: table.input_schema,
        durability: table.durability,
    };
    if pipeline.is_external() {
        return Err((None, "pipeline `external` is built in; give this one another name".to_owned()));
    }
    pipeline.check().map_err(|problem| (None, problem))?;
    Ok(pipeline)
}

impl Step {
    fn stage(self) -> Stage {
        let standard = Stage::new(self.name);
        Stage {
            pool: self.pool.unwrap_or(standard.pool),
            weight: self.weight.unwrap_or(standard.weight),
            message: self.message,
            timeout_ms: self.timeout.map_or(standard.timeout_ms, |span| span.0),
            stall_ms: self.stall.map_or(standard.stall_ms, |span| span.0),
            retries: self.retries.unwrap_or(standard.retries),
            keep: self.keep,
            expected_ms: self.expected.map_or(standard.expected_ms, |span| span.0),
            name: standard.name,
        }
    }
}
