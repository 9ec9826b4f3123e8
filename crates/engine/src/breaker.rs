//! A circuit breaker: whether the runs that need one stage on one backend may start. Pure; whoever owns it tells it what
//! happened and when.
//!
//! Failures in a row open it. While it is open nothing starts, so nothing burns a try. After a while one run may, as a
//! probe: its success closes the breaker, its failure opens it again. An operator can hold it open or closed.

use protocol::{GenerationId, Timestamp, worker::FailureKind};
use serde::{Deserialize, Serialize};

/// What an operator decided, over whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// Nothing starts.
    Open,
    /// Everything starts; failures are still counted.
    Closed,
}

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Failures in a row; `None` never opens one.
    pub failures: Option<u32>,
    /// Until a probe, in milliseconds.
    pub open_ms: u64,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { failures: Some(protocol::limits::BREAKER_FAILURES), open_ms: protocol::limits::BREAKER_OPEN_MS }
    }
}

/// Where a breaker stands by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// Everything starts.
    #[default]
    Closed,
    /// Nothing starts before this time, and then one run.
    Open {
        /// When a probe may start.
        until: Timestamp,
    },
    /// One run is on its way; nothing else starts.
    Probing {
        /// Which one.
        generation: GenerationId,
    },
}

/// One breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    standing: Standing,
    forced: Option<Forced>,
}

/// Does a failure say anything of the backend? One that the input or one machine is to blame for does not.
#[must_use]
pub const fn counts(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Retryable | FailureKind::Fatal | FailureKind::Stalled)
}

impl Breaker {
    /// Failures in a row so far.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Where it stands by itself.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What an operator decided.
    #[must_use]
    pub const fn forced(&self) -> Option<Forced> {
        self.forced
    }

    /// Is there nothing to remember of it?
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        *self == Self::default()
    }

    /// May a run of `generation` that needs it start?
    #[must_use]
    pub fn lets(&self, generation: &GenerationId, now: Timestamp) -> bool {
        match (&self.forced, &self.standing) {
            (Some(Forced::Open), _) => false,
            (Some(Forced::Closed), _) | (None, Standing::Closed) => true,
            (None, Standing::Open { until }) => now >= *until,
            (None, Standing::Probing { generation: probe }) => probe == generation,
        }
    }

    /// Would it let anybody start who is not on the way?
    #[must_use]
    pub fn is_passable(&self, now: Timestamp) -> bool {
        match (&self.forced, &self.standing) {
            (Some(Forced::Open), _) | (None, Standing::Probing { .. }) => false,
            (Some(Forced::Closed), _) | (None, Standing::Closed) => true,
            (None, Standing::Open { until }) => now >= *until,
        }
    }

    /// An operator decides, or no longer does. Letting go of it begins afresh.
    pub fn force(&mut self, forced: Option<Forced>) {
        *self = Self { forced, ..Self::default() };
    }

    /// A run that needs it is about to start: the first after an opening is the probe.
    pub fn taken(&mut self, generation: &GenerationId, now: Timestamp) {
        if matches!(self.standing, Standing::Open { until } if now >= until) {
            self.standing = Standing::Probing { generation: generation.clone() };
        }
    }

    /// A run that needed it is over without a word on the backend: another may be the probe.
    pub fn left(&mut self, generation: &GenerationId, now: Timestamp) {
        if matches!(&self.standing, Standing::Probing { generation: probe } if probe == generation) {
            self.standing = Standing::Open { until: now };
        }
    }

    /// The stage ended well. While it is open only the probe's word counts: what began before the trouble ends late.
    pub fn succeeded(&mut self, generation: &GenerationId) {
        match &self.standing {
            Standing::Open { .. } => {}
            Standing::Probing { generation: probe } if probe != generation => {}
            _ => {
                self.failures = 0;
                self.standing = Standing::Closed;
            }
        }
    }

    /// The stage failed in a way that [`counts`].
    pub fn failed(&mut self, generation: &GenerationId, threshold: Threshold, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let until = now.plus(threshold.open_ms);
        match &self.standing {
            Standing::Closed if threshold.failures.is_some_and(|most| self.failures >= most) => {
                self.standing = Standing::Open { until };
            }
            Standing::Probing { generation: probe } if probe == generation => self.standing = Standing::Open { until },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn generation(name: &str) -> GenerationId {
        GenerationId::new(name).unwrap()
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            assert!(breaker.lets(&generation("a"), NOW));
            breaker.failed(&generation("a"), Threshold::default(), NOW);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_thirty_seconds() {
        let breaker = opened();
        assert!(!breaker.is_passable(NOW) && !breaker.is_passable(NOW.plus(29_999)));
        assert!(breaker.is_passable(NOW.plus(30_000)));
    }

    #[test]
    fn a_success_between_failures_counts_from_the_start() {
        let mut breaker = Breaker::default();
        for n in 0..20 {
            breaker.failed(&generation("a"), Threshold::default(), NOW);
            if n % 4 == 3 {
                breaker.succeeded(&generation("a"));
            }
        }
        assert!(breaker.is_passable(NOW) && breaker.is_at_rest());
    }

    #[test]
    fn one_probe_starts_and_its_success_closes_it() {
        let (mut breaker, later) = (opened(), NOW.plus(30_000));
        breaker.taken(&generation("probe"), later);
        assert!(breaker.lets(&generation("probe"), later) && !breaker.lets(&generation("b"), later));
        breaker.succeeded(&generation("from_before"));
        assert!(!breaker.is_passable(later), "only the probe's word counts");
        breaker.succeeded(&generation("probe"));
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_and_one_that_says_nothing_makes_room_for_another() {
        let (mut breaker, later) = (opened(), NOW.plus(30_000));
        breaker.taken(&generation("probe"), later);
        breaker.left(&generation("b"), later);
        assert!(!breaker.is_passable(later));
        breaker.left(&generation("probe"), later);
        assert!(breaker.is_passable(later));
        breaker.taken(&generation("second"), later);
        breaker.failed(&generation("second"), Threshold::default(), later);
        assert!(!breaker.is_passable(later.plus(29_999)) && breaker.is_passable(later.plus(30_000)));
    }

    #[test]
    fn an_operator_has_the_last_word() {
        let mut breaker = opened();
        breaker.force(Some(Forced::Closed));
        assert!(breaker.is_passable(NOW));
        breaker.force(Some(Forced::Open));
        assert!(!breaker.is_passable(NOW.plus(1_000_000)));
        breaker.force(None);
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn a_threshold_of_none_never_opens_it() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(&generation("a"), Threshold { failures: None, open_ms: 1 }, NOW);
        }
        assert!(breaker.is_passable(NOW));
    }
}
