//! Room: when another generation of an owner or a tenant at their bound is likely to be taken in, from how often theirs end
//! and how long what runs has left. How many may be unfinished, and whether that many are, is the handle's.

use std::collections::{HashMap, VecDeque};

use engine::State;
use protocol::{TenantId, Timestamp, UserId};

use super::Core;

/// Ends remembered of each: enough that a single slow one does not tell the rate.
const ENDS_MAX: usize = 8;
/// Owners and tenants remembered in each half: some hundred bytes each, and far more than are at their bound at once.
const KNOWN_MAX: usize = 4_096;
/// Longest wait that is told, in seconds. Whoever is at a bound has clients of their own to answer, and a rate that was
/// measured before a stop or a burst is wrong by more than what one request a minute costs.
const WAIT_MAX_S: u64 = 60;

/// Whose room it is: an owner's, or a whole tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Whose {
    /// The tenant.
    pub tenant: TenantId,
    /// One of its owners; all of them where there is none.
    pub owner: Option<UserId>,
}

/// When work of each last ended. Two halves, so that whoever has nothing end for long is forgotten without a search: a full
/// half becomes the old one, and what ends moves to the new.
#[derive(Debug, Default)]
pub(super) struct Ends {
    new: HashMap<Whose, VecDeque<Timestamp>>,
    old: HashMap<Whose, VecDeque<Timestamp>>,
}

impl Ends {
    fn note(&mut self, whose: Whose, now: Timestamp) {
        // Before the old half goes.
        let known = self.old.remove(&whose);
        if self.new.len() >= KNOWN_MAX && !self.new.contains_key(&whose) {
            self.old = std::mem::take(&mut self.new);
        }
        let ends = self.new.entry(whose).or_insert_with(|| known.unwrap_or_default());
        if ends.len() >= ENDS_MAX {
            ends.pop_front();
        }
        ends.push_back(now);
    }

    /// The time between two ends, in milliseconds, over those remembered and the silence since; none before the second.
    fn interval_ms(&self, whose: &Whose, now: Timestamp) -> Option<u64> {
        let ends = self.new.get(whose).or_else(|| self.old.get(whose))?;
        let (first, last) = (*ends.front()?, *ends.back()?);
        let gaps = u64::try_from(ends.len() - 1).ok().filter(|gaps| *gaps > 0)?;
        let among = last.since(first) / gaps;
        // A silence that is longer than they were apart says that it goes slower by now.
        Some(among.max(now.since(last)))
    }
}

/// Seconds until there is room, 1 to [`WAIT_MAX_S`]: by the rate at which theirs end where one is known, else by what is the
/// first of theirs to end. Of whom neither is known nothing runs, or only what takes longer than it should: the longest wait
/// is as good as any.
fn wait_s(ms: Option<u64>) -> u64 {
    ms.map_or(WAIT_MAX_S, |ms| ms.div_ceil(1_000).clamp(1, WAIT_MAX_S))
}

impl Core {
    /// A generation ended.
    pub(super) fn note_end(&mut self, state: &State) {
        for owner in [None, Some(state.owner.clone())] {
            self.ends.note(Whose { tenant: state.tenant.clone(), owner }, self.now);
        }
    }

    /// Seconds until a place is likely to be free.
    pub(super) fn room_s(&self, whose: &Whose) -> u64 {
        // Whoever runs is looked through only where no rate is known: a crowd at its bound asks often.
        wait_s(self.ends.interval_ms(whose, self.now).or_else(|| self.first_end_ms(whose)))
    }

    /// Milliseconds until the first of what runs is expected to end; what took longer than expected says nothing.
    fn first_end_ms(&self, whose: &Whose) -> Option<u64> {
        let of_theirs = |state: &&State| {
            state.tenant == whose.tenant && whose.owner.as_ref().is_none_or(|owner| state.owner == *owner)
        };
        let states = self.leases.keys().filter_map(|generation| self.state(generation)).map(AsRef::as_ref);
        let left = states.filter(of_theirs).filter_map(|state| {
            let began = state.stages.get(state.stage)?.started_at?;
            self.experience.rest_ms(state).checked_sub(self.now.since(began)).filter(|left| *left > 0)
        });
        left.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(owner: &str) -> Whose {
        Whose { tenant: TenantId::fallback(), owner: Some(owner.parse().unwrap()) }
    }

    #[test]
    fn the_wait_is_the_time_between_two_ends_and_grows_with_the_silence_after_them() {
        let (mut ends, ada) = (Ends::default(), of("ada"));
        assert_eq!(ends.interval_ms(&ada, Timestamp(0)), None);
        ends.note(ada.clone(), Timestamp(10_000));
        assert_eq!(ends.interval_ms(&ada, Timestamp(10_000)), None, "one end is no rate");
        for at in [14_000, 16_000, 22_000] {
            ends.note(ada.clone(), Timestamp(at));
        }
        assert_eq!(ends.interval_ms(&ada, Timestamp(23_000)), Some(4_000));
        assert_eq!(ends.interval_ms(&ada, Timestamp(31_000)), Some(9_000));
        for at in 0..ENDS_MAX as u64 {
            ends.note(ada.clone(), Timestamp(32_000 + at * 100));
        }
        assert_eq!(ends.interval_ms(&ada, Timestamp(32_700)), Some(100), "the last eight tell it");
        assert_eq!(ends.interval_ms(&of("bob"), Timestamp(32_700)), None);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_between_one_and_sixty() {
        assert_eq!((wait_s(Some(0)), wait_s(Some(1_001)), wait_s(Some(9_000))), (1, 2, 9));
        assert_eq!((wait_s(Some(3_600_000)), wait_s(None)), (WAIT_MAX_S, WAIT_MAX_S));
    }

    #[test]
    fn whoever_has_nothing_end_for_long_is_forgotten_and_the_others_are_not() {
        let mut ends = Ends::default();
        let names: Vec<String> = (0..3 * KNOWN_MAX).map(|n| format!("owner{n}")).collect();
        for (n, name) in names.iter().enumerate() {
            ends.note(of(name), Timestamp(n as u64));
            ends.note(of("busy"), Timestamp(n as u64));
        }
        assert!(ends.new.len() + ends.old.len() <= 2 * KNOWN_MAX);
        assert!(ends.interval_ms(&of("busy"), Timestamp(names.len() as u64)).is_some());
        assert!(!ends.new.contains_key(&of(&names[0])) && !ends.old.contains_key(&of(&names[0])));
    }
}
