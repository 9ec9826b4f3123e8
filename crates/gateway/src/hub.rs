//! All tails of this node, and the one listener of the bus that feeds them.
//!
//! Owns which generations have a tail, who hears of new generations, and what the node says about demand. It reads no
//! log and knows no connection: watchers hold a [`Watch`] and look when they are woken.

mod fan;
mod frames;
mod interest;
mod log;
mod owners;
mod tail;
mod wake;
mod watcher;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bus::{Bus, Interest, Listener, Signal};
use parking_lot::Mutex;
use protocol::{Event, GenerationId, TenantId, Timestamp, UserId, limits, live::FrameWish};
use store::History;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{fan::Fan, owners::Owners};
pub use self::{
    frames::{Frames, Held, Keep, Serial, Size},
    log::Log,
    owners::{Follow, Fresh},
    tail::{Recent, Tail},
    wake::Wake,
    watcher::Watch,
};
use crate::{counts::Counter, encode::Encoded, node::Clock};

/// Locks the map is spread over: enough that two cores rarely meet, few enough to walk.
const SHARDS: usize = 64;
/// Tails kept that nobody watches; the one idle longest goes first. At 8 events each they come to a few megabytes.
const TAILS_UNWATCHED_MAX: usize = 1_024;
/// Demand is repeated so often while somebody watches; nodes forget it after five seconds.
const INTEREST_INTERVAL: Duration = Duration::from_secs(2);
/// One shard of it at a time.
const INTEREST_STEP: Duration = Duration::from_micros(INTEREST_INTERVAL.as_micros() as u64 / SHARDS as u64);
/// Changes of demand are collected for so long: at most four a second leave for one generation.
const INTEREST_PAUSE: Duration = Duration::from_millis(250);
/// Heads of watched generations are compared with the log so often, in case the bus lost the last event of one.
const HEADS_INTERVAL: Duration = Duration::from_secs(15);
/// Generations whose heads are asked for in one read.
const HEADS_PAGE: usize = 500;
/// Whoever comes back within so long, in milliseconds, has not left: a reload, or a pause between two long-polls.
const WATCHER_BACK_MS: u64 = 10_000;

type Shard = HashMap<GenerationId, Arc<Tail>>;

/// An unwatched tail, waiting to be forgotten.
struct Idle {
    generation: GenerationId,
    ticket: u64,
    since: Timestamp,
}

#[derive(Default)]
struct IdleQueue {
    queue: VecDeque<Idle>,
    ticket: u64,
}

/// The tails of this node.
pub struct Hub {
    this: Weak<Self>,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    owners: Owners,
    idle: Mutex<IdleQueue>,
    changed: Mutex<Vec<Arc<Tail>>>,
    notify: Notify,
    fan: Fan,
    clock: Clock,
    /// Generations whose last watcher left before the end, and was not back in time.
    abandoned: Counter,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("tails", &self.tails()).finish_non_exhaustive()
    }
}

impl Hub {
    /// An empty hub. Add it to the bus as a listener, and [`run`](Self::run) it.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            owners: Owners::default(),
            idle: Mutex::default(),
            changed: Mutex::default(),
            notify: Notify::new(),
            fan: Fan::default(),
            clock,
            abandoned: Counter::default(),
        })
    }

    /// Generations that ended, or were forgotten, when everybody who had watched them was gone.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.abandoned.get()
    }

    /// The tail of a generation, if there is one.
    #[must_use]
    pub fn tail(&self, generation: &GenerationId) -> Option<Arc<Tail>> {
        self.shard(generation).lock().get(generation).cloned()
    }

    /// The latest ephemeral status, where it stands on `event`, the newest there is.
    #[must_use]
    pub fn hint_on(&self, event: &Event) -> Option<Arc<Encoded>> {
        let hint =
            self.tail(&event.generation_id)?.look(|recent| recent.hint.as_ref().map(|(_, hint)| Arc::clone(hint)))?;
        (hint.event().sequence == event.sequence && !event.kind.is_terminal()).then_some(hint)
    }

    /// Starts to watch a generation, known or not. What was committed before is not in its tail until it is seeded:
    /// read the log after this call, not before, and nothing falls in between.
    #[must_use]
    pub fn watch(&self, generation: &GenerationId, wake: Arc<Wake>, wish: Option<FrameWish>) -> Watch {
        // Joined under the lock: otherwise the tail could be forgotten between finding and joining it.
        let mut shard = self.shard(generation).lock();
        let tail = shard
            .entry(generation.clone())
            .or_insert_with(|| Arc::new(Tail::new(generation.clone(), Weak::clone(&self.this))));
        tail.join(wake, wish)
    }

    /// Starts to hear of new generations of one owner.
    #[must_use]
    pub fn follow(&self, tenant: &TenantId, user: &UserId, wake: Arc<Wake>) -> Follow {
        self.owners.follow(tenant, user, wake)
    }

    /// How many tails there are.
    #[must_use]
    pub fn tails(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// How many generations are watched, each counted once.
    #[must_use]
    pub fn watched(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().values().filter(|t| t.watching() > 0).count();
        self.shards.iter().map(count).sum()
    }

    /// Says who looks, forgets idle tails and compares heads, until `stop` fires.
    pub async fn run(&self, bus: Arc<dyn Bus>, history: Arc<dyn History>, stop: CancellationToken) {
        // One shard at a time: said at once, the demand for ten thousand tails would hold up every event behind it.
        let mut repeat = tokio::time::interval(INTEREST_STEP);
        let mut turns = self.shards.iter().cycle();
        let mut heads = tokio::time::interval(HEADS_INTERVAL);
        let (mut pause, mut pausing) = (pin!(tokio::time::sleep(INTEREST_PAUSE)), false);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = repeat.tick() => {
                    if let Some(shard) = turns.next() {
                        self.announce_again(shard, &*bus);
                    }
                    self.forget_idle();
                }
                _ = heads.tick() => self.compare_heads(&*history).await,
                () = pause.as_mut(), if pausing => pausing = false,
                // Last, because it may always be ready.
                () = self.notify.notified(), if !pausing => {
                    self.announce_changes(&*bus);
                    pause.as_mut().reset(Instant::now() + INTEREST_PAUSE);
                    pausing = true;
                }
            }
        }
    }

    /// Wakes crowds slice by slice, until `stop` fires. Beside [`Self::run`], which may wait for the log.
    pub async fn run_fan(&self, stop: CancellationToken) {
        self.fan.run(stop).await;
    }

    pub(super) fn fan_out(&self, tail: &Tail) {
        // Under its own name, for the queue holds it; a tail that was forgotten has nobody to wake.
        if let Some(tail) = self.tail(tail.generation()) {
            self.fan.push(tail);
        }
    }

    pub(super) fn changed(&self, tail: &Arc<Tail>) {
        self.changed.lock().push(Arc::clone(tail));
        self.notify.notify_one();
    }

    /// Takes a tail that nobody watches into the queue of those to forget.
    pub(super) fn idle(&self, tail: &Arc<Tail>) {
        if tail.look(|recent| recent.deleted || recent.log.newest().is_none()) {
            // Nothing in it: an unknown id was asked for, or the generation is gone.
            self.forget(tail.generation(), None);
            return;
        }
        let overflow = {
            let mut idle = self.idle.lock();
            idle.ticket += 1;
            let ticket = idle.ticket;
            tail.idle_ticket.store(ticket, Ordering::Relaxed);
            idle.queue.push_back(Idle { generation: tail.generation().clone(), ticket, since: (self.clock)() });
            if idle.queue.len() > TAILS_UNWATCHED_MAX { idle.queue.pop_front() } else { None }
        };
        if let Some(oldest) = overflow {
            self.forget(&oldest.generation, Some(oldest.ticket));
        }
    }

    fn shard(&self, generation: &GenerationId) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(generation);
        &self.shards[usize::try_from(hash % SHARDS as u64).expect("below 64")]
    }

    /// Removes the tail if nobody watches it, and if it is still the one the ticket was given to.
    fn forget(&self, generation: &GenerationId, ticket: Option<u64>) {
        let mut shard = self.shard(generation).lock();
        let current = shard.get(generation).is_some_and(|tail| {
            tail.watching() == 0 && ticket.is_none_or(|t| tail.idle_ticket.load(Ordering::Relaxed) == t)
        });
        let forgotten = if current { shard.remove(generation) } else { None };
        drop(shard);
        // Nobody was back for as long as a tail is kept; its end will find another tail.
        if let Some(tail) = &forgotten {
            self.ended(tail);
        }
        drop(forgotten);
    }

    /// Counts a generation that ended while nobody looked who had looked before.
    fn ended(&self, tail: &Tail) {
        let left = tail.take_left();
        if tail.watching() == 0 && left.is_some_and(|left| (self.clock)().since(left) >= WATCHER_BACK_MS) {
            self.abandoned.add(1);
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn forget_idle(&self) {
        let now = (self.clock)();
        loop {
            let oldest = {
                let mut idle = self.idle.lock();
                let due = |i: &Idle| now.since(i.since) > limits::FINISHED_IN_MEMORY_MS;
                if idle.queue.front().is_some_and(due) { idle.queue.pop_front() } else { None }
            };
            let Some(oldest) = oldest else { break };
            self.forget(&oldest.generation, Some(oldest.ticket));
        }
    }

    fn hear_events(&self, events: &Arc<[Arc<Event>]>) {
        let Some(first) = events.first() else { return };
        let mut is_new = first.sequence.0 <= 1;
        let tail = {
            let mut shard = self.shard(&first.generation_id).lock();
            let fresh = || {
                is_new = true;
                Arc::new(Tail::new(first.generation_id.clone(), Weak::clone(&self.this)))
            };
            Arc::clone(shard.entry(first.generation_id.clone()).or_insert_with(fresh))
        };
        let unwatched = tail.watching() == 0;
        tail.append(events);
        if events.last().is_some_and(|event| event.kind.is_terminal()) {
            self.ended(&tail);
        }
        if is_new {
            self.owners.announce(first);
            if unwatched {
                self.idle(&tail);
            }
        }
    }

    fn announce_changes(&self, bus: &dyn Bus) {
        let changed = std::mem::take(&mut *self.changed.lock());
        let news = |tail: Arc<Tail>| {
            let interest = tail.take_dirty().then(|| tail.interest())?;
            let known = tail.announced.lock().replace(interest.clone());
            (known.as_ref() != Some(&interest)).then_some(interest)
        };
        announce(bus, changed.into_iter().filter_map(news).collect());
    }

    /// Repeats who looks at the tails of one shard, in case somebody did not hear.
    fn announce_again(&self, shard: &Mutex<Shard>, bus: &dyn Bus) {
        let watched: Vec<_> = shard.lock().values().filter(|tail| tail.watching() > 0).cloned().collect();
        let mut said = Vec::with_capacity(watched.len());
        for tail in watched {
            if tail.look(|recent| recent.log.newest().is_some_and(|newest| newest.event().kind.is_terminal())) {
                continue;
            }
            let interest = tail.interest();
            *tail.announced.lock() = Some(interest.clone());
            said.push(interest);
        }
        announce(bus, said);
    }

    async fn compare_heads(&self, history: &dyn History) {
        let mut watched = Vec::new();
        for shard in &self.shards {
            watched.extend(shard.lock().values().filter(|tail| tail.watching() > 0).cloned());
        }
        for page in watched.chunks(HEADS_PAGE) {
            let ids: Vec<_> = page.iter().map(|tail| tail.generation().clone()).collect();
            let Ok(heads) = history.heads(&ids).await else { return };
            for (generation, head) in heads {
                if let Some(tail) = self.tail(&generation) {
                    tail.heard_of(head);
                }
            }
        }
    }
}

/// One signal for all of them.
fn announce(bus: &dyn Bus, interests: Vec<Interest>) {
    if !interests.is_empty() {
        bus.publish(Signal::Interest(interests.into()));
    }
}

impl Listener for Hub {
    fn hear(&self, signal: &Signal) {
        match signal {
            Signal::Events(events) => self.hear_events(events),
            Signal::Hint(hint) => {
                if let Some(tail) = self.tail(&hint.status.generation_id) {
                    tail.hint(hint);
                }
            }
            Signal::Frame(frame) => {
                if let Some(tail) = self.tail(&frame.generation) {
                    tail.frame(frame);
                }
            }
            Signal::Interest(_) => {}
            Signal::Deleted(generation) => {
                if let Some(tail) = self.tail(generation) {
                    tail.delete();
                    self.forget(generation, None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
