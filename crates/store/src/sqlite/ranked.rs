//! A sorted list that knows how much stands before each of its entries: blocks of sorted entries, each with running sums,
//! and running sums of the blocks. Pure.
//!
//! What it is for: a position in a queue is found by two short searches, and both of them in a row of numbers. A balanced
//! tree takes as few steps; but each is a jump to another place in memory, and a position looks into the lane of each
//! tenant, so that waiting for memory is most of what it takes.

/// Entries of a block: both searches are about as long at ten thousand entries, and what an insertion moves is a few
/// kilobytes. Beyond, the list of blocks grows, whose sums an insertion adds to: 800 of them at 100,000 entries.
const BLOCK_MAX: usize = 128;

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
    /// One entry.
    pub(super) const fn one(price: i64, cost_ms: i64) -> Self {
        Self { count: 1, price, cost_ms }
    }

    /// Both.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            price: self.price.saturating_add(other.price),
            cost_ms: self.cost_ms.saturating_add(other.cost_ms),
        }
    }

    /// This without a part of it.
    const fn less(self, other: Self) -> Self {
        Self {
            count: self.count - other.count,
            price: self.price.saturating_sub(other.price),
            cost_ms: self.cost_ms.saturating_sub(other.cost_ms),
        }
    }
}

/// Never empty.
#[derive(Debug)]
struct Block<K> {
    keys: Vec<K>,
    /// Of the entries of this block up to each, with it.
    sums: Vec<Sum>,
}

/// The list.
#[derive(Debug)]
pub(super) struct Ranked<K> {
    blocks: Vec<Block<K>>,
    /// Of the blocks up to each, with it.
    sums: Vec<Sum>,
}

impl<K> Default for Ranked<K> {
    fn default() -> Self {
        Self { blocks: Vec::new(), sums: Vec::new() }
    }
}

impl<K: Ord> Ranked<K> {
    /// Everything in it.
    pub(super) fn all(&self) -> Sum {
        self.sums.last().copied().unwrap_or_default()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Puts `key` in its place, unless it is there.
    pub(super) fn insert(&mut self, key: K, own: Sum) {
        // What is greater than all goes to the end of the last block.
        let at = self.block_of(&key).min(self.blocks.len().saturating_sub(1));
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(Block { keys: vec![key], sums: vec![own] });
            self.sums.push(own);
            return;
        };
        let Err(place) = block.keys.binary_search(&key) else { return };
        let before = if place == 0 { Sum::default() } else { block.sums[place - 1] };
        block.keys.insert(place, key);
        block.sums.insert(place, before.and(own));
        block.sums[place + 1..].iter_mut().for_each(|sum| *sum = sum.and(own));
        self.sums[at..].iter_mut().for_each(|sum| *sum = sum.and(own));
        if block.keys.len() > BLOCK_MAX {
            self.split(at);
        }
    }

    /// Takes `key` out, if it is there.
    pub(super) fn remove(&mut self, key: &K) {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(place) = block.keys.binary_search(key) else { return };
        let before = if place == 0 { Sum::default() } else { block.sums[place - 1] };
        block.keys.remove(place);
        let own = block.sums.remove(place).less(before);
        block.sums[place..].iter_mut().for_each(|sum| *sum = sum.less(own));
        self.sums[at..].iter_mut().for_each(|sum| *sum = sum.less(own));
        self.join(at);
    }

    /// What stands before `key`.
    pub(super) fn before(&self, key: &K) -> Sum {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get(at) else { return self.all() };
        let place = block.keys.partition_point(|one| one < key);
        self.up_to(at, place)
    }

    /// The entries before which less than `price` stands: how many, and the first that is not among them, with what there
    /// is up to that one. It is not looked for by its key: in blocks that nobody has touched lately that is the dear part.
    pub(super) fn begun_below(&self, price: i64) -> (Sum, Option<(&K, Sum)>) {
        if price <= 0 {
            return (Sum::default(), self.entry(0, 0));
        }
        // Among them is the entry with which the sum reaches the price, and none after it.
        let at = self.sums.partition_point(|sum| sum.price < price);
        let Some(block) = self.blocks.get(at) else { return (self.all(), None) };
        let base = if at == 0 { 0 } else { self.sums[at - 1].price };
        let place = block.sums.partition_point(|sum| base.saturating_add(sum.price) < price) + 1;
        let next = if place < block.keys.len() { self.entry(at, place) } else { self.entry(at + 1, 0) };
        (self.up_to(at, place), next)
    }

    /// The entry at `place` of the block at `at`, and what there is up to it.
    fn entry(&self, at: usize, place: usize) -> Option<(&K, Sum)> {
        let key = self.blocks.get(at)?.keys.get(place)?;
        Some((key, self.up_to(at, place + 1)))
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &K> {
        self.blocks.iter().flat_map(|block| &block.keys)
    }

    /// The first block that does not end before `key`; one past the last when all do.
    fn block_of(&self, key: &K) -> usize {
        self.blocks.partition_point(|block| block.keys.last().is_some_and(|last| last < key))
    }

    /// The blocks before `at`, and the first `place` entries of that.
    fn up_to(&self, at: usize, place: usize) -> Sum {
        let blocks = if at == 0 { Sum::default() } else { self.sums[at - 1] };
        if place == 0 { blocks } else { blocks.and(self.blocks[at].sums[place - 1]) }
    }

    /// Halves a block that has grown too long.
    fn split(&mut self, at: usize) {
        let block = &mut self.blocks[at];
        let middle = block.keys.len() / 2;
        let keys = block.keys.split_off(middle);
        let mut sums = block.sums.split_off(middle);
        let left = block.sums[middle - 1];
        sums.iter_mut().for_each(|sum| *sum = sum.less(left));
        let before = if at == 0 { Sum::default() } else { self.sums[at - 1] };
        self.sums.insert(at, before.and(left));
        self.blocks.insert(at + 1, Block { keys, sums });
    }

    /// Keeps blocks from becoming many and small: an empty one goes, and two that fit into half of one become one.
    fn join(&mut self, at: usize) {
        if self.blocks[at].keys.is_empty() {
            self.blocks.remove(at);
            self.sums.remove(at);
            return;
        }
        self.join_with_next(at);
        if at > 0 {
            self.join_with_next(at - 1);
        }
    }

    fn join_with_next(&mut self, at: usize) {
        let fits = |next: &Block<K>| self.blocks[at].keys.len() + next.keys.len() <= BLOCK_MAX / 2;
        if !self.blocks.get(at + 1).is_some_and(fits) {
            return;
        }
        let Block { keys, sums } = self.blocks.remove(at + 1);
        let block = &mut self.blocks[at];
        let left = block.sums.last().copied().unwrap_or_default();
        block.keys.extend(keys);
        block.sums.extend(sums.into_iter().map(|sum| left.and(sum)));
        self.sums.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<K: Ord + Clone> Ranked<K> {
        /// What each block says of itself is what is in it, and none is empty or too long.
        fn check(&self) {
            let mut all = Sum::default();
            assert_eq!(self.blocks.len(), self.sums.len());
            for (block, sum) in self.blocks.iter().zip(&self.sums) {
                assert!((1..=BLOCK_MAX).contains(&block.keys.len()) && block.keys.len() == block.sums.len());
                all = all.and(*block.sums.last().unwrap());
                assert_eq!(all, *sum);
            }
            assert!(self.iter().is_sorted());
        }
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_list_with_sums(
            steps in prop::collection::vec((0..1_000_i64, 1..9_i64, 0..3_u8), 1..1_500),
            asked in 0..4_000_i64,
        ) {
            let (mut ranked, mut list) = (Ranked::default(), BTreeMap::new());
            for (key, price, keep) in steps {
                ranked.remove(&key);
                list.remove(&key);
                if keep > 0 {
                    ranked.insert(key, Sum::one(price, price * 2));
                    list.insert(key, price);
                }
            }
            ranked.check();
            prop_assert!(ranked.iter().eq(list.keys()));
            let sum = |list: &mut dyn Iterator<Item = &i64>| {
                list.fold(Sum::default(), |sum, price| sum.and(Sum::one(*price, *price * 2)))
            };
            prop_assert_eq!(ranked.all(), sum(&mut list.values()));
            for key in (0..1_001).step_by(13) {
                prop_assert_eq!(ranked.before(&key), sum(&mut list.range(..key).map(|(_, price)| price)));
            }
            let below: Vec<_> = list.keys().filter(|key| ranked.before(key).price < asked).collect();
            let (begun, next) = ranked.begun_below(asked);
            prop_assert_eq!(begun.count, below.len());
            let expected = list.keys().nth(below.len());
            let through = |key: &i64| sum(&mut list.range(..=key).map(|(_, price)| price));
            prop_assert_eq!(next, expected.map(|key| (key, through(key))));
        }
    }

    #[test]
    fn entries_that_come_and_go_in_order_leave_no_more_blocks_than_they_need() {
        let mut ranked = Ranked::default();
        for key in 0..100_000 {
            ranked.insert(key, Sum::one(1, 1));
        }
        ranked.check();
        assert!(ranked.blocks.len() <= 2 * 100_000 / BLOCK_MAX, "{}", ranked.blocks.len());
        assert_eq!(ranked.before(&77_777).count, 77_777);
        for key in (0..100_000).filter(|key| key % 100 != 0) {
            ranked.remove(&key);
        }
        ranked.check();
        assert!(ranked.blocks.len() <= 1_000 * 4 / BLOCK_MAX + 2, "{}", ranked.blocks.len());
        for key in 0..100_000 {
            ranked.remove(&key);
        }
        assert!(ranked.is_empty() && ranked.sums.is_empty());
    }
}
