//! One generation as an HTTP watcher follows it: item by item, by the same rule as a live socket.
//!
//! The transport that writes the answer pulls. Nothing is queued here but one page of the log. Several generations in one
//! answer are several feeds, which `transport/many.rs` merges.

use std::{future::poll_fn, sync::Arc};

use access::{Identity, Verb};
use protocol::{
    After, FrameIndex, GenerationId, Problem, Revision, Sequence, Tick, Timestamp,
    live::{Delivery, FrameWish},
};

use crate::{
    Gateway,
    cursor::{self, Cursor, Next, Window as _},
    encode::Encoded,
    gateway::unavailable,
    hub::{Serial, Size, Wake, Watch},
    node::may_with,
    pages::{Page, Reader},
};

/// The next thing to tell a watcher.
#[derive(Debug)]
pub(crate) enum Item {
    /// The next event.
    Event(Arc<Encoded>),
    /// The state to go on from, because the position was gone.
    Snapshot(Arc<Encoded>),
    /// An ephemeral status.
    Hint(Arc<Encoded>),
    /// There is a new picture to fetch.
    Frame(FrameIndex, Revision),
    /// It was deleted.
    Gone,
    /// Its terminal event was given, now or before. Said by [`Feed::end`] alone.
    Ended,
}

/// One generation.
pub(crate) struct Feed {
    gateway: Arc<Gateway>,
    watch: Watch,
    cursor: Cursor,
    page: Option<Arc<Page>>,
    /// It has come to the head since it was opened.
    is_live: bool,
    lost: bool,
    ended: bool,
    end_told: bool,
    hint: (Sequence, Tick),
    frames: Option<Serial>,
    /// Events decided before this time are passed over.
    since: Timestamp,
}

impl Feed {
    /// Begins to follow, if `identity` may.
    ///
    /// # Errors
    /// The same `not_found` for unknown and foreign ids; `unavailable` when the log cannot be read.
    pub(crate) async fn open(
        gateway: &Arc<Gateway>,
        identity: &Identity,
        generation: &GenerationId,
        after: Option<&After>,
        wake: &Arc<Wake>,
        wish: Option<FrameWish>,
    ) -> Result<Self, Problem> {
        let watch = gateway.hub().watch(generation, Arc::clone(wake), None);
        let newest = match watch.tail().newest() {
            Some(newest) => newest,
            None => {
                let read = gateway.pages.latest(generation).await.map_err(|error| unavailable(&error))?;
                Encoded::one(read.ok_or_else(Problem::not_found)?.event)
            }
        };
        if !may_with(identity, Verb::Watch, newest.event()) {
            return Err(Problem::not_found());
        }
        watch.tail().seed(newest.event().clone());
        watch.wish(wish);
        let head = newest.event().sequence.max(watch.tail().look(|recent| recent.log.head()));
        let (place, _) = cursor::place(after, gateway.encoder().epoch(), head);
        if place.is_none() {
            gateway.counts().snapshots.add(1);
        }
        Ok(Self {
            gateway: Arc::clone(gateway),
            watch,
            cursor: Cursor { after: place.unwrap_or_default(), delivery: Delivery::All },
            page: None,
            is_live: false,
            lost: place.is_none(),
            ended: false,
            end_told: false,
            hint: (Sequence(0), Tick(0)),
            frames: wish.map(|_| 0),
            since: Timestamp(0),
        })
    }

    /// Passes over what was decided before `since`.
    pub(crate) const fn since(mut self, since: Timestamp) -> Self {
        self.since = since;
        self
    }

    pub(crate) fn generation(&self) -> &GenerationId {
        self.watch.tail().generation()
    }

    /// The last event given.
    pub(crate) const fn position(&self) -> Sequence {
        self.cursor.after
    }

    /// Is its position gone, and the state to go on from not given yet?
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Was the terminal event given, now or before?
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// [`Item::Ended`], once, for those who follow several and would not hear of the end otherwise.
    pub(crate) fn end(&mut self) -> Option<Item> {
        let tells = self.ended && !std::mem::replace(&mut self.end_told, self.ended);
        tells.then_some(Item::Ended)
    }

    /// Was its end told, too? Nothing more comes of it.
    pub(crate) const fn is_over(&self) -> bool {
        self.end_told
    }

    /// Is there an end to give, or was it given? Known as soon as it is opened.
    pub(crate) fn is_finished(&self) -> bool {
        let is_end = |newest: &Arc<Encoded>| newest.event().kind.is_terminal();
        self.ended || self.watch.tail().look(|recent| recent.deleted || recent.log.newest().is_some_and(is_end))
    }

    /// Is there more already?
    pub(crate) fn has_more(&self) -> bool {
        !self.ended && self.watch.tail().look(|recent| recent.log.head() > self.cursor.after)
    }

    /// The next item, if there is one; reads the log where it must, and never waits for something to happen.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read. Safe to call again.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(crate) async fn ready(&mut self) -> Result<Option<Item>, Problem> {
        while !self.ended {
            if self.watch.tail().look(|recent| recent.deleted) {
                self.ended = true;
                return Ok(Some(Item::Gone));
            }
            if self.lost {
                return self.recover().await.map(Some);
            }
            let (next, event) = self.watch.tail().look(|recent| {
                let next = cursor::next(self.cursor, &recent.log);
                let event = match next {
                    Next::Send { sequence, .. } => recent.log.get(sequence).cloned(),
                    _ => None,
                };
                (next, event)
            });
            let event = match (next, event) {
                (_, Some(event)) => event,
                (Next::Snapshot, None) => {
                    self.lost = true;
                    continue;
                }
                (Next::Wait, None) => return Ok(self.beside()),
                (Next::ReadLog { .. } | Next::Send { .. }, None) => match self.read_log().await? {
                    Some(event) => event,
                    None => continue,
                },
            };
            self.advance(&event);
            if event.event().timestamp >= self.since {
                return Ok(Some(Item::Event(event)));
            }
        }
        Ok(None)
    }

    fn advance(&mut self, event: &Encoded) {
        self.cursor = self.cursor.at(event.event().sequence);
        self.ended = event.event().kind.is_terminal();
    }

    /// The state to go on from.
    async fn recover(&mut self) -> Result<Item, Problem> {
        let newest = match self.watch.tail().newest() {
            Some(newest) => newest,
            None => {
                let Some(latest) = self.gateway.latest(self.generation()).await? else {
                    self.ended = true;
                    return Ok(Item::Gone);
                };
                Encoded::one(latest.event)
            }
        };
        self.lost = false;
        self.page = None;
        self.advance(&newest);
        Ok(Item::Snapshot(newest))
    }

    /// The event behind the cursor out of the log; `None` when it is gone and the state comes instead.
    async fn read_log(&mut self) -> Result<Option<Arc<Encoded>>, Problem> {
        let wanted = self.cursor.after.next();
        if self.page.as_ref().is_none_or(|page| page.get(wanted).is_none()) {
            let reader = if self.is_live { Reader::Live } else { Reader::Newcomer };
            let counts = self.gateway.counts();
            let read = self.gateway.pages.read(self.generation(), self.cursor.after, reader, counts).await;
            self.page = Some(read.map_err(|error| unavailable(&error))?);
        }
        let event = self.page.as_ref().and_then(|page| page.get(wanted)).cloned();
        self.lost = event.is_none();
        Ok(event)
    }

    /// At the head: the end if it was there already, then what is not in the log.
    fn beside(&mut self) -> Option<Item> {
        self.page = None;
        self.is_live = true;
        let after = self.cursor.after;
        let tail = Arc::clone(self.watch.tail());
        tail.look(|recent| {
            self.ended = recent.log.newest().is_some_and(|newest| newest.event().kind.is_terminal());
            if self.ended {
                return None;
            }
            if let Some((tick, hint)) = &recent.hint {
                let place = (hint.event().sequence, *tick);
                if place.0 == after && place > self.hint {
                    self.hint = place;
                    return Some(Item::Hint(Arc::clone(hint)));
                }
            }
            let seen = self.frames.as_mut()?;
            let held = recent.frames.newest_alone(Size::Full).filter(|held| held.serial > *seen)?;
            *seen = held.serial;
            Some(Item::Frame(held.frame.header.index, held.frame.header.revision))
        })
    }
}

/// Waits until something that `wake` watches has moved.
pub(crate) async fn moved(wake: &Wake) {
    poll_fn(|cx| if wake.take(cx) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }).await;
}
