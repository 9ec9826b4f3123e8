//! How long stages take, from experience: medians of the last runs of each, begun with what the pipeline expects.

use std::collections::{HashMap, VecDeque};

use engine::State;
use protocol::{PipelineName, StageName};

/// Runs remembered of each stage: enough for a median to hold still, few enough to follow a new model within the hour.
const RUNS_MAX: usize = 32;
/// The pipeline's own expectation counts as so many runs: three real ones outvote it.
const PRIOR_RUNS: usize = 2;
/// Stages remembered; of what comes after only the expectation counts. Ten times what a product has.
const STAGES_MAX: usize = 1_024;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Experience(HashMap<(PipelineName, StageName), VecDeque<u64>>);

impl Experience {
    /// A stage took so long, in milliseconds.
    pub(super) fn note(&mut self, pipeline: &PipelineName, stage: &StageName, took_ms: u64) {
        let key = (pipeline.clone(), stage.clone());
        if self.0.len() >= STAGES_MAX && !self.0.contains_key(&key) {
            return;
        }
        let runs = self.0.entry(key).or_default();
        if runs.len() >= RUNS_MAX {
            runs.pop_front();
        }
        runs.push_back(took_ms);
    }

    /// What the stage at `index` of `state` is expected to take, in milliseconds.
    fn stage_ms(&self, state: &State, index: usize) -> u64 {
        let Some(stage) = state.pipeline.stage_at(index) else { return 0 };
        let key = (state.pipeline.name.clone(), stage.name.clone());
        let Some(runs) = self.0.get(&key) else { return stage.expected_ms };
        let mut all: Vec<u64> = runs.iter().copied().chain([stage.expected_ms; PRIOR_RUNS]).collect();
        all.sort_unstable();
        all[all.len() / 2]
    }

    /// What the run that waits is expected to take a worker, in milliseconds.
    pub(super) fn run_ms(&self, state: &State) -> u64 {
        state.run().fold(0, |sum: u64, index| sum.saturating_add(self.stage_ms(state, index)))
    }

    /// The same of everything that is left to do.
    pub(super) fn rest_ms(&self, state: &State) -> u64 {
        let end = state.run().end.max(if state.ending.is_some() { 0 } else { state.pipeline.stages.len() });
        (state.stage..end).fold(0, |sum: u64, index| sum.saturating_add(self.stage_ms(state, index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experience_outvotes_the_expectation_and_one_slow_run_does_not_outvote_experience() {
        let pipeline = protocol::Pipeline::video();
        let submit = engine::Submit {
            generation: "gen_a".parse().unwrap(),
            owner: "user".parse().unwrap(),
            tenant: protocol::TenantId::fallback(),
            causal: "cause".parse().unwrap(),
            request: engine::Request::of(pipeline.clone().into()),
        };
        let action = engine::Action::Submit(Box::new(submit));
        let command = engine::Command { id: "c".parse().unwrap(), action };
        let state = engine::decide(None, &engine::Context::default(), &command, protocol::Timestamp(1)).unwrap().after;
        let mut experience = Experience::default();
        assert_eq!(experience.run_ms(&state), 95_000, "the middles of the document's ranges");
        let frames = &pipeline.stages[1].name;
        for _ in 0..3 {
            experience.note(&pipeline.name, frames, 5_000);
        }
        assert_eq!(experience.run_ms(&state), 55_000);
        experience.note(&pipeline.name, frames, 9_000_000);
        assert_eq!(experience.rest_ms(&state), 95_000, "between three and three the longer wait is told");
        for _ in 0..40 {
            experience.note(&pipeline.name, frames, 1_000);
        }
        assert_eq!(experience.run_ms(&state), 51_000);
    }
}
