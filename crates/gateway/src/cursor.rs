//! The one rule of delivery: what a watcher at some place gets next. Pure, so that it can be tested against a bus that
//! loses, repeats and reorders.
//!
//! Live, catching up, slow and resumed watchers all follow it. Who holds the events, who reads the log, and what a
//! recovery looks like on the wire belong to others.

use protocol::{
    After, Epoch, Sequence,
    live::{Delivery, Recovery},
};

/// Where a watcher is: it has everything up to and including `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last event it has.
    pub after: Sequence,
    /// Each event, or only those that no newer one supersedes.
    pub delivery: Delivery,
}

/// A dense stretch of a history in memory: a tail, or a page of the log.
pub trait Window {
    /// The first event held; one above the last when it holds none.
    fn first(&self) -> Sequence;
    /// The last event held; one below `first` when it holds none.
    fn last(&self) -> Sequence;
    /// The newest event known to be committed, held or not.
    fn head(&self) -> Sequence;
    /// Is what lies before `first` gone for good? True for a page that was read from the log at the watcher's own place.
    fn is_oldest(&self) -> bool {
        false
    }
    /// May event `sequence`, which is held, be skipped when a newer one is known?
    fn is_superseded(&self, sequence: Sequence) -> bool;
}

/// What a watcher gets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This event, which the window holds.
    Send {
        /// Which one.
        sequence: Sequence,
        /// The one it had before, if some were skipped in between.
        previous: Option<Sequence>,
    },
    /// It is behind the window: read the log from here.
    ReadLog {
        /// The last event it has.
        after: Sequence,
    },
    /// It has everything there is.
    Wait,
    /// What it lacks is gone: show it the state and go on from there.
    Snapshot,
}

/// What a watcher at `cursor` gets next out of `window`.
#[must_use]
pub fn next(cursor: Cursor, window: &impl Window) -> Next {
    let after = cursor.after;
    // A watcher may be ahead of its tail: the log told it what the bus has yet to bring.
    if after >= window.head() {
        return Next::Wait;
    }
    let wanted = after.next();
    if wanted < window.first() && window.is_oldest() {
        return Next::Snapshot;
    }
    if wanted < window.first() || wanted > window.last() {
        return Next::ReadLog { after };
    }
    let mut sequence = wanted;
    if cursor.delivery == Delivery::Latest {
        // Skipping stops at the last event held: whether what lies beyond supersedes it is known, what it is, is not.
        while sequence < window.last() && window.is_superseded(sequence) {
            sequence = sequence.next();
        }
    }
    let previous = (sequence != wanted).then_some(after);
    Next::Send { sequence, previous }
}

/// Where `after` lies in the history of `epoch`, whose newest event is `head`: the last event the watcher has, or `None`
/// when that place is gone, or no history of ours has ever been there.
#[must_use]
pub fn place(after: Option<&After>, epoch: &Epoch, head: Sequence) -> (Option<Sequence>, Recovery) {
    let sequence = match after {
        // The state as it is: its last event, and then what follows.
        None => return (Some(Sequence(head.0.saturating_sub(1))), Recovery::Fresh),
        Some(After::Now) => head,
        Some(After::Start) => Sequence(0),
        Some(After::Sequence(sequence)) => *sequence,
        Some(After::Position(position)) if position.epoch == *epoch => position.sequence,
        Some(After::Position(_)) => return (None, Recovery::Snapshot),
    };
    if sequence > head { (None, Recovery::Snapshot) } else { (Some(sequence), Recovery::Resumed) }
}

impl Cursor {
    /// The cursor of a watcher that just got `sequence`.
    #[must_use]
    pub const fn at(self, sequence: Sequence) -> Self {
        Self { after: sequence, ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests;
