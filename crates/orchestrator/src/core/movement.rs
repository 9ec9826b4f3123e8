//! How far the run of a lease has come, as its worker said. What the store could not keep, or is not asked to (`relay`), was
//! heard all the same: a stage that moves must not count as standing still because a disk is full.
//!
//! Only the stall clock of `leases` asks; what people see is what was decided.

use engine::State;
use protocol::{StageName, Timestamp};

/// Of one lease.
#[derive(Debug)]
pub(super) struct Movement {
    /// The stages of its run, from the one that ran when the lease began here.
    stages: Vec<StageName>,
    /// The furthest that was heard: an index into `stages`, and per cent of that stage.
    reached: Option<(usize, f64)>,
    /// When that rose last; before anything was heard, when the lease began here.
    pub(super) at: Timestamp,
}

impl Movement {
    /// Of a lease that begins here.
    pub(super) fn begun(state: &State, now: Timestamp) -> Self {
        let stages = state.run().filter_map(|index| state.pipeline.stage_at(index)).map(|stage| stage.name.clone());
        Self { stages: stages.collect(), reached: None, at: now }
    }

    /// The worker says how far it is. That moves only what is further than all before it, as heard or as decided: `state` is
    /// absent while it is read again.
    pub(super) fn hear(&mut self, state: Option<&State>, stage: &StageName, progress: f64, now: Timestamp) {
        let Some(said) = self.index_of(stage).map(|index| (index, progress)) else { return };
        let decided = state.and_then(|state| self.decided(state));
        let is_further = |before: Option<(usize, f64)>| before.is_none_or(|before| said > before);
        if is_further(self.reached) && is_further(decided) {
            self.reached = Some(said);
            self.at = now;
        }
    }

    fn decided(&self, state: &State) -> Option<(usize, f64)> {
        let index = self.index_of(&state.stage_here()?.name)?;
        Some((index, state.stages.get(state.stage)?.progress))
    }

    fn index_of(&self, stage: &StageName) -> Option<usize> {
        self.stages.iter().position(|known| known == stage)
    }
}
