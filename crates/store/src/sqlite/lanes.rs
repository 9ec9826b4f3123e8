//! The queue in memory: which generation is next. Pure; the writer feeds it with what was committed.
//!
//! A lane is (pool, tenant). Inside a lane the smallest `order` is next; between lanes the one whose clock is least,
//! by start-time fair queueing. Clocks are moved by charges and belong to the database; reservations live here alone
//! and end with the process, and so do gates: what stands before a closed one is kept beside its lane and counts for no
//! position. Ties are broken by the head's order, then by the tenant's name, then by age.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    hint::black_box,
    sync::Arc,
};

use protocol::{GenerationId, PoolName, TenantId, Timestamp};

use super::{
    batch::Effect,
    ranked::{Ranked, Sum, Turn},
    unfinished::Unfinished,
};
use crate::{QueueEntry, Queued, Rank};

/// What `cost_ms` moves a lane's clock by. The clock counts thousandths, so that weights divide short work too.
pub(super) const fn price(cost_ms: i64, weight: i64) -> i64 {
    let weight = if weight < 1 { 1 } else { weight };
    cost_ms.saturating_mul(1_000) / weight
}

/// Thousands of years of one run: a million of them in a lane are a number still.
const PRICE_MAX: i64 = i64::MAX >> 20;

/// Work that is predicted to cost nothing still takes its turn.
fn tentative_price(cost_ms: i64, weight: i64) -> i64 {
    price(cost_ms, weight).clamp(1, PRICE_MAX)
}

/// Shares of tenants, as the operator set them.
#[derive(Debug, Default)]
pub(super) struct Weights(pub(super) HashMap<TenantId, u32>);

impl Weights {
    /// 1 for whoever is not named.
    pub(super) fn of(&self, tenant: &TenantId) -> i64 {
        self.0.get(tenant).map_or(1, |weight| i64::from(*weight).max(1))
    }
}

/// All pools.
#[derive(Default)]
pub(super) struct Lanes {
    /// Not a matter of lanes; it lives under the same lock and hears of the same changes.
    pub(super) unfinished: Unfinished,
    weights: Arc<Weights>,
    pools: BTreeMap<PoolName, Pool>,
    waiting: HashMap<GenerationId, Waiting>,
    /// Names of closed gates.
    closed: HashSet<String>,
    /// Which groups stand before a gate.
    before: HashMap<String, HashSet<Arc<GroupName>>>,
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
    /// Handed out until a time.
    reserved: BTreeSet<(Timestamp, Place)>,
    /// All that wait, by age.
    ages: BTreeSet<(Timestamp, i64)>,
    /// What all that wait are predicted to cost.
    backlog_ms: u64,
}

struct Lane {
    clock: i64,
    weight: i64,
    /// Eligible, the reserved among them; without what stands before a closed gate.
    ready: Ranked<GenerationId>,
    /// All that is due, by the gates it has to pass.
    groups: HashMap<Arc<GroupName>, Group>,
    /// Of the ready ones.
    reserved: usize,
    /// What all reserved will move the clock by when they start.
    reserved_price: i64,
}

/// Entries of one lane that have to pass the same gates.
struct Group {
    is_open: bool,
    members: BTreeSet<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupName {
    pool: PoolName,
    tenant: TenantId,
    gates: Vec<String>,
}

impl Lane {
    fn new(clock: i64, weight: i64) -> Self {
        Self { clock, weight, ready: Ranked::default(), groups: HashMap::new(), reserved: 0, reserved_price: 0 }
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
    group: Arc<GroupName>,
    not_before: Timestamp,
    /// A prediction below nothing, which nobody makes, counts as nothing in sums.
    cost_ms: i64,
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
    pub(super) fn new(now: Timestamp, weights: Arc<Weights>) -> Self {
        Self { seen: now, weights, ..Self::default() }
    }

    /// A lane as the database holds it, before its first entry.
    pub(super) fn restore(&mut self, pool: PoolName, tenant: TenantId, clock: i64) {
        let weight = self.weights.of(&tenant);
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
                let weight = self.weights.of(&tenant);
                let pool = self.pools.entry(pool).or_default();
                pool.clock = pool_clock;
                pool.lanes.entry(tenant).or_insert_with(|| Lane::new(clock, weight)).clock = clock;
            }
            Effect::Began { tenant, owner } => self.unfinished.add(&tenant, &owner, 1),
            Effect::Ended { tenant, owner } => self.unfinished.end(&tenant, &owner),
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
                if before.group.pool == entry.pool && before.not_before == entry.not_before =>
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
        let QueueEntry { pool, order, not_before, cost_ms, gates } = entry;
        let place = Place { order, id, generation };
        let group = Arc::new(GroupName { pool, tenant, gates });
        self.insert(Waiting { place, group, not_before, cost_ms, created_at, standing });
    }

    /// Forgets a generation that is gone.
    pub(super) fn forget(&mut self, generation: &GenerationId) {
        self.remove(generation);
    }

    /// Forgets lanes that hold nothing and have nothing on the others, and pools nobody waits for; answers those.
    pub(super) fn prune(&mut self) -> Vec<PoolName> {
        for pool in self.pools.values_mut() {
            let clock = pool.clock;
            pool.lanes.retain(|_, lane| lane.clock > clock || !lane.groups.is_empty());
        }
        let idle = |pool: &Pool| pool.lanes.is_empty() && pool.ages.is_empty();
        let gone = self.pools.iter().filter(|(_, pool)| idle(pool)).map(|(name, _)| name.clone()).collect();
        self.pools.retain(|_, pool| !idle(pool));
        gone
    }

    /// See [`crate::Store::waiting_before`].
    pub(super) fn waiting_before(&self, gate: &str, limit: usize) -> Vec<GenerationId> {
        let groups = self.before.get(gate).into_iter().flatten();
        let members = groups.filter_map(|name| {
            let lane = self.pools.get(&name.pool)?.lanes.get(&name.tenant)?;
            lane.groups.get(&**name)
        });
        let mut places: Vec<&Place> = members.flat_map(|group| &group.members).collect();
        // Those that come first hear it first, whatever order a map has.
        places.sort();
        places.into_iter().take(limit).map(|place| place.generation.clone()).collect()
    }

    /// See [`crate::Store::gate`].
    pub(super) fn gate(&mut self, name: &str, open: bool) {
        let changed = if open { self.closed.remove(name) } else { self.closed.insert(name.to_owned()) };
        if !changed {
            return;
        }
        let Some(groups) = self.before.get(name) else { return };
        for group in groups {
            let Some(lane) = self.pools.get_mut(&group.pool).and_then(|pool| pool.lanes.get_mut(&group.tenant)) else {
                continue;
            };
            let passable = !group.gates.iter().any(|gate| self.closed.contains(gate));
            lane.turn(group, passable, &self.waiting);
        }
    }

    /// See [`crate::Store::reserve`].
    pub(super) fn reserve(&mut self, pool: &PoolName, count: usize, now: Timestamp, until: Timestamp) -> Vec<Queued> {
        self.advance(pool, now);
        let Some(its) = self.pools.get(pool) else { return Vec::new() };
        let chosen: Vec<GenerationId> = its.turns(&self.waiting, Which::Unreserved).take(count).cloned().collect();
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
        let held = its.lanes.values().flat_map(|lane| lane.groups.values());
        let held = held.filter(|group| !group.is_open).flat_map(|group| &group.members);
        let in_no_lane = held.chain(its.delayed.iter().map(|(_, place)| place));
        its.turns(&self.waiting, Which::All)
            .chain(in_no_lane.map(|place| &place.generation))
            .take(limit)
            .map(|generation| self.waiting[generation].queued())
            .collect()
    }

    /// See [`crate::History::ranks`]: as [`Lanes::queue`] orders them, without walking through it.
    pub(super) fn ranks(&mut self, pool: &PoolName, generations: &[GenerationId]) -> Vec<(GenerationId, Rank)> {
        self.advance(pool, self.seen);
        let Some(its) = self.pools.get(pool) else { return Vec::new() };
        let rank = |generation: &GenerationId| Some((generation.clone(), its.rank(self.waiting.get(generation)?)?));
        generations.iter().filter_map(rank).collect()
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

    fn insert(&mut self, mut waiting: Waiting) {
        let group = &waiting.group;
        let pool = self.pools.entry(group.pool.clone()).or_default();
        pool.ages.insert((waiting.created_at, waiting.place.id));
        pool.backlog_ms = pool.backlog_ms.saturating_add(waiting.cost_ms.max(0).unsigned_abs());
        if waiting.standing == Standing::Delayed {
            pool.delayed.insert((waiting.not_before, waiting.place.clone()));
        } else {
            let (clock, weight) = (pool.clock, self.weights.of(&group.tenant));
            let lane = pool.lanes.entry(group.tenant.clone()).or_insert_with(|| Lane::new(clock, weight));
            if let Some((known, _)) = lane.groups.get_key_value(&**group) {
                // One name for all members, which are many.
                waiting.group = Arc::clone(known);
            } else {
                let is_open = !group.gates.iter().any(|gate| self.closed.contains(gate));
                lane.groups.insert(Arc::clone(group), Group { is_open, members: BTreeSet::new() });
                remember(&mut self.before, group);
            }
            lane.put(&waiting);
            if let Standing::Reserved { until } = waiting.standing {
                pool.reserved.insert((until, waiting.place.clone()));
            }
        }
        self.waiting.insert(waiting.place.generation.clone(), waiting);
    }

    fn remove(&mut self, generation: &GenerationId) -> Option<Waiting> {
        let waiting = self.waiting.remove(generation)?;
        let pool = self.pools.get_mut(&waiting.group.pool)?;
        pool.ages.remove(&(waiting.created_at, waiting.place.id));
        pool.backlog_ms = pool.backlog_ms.saturating_sub(waiting.cost_ms.max(0).unsigned_abs());
        if waiting.standing == Standing::Delayed {
            pool.delayed.remove(&(waiting.not_before, waiting.place.clone()));
        } else if let Some(lane) = pool.lanes.get_mut(&waiting.group.tenant) {
            if lane.take(&waiting) {
                forget(&mut self.before, &waiting.group);
            }
            if let Standing::Reserved { until } = waiting.standing {
                pool.reserved.remove(&(until, waiting.place.clone()));
            }
        }
        Some(waiting)
    }
}

fn remember(before: &mut HashMap<String, HashSet<Arc<GroupName>>>, group: &Arc<GroupName>) {
    for gate in &group.gates {
        before.entry(gate.clone()).or_default().insert(Arc::clone(group));
    }
}

fn forget(before: &mut HashMap<String, HashSet<Arc<GroupName>>>, group: &GroupName) {
    for gate in &group.gates {
        if let Some(groups) = before.get_mut(gate) {
            groups.remove(group);
            if groups.is_empty() {
                before.remove(gate);
            }
        }
    }
}

impl Place {
    const fn turn(&self) -> Turn {
        (self.order, self.id)
    }
}

impl Waiting {
    fn queued(&self) -> Queued {
        let GroupName { pool, tenant, gates } = (*self.group).clone();
        let (order, not_before, cost_ms) = (self.place.order, self.not_before, self.cost_ms);
        let entry = QueueEntry { pool, order, not_before, cost_ms, gates };
        Queued { generation: self.place.generation.clone(), tenant, entry }
    }

    const fn is_reserved(&self) -> bool {
        matches!(self.standing, Standing::Reserved { .. })
    }

    fn sum(&self, weight: i64) -> Sum {
        Sum::one(tentative_price(self.cost_ms, weight), self.cost_ms.clamp(0, PRICE_MAX))
    }
}

impl Lane {
    /// Puts what is due into its group, and into the order if that is open.
    fn put(&mut self, waiting: &Waiting) {
        let own = waiting.sum(self.weight);
        if waiting.is_reserved() {
            self.reserved_price += own.price;
        }
        let Some(group) = self.groups.get_mut(&waiting.group) else { return };
        group.members.insert(waiting.place.clone());
        if group.is_open {
            self.reserved += usize::from(waiting.is_reserved());
            self.ready.insert(waiting.place.turn(), own, waiting.place.generation.clone());
        }
    }

    /// Takes it out again; answers whether its group was left empty and is gone.
    fn take(&mut self, waiting: &Waiting) -> bool {
        if waiting.is_reserved() {
            self.reserved_price -= waiting.sum(self.weight).price;
        }
        let Some(group) = self.groups.get_mut(&waiting.group) else { return false };
        group.members.remove(&waiting.place);
        if group.is_open {
            self.reserved -= usize::from(waiting.is_reserved());
            self.ready.remove(waiting.place.turn());
        }
        let is_empty = group.members.is_empty();
        if is_empty {
            self.groups.remove(&waiting.group);
        }
        is_empty
    }

    /// Its gates let a group through, or no longer do.
    fn turn(&mut self, name: &GroupName, passable: bool, waiting: &HashMap<GenerationId, Waiting>) {
        let Some(group) = self.groups.get_mut(name).filter(|group| group.is_open != passable) else { return };
        group.is_open = passable;
        for place in &group.members {
            let entry = &waiting[&place.generation];
            let reserved = usize::from(entry.is_reserved());
            if passable {
                self.ready.insert(place.turn(), entry.sum(self.weight), place.generation.clone());
                self.reserved += reserved;
            } else {
                self.ready.remove(place.turn());
                self.reserved -= reserved;
            }
        }
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
    /// What is in this pool's lanes, in the order of claiming.
    fn turns<'a>(
        &'a self,
        waiting: &'a HashMap<GenerationId, Waiting>,
        which: Which,
    ) -> impl Iterator<Item = &'a GenerationId> {
        let takes =
            move |(_, generation): &(Turn, &GenerationId)| which == Which::All || !waiting[*generation].is_reserved();
        let mut heap = BinaryHeap::new();
        let mut rests = Vec::new();
        for (tenant, lane) in &self.lanes {
            // Not walked through: a lane of which everything is handed out may be long.
            if which == Which::Unreserved && lane.reserved == lane.ready.all().count {
                continue;
            }
            let mut rest = lane.ready.iter().filter(takes);
            let Some((head, generation)) = rest.next() else { continue };
            let reserved = if which == Which::Unreserved { lane.reserved_price } else { 0 };
            let clock = lane.clock.max(self.clock).saturating_add(reserved);
            heap.push(Reverse((clock, head.0, tenant, rests.len(), generation)));
            rests.push((rest, lane.weight));
        }
        std::iter::from_fn(move || {
            let Reverse((clock, _, tenant, index, generation)) = heap.pop()?;
            let (rest, weight) = &mut rests[index];
            if let Some((next, following)) = rest.next() {
                let clock = clock.saturating_add(tentative_price(waiting[generation].cost_ms, *weight));
                heap.push(Reverse((clock, next.0, tenant, index, following)));
            }
            Some(generation)
        })
    }

    /// How much comes before one: in its own lane what stands before it, in each other lane what starts before it does.
    /// `None` when it is in no lane now.
    fn rank(&self, waiting: &Waiting) -> Option<Rank> {
        let own = self.lanes.get(&waiting.group.tenant)?;
        let mut before = own.ready.before(waiting.place.turn())?;
        let starts = own.clock.max(self.clock).saturating_add(before.price);
        let others = self.lanes.iter().filter(|(_, lane)| !std::ptr::eq(*lane, own) && !lane.ready.is_empty());
        let mut looks = Vec::with_capacity(self.lanes.len());
        looks.extend(others.map(|(tenant, lane)| {
            let ahead = starts.saturating_sub(lane.clock.max(self.clock));
            (tenant, &lane.ready, ahead, lane.ready.look(ahead))
        }));
        // What is far away is asked for before any of it is needed, of all lanes at once.
        black_box(looks.iter().fold(0, |all, (_, ready, _, look)| all ^ ready.touch(*look)));
        for (tenant, ready, ahead, look) in looks {
            let (begun, next) = ready.begun(look);
            before = before.and(begun);
            // At the same clock the order of its head decides, then the tenant's name.
            if begun.price == ahead
                && let Some((order, head)) = ready.at(next)
                && (order, tenant) < (waiting.place.order, &waiting.group.tenant)
            {
                before = before.and(head);
            }
        }
        Some(Rank { before: before.count as u64, before_ms: before.cost_ms })
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
        for (tenant, clock) in [("behind", 5), ("level", 10), ("ahead", 11)] {
            lanes.restore(pool(), id(tenant), clock);
        }
        lanes.restore_pool(pool(), 10);
        lanes.apply(moved(1, 0, Some(entry(0, 10))));
        assert!(lanes.prune().is_empty());
        let left: Vec<&str> = lanes.pools[&pool()].lanes.keys().map(TenantId::as_str).collect();
        assert_eq!(left, ["ahead", "t0"]);
    }

    fn gated(order: i64, gates: &[&str]) -> QueueEntry {
        QueueEntry { gates: gates.iter().map(|gate| (*gate).to_owned()).collect(), ..entry(order, 10) }
    }

    fn shown(lanes: &mut Lanes) -> Vec<i64> {
        lanes.queue(&pool(), 100).iter().map(|queued| queued.entry.order).collect()
    }

    #[test]
    fn what_stands_before_a_closed_gate_is_in_no_lane_and_comes_back_in_its_place() {
        let mut lanes = Lanes::default();
        for (id, gates) in [(1, &["a"][..]), (2, &[]), (3, &["a", "b"]), (4, &["b"])] {
            lanes.apply(moved(id, 0, Some(gated(id, gates))));
        }
        lanes.gate("a", false);
        assert_eq!(shown(&mut lanes)[..2], [2, 4]);
        assert_eq!(shown(&mut lanes).len(), 4, "it waits all the same");
        assert_eq!(lanes.ranks(&pool(), &[generation("1")]), []);
        let handed: Vec<_> =
            lanes.reserve(&pool(), 9, Timestamp(1), Timestamp(9)).into_iter().map(|q| q.entry.order).collect();
        assert_eq!(handed, [2, 4]);
        lanes.gate("b", false);
        lanes.gate("a", true);
        assert_eq!(
            lanes.reserve(&pool(), 9, Timestamp(2), Timestamp(9)).len(),
            1,
            "both gates of the third must be open"
        );
        lanes.gate("b", true);
        assert_eq!(shown(&mut lanes), [1, 2, 3, 4]);
        // New work hears of gates that were closed before it came.
        lanes.gate("c", false);
        lanes.apply(moved(5, 1, Some(gated(0, &["c"]))));
        assert_eq!(shown(&mut lanes), [1, 2, 3, 4, 0]);
        for id in 1..6 {
            lanes.apply(moved(id, 0, None));
        }
        assert!(lanes.before.is_empty() && lanes.waiting.is_empty());
        assert!(lanes.pools[&pool()].lanes.values().all(|lane| lane.ready.is_empty() && lane.reserved == 0));
    }

    proptest! {
        #[test]
        fn what_is_handed_out_is_what_was_shown_however_it_is_asked_for(
            work in prop::collection::vec((0..5_u8, -20..20_i64, 0..5_000_i64), 1..40),
            clocks in prop::collection::vec((0..3_000_000_i64, 1..4_u32), 5),
            asked in prop::collection::vec(1..5_usize, 40),
        ) {
            let weights = clocks.iter().zip(0..).map(|((_, weight), n)| (id(&format!("t{n}")), *weight)).collect();
            let mut lanes = Lanes::new(Timestamp(0), Arc::new(Weights(weights)));
            for ((clock, _), tenant) in clocks.into_iter().zip(0..) {
                lanes.restore(pool(), id(&format!("t{tenant}")), clock);
            }
            lanes.restore_pool(pool(), 1_000_000);
            for ((tenant, order, cost_ms), id) in work.iter().zip(1..) {
                lanes.apply(moved(id, *tenant, Some(entry(*order, *cost_ms))));
            }
            let shown = lanes.queue(&pool(), usize::MAX);
            prop_assert_eq!(shown.len(), work.len());
            let predicted: i64 = work.iter().map(|(_, _, cost_ms)| cost_ms).sum();
            prop_assert_eq!(lanes.backlog(), vec![(pool(), predicted.unsigned_abs())]);
            // A position is the place in the list, and what it tells of the wait is what stands before it there.
            let mut before_ms = 0;
            for (queued, before) in shown.iter().zip(0..) {
                let ranks = lanes.ranks(&pool(), std::slice::from_ref(&queued.generation));
                prop_assert_eq!(ranks, vec![(queued.generation.clone(), Rank { before, before_ms })]);
                before_ms += queued.entry.cost_ms;
            }
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

        #[test]
        fn a_position_is_the_place_in_the_list_whatever_happened_before(
            weights in prop::collection::vec(1..4_u32, 4),
            steps in prop::collection::vec((0..8_u8, 0..60_i64, 0..4_u8, -30..30_i64, 0..3_i64), 1..250),
        ) {
            let weights = weights.into_iter().zip(0..).map(|(weight, n)| (id(&format!("t{n}")), weight)).collect();
            let mut lanes = Lanes::new(Timestamp(0), Arc::new(Weights(weights)));
            let mut owners = HashMap::new();
            let mut now = 0;
            for (what, number, tenant, order, cost) in steps {
                // Whose it is does not change.
                let tenant = *owners.entry(number).or_insert(tenant);
                match what {
                    // Few costs, so that many stand at the same clock.
                    0..=2 => {
                        let gates: &[&str] = if order % 3 == 0 { &["a"] } else { &[] };
                        let not_before = Timestamp(if order % 5 == 0 { now + 3 } else { 0 });
                        let entry = QueueEntry { not_before, cost_ms: cost, ..gated(order, gates) };
                        lanes.apply(moved(number, tenant, Some(entry)));
                    }
                    3 => lanes.apply(moved(number, tenant, None)),
                    4 => {
                        now += 1;
                        lanes.reserve(&pool(), usize::from(tenant), Timestamp(now), Timestamp(now + 2));
                    }
                    5 => lanes.unreserve(&generation(&number.to_string())),
                    6 => lanes.gate("a", order % 2 == 0),
                    _ => {
                        let (pool, tenant) = (pool(), id(&format!("t{tenant}")));
                        lanes.apply(Effect::Charged { pool, tenant, clock: 1_000 * (number + cost), pool_clock: 1_000 * cost });
                    }
                }
            }
            let shown = lanes.queue(&pool(), usize::MAX);
            prop_assert_eq!(shown.len(), lanes.waiting.len());
            let (mut before, mut before_ms) = (0, 0);
            for queued in shown {
                let is_held = queued.entry.gates.iter().any(|gate| lanes.closed.contains(gate));
                let is_early = lanes.waiting[&queued.generation].standing == Standing::Delayed;
                let rank = (!is_held && !is_early).then_some(Rank { before, before_ms });
                let found = lanes.ranks(&pool(), std::slice::from_ref(&queued.generation));
                prop_assert_eq!(found, rank.map(|rank| (queued.generation, rank)).into_iter().collect::<Vec<_>>());
                (before, before_ms) = (before + 1, before_ms + queued.entry.cost_ms);
            }
        }
    }
}
