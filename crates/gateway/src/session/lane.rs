//! The frame lane of one subscription: which preview picture goes next, and when.
//!
//! `latest` sends the newest picture and skips what it replaced; `all` sends each, slows the generator when it cannot keep
//! up, and falls back to `latest` when nothing moves.

use std::sync::Arc;

use bus::Frame;
use protocol::{
    Timestamp,
    live::{Delivery, FrameWish},
};

use crate::hub::{Frames, Held, Serial, Size, Watch};

/// A requester that wants each frame and takes none for so long gets the newest ones from then on, in milliseconds.
const PROGRESS_MAX_MS: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Lane {
    wish: FrameWish,
    /// The last frame sent or skipped.
    seen: Serial,
    /// The last frame's number among those of its size; 0 before the first there ever was.
    seen_nth: u64,
    /// Video can go on from there; otherwise it waits for a key frame.
    unbroken: bool,
    /// Not before this time.
    due: Timestamp,
    /// Since when a frame waits that it could have taken.
    waits_since: Option<Timestamp>,
    dropped: u64,
    /// Frames that may still be sent; `None` without a limit.
    pub(super) credit: Option<u32>,
}

impl Lane {
    pub(super) fn new(wish: FrameWish, watch: &Watch, now: Timestamp) -> Self {
        // The picture that is there is shown to a latecomer at once.
        let (seen, seen_nth) = watch.tail().look(|recent| {
            let newest = recent.frames.newest_alone(Size::of(wish.max_width));
            newest.map_or_else(|| (recent.frames.last(), 0), |held| (held.serial - 1, held.nth - 1))
        });
        watch.frames_seen(seen);
        Self { wish, seen, seen_nth, unbroken: false, due: now, waits_since: None, dropped: 0, credit: None }
    }

    const fn size(&self) -> Size {
        Size::of(self.wish.max_width)
    }

    /// The next frame, if one may go now.
    pub(super) fn take(&mut self, watch: &Watch, now: Timestamp) -> Option<Arc<Frame>> {
        if self.credit == Some(0) {
            return None;
        }
        let held = watch.tail().look(|recent| match self.wish.delivery {
            Delivery::All => recent.frames.after(self.seen, self.size()).cloned(),
            Delivery::Latest => self.latest(&recent.frames).cloned(),
        })?;
        // Video cannot be thinned: what follows a key frame goes as it comes.
        if now < self.due && held.frame.header.stands_alone() {
            return None;
        }
        self.unbroken = held.frame.header.stands_alone() || (self.unbroken && held.nth == self.seen_nth + 1);
        self.dropped += held.nth.saturating_sub(self.seen_nth + 1);
        self.seen = held.serial;
        self.seen_nth = held.nth;
        self.waits_since = None;
        if let Some(credit) = &mut self.credit {
            *credit -= 1;
        }
        watch.frames_seen(held.serial);
        if self.wish.delivery == Delivery::Latest {
            self.due = now.plus(1_000 / u64::from(self.wish.max_fps.clamp(1, 60)));
        } else {
            watch.tail().interest_changed();
        }
        Some(held.frame)
    }

    fn latest<'a>(&self, frames: &'a Frames) -> Option<&'a Held> {
        frames.latest_after(self.seen, self.unbroken.then_some(self.seen_nth), self.size())
    }

    /// When it wants to be asked again, if a frame waits for its time (and `may_go` otherwise), or for its last chance.
    pub(super) fn deadline(&self, watch: &Watch, may_go: bool) -> Option<Timestamp> {
        let waits = watch.tail().look(|recent| match self.wish.delivery {
            Delivery::All => recent.frames.after(self.seen, self.size()).is_some(),
            Delivery::Latest => self.latest(&recent.frames).is_some(),
        });
        match self.wish.delivery {
            _ if !waits => None,
            Delivery::All => self.waits_since.map(|since| since.plus(PROGRESS_MAX_MS)),
            Delivery::Latest => (may_go && self.credit != Some(0)).then_some(self.due),
        }
    }

    /// Gives up on every frame when nothing has moved for too long; answers how many were dropped so far.
    /// To be called often; it is how waiting is noticed.
    pub(super) fn give_up(&mut self, watch: &Watch, now: Timestamp) -> Option<u64> {
        if self.wish.delivery != Delivery::All {
            return None;
        }
        let newest = watch.tail().look(|recent| recent.frames.newest(self.size()).map(|held| (held.serial, held.nth)));
        let Some((newest, nth)) = newest.filter(|(serial, _)| *serial > self.seen) else {
            self.waits_since = None;
            return None;
        };
        let since = *self.waits_since.get_or_insert(now);
        if now.since(since) < PROGRESS_MAX_MS {
            return None;
        }
        // What came before the newest will not be sent any more, whether the tail still has it or dropped it.
        self.dropped += nth.saturating_sub(self.seen_nth + 1);
        self.seen = newest - 1;
        self.seen_nth = nth - 1;
        self.unbroken = false;
        self.wish.delivery = Delivery::Latest;
        watch.wish(Some(self.wish));
        Some(self.dropped)
    }
}
