//! What all connections of a process count together, and what each has seen. One thread: cells, no locks.

use std::cell::{Cell, RefCell};

use anyhow::Result;
use tokio::sync::Notify;

use super::orders::{Answer, Plan};
use crate::bench::{
    clock,
    histogram::Histogram,
    mark::{Arrival, Mark, Seen},
    wire::Door,
};

/// One seat, apart from its socket.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    open: bool,
    ready: bool,
    before: bool,
    seen: Seen,
}

/// The counts of a process.
pub(super) struct Board {
    pub(super) plan: Plan,
    pub(super) door: Door,
    places: RefCell<Vec<Place>>,
    /// Where the last mark stood.
    pub(super) hint: Cell<usize>,
    pub(super) picture_hint: Cell<usize>,
    latency: RefCell<Histogram>,
    picture_latency: RefCell<Histogram>,
    counts: RefCell<Answer>,
    stalled: Cell<bool>,
    moved: Notify,
}

impl Board {
    pub(super) fn new(plan: Plan) -> Result<Self> {
        let places = vec![Place::default(); plan.seats.len()];
        Ok(Self {
            door: Door::of(&plan.address, plan.authority.as_deref())?,
            plan,
            places: RefCell::new(places),
            hint: Cell::new(0),
            picture_hint: Cell::new(0),
            latency: RefCell::default(),
            picture_latency: RefCell::default(),
            counts: RefCell::default(),
            stalled: Cell::new(false),
            moved: Notify::new(),
        })
    }

    /// Seats without a connection; they count as open from here on.
    pub(super) fn closed(&self) -> Vec<usize> {
        let mut places = self.places.borrow_mut();
        let closed: Vec<_> = (0..places.len()).filter(|at| !places[*at].open).collect();
        for at in &closed {
            places[*at].open = true;
        }
        closed
    }

    /// All connections were cut on purpose.
    pub(super) fn dropped(&self) {
        for place in self.places.borrow_mut().iter_mut() {
            (place.open, place.ready) = (false, false);
        }
    }

    pub(super) fn broke(&self, seat: usize, error: &anyhow::Error) {
        let place = &mut self.places.borrow_mut()[seat];
        (place.open, place.ready) = (false, false);
        let mut counts = self.counts.borrow_mut();
        counts.broken += 1;
        counts.why.get_or_insert_with(|| format!("connection {seat}: {error:#}"));
    }

    /// Has the seat been ready before, and what had it seen?
    pub(super) fn before(&self, seat: usize) -> Option<u32> {
        let place = self.places.borrow()[seat];
        place.before.then_some(place.seen.last)
    }

    /// A connection is there; was its TLS handshake a short one?
    pub(super) fn shook_hands(&self, resumed: bool) {
        self.counts.borrow_mut().resumed += usize::from(resumed);
    }

    pub(super) fn is_ready(&self, seat: usize) -> bool {
        self.places.borrow()[seat].ready
    }

    pub(super) fn ready(&self, seat: usize) {
        let place = &mut self.places.borrow_mut()[seat];
        (place.ready, place.before) = (true, true);
        self.counts.borrow_mut().at = clock::nanos();
    }

    pub(super) fn stall(&self, stalled: bool) {
        self.stalled.set(stalled);
        self.moved.notify_waiters();
    }

    /// Waits while the seat is not to read.
    pub(super) async fn may_read(&self, seat: usize) {
        while self.stalled.get() && self.plan.seats[seat].stalls {
            self.moved.notified().await;
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        self.counts.borrow_mut().bytes += bytes as u64;
    }

    /// Takes one message.
    pub(super) fn take(&self, seat: usize, mark: Mark, now: u64) {
        let (mut counts, place) = (self.counts.borrow_mut(), &mut self.places.borrow_mut()[seat]);
        match place.seen.take(mark.number) {
            // A late joiner misses nothing of what was said before it came.
            Arrival::After(_) if place.seen.last == mark.number && !place.before => {
                place.seen = Seen::up_to(mark.number)
            }
            Arrival::After(passed) => counts.lost += u64::from(passed),
            Arrival::Late => {
                counts.late += 1;
                counts.lost = counts.lost.saturating_sub(1);
            }
            Arrival::Twice => {
                counts.twice += 1;
                return;
            }
        }
        counts.received += 1;
        counts.at = now;
        if self.plan.seats[seat].stalls {
            counts.received_stalled += 1;
        } else {
            self.latency.borrow_mut().record(now.saturating_sub(mark.due));
        }
    }

    /// Takes one picture. Pictures are conflated: passing over is no loss.
    pub(super) fn picture(&self, mark: Option<Mark>, now: u64) {
        self.counts.borrow_mut().pictures += 1;
        if let Some(mark) = mark {
            self.picture_latency.borrow_mut().record(now.saturating_sub(mark.due));
        }
    }

    /// Counts so far, without histograms.
    pub(super) fn answer(&self, number: u32) -> Answer {
        let places = self.places.borrow();
        let ready = places.iter().filter(|place| place.ready);
        let caught_up = ready.clone().filter(|place| place.seen.last >= number).count();
        Answer { ready: ready.count(), caught_up, ..self.counts.borrow().clone() }
    }

    /// Everything since the last report.
    pub(super) fn report(&self) -> Answer {
        let mut answer = self.answer(0);
        answer.latency = self.latency.take().sparse();
        answer.picture_latency = self.picture_latency.take().sparse();
        *self.counts.borrow_mut() = Answer::default();
        answer
    }
}
