//! Pages of the log for watchers behind their tail: read once for everybody who needs the same one, and with a place kept for
//! those who are live.
//!
//! Pages are cut at multiples of their size, so that watchers who return from different positions meet on the same ones. A page
//! lives as long as somebody is sent from it; nothing is kept beyond that. The newest events of generations are read in
//! `pages/states.rs`, in the same places.

mod states;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use protocol::{GenerationId, Sequence, limits};
use store::{History, Latest, StoreError, StoredEvent};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use self::states::States;
use crate::{counts::Counts, cursor::Window, encode::Encoded};

/// Pages remembered before those that nobody needs are swept: more than those of a crowd that returns to a hundred generations.
const SHARED_SWEPT_AT: usize = 256;

/// For whom the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Somebody who just came and catches up. Thousands may do so at once, after a deploy.
    Newcomer,
    /// Somebody who was live and fell behind.
    Live,
}

/// A stretch of a generation's log, each event encoded once for all who get it from here.
#[derive(Debug)]
pub struct Page {
    events: Box<[Arc<Encoded>]>,
}

impl Page {
    /// What a read of the log brought.
    #[must_use]
    pub fn new(events: Vec<StoredEvent>) -> Self {
        Self { events: events.into_iter().map(|stored| Encoded::one(stored.event)).collect() }
    }

    /// The event `sequence`, if it is held.
    #[must_use]
    pub fn get(&self, sequence: Sequence) -> Option<&Arc<Encoded>> {
        let first = self.events.first()?.event().sequence;
        self.events.get(usize::try_from(sequence.0.checked_sub(first.0)?).ok()?)
    }

    /// The newest event it holds.
    #[must_use]
    pub fn last(&self) -> Option<Sequence> {
        self.events.last().map(|event| event.event().sequence)
    }

    /// Where a watcher at `after` finds its page: what its read begins after.
    const fn begins(after: Sequence) -> Sequence {
        const SIZE: u64 = limits::PAGE_EVENTS_MAX as u64;
        Sequence(after.0 / SIZE * SIZE)
    }
}

/// A page as a watcher sees it who knows how far the log goes.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// The page, which holds or could hold what the watcher lacks.
    pub page: &'a Page,
    /// The newest event known to be committed.
    pub head: Sequence,
}

impl Window for Stretch<'_> {
    fn first(&self) -> Sequence {
        self.page.events.first().map_or_else(|| self.head.next(), |event| event.event().sequence)
    }
    fn last(&self) -> Sequence {
        self.page.last().unwrap_or(self.head)
    }
    fn head(&self) -> Sequence {
        self.head
    }
    fn is_oldest(&self) -> bool {
        // It was read from before the watcher's place on: what it does not begin with is gone.
        true
    }
    fn is_superseded(&self, sequence: Sequence) -> bool {
        self.page.get(sequence).is_some_and(|event| event.event().kind.is_superseded_by_newer())
    }
}

/// One read, under way or done.
type Flight = OnceCell<Arc<Page>>;
/// A generation and where the page begins.
type Key = (GenerationId, Sequence);

/// A page somebody reads, or is sent from.
#[derive(Default)]
struct Shared {
    /// Begun by a newcomer.
    flight: Weak<Flight>,
    /// Begun by somebody who is live: for them a newcomer's read would mean the newcomer's place behind the crowd.
    live: Weak<Flight>,
    page: Weak<Page>,
}

/// What there is of a page.
enum Found {
    /// It is in memory, with the event that is needed.
    Page(Arc<Page>),
    /// It is being read; whether by whoever asked now.
    Flight(Arc<Flight>, bool),
}

/// Reads for watchers: few at once, and none twice.
pub(crate) struct Pages {
    history: Arc<dyn History>,
    shared: Mutex<HashMap<Key, Shared>>,
    places: Semaphore,
    newcomers: Semaphore,
    states: States,
}

/// A right to read, given back when dropped.
pub(crate) struct Place<'a> {
    _any: SemaphorePermit<'a>,
    _newcomer: Option<SemaphorePermit<'a>>,
}

impl Pages {
    /// Reads from `history`, at most `reads_max` at once; one of them is never taken by a newcomer.
    pub(crate) fn new(history: Arc<dyn History>, reads_max: usize) -> Self {
        let reads_max = reads_max.max(2);
        Self {
            history,
            shared: Mutex::default(),
            places: Semaphore::new(reads_max),
            newcomers: Semaphore::new(reads_max - 1),
            states: States::default(),
        }
    }

    /// The page in which a watcher at `after` goes on. It holds the next event, if that was committed before this call and is
    /// not gone.
    ///
    /// # Errors
    /// The store's, for each who waited.
    ///
    /// # Cancel safety
    /// May be dropped; who waits for the same page reads it then.
    pub(crate) async fn read(
        &self,
        generation: &GenerationId,
        after: Sequence,
        reader: Reader,
        counts: &Counts,
    ) -> Result<Arc<Page>, StoreError> {
        let key = (generation.clone(), Page::begins(after));
        loop {
            let (flight, is_own) = match self.find(&key, after.next(), reader) {
                Found::Page(page) => {
                    counts.log_pages_shared.add(1);
                    return Ok(page);
                }
                Found::Flight(flight, is_own) => (flight, is_own),
            };
            let mut read = false;
            let page = flight.get_or_try_init(|| {
                read = true;
                self.fetch(&key, reader)
            });
            let page = Arc::clone(page.await?);
            if read {
                counts.log_pages.add(1);
                self.arrived(&key, &flight, &page);
            }
            // A read that began before this call may have missed what was committed in between: then another one is needed.
            if read || is_own || page.get(after.next()).is_some() {
                counts.log_pages_shared.add(u64::from(!read));
                return Ok(page);
            }
            self.part(&key, &flight);
        }
    }

    /// The newest event of a generation, for a newcomer. Whoever gets a place to read reads for those who wait for one, too.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// May be dropped; those it read for ask again.
    pub(crate) async fn latest(&self, generation: &GenerationId) -> Result<Option<Latest>, StoreError> {
        self.states.latest(generation, self).await
    }

    /// A place among the newcomers, for reads of other kinds: lists of what there is to watch.
    pub(crate) async fn enter(&self) -> Place<'_> {
        self.place(Reader::Newcomer).await
    }

    async fn fetch(&self, (generation, after): &Key, reader: Reader) -> Result<Arc<Page>, StoreError> {
        let _place = self.place(reader).await;
        let events = self.history.events_after(generation, *after, limits::PAGE_EVENTS_MAX).await?;
        Ok(Arc::new(Page::new(events)))
    }

    /// Waits for a place, in the order of coming; who is live never waits for the whole crowd.
    async fn place(&self, reader: Reader) -> Place<'_> {
        const OPEN: &str = "nobody closes it";
        let newcomer = match reader {
            Reader::Newcomer => Some(self.newcomers.acquire().await.expect(OPEN)),
            Reader::Live => None,
        };
        Place { _any: self.places.acquire().await.expect(OPEN), _newcomer: newcomer }
    }

    /// The page, if somebody has it with event `wanted` in it, or else the read that brings it.
    fn find(&self, key: &Key, wanted: Sequence, reader: Reader) -> Found {
        let mut shared = self.shared.lock();
        if shared.len() >= SHARED_SWEPT_AT {
            shared.retain(|_, one| one.is_needed());
        }
        let one = shared.entry(key.clone()).or_default();
        if let Some(page) = one.page.upgrade().filter(|page| page.get(wanted).is_some()) {
            return Found::Page(page);
        }
        let newcomers = || one.flight.upgrade().filter(|_| reader == Reader::Newcomer);
        if let Some(flight) = one.live.upgrade().or_else(newcomers) {
            return Found::Flight(flight, false);
        }
        let flight = Arc::<Flight>::default();
        let begun = match reader {
            Reader::Newcomer => &mut one.flight,
            Reader::Live => &mut one.live,
        };
        *begun = Arc::downgrade(&flight);
        Found::Flight(flight, true)
    }

    fn arrived(&self, key: &Key, flight: &Arc<Flight>, page: &Arc<Page>) {
        if let Some(one) = self.shared.lock().get_mut(key).filter(|one| one.is_of(flight)) {
            one.page = Arc::downgrade(page);
        }
    }

    /// Has the next who needs this page read it anew.
    fn part(&self, key: &Key, flight: &Arc<Flight>) {
        let mut shared = self.shared.lock();
        if shared.get(key).is_some_and(|one| one.is_of(flight)) {
            shared.remove(key);
        }
    }
}

impl Shared {
    fn is_of(&self, flight: &Arc<Flight>) -> bool {
        [&self.flight, &self.live].iter().any(|one| std::ptr::eq(one.as_ptr(), Arc::as_ptr(flight)))
    }

    fn is_needed(&self) -> bool {
        self.flight.strong_count() + self.live.strong_count() + self.page.strong_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{future::join_all, poll};
    use store::{
        Store as _,
        conformance::sample,
        sqlite::{Options, Sqlite},
    };

    use super::*;

    const EVENTS: u64 = 600;
    const SIZE: u64 = limits::PAGE_EVENTS_MAX as u64;

    struct Bed {
        pages: Pages,
        counts: Counts,
        store: Arc<Sqlite>,
        generation: GenerationId,
        _folder: tempfile::TempDir,
    }

    impl Bed {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = Options {
                folder: folder.path().to_owned(),
                now: protocol::Timestamp(1),
                random: [3; 6],
                on_commit: Arc::new(|_| {}),
                readers: 2,
                weights: HashMap::new(),
            };
            let store = Arc::new(Sqlite::open(options).unwrap());
            let generation = sample::generation("pages");
            let create = sample::create(&generation, sample::row("default", protocol::State::Running));
            assert!(store.commit(vec![create]).await[0].is_ok());
            let bed = Self {
                pages: Pages::new(Arc::clone(&store) as _, 3),
                counts: Counts::default(),
                store,
                generation,
                _folder: folder,
            };
            bed.append(1, EVENTS - 1).await;
            bed
        }

        async fn append(&self, expected: u64, count: u64) {
            let change =
                sample::change(&self.generation, &format!("c{expected}"), expected, usize::try_from(count).unwrap());
            let answers = self.store.commit(vec![change]).await;
            assert!(answers[0].is_ok(), "{answers:?}");
        }

        async fn read(&self, after: u64) -> Arc<Page> {
            self.pages.read(&self.generation, Sequence(after), Reader::Newcomer, &self.counts).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_crowd_that_returns_to_one_generation_reads_each_page_once() {
        let bed = Bed::new().await;
        let pages = join_all((0..100).map(|n| bed.read(n * 5))).await;
        for (n, page) in (0..).zip(&pages) {
            assert_eq!(page.get(Sequence(n * 5 + 1)).unwrap().event().sequence.0, n * 5 + 1);
        }
        assert_eq!(bed.counts.log_pages.get(), 2, "places 0 to 495 lie in two pages");
        assert_eq!(bed.counts.log_pages_shared.get(), 98);
        // As long as somebody is sent from them; afterwards nothing is kept.
        bed.read(7).await;
        assert_eq!(bed.counts.log_pages.get(), 2);
        drop(pages);
        bed.read(7).await;
        assert_eq!(bed.counts.log_pages.get(), 3);
    }

    #[tokio::test]
    async fn a_page_read_before_the_newest_event_is_not_given_to_who_needs_it() {
        let bed = Bed::new().await;
        let before = bed.read(EVENTS - 1).await;
        bed.append(EVENTS, 5).await;
        let after = bed.read(EVENTS).await;
        assert!(before.get(Sequence(EVENTS + 1)).is_none());
        assert_eq!(after.last(), Some(Sequence(EVENTS + 5)));
    }

    #[tokio::test]
    async fn a_crowd_that_asks_for_states_gets_each_its_own_though_some_of_it_leave() {
        let bed = Bed::new().await;
        let mut crowd = Vec::new();
        for n in 0..300 {
            let generation = sample::generation(&format!("crowd{n}"));
            if n % 3 > 0 {
                let create = sample::create(&generation, sample::row("default", protocol::State::Running));
                assert!(bed.store.commit(vec![create]).await[0].is_ok());
            }
            crowd.push(generation);
        }
        // These ask first, one of them begins to read for others, and all are gone.
        let mut leaving: Vec<_> = crowd.iter().map(|generation| Box::pin(bed.pages.latest(generation))).collect();
        let mut waiting = 0;
        for asked in &mut leaving {
            // Who begins to read may have its answer at once.
            waiting += usize::from(poll!(asked).is_pending());
        }
        assert!(waiting > 200, "{waiting}");
        let staying = join_all(crowd.iter().map(|generation| bed.pages.latest(generation)));
        let mut staying = pin!(staying);
        assert!(poll!(staying.as_mut()).is_pending());
        drop(leaving);
        for (n, latest) in staying.await.into_iter().enumerate() {
            let found = latest.unwrap().map(|latest| latest.event.generation_id);
            assert_eq!(found, (n % 3 > 0).then(|| crowd[n].clone()), "{n}");
        }
        assert!(bed.pages.states.asked.lock().is_empty());
    }

    #[tokio::test]
    async fn every_place_has_its_page_and_the_end_has_none() {
        let bed = Bed::new().await;
        for after in [0, 1, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE - 1, 2 * SIZE, EVENTS - 1] {
            let page = bed.read(after).await;
            assert_eq!(page.get(Sequence(after + 1)).map(|event| event.event().sequence.0), Some(after + 1));
        }
        assert!(bed.read(EVENTS).await.get(Sequence(EVENTS + 1)).is_none());
        assert!(bed.read(EVENTS * 10).await.last().is_none());
    }

    #[tokio::test]
    async fn newcomers_never_take_the_last_place() {
        let bed = Bed::new().await;
        let held = [bed.pages.place(Reader::Newcomer).await, bed.pages.place(Reader::Newcomer).await];
        let mut another = pin!(bed.read(0));
        assert!(poll!(another.as_mut()).is_pending());
        let live = bed.pages.read(&bed.generation, Sequence(SIZE), Reader::Live, &bed.counts).await.unwrap();
        assert!(live.get(Sequence(SIZE + 1)).is_some());
        drop(held);
        assert!(another.await.get(Sequence(1)).is_some());
    }

    #[tokio::test]
    async fn who_is_live_does_not_wait_for_the_read_of_a_newcomer() {
        let bed = Bed::new().await;
        let held = [bed.pages.place(Reader::Newcomer).await, bed.pages.place(Reader::Newcomer).await];
        let mut newcomer = pin!(bed.read(0));
        assert!(poll!(newcomer.as_mut()).is_pending());
        // The same page: the newcomer asked first, and stands behind a crowd.
        let read = bed.pages.read(&bed.generation, Sequence(0), Reader::Live, &bed.counts);
        let live = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("no crowd before it");
        assert!(live.unwrap().get(Sequence(1)).is_some());
        drop(held);
        assert!(newcomer.await.get(Sequence(1)).is_some());
    }
}
