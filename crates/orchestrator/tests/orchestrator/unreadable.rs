//! Rows that cannot be read, as a bad sector or a stray tool leaves them: what they hold up is themselves, and they go on
//! when they can be read again.

use std::{path::Path, sync::Arc};

use protocol::{
    EventType, GenerationId, Pipeline, Stage, limits,
    worker::{Resumption, ServerMessage, WorkerMessage},
};
use rushes_orchestrator::core::SessionId;

use crate::{
    bed::{Bed, PATIENCE},
    world::World,
};

/// Long enough for what waits unwatched to leave memory, in milliseconds.
const IDLE_MS: u64 = 120_000;

/// Makes the row of a generation one that cannot be read, or repairs it.
fn damage(folder: &Path, id: &GenerationId, damaged: bool) {
    let database = rusqlite::Connection::open(folder.join("rushes.db")).unwrap();
    let state = if damaged { "state || '?'" } else { "rtrim(state, '?')" };
    let statement = format!("UPDATE generation SET state = {state} WHERE public_id = ?1");
    assert_eq!(database.execute(&statement, [id.as_str()]).unwrap(), 1);
}

async fn submit(world: &mut World) -> GenerationId {
    let pipeline = Pipeline::new("film".parse().unwrap(), vec![Stage::new("draw".parse().unwrap())]);
    let (id, _) = world.submit(&Arc::new(pipeline), "ann").await;
    world.settle().await;
    id
}

/// What the worker is offered next and takes, if anything comes within a heartbeat.
async fn take(world: &mut World, worker: SessionId) -> Option<GenerationId> {
    world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
    world.pass(limits::HEARTBEAT_MS).await;
    let offer = world.mail(worker).into_iter().find_map(|message| match message {
        ServerMessage::Offer { offer, .. } => Some(offer),
        _ => None,
    })?;
    world.say(worker, WorkerMessage::Accept { offer }).await;
    world.settle().await;
    let lease = world.mail(worker).into_iter().find_map(|message| match message {
        ServerMessage::Granted { lease, .. } => Some(lease),
        _ => None,
    })?;
    let (_, generation) = lease.address().unwrap();
    let event_id = format!("done.{}", lease.as_str().len()).parse().unwrap();
    world.say(worker, WorkerMessage::Done { lease, event_id, outputs: Default::default() }).await;
    world.settle().await;
    Some(generation)
}

#[tokio::test]
async fn work_that_cannot_be_read_does_not_keep_the_only_slot_from_what_waits_behind_it() {
    let mut world = World::new(1).await;
    let mut damaged = Vec::new();
    for _ in 0..3 {
        damaged.push(submit(&mut world).await);
    }
    let mut sound = Vec::new();
    for _ in 0..3 {
        sound.push(submit(&mut world).await);
    }
    for id in &damaged {
        damage(world.folder(), id, true);
    }
    world.pass(IDLE_MS).await;
    let worker = world.hello("w1", "1", 1, Vec::new()).await;
    world.settle().await;
    for id in &sound {
        assert_eq!(take(&mut world, worker).await.as_ref(), Some(id));
    }
    for id in &damaged {
        damage(world.folder(), id, false);
    }
    let mut late = Vec::new();
    for _ in 0..8 {
        late.extend(take(&mut world, worker).await);
    }
    late.sort();
    damaged.sort();
    assert_eq!(late, damaged, "each has its turn when it can be read");
}

#[tokio::test]
async fn a_store_that_reads_nothing_is_not_asked_for_the_whole_queue_at_once() {
    let mut world = World::new(1).await;
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(submit(&mut world).await);
    }
    for id in &ids {
        damage(world.folder(), id, true);
    }
    world.pass(IDLE_MS).await;
    let before = world.loads;
    let worker = world.hello("w1", "1", 1, Vec::new()).await;
    for _ in 0..10 {
        world.say(worker, WorkerMessage::Heartbeat { tokens: 10 }).await;
        world.settle().await;
    }
    assert!((2..=50).contains(&(world.loads - before)), "{} reads", world.loads - before);
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_stops_no_start_and_goes_on_when_it_can() {
    let bed = Bed::start().await;
    let mut worker = bed.worker("w1", "i1").await;
    let (id, other) = (bed.submit("one").await, bed.submit("two").await);
    let held = worker.take(&id).await;
    let bed = bed.restart_after(|folder| damage(folder, &id, true)).await;
    let mut second = bed.worker("w2", "i1").await;
    let its = second.take(&other).await;
    second.done(&its.lease, "d").await;

    damage(bed.folder(), &id, false);
    let bearer = "worker".parse().unwrap();
    let taken_over = async {
        while !bed.handle.holds(&id, &held.lease, &bearer).await.unwrap() {
            bed.clock.advance(100);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_over).await.expect("the lease is taken over");
    second.heartbeat().await;
    bed.handle.state(&id).await.unwrap();
    assert!(!second.was_offered(), "somebody holds it");
    let mut back = bed.returning("w1", "i1", &held).await;
    assert_eq!(back.resumed, [Resumption::Resumed]);
    back.done(&held.lease, "d").await;
    let kinds: Vec<_> = bed.events(&id).await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds.last(), Some(&EventType::Complete));
    assert!(!kinds.contains(&EventType::RetryScheduled) && !kinds.contains(&EventType::HandedBack), "{kinds:?}");
}

/// Nobody comes back for it: it ends like any other lease, and is granted anew once.
#[tokio::test]
async fn a_lease_that_could_not_be_read_at_the_start_is_lost_when_its_full_term_is_over() {
    let mut world = World::new(1).await;
    let id = submit(&mut world).await;
    let worker = world.hello("w1", "1", 1, Vec::new()).await;
    world.settle().await;
    let offer = world.mail(worker).into_iter().find_map(|message| match message {
        ServerMessage::Offer { offer, .. } => Some(offer),
        _ => None,
    });
    world.say(worker, WorkerMessage::Accept { offer: offer.unwrap() }).await;
    world.settle().await;
    damage(world.folder(), &id, true);
    world.restart(true).await;
    let second = world.hello("w2", "1", 1, Vec::new()).await;
    for _ in 0..30 {
        assert_eq!(take(&mut world, second).await, None, "its lease may live");
    }
    damage(world.folder(), &id, false);
    for _ in 0..limits::LEASE_SILENCE_MAX_MS / limits::HEARTBEAT_MS - 1 {
        assert_eq!(take(&mut world, second).await, None, "it has a full term from when it was read");
    }
    let mut later = Vec::new();
    for _ in 0..4 {
        later.extend(take(&mut world, second).await);
    }
    assert_eq!(later, std::slice::from_ref(&id));
    let stored = world.stored(&id).await;
    let started = stored.iter().filter(|event| event.kind == EventType::StageStarted).count();
    assert_eq!((started, stored.last().map(|event| event.kind)), (2, Some(EventType::Complete)));
}
