//! The place in many generations at once, as a client carries it: what a cursor says, and what it need not say any more.
//!
//! A list shows generations and no events, so whoever comes back with a cursor has to be told which of those in a list are new
//! to it: those made at `at` or later that the cursor does not name. What ended and was told has to be named until `at` has gone
//! by it, and no longer: a cursor stays as short as what is unfinished. Which generations are followed belongs to `many`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{After, Epoch, ErrorCode, GenerationId, Position, Problem, Sequence, Timestamp};
use serde::{Deserialize, Serialize};

use super::many::GENERATIONS_MAX;
use crate::Gateway;

/// Half a minute, in milliseconds: `created_at` is when a generation was decided, and a list shows what was committed. Many
/// times what a commit takes behind a full queue.
pub(super) const COMMIT_MAX_MS: u64 = 30_000;
/// Remembered of those that were told to their ends. More than that within [`COMMIT_MAX_MS`] leave less time for a late commit.
const TOLD_MAX: usize = 64;

/// Where each generation is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Places {
    #[serde(rename = "e")]
    pub(super) epoch: String,
    /// Those of an owner or a tenant that were made then or later, and are not named here, are new to the client.
    #[serde(rename = "t")]
    pub(super) at: Timestamp,
    #[serde(rename = "g")]
    pub(super) generations: BTreeMap<GenerationId, Sequence>,
    /// Told to their ends, and made too lately to be left out.
    #[serde(rename = "o", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) told: BTreeSet<GenerationId>,
}

impl Places {
    /// What is in a cursor.
    ///
    /// # Errors
    /// When it is none of ours.
    pub(super) fn read(gateway: &Gateway, text: &str) -> Result<Self, Problem> {
        let places = gateway.cursors.open(text).and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        let places = places.filter(|places| places.generations.len() <= GENERATIONS_MAX);
        places.ok_or_else(|| {
            Problem::new(ErrorCode::InvalidPosition, "that cursor is none of this server's")
                .hint("give back the `cursor` as it came, or begin without one")
        })
    }

    /// The cursor.
    pub(super) fn write(&self, gateway: &Gateway) -> String {
        gateway.cursors.seal(&serde_json::to_vec(self).expect("ids and numbers are JSON"))
    }

    /// Where a generation in it is.
    pub(super) fn place(&self, generation: &GenerationId) -> Option<After> {
        let sequence = *self.generations.get(generation)?;
        let epoch = Epoch::new(&self.epoch).ok()?;
        Some(After::Position(Position { epoch, sequence }))
    }

    /// Is it in it?
    pub(super) fn has(&self, generation: &GenerationId) -> bool {
        self.generations.contains_key(generation) || self.told.contains(generation)
    }
}

/// Those that were told to their ends, so that none of them is taken for new, with when each was made.
#[derive(Debug, Default)]
pub(super) struct Told {
    made: BTreeMap<GenerationId, Timestamp>,
    /// None that was made earlier is new, named or not.
    floor: Timestamp,
}

impl Told {
    /// Begins with `made`; what was made before `floor` is known.
    pub(super) const fn new(made: BTreeMap<GenerationId, Timestamp>, floor: Timestamp) -> Self {
        Self { made, floor }
    }

    pub(super) fn has(&self, generation: &GenerationId) -> bool {
        self.made.contains_key(generation)
    }

    /// Adds one. Of too many the oldest are forgotten, with whatever is as old, but never past `untold`, when the oldest was made
    /// that has yet to be told.
    pub(super) fn add(&mut self, generation: GenerationId, made_at: Timestamp, untold: Option<Timestamp>) {
        self.made.insert(generation, made_at);
        while self.made.len() > TOLD_MAX {
            let oldest = self.made.values().min().copied();
            if untold <= oldest && untold.is_some() {
                return;
            }
            self.forget(oldest);
        }
    }

    /// Takes for known whatever was made at `time` or before.
    pub(super) fn forget(&mut self, time: Option<Timestamp>) {
        let floor = time.map_or(self.floor, |time| self.floor.max(time.plus(1)));
        self.floor = floor;
        self.made.retain(|_, made_at| *made_at >= floor);
    }

    /// From when on those that are not named are new: a while before the lists that were read since `opened_at`.
    pub(super) fn at(&self, opened_at: Timestamp, untold: Option<Timestamp>) -> Timestamp {
        let listed = a_commit_before(opened_at);
        untold.map_or(listed, |untold| untold.min(listed)).max(self.floor)
    }

    /// Those a cursor that begins `at` has to name.
    pub(super) fn since(&self, at: Timestamp) -> impl Iterator<Item = &GenerationId> {
        self.made.iter().filter(move |(_, made_at)| **made_at >= at).map(|(generation, _)| generation)
    }
}

/// What was decided earlier is committed at `time`.
pub(super) const fn a_commit_before(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_sub(COMMIT_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(n: u64) -> GenerationId {
        format!("gen_{n}").parse().unwrap()
    }

    #[test]
    fn of_too_many_that_ended_the_oldest_are_old_from_then_on() {
        let (mut told, opened_at) = (Told::default(), Timestamp(COMMIT_MAX_MS));
        for n in 0..200 {
            told.add(generation(n), Timestamp(n), None);
            let at = told.at(opened_at, None);
            let named: Vec<_> = told.since(at).cloned().collect();
            assert!(named.len() <= TOLD_MAX);
            // Each is named, or older than all that may be new.
            assert!((0..=n).all(|n| named.contains(&generation(n)) || Timestamp(n) < at), "{n}");
        }
    }

    #[test]
    fn none_that_has_yet_to_be_told_is_old_though_as_old_ones_were_told() {
        let (mut told, untold) = (Told::default(), Timestamp(7));
        for n in 0..200 {
            told.add(generation(n), Timestamp(7), Some(untold));
        }
        let at = told.at(Timestamp(1_000_000), Some(untold));
        assert_eq!((at, told.since(at).count()), (untold, 200));
        told.add(generation(200), Timestamp(8), None);
        assert_eq!(told.at(Timestamp(COMMIT_MAX_MS), None), Timestamp(8));
    }
}
