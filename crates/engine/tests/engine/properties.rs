//! Random histories: whatever is asked, in whatever order, under whatever right, the promises hold.

use proptest::prelude::*;
use protocol::{EventType, Fence, LeaseId, Pipeline, http::Priority, worker::FailureKind};
use rushes_engine::{Action, Command, Context, Event, Fact, Loss, Phase, Refusal, State, decide, evolve};
use serde_json::json;

use crate::bed::{Bed, cancel, facts, file, grant, lease, name, pipeline, report, submission};

/// Under which right a worker writes.
#[derive(Debug, Clone, Copy)]
enum Right {
    Latest,
    EarlierFence,
    EarlierLease,
    LaterFence,
    Nobodys,
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Grant,
    Progress { stage: usize, progress: f64, message: bool, right: Right },
    StageCompleted { stage: usize, right: Right },
    Log { key: u8, right: Right },
    Artifact { name: u8, right: Right },
    Checkpoint { point: u8, right: Right },
    Release { right: Right },
    Done { right: Right },
    Fail { kind: FailureKind, right: Right },
    HandBack { right: Right },
    Lose { loss: Loss, fence_back: u32 },
    Cancel,
    Prioritize(Priority),
    Report { status: u8, progress: Option<f64> },
    ExternalStalled,
    Submit,
}

const POOL: &str = "gpu";

fn pipelines() -> impl Strategy<Value = Pipeline> {
    prop_oneof![
        Just(Pipeline::video()),
        Just(Pipeline::external()),
        prop::collection::vec((0..3_u8, any::<bool>(), 0..3_u32, 1..50_u32), 1..7).prop_map(|stages| {
            let names = ["a", "b", "c", "d", "e", "f"];
            let pools = [POOL, "cpu", "disk"];
            let rows: Vec<_> =
                stages.iter().zip(names).map(|(row, name)| (name, pools[usize::from(row.0)], row.1)).collect();
            let mut made = pipeline(&rows);
            for (stage, row) in made.stages.iter_mut().zip(&stages) {
                (stage.retries, stage.weight) = (row.2, row.3);
            }
            made
        }),
    ]
}

fn right() -> impl Strategy<Value = Right> {
    prop_oneof![
        12 => Just(Right::Latest),
        1 => Just(Right::EarlierFence),
        1 => Just(Right::EarlierLease),
        1 => Just(Right::LaterFence),
        1 => Just(Right::Nobodys),
    ]
}

fn worker_step() -> impl Strategy<Value = Step> {
    let stage = 0..6_usize;
    let progress = prop_oneof![20 => 0.0..=100.0_f64, 1 => Just(f64::NAN), 1 => Just(400.0), 1 => Just(-0.0)];
    let kind = prop::sample::select(vec![
        FailureKind::Retryable,
        FailureKind::OutOfMemory,
        FailureKind::WorkerLost,
        FailureKind::Stalled,
        FailureKind::Fatal,
    ]);
    prop_oneof![
        12 => (stage.clone(), progress, any::<bool>(), right())
            .prop_map(|(stage, progress, message, right)| Step::Progress { stage, progress, message, right }),
        8 => (stage, right()).prop_map(|(stage, right)| Step::StageCompleted { stage, right }),
        2 => (0..4_u8, right()).prop_map(|(key, right)| Step::Log { key, right }),
        4 => (0..4_u8, right()).prop_map(|(name, right)| Step::Artifact { name, right }),
        2 => (0..4_u8, right()).prop_map(|(point, right)| Step::Checkpoint { point, right }),
        1 => right().prop_map(|right| Step::Release { right }),
        3 => right().prop_map(|right| Step::Done { right }),
        4 => (kind, right()).prop_map(|(kind, right)| Step::Fail { kind, right }),
        2 => right().prop_map(|right| Step::HandBack { right }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let loss = prop::sample::select(vec![
        Loss::WorkerLost,
        Loss::Stalled,
        Loss::TimedOut,
        Loss::CancelGraceOver,
        Loss::Released,
    ]);
    let priority = prop::sample::select(vec![Priority::Interactive, Priority::Standard, Priority::Batch]);
    prop_oneof![
        6 => prop_oneof![0..300_u64, 0..200_000_u64].prop_map(Step::Wait),
        10 => Just(Step::Grant),
        24 => worker_step(),
        3 => (loss, 0..2_u32).prop_map(|(loss, fence_back)| Step::Lose { loss, fence_back }),
        1 => Just(Step::Cancel),
        2 => priority.prop_map(Step::Prioritize),
        4 => (0..12_u8, prop::option::of(0.0..=100.0_f64)).prop_map(|(status, progress)| Step::Report { status, progress }),
        1 => Just(Step::Submit),
        1 => prop::bool::weighted(0.1).prop_map(|stalled| if stalled { Step::ExternalStalled } else { Step::Wait(1) }),
    ]
}

/// The right as it is shown, and whether it is the one that counts.
fn shown(state: &State, right: Right) -> (LeaseId, Fence) {
    let now = state.fence;
    let earlier = Fence(now.0.saturating_sub(1));
    match right {
        Right::Latest => (lease(now), now),
        Right::EarlierFence => (lease(now), earlier),
        Right::EarlierLease => (lease(earlier), now),
        Right::LaterFence => (lease(now.next()), now.next()),
        Right::Nobodys => (LeaseId::new("nobodys").unwrap(), now),
    }
}

fn action(bed: &Bed, step: &Step) -> Option<Action> {
    let state = bed.state();
    let stages = &state.pipeline.stages;
    let stage = |index: usize| stages.get(index).map_or_else(|| name("nonsense"), |stage| stage.name.clone());
    let with = |right: Right| shown(state, right);
    Some(match step {
        Step::Wait(_) => return None,
        Step::Grant => grant(state.fence.next()),
        Step::Submit => Action::Submit(Box::new(submission(Pipeline::video()))),
        Step::Cancel => cancel(),
        Step::Prioritize(priority) => Action::Prioritize(*priority),
        Step::ExternalStalled => Action::ExternalStalled,
        Step::Report { status, progress } => {
            let words = ["queued", "prompt_analysis", "generating_frames", "face_swap", "encoding", "not a word"];
            let ends = ["complete", "failed", "cancelled"];
            let word = if *status < 11 { words[usize::from(*status) % 6] } else { ends[state.sequence.0 as usize % 3] };
            report(word, *progress)
        }
        Step::Lose { loss, fence_back } => {
            Action::Lose { fence: Fence(state.fence.0.saturating_sub(*fence_back)), loss: *loss }
        }
        Step::Progress { stage: index, progress, message, right } => {
            let (lease, fence) = with(*right);
            // Mostly the stage that runs, else any.
            let index = if *message { state.stage } else { *index };
            let metadata = Some(facts(json!({"currentFrame": index})).into());
            let message = message.then(|| format!("at {progress}"));
            Action::Progress { lease, fence, stage: stage(index), progress: *progress, message, metadata }
        }
        Step::StageCompleted { stage: index, right } => {
            let (lease, fence) = with(*right);
            let index = if *index < 4 { state.stage } else { *index };
            Action::StageCompleted { lease, fence, stage: stage(index), outputs: Some(facts(json!({"of": index}))) }
        }
        Step::Log { key, right } => {
            let (lease, fence) = with(*right);
            let metadata = Some(facts(json!({format!("key{key}"): state.sequence.0})).into());
            Action::Log { lease, fence, message: "a line".to_owned(), metadata }
        }
        Step::Artifact { name, right } => {
            let (lease, fence) = with(*right);
            Action::Artifact { lease, fence, artifact: file(&format!("{name}.tar")) }
        }
        Step::Checkpoint { point, right } => {
            let (lease, fence) = with(*right);
            Action::Checkpoint { lease, fence, artifact: None, data: Some(json!({"at": point, "x": 0.1})) }
        }
        Step::Release { right } => {
            let (lease, fence) = with(*right);
            Action::Release { lease, fence, pool: protocol::PoolName::new(POOL).unwrap() }
        }
        Step::Done { right } => {
            let (lease, fence) = with(*right);
            Action::Done { lease, fence, outputs: facts(json!({"seed": 7})).into() }
        }
        Step::Fail { kind, right } => {
            let (lease, fence) = with(*right);
            Action::Fail { lease, fence, kind: *kind, code: String::new(), message: String::new() }
        }
        Step::HandBack { right } => {
            let (lease, fence) = with(*right);
            Action::HandBack { lease, fence }
        }
    })
}

/// May a worker's action under this right be accepted?
fn is_good(state: &State, action: &Action) -> Option<bool> {
    match action {
        Action::Progress { lease, fence, .. }
        | Action::StageCompleted { lease, fence, .. }
        | Action::Log { lease, fence, .. }
        | Action::Artifact { lease, fence, .. }
        | Action::Checkpoint { lease, fence, .. }
        | Action::Release { lease, fence, .. }
        | Action::Done { lease, fence, .. }
        | Action::Fail { lease, fence, .. }
        | Action::HandBack { lease, fence } => {
            Some(state.holder.as_ref().is_some_and(|holder| holder.lease == *lease) && state.fence == *fence)
        }
        Action::Lose { fence, .. } => Some(state.holder.is_some() && state.fence == *fence),
        _ => None,
    }
}

/// Takes one step and checks what must hold after every step.
fn take(bed: &mut Bed, step: &Step) -> Result<(), TestCaseError> {
    if let Step::Wait(milliseconds) = step {
        bed.wait(*milliseconds);
        return Ok(());
    }
    let Some(action) = action(bed, step) else { return Ok(()) };
    let before = bed.state().clone();
    let command = Command { id: protocol::CommandId::new("twice").unwrap(), action: action.clone() };
    let decided = decide(Some(&before), &Context { random: bed.random, ..Context::default() }, &command, bed.now);
    prop_assert_eq!(
        &decided,
        &decide(Some(&before), &Context { random: bed.random, ..Context::default() }, &command, bed.now),
        "not a function"
    );
    let first = bed.history.len();
    match bed.ask(action.clone()) {
        Err(refusal) => {
            prop_assert_eq!(decided.unwrap_err(), refusal);
            prop_assert_eq!(bed.state(), &before, "a refused command changed the state");
        }
        Ok(kinds) => {
            prop_assert!(!kinds.is_empty(), "accepted, and nothing happened");
            prop_assert!(!before.is_terminal(), "something follows the end");
            prop_assert_ne!(is_good(&before, &action), Some(false), "a wrong right wrote");
            if matches!(action, Action::Grant(_)) {
                prop_assert!(bed.now >= before.not_before, "the run began too early");
                prop_assert_eq!(bed.state().fence, before.fence.next());
            } else {
                prop_assert_eq!(bed.state().fence, before.fence);
            }
            for event in &bed.history[first..] {
                check_waits(event)?;
            }
        }
    }
    for (known, stage) in bed.state().stages.iter().zip(&bed.state().pipeline.stages) {
        prop_assert!(known.failures <= stage.retries + 1, "a stage burned more tries than it has");
    }
    prop_assert_eq!(bed.state().holder.is_some(), matches!(bed.state().phase, Phase::Running | Phase::Cancelling));
    Ok(())
}

fn check_waits(event: &Event) -> Result<(), TestCaseError> {
    if let (EventType::RetryScheduled, Fact::Queued { not_before, .. }) = (event.show.kind, &event.fact) {
        let wait = not_before.since(event.show.timestamp);
        prop_assert!((1..=protocol::limits::RETRY_DELAY_MAX_MS).contains(&wait), "a retry waits {} ms", wait);
    }
    Ok(())
}

/// What must hold of a whole history.
fn check_history(bed: &Bed) -> Result<(), TestCaseError> {
    let mut shown = 0.0;
    for (n, event) in bed.history.iter().enumerate() {
        prop_assert_eq!(event.show.sequence.0, n as u64 + 1, "a hole in the sequence");
        prop_assert!(event.show.progress >= shown, "progress fell from {} to {}", shown, event.show.progress);
        prop_assert!(event.show.progress <= 100.0);
        shown = event.show.progress;
        let is_last = n + 1 == bed.history.len();
        prop_assert!(is_last || !event.show.kind.is_terminal(), "something follows the end");
        prop_assert_eq!(event.show.kind.is_terminal(), event.show.state.is_terminal());
    }
    let cancel = bed.history.iter().position(|event| event.show.kind == EventType::CancelRequested);
    let completed = bed.state().phase == Phase::Complete;
    prop_assert!(cancel.is_none() || !completed, "it completed although it was to stop");
    let ids: std::collections::BTreeSet<_> = bed.history.iter().map(|event| event.show.event_id.clone()).collect();
    prop_assert_eq!(ids.len(), bed.history.len(), "an event id was used twice");
    prop_assert_eq!(bed.last().state, bed.state().state_now());
    Ok(())
}

/// Folded from the start, from what is stored, and from a snapshot in the middle: always the same.
fn check_folds(bed: &Bed, cut: usize) -> Result<(), TestCaseError> {
    let stored: Vec<Event> = bed
        .history
        .iter()
        .map(|event| {
            let show = serde_json::from_str(&serde_json::to_string(&event.show).unwrap()).unwrap();
            Event::from_stored(show, &event.fact_bytes()).unwrap()
        })
        .collect();
    prop_assert_eq!(&stored, &bed.history, "an event does not come back as it was stored");
    let fold =
        |from: Option<State>, events: &[Event]| events.iter().fold(from, |state, event| Some(evolve(state, event)));
    prop_assert_eq!(&fold(None, &stored), &bed.state, "the fold is not the state");
    let cut = 1 + cut % stored.len();
    let snapshot = serde_json::to_vec(&fold(None, &stored[..cut])).unwrap();
    let loaded: Option<State> = serde_json::from_slice(&snapshot).unwrap();
    prop_assert_eq!(&fold(loaded, &stored[cut..]), &bed.state, "a snapshot and the rest are not the state");
    Ok(())
}

/// Works a generation to its end; answers in how many runs.
fn work_to_the_end(mut bed: Bed) -> Bed {
    for _ in 0..=bed.state().pipeline.stages.len() {
        match bed.state().phase {
            Phase::Queued => drop(bed.grant()),
            Phase::External => drop(bed.must(report("complete", None))),
            Phase::Running | Phase::Cancelling => {}
            _ => break,
        }
        if bed.state().holder.is_some() {
            bed.must(bed.done(json!({})));
        }
    }
    bed
}

/// Cancels a generation and lets its worker go silent.
fn cancel_to_the_end(mut bed: Bed) -> Bed {
    match bed.ask(cancel()) {
        Ok(_) | Err(Refusal::Ended(_) | Refusal::NothingNew) => {}
        Err(other) => panic!("a cancel was refused: {other}"),
    }
    if bed.state().phase == Phase::Cancelling {
        bed.wait(protocol::limits::CANCEL_GRACE_MS);
        bed.must(bed.lose(Loss::CancelGraceOver));
    }
    bed
}

/// Every worker dies: a stage runs out of tries, or a producer falls silent.
fn lose_to_the_end(mut bed: Bed) -> Bed {
    let tries: u32 = bed.state().pipeline.stages.iter().map(|stage| stage.retries + 1).sum();
    for _ in 0..=tries {
        match bed.state().phase {
            Phase::Queued => drop(bed.grant()),
            Phase::External => drop(bed.must(Action::ExternalStalled)),
            Phase::Running | Phase::Cancelling => {}
            _ => break,
        }
        if bed.state().holder.is_some() {
            bed.must(bed.lose(Loss::WorkerLost));
        }
    }
    bed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_the_promises_hold(
        pipeline in pipelines(),
        kept in prop::collection::vec(0..6_usize, 0..3),
        steps in prop::collection::vec(step(), 1..80),
        random in any::<u64>(),
        cut in any::<usize>(),
    ) {
        let mut submit = submission(pipeline);
        let keeper = |index: &usize| submit.request.pipeline.stages.get(*index).map(|stage| stage.name.clone());
        submit.request.kept = kept.iter().filter_map(keeper).map(|stage| (stage, file("kept.tar"))).collect();
        let mut bed = Bed { random, ..Bed::empty() };
        bed.must(Action::Submit(Box::new(submit)));
        for step in &steps {
            take(&mut bed, step)?;
        }
        check_history(&bed)?;
        check_folds(&bed, cut)?;
        for drive in [work_to_the_end, cancel_to_the_end, lose_to_the_end] {
            let ended = drive(bed.clone());
            prop_assert!(ended.state().is_terminal(), "it does not end: {:?}", ended.state().phase);
            check_history(&ended)?;
            check_folds(&ended, cut)?;
        }
    }
}
