//! A circuit breaker: whether the runs that need one stage on one backend may start. Pure; whoever owns it tells it what
//! happened and when.
//!
//! Failures in a row open it. While it is open nothing starts, so nothing burns a try. After a while one run may, as a
//! probe: its success closes the breaker, its failure opens it again. An operator can hold it open or closed.
//!
//! Failures of one owner alone may say more of what they ask for than of the backend, so they open it for that owner
//! alone. The runs of others go on and decide: a success shows that the backend works, a failure that it does not.

use protocol::{GenerationId, TenantId, Timestamp, UserId, worker::FailureKind};
use serde::{Deserialize, Serialize};

use crate::state::State;

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

/// Whose failures they were, all in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Blame {
    /// There were none.
    #[default]
    Nobody,
    /// One owner's.
    One(TenantId, UserId),
    /// Of two owners or more.
    Several,
}

/// Whom it keeps from starting now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody.
    Nobody,
    /// The one owner whose failures opened it.
    OneOwner,
    /// Everybody.
    All,
}

/// One breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    blame: Blame,
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

    /// The owner it is open for, when all failures in a row were of one; `None` when it concerns everybody, or nobody.
    #[must_use]
    pub fn only_owner(&self) -> Option<(&TenantId, &UserId)> {
        match &self.blame {
            Blame::One(tenant, owner) if self.standing != Standing::Closed => Some((tenant, owner)),
            _ => None,
        }
    }

    /// May the run of `state`, which needs it, start?
    #[must_use]
    pub fn lets(&self, state: &State, now: Timestamp) -> bool {
        match (&self.forced, &self.standing) {
            (Some(Forced::Open), _) => false,
            (Some(Forced::Closed), _) | (None, Standing::Closed) => true,
            (None, _) if !self.concerns(state) => true,
            (None, Standing::Open { until }) => now >= *until,
            (None, Standing::Probing { generation: probe }) => *probe == state.generation,
        }
    }

    /// Whom it keeps from starting who is not on the way.
    #[must_use]
    pub fn reach(&self, now: Timestamp) -> Reach {
        let closed_to = if matches!(self.blame, Blame::One(..)) { Reach::OneOwner } else { Reach::All };
        match (&self.forced, &self.standing) {
            (Some(Forced::Open), _) => Reach::All,
            (Some(Forced::Closed), _) | (None, Standing::Closed) => Reach::Nobody,
            (None, Standing::Probing { .. }) => closed_to,
            (None, Standing::Open { until }) if now < *until => closed_to,
            (None, Standing::Open { .. }) => Reach::Nobody,
        }
    }

    /// Is the run of `state` one of those it may keep from starting?
    fn concerns(&self, state: &State) -> bool {
        match &self.blame {
            Blame::One(tenant, owner) => (tenant, owner) == (&state.tenant, &state.owner),
            Blame::Nobody | Blame::Several => true,
        }
    }

    /// An operator decides, or no longer does. Letting go of it begins afresh.
    pub fn force(&mut self, forced: Option<Forced>) {
        *self = Self { forced, ..Self::default() };
    }

    /// A run that needs it is about to start: the first after an opening is the probe.
    pub fn taken(&mut self, state: &State, now: Timestamp) {
        if self.concerns(state) && matches!(self.standing, Standing::Open { until } if now >= until) {
            self.standing = Standing::Probing { generation: state.generation.clone() };
        }
    }

    /// A run that needed it is over without a word on the backend: another may be the probe.
    pub fn left(&mut self, generation: &GenerationId, now: Timestamp) {
        if matches!(&self.standing, Standing::Probing { generation: probe } if probe == generation) {
            self.standing = Standing::Open { until: now };
        }
    }

    /// The stage ended well. While it is open only the probe's word counts: what began before the trouble ends late. Open
    /// for one owner, it closes with anybody else's success: then it was not the backend.
    pub fn succeeded(&mut self, state: &State) {
        let is_meant = match &self.standing {
            Standing::Closed => true,
            Standing::Open { .. } => !self.concerns(state),
            Standing::Probing { generation } => *generation == state.generation || !self.concerns(state),
        };
        if is_meant {
            *self = Self { forced: self.forced, ..Self::default() };
        }
    }

    /// The stage failed in a way that [`counts`].
    pub fn failed(&mut self, state: &State, threshold: Threshold, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let until = now.plus(threshold.open_ms);
        let widens = self.blame_also(state);
        match &self.standing {
            Standing::Closed if threshold.failures.is_some_and(|most| self.failures >= most) => {
                self.standing = Standing::Open { until };
            }
            Standing::Probing { generation: probe } if *probe == state.generation => {
                self.standing = Standing::Open { until };
            }
            // It was open for one owner: now it is for all, and nobody is its probe.
            Standing::Open { .. } | Standing::Probing { .. } if widens => self.standing = Standing::Open { until },
            _ => {}
        }
    }

    /// Answers whether failures of one owner became failures of several.
    fn blame_also(&mut self, state: &State) -> bool {
        let concerned = self.concerns(state);
        match &self.blame {
            Blame::Nobody => self.blame = Blame::One(state.tenant.clone(), state.owner.clone()),
            Blame::One(..) if !concerned => {
                self.blame = Blame::Several;
                return true;
            }
            Blame::One(..) | Blame::Several => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::{Pipeline, Stage, StageName};

    use super::*;
    use crate::{Action, Command, Context, Request, Submit, decide, evolve};

    const NOW: Timestamp = Timestamp(1_000);

    /// A run of `owner`.
    fn of(owner: &str, generation: &str) -> State {
        let submit = Submit {
            generation: GenerationId::new(generation).unwrap(),
            owner: UserId::new(owner).unwrap(),
            tenant: TenantId::fallback(),
            causal: protocol::CausalId::new("cause").unwrap(),
            request: Request::of(Arc::new(Pipeline::new(
                protocol::PipelineName::new("bench").unwrap(),
                vec![Stage::new(StageName::new("draw").unwrap())],
            ))),
        };
        let command = Command { id: protocol::CommandId::new("c").unwrap(), action: Action::Submit(Box::new(submit)) };
        evolve(None, &decide(None, &Context::default(), &command, NOW).unwrap().events[0])
    }

    fn ada(generation: &str) -> State {
        of("ada", generation)
    }

    fn failed_by(breaker: &mut Breaker, owner: &str, times: usize) {
        for _ in 0..times {
            breaker.failed(&of(owner, "a"), Threshold::default(), NOW);
        }
    }

    fn opened_by(owners: [&str; 2]) -> Breaker {
        let mut breaker = Breaker::default();
        failed_by(&mut breaker, owners[0], 4);
        assert!(breaker.lets(&of(owners[1], "b"), NOW));
        failed_by(&mut breaker, owners[1], 1);
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_thirty_seconds() {
        let breaker = opened_by(["ada", "bob"]);
        assert_eq!((breaker.reach(NOW), breaker.reach(NOW.plus(29_999))), (Reach::All, Reach::All));
        assert!(!breaker.lets(&of("eve", "c"), NOW));
        assert_eq!(breaker.reach(NOW.plus(30_000)), Reach::Nobody);
    }

    #[test]
    fn failures_of_one_owner_alone_open_it_for_that_owner_alone() {
        let breaker = opened_by(["ada", "ada"]);
        assert_eq!(breaker.reach(NOW), Reach::OneOwner);
        assert!(!breaker.lets(&ada("b"), NOW) && breaker.lets(&of("bob", "b"), NOW));
        assert_eq!(breaker.only_owner().map(|(_, owner)| owner.as_str()), Some("ada"));
        let other_tenant = State { tenant: TenantId::new("acme").unwrap(), ..ada("b") };
        assert!(breaker.lets(&other_tenant, NOW), "ada of another tenant is somebody else");
    }

    #[test]
    fn open_for_one_owner_it_closes_with_the_success_of_another() {
        let mut breaker = opened_by(["ada", "ada"]);
        breaker.succeeded(&ada("from_before"));
        assert_eq!(breaker.reach(NOW), Reach::OneOwner);
        breaker.succeeded(&of("bob", "b"));
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn open_for_one_owner_it_opens_for_all_with_the_failure_of_another() {
        for probing in [false, true] {
            let (mut breaker, later) = (opened_by(["ada", "ada"]), NOW.plus(30_000));
            if probing {
                breaker.taken(&of("bob", "b"), later);
                assert!(breaker.lets(&ada("probe"), later), "who may start anyhow is no probe");
                breaker.taken(&ada("probe"), later);
            }
            breaker.failed(&of("bob", "b"), Threshold::default(), later);
            assert_eq!(breaker.reach(later.plus(29_999)), Reach::All);
            assert!(!breaker.lets(&ada("probe"), later) && !breaker.lets(&of("eve", "c"), later));
            assert_eq!(breaker.reach(later.plus(30_000)), Reach::Nobody);
        }
    }

    #[test]
    fn a_success_between_failures_counts_from_the_start() {
        let mut breaker = Breaker::default();
        for n in 0..20 {
            breaker.failed(&ada("a"), Threshold::default(), NOW);
            if n % 4 == 3 {
                breaker.succeeded(&ada("a"));
            }
        }
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn one_probe_starts_and_its_success_closes_it() {
        let (mut breaker, later) = (opened_by(["ada", "bob"]), NOW.plus(30_000));
        breaker.taken(&ada("probe"), later);
        assert!(breaker.lets(&ada("probe"), later) && !breaker.lets(&ada("b"), later));
        breaker.succeeded(&of("bob", "from_before"));
        assert_eq!(breaker.reach(later), Reach::All, "only the probe's word counts");
        breaker.succeeded(&ada("probe"));
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_and_one_that_says_nothing_makes_room_for_another() {
        for owners in [["ada", "bob"], ["ada", "ada"]] {
            let (mut breaker, later) = (opened_by(owners), NOW.plus(30_000));
            breaker.taken(&ada("probe"), later);
            breaker.left(&ada("b").generation, later);
            assert_ne!(breaker.reach(later), Reach::Nobody);
            breaker.left(&ada("probe").generation, later);
            assert_eq!(breaker.reach(later), Reach::Nobody);
            breaker.taken(&ada("second"), later);
            breaker.failed(&ada("second"), Threshold::default(), later);
            assert!(
                !breaker.lets(&ada("third"), later.plus(29_999)) && breaker.lets(&ada("third"), later.plus(30_000))
            );
        }
    }

    #[test]
    fn an_operator_has_the_last_word() {
        let mut breaker = opened_by(["ada", "bob"]);
        breaker.force(Some(Forced::Closed));
        assert_eq!(breaker.reach(NOW), Reach::Nobody);
        failed_by(&mut breaker, "ada", 9);
        breaker.succeeded(&ada("a"));
        assert_eq!(breaker.forced(), Some(Forced::Closed), "what happens does not take his word back");
        breaker.force(Some(Forced::Open));
        assert_eq!(breaker.reach(NOW.plus(1_000_000)), Reach::All);
        breaker.force(None);
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn a_threshold_of_none_never_opens_it() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(&ada("a"), Threshold { failures: None, open_ms: 1 }, NOW);
        }
        assert_eq!(breaker.reach(NOW), Reach::Nobody);
    }
}
