//! A pipeline as data: ordered stages with their pools, weights and bounds. The rules that read it live in the engine.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::{PipelineName, PoolName, StageName},
    limits,
};

/// What a commit of this pipeline's events waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// fsync before anybody sees it.
    #[default]
    Strict,
    /// Committed, not synced: a power cut may take back the last moments, a crash of the process cannot.
    Relaxed,
    /// Submit, stage edges and ends are strict; progress is a hint, and the latest is kept.
    Relay,
}

/// One stage of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// Its name, shown to people and used by workers.
    pub name: StageName,
    /// Which workers can run it.
    #[serde(default = "Stage::default_pool")]
    pub pool: PoolName,
    /// Its share of the progress bar, relative to the other stages.
    #[serde(default = "Stage::default_weight")]
    pub weight: u32,
    /// What people read when it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// It fails when it takes longer, in milliseconds.
    #[serde(default = "Stage::default_timeout_ms")]
    pub timeout_ms: u64,
    /// It fails when its progress stands still for longer, in milliseconds.
    #[serde(default = "Stage::default_stall_ms")]
    pub stall_ms: u64,
    /// Tries after the first.
    #[serde(default = "Stage::default_retries")]
    pub retries: u32,
    /// Are its outputs uploaded, so that a later attempt can go on after it on another worker?
    #[serde(default)]
    pub keep: bool,
    /// How long it usually takes, in milliseconds, until there is experience.
    #[serde(default = "Stage::default_expected_ms")]
    pub expected_ms: u64,
}

impl Stage {
    fn default_pool() -> PoolName {
        PoolName::new("gpu").expect("a literal pool name is valid")
    }
    const fn default_weight() -> u32 {
        1
    }
    /// Thirty minutes: three times the longest render the documents describe.
    const fn default_timeout_ms() -> u64 {
        1_800_000
    }
    /// Two minutes: the longest silence of a model between two steps.
    const fn default_stall_ms() -> u64 {
        120_000
    }
    const fn default_retries() -> u32 {
        limits::RETRIES_DEFAULT
    }
    const fn default_expected_ms() -> u64 {
        10_000
    }

    /// A stage with all defaults.
    #[must_use]
    pub fn new(name: StageName) -> Self {
        Self {
            name,
            pool: Self::default_pool(),
            weight: Self::default_weight(),
            message: None,
            timeout_ms: Self::default_timeout_ms(),
            stall_ms: Self::default_stall_ms(),
            retries: Self::default_retries(),
            keep: false,
            expected_ms: Self::default_expected_ms(),
        }
    }
}

/// Ordered stages under a name and a version. Two different definitions of one version are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// What clients ask for.
    pub name: PipelineName,
    /// The highest version is used for new generations; running ones keep theirs.
    #[serde(default = "Pipeline::default_version")]
    pub version: u32,
    /// In order; empty only for `external`.
    pub stages: Vec<Stage>,
    /// JSON Schema of `input`; absent takes any object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// What its commits wait for.
    #[serde(default)]
    pub durability: Durability,
}

impl Pipeline {
    /// The pipeline used when a client names none.
    pub const DEFAULT: &'static str = "video";
    /// The pipeline of producers outside: never queued, no lease, ended by their own terminal event.
    pub const EXTERNAL: &'static str = "external";

    const fn default_version() -> u32 {
        1
    }

    /// The pipeline of the founding documents: five stages on one pool, weights 5/55/15/15/10.
    #[must_use]
    pub fn video() -> Self {
        let stage = |name: &str, weight, message: &str, expected_ms, keep| Stage {
            weight,
            message: Some(message.to_owned()),
            expected_ms,
            keep,
            ..Stage::new(StageName::new(name).expect("a literal stage name is valid"))
        };
        Self {
            name: PipelineName::new(Self::DEFAULT).expect("a literal pipeline name is valid"),
            version: 1,
            // The middles of the first document's ranges: 1-3, 10-120, 5-30, 5-60 and 3-15 seconds.
            stages: vec![
                stage("prompt_analysis", 5, "Analyzing prompt...", 2_000, false),
                stage("generating_frames", 55, "Generating frames...", 45_000, true),
                stage("interpolating", 15, "Interpolating between keyframes...", 15_000, false),
                stage("upscaling", 15, "Upscaling to 1080p...", 25_000, false),
                stage("encoding", 10, "Encoding final video...", 8_000, true),
            ],
            input_schema: Some(video_input_schema()),
            durability: Durability::Strict,
        }
    }

    /// The pipeline of external producers.
    #[must_use]
    pub fn external() -> Self {
        Self {
            name: PipelineName::new(Self::EXTERNAL).expect("a literal pipeline name is valid"),
            version: 1,
            stages: Vec::new(),
            input_schema: None,
            durability: Durability::Strict,
        }
    }

    /// Is it the pipeline of producers outside?
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.name.as_str() == Self::EXTERNAL
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// A sentence that names the field and what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.is_external() && self.stages.is_empty() {
            return Ok(());
        }
        if self.stages.is_empty() {
            return Err(format!("pipeline {} has no stages: give it at least one", self.name));
        }
        if self.stages.len() > limits::STAGES_MAX {
            return Err(format!(
                "pipeline {} has {} stages: {} at most",
                self.name,
                self.stages.len(),
                limits::STAGES_MAX
            ));
        }
        for (n, stage) in self.stages.iter().enumerate() {
            if self.stages[..n].iter().any(|other| other.name == stage.name) {
                return Err(format!("stage {} stands twice in pipeline {}: names are unique", stage.name, self.name));
            }
            if stage.weight == 0 || stage.timeout_ms == 0 || stage.stall_ms == 0 {
                return Err(format!(
                    "stage {} of {}: weight, timeoutMs and stallMs are at least 1",
                    stage.name, self.name
                ));
            }
        }
        Ok(())
    }
}

/// What the reference renderer takes. Bounds: 64 px is the least a codec handles well, 1920 the film's largest side,
/// 60 s what the queue of a demo can bear.
fn video_input_schema() -> Value {
    serde_json::json!({
        "type": "object",
        "required": ["prompt"],
        "additionalProperties": false,
        "properties": {
            "prompt": {"type": "string", "minLength": 1, "maxLength": limits::PROMPT_CHARS_MAX, "pattern": "\\S"},
            "width": {"type": "integer", "minimum": 64, "maximum": 1920},
            "height": {"type": "integer", "minimum": 64, "maximum": 1920},
            "fps": {"type": "integer", "minimum": 1, "maximum": 60},
            "seconds": {"type": "number", "minimum": 0.1, "maximum": 60},
            "seed": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_i64},
            "image": {"type": "string"}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pipeline_is_valid_and_weighs_a_hundred() {
        let video = Pipeline::video();
        video.check().unwrap();
        assert_eq!(video.stages.iter().map(|stage| stage.weight).sum::<u32>(), 100);
    }

    #[test]
    fn a_stage_that_stands_twice_is_refused_by_name() {
        let mut pipeline = Pipeline::video();
        pipeline.stages.push(pipeline.stages[0].clone());
        assert!(pipeline.check().unwrap_err().contains("prompt_analysis stands twice"));
    }
}
