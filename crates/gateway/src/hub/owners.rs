//! Who hears of new generations: an index by owner, for those who watch all of their own.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use protocol::{Event, GenerationId, TenantId, UserId, limits};

use super::wake::Wake;

/// New generations remembered per owner that is watched: as many as a connection may watch. At about 70 bytes each an owner
/// costs some 35 KiB at most, and only what was made while somebody watched. A watcher further behind lists them from the log.
const FRESH_MAX: usize = limits::SUBSCRIPTIONS_PER_CONNECTION_MAX;
/// Of those, what a stream is given, which follows no more.
const FRESH_OF_STREAM_MAX: usize = 64;

type Key = (TenantId, UserId);

/// All owners somebody watches.
#[derive(Debug, Default)]
pub(super) struct Owners {
    watched: Mutex<HashMap<Key, Weak<Owner>>>,
}

#[derive(Debug, Default)]
struct Owner {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fresh: VecDeque<GenerationId>,
    /// How many there ever were; the last of `fresh` is number `count`.
    count: u64,
    wakes: Vec<Arc<Wake>>,
}

/// What an owner made since the last look.
#[derive(Debug, PartialEq, Eq)]
pub enum Fresh {
    /// These, oldest first.
    Generations(Vec<GenerationId>),
    /// More than are remembered, or than were asked for: list them from the log.
    TooMany,
}

/// A connection's hold on an owner. Dropping it ends the following.
#[derive(Debug)]
pub struct Follow {
    owner: Arc<Owner>,
    wake: Arc<Wake>,
    seen: u64,
}

impl Owners {
    pub(super) fn follow(&self, tenant: &TenantId, user: &UserId, wake: Arc<Wake>) -> Follow {
        let mut watched = self.watched.lock();
        let known = watched.get(&(tenant.clone(), user.clone())).and_then(Weak::upgrade);
        let owner = known.unwrap_or_else(|| {
            // Those whose last watcher left are swept whenever the map would grow.
            if watched.len() == watched.capacity() {
                watched.retain(|_, owner| owner.strong_count() > 0);
            }
            let owner = Arc::<Owner>::default();
            watched.insert((tenant.clone(), user.clone()), Arc::downgrade(&owner));
            owner
        });
        let mut state = owner.state.lock();
        state.wakes.push(Arc::clone(&wake));
        let seen = state.count;
        drop(state);
        Follow { owner, wake, seen }
    }

    pub(super) fn announce(&self, event: &Event) {
        let watched = self.watched.lock();
        if watched.is_empty() {
            return;
        }
        let owner = watched.get(&(event.tenant_id.clone(), event.user_id.clone())).and_then(Weak::upgrade);
        drop(watched);
        let Some(owner) = owner else { return };
        let mut state = owner.state.lock();
        state.count += 1;
        state.fresh.push_back(event.generation_id.clone());
        if state.fresh.len() > FRESH_MAX {
            state.fresh.pop_front();
        }
        for wake in &state.wakes {
            wake.call();
        }
    }
}

impl Follow {
    /// What is new since the last look, for a stream.
    pub fn fresh(&mut self) -> Fresh {
        self.fresh_up_to(FRESH_OF_STREAM_MAX)
    }

    /// What is new since the last look, for a connection, which has room for as many as are remembered.
    pub fn all_fresh(&mut self) -> Fresh {
        self.fresh_up_to(FRESH_MAX)
    }

    fn fresh_up_to(&mut self, max: usize) -> Fresh {
        let state = self.owner.state.lock();
        let news = state.count - std::mem::replace(&mut self.seen, state.count);
        match usize::try_from(news) {
            Ok(news) if news <= state.fresh.len().min(max) => {
                Fresh::Generations(state.fresh.range(state.fresh.len() - news..).cloned().collect())
            }
            _ => Fresh::TooMany,
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut state = self.owner.state.lock();
        if let Some(at) = state.wakes.iter().position(|wake| Arc::ptr_eq(wake, &self.wake)) {
            state.wakes.swap_remove(at);
        }
    }
}
