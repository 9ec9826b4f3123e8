//! Demand from screens to workers, and queue positions from the queue to screens. Both are hints: lost ones are repeated.

use bus::{Frame, Interest, Signal};
use bytes::{BufMut, Bytes, BytesMut};
use engine::{Decision, Phase};
use protocol::{
    Event, GenerationId, Hint, PoolName, Tick, Timestamp, frame,
    worker::{Demand, ServerMessage},
};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};
use store::Rank;

use super::{
    Core, Effect, SessionId, Waiting,
    desk::{Task, Then},
    timers::Timer,
};

/// Demand not repeated for so long is over, in milliseconds: watchers' nodes repeat it every 2 s.
const INTEREST_AGE_MAX_MS: u64 = 5_000;
/// Queue positions are computed at most so often per pool, in milliseconds.
const SURVEY_INTERVAL_MS: u64 = 1_000;
/// Watched generations of one pool that get a position in one look: a few milliseconds of the queue's lock.
const SURVEYED_MAX: usize = 1_000;

/// Who looks, and when they said so.
#[derive(Debug)]
pub(super) struct Seen {
    interest: Interest,
    at: Timestamp,
    /// Orders the hints given to these watchers.
    tick: Tick,
    /// The position shown last.
    position: Option<u64>,
    /// The estimate shown last.
    eta_s: Option<u64>,
}

/// What a worker was told of demand, so that it hears only changes.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Told {
    full: Option<Demand>,
    tile: Option<Demand>,
    slow: Option<f64>,
}

impl Core {
    pub(super) fn interest(&mut self, interest: &Interest) {
        if self.is_repeated(interest) {
            return;
        }
        let generation = interest.generation.clone();
        if interest.watchers == 0 {
            self.interests.remove(&generation);
        } else {
            let at = self.now;
            let seen = self.interests.entry(generation.clone()).or_insert_with(|| Seen {
                interest: interest.clone(),
                at,
                tick: Tick(0),
                position: None,
                eta_s: None,
            });
            seen.interest = interest.clone();
            seen.at = at;
            self.timers.arm(Timer::Interest(generation.clone()), at.plus(INTEREST_AGE_MAX_MS + 1));
        }
        self.tell_wanted(&generation);
        if self.state(&generation).is_none() && self.interests.contains_key(&generation) {
            self.put(&generation, Task::Read { repeated: false }, Then::May);
        }
        self.survey_soon(&generation);
    }

    /// What a worker was told before and is told again every two seconds, for each of thousands: it only lives longer.
    fn is_repeated(&mut self, interest: &Interest) -> bool {
        let Some(seen) = self.interests.get_mut(&interest.generation) else { return false };
        let repeated = seen.interest == *interest && self.leases.contains_key(&interest.generation);
        if repeated {
            // The timer that is armed looks at this.
            seen.at = self.now;
        }
        repeated
    }

    pub(super) fn check_interest(&mut self, generation: &GenerationId) {
        let Some(seen) = self.interests.get(generation) else { return };
        let over = seen.at.plus(INTEREST_AGE_MAX_MS);
        if over <= self.now {
            self.interests.remove(generation);
            self.tell_wanted(generation);
        } else {
            self.timers.arm(Timer::Interest(generation.clone()), over.plus(1));
        }
    }

    /// Tells the worker who looks, if that changed.
    pub(super) fn tell_wanted(&mut self, generation: &GenerationId) {
        let interest = self.interests.get(generation).map(|seen| &seen.interest);
        let want = Told {
            full: interest.and_then(|one| one.full),
            tile: interest.and_then(|one| one.tile),
            slow: interest.map(|one| one.slow).filter(|factor| *factor > 1.0),
        };
        let Some(clock) = self.leases.get_mut(generation) else { return };
        let Some(session) = clock.session else { return };
        let was = std::mem::replace(&mut clock.told, want);
        let lease = clock.lease.clone();
        if (was.full, was.tile) != (want.full, want.tile) {
            self.send(session, ServerMessage::Wanted { lease: lease.clone(), full: want.full, tile: want.tile });
        }
        if was.slow != want.slow {
            self.send(session, ServerMessage::Slow { lease, factor: want.slow.unwrap_or(1.0) });
        }
    }

    /// A picture from a worker: the lease is checked, the id filled in, and off it goes.
    pub(super) fn frame(&mut self, session: SessionId, bytes: &Bytes) {
        match self.read_frame(session, bytes) {
            Ok(frame) => {
                self.counts.frame(frame.bytes.len());
                self.effects.push(Effect::Publish(Signal::Frame(Arc::new(frame))));
            }
            Err(why) => {
                self.counts.bad_frame();
                self.complain(session, &why);
            }
        }
    }

    fn read_frame(&mut self, session: SessionId, bytes: &Bytes) -> Result<Frame, String> {
        let (handle, rest) = frame::split_handle(bytes).map_err(|error| error.to_string())?;
        let (mut header, picture) = frame::Header::read(rest).map_err(|error| error.to_string())?;
        let known = self.sessions.get(&session).and_then(|session| session.generation_of(handle));
        let Some(generation) = known.cloned() else { return Err(format!("no lease has handle {handle}")) };
        let current = self.state(&generation).map(|state| state.fence);
        if current != Some(header.fence) {
            return Err(format!("frame under fence {}: the lease has another", header.fence));
        }
        header.generation = Some(generation.clone());
        let mut head = Vec::with_capacity(frame::HEADER_BYTES + generation.as_str().len());
        header.write(&mut head);
        let mut whole = BytesMut::with_capacity(head.len() + picture.len());
        whole.put_slice(&head);
        whole.put_slice(picture);
        self.heard(session);
        Ok(Frame { generation, header, bytes: whole.freeze(), picture_at: head.len() })
    }

    /// Progress of a `relay` pipeline: shown, not stored. What follows is decided upon it, so that the bar does not fall
    /// at the next event, and standing still is told from moving.
    pub(super) fn relay(&mut self, generation: &GenerationId, decision: Decision) {
        let Decision { events, mut after } = decision;
        let (Some(event), Some(state)) = (events.into_iter().next(), self.state(generation)) else { return };
        let mut show = Arc::unwrap_or_clone(event.show);
        show.sequence = state.sequence;
        after.sequence = state.sequence;
        self.keep_relayed(generation, after);
        let tick = match self.interests.get_mut(generation) {
            Some(seen) => {
                seen.tick = Tick(seen.tick.0.max(self.now.0) + 1);
                seen.tick
            }
            // Nobody watches yet; whoever comes gets the latest, so it must still rise.
            None => Tick(self.now.0),
        };
        self.publish_hint(show, tick);
    }

    fn publish_hint(&mut self, show: Event, tick: Tick) {
        self.effects.push(Effect::Publish(Signal::Hint(Arc::new(Hint::new(show, tick)))));
    }

    /// A watched generation waits: its position is worth computing.
    pub(super) fn survey_soon(&mut self, generation: &GenerationId) {
        if !self.interests.contains_key(generation) {
            return;
        }
        let Some(state) = self.state(generation).filter(|state| state.phase == Phase::Queued) else { return };
        if let Some(pool) = state.pool_here() {
            let timer = Timer::Survey(pool.clone());
            self.timers.arm(timer, self.now.plus(SURVEY_INTERVAL_MS));
        }
    }

    pub(super) fn survey(&mut self, pool: &PoolName) {
        let mut watched: Vec<_> = self.interests.keys().filter(|one| self.waits_in(one, pool)).cloned().collect();
        if watched.is_empty() {
            return;
        }
        if watched.len() > SURVEYED_MAX {
            // Others have their turn when some of these have begun; no order of a map shows.
            watched.sort();
            watched.truncate(SURVEYED_MAX);
        }
        self.effects.push(Effect::Survey { pool: pool.clone(), generations: watched });
        self.timers.arm(Timer::Survey(pool.clone()), self.now.plus(SURVEY_INTERVAL_MS));
    }

    fn waits_in(&self, generation: &GenerationId, pool: &PoolName) -> bool {
        // Out of memory means idle in the queue: it still counts as waiting.
        self.state(generation).is_none_or(|state| state.phase == Phase::Queued && state.pool_here() == Some(pool))
    }

    /// What watchers of these would be told of their end.
    pub(super) fn estimates(&self, waiting: &[Waiting]) -> Vec<Option<u64>> {
        let mut slots: HashMap<&PoolName, u32> = HashMap::new();
        let mut seconds = Vec::with_capacity(waiting.len());
        for one in waiting {
            let slots = *slots.entry(&one.pool).or_insert_with(|| self.slots(&one.pool));
            seconds.push(eta_s(slots, one.before_ms, self.experience.rest_ms(&one.state)));
        }
        seconds
    }

    /// Slots of the workers that are there.
    fn slots(&self, pool: &PoolName) -> u32 {
        self.sessions.values().map(|session| session.slots(pool, self.now)).sum()
    }

    pub(super) fn surveyed(&mut self, pool: &PoolName, ranks: &[(GenerationId, Rank)]) {
        let slots = self.slots(pool);
        for (generation, rank) in ranks {
            let position = rank.before + 1;
            let Some(latest) = self.latest(generation).map(|latest| Event::clone(latest)) else { continue };
            let Some(state) = self.state(generation).filter(|state| state.phase == Phase::Queued) else { continue };
            let eta_s = eta_s(slots, rank.before_ms, self.experience.rest_ms(state));
            let Some(seen) = self.interests.get_mut(generation) else { continue };
            if seen.position == Some(position) && !is_worth_telling(seen.eta_s, eta_s) {
                continue;
            }
            (seen.position, seen.eta_s) = (Some(position), eta_s);
            // Ticks must rise within a sequence whoever counts them, also after this entry was forgotten.
            seen.tick = Tick(seen.tick.0.max(self.now.0) + 1);
            let tick = seen.tick;
            let mut show = latest;
            show.message = format!("Waiting in queue (position {position})");
            let metadata = Arc::make_mut(&mut show.metadata);
            metadata.insert("queuePosition".to_owned(), json!(position));
            if let Some(eta_s) = eta_s {
                metadata.insert("estimatedSecondsRemaining".to_owned(), json!(eta_s));
            }
            show.timestamp = self.now;
            self.publish_hint(show, tick);
        }
    }
}

/// Seconds until it ends: what comes before it, shared by all slots, and then its own work. `None` while nobody works.
fn eta_s(slots: u32, before_ms: i64, own_ms: u64) -> Option<u64> {
    if slots == 0 {
        return None;
    }
    let wait_ms = u64::try_from(before_ms).unwrap_or(0) / u64::from(slots);
    Some(wait_ms.saturating_add(own_ms).div_ceil(1_000))
}

/// A tenth more or less, and a second: people do not watch an estimate tick.
fn is_worth_telling(told: Option<u64>, new: Option<u64>) -> bool {
    match (told, new) {
        (Some(told), Some(new)) => told.abs_diff(new) > 1 + told / 10,
        (told, new) => told != new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_shares_what_comes_before_among_the_slots() {
        assert_eq!(eta_s(0, 10_000, 5_000), None);
        assert_eq!(eta_s(2, 10_000, 5_001), Some(11));
        assert_eq!(eta_s(1, -5, 0), Some(0));
    }

    #[test]
    fn small_changes_of_an_estimate_are_not_told() {
        assert!(!is_worth_telling(Some(100), Some(95)) && is_worth_telling(Some(100), Some(80)));
        assert!(is_worth_telling(None, Some(1)) && !is_worth_telling(None, None));
    }
}
