//! What holds runs back, through the core and a real store: pauses, breakers, bounds, deadlines, the watchdog, positions.

use std::sync::Arc;

use bus::Interest;
use protocol::{
    CommandId, EventType, GenerationId, LeaseId, Pipeline, Stage, limits,
    worker::{FailureKind, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::{
    Config, Forced, Threshold,
    core::{Input, SessionId},
};

use store::{History, Store};

use crate::world::World;

fn pipeline(change: impl FnOnce(&mut Pipeline)) -> Arc<Pipeline> {
    let stage = Stage { expected_ms: 4_000, ..Stage::new("draw".parse().unwrap()) };
    let mut pipeline = Pipeline::new("one".parse().unwrap(), vec![stage]);
    change(&mut pipeline);
    Arc::new(pipeline)
}

async fn submit(world: &mut World, pipeline: &Arc<Pipeline>) -> GenerationId {
    let (id, _) = world.submit(pipeline, "ann").await;
    world.settle().await;
    id
}

/// The lease of the next offer, if one comes.
async fn take(world: &mut World, worker: SessionId) -> Option<(GenerationId, LeaseId)> {
    world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
    world.settle().await;
    for message in world.mail(worker) {
        if let ServerMessage::Offer { offer, .. } = message {
            world.say(worker, WorkerMessage::Accept { offer }).await;
        }
    }
    world.settle().await;
    world.mail(worker).into_iter().find_map(|message| match message {
        ServerMessage::Granted { lease, .. } => lease.address().map(|(_, generation)| (generation, lease)),
        _ => None,
    })
}

async fn fail(world: &mut World, worker: SessionId, lease: LeaseId, kind: FailureKind) {
    let event_id = CommandId::new(format!("fail.{lease}").chars().take(60).collect::<String>()).unwrap();
    world.say(worker, WorkerMessage::Fail { lease, event_id, kind, code: String::new(), message: String::new() }).await;
    world.settle().await;
}

async fn kinds(world: &World, id: &GenerationId) -> Vec<EventType> {
    world.stored(id).await.iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn what_waits_when_a_pipeline_is_paused_hears_of_it_and_of_its_end() {
    let mut world = World::new(1).await;
    let id = submit(&mut world, &pipeline(|_| {})).await;
    world.pause("one", true).await;
    world.settle().await;
    let worker = world.hello("w", "1", 1, Vec::new()).await;
    assert_eq!(take(&mut world, worker).await, None);
    world.restart(true).await;
    let worker = world.hello("w", "2", 1, Vec::new()).await;
    assert_eq!(take(&mut world, worker).await, None, "it holds over a restart");
    world.pause("one", false).await;
    world.settle().await;
    assert!(take(&mut world, worker).await.is_some());
    assert_eq!(kinds(&world, &id).await[..3], [EventType::Queued, EventType::Parked, EventType::Unparked]);
}

#[tokio::test]
async fn an_open_breaker_lets_one_probe_through_and_its_success_lets_all() {
    let config = Config { breaker: Threshold { failures: Some(2), open_ms: 5_000 }, ..Config::default() };
    let mut world = World::with(1, config).await;
    let definition = pipeline(|p| p.stages[0].retries = 0);
    let worker = world.hello("w", "1", 4, Vec::new()).await;
    for _ in 0..2 {
        submit(&mut world, &definition).await;
        let (_, lease) = take(&mut world, worker).await.unwrap();
        fail(&mut world, worker, lease, FailureKind::Retryable).await;
    }
    let (probe, second) = (submit(&mut world, &definition).await, submit(&mut world, &definition).await);
    assert_eq!(take(&mut world, worker).await, None);
    assert_eq!(kinds(&world, &second).await, [EventType::Queued, EventType::Parked]);
    world.pass(5_001).await;
    let (first, lease) = take(&mut world, worker).await.unwrap();
    // Both were handed out for the free slots; whichever was read first is the probe.
    let second = if first == probe { second } else { probe };
    assert_eq!(take(&mut world, worker).await, None, "one probe at a time");
    let event_id = CommandId::new("done").unwrap();
    world.say(worker, WorkerMessage::Done { lease, event_id, outputs: Default::default() }).await;
    world.settle().await;
    assert_eq!(take(&mut world, worker).await.map(|(id, _)| id), Some(second.clone()));
    assert!(world.stored(&second).await.iter().all(|event| event.kind != EventType::StageFailed), "nothing burned");
}

/// What a poisoned prompt does to its stage is its owner's trouble, and nobody else's.
#[tokio::test]
async fn failures_of_one_owner_hold_back_that_owner_alone_until_somebody_else_shows_what_it_is() {
    for others_fail in [false, true] {
        let config = Config { breaker: Threshold { failures: Some(2), open_ms: 60_000 }, ..Config::default() };
        let mut world = World::with(1, config).await;
        let definition = pipeline(|p| p.stages[0].retries = 0);
        let worker = world.hello("w", "1", 1, Vec::new()).await;
        for _ in 0..2 {
            submit(&mut world, &definition).await;
            let (_, lease) = take(&mut world, worker).await.unwrap();
            fail(&mut world, worker, lease, FailureKind::Retryable).await;
        }
        let poisoned = [submit(&mut world, &definition).await, submit(&mut world, &definition).await];
        assert_eq!(take(&mut world, worker).await, None);
        for id in &poisoned {
            assert_eq!(kinds(&world, id).await, [EventType::Queued, EventType::Parked], "its owner is told");
        }
        let (other, _) = world.submit(&definition, "bob").await;
        world.settle().await;
        let (taken, lease) = take(&mut world, worker).await.expect("somebody else's run starts behind what is parked");
        assert_eq!(taken, other);
        if others_fail {
            fail(&mut world, worker, lease, FailureKind::Retryable).await;
            let (third, _) = world.submit(&definition, "eve").await;
            world.settle().await;
            assert_eq!(take(&mut world, worker).await, None, "two owners: it is the backend");
            assert_eq!(kinds(&world, &third).await, [EventType::Queued, EventType::Parked]);
        } else {
            let event_id = CommandId::new("done").unwrap();
            world.say(worker, WorkerMessage::Done { lease, event_id, outputs: Default::default() }).await;
            world.settle().await;
            let (next, _) = take(&mut world, worker).await.expect("the backend works: whoever waits may try");
            assert!(poisoned.contains(&next));
        }
        assert!(world.stored(&poisoned[1]).await.iter().all(|event| event.kind != EventType::StageFailed));
    }
}

/// What is held back is in no lane: it is handed out to nobody, has no position, and its tenant is charged nothing for it.
#[tokio::test]
async fn what_waits_for_one_owners_breaker_is_in_no_lane_until_its_probe() {
    let config = Config { breaker: Threshold { failures: Some(2), open_ms: 20_000 }, ..Config::default() };
    let mut world = World::with(1, config).await;
    let definition = pipeline(|p| p.stages[0].retries = 0);
    let pool = definition.stages[0].pool.clone();
    let worker = world.hello("w", "1", 2, Vec::new()).await;
    for _ in 0..2 {
        submit(&mut world, &definition).await;
        let (_, lease) = take(&mut world, worker).await.unwrap();
        fail(&mut world, worker, lease, FailureKind::Retryable).await;
    }
    let mut poisoned = Vec::new();
    for _ in 0..20 {
        poisoned.push(submit(&mut world, &definition).await);
    }
    assert_eq!(take(&mut world, worker).await, None);
    let (other, _) = world.submit(&definition, "bob").await;
    world.settle().await;
    assert_eq!(world.store.ranks(&pool, &poisoned).await.unwrap(), []);
    let ranks = world.store.ranks(&pool, std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(ranks[0].1.before, 0, "nothing stands before somebody else's");
    let now = protocol::Timestamp(world.now);
    assert_eq!(world.store.reserve(&pool, 100, now, now.plus(1)).await.unwrap(), [], "but bob's, which is offered");
    assert_eq!(take(&mut world, worker).await.map(|(id, _)| id), Some(other));
    // Its time is up: one of them is the probe, and the others step back again.
    world.pass(20_001).await;
    let (probe, lease) = take(&mut world, worker).await.expect("a probe");
    assert!(poisoned.contains(&probe));
    assert_eq!(take(&mut world, worker).await, None, "one probe at a time");
    assert_eq!(world.store.ranks(&pool, &poisoned).await.unwrap(), []);
    fail(&mut world, worker, lease, FailureKind::Retryable).await;
    assert_eq!(take(&mut world, worker).await, None, "it is open again");
    world.force("draw:gpu", Some(Forced::Closed)).await;
    world.settle().await;
    assert!(take(&mut world, worker).await.is_some(), "an operator has the last word");
}

#[tokio::test]
async fn deadlines_of_waits_are_kept_over_a_restart() {
    let mut world = World::new(1).await;
    let id = submit(&mut world, &pipeline(|p| p.queue_timeout_ms = Some(10_000))).await;
    world.restart(true).await;
    world.pass(9_000).await;
    assert_eq!(kinds(&world, &id).await, [EventType::Queued]);
    world.pass(1_500).await;
    assert_eq!(kinds(&world, &id).await, [EventType::Queued, EventType::Failed]);
}

#[tokio::test]
async fn a_run_that_outlives_its_generation_is_taken_from_its_worker() {
    let mut world = World::new(1).await;
    let id = submit(&mut world, &pipeline(|p| p.timeout_ms = Some(3_000))).await;
    let worker = world.hello("w", "1", 1, Vec::new()).await;
    take(&mut world, worker).await.unwrap();
    world.pass(3_001).await;
    assert_eq!(kinds(&world, &id).await.last(), Some(&EventType::Failed));
    assert!(world.mail(worker).iter().any(|message| matches!(message, ServerMessage::LeaseLost { .. })));
}

#[tokio::test]
async fn a_stage_that_stands_still_is_reported_once_and_then_ended() {
    use EventType::{Failed, Log, Queued, StageFailed, StageStarted};
    let mut world = World::new(1).await;
    let id = submit(&mut world, &pipeline(|p| (p.stages[0].stall_ms, p.stages[0].retries) = (8_000, 0))).await;
    let worker = world.hello("w", "1", 1, Vec::new()).await;
    take(&mut world, worker).await.unwrap();
    for _ in 0..4 {
        world.pass(1_900).await;
        world.say(worker, WorkerMessage::Heartbeat { tokens: 0 }).await;
    }
    assert_eq!(kinds(&world, &id).await, [Queued, StageStarted, Log]);
    world.pass(1_900).await;
    assert_eq!(kinds(&world, &id).await, [Queued, StageStarted, Log, StageFailed, Failed]);
}

#[tokio::test]
async fn what_ran_out_of_memory_is_offered_in_the_bigger_pool() {
    let mut world = World::new(1).await;
    let big = pipeline(|p| p.stages[0].bigger_pool = Some("big".parse().unwrap()));
    let id = submit(&mut world, &big).await;
    let worker = world.hello("w", "1", 1, Vec::new()).await;
    let (_, lease) = take(&mut world, worker).await.unwrap();
    fail(&mut world, worker, lease, FailureKind::OutOfMemory).await;
    world.pass(limits::RETRY_BASE_MS + 1).await;
    let offered = take(&mut world, worker).await;
    assert_eq!(offered.map(|(id, _)| id), Some(id));
    let views = world.workers().await;
    assert_eq!(views[0].busy[&"big".parse::<protocol::PoolName>().unwrap()], 1);
}

#[tokio::test]
async fn a_watcher_hears_its_place_and_an_estimate_at_most_once_a_second() {
    let mut world = World::new(1).await;
    let definition = pipeline(|_| {});
    let worker = world.hello("w", "1", 1, Vec::new()).await;
    let ahead = submit(&mut world, &definition).await;
    let id = submit(&mut world, &definition).await;
    assert_eq!(take(&mut world, worker).await.map(|(id, _)| id), Some(ahead));
    let look = Interest { generation: id.clone(), full: None, tile: None, watchers: 1, slow: 1.0 };
    let third = submit(&mut world, &definition).await;
    for _ in 0..5 {
        world.feed(Input::Interest([look.clone()].into())).await;
        world.feed(Input::Interest([Interest { generation: third.clone(), ..look.clone() }].into())).await;
        world.say(worker, WorkerMessage::Heartbeat { tokens: 0 }).await;
        world.pass(400).await;
    }
    let of = |id: &GenerationId| world.hints.iter().filter(|hint| hint.generation_id == *id).collect::<Vec<_>>();
    let (mine, last) = (of(&id), of(&third));
    assert_eq!((mine.len(), last.len()), (1, 1), "what did not change is not said again");
    assert_eq!(mine[0].metadata["queuePosition"], 1);
    assert_eq!(mine[0].metadata["estimatedSecondsRemaining"], 4);
    assert_eq!(
        (&last[0].metadata["queuePosition"], &last[0].metadata["estimatedSecondsRemaining"]),
        (&2.into(), &8.into())
    );
}

#[tokio::test]
async fn a_slot_of_the_bigger_pool_can_be_released_early() {
    let mut world = World::new(1).await;
    let big = pipeline(|p| p.stages[0].bigger_pool = Some("big".parse().unwrap()));
    submit(&mut world, &big).await;
    let worker = world.hello("w", "1", 1, Vec::new()).await;
    let (_, lease) = take(&mut world, worker).await.unwrap();
    fail(&mut world, worker, lease, FailureKind::OutOfMemory).await;
    world.pass(limits::RETRY_BASE_MS + 1).await;
    let (_, lease) = take(&mut world, worker).await.unwrap();
    let pool: protocol::PoolName = "big".parse().unwrap();
    assert_eq!(world.workers().await[0].busy[&pool], 1);
    let event_id = CommandId::new("release").unwrap();
    world.say(worker, WorkerMessage::Release { lease, event_id, pool: pool.clone() }).await;
    world.settle().await;
    assert_eq!(world.workers().await[0].busy[&pool], 0);
}
