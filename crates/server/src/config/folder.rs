//! Pipelines as files of a folder, and what no two definitions may do, wherever they stand: define one version twice.
//!
//! Reading `rushes.toml` is pure; a folder is only known once its setting is, so it is read in a second step.

use std::path::Path;

use orchestrator::Pipelines;
use protocol::Pipeline;

use super::{ConfigError, Loaded, file};

/// Most files read from the folder: as many as pipelines a server takes.
const FILES_MAX: usize = 256;

/// What is defined so far, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Definitions(Vec<(String, Pipeline)>);

impl Definitions {
    /// What every server has.
    pub(super) fn built_in() -> Self {
        let built_in = |pipeline| ("the program".to_owned(), pipeline);
        Self(vec![built_in(Pipeline::video()), built_in(Pipeline::external())])
    }

    /// Takes `pipeline`, found at `place`, unless it contradicts another or its schema is none.
    fn add(&mut self, place: &str, pipeline: &Pipeline) -> Result<(), String> {
        let same = |known: &&(String, Pipeline)| known.1.name == pipeline.name && known.1.version == pipeline.version;
        if let Some((other, _)) = self.0.iter().find(same) {
            let (name, version) = (&pipeline.name, pipeline.version);
            return Err(format!("pipeline {name} version {version} is defined by {other} already: raise its version"));
        }
        Pipelines::default().register(pipeline.clone()).map_err(|problem| problem.message)?;
        self.0.push((place.to_owned(), pipeline.clone()));
        Ok(())
    }
}

impl Loaded {
    /// Takes in the pipelines of one file and says what is wrong with them, with the line of each.
    pub(super) fn define(&mut self, path: &Path, pipelines: Vec<(usize, Pipeline)>) -> Vec<(usize, String)> {
        let mut problems = Vec::new();
        for (line, pipeline) in pipelines {
            let place = format!("{}:{line}", path.display());
            match self.definitions.add(&place, &pipeline) {
                Ok(()) => self.config.pipelines.push(pipeline),
                Err(problem) => problems.push((line, format!("{place}: {problem}"))),
            }
        }
        problems
    }

    /// Reads the files `*.toml` of the folder that `pipelines` names, in the order of their names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, each with file and line.
    pub fn with_folder(mut self) -> Result<Self, ConfigError> {
        let Some(folder) = self.config.pipelines_folder.clone() else { return Ok(self) };
        let failed = |error: std::io::Error| ConfigError::one(format!("pipelines {}: {error}", folder.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|end| end == "toml") {
                files.push(path);
            }
        }
        if files.len() > FILES_MAX {
            let what = format!("pipelines {}: {} files: {FILES_MAX} at most", folder.display(), files.len());
            return Err(ConfigError::one(what));
        }
        files.sort();
        let mut problems = Vec::new();
        for path in files {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let contents = file::read_pipelines(&path, &text);
                    let mut found = contents.problems;
                    found.extend(self.define(&path, contents.pipelines));
                    found.sort_by_key(|(line, _)| *line);
                    problems.extend(found.into_iter().map(|(_, problem)| problem));
                }
                Err(error) => problems.push(format!("{}: {error}", path.display())),
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(ConfigError { problems }) }
    }
}
