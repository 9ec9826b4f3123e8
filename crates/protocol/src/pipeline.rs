//! A pipeline as data: ordered stages with their pools, weights and bounds. The rules that read it live in the engine.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::{BackendName, BreakerName, PipelineName, PoolName, StageName},
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
    /// Longest wait before the first retry, in milliseconds; it doubles with each, with full jitter.
    #[serde(default = "Stage::default_backoff_ms")]
    pub backoff_ms: u64,
    /// Longest wait before any retry, in milliseconds.
    #[serde(default = "Stage::default_backoff_max_ms")]
    pub backoff_max_ms: u64,
    /// What it leans on: failures of all pipelines' stages of this name on this backend count together, and open one
    /// breaker. Absent means its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BackendName>,
    /// Where it is tried again when it ran out of memory; absent means where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bigger_pool: Option<PoolName>,
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
    const fn default_backoff_ms() -> u64 {
        limits::RETRY_BASE_MS
    }
    const fn default_backoff_max_ms() -> u64 {
        limits::RETRY_DELAY_MAX_MS
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
            backoff_ms: Self::default_backoff_ms(),
            backoff_max_ms: Self::default_backoff_max_ms(),
            breaker: None,
            bigger_pool: None,
            keep: false,
            expected_ms: Self::default_expected_ms(),
        }
    }

    /// The breaker its failures count for.
    #[must_use]
    pub fn breaker_name(&self) -> BreakerName {
        let backend = self.breaker.as_ref().map_or(self.pool.as_str(), BackendName::as_str);
        BreakerName::new(format!("{}:{backend}", self.name)).expect("two names and a colon are a breaker's name")
    }

    /// Checks what serde cannot; `of` names the pipeline.
    fn check(&self, of: &PipelineName) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("stage {} of {of}: {what}", self.name));
        if self.weight == 0 || self.timeout_ms == 0 || self.stall_ms == 0 || self.backoff_ms == 0 {
            return wrong("weight, timeout, stall and backoff are at least 1");
        }
        let longest = self.timeout_ms.max(self.stall_ms).max(self.backoff_max_ms).max(self.expected_ms);
        if longest > limits::PIPELINE_BOUND_MAX_MS {
            return wrong("timeout, stall, backoff and expected are 7 days at most");
        }
        if self.backoff_max_ms < self.backoff_ms {
            return wrong("the longest backoff is shorter than the first: raise it, or lower the first");
        }
        if self.retries > limits::RETRIES_MAX {
            return wrong(&format!("{} retries: {} at most", self.retries, limits::RETRIES_MAX));
        }
        if self.bigger_pool.as_ref() == Some(&self.pool) {
            return wrong("its bigger pool is its own pool: name another, or leave it out");
        }
        if self.message.as_ref().is_some_and(|message| message.len() > limits::MESSAGE_BYTES_MAX) {
            return wrong(&format!("its message is over {} bytes: shorten it", limits::MESSAGE_BYTES_MAX));
        }
        Ok(())
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
    /// The clean-up: run before the terminal event when a generation that had begun fails for good or is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failed: Option<Box<Stage>>,
    /// A generation that has not ended so long after it was submitted fails, in milliseconds; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// A generation that waits for longer in the queue at one time fails, in milliseconds; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
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

    /// A first version with these stages and nothing else.
    #[must_use]
    pub const fn new(name: PipelineName, stages: Vec<Stage>) -> Self {
        Self {
            name,
            version: 1,
            stages,
            on_failed: None,
            timeout_ms: None,
            queue_timeout_ms: None,
            input_schema: None,
            durability: Durability::Strict,
        }
    }

    /// The pipeline of the first dialect: five stages on one pool, weights 5/55/15/15/10.
    #[must_use]
    pub fn video() -> Self {
        let stage = |name: &str, weight, message: &str, expected_ms, keep| Stage {
            weight,
            message: Some(message.to_owned()),
            expected_ms,
            keep,
            ..Stage::new(StageName::new(name).expect("a literal stage name is valid"))
        };
        // The middles of the first document's ranges: 1-3, 10-120, 5-30, 5-60 and 3-15 seconds.
        let stages = vec![
            stage("prompt_analysis", 5, "Analyzing prompt...", 2_000, false),
            stage("generating_frames", 55, "Generating frames...", 45_000, true),
            stage("interpolating", 15, "Interpolating between keyframes...", 15_000, false),
            stage("upscaling", 15, "Upscaling to 1080p...", 25_000, false),
            stage("encoding", 10, "Encoding final video...", 8_000, true),
        ];
        let name = PipelineName::new(Self::DEFAULT).expect("a literal pipeline name is valid");
        Self { input_schema: Some(video_input_schema()), ..Self::new(name, stages) }
    }

    /// The pipeline of external producers.
    #[must_use]
    pub fn external() -> Self {
        Self::new(PipelineName::new(Self::EXTERNAL).expect("a literal pipeline name is valid"), Vec::new())
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
        if self.is_external() {
            // Compared whole: a bound or a clean-up of it would never be looked at.
            let plain = *self == Self { input_schema: self.input_schema.clone(), ..Self::external() };
            return if plain {
                Ok(())
            } else {
                Err("pipeline external is run outside: it has no stages, bounds or clean-up".to_owned())
            };
        }
        if self.version == 0 {
            return Err(format!("pipeline {} has version 0: versions count from 1", self.name));
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
        let all: Vec<&Stage> = self.stages.iter().chain(self.on_failed.as_deref()).collect();
        for (n, stage) in all.iter().enumerate() {
            if all[..n].iter().any(|other| other.name == stage.name) {
                return Err(format!("stage {} stands twice in pipeline {}: names are unique", stage.name, self.name));
            }
            stage.check(&self.name)?;
        }
        self.check_bounds()
    }

    fn check_bounds(&self) -> Result<(), String> {
        let bounds = [self.timeout_ms, self.queue_timeout_ms];
        if bounds.iter().flatten().any(|bound| !(1..=limits::PIPELINE_BOUND_MAX_MS).contains(bound)) {
            return Err(format!("pipeline {}: timeout and queue timeout are 1 ms to 7 days", self.name));
        }
        if let [Some(timeout), Some(queue)] = bounds
            && queue > timeout
        {
            return Err(format!(
                "pipeline {}: the queue timeout is longer than the timeout and would never be reached: lower it",
                self.name
            ));
        }
        Ok(())
    }

    /// The definition of the stage at `index`; the one after the last is the clean-up, where there is one.
    #[must_use]
    pub fn stage_at(&self, index: usize) -> Option<&Stage> {
        self.stages.get(index).or_else(|| self.on_failed.as_deref().filter(|_| index == self.stages.len()))
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
            "image": {"type": "string"},
            "encoder": {"enum": ["openh264", "x264", "svt-av1"]}
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

    #[test]
    fn a_definition_that_makes_no_sense_is_refused_with_what_to_change() {
        let change = |change: fn(&mut Pipeline)| {
            let mut pipeline = Pipeline::video();
            change(&mut pipeline);
            pipeline.check().unwrap_err()
        };
        for (said, word) in [
            (change(|p| p.version = 0), "count from 1"),
            (change(|p| p.stages.clear()), "at least one"),
            (change(|p| p.stages[0].timeout_ms = 0), "at least 1"),
            (change(|p| p.stages[0].retries = 101), "100 at most"),
            (change(|p| p.stages[0].backoff_max_ms = 1), "raise it"),
            (change(|p| p.stages[0].bigger_pool = Some(p.stages[0].pool.clone())), "name another"),
            (change(|p| p.stages[0].message = Some("x".repeat(1_025))), "shorten it"),
            (change(|p| p.stages[0].timeout_ms = u64::MAX), "7 days"),
            (change(|p| p.on_failed = Some(Box::new(p.stages[0].clone()))), "stands twice"),
            (change(|p| (p.timeout_ms, p.queue_timeout_ms) = (Some(1), Some(2))), "lower it"),
            (change(|p| p.timeout_ms = Some(0)), "1 ms to 7 days"),
            (change(|p| p.name = Pipeline::external().name), "run outside"),
        ] {
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_breaker_is_named_after_its_stage_and_what_the_stage_leans_on() {
        let mut stage = Pipeline::video().stages[3].clone();
        assert_eq!(stage.breaker_name().as_str(), "upscaling:gpu");
        stage.breaker = Some(BackendName::new("vendor").unwrap());
        assert_eq!(stage.breaker_name().as_str(), "upscaling:vendor");
    }
}
