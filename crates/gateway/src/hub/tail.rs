//! The tail of one generation: what came last, in memory, and who waits for what comes next.
//!
//! Writers append and wake; they never wait for a reader. A tail may miss anything: it finds holes by sequence and sends
//! its readers to the log.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use bus::{Frame, Interest};
use parking_lot::{Mutex, MutexGuard};
use protocol::{Event, GenerationId, Hint, Sequence, Tick, Timestamp, live::FrameWish};

use super::{
    Hub,
    fan::Crowd,
    frames::{Frames, Keep, Serial, Size},
    interest,
    log::Log,
    wake::Wake,
    watcher::{Watch, Watcher},
};
use crate::encode::Encoded;

/// Events a tail keeps that nobody watches: a latecomer still needs no read, and a thousand of them stay small.
const UNWATCHED_EVENTS_MAX: usize = 8;

/// What readers look at, under one lock held for lines.
#[derive(Debug, Default)]
pub struct Recent {
    /// The last events.
    pub log: Log,
    /// The last hint, and its number in this tail.
    pub hint: Option<(Tick, Arc<Encoded>)>,
    /// The last frames.
    pub frames: Frames,
    /// The generation was deleted.
    pub deleted: bool,
}

/// One generation's tail.
#[derive(Debug)]
pub struct Tail {
    generation: GenerationId,
    recent: Mutex<Recent>,
    watchers: Mutex<Crowd>,
    watching: AtomicUsize,
    wants_every_frame: AtomicBool,
    /// Which entry of the idle queue is the current one; see `hub`.
    pub(super) idle_ticket: AtomicU64,
    pub(super) announced: Mutex<Option<Interest>>,
    dirty: AtomicBool,
    /// When the last watcher left an unfinished generation; 0 while somebody watches, or nobody ever did.
    left_at: AtomicU64,
    hub: Weak<Hub>,
}

impl Tail {
    pub(super) fn new(generation: GenerationId, hub: Weak<Hub>) -> Self {
        Self {
            generation,
            recent: Mutex::default(),
            watchers: Mutex::default(),
            watching: AtomicUsize::new(0),
            wants_every_frame: AtomicBool::new(false),
            idle_ticket: AtomicU64::new(0),
            announced: Mutex::default(),
            dirty: AtomicBool::new(false),
            left_at: AtomicU64::new(0),
            hub,
        }
    }

    /// Whose tail it is.
    #[must_use]
    pub const fn generation(&self) -> &GenerationId {
        &self.generation
    }

    /// Looks at what it holds. `look` must be short: writers wait for the lock.
    pub fn look<T>(&self, look: impl FnOnce(&Recent) -> T) -> T {
        look(&self.recent.lock())
    }

    /// The newest event, if it is in memory.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Encoded>> {
        self.look(|recent| recent.log.newest().cloned())
    }

    /// Learns the newest event from the log, where the bus has not brought it.
    pub fn seed(&self, event: Event) {
        // What the log knows and the bus never said: those who already watch have to hear of it, too.
        if self.recent.lock().log.seed(Encoded::one(event)) {
            self.wake();
        }
    }

    /// Learns how far the log goes.
    pub fn heard_of(&self, head: Sequence) {
        if self.recent.lock().log.heard_of(head) {
            self.wake();
        }
    }

    /// How many watch it.
    #[must_use]
    pub fn watching(&self) -> usize {
        self.watching.load(Ordering::Relaxed)
    }

    pub(super) fn append(&self, events: &Arc<[Arc<Event>]>) {
        let mut moved = false;
        {
            let mut recent = self.recent.lock();
            for event in events.iter().cloned().map(Encoded::one) {
                moved |= recent.log.append(event);
            }
            if self.watching() == 0 {
                recent.log.shrink(UNWATCHED_EVENTS_MAX);
            }
        }
        if moved {
            self.wake();
        }
    }

    pub(super) fn hint(&self, hint: &Arc<Hint>) {
        {
            let mut recent = self.recent.lock();
            let newer = recent
                .hint
                .as_ref()
                .is_none_or(|(tick, held)| (hint.status.sequence, hint.tick) > (held.event().sequence, *tick));
            if !newer {
                return;
            }
            recent.hint = Some((hint.tick, Encoded::hint(Arc::clone(hint))));
        }
        self.wake();
    }

    pub(super) fn frame(self: &Arc<Self>, frame: &Arc<Frame>) {
        {
            let keep = if self.wants_every_frame.load(Ordering::Relaxed) { Keep::Every } else { Keep::Newest };
            let mut recent = self.recent.lock();
            if !recent.frames.insert(Arc::clone(frame), keep) {
                return;
            }
            if self.watching() == 0 {
                recent.frames.shrink();
            }
        }
        if self.wants_every_frame.load(Ordering::Relaxed) {
            self.interest_changed();
        }
        self.wake();
    }

    pub(super) fn delete(&self) {
        self.recent.lock().deleted = true;
        self.wake();
    }

    pub(super) fn join(self: &Arc<Self>, wake: Arc<Wake>, wish: Option<FrameWish>) -> Watch {
        // The newest picture is for latecomers, too: they start one before it.
        let seen: Serial = self.look(|recent| recent.frames.last().saturating_sub(1));
        let watcher = Arc::new(Watcher::new(wake, wish, seen));
        {
            let mut watchers = self.watchers.lock();
            watchers.join(Arc::clone(&watcher));
            self.watching.store(watchers.len(), Ordering::Relaxed);
        }
        self.left_at.store(0, Ordering::Relaxed);
        self.wished(wish);
        Watch::new(Arc::clone(self), watcher)
    }

    /// A watcher wants other frames than before.
    pub(super) fn wished(self: &Arc<Self>, wish: Option<FrameWish>) {
        // At once, not with the next announcement: what comes meanwhile must not replace what it was promised.
        if wish.as_ref().is_some_and(interest::wants_every) {
            self.wants_every_frame.store(true, Ordering::Relaxed);
        }
        self.interest_changed();
    }

    fn note_leaving(&self) {
        let unfinished = self.look(|recent| recent.log.newest().is_some_and(|one| !one.event().kind.is_terminal()));
        if let Some(hub) = self.hub.upgrade().filter(|_| unfinished) {
            self.left_at.store(hub.now().0.max(1), Ordering::Relaxed);
        }
    }

    /// When the last watcher left an unfinished generation, told once.
    pub(super) fn take_left(&self) -> Option<Timestamp> {
        Some(Timestamp(self.left_at.swap(0, Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    pub(super) fn leave(self: &Arc<Self>, watcher: &Watcher) {
        let left = {
            let mut watchers = self.watchers.lock();
            watchers.leave(watcher.slot());
            self.watching.store(watchers.len(), Ordering::Relaxed);
            watchers.len()
        };
        if left == 0 {
            self.note_leaving();
            let mut recent = self.recent.lock();
            recent.log.shrink(UNWATCHED_EVENTS_MAX);
            recent.frames.shrink();
            drop(recent);
            if let Some(hub) = self.hub.upgrade() {
                hub.idle(self);
            }
        }
        self.interest_changed();
    }

    /// Who looks, summed up over all watchers of this node.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let watchers = self.watchers.lock();
        let requesters: Vec<_> = watchers
            .iter()
            .filter_map(|watcher| Some((watcher.frames_seen(), watcher.wish().filter(interest::wants_every)?)))
            .collect();
        self.wants_every_frame.store(!requesters.is_empty(), Ordering::Relaxed);
        let slow = self.look(|recent| {
            let waiting = |(seen, wish): &(Serial, FrameWish)| recent.frames.waiting(*seen, Size::of(wish.max_width));
            requesters.iter().map(|requester| interest::slow(waiting(requester))).fold(1.0, f64::max)
        });
        interest::sum(&self.generation, watchers.iter().map(|w| w.wish()), slow)
    }

    /// Has it changed since the last call? See [`Self::interest_changed`].
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// Somebody came, left, or wants something else: the hub will say so to the worker.
    pub fn interest_changed(self: &Arc<Self>) {
        if !self.dirty.swap(true, Ordering::AcqRel)
            && let Some(hub) = self.hub.upgrade()
        {
            hub.changed(self);
        }
    }

    fn wake(&self) {
        if self.watchers.lock().wake()
            && let Some(hub) = self.hub.upgrade()
        {
            hub.fan_out(self);
        }
    }

    pub(super) fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.watchers.lock()
    }
}
