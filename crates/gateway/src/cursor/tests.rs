//! A watcher against a bus that loses, repeats and reorders.

use std::{collections::VecDeque, sync::Arc};

use proptest::prelude::*;
use protocol::{
    Attempt, CausalId, Epoch, Event, EventId, EventType, GenerationId, Sequence, State, Status, TenantId, Timestamp,
    UserId,
    live::{Delivery, Recovery},
};

use super::{Cursor, Next, Window, next, place};
use crate::{encode::Encoded, hub::Log};

/// An event of a generation in which every third is a stage edge.
pub(crate) fn event(sequence: u64) -> Event {
    let kind = if sequence % 3 == 1 { EventType::StageStarted } else { EventType::StageProgress };
    Event {
        event_id: EventId::new(format!("e.{sequence}")).unwrap(),
        generation_id: GenerationId::new("gen_a").unwrap(),
        tenant_id: TenantId::fallback(),
        user_id: UserId::new("user_456").unwrap(),
        causal_id: CausalId::new("c").unwrap(),
        sequence: Sequence(sequence),
        attempt: Attempt(1),
        kind,
        state: State::Running,
        stage: None,
        status: Status::GeneratingFrames,
        progress: 0.0,
        message: String::new(),
        metadata: Arc::default(),
        timestamp: Timestamp(sequence),
    }
}

/// A stretch of the log as one read gives it.
struct Page {
    events: VecDeque<u64>,
    head: Sequence,
}

impl Window for Page {
    fn first(&self) -> Sequence {
        Sequence(self.events.front().copied().unwrap_or(self.head.0 + 1))
    }
    fn last(&self) -> Sequence {
        Sequence(self.events.back().copied().unwrap_or(self.head.0))
    }
    fn head(&self) -> Sequence {
        self.head
    }
    fn is_oldest(&self) -> bool {
        true
    }
    fn is_superseded(&self, sequence: Sequence) -> bool {
        event(sequence.0).kind.is_superseded_by_newer()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many events are committed.
    Commit(u64),
    /// The bus brings a committed event, whichever.
    Bring(prop::sample::Index),
    /// The bus brings what was committed last, in order, as it mostly does.
    BringNewest,
    /// The node compares heads.
    Compare,
    /// The watcher takes at most so many.
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..6u64).prop_map(Step::Commit),
        3 => any::<prop::sample::Index>().prop_map(Step::Bring),
        4 => Just(Step::BringNewest),
        1 => Just(Step::Compare),
        3 => (1..9usize).prop_map(Step::Take),
    ];
    prop::collection::vec(step, 1..120)
}

struct World {
    committed: u64,
    tail: Log,
    cursor: Cursor,
    page: Option<Page>,
    seen: Vec<u64>,
}

impl World {
    fn new(after: u64, delivery: Delivery) -> Self {
        let cursor = Cursor { after: Sequence(after), delivery };
        // Whoever subscribes learns the head: a tail is seeded before it is watched.
        let mut tail = Log::default();
        tail.seed(Encoded::one(event(after.max(1))));
        Self { committed: after.max(1), tail, cursor, page: None, seen: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(count) => self.committed += count,
            Step::Bring(index) => self.bring(index.index(usize::try_from(self.committed).unwrap()) as u64 + 1),
            Step::BringNewest => self.bring(self.committed),
            Step::Compare => {
                self.tail.heard_of(Sequence(self.committed));
            }
            Step::Take(count) => {
                for _ in 0..*count {
                    self.take();
                }
            }
        }
    }

    fn bring(&mut self, sequence: u64) {
        self.tail.append(Encoded::one(event(sequence)));
    }

    /// One look; false when there is nothing more.
    fn take(&mut self) -> bool {
        match next(self.cursor, &self.tail) {
            Next::Send { sequence, previous } => {
                assert!(self.tail.get(sequence).is_some(), "{sequence} is not held");
                self.send(sequence, previous);
            }
            Next::ReadLog { after } => {
                let page = self.page.take().filter(|page| !page.events.is_empty() && page.first() == after.next());
                let page = page.unwrap_or_else(|| self.read(after));
                match next(self.cursor, &page) {
                    Next::Send { sequence, previous } => {
                        self.send(sequence, previous);
                        let events = page.events.into_iter().filter(|held| *held > sequence.0).collect();
                        self.page = Some(Page { events, head: page.head });
                    }
                    other => panic!("a fresh page gave {other:?}"),
                }
            }
            Next::Wait => return false,
            Next::Snapshot => panic!("nothing was swept"),
        }
        true
    }

    fn read(&self, after: Sequence) -> Page {
        let events = (after.0 + 1..=self.committed).take(4).collect();
        Page { events, head: Sequence(self.committed) }
    }

    fn send(&mut self, sequence: Sequence, previous: Option<Sequence>) {
        let before = self.cursor.after;
        assert_eq!(previous, (sequence != before.next()).then_some(before), "skipping is always told");
        self.seen.push(sequence.0);
        self.cursor = self.cursor.at(sequence);
    }

    fn settle(&mut self) {
        self.tail.heard_of(Sequence(self.committed));
        while self.take() {}
    }
}

proptest! {
    #[test]
    fn a_watcher_sees_each_event_once_and_in_order(after in 0..20u64, steps in steps()) {
        let mut world = World::new(after, Delivery::All);
        for step in &steps {
            world.step(step);
        }
        world.settle();
        let expected: Vec<u64> = (after + 1..=world.committed).collect();
        prop_assert_eq!(world.seen, expected);
    }

    #[test]
    fn the_latest_skips_progress_alone_and_never_the_end(after in 0..20u64, steps in steps()) {
        let mut world = World::new(after, Delivery::Latest);
        for step in &steps {
            world.step(step);
        }
        world.settle();
        prop_assert!(world.seen.is_sorted_by(|a, b| a < b));
        if world.committed > after {
            prop_assert_eq!(world.seen.last(), Some(&world.committed));
        }
        for sequence in after + 1..=world.committed {
            let edge = !event(sequence).kind.is_superseded_by_newer();
            prop_assert!(!edge || world.seen.contains(&sequence), "edge {} was skipped", sequence);
        }
    }

    #[test]
    fn a_tail_is_always_dense(brought in prop::collection::vec(1..60u64, 0..200)) {
        let mut tail = Log::default();
        for sequence in brought {
            tail.append(Encoded::one(event(sequence)));
            for held in tail.first().0..=tail.last().0 {
                prop_assert_eq!(tail.get(Sequence(held)).map(|e| e.event().sequence.0), Some(held));
            }
        }
    }
}

#[test]
fn a_place_of_another_history_is_gone() {
    let epoch = Epoch::new("k3f9").unwrap();
    let at = |text: &str| place(Some(&text.parse().unwrap()), &epoch, Sequence(9));
    assert_eq!(at("k3f9:9"), (Some(Sequence(9)), Recovery::Resumed));
    assert_eq!(at("k3f9:10"), (None, Recovery::Snapshot));
    assert_eq!(at("z3f9:1"), (None, Recovery::Snapshot));
    assert_eq!(at("start"), (Some(Sequence(0)), Recovery::Resumed));
    assert_eq!(at("now"), (Some(Sequence(9)), Recovery::Resumed));
    assert_eq!(place(None, &epoch, Sequence(9)), (Some(Sequence(8)), Recovery::Fresh));
}

#[test]
fn a_page_that_begins_too_late_means_a_snapshot() {
    let cursor = Cursor { after: Sequence(2), delivery: Delivery::All };
    let page = |events: &[u64]| Page { events: events.iter().copied().collect(), head: Sequence(9) };
    assert_eq!(next(cursor, &page(&[5, 6])), Next::Snapshot);
    assert_eq!(next(cursor, &page(&[])), Next::Snapshot);
    assert_eq!(next(cursor, &page(&[3, 4])), Next::Send { sequence: Sequence(3), previous: None });
}
