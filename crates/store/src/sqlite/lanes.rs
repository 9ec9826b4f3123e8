//! The queue in memory: which generation is next. Pure; the writer feeds it with what was committed.
//!
//! A lane is (pool, tenant). Inside a lane the smallest `order` is next; between lanes the one whose clock is least,
//! by start-time fair queueing. Clocks are moved by charges and belong to the database; reservations live here alone
//! and end with the process. Ties are broken by the head's order, then by the tenant's name, then by age.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
};

use protocol::{GenerationId, PoolName, TenantId, Timestamp};

use super::batch::Effect;
use crate::{QueueEntry, Queued};

/// What `cost_ms` moves a lane's clock by. The clock counts thousandths, so that weights divide short work too.
pub(super) const fn price(cost_ms: i64, weight: i64) -> i64 {
    let weight = if weight < 1 { 1 } else { weight };
    cost_ms.saturating_mul(1_000) / weight
}

/// A prediction below nothing, which nobody makes, counts as nothing.
fn cost(entry: &QueueEntry) -> u64 {
    u64::try_from(entry.cost_ms).unwrap_or(0)
}

/// Work that is predicted to cost nothing still takes its turn.
fn tentative_price(entry: &QueueEntry, weight: i64) -> i64 {
    price(entry.cost_ms.max(1), weight)
}

/// All pools.
#[derive(Default)]
pub(super) struct Lanes {
    pools: BTreeMap<PoolName, Pool>,
    waiting: HashMap<GenerationId, Waiting>,
    /// The latest time anybody told; decides what [`Lanes::queue`] calls eligible.
    seen: Timestamp,
}

#[derive(Default)]
struct Pool {
    /// Where the lane stood that started work last. Lanes that wake up begin here: nobody saves up by idling.
    clock: i64,
    lanes: BTreeMap<TenantId, Lane>,
    /// In no lane before their time.
    delayed: BTreeSet<(Timestamp, Place)>,
    /// In their lane and handed out until a time.
    reserved: BTreeSet<(Timestamp, Place)>,
    /// All that wait, by age.
    ages: BTreeSet<(Timestamp, i64)>,
    /// What all that wait are predicted to cost.
    backlog_ms: u64,
}

struct Lane {
    clock: i64,
    weight: i64,
    /// Eligible, the reserved among them.
    ready: BTreeSet<Place>,
    reserved: usize,
    /// What the reserved will move the clock by when they start.
    reserved_price: i64,
}

impl Lane {
    const fn new(clock: i64, weight: i64) -> Self {
        Self { clock, weight, ready: BTreeSet::new(), reserved: 0, reserved_price: 0 }
    }
}

/// A place inside a lane. `id` grows with each submission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    order: i64,
    id: i64,
    generation: GenerationId,
}

struct Waiting {
    place: Place,
    tenant: TenantId,
    entry: QueueEntry,
    created_at: Timestamp,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Delayed,
    Ready,
    Reserved { until: Timestamp },
}

impl Lanes {
    /// An empty queue at `now`.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { seen: now, ..Self::default() }
    }

    /// A lane as the database holds it, before its first entry.
    pub(super) fn restore(&mut self, pool: PoolName, tenant: TenantId, clock: i64, weight: i64) {
        self.pools.entry(pool).or_default().lanes.insert(tenant, Lane::new(clock, weight));
    }

    /// A pool's clock as the database holds it.
    pub(super) fn restore_pool(&mut self, pool: PoolName, clock: i64) {
        self.pools.entry(pool).or_default().clock = clock;
    }

    /// Takes in what was committed.
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Charged { pool, tenant, clock, pool_clock } => {
                let pool = self.pools.entry(pool).or_default();
                pool.clock = pool_clock;
                pool.lanes.entry(tenant).or_insert_with(|| Lane::new(clock, 1)).clock = clock;
            }
            Effect::Moved { id, generation, tenant, created_at, entry } => {
                self.moved(id, generation, tenant, created_at, entry);
            }
        }
    }

    /// A new order keeps a reservation, so that a change of priority makes no second offer; all else ends it.
    fn moved(
        &mut self,
        id: i64,
        generation: GenerationId,
        tenant: TenantId,
        created_at: Timestamp,
        entry: Option<QueueEntry>,
    ) {
        let before = self.remove(&generation);
        let Some(entry) = entry else { return };
        let kept = before.and_then(|before| match before.standing {
            Standing::Reserved { until }
                if before.entry.pool == entry.pool && before.entry.not_before == entry.not_before =>
            {
                Some(until)
            }
            _ => None,
        });
        let standing = match kept {
            Some(until) => Standing::Reserved { until },
            None if entry.not_before > self.seen => Standing::Delayed,
            None => Standing::Ready,
        };
        let place = Place { order: entry.order, id, generation };
        self.insert(Waiting { place, tenant, entry, created_at, standing });
    }

    /// Forgets a generation that is gone.
    pub(super) fn forget(&mut self, generation: &GenerationId) {
        self.remove(generation);
    }

    /// Forgets lanes that hold nothing and have nothing on the others.
    pub(super) fn prune(&mut self) {
        for pool in self.pools.values_mut() {
            let clock = pool.clock;
            pool.lanes.retain(|_, lane| lane.weight != 1 || lane.clock > clock || !lane.ready.is_empty());
        }
    }

    /// See [`crate::Store::reserve`].
    pub(super) fn reserve(&mut self, pool: &PoolName, count: usize, now: Timestamp, until: Timestamp) -> Vec<Queued> {
        self.advance(pool, now);
        let Some(its) = self.pools.get(pool) else { return Vec::new() };
        let chosen: Vec<GenerationId> =
            its.turns(&self.waiting, Which::Unreserved).take(count).map(|place| place.generation.clone()).collect();
        chosen.iter().for_each(|generation| self.stand(generation, Standing::Reserved { until }));
        chosen.iter().map(|generation| self.waiting[generation].queued()).collect()
    }

    /// See [`crate::Store::unreserve`].
    pub(super) fn unreserve(&mut self, generation: &GenerationId) {
        if let Some(waiting) = self.waiting.get(generation)
            && matches!(waiting.standing, Standing::Reserved { .. })
        {
            self.stand(generation, Standing::Ready);
        }
    }

    /// See [`crate::History::queue`]. What is reserved still waits, and stands where it stood.
    pub(super) fn queue(&mut self, pool: &PoolName, limit: usize) -> Vec<Queued> {
        self.advance(pool, self.seen);
        let Some(its) = self.pools.get(pool) else { return Vec::new() };
        its.turns(&self.waiting, Which::All)
            .chain(its.delayed.iter().map(|(_, place)| place))
            .take(limit)
            .map(|place| self.waiting[&place.generation].queued())
            .collect()
    }

    /// See [`crate::History::depth`].
    pub(super) fn depth(&self) -> Vec<(PoolName, u64, Timestamp)> {
        let waiting = |(name, pool): (&PoolName, &Pool)| {
            pool.ages.first().map(|(oldest, _)| (name.clone(), pool.ages.len() as u64, *oldest))
        };
        self.pools.iter().filter_map(waiting).collect()
    }

    /// See [`crate::History::backlog`].
    pub(super) fn backlog(&self) -> Vec<(PoolName, u64)> {
        self.pools.iter().map(|(name, pool)| (name.clone(), pool.backlog_ms)).collect()
    }

    /// See [`crate::Store::next_due`].
    pub(super) fn next_due(&self, pool: &PoolName, now: Timestamp) -> Option<Timestamp> {
        let delayed = &self.pools.get(pool)?.delayed;
        delayed.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    /// Puts into their lanes what has become due and what is no longer reserved.
    fn advance(&mut self, pool: &PoolName, now: Timestamp) {
        self.seen = self.seen.max(now);
        let Some(its) = self.pools.get(pool) else { return };
        let due: Vec<GenerationId> = [&its.delayed, &its.reserved]
            .into_iter()
            .flat_map(|set| set.iter().take_while(|(at, _)| *at <= now))
            .map(|(_, place)| place.generation.clone())
            .collect();
        due.iter().for_each(|generation| self.stand(generation, Standing::Ready));
    }

    fn stand(&mut self, generation: &GenerationId, standing: Standing) {
        if let Some(waiting) = self.remove(generation) {
            self.insert(Waiting { standing, ..waiting });
        }
    }

    fn insert(&mut self, waiting: Waiting) {
        let pool = self.pools.entry(waiting.entry.pool.clone()).or_default();
        pool.ages.insert((waiting.created_at, waiting.place.id));
        pool.backlog_ms = pool.backlog_ms.saturating_add(cost(&waiting.entry));
        match waiting.standing {
            Standing::Delayed => {
                pool.delayed.insert((waiting.entry.not_before, waiting.place.clone()));
            }
            Standing::Ready | Standing::Reserved { .. } => {
                let clock = pool.clock;
                let lane = pool.lanes.entry(waiting.tenant.clone()).or_insert_with(|| Lane::new(clock, 1));
                lane.ready.insert(waiting.place.clone());
                if let Standing::Reserved { until } = waiting.standing {
                    lane.reserved += 1;
                    lane.reserved_price += tentative_price(&waiting.entry, lane.weight);
                    pool.reserved.insert((until, waiting.place.clone()));
                }
            }
        }
        self.waiting.insert(waiting.place.generation.clone(), waiting);
    }

    fn remove(&mut self, generation: &GenerationId) -> Option<Waiting> {
        let waiting = self.waiting.remove(generation)?;
        let pool = self.pools.get_mut(&waiting.entry.pool)?;
        pool.ages.remove(&(waiting.created_at, waiting.place.id));
        pool.backlog_ms = pool.backlog_ms.saturating_sub(cost(&waiting.entry));
        pool.delayed.remove(&(waiting.entry.not_before, waiting.place.clone()));
        if let Some(lane) = pool.lanes.get_mut(&waiting.tenant) {
            lane.ready.remove(&waiting.place);
            if let Standing::Reserved { until } = waiting.standing {
                lane.reserved -= 1;
                lane.reserved_price -= tentative_price(&waiting.entry, lane.weight);
                pool.reserved.remove(&(until, waiting.place.clone()));
            }
        }
        Some(waiting)
    }
}

impl Waiting {
    fn queued(&self) -> Queued {
        Queued { generation: self.place.generation.clone(), tenant: self.tenant.clone(), entry: self.entry.clone() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Only what can be handed out; the reserved are charged to their lanes as if they had started.
    Unreserved,
    /// Everything in a lane, from where the clocks stand.
    All,
}

impl Pool {
    /// The places of this pool's lanes in the order of claiming.
    fn turns<'a>(
        &'a self,
        waiting: &'a HashMap<GenerationId, Waiting>,
        which: Which,
    ) -> impl Iterator<Item = &'a Place> {
        let takes = move |place: &&Place| {
            which == Which::All || !matches!(waiting[&place.generation].standing, Standing::Reserved { .. })
        };
        let mut heap = BinaryHeap::new();
        let mut rests = Vec::new();
        for (tenant, lane) in &self.lanes {
            // Not walked through: a lane of which everything is handed out may be long.
            if which == Which::Unreserved && lane.reserved == lane.ready.len() {
                continue;
            }
            let mut rest = lane.ready.iter().filter(takes);
            let Some(head) = rest.next() else { continue };
            let reserved = if which == Which::Unreserved { lane.reserved_price } else { 0 };
            let clock = lane.clock.max(self.clock).saturating_add(reserved);
            heap.push(Reverse((clock, head.order, tenant, rests.len(), head)));
            rests.push((rest, lane.weight));
        }
        std::iter::from_fn(move || {
            let Reverse((clock, _, tenant, index, place)) = heap.pop()?;
            let (rest, weight) = &mut rests[index];
            if let Some(next) = rest.next() {
                let clock = clock.saturating_add(tentative_price(&waiting[&place.generation].entry, *weight));
                heap.push(Reverse((clock, next.order, tenant, index, next)));
            }
            Some(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::sample::{entry, generation, id, pool};

    fn moved(id: i64, tenant: u8, entry: Option<QueueEntry>) -> Effect {
        let (generation, tenant) = (generation(&id.to_string()), self::id(&format!("t{tenant}")));
        Effect::Moved { id, generation, tenant, created_at: Timestamp(0), entry }
    }

    #[test]
    fn a_lane_that_has_nothing_on_the_others_is_forgotten() {
        let mut lanes = Lanes::default();
        for (tenant, clock, weight) in [("behind", 5, 1), ("level", 10, 1), ("ahead", 11, 1), ("heavy", 0, 3)] {
            lanes.restore(pool(), id(tenant), clock, weight);
        }
        lanes.restore_pool(pool(), 10);
        lanes.apply(moved(1, 0, Some(entry(0, 10))));
        lanes.prune();
        let left: Vec<&str> = lanes.pools[&pool()].lanes.keys().map(TenantId::as_str).collect();
        assert_eq!(left, ["ahead", "heavy", "t0"]);
    }

    proptest! {
        #[test]
        fn what_is_handed_out_is_what_was_shown_however_it_is_asked_for(
            work in prop::collection::vec((0..5_u8, -20..20_i64, 0..5_000_i64), 1..40),
            clocks in prop::collection::vec((0..3_000_000_i64, 1..4_i64), 5),
            asked in prop::collection::vec(1..5_usize, 40),
        ) {
            let mut lanes = Lanes::default();
            for ((clock, weight), tenant) in clocks.into_iter().zip(0..) {
                lanes.restore(pool(), id(&format!("t{tenant}")), clock, weight);
            }
            lanes.restore_pool(pool(), 1_000_000);
            for ((tenant, order, cost_ms), id) in work.iter().zip(1..) {
                lanes.apply(moved(id, *tenant, Some(entry(*order, *cost_ms))));
            }
            let shown = lanes.queue(&pool(), usize::MAX);
            prop_assert_eq!(shown.len(), work.len());
            let predicted: i64 = work.iter().map(|(_, _, cost_ms)| cost_ms).sum();
            prop_assert_eq!(lanes.backlog(), vec![(pool(), predicted.unsigned_abs())]);
            let mut handed = Vec::new();
            for count in asked {
                handed.extend(lanes.reserve(&pool(), count, Timestamp(5), Timestamp(9)));
            }
            prop_assert_eq!(&handed, &shown);
            prop_assert_eq!(lanes.reserve(&pool(), 9, Timestamp(8), Timestamp(9)), Vec::new());
            // All back by time, and nothing is left behind when all of it has moved on.
            prop_assert_eq!(lanes.reserve(&pool(), usize::MAX, Timestamp(9), Timestamp(10)), shown);
            for ((tenant, ..), id) in work.iter().zip(1..) {
                lanes.apply(moved(id, *tenant, None));
            }
            prop_assert!(lanes.waiting.is_empty() && lanes.depth().is_empty());
            prop_assert_eq!(lanes.backlog(), vec![(pool(), 0)]);
            let its = &lanes.pools[&pool()];
            prop_assert!(its.reserved.is_empty() && its.delayed.is_empty());
            prop_assert!(its.lanes.values().all(|lane| lane.ready.is_empty() && lane.reserved_price == 0));
        }
    }
}
