//! Crowds are woken in slices, so that ten thousand watchers of one generation do not stand before the two of another.
//!
//! A tail with few watchers wakes them where it is appended to. One with many puts itself into this queue, and the hub's task
//! wakes a slice of it, then lets those run, then takes the next tail's slice. Events that come meanwhile join the pass: the
//! slower it goes, the more of them leave in one write.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{tail::Tail, watcher::Watcher};

/// Up to so many watchers are woken at once, where the event is appended: a fifth of a millisecond.
const AT_ONCE_MAX: usize = 256;
/// Watchers woken before others get a turn: about what a thread of the runtime runs before it looks for news again.
const SLICE: usize = 64;

/// The watchers of one tail, and how far the pass over them has come.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    list: Vec<Arc<Watcher>>,
    /// The slot at which the next slice begins; always one of the list's, or 0.
    turn: usize,
    /// How many are still to be woken, from there on and, behind the last slot, from the first; never more than there are.
    left: usize,
    /// It stands in the queue.
    queued: bool,
}

impl Crowd {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Watcher>> {
        self.list.iter()
    }

    /// Adds a watcher, which remembers its slot.
    pub(super) fn join(&mut self, watcher: Arc<Watcher>) {
        watcher.take_slot(self.list.len());
        self.list.push(watcher);
        // Where the rest of the pass goes on at the beginning, this one stands within it, and must take nobody's turn.
        if self.left > 0 {
            self.left += 1;
        }
    }

    /// Removes the watcher in `slot`; the last one takes its place.
    pub(super) fn leave(&mut self, slot: usize) {
        self.list.swap_remove(slot);
        if let Some(moved) = self.list.get(slot) {
            moved.take_slot(slot);
            // The pass may have gone by this slot already.
            if self.left > 0 {
                moved.call();
            }
        }
        // The rest stays as long, or wakes one too many. Where it was to begin at the last slot, it begins at the first.
        self.left = self.left.min(self.list.len());
        if self.turn >= self.list.len() {
            self.turn = 0;
        }
        if self.list.is_empty() {
            self.list.shrink_to_fit();
        }
    }

    /// Wakes them all, or begins to. True when it has to be put into the queue.
    pub(super) fn wake(&mut self) -> bool {
        if self.list.len() <= AT_ONCE_MAX {
            self.list.iter().for_each(|watcher| watcher.call());
            self.left = 0;
            return false;
        }
        // Those who were woken already in this pass are woken again: there is more.
        self.left = self.list.len();
        !std::mem::replace(&mut self.queued, true)
    }

    /// Wakes the next slice. False when that was the last.
    fn wake_slice(&mut self) -> bool {
        let count = self.list.len();
        let slice = self.left.min(SLICE);
        for step in 0..slice {
            self.list[(self.turn + step) % count].call();
        }
        self.turn = if count == 0 { 0 } else { (self.turn + slice) % count };
        self.left -= slice;
        self.queued = self.left > 0;
        self.queued
    }
}

/// Tails whose crowds are being woken, each at most once.
#[derive(Debug, Default)]
pub(super) struct Fan {
    queue: Mutex<VecDeque<Arc<Tail>>>,
    pushed: Notify,
    /// Nobody runs it any more: the server goes away, and its last watchers are woken where something happens.
    over: AtomicBool,
}

impl Fan {
    /// Takes a tail whose crowd said that it has to be put here.
    pub(super) fn push(&self, tail: Arc<Tail>) {
        self.queue.lock().push_back(tail);
        self.pushed.notify_one();
        if self.over.load(Ordering::Acquire) {
            self.finish();
        }
    }

    /// Wakes everybody who is still to be woken.
    fn finish(&self) {
        loop {
            let next = self.queue.lock().pop_front();
            let Some(tail) = next else { return };
            while tail.wake_slice() {}
        }
    }

    /// Wakes slices in turn until `stop` fires.
    pub(super) async fn run(&self, stop: CancellationToken) {
        loop {
            let next = self.queue.lock().pop_front();
            let Some(tail) = next else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        self.over.store(true, Ordering::Release);
                        return self.finish();
                    }
                    () = self.pushed.notified() => continue, // Cancel-safe.
                }
            };
            if tail.wake_slice() {
                self.queue.lock().push_back(tail);
            }
            // Those who were woken run, and so does who waits for another generation.
            tokio::task::yield_now().await;
        }
    }
}

impl Tail {
    fn wake_slice(&self) -> bool {
        self.crowd().wake_slice()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        task::{Context, Waker},
    };

    use proptest::prelude::*;

    use super::{super::Wake, *};

    fn crowd(count: usize) -> (Crowd, Vec<Arc<Wake>>) {
        let mut crowd = Crowd::default();
        let wakes: Vec<_> = (0..count).map(|_| Arc::<Wake>::default()).collect();
        for wake in &wakes {
            crowd.join(Arc::new(Watcher::new(Arc::clone(wake), None, 0)));
        }
        (crowd, wakes)
    }

    /// How many were woken since the last look.
    fn woken(wakes: &[Arc<Wake>]) -> usize {
        let context = Context::from_waker(Waker::noop());
        wakes.iter().filter(|wake| wake.take(&context)).count()
    }

    /// Who got a turn: a watcher of this tail, or somebody who has nothing to do with them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Turn {
        Big,
        Small,
        Other,
    }

    /// The task of a watcher, which notes that it was woken.
    struct Noting(Turn, Arc<Mutex<Vec<Turn>>>);

    impl std::task::Wake for Noting {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }

    #[tokio::test]
    async fn one_crowd_delays_neither_another_nor_who_watches_nothing() {
        const SMALL: usize = 300;
        let turns = Arc::<Mutex<Vec<Turn>>>::default();
        let fan = Fan::default();
        let mut watches = Vec::new();
        for (of, count) in [(Turn::Big, 1_000), (Turn::Small, SMALL)] {
            let generation = protocol::GenerationId::new(format!("gen_{of:?}")).unwrap();
            let tail = Arc::new(Tail::new(generation, std::sync::Weak::new()));
            let waker = Waker::from(Arc::new(Noting(of, Arc::clone(&turns))));
            for _ in 0..count {
                let wake = Arc::<Wake>::default();
                wake.take(&Context::from_waker(&waker));
                watches.push(tail.join(wake, None));
            }
            assert!(tail.crowd().wake());
            fan.push(tail);
        }
        // It stops only when nobody is left to be woken.
        let stop = CancellationToken::new();
        stop.cancel();
        let other = async {
            while !fan.over.load(Ordering::Acquire) {
                turns.lock().push(Turn::Other);
                tokio::task::yield_now().await;
            }
        };
        // This one polls both in the same order each time; the macro of Tokio does not.
        futures_util::future::join(fan.run(stop), other).await;

        let turns = turns.lock();
        let of = |turn| turns.iter().filter(|one| **one == turn).count();
        assert_eq!((of(Turn::Big), of(Turn::Small)), (1_000, SMALL));
        // A slice of one, a turn for others, a slice of the other, and so on.
        assert!(turns.chunk_by(|a, b| a == b).all(|slice| slice.len() <= SLICE), "{turns:?}");
        let slices: Vec<_> = turns.chunk_by(|a, b| a == b).map(|slice| slice[0]).collect();
        let alternating = [Turn::Big, Turn::Other, Turn::Small, Turn::Other].repeat(SMALL.div_ceil(SLICE));
        assert!(slices.starts_with(&alternating), "{slices:?}");
    }

    #[test]
    fn few_are_woken_at_once_and_many_in_slices() {
        let (mut few, wakes) = crowd(AT_ONCE_MAX);
        assert!(!few.wake());
        assert_eq!(woken(&wakes), AT_ONCE_MAX);

        let (mut many, wakes) = crowd(1_000);
        assert!(many.wake());
        assert_eq!(woken(&wakes), 0);
        let mut slices = 0;
        while many.wake_slice() {
            slices += 1;
            assert_eq!(woken(&wakes), SLICE);
        }
        assert_eq!((slices, woken(&wakes)), (1_000 / SLICE, 1_000 % SLICE));
    }

    #[test]
    fn what_comes_during_a_pass_wakes_everybody_once_more_without_queueing_twice() {
        let (mut many, wakes) = crowd(1_000);
        assert!(many.wake());
        many.wake_slice();
        assert_eq!(woken(&wakes), SLICE);
        assert!(!many.wake(), "it stands in the queue already");
        while many.wake_slice() {}
        assert_eq!(woken(&wakes), 1_000);
        assert!(many.wake(), "after a pass it has to be put there again");
    }

    #[test]
    fn nobody_is_passed_over_when_others_leave_during_a_pass() {
        for leaving in [0, 10, SLICE, 300, 999] {
            let (mut many, wakes) = crowd(1_000);
            many.wake();
            many.wake_slice();
            for _ in 0..200 {
                many.leave(leaving.min(many.len() - 1));
            }
            while many.wake_slice() {}
            let stay: Vec<_> = many.iter().map(|watcher| Arc::clone(watcher.wake())).collect();
            assert_eq!(stay.len(), 800);
            let gone = wakes.iter().filter(|wake| !stay.iter().any(|one| Arc::ptr_eq(one, wake))).count();
            assert_eq!((gone, woken(&stay)), (200, 800), "leaving at {leaving}");
        }
    }

    /// What happens to a crowd, in any order.
    #[derive(Debug, Clone, Copy)]
    enum Happens {
        Event,
        Slice,
        Joins(usize),
        /// So many, one after the other, from the slot that lies there between the first (0) and the last (999).
        Leaves(usize, usize),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            2 => Just(Happens::Event),
            6 => Just(Happens::Slice),
            2 => (1..40_usize).prop_map(Happens::Joins),
            2 => (1..40_usize, 0..1_000_usize).prop_map(|(count, at)| Happens::Leaves(count, at)),
        ]
    }

    /// A crowd, and those of it who have not been woken since the last event.
    struct Owing {
        crowd: Crowd,
        owed: HashSet<*const Wake>,
    }

    impl Owing {
        fn note_woken(&mut self) {
            let context = Context::from_waker(Waker::noop());
            for watcher in self.crowd.iter().filter(|watcher| watcher.wake().take(&context)) {
                self.owed.remove(&Arc::as_ptr(watcher.wake()));
            }
        }

        fn meets(&mut self, happens: Happens) {
            match happens {
                Happens::Event => {
                    self.owed = self.crowd.iter().map(|watcher| Arc::as_ptr(watcher.wake())).collect();
                    self.crowd.wake();
                }
                Happens::Slice => {
                    self.crowd.wake_slice();
                }
                // Newcomers look by themselves: what came before them they need not be told.
                Happens::Joins(count) => {
                    (0..count).for_each(|_| self.crowd.join(Arc::new(Watcher::new(Arc::default(), None, 0))));
                }
                Happens::Leaves(count, at) => {
                    for _ in 0..count.min(self.crowd.len()) {
                        let slot = self.crowd.len() * at / 1_000;
                        self.owed.remove(&Arc::as_ptr(self.crowd.list[slot].wake()));
                        self.crowd.leave(slot);
                    }
                }
            }
            self.note_woken();
        }
    }

    proptest! {
        #[test]
        fn who_was_there_when_an_event_came_and_stays_is_woken_after_it(
            count in AT_ONCE_MAX - 40..AT_ONCE_MAX + 300,
            steps in prop::collection::vec(happens(), 0..60),
        ) {
            let mut owing = Owing { crowd: crowd(count).0, owed: HashSet::new() };
            for happens in steps {
                owing.meets(happens);
            }
            // Nobody is woken for ever, and nobody is left.
            let slices = owing.crowd.len().div_ceil(SLICE).max(1);
            (0..slices).for_each(|_| owing.meets(Happens::Slice));
            prop_assert!(owing.owed.is_empty(), "{} of {} were not woken", owing.owed.len(), owing.crowd.len());
            prop_assert!(!owing.crowd.queued);
        }
    }

    /// Newcomers stand at the end; where the rest of a pass goes on behind it, at the beginning, they push that rest back.
    #[test]
    fn who_joins_while_the_rest_of_a_pass_wraps_takes_nobodys_turn() {
        let mut owing = Owing { crowd: crowd(1_000).0, owed: HashSet::new() };
        for happens in [Happens::Event, Happens::Slice, Happens::Event, Happens::Joins(10)] {
            owing.meets(happens);
        }
        while owing.crowd.left > 0 {
            owing.meets(Happens::Slice);
        }
        assert_eq!(owing.owed.len(), 0);
    }

    /// Where the next slice begins is gone: it begins at the first.
    #[test]
    fn who_leaves_while_the_next_slice_begins_near_the_end_takes_nobodys_turn() {
        let mut owing = Owing { crowd: crowd(1_000).0, owed: HashSet::new() };
        owing.meets(Happens::Event);
        (0..8).for_each(|_| owing.meets(Happens::Slice));
        owing.meets(Happens::Event);
        (0..7).for_each(|_| owing.meets(Happens::Slice));
        assert_eq!((owing.crowd.turn, owing.crowd.left), (960, 552));
        owing.meets(Happens::Leaves(50, 600));
        while owing.crowd.left > 0 {
            owing.meets(Happens::Slice);
        }
        assert_eq!(owing.owed.len(), 0);
    }
}
