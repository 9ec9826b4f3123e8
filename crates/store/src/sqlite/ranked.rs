//! A sorted set that knows how much stands before each of its entries: a treap whose nodes carry sums. Pure.
//!
//! What it is for: a position in a queue is found in as many steps as the logarithm of its length, instead of by walking
//! through it.

use std::cmp::Ordering;

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
}

type Tree<K> = Option<Box<Node<K>>>;

#[derive(Debug)]
struct Node<K> {
    key: K,
    own: Sum,
    /// Its own and everything below.
    all: Sum,
    /// Greater than those below; drawn, so that the tree is about as deep as its logarithm.
    height: u64,
    left: Tree<K>,
    right: Tree<K>,
}

impl<K> Node<K> {
    fn sum(mut self: Box<Self>) -> Box<Self> {
        self.all = all(&self.left).and(self.own).and(all(&self.right));
        self
    }
}

fn all<K>(tree: &Tree<K>) -> Sum {
    tree.as_ref().map_or_else(Sum::default, |node| node.all)
}

/// The set.
#[derive(Debug)]
pub(super) struct Ranked<K> {
    root: Tree<K>,
    drawn: u64,
}

impl<K> Default for Ranked<K> {
    fn default() -> Self {
        Self { root: None, drawn: 0 }
    }
}

impl<K: Ord> Ranked<K> {
    /// Everything in it.
    pub(super) fn all(&self) -> Sum {
        all(&self.root)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Puts `key` in its place, unless it is there.
    pub(super) fn insert(&mut self, key: K, own: Sum) {
        if self.contains(&key) {
            return;
        }
        let height = self.draw();
        let (left, right) = split(self.root.take(), &key);
        let node = Some(Box::new(Node { key, own, all: own, height, left: None, right: None }));
        self.root = merge(merge(left, node), right);
    }

    /// Takes `key` out, if it is there.
    pub(super) fn remove(&mut self, key: &K) {
        self.root = remove(self.root.take(), key);
    }

    fn contains(&self, key: &K) -> bool {
        let mut here = &self.root;
        while let Some(node) = here {
            here = match key.cmp(&node.key) {
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
                Ordering::Equal => return true,
            };
        }
        false
    }

    /// What stands before `key`.
    pub(super) fn before(&self, key: &K) -> Sum {
        let (mut here, mut sum) = (&self.root, Sum::default());
        while let Some(node) = here {
            if node.key < *key {
                sum = sum.and(all(&node.left)).and(node.own);
                here = &node.right;
            } else {
                here = &node.left;
            }
        }
        sum
    }

    /// What stands before `key`, and itself.
    pub(super) fn through(&self, key: &K) -> Sum {
        let (mut here, mut sum) = (&self.root, Sum::default());
        while let Some(node) = here {
            if node.key <= *key {
                sum = sum.and(all(&node.left)).and(node.own);
                here = &node.right;
            } else {
                here = &node.left;
            }
        }
        sum
    }

    /// The entries before which less than `price` stands: how many, and the first that is not among them.
    pub(super) fn begun_below(&self, price: i64) -> (Sum, Option<&K>) {
        let (mut here, mut sum, mut next) = (&self.root, Sum::default(), None);
        while let Some(node) = here {
            let before = sum.and(all(&node.left));
            if before.price < price {
                sum = before.and(node.own);
                here = &node.right;
            } else {
                next = Some(&node.key);
                here = &node.left;
            }
        }
        (sum, next)
    }

    /// All, in order.
    pub(super) fn iter(&self) -> Iter<'_, K> {
        let mut iter = Iter { path: Vec::new() };
        iter.descend(&self.root);
        iter
    }

    /// Numbers that look random and are the same in every run: the order of a queue must not depend on chance.
    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.drawn ^ (self.drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Those below `key`, and the rest.
fn split<K: Ord>(tree: Tree<K>, key: &K) -> (Tree<K>, Tree<K>) {
    let Some(mut node) = tree else { return (None, None) };
    if node.key < *key {
        let (left, right) = split(node.right.take(), key);
        node.right = left;
        (Some(node.sum()), right)
    } else {
        let (left, right) = split(node.left.take(), key);
        node.left = right;
        (left, Some(node.sum()))
    }
}

/// Both, where everything in `left` is below everything in `right`.
fn merge<K>(left: Tree<K>, right: Tree<K>) -> Tree<K> {
    match (left, right) {
        (None, tree) | (tree, None) => tree,
        (Some(mut left), Some(right)) if left.height > right.height => {
            left.right = merge(left.right.take(), Some(right));
            Some(left.sum())
        }
        (Some(left), Some(mut right)) => {
            right.left = merge(Some(left), right.left.take());
            Some(right.sum())
        }
    }
}

fn remove<K: Ord>(tree: Tree<K>, key: &K) -> Tree<K> {
    let mut node = tree?;
    match key.cmp(&node.key) {
        Ordering::Less => node.left = remove(node.left.take(), key),
        Ordering::Greater => node.right = remove(node.right.take(), key),
        Ordering::Equal => return merge(node.left.take(), node.right.take()),
    }
    Some(node.sum())
}

/// In order.
pub(super) struct Iter<'a, K> {
    /// Nodes whose left side is done.
    path: Vec<&'a Node<K>>,
}

impl<'a, K> Iter<'a, K> {
    fn descend(&mut self, mut tree: &'a Tree<K>) {
        while let Some(node) = tree {
            self.path.push(node);
            tree = &node.left;
        }
    }
}

impl<'a, K> Iterator for Iter<'a, K> {
    type Item = &'a K;

    fn next(&mut self) -> Option<&'a K> {
        let node = self.path.pop()?;
        self.descend(&node.right);
        Some(&node.key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_list_with_sums(
            steps in prop::collection::vec((0..40_i64, 1..9_i64, any::<bool>()), 1..200),
            asked in 0..400_i64,
        ) {
            let (mut tree, mut list) = (Ranked::default(), BTreeMap::new());
            for (key, price, keep) in steps {
                tree.remove(&key);
                list.remove(&key);
                if keep {
                    tree.insert(key, Sum::one(price, price * 2));
                    list.insert(key, price);
                }
            }
            prop_assert!(tree.iter().eq(list.keys()));
            let sum = |list: &mut dyn Iterator<Item = &i64>| {
                list.fold(Sum::default(), |sum, price| sum.and(Sum::one(*price, *price * 2)))
            };
            prop_assert_eq!(tree.all(), sum(&mut list.values()));
            for key in 0..40 {
                prop_assert_eq!(tree.before(&key), sum(&mut list.range(..key).map(|(_, price)| price)));
            }
            let below: Vec<_> = list.keys().filter(|key| tree.before(key).price < asked).collect();
            let (sum, next) = tree.begun_below(asked);
            prop_assert_eq!(sum.count, below.len());
            prop_assert_eq!(next, list.keys().nth(below.len()));
        }
    }

    #[test]
    fn it_stays_shallow_when_entries_come_in_order() {
        fn depth<K>(tree: &Tree<K>) -> usize {
            tree.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
        }
        let mut tree = Ranked::default();
        for key in 0..100_000 {
            tree.insert(key, Sum::one(1, 1));
        }
        assert!(depth(&tree.root) < 60, "{}", depth(&tree.root));
        assert_eq!(tree.before(&77_777).count, 77_777);
    }
}
