//! Generations that the store has and cannot give, or whose state cannot be made out. One of them holds up itself and
//! nothing else: what waits is passed over (`dispatch`), what is leased is asked for until it can be read. Here it is
//! told, once in a while.

use std::collections::BTreeMap;

use protocol::{GenerationId, Timestamp};

use crate::core::Core;

/// One that is still unreadable is named again after so long, in milliseconds: ten minutes, though it is tried every few
/// seconds.
const TOLD_AGAIN_MS: u64 = 600_000;
/// So many are named in that time: a damaged page holds fewer. When more fail it is the store, and the others say nothing new.
const TOLD_MAX: usize = 64;

/// Which were named in the log, and when.
#[derive(Debug, Default)]
pub(in crate::core) struct Unread(BTreeMap<GenerationId, Timestamp>);

impl Unread {
    /// Is this one worth a line now?
    fn is_worth_telling(&mut self, generation: &GenerationId, now: Timestamp) -> bool {
        self.0.retain(|_, at| now.since(*at) < TOLD_AGAIN_MS);
        if self.0.contains_key(generation) || self.0.len() >= TOLD_MAX {
            return false;
        }
        self.0.insert(generation.clone(), now);
        true
    }
}

impl Core {
    /// A lease of an earlier run of this node that could not be read. It is asked for until it can be, and has a full term
    /// from then on. Until then nobody else gets its run: what is leased stands in no lane.
    pub fn adopt_unread(&mut self, generation: &GenerationId, why: &str) {
        self.note_unread(generation, why);
        self.desk.entry(generation.clone()).or_default().reload = true;
        self.advance(generation);
    }

    pub(super) fn note_unread(&mut self, generation: &GenerationId, why: &str) {
        if self.unread.is_worth_telling(generation, self.now) {
            tracing::error!(generation = %generation, why, "a stored generation cannot be read; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_in_ten_minutes_and_a_crowd_is_cut_short() {
        let mut unread = Unread::default();
        let id = |n: usize| GenerationId::new(format!("gen_{n}")).unwrap();
        assert!(unread.is_worth_telling(&id(0), Timestamp(0)));
        assert!(!unread.is_worth_telling(&id(0), Timestamp(TOLD_AGAIN_MS - 1)));
        assert!(unread.is_worth_telling(&id(0), Timestamp(TOLD_AGAIN_MS)));
        let told = (1..1_000).filter(|n| unread.is_worth_telling(&id(*n), Timestamp(TOLD_AGAIN_MS + 1))).count();
        assert_eq!(told, TOLD_MAX - 1);
    }
}
