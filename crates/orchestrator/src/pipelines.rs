//! Which pipelines there are: from configuration, and from workers where that is allowed.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;
use protocol::{ErrorCode, Pipeline, PipelineName, Problem};

/// 256: ten times what a product has; a worker that registers versions in a loop is stopped here.
const PIPELINES_MAX: usize = 256;

/// A pipeline with its schema, compiled once.
#[derive(Debug)]
pub struct Registered {
    /// The definition.
    pub pipeline: Arc<Pipeline>,
    schema: OnceLock<Option<jsonschema::Validator>>,
}

impl Registered {
    /// Checks `input`; absent takes any object.
    #[must_use]
    pub fn schema(&self) -> Option<&jsonschema::Validator> {
        let compiled =
            || compile(&self.pipeline).expect("compiled when it was registered, or our own, which a test compiles");
        self.schema.get_or_init(compiled).as_ref()
    }
}

/// All definitions, by name and version.
#[derive(Debug, Default)]
pub struct Pipelines {
    known: RwLock<BTreeMap<PipelineName, BTreeMap<u32, Arc<Registered>>>>,
}

impl Pipelines {
    /// Adds a definition. The same definition again is fine.
    ///
    /// # Errors
    /// `invalid_input` when it is not usable, `pipeline_conflict` when this version is defined otherwise.
    pub fn register(&self, pipeline: Pipeline) -> Result<(), Problem> {
        pipeline.check().map_err(|text| Problem::new(ErrorCode::InvalidInput, text))?;
        let mut known = self.known.write();
        let count: usize = known.values().map(BTreeMap::len).sum();
        let versions = known.get(&pipeline.name);
        if let Some(existing) = versions.and_then(|versions| versions.get(&pipeline.version)) {
            return if *existing.pipeline == pipeline { Ok(()) } else { Err(conflict(&pipeline)) };
        }
        if count >= PIPELINES_MAX {
            return Err(Problem::new(ErrorCode::QueueFull, format!("{PIPELINES_MAX} pipelines are registered"))
                .hint("restart the server without the workers that register new versions"));
        }
        // Somebody else's schema may be wrong and is compiled now. Ours is right, and a server that only shows what is
        // submitted elsewhere never needs the megabytes of a compiler of schemas.
        let schema = if pipeline.input_schema == Pipeline::video().input_schema {
            OnceLock::new()
        } else {
            OnceLock::from(compile(&pipeline)?)
        };
        let registered = Registered { pipeline: Arc::new(pipeline), schema };
        known
            .entry(registered.pipeline.name.clone())
            .or_default()
            .insert(registered.pipeline.version, Arc::new(registered));
        Ok(())
    }

    /// The highest version of `name`.
    #[must_use]
    pub fn newest(&self, name: &str) -> Option<Arc<Registered>> {
        self.known.read().get(name).and_then(|versions| versions.values().next_back().cloned())
    }

    /// Every definition.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pipeline>> {
        self.known.read().values().flat_map(BTreeMap::values).map(|one| Arc::clone(&one.pipeline)).collect()
    }
}

fn conflict(pipeline: &Pipeline) -> Problem {
    Problem::new(
        ErrorCode::PipelineConflict,
        format!("pipeline {} version {} is registered with another definition", pipeline.name, pipeline.version),
    )
    .hint("raise its version")
}

pub(crate) fn compile(pipeline: &Pipeline) -> Result<Option<jsonschema::Validator>, Problem> {
    let Some(schema) = &pipeline.input_schema else { return Ok(None) };
    crate::intake::check_depth("inputSchema", protocol::json_depth(schema))?;
    jsonschema::validator_for(schema).map(Some).map_err(|error| {
        Problem::new(ErrorCode::InvalidInput, format!("inputSchema of pipeline {}: {error}", pipeline.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_schema_compiles_when_it_is_needed_and_not_before() {
        let pipelines = Pipelines::default();
        pipelines.register(Pipeline::video()).unwrap();
        let video = pipelines.newest("video").unwrap();
        assert!(video.schema.get().is_none());
        assert!(video.schema().unwrap().is_valid(&serde_json::json!({"prompt": "a lighthouse"})));
        assert!(!video.schema().unwrap().is_valid(&serde_json::json!({"prompt": 7})));
    }

    #[test]
    fn a_schema_of_somebody_else_is_compiled_when_it_is_registered() {
        let broken = Pipeline { input_schema: Some(serde_json::json!({"type": 7})), ..Pipeline::video() };
        let refused = Pipelines::default().register(broken).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidInput);
    }

    #[test]
    fn another_definition_of_a_version_is_refused() {
        let pipelines = Pipelines::default();
        pipelines.register(Pipeline::video()).unwrap();
        pipelines.register(Pipeline::video()).unwrap();
        let mut other = Pipeline::video();
        other.stages[0].weight += 1;
        assert_eq!(pipelines.register(other.clone()).unwrap_err().code, ErrorCode::PipelineConflict);
        other.version = 2;
        pipelines.register(other).unwrap();
        assert_eq!(pipelines.newest("video").unwrap().pipeline.version, 2);
    }
}
