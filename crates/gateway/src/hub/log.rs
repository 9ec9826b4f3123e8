//! The events a tail holds: a dense stretch that ends at the newest event heard of.

use std::{collections::VecDeque, sync::Arc};

use protocol::{Sequence, limits};

use crate::{cursor::Window, encode::Encoded};

/// The last events of one generation, at most [`limits::TAIL_EVENTS_MAX`] and [`limits::TAIL_EVENTS_BYTES_MAX`]. When full,
/// the oldest goes: whoever needs it reads the log.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<Arc<Encoded>>,
    bytes: usize,
    head: Sequence,
}

impl Log {
    /// Takes an event that was committed. One above the head is appended; an older one is ignored; behind a gap the
    /// stretch begins anew, so that it stays dense. Answers whether the head moved.
    pub fn append(&mut self, event: Arc<Encoded>) -> bool {
        let sequence = event.event().sequence;
        if sequence <= self.head {
            return false;
        }
        if sequence != self.head.next() || self.events.is_empty() {
            self.forget();
        }
        self.bytes += event.weight();
        self.events.push_back(event);
        self.head = sequence;
        self.shrink(limits::TAIL_EVENTS_MAX);
        true
    }

    /// Takes the newest event as the log has it, where it is known of and not held. Answers whether it was taken.
    pub fn seed(&mut self, event: Arc<Encoded>) -> bool {
        if event.event().sequence == self.head && self.events.is_empty() {
            self.bytes = event.weight();
            self.events.push_back(event);
            return true;
        }
        self.append(event)
    }

    /// Learns that events up to `head` are committed, without having them. Answers whether that was news.
    pub fn heard_of(&mut self, head: Sequence) -> bool {
        if head <= self.head {
            return false;
        }
        self.forget();
        self.head = head;
        true
    }

    /// Drops the oldest until `events_max` are left.
    pub fn shrink(&mut self, events_max: usize) {
        while self.events.len() > events_max || (self.bytes > limits::TAIL_EVENTS_BYTES_MAX && self.events.len() > 1) {
            let Some(dropped) = self.events.pop_front() else { break };
            self.bytes -= dropped.weight();
        }
        if self.events.is_empty() {
            self.events.shrink_to_fit();
        }
    }

    /// The event `sequence`, if it is held.
    #[must_use]
    pub fn get(&self, sequence: Sequence) -> Option<&Arc<Encoded>> {
        let index = sequence.0.checked_sub(self.first().0)?;
        self.events.get(usize::try_from(index).ok()?)
    }

    /// The newest event, if it is held.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Encoded>> {
        self.events.back()
    }

    fn forget(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }
}

impl Window for Log {
    fn first(&self) -> Sequence {
        self.events.front().map_or_else(|| self.head.next(), |event| event.event().sequence)
    }

    fn last(&self) -> Sequence {
        self.head
    }

    fn head(&self) -> Sequence {
        self.head
    }

    fn is_superseded(&self, sequence: Sequence) -> bool {
        self.get(sequence).is_some_and(|event| event.event().kind.is_superseded_by_newer())
    }
}
