//! What goes wrong between two parts, and that nothing stays stuck or leaks because of it.

use std::sync::Arc;

use engine::{Action, Command};
use gateway::Commands;
use protocol::{
    CommandId, Durability, ErrorCode, EventType, Fence, GenerationId, LeaseId, Pipeline, Stage,
    http::Submission,
    limits,
    worker::{Artifact, FailureKind, HeldLease, LeaseAnswer, Resumption, RunEvent, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::core::{Answer, Ask, SessionId};

use crate::{bed::Bed, world::World};

#[tokio::test]
async fn what_a_full_disk_refused_is_done_in_its_order_when_there_is_room() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.full = true;
    for message in [log(&lease, "l1"), completed(&lease, "c1", "draw"), log(&lease, "l2"), done(&lease, "d")] {
        world.say(worker, message).await;
    }
    // Each is refused at a time of its own.
    for _ in 0..4 {
        world.land(1).await;
        world.now += 7;
    }
    world.full = false;
    world.pass(5_000).await;
    let acked: Vec<_> = world
        .mail(worker)
        .into_iter()
        .filter_map(|message| match message {
            ServerMessage::Ack { event_id, .. } => Some(event_id.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(acked, ["l1", "c1", "l2", "d"]);
    assert_eq!(world.stored(&id).await.last().unwrap().kind, EventType::Complete);
}

#[tokio::test]
async fn a_question_under_way_is_answered_although_the_disk_fills_up() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.full = true;
    world.say(worker, log(&lease, "l1")).await;
    let prioritize = Command { id: command("p"), action: Action::Prioritize(protocol::http::Priority::Batch) };
    let ticket = world.ask(&id, Ask::Command(prioritize)).await;
    // The store is asked whether it knows the command while the line before it is refused.
    world.land(1).await;
    world.full = false;
    world.pass(5_000).await;
    assert!(world.answered(ticket).is_some());
}

#[tokio::test]
async fn a_read_shows_what_is_durable_and_not_what_was_decided_since() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.say(worker, log(&lease, "l1")).await;
    let ticket = world.ask(&id, Ask::Read).await;
    world.say(worker, log(&lease, "l2")).await;
    // The world looks at every answer and finds it stored.
    world.land(1).await;
    assert!(matches!(world.answered(ticket), Some(Ok(Answer::Generation { event, .. })) if event.sequence.0 == 3));
}

#[tokio::test]
async fn a_grant_whose_commit_was_not_heard_of_does_not_hold_the_generation_for_ever() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let offer = offered(&mut world, worker, &id).await;
    world.say(worker, WorkerMessage::Accept { offer }).await;
    world.land_unheard().await;
    world.pass(limits::LEASE_SILENCE_MAX_MS + 1_000).await;
    world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
    world.settle().await;
    take(&mut world, worker, &id).await;
}

#[tokio::test]
async fn a_done_whose_commit_was_not_heard_of_is_acked_and_frees_the_slot() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.say(worker, done(&lease, "d")).await;
    world.land_unheard().await;
    world.pass(5_000).await;
    assert!(world.mail(worker).iter().any(|message| matches!(message, ServerMessage::Ack { .. })));
    let views = world.workers().await;
    assert!(views[0].busy.values().all(|busy| *busy == 0), "{:?}", views[0]);
}

#[tokio::test]
async fn a_worker_does_not_outlive_its_lease_by_guessing_how_it_ends() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.say(worker, log(&lease, "lose.1")).await;
    world.settle().await;
    world.pass(limits::LEASE_SILENCE_MAX_MS + 1_000).await;
    assert!(world.stored(&id).await.iter().any(|event| event.kind == EventType::RetryScheduled));
}

#[tokio::test]
async fn work_that_is_declined_does_not_hide_what_waits_behind_it() {
    let (mut world, worker, first) = waiting(Durability::Strict).await;
    let second = submitted(&mut world, Durability::Strict).await;
    for _ in 0..4 {
        world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
        world.settle().await;
        for message in world.mail(worker) {
            if let ServerMessage::Offer { offer, generation, .. } = message {
                if generation == second {
                    return;
                }
                assert_eq!(generation, first);
                world.say(worker, WorkerMessage::Decline { offer, reason: "too big".into() }).await;
            }
        }
        world.pass(limits::HEARTBEAT_MS).await;
    }
    panic!("never offered");
}

#[tokio::test]
async fn a_worker_that_answers_no_offer_does_not_keep_work_from_another() {
    let (mut world, deaf, id) = waiting(Durability::Strict).await;
    offered(&mut world, deaf, &id).await;
    let other = world.hello("w2", "1", 1, Vec::new()).await;
    for _ in 0..8 {
        for worker in [deaf, other] {
            world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
        }
        world.pass(limits::HEARTBEAT_MS).await;
        if world.mail(other).iter().any(|message| matches!(message, ServerMessage::Offer { .. })) {
            return;
        }
    }
    panic!("never offered to the worker that answers");
}

#[tokio::test]
async fn an_offer_of_what_was_cancelled_is_withdrawn_at_once() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    offered(&mut world, worker, &id).await;
    let cancel = Command { id: command("c"), action: Action::Cancel { reason: String::new() } };
    world.ask(&id, Ask::Command(cancel)).await;
    world.settle().await;
    assert!(world.mail(worker).iter().any(|message| matches!(message, ServerMessage::Withdrawn { .. })));
    assert!(world.workers().await[0].busy.values().all(|busy| *busy == 0));
}

#[tokio::test]
async fn a_grant_to_a_worker_that_just_left_burns_no_attempt() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let offer = offered(&mut world, worker, &id).await;
    world.say(worker, WorkerMessage::Accept { offer }).await;
    world.hang_up(worker).await;
    world.settle().await;
    let kinds: Vec<_> = world.stored(&id).await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventType::Queued, EventType::StageStarted, EventType::HandedBack]);
}

#[tokio::test]
async fn a_thief_that_hangs_up_writes_nothing_either() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    // Something is looked up, so that what comes next is decided later.
    world.say(worker, done(&lost(&lease), "x")).await;
    let thief = world.connect("thief").await;
    world.say(thief, hello("w1")).await;
    world.say(thief, done(&lease, "d")).await;
    world.hang_up(thief).await;
    world.settle().await;
    assert!(!world.stored(&id).await.iter().any(|event| event.kind == EventType::StageCompleted));
}

#[tokio::test]
async fn a_lease_named_twice_takes_one_slot() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, fence) = take(&mut world, worker, &id).await;
    world.hang_up(worker).await;
    let held = HeldLease { lease: lease.clone(), fence };
    let worker = world.hello("w1", "1", 1, vec![held.clone(), held.clone()]).await;
    world.say(worker, done(&lease, "d")).await;
    world.settle().await;
    assert!(world.workers().await[0].busy.values().all(|busy| *busy == 0));
}

#[tokio::test]
async fn another_worker_of_the_same_token_does_not_resume_a_lease() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, fence) = take(&mut world, worker, &id).await;
    let other = world.hello("w2", "1", 1, vec![HeldLease { lease: lease.clone(), fence }]).await;
    assert_eq!(welcome(&mut world, other).result, Resumption::LeaseLost);
}

#[tokio::test]
async fn a_slot_that_was_released_stays_free_after_a_restart() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, fence) = take(&mut world, worker, &id).await;
    world.say(worker, WorkerMessage::Release { lease: lease.clone(), event_id: command("r"), pool: pool("gpu") }).await;
    world.settle().await;
    world.restart(true).await;
    let worker = world.hello("w1", "1", 1, vec![HeldLease { lease, fence }]).await;
    assert_eq!(welcome(&mut world, worker).result, Resumption::Resumed);
    assert_eq!(world.workers().await[0].busy.get(&pool("gpu")).copied().unwrap_or(0), 0);
}

#[tokio::test]
async fn a_cancel_is_told_again_to_a_worker_that_comes_back() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, fence) = take(&mut world, worker, &id).await;
    world.hang_up(worker).await;
    let cancel = Command { id: command("c"), action: Action::Cancel { reason: String::new() } };
    world.ask(&id, Ask::Command(cancel)).await;
    world.settle().await;
    let worker = world.hello("w1", "1", 1, vec![HeldLease { lease, fence }]).await;
    assert!(welcome(&mut world, worker).cancel);
}

#[tokio::test]
async fn relayed_progress_that_stands_still_is_a_stall_and_an_event_takes_nothing_back() {
    let (mut world, worker, id) = waiting(Durability::Relay).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.say(worker, progress(&lease, 60.0)).await;
    let shown = world.hints.last().unwrap().progress;
    world.say(worker, log(&lease, "l1")).await;
    world.settle().await;
    assert_eq!(world.stored(&id).await.last().unwrap().progress, shown);
    for _ in 0..Stage::new("draw".parse().unwrap()).stall_ms / limits::HEARTBEAT_MS + 2 {
        world.say(worker, progress(&lease, 60.0)).await;
        world.pass(limits::HEARTBEAT_MS).await;
    }
    assert!(world.stored(&id).await.iter().any(|event| event.kind == EventType::StageFailed));
}

#[tokio::test]
async fn a_producer_that_went_silent_before_a_restart_is_noticed_after_it() {
    let bed = Bed::start().await;
    let external = Submission { pipeline: Some("external".parse().unwrap()), ..Submission::default() };
    let id = bed.submit_this(external).await;
    let bed = bed.restart().await;
    // Answered behind the first look at the queue, so that the clock is wound after it.
    bed.handle.state(&id).await.unwrap();
    bed.handle.workers().await.unwrap();
    bed.clock.advance(limits::EXTERNAL_STALL_MS + 1_000);
    bed.until(&id, EventType::Failed).await;
}

#[tokio::test]
async fn a_retry_shares_the_files_of_what_it_retries() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let id = bed.submit("one").await;
    let held = worker.take(&id).await;
    let artifact = Artifact { name: "frames.tar".parse().unwrap(), size: 3, sha256: "00".repeat(32) };
    worker.stage_completed(&held.lease, "prompt_analysis").await;
    bed.upload(&id, &artifact).await;
    worker.acked(WorkerMessage::Artifact { lease: held.lease.clone(), event_id: command("a"), artifact }).await;
    worker.stage_completed(&held.lease, "generating_frames").await;
    worker.fail(&held.lease, "f", FailureKind::Fatal).await;
    let retried = bed.handle.retry(&id, "c".parse().unwrap(), Some("key".into())).await.unwrap();
    assert_eq!(bed.artifacts(&retried.event.generation_id).await, 1);
    let again = bed.handle.retry(&id, "c".parse().unwrap(), Some("key".into())).await.unwrap();
    assert_eq!(again.event.generation_id, retried.event.generation_id);
}

#[tokio::test]
async fn only_the_holder_learns_what_is_stored_under_a_name() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    let artifact = Artifact { name: "film.mp4".parse().unwrap(), size: 3, sha256: "00".repeat(32) };
    let message = WorkerMessage::Artifact { lease: lost(&lease), event_id: command("a"), artifact };
    world.say(worker, message).await;
    world.settle().await;
    let codes: Vec<_> = world
        .mail(worker)
        .into_iter()
        .filter_map(|message| match message {
            ServerMessage::Refused { code, .. } => Some(code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [ErrorCode::LeaseLost]);
}

/// A late word under an old lease, or of somebody else under this one, changes nothing: not what waits for its turn either.
#[tokio::test]
async fn a_ghost_neither_drops_nor_hurries_what_the_holder_said_of_progress() {
    for last_word in [done, failed, hand_back] {
        for bearer in ["worker", "thief"] {
            let (mut world, worker, id) = waiting(Durability::Strict).await;
            let (lease, _) = take(&mut world, worker, &id).await;
            for percent in [10.0, 20.0] {
                world.say(worker, progress(&lease, percent)).await;
            }
            world.settle().await;
            assert_eq!(progress_events(&world, &id).await, 1, "the second waits for its turn");
            let ghost = world.connect(bearer).await;
            world.say(ghost, hello("w2")).await;
            let shown = if bearer == "thief" { lease } else { lost(&lease) };
            world.say(ghost, last_word(&shown, "late")).await;
            world.settle().await;
            let refused = |message: &ServerMessage| matches!(message, ServerMessage::Refused { .. });
            assert!(world.mail(ghost).iter().any(refused));
            assert_eq!(progress_events(&world, &id).await, 1, "it still waits");
            world.pass(limits::PROGRESS_INTERVAL_MS).await;
            assert_eq!(progress_events(&world, &id).await, 2, "and comes when it is due");
        }
    }
}

async fn progress_events(world: &World, id: &GenerationId) -> usize {
    world.stored(id).await.iter().filter(|event| event.kind == EventType::StageProgress).count()
}

#[tokio::test]
async fn what_was_long_on_its_way_to_a_worker_is_not_offered_to_another_beside_it() {
    let mut world = World::new(1).await;
    let id = submitted(&mut world, Durability::Strict).await;
    // Long enough to leave memory.
    world.pass(120_000).await;
    world.loads_slowly = true;
    let worker = world.hello("w1", "1", 1, Vec::new()).await;
    world.settle().await;
    world.advance(2_000).await;
    world.loads_slowly = false;
    let offer = offered(&mut world, worker, &id).await;
    // The reservation ends before the offer does.
    let other = world.hello("w2", "1", 1, Vec::new()).await;
    world.pass(limits::OFFER_TIMEOUT_MS - 500).await;
    world.say(other, WorkerMessage::Heartbeat { tokens: 10 }).await;
    world.settle().await;
    let is_offer = |message: &ServerMessage| matches!(message, ServerMessage::Offer { .. });
    assert!(!world.mail(other).iter().any(is_offer));
    world.say(worker, WorkerMessage::Accept { offer }).await;
    world.settle().await;
    assert!(world.mail(worker).iter().any(|message| matches!(message, ServerMessage::Granted { .. })));
    assert!(world.workers().await.iter().map(|view| view.busy.values().sum::<u32>()).eq([1, 0]));
}

#[tokio::test]
async fn what_was_long_on_its_way_and_is_not_answered_goes_to_another() {
    let mut world = World::new(1).await;
    let id = submitted(&mut world, Durability::Strict).await;
    world.pass(120_000).await;
    world.loads_slowly = true;
    let deaf = world.hello("w1", "1", 1, Vec::new()).await;
    world.settle().await;
    world.advance(2_000).await;
    world.loads_slowly = false;
    offered(&mut world, deaf, &id).await;
    let other = world.hello("w2", "1", 1, Vec::new()).await;
    for _ in 0..4 {
        world.say(other, WorkerMessage::Heartbeat { tokens: 10 }).await;
        world.pass(limits::HEARTBEAT_MS).await;
    }
    let is_offer = |message: &ServerMessage| matches!(message, ServerMessage::Offer { .. });
    assert!(world.mail(other).iter().any(is_offer));
}

/// Beats of a worker in one and a half times what a stage may stand still.
fn beats() -> u32 {
    u32::try_from(Stage::new("draw".parse().unwrap()).stall_ms * 3 / 2 / limits::HEARTBEAT_MS).unwrap()
}

#[tokio::test]
async fn a_disk_that_is_full_for_longer_than_a_stage_may_stand_still_takes_no_run_from_its_worker() {
    for durability in [Durability::Strict, Durability::Relaxed, Durability::Relay] {
        let (mut world, worker, id) = waiting(durability).await;
        let (lease, _) = take(&mut world, worker, &id).await;
        world.full = true;
        for beat in 1..=beats() {
            world.say(worker, progress(&lease, f64::from(beat) / f64::from(beats()) * 100.0)).await;
            if beat == 1 {
                world.say(worker, log(&lease, "l1")).await;
            }
            world.pass(limits::HEARTBEAT_MS).await;
        }
        world.full = false;
        world.pass(5_000).await;
        world.say(worker, done(&lease, "d")).await;
        world.settle().await;
        let stored = world.stored(&id).await;
        assert_eq!(stored.last().map(|event| event.kind), Some(EventType::Complete));
        assert!(stored.iter().all(|event| event.kind != EventType::StageFailed), "{durability:?}");
        assert!(
            stored.iter().all(|event| !event.metadata.contains_key("silentMs")),
            "nobody is told that it stood still"
        );
    }
}

#[tokio::test]
async fn a_stage_that_stands_still_while_the_disk_is_full_is_ended_when_there_is_room() {
    let (mut world, worker, id) = waiting(Durability::Strict).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    world.full = true;
    for _ in 1..=beats() {
        world.say(worker, progress(&lease, 50.0)).await;
        world.pass(limits::HEARTBEAT_MS).await;
    }
    world.full = false;
    world.pass(5_000).await;
    assert!(world.stored(&id).await.iter().any(|event| event.kind == EventType::StageFailed));
}

#[tokio::test]
async fn a_line_that_was_refused_once_takes_no_time_from_a_relayed_stage() {
    let (mut world, worker, id) = waiting(Durability::Relay).await;
    let (lease, _) = take(&mut world, worker, &id).await;
    for beat in 1..=beats() {
        world.say(worker, progress(&lease, f64::from(beat) / 2.0)).await;
        world.pass(limits::HEARTBEAT_MS).await;
    }
    world.full = true;
    world.say(worker, log(&lease, "l1")).await;
    world.land(1).await;
    world.full = false;
    // A few beats without a rise are no stall.
    for _ in 0..5 {
        world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
        world.pass(limits::HEARTBEAT_MS).await;
    }
    world.say(worker, done(&lease, "d")).await;
    world.settle().await;
    let stored = world.stored(&id).await;
    assert_eq!(stored.last().map(|event| event.kind), Some(EventType::Complete));
    assert!(stored.iter().all(|event| event.kind != EventType::StageFailed));
}

/// A world with one worker of one slot a pool, and one generation that waits.
async fn waiting(durability: Durability) -> (World, SessionId, GenerationId) {
    let mut world = World::new(1).await;
    let worker = world.hello("w1", "1", 1, Vec::new()).await;
    let id = submitted(&mut world, durability).await;
    (world, worker, id)
}

async fn submitted(world: &mut World, durability: Durability) -> GenerationId {
    let stage = |name: &str| Stage { pool: pool("gpu"), ..Stage::new(name.parse().unwrap()) };
    let pipeline = Arc::new(Pipeline {
        durability,
        ..Pipeline::new("film".parse().unwrap(), vec![stage("draw"), stage("encode")])
    });
    let (id, _) = world.submit(&pipeline, "ann").await;
    world.land(1).await;
    id
}

async fn offered(world: &mut World, worker: SessionId, id: &GenerationId) -> protocol::OfferId {
    world.settle().await;
    let offers = world.mail(worker).into_iter().filter_map(|message| match message {
        ServerMessage::Offer { offer, generation, .. } if generation == *id => Some(offer),
        _ => None,
    });
    offers.last().expect("an offer")
}

async fn take(world: &mut World, worker: SessionId, id: &GenerationId) -> (LeaseId, Fence) {
    let offer = offered(world, worker, id).await;
    world.say(worker, WorkerMessage::Accept { offer }).await;
    world.settle().await;
    let granted = world.mail(worker).into_iter().find_map(|message| match message {
        ServerMessage::Granted { lease, fence, .. } => Some((lease, fence)),
        _ => None,
    });
    granted.expect("a grant")
}

fn welcome(world: &mut World, worker: SessionId) -> LeaseAnswer {
    let answers = world.mail(worker).into_iter().find_map(|message| match message {
        ServerMessage::Welcome { leases, .. } => Some(leases),
        _ => None,
    });
    answers.expect("a welcome").remove(0)
}

/// A lease of the same generation that nobody was given.
fn lost(lease: &LeaseId) -> LeaseId {
    let (fence, generation) = lease.address().unwrap();
    LeaseId::generate(fence, [0; 16], &generation)
}

fn log(lease: &LeaseId, id: &str) -> WorkerMessage {
    let what = RunEvent::Log { message: id.to_owned(), metadata: None };
    WorkerMessage::Event { lease: lease.clone(), event_id: command(id), what }
}

fn completed(lease: &LeaseId, id: &str, stage: &str) -> WorkerMessage {
    let what = RunEvent::StageCompleted { stage: stage.parse().unwrap(), outputs: None };
    WorkerMessage::Event { lease: lease.clone(), event_id: command(id), what }
}

fn done(lease: &LeaseId, id: &str) -> WorkerMessage {
    WorkerMessage::Done { lease: lease.clone(), event_id: command(id), outputs: Default::default() }
}

fn command(text: &str) -> CommandId {
    text.parse().unwrap()
}

fn pool(name: &str) -> protocol::PoolName {
    name.parse().unwrap()
}

fn failed(lease: &LeaseId, id: &str) -> WorkerMessage {
    let (code, message) = (String::new(), String::new());
    WorkerMessage::Fail { lease: lease.clone(), event_id: command(id), kind: FailureKind::Retryable, code, message }
}

fn hand_back(lease: &LeaseId, id: &str) -> WorkerMessage {
    WorkerMessage::HandBack { lease: lease.clone(), event_id: command(id) }
}

fn hello(worker: &str) -> WorkerMessage {
    WorkerMessage::Hello {
        worker: worker.parse().unwrap(),
        instance: "1".into(),
        pools: Default::default(),
        labels: Default::default(),
        sdk: None,
        leases: Vec::new(),
        pipelines: Vec::new(),
    }
}

fn progress(lease: &LeaseId, percent: f64) -> WorkerMessage {
    let stage = "draw".parse().unwrap();
    WorkerMessage::Progress { lease: lease.clone(), stage, progress: percent, message: None, metadata: None }
}
