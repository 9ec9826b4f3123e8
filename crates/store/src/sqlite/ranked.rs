//! A sorted list that knows how much stands before each of its entries: blocks of sorted entries, with running sums of the
//! blocks and of each eight entries. Pure.
//!
//! What it is for: a position in a queue looks into the lane of each tenant, at a place of it that nobody touched lately,
//! so that waiting for memory is most of what it takes. Eight entries are the unit: their prices are one line of cache and
//! their costs another, both at an address that the sums of eight tell, so that one look waits once or twice and not once
//! for each halving. Those sums are together, a hundredth of the list, and stay near.

/// Entries of a block, and what an insertion moves at most. Beyond, the rows of sums of blocks grow, which an insertion
/// adds to: 1,600 of them at 100,000 entries.
const BLOCK_MAX: usize = EIGHT * EIGHT;
/// Numbers in a line of cache.
const EIGHT: usize = 8;

/// Where an entry stands: its order, then its age.
pub(super) type Turn = (i64, i64);

/// So much of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Entries.
    pub(super) count: usize,
    /// By what they move the clock of their lane.
    pub(super) price: i64,
    /// Worker-milliseconds they are predicted to take.
    pub(super) cost_ms: i64,
}

impl Sum {
    /// One entry. Neither number may be below nothing, nor so great that all entries together do not fit.
    pub(super) const fn one(price: i64, cost_ms: i64) -> Self {
        Self { count: 1, price, cost_ms }
    }

    /// Both.
    pub(super) const fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, price: self.price + other.price, cost_ms: self.cost_ms + other.cost_ms }
    }

    /// This without a part of it.
    const fn less(self, other: Self) -> Self {
        Self { count: self.count - other.count, price: self.price - other.price, cost_ms: self.cost_ms - other.cost_ms }
    }
}

/// Eight entries in a row, or fewer at the end of a block; what is not there is 0.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Eight {
    prices: [i64; EIGHT],
    costs: [i64; EIGHT],
    orders: [i64; EIGHT],
    ids: [i64; EIGHT],
}

/// What stands in a block before each eight of it.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Marks {
    /// The greatest number for what is not there, so that no search ends there.
    prices: [i64; EIGHT],
    costs: [i64; EIGHT],
}

/// Never empty, but while it is changed.
#[derive(Debug)]
struct Block<V> {
    eights: Vec<Eight>,
    values: Vec<V>,
}

/// A place in the list, which may be one past the last of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    block: usize,
    place: usize,
}

/// An eight, and how much of a price is left at its beginning. With nothing left nothing of it has begun.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    block: usize,
    eight: usize,
    rest: i64,
}

/// The list.
#[derive(Debug)]
pub(super) struct Ranked<V> {
    blocks: Vec<Block<V>>,
    marks: Vec<Marks>,
    /// Of the last entry of each block.
    lasts: Vec<Turn>,
    /// What stands before each block, in three rows: a search reads one of them.
    counts: Vec<usize>,
    prices: Vec<i64>,
    costs: Vec<i64>,
    all: Sum,
}

impl<V> Default for Ranked<V> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            marks: Vec::new(),
            lasts: Vec::new(),
            counts: Vec::new(),
            prices: Vec::new(),
            costs: Vec::new(),
            all: Sum::default(),
        }
    }
}

impl<V> Ranked<V> {
    /// Everything in it.
    pub(super) const fn all(&self) -> Sum {
        self.all
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Puts `value` in its place, unless something has that turn.
    pub(super) fn insert(&mut self, turn: Turn, own: Sum, value: V) {
        let Some(mut at) = self.block_for(turn) else { return self.push(turn, own, value) };
        if self.blocks[at].values.len() == BLOCK_MAX {
            self.split(at);
            at += usize::from(self.lasts[at] < turn);
        }
        let Err(place) = self.blocks[at].find(turn) else { return };
        self.blocks[at].insert(place, turn, own, value);
        self.describe(at);
        self.counts[at + 1..].iter_mut().for_each(|count| *count += 1);
        self.prices[at + 1..].iter_mut().for_each(|price| *price += own.price);
        self.costs[at + 1..].iter_mut().for_each(|cost| *cost += own.cost_ms);
        self.all = self.all.and(own);
    }

    /// Takes out what has `turn`, if something does.
    pub(super) fn remove(&mut self, turn: Turn) {
        let at = self.block_of(turn);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(place) = block.find(turn) else { return };
        let own = block.remove(place);
        self.counts[at + 1..].iter_mut().for_each(|count| *count -= 1);
        self.prices[at + 1..].iter_mut().for_each(|price| *price -= own.price);
        self.costs[at + 1..].iter_mut().for_each(|cost| *cost -= own.cost_ms);
        self.all = self.all.less(own);
        self.shrink(at);
    }

    /// What stands before what has `turn`; `None` when nothing has.
    pub(super) fn before(&self, turn: Turn) -> Option<Sum> {
        let at = self.block_of(turn);
        let block = self.blocks.get(at)?;
        let place = block.find(turn).ok()?;
        let mark = self.before_eight(at, place / EIGHT);
        Some((place - place % EIGHT..place).fold(mark, |sum, earlier| sum.and(block.own(earlier))))
    }

    /// Where the entries end before which less than `price` stands: the first half of [`Ranked::begun`], which reads nothing
    /// but sums.
    pub(super) fn look(&self, price: i64) -> Look {
        // The last block of which the first is among them.
        let Some(block) = self.prices.partition_point(|before| *before < price).checked_sub(1) else {
            return Look::default();
        };
        let rest = price - self.prices[block];
        let marks = &self.marks[block].prices;
        let eight = marks.iter().map(|mark| usize::from(*mark < rest)).sum::<usize>() - 1;
        Look { block, eight, rest: rest - marks[eight] }
    }

    /// Reads a number of each line that [`Ranked::begun`] will want, and answers something of them: of many lists they come
    /// at the same time, and not one after the other.
    pub(super) fn touch(&self, look: Look) -> i64 {
        let Some(block) = self.blocks.get(look.block) else { return 0 };
        let Eight { prices, costs, orders, .. } = &block.eights[look.eight];
        prices[0] ^ costs[0] ^ orders[0]
    }

    /// The entries before which less than the price of `look` stands, and the spot of the first that is not among them.
    pub(super) fn begun(&self, look: Look) -> (Sum, Spot) {
        let Some(block) = self.blocks.get(look.block) else {
            return (Sum::default(), Spot { block: 0, place: 0 });
        };
        // No branch depends on what is read here.
        let Eight { prices, costs, .. } = &block.eights[look.eight];
        let (mut begun, mut stood) = (Sum::default(), 0);
        for (own, cost_ms) in prices.iter().zip(costs) {
            let takes = stood < look.rest;
            begun.count += usize::from(takes);
            begun.price += if takes { *own } else { 0 };
            begun.cost_ms += if takes { *cost_ms } else { 0 };
            stood += own;
        }
        // What is not there costs nothing, but must not count.
        let place = (look.eight * EIGHT + begun.count).min(block.values.len());
        begun.count = place - look.eight * EIGHT;
        (self.before_eight(look.block, look.eight).and(begun), Spot { block: look.block, place })
    }

    /// The order of the entry at a spot, and itself alone.
    pub(super) fn at(&self, Spot { block, place }: Spot) -> Option<(i64, Sum)> {
        let here = self.blocks.get(block)?;
        let (here, place) = if place < here.values.len() { (here, place) } else { (self.blocks.get(block + 1)?, 0) };
        Some((here.turn(place).0, here.own(place)))
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Turn, &V)> {
        self.blocks
            .iter()
            .flat_map(|block| block.values.iter().enumerate().map(|(place, value)| (block.turn(place), value)))
    }

    /// The first block that does not end before `turn`; one past the last when all do.
    fn block_of(&self, turn: Turn) -> usize {
        self.lasts.partition_point(|last| *last < turn)
    }

    /// The block that takes `turn` in. What comes after all begins a new one when the last is full: entries that come in
    /// their order leave full blocks.
    fn block_for(&self, turn: Turn) -> Option<usize> {
        let at = self.block_of(turn);
        if at < self.blocks.len() {
            return Some(at);
        }
        let last = at.checked_sub(1)?;
        (self.blocks[last].values.len() < BLOCK_MAX).then_some(last)
    }

    fn push(&mut self, turn: Turn, own: Sum, value: V) {
        let mut block = Block { eights: Vec::with_capacity(1), values: Vec::with_capacity(1) };
        block.insert(0, turn, own, value);
        self.put(self.blocks.len(), block, self.all);
        self.all = self.all.and(own);
    }

    /// Before the block at `at`, and in it before an eight.
    fn before_eight(&self, at: usize, eight: usize) -> Sum {
        let marks = &self.marks[at];
        Sum {
            count: self.counts[at] + eight * EIGHT,
            price: self.prices[at] + marks.prices[eight],
            cost_ms: self.costs[at] + marks.costs[eight],
        }
    }

    /// Makes the block the one at `at`.
    fn put(&mut self, at: usize, block: Block<V>, before: Sum) {
        self.marks.insert(at, block.marks());
        self.lasts.insert(at, block.last());
        self.blocks.insert(at, block);
        self.counts.insert(at, before.count);
        self.prices.insert(at, before.price);
        self.costs.insert(at, before.cost_ms);
    }

    fn take(&mut self, at: usize) -> Block<V> {
        self.marks.remove(at);
        self.lasts.remove(at);
        self.counts.remove(at);
        self.prices.remove(at);
        self.costs.remove(at);
        self.blocks.remove(at)
    }

    /// What is known of a block, after it changed.
    fn describe(&mut self, at: usize) {
        self.marks[at] = self.blocks[at].marks();
        self.lasts[at] = self.blocks[at].last();
    }

    /// Halves a full block.
    fn split(&mut self, at: usize) {
        let middle = BLOCK_MAX / 2;
        let before = self.before_eight(at, middle / EIGHT);
        let block = &mut self.blocks[at];
        let (eights, values) = (block.eights.split_off(middle / EIGHT), block.values.split_off(middle));
        self.describe(at);
        self.put(at + 1, Block { eights, values }, before);
    }

    /// Keeps blocks from becoming many and small, after one lost an entry: an empty one goes, and two that fit into half of
    /// one become one.
    fn shrink(&mut self, at: usize) {
        if self.blocks[at].values.is_empty() {
            self.take(at);
            return;
        }
        self.describe(at);
        self.join_with_next(at);
        if at > 0 {
            self.join_with_next(at - 1);
        }
    }

    fn join_with_next(&mut self, at: usize) {
        let length = |block: &Block<V>| block.values.len();
        let fits = |next: &Block<V>| length(&self.blocks[at]) + length(next) <= BLOCK_MAX / 2;
        if !self.blocks.get(at + 1).is_some_and(fits) {
            return;
        }
        let next = self.take(at + 1);
        let entries: Vec<(Turn, Sum)> = (0..length(&next)).map(|place| (next.turn(place), next.own(place))).collect();
        let block = &mut self.blocks[at];
        for ((turn, own), value) in entries.into_iter().zip(next.values) {
            block.insert(length(block), turn, own, value);
        }
        self.describe(at);
    }
}

impl<V> Block<V> {
    fn turn(&self, place: usize) -> Turn {
        let eight = &self.eights[place / EIGHT];
        (eight.orders[place % EIGHT], eight.ids[place % EIGHT])
    }

    fn own(&self, place: usize) -> Sum {
        let eight = &self.eights[place / EIGHT];
        Sum::one(eight.prices[place % EIGHT], eight.costs[place % EIGHT])
    }

    fn set(&mut self, place: usize, (order, id): Turn, own: Sum) {
        let (eight, at) = (&mut self.eights[place / EIGHT], place % EIGHT);
        (eight.orders[at], eight.ids[at], eight.prices[at], eight.costs[at]) = (order, id, own.price, own.cost_ms);
    }

    /// Where `turn` is, or would be.
    fn find(&self, turn: Turn) -> Result<usize, usize> {
        // All eights are asked, and not one after the other: what is not near comes at the same time.
        let begun = self.eights.iter().filter(|eight| (eight.orders[0], eight.ids[0]) <= turn).count();
        let Some(eight) = begun.checked_sub(1) else { return Err(0) };
        let (from, to) = (eight * EIGHT, self.values.len().min(begun * EIGHT));
        let place = from + (from..to).filter(|place| self.turn(*place) < turn).count();
        if place < to && self.turn(place) == turn { Ok(place) } else { Err(place) }
    }

    fn insert(&mut self, place: usize, turn: Turn, own: Sum, value: V) {
        let length = self.values.len();
        if length.is_multiple_of(EIGHT) {
            self.eights.push(Eight::default());
        }
        for at in (place..length).rev() {
            self.set(at + 1, self.turn(at), self.own(at));
        }
        self.set(place, turn, own);
        self.values.insert(place, value);
    }

    /// Answers what it was alone.
    fn remove(&mut self, place: usize) -> Sum {
        let (own, last) = (self.own(place), self.values.len() - 1);
        for at in place..last {
            self.set(at, self.turn(at + 1), self.own(at + 1));
        }
        self.set(last, (0, 0), Sum::default());
        if last.is_multiple_of(EIGHT) {
            self.eights.pop();
        }
        self.values.remove(place);
        own
    }

    fn last(&self) -> Turn {
        self.turn(self.values.len() - 1)
    }

    fn marks(&self) -> Marks {
        let mut marks = Marks { prices: [i64::MAX; EIGHT], costs: [0; EIGHT] };
        let (mut price, mut cost_ms) = (0, 0);
        for (at, eight) in self.eights.iter().enumerate() {
            (marks.prices[at], marks.costs[at]) = (price, cost_ms);
            price += eight.prices.iter().sum::<i64>();
            cost_ms += eight.costs.iter().sum::<i64>();
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<V> Ranked<V> {
        /// What is said of each block is what is in it, and none is empty or too long.
        fn check(&self) {
            let rows = [self.marks.len(), self.lasts.len(), self.counts.len(), self.prices.len(), self.costs.len()];
            assert_eq!(rows, [self.blocks.len(); 5]);
            let mut all = Sum::default();
            for (at, block) in self.blocks.iter().enumerate() {
                let length = block.values.len();
                assert!((1..=BLOCK_MAX).contains(&length) && block.eights.len() == length.div_ceil(EIGHT));
                assert_eq!(self.lasts[at], block.turn(length - 1));
                for place in 0..block.eights.len() * EIGHT {
                    if place % EIGHT == 0 {
                        assert_eq!(self.before_eight(at, place / EIGHT), all);
                    }
                    if place < length {
                        all = all.and(block.own(place));
                    } else {
                        assert_eq!(Sum { count: 0, ..block.own(place) }, Sum::default(), "nothing is there");
                    }
                }
                assert!(self.marks[at].prices[block.eights.len()..].iter().all(|mark| *mark == i64::MAX));
            }
            assert_eq!(self.all, all);
            assert!(self.iter().is_sorted_by(|one, next| one.0 < next.0));
        }
    }

    type List = BTreeMap<Turn, (i64, i64)>;

    fn sum<'a>(entries: impl IntoIterator<Item = (&'a Turn, &'a (i64, i64))>) -> Sum {
        entries.into_iter().fold(Sum::default(), |sum, (_, (price, cost))| sum.and(Sum::one(*price, *cost)))
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_list_with_sums(
            steps in prop::collection::vec((-250..250_i64, 0..3_i64, 1..9_i64, 0..20_i64, 0..4_u8), 1..2_500),
            asked in prop::collection::vec(-5..8_000_i64, 40),
        ) {
            let (mut ranked, mut list) = (Ranked::default(), List::new());
            for (order, id, price, cost, keep) in steps {
                let turn = (order, id);
                ranked.remove(turn);
                list.remove(&turn);
                if keep > 0 {
                    ranked.insert(turn, Sum::one(price, cost), turn);
                    // What has its turn keeps it.
                    ranked.insert(turn, Sum::one(77, 77), (0, 0));
                    list.insert(turn, (price, cost));
                }
            }
            ranked.check();
            prop_assert!(ranked.iter().map(|(turn, value)| (turn, *value)).eq(list.keys().map(|turn| (*turn, *turn))));
            prop_assert_eq!(ranked.all(), sum(&list));
            for turn in (-251..251).flat_map(|order| [(order, 0), (order, 2)]) {
                let expected = list.contains_key(&turn).then(|| sum(list.range(..turn)));
                prop_assert_eq!(ranked.before(turn), expected);
            }
            // Each sum there is, and some that are between them.
            let mut prices = asked;
            prices.extend(list.keys().step_by(5).map(|turn| sum(list.range(..turn)).price));
            prices.push(ranked.all().price);
            for price in prices {
                let mut stood = 0;
                let begun = list.values().take_while(|own| {
                    let takes = stood < price;
                    stood += own.0;
                    takes
                });
                let count = begun.count();
                let look = ranked.look(price);
                ranked.touch(look);
                let (sum_of_begun, spot) = ranked.begun(look);
                prop_assert_eq!(sum_of_begun, sum(list.iter().take(count)));
                let next = list.iter().nth(count).map(|(turn, (price, cost))| (turn.0, Sum::one(*price, *cost)));
                prop_assert_eq!(ranked.at(spot), next);
            }
        }
    }

    #[test]
    fn entries_that_come_and_go_in_order_leave_no_more_blocks_than_they_need() {
        let mut ranked = Ranked::default();
        for order in 0..100_000 {
            ranked.insert((order, order), Sum::one(1, 1), ());
        }
        ranked.check();
        assert_eq!(ranked.blocks.len(), 100_000_usize.div_ceil(BLOCK_MAX));
        assert_eq!(ranked.before((77_777, 77_777)).map(|sum| sum.count), Some(77_777));
        for order in (0..100_000).filter(|order| order % 100 != 0) {
            ranked.remove((order, order));
        }
        ranked.check();
        assert!(ranked.blocks.len() <= 1_000 * 4 / BLOCK_MAX + 2, "{}", ranked.blocks.len());
        for order in 0..100_000 {
            ranked.remove((order, order));
        }
        assert!(ranked.is_empty() && ranked.marks.is_empty() && ranked.counts.is_empty());
    }
}
