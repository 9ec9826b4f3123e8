//! When idle connections look at their clocks: one wheel for all of them, instead of a timer of the runtime each.
//!
//! Almost every deadline of a live connection is a ping that is seconds away, and none of those has to be met to the
//! millisecond: a nap ends up to a quarter of a second late. What is due sooner than [`NAP_MIN`] is a timer of the connection's
//! own. Every connection that waits has a nap, so the wheel is also how all of them learn that the server goes away.

use std::{
    mem,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The wheel turns so often, and a ping may be so late. Those of one turn wake the process once, and their pongs come
/// together too: with ten thousand connections that is an eighth of what idling costs at ten turns a second.
const TICK: Duration = Duration::from_millis(250);
/// 64 seconds: longer than any two pings are apart. A deadline beyond it is looked at once in between.
const SLOTS: u64 = 256;
/// Nearer deadlines use a timer of their own: being a whole tick late would matter there.
pub(crate) const NAP_MIN: Duration = Duration::from_secs(1);

/// The wheel. Holds a waker for each sleeping connection and nothing else.
pub(crate) struct Naps {
    slots: Box<[Mutex<Slot>]>,
    begun: Instant,
    /// The last tick whose slot was emptied. Written under that slot's lock.
    turned: AtomicU64,
    over: AtomicBool,
}

/// Those whose naps end in one tick. A place that was left is taken by the next who comes.
#[derive(Default)]
struct Slot {
    wakers: Vec<Option<Waker>>,
    left: Vec<u32>,
}

/// A connection's place in the wheel. To be given back with [`Naps::leave`].
#[derive(Debug, Default)]
pub(crate) struct Nap {
    /// The tick in which it ends; 0 for none.
    tick: u64,
    place: u32,
}

impl std::fmt::Debug for Naps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Naps").field("turned", &self.turned).finish_non_exhaustive()
    }
}

impl Naps {
    /// A wheel that begins to turn at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            begun: now,
            turned: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Does the server go away? Everybody is woken when it begins to.
    pub(crate) fn are_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Is this nap still to end?
    pub(crate) fn hold(&self, nap: &Nap) -> bool {
        nap.tick > self.turned.load(Ordering::Acquire)
    }

    /// Sees to it that the task of `cx` is woken about `until`, or before. A task takes all its naps with one waker.
    pub(crate) fn take(&self, nap: &mut Nap, until: Instant, cx: &Context<'_>) {
        let due = until.duration_since(self.begun).as_nanos().div_ceil(TICK.as_nanos());
        let turned = self.turned.load(Ordering::Acquire);
        // At least the next slot, and never the one that is next but a whole turn away.
        let tick = u64::try_from(due).unwrap_or(u64::MAX).clamp(turned + 1, turned + SLOTS - 1);
        if nap.tick > turned && nap.tick <= tick {
            // Woken then, it looks again.
            return;
        }
        self.leave(nap);
        let mut slot = self.slot(tick).lock();
        if self.turned.load(Ordering::Acquire) >= tick {
            // The wheel was faster.
            drop(slot);
            return cx.waker().wake_by_ref();
        }
        let place = slot.left.pop().unwrap_or_else(|| {
            slot.wakers.push(None);
            u32::try_from(slot.wakers.len() - 1).expect("fewer connections than descriptors")
        });
        slot.wakers[place as usize] = Some(cx.waker().clone());
        *nap = Nap { tick, place };
    }

    /// Gives the place back.
    pub(crate) fn leave(&self, nap: &mut Nap) {
        let Nap { tick, place } = mem::take(nap);
        if tick == 0 {
            return;
        }
        let mut slot = self.slot(tick).lock();
        // Otherwise the nap is over, and the place gone with it.
        if self.turned.load(Ordering::Acquire) < tick {
            slot.left.push(place);
            let waker = slot.wakers[place as usize].take();
            drop(slot);
            drop(waker);
        }
    }

    /// Turns the wheel for ever; whoever starts it ends it. When `stop` fires everybody is woken once.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.are_over() => self.wake_all(),
                _ = tick.tick() => self.turn(Instant::now()),
            }
        }
    }

    /// Wakes whose naps ended by `now`.
    fn turn(&self, now: Instant) {
        let now = u64::try_from(now.duration_since(self.begun).as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX);
        for tick in self.turned.load(Ordering::Acquire) + 1..=now {
            let mut slot = self.slot(tick).lock();
            self.turned.store(tick, Ordering::Release);
            let ended = mem::take(&mut *slot);
            drop(slot);
            ended.wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    fn wake_all(&self) {
        self.over.store(true, Ordering::Release);
        // Who comes to a slot after this has seen that it is over: both took its lock.
        for slot in &self.slots {
            slot.lock().wakers.iter().flatten().for_each(Waker::wake_by_ref);
        }
    }

    fn slot(&self, tick: u64) -> &Mutex<Slot> {
        &self.slots[usize::try_from(tick % SLOTS).expect("below 256")]
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Sleeper {
        bell: Arc<Bell>,
        waker: Waker,
        nap: Nap,
    }

    impl Sleeper {
        fn new() -> Self {
            let bell = Arc::new(Bell::default());
            Self { waker: Waker::from(Arc::clone(&bell)), bell, nap: Nap::default() }
        }

        fn rung(&self) -> usize {
            self.bell.0.load(Ordering::Relaxed)
        }
    }

    /// A wheel and its clock, moved by hand.
    struct Bed {
        naps: Naps,
        now: Instant,
    }

    impl Bed {
        fn new() -> Self {
            let now = Instant::now();
            Self { naps: Naps::new(now), now }
        }

        fn take(&self, sleeper: &mut Sleeper, after_ms: u64) {
            let until = self.now + Duration::from_millis(after_ms);
            self.naps.take(&mut sleeper.nap, until, &Context::from_waker(&sleeper.waker));
        }

        fn pass(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
            self.naps.turn(self.now);
        }
    }

    #[test]
    fn a_nap_ends_when_it_is_due_and_at_most_a_tick_later() {
        let tick = TICK.as_millis() as u64;
        let mut bed = Bed::new();
        for after in [1_000, 1_050, 12_345, 30_000] {
            let mut sleeper = Sleeper::new();
            bed.take(&mut sleeper, after);
            bed.pass(after - 1);
            assert_eq!((sleeper.rung(), bed.naps.hold(&sleeper.nap)), (0, true), "{after}");
            bed.pass(tick + 1);
            assert_eq!((sleeper.rung(), bed.naps.hold(&sleeper.nap)), (1, false), "{after}");
        }
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_looked_at_before() {
        let (mut bed, mut sleeper) = (Bed::new(), Sleeper::new());
        bed.take(&mut sleeper, 3_600_000);
        bed.pass(SLOTS * TICK.as_millis() as u64);
        assert_eq!(sleeper.rung(), 1);
    }

    #[test]
    fn an_earlier_deadline_moves_the_nap_and_a_later_one_does_not() {
        let (mut bed, mut sleeper) = (Bed::new(), Sleeper::new());
        for after in [20_000, 5_000, 40_000] {
            bed.take(&mut sleeper, after);
        }
        bed.pass(5_100);
        assert_eq!(sleeper.rung(), 1);
        bed.pass(60_000);
        assert_eq!(sleeper.rung(), 1, "the first place was given back");
    }

    #[test]
    fn who_left_is_neither_woken_nor_kept() {
        let (mut bed, mut sleeper) = (Bed::new(), Sleeper::new());
        for _ in 0..1_000 {
            bed.take(&mut sleeper, 5_000);
            bed.naps.leave(&mut sleeper.nap);
        }
        let places: usize = bed.naps.slots.iter().map(|slot| slot.lock().wakers.len()).sum();
        assert_eq!(places, 1, "a place that was left is taken again");
        let Sleeper { bell, waker, .. } = sleeper;
        drop(waker);
        assert_eq!(Arc::strong_count(&bell), 1);
        bed.pass(6_000);
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_nap_that_ended_meanwhile_gives_nobody_elses_place_back() {
        let (mut bed, mut first, mut second) = (Bed::new(), Sleeper::new(), Sleeper::new());
        let tick = TICK.as_millis() as u64;
        bed.take(&mut first, 2 * tick);
        bed.pass(3 * tick);
        // The same slot and place, a turn of the wheel later.
        let turn = SLOTS * tick;
        bed.take(&mut second, turn - tick);
        assert_eq!((second.nap.tick - first.nap.tick, second.nap.place), (SLOTS, first.nap.place));
        bed.naps.leave(&mut first.nap);
        bed.pass(turn);
        assert_eq!((first.rung(), second.rung()), (1, 1));
    }

    #[test]
    fn everybody_is_woken_when_the_server_goes_away_and_naps_go_on() {
        let mut bed = Bed::new();
        let mut sleepers: Vec<_> = (0..100).map(|_| Sleeper::new()).collect();
        for (at, sleeper) in sleepers.iter_mut().enumerate() {
            bed.take(sleeper, 1_000 + 300 * at as u64);
        }
        assert!(!bed.naps.are_over());
        bed.naps.wake_all();
        assert!(bed.naps.are_over());
        assert!(sleepers.iter().all(|sleeper| sleeper.rung() == 1));
        bed.pass(40_000);
        assert!(sleepers.iter().all(|sleeper| sleeper.rung() == 2));
    }
}
