//! Fairness in simulated time: tenants share a pool by worker-seconds as their weights say, also when one was away.

use std::collections::BTreeMap;

use protocol::{
    GenerationId, LeaseId, Pipeline, Stage, TenantId, Timestamp, limits,
    worker::{ServerMessage, WorkerMessage},
};
use rushes_orchestrator::core::SessionId;

use crate::world::World;

/// Slots that are always wanted.
const SLOTS: u32 = 4;
/// Between two looks at who is done, in milliseconds.
const STEP_MS: u64 = 100;

struct Pool {
    world: World,
    session: SessionId,
    /// Who works until when, for whom.
    running: Vec<(u64, LeaseId, TenantId)>,
    worked_ms: BTreeMap<TenantId, u64>,
    said: u64,
}

impl Pool {
    async fn open(weights: &[(&str, u32)]) -> Self {
        let weights = weights.iter().map(|(tenant, weight)| (tenant.parse().unwrap(), *weight)).collect();
        let mut world = World::weighted(7, weights).await;
        let session = world.hello("w", "1", SLOTS, Vec::new()).await;
        Self { world, session, running: Vec::new(), worked_ms: BTreeMap::new(), said: 0 }
    }

    async fn submit(&mut self, tenant: &str, count: usize, takes_ms: u64) {
        let stage = Stage { expected_ms: takes_ms, ..Stage::new("draw".parse().unwrap()) };
        let pipeline = Pipeline::new(format!("takes{takes_ms}").parse().unwrap(), vec![stage]).into();
        for _ in 0..count {
            self.world.submit(&pipeline, tenant).await;
        }
        self.world.settle().await;
    }

    /// Works for so long, each run as long as its stage is expected to take.
    async fn work(&mut self, milliseconds: u64) {
        let until = self.world.now + milliseconds;
        while self.world.now < until {
            self.world.say(self.session, WorkerMessage::Heartbeat { tokens: limits::TOKENS_MAX }).await;
            self.world.settle().await;
            self.take_and_begin().await;
            self.world.pass(STEP_MS).await;
            let now = self.world.now;
            let (over, running): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.running).into_iter().partition(|(end, ..)| *end <= now);
            self.running = running;
            for (_, lease, _) in over {
                self.said += 1;
                let event_id = format!("d{}", self.said).parse().unwrap();
                self.world
                    .say(self.session, WorkerMessage::Done { lease, event_id, outputs: Default::default() })
                    .await;
            }
        }
    }

    async fn take_and_begin(&mut self) {
        let mut offered: BTreeMap<protocol::OfferId, GenerationId> = BTreeMap::new();
        loop {
            let mail = self.world.mail(self.session);
            if mail.is_empty() {
                return;
            }
            for message in mail {
                match message {
                    ServerMessage::Offer { offer, generation, .. } => {
                        offered.insert(offer.clone(), generation);
                        self.world.say(self.session, WorkerMessage::Accept { offer }).await;
                    }
                    ServerMessage::Granted { lease, .. } => self.begin(lease),
                    _ => {}
                }
            }
            self.world.settle().await;
        }
    }

    fn begin(&mut self, lease: LeaseId) {
        let (_, generation) = lease.address().unwrap();
        let first = self.world.shown_of(&generation).remove(0);
        let takes_ms: u64 = if first.tenant_id.as_str() == "long" { 2_000 } else { 500 };
        *self.worked_ms.entry(first.tenant_id.clone()).or_default() += takes_ms;
        self.running.push((Timestamp(self.world.now).plus(takes_ms).0, lease, first.tenant_id));
    }

    fn share(&self, tenant: &str) -> f64 {
        let all: u64 = self.worked_ms.values().sum();
        let own = self.worked_ms.get(tenant).copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "some thousands of seconds")]
        let share = own as f64 / all as f64;
        share
    }
}

fn assert_near(share: f64, wanted: f64) {
    println!("{share:.4} of the worker-seconds, {wanted} wanted");
    assert!((share - wanted).abs() <= wanted * 0.05, "{share:.3} is not within 5 % of {wanted}");
}

#[tokio::test]
async fn weights_of_one_to_three_share_worker_seconds_one_to_three() {
    let mut pool = Pool::open(&[("heavy", 3)]).await;
    pool.submit("light", 400, 500).await;
    pool.submit("heavy", 400, 500).await;
    pool.work(40_000).await;
    assert_near(pool.share("heavy"), 0.75);
    assert_near(pool.share("light"), 0.25);
}

#[tokio::test]
async fn long_runs_count_for_what_they_take() {
    let mut pool = Pool::open(&[]).await;
    pool.submit("long", 100, 2_000).await;
    pool.submit("short", 400, 500).await;
    pool.work(60_000).await;
    assert_near(pool.share("long"), 0.5);
}

#[tokio::test]
async fn a_tenant_that_was_away_gets_its_share_and_no_more() {
    let mut pool = Pool::open(&[("heavy", 3)]).await;
    pool.submit("light", 900, 500).await;
    pool.submit("heavy", 60, 500).await;
    pool.work(15_000).await;
    pool.worked_ms.clear();
    pool.work(20_000).await;
    assert_near(pool.share("light"), 1.0);
    pool.submit("heavy", 800, 500).await;
    pool.worked_ms.clear();
    pool.work(40_000).await;
    assert_near(pool.share("heavy"), 0.75);
}
