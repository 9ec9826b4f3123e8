//! One watcher of one generation, as its tail knows it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use protocol::live::FrameWish;

use super::{frames::Serial, tail::Tail, wake::Wake};

/// What tail and connection share of a subscription. The connection holds it through [`Watch`].
#[derive(Debug)]
pub(super) struct Watcher {
    wake: Arc<Wake>,
    /// Where the tail keeps it, so that leaving costs the same however many watch.
    slot: AtomicUsize,
    moved: AtomicBool,
    wish: Mutex<Option<FrameWish>>,
    frames_seen: AtomicU64,
}

impl Watcher {
    pub(super) fn new(wake: Arc<Wake>, wish: Option<FrameWish>, frames_seen: Serial) -> Self {
        Self {
            wake,
            slot: AtomicUsize::new(usize::MAX),
            moved: AtomicBool::new(true),
            wish: Mutex::new(wish),
            frames_seen: AtomicU64::new(frames_seen),
        }
    }

    /// Tells it that its tail has moved.
    pub(super) fn call(&self) {
        self.moved.store(true, Ordering::Release);
        self.wake.call();
    }

    pub(super) fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed)
    }

    pub(super) fn take_slot(&self, slot: usize) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) const fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    pub(super) fn wish(&self) -> Option<FrameWish> {
        *self.wish.lock()
    }

    pub(super) fn frames_seen(&self) -> Serial {
        self.frames_seen.load(Ordering::Relaxed)
    }
}

/// A connection's hold on a tail. Dropping it ends the watching.
#[derive(Debug)]
pub struct Watch {
    tail: Arc<Tail>,
    watcher: Arc<Watcher>,
}

impl Watch {
    pub(super) const fn new(tail: Arc<Tail>, watcher: Arc<Watcher>) -> Self {
        Self { tail, watcher }
    }

    /// What is watched.
    #[must_use]
    pub const fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Has the tail moved since the last call?
    #[must_use]
    pub fn moved(&self) -> bool {
        self.watcher.moved.swap(false, Ordering::AcqRel)
    }

    /// Looks again at the next gathering: it stopped before it had everything.
    pub fn again(&self) {
        self.watcher.moved.store(true, Ordering::Release);
    }

    /// Changes which frames it wants.
    pub fn wish(&self, wish: Option<FrameWish>) {
        *self.watcher.wish.lock() = wish;
        self.tail.wished(wish);
    }

    /// Says up to which frame it has taken, for those that slow the generator.
    pub fn frames_seen(&self, serial: Serial) {
        self.watcher.frames_seen.store(serial, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tail.leave(&self.watcher);
    }
}
