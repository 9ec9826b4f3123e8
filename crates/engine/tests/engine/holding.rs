//! What holds runs back: pauses, breakers, and how much may be under way at once. Nothing of it burns a try.

use protocol::{BreakerName, EventType, Fence, Pipeline, PipelineName, Timestamp, worker::FailureKind};
use rushes_engine::{
    Action, Gate, Hold, Holds, Refusal, Share, Shares,
    breaker::{Forced, Threshold},
};

use crate::bed::{Bed, START, grant, pipeline, submit, words};

fn bench() -> PipelineName {
    PipelineName::new("bench").unwrap()
}

fn breaker(stage: &str) -> BreakerName {
    BreakerName::new(format!("{stage}:gpu")).unwrap()
}

fn one_stage() -> Pipeline {
    pipeline(&[("draw", "gpu", false)])
}

#[test]
fn a_paused_pipeline_takes_work_and_starts_none_of_it() {
    let mut bed = Bed::empty();
    bed.holds.pause(&bench(), true);
    assert_eq!(words(&bed.must(submit(one_stage()))), "queued + parked");
    assert_eq!(bed.last().metadata["parkedBy"], "pause");
    assert_eq!(bed.last().message, "Waiting: bench is paused by the operator");
    assert_eq!(bed.ask(grant(Fence(1))), Err(Refusal::Held(Hold::Pause { pipeline: bench() })));
    assert_eq!(bed.ask(Action::Unpark), Err(Refusal::NothingNew));
    bed.holds.pause(&bench(), false);
    assert_eq!(words(&bed.must(Action::Unpark)), "unparked");
    assert_eq!(words(&bed.must(grant(Fence(1)))), "stage_started");
}

#[test]
fn an_open_breaker_parks_what_waits_once_and_burns_nothing() {
    let mut bed = Bed::queued(pipeline(&[("plan", "gpu", false), ("draw", "gpu", false)]));
    assert_eq!(bed.ask(Action::Park), Err(Refusal::NothingNew));
    // A later stage of the run is enough: what comes before it would be done for nothing.
    bed.holds.force(&breaker("draw"), Some(Forced::Open));
    assert_eq!(words(&bed.must(Action::Park)), "parked");
    assert_eq!(
        (&bed.last().metadata["parkedBy"], &bed.last().metadata["breaker"]),
        (&"breaker".into(), &"draw:gpu".into())
    );
    assert_eq!(bed.ask(Action::Park), Err(Refusal::NothingNew));
    assert!(matches!(bed.ask(grant(Fence(1))), Err(Refusal::Held(Hold::Breaker { .. }))));
    assert_eq!(bed.state().stages[1].failures, 0);
    bed.holds.force(&breaker("draw"), None);
    bed.must(grant(Fence(1)));
    assert_eq!(bed.state().parked, None, "what runs is not parked");
}

#[test]
fn a_retry_into_an_open_breaker_is_told_at_once() {
    let mut bed = Bed::running(one_stage());
    bed.holds.force(&breaker("draw"), Some(Forced::Open));
    assert_eq!(words(&bed.must(bed.fail(FailureKind::Retryable))), "stage_failed + retry_scheduled + parked");
    assert_eq!(bed.last().state, protocol::State::Queued);
}

#[test]
fn a_clean_up_is_not_held_by_a_pause() {
    let mut definition = one_stage();
    definition.on_failed = Some(Box::new(protocol::Stage::new(crate::bed::name("sweep"))));
    let mut bed = Bed::running(definition);
    bed.holds.pause(&bench(), true);
    bed.must(bed.fail(FailureKind::Fatal));
    assert_eq!(bed.last().kind, EventType::CleanUpStarted);
    bed.grant();
}

#[test]
fn tenants_and_owners_have_as_many_runs_under_way_as_they_may() {
    let share = Share { running_max: Some(2), running_per_owner_max: Some(1) };
    let mut holds = Holds::new(Threshold::default(), Shares { standard: share, ..Shares::default() });
    let bed = Bed::queued(one_stage());
    let mine = bed.state().clone();
    let mut others = mine.clone();
    others.owner = protocol::UserId::new("another").unwrap();
    assert_eq!(holds.before_offer(&mine, START), None);
    holds.taken(&mine, START);
    assert_eq!(holds.before_offer(&mine, START), Some(Hold::Owner { running_max: 1 }));
    assert!(!holds.is_open(&Gate::Owner(mine.tenant.clone(), mine.owner.clone()), START));
    assert_eq!(holds.before_offer(&others, START), None);
    holds.taken(&others, START);
    assert_eq!(holds.before_offer(&others, START), Some(Hold::Tenant { running_max: 2 }));
    assert_eq!(holds.before_start(&others, START), None, "what was offered is counted already");
    holds.left(&mine.generation, &mine.tenant, &mine.owner, START);
    assert_eq!(holds.before_offer(&mine, START), None);
}

#[test]
fn a_named_tenant_has_its_own_bounds() {
    let named = [(protocol::TenantId::fallback(), Share { running_max: Some(1), running_per_owner_max: None })];
    let mut holds =
        Holds::new(Threshold::default(), Shares { standard: Share::default(), named: named.into_iter().collect() });
    let state = Bed::queued(one_stage()).state().clone();
    holds.taken(&state, START);
    assert_eq!(holds.before_offer(&state, START), Some(Hold::Tenant { running_max: 1 }));
    let mut other = state;
    other.tenant = protocol::TenantId::new("acme").unwrap();
    assert_eq!(holds.before_offer(&other, START), None);
    let bound = |gate: &Gate| matches!(gate, Gate::Tenant(_) | Gate::Owner(..));
    assert!(!holds.gates(&other).iter().any(bound), "gates that nobody set are none");
}

#[test]
fn one_probe_passes_a_breaker_whose_time_is_up() {
    let mut holds = Holds::default();
    let probe = Bed::queued(one_stage()).state().clone();
    let mut second = probe.clone();
    second.generation = protocol::GenerationId::new("gen_b").unwrap();
    for _ in 0..5 {
        holds.failed(&breaker("draw"), &probe, START);
    }
    assert!(holds.before_offer(&probe, START).is_some());
    let later = Timestamp(START.0 + 30_000);
    assert_eq!(holds.before_offer(&probe, later), None);
    holds.taken(&probe, later);
    assert_eq!(holds.before_start(&probe, later), None);
    assert!(holds.before_offer(&second, later).is_some());
    holds.succeeded(&breaker("draw"), &probe);
    assert_eq!(holds.before_offer(&second, later), None);
    assert!(holds.breakers().is_empty(), "what is well is forgotten");
}

#[test]
fn one_owners_poison_parks_a_stage_for_that_owner_alone() {
    let mut holds = Holds::default();
    let poisoned = Bed::queued(one_stage()).state().clone();
    let mut other = poisoned.clone();
    other.owner = protocol::UserId::new("somebody_else").unwrap();
    for _ in 0..5 {
        holds.failed(&breaker("draw"), &poisoned, START);
    }
    let gate = Gate::Breaker(breaker("draw"));
    assert!(holds.is_open(&gate, START), "the queue hands out what others ask for");
    assert_eq!(holds.before_offer(&poisoned, START), Some(Hold::Breaker { breaker: breaker("draw") }));
    assert_eq!(holds.before_offer(&other, START), None);
    // Somebody else's failure says that it is not the poison.
    holds.failed(&breaker("draw"), &other, START);
    assert!(!holds.is_open(&gate, START) && holds.before_offer(&other, START).is_some());
}

#[test]
fn what_is_nobodys_fault_but_the_inputs_or_one_machines_counts_for_no_breaker() {
    use rushes_engine::breaker::counts;
    let all = [
        (FailureKind::Retryable, true),
        (FailureKind::Fatal, true),
        (FailureKind::Stalled, true),
        (FailureKind::InvalidInput, false),
        (FailureKind::OutOfMemory, false),
        (FailureKind::WorkerLost, false),
    ];
    for (kind, wanted) in all {
        assert_eq!(counts(kind), wanted, "{kind:?}");
    }
}
