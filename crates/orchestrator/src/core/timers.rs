//! What is due when. A timer names a thing to look at, not an action: the look decides, so a late or superfluous timer
//! does no harm.

use std::collections::{BTreeSet, HashMap};

use protocol::{BreakerName, GenerationId, OfferId, PoolName, Timestamp};

use super::{Core, SessionId};

/// A thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A lease's clocks.
    Lease(GenerationId),
    /// Work that waits for a store to recover.
    Desk(GenerationId),
    /// An entry that may leave memory.
    Evict(GenerationId),
    /// An offer nobody answered.
    Offer(OfferId),
    /// A pool where something becomes eligible.
    Pool(PoolName),
    /// A connection that has not said hello.
    Hello(SessionId),
    /// Demand that was not repeated.
    Interest(GenerationId),
    /// Positions in a pool's queue.
    Survey(PoolName),
    /// A generation that may have taken or waited too long.
    Expiry(GenerationId),
    /// A breaker that lets a probe through.
    Breaker(BreakerName),
}

/// One time per thing; the earlier one wins.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Timestamp, Timer)>,
    at: HashMap<Timer, Timestamp>,
}

impl Timers {
    /// Looks at `timer` at `at`, or earlier if that was said before.
    pub(super) fn arm(&mut self, timer: Timer, at: Timestamp) {
        if let Some(&known) = self.at.get(&timer) {
            if known <= at {
                return;
            }
            self.order.remove(&(known, timer.clone()));
        }
        self.order.insert((at, timer.clone()));
        self.at.insert(timer, at);
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }
}

impl Core {
    pub(super) fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Lease(generation) => self.check_lease(&generation),
                Timer::Desk(generation) => self.resume_desk(&generation),
                Timer::Evict(generation) => self.evict(&generation),
                Timer::Offer(offer) => self.offer_timed_out(&offer),
                Timer::Pool(pool) => self.kick(&pool),
                Timer::Hello(session) => self.hello_timed_out(session),
                Timer::Interest(generation) => self.check_interest(&generation),
                Timer::Survey(pool) => self.survey(&pool),
                Timer::Expiry(generation) => self.check_expiry(&generation),
                Timer::Breaker(breaker) => self.check_breaker(&breaker),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_time_wins_and_fires_once() {
        let mut timers = Timers::default();
        let timer = Timer::Hello(SessionId(1));
        timers.arm(timer.clone(), Timestamp(20));
        timers.arm(timer.clone(), Timestamp(10));
        timers.arm(timer.clone(), Timestamp(30));
        assert_eq!(timers.pop_due(Timestamp(9)), None);
        assert_eq!(timers.pop_due(Timestamp(10)), Some(timer));
        assert_eq!(timers.pop_due(Timestamp(99)), None);
    }
}
