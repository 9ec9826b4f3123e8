//! Who comes, and how often: users who connect without end wait a little longer each time, and whoever watches one generation
//! again and again is named.
//!
//! Nobody is refused. A client whose page tears its socket down at each change of state (the first dialect's own component does)
//! connects thirty times a second for ever; made to wait it costs a descriptor and nothing else. Long-polls are requests, not
//! connections, and are not counted.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use access::{Identity, Role};
use parking_lot::Mutex;
use protocol::{GenerationId, Timestamp};

/// Longest wait of one connection, in milliseconds: below the ten seconds after which clients give a silent server up.
const WAIT_MAX_MS: u64 = 5_000;
/// A watcher of one generation that comes more often than this in a minute does nothing but come.
const VISITS_PER_MINUTE_MAX: u32 = 20;
const MINUTE_MS: u64 = 60_000;
/// Users and visits remembered; beyond it those whose time is over are swept, and if there are none nobody new is counted: a
/// megabyte each.
const REMEMBERED_MAX: usize = 32_768;

/// The arrivals of one node.
pub struct Arrivals {
    per_minute: Option<u32>,
    hasher: RandomState,
    /// By user: when the last of its connections would have come at an even pace.
    users: Mutex<HashMap<u64, Timestamp>>,
    /// By user and generation.
    visits: Mutex<HashMap<u64, Visits>>,
}

/// How often somebody began to watch a generation in one minute.
#[derive(Clone, Copy)]
struct Visits {
    since: Timestamp,
    count: u32,
}

impl std::fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrivals").field("per_minute", &self.per_minute).finish_non_exhaustive()
    }
}

impl Arrivals {
    /// So many connections a user and minute are let in at once; `None` for any number.
    #[must_use]
    pub fn new(per_minute: Option<u32>) -> Self {
        Self { per_minute, hasher: RandomState::new(), users: Mutex::default(), visits: Mutex::default() }
    }

    /// How long a connection of `identity` that came now waits before it is let in, in milliseconds. Back ends and operators
    /// speak for many and never wait.
    #[must_use]
    pub fn wait_of(&self, identity: &Identity, now: Timestamp) -> u64 {
        let Some(per_minute) = self.per_minute.filter(|_| identity.role == Role::User) else { return 0 };
        let pace = MINUTE_MS / u64::from(per_minute.clamp(1, 60_000));
        // A minute's worth may come at once; after that one comes after the other.
        let burst = pace * u64::from(per_minute);
        let key = self.hasher.hash_one((&identity.tenant, &identity.user));
        let mut users = self.users.lock();
        if users.len() >= REMEMBERED_MAX && !users.contains_key(&key) {
            users.retain(|_, next| *next > now);
            if users.len() >= REMEMBERED_MAX {
                return 0;
            }
        }
        let next = users.entry(key).or_insert(now);
        // No debt beyond the longest wait: who stops for a while is let in again.
        *next = (*next).max(now).plus(pace).min(now.plus(burst + WAIT_MAX_MS));
        next.since(now).saturating_sub(burst)
    }

    /// Notes that `identity` began to watch. Answers how often within a minute, once a minute, when it is too often.
    pub fn visit(&self, identity: &Identity, generation: &GenerationId, now: Timestamp) -> Option<u32> {
        let key = self.hasher.hash_one((&identity.tenant, &identity.user, generation));
        let is_over = |visits: &Visits| now.since(visits.since) >= MINUTE_MS;
        let mut known = self.visits.lock();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&key) {
            known.retain(|_, visits| !is_over(visits));
            if known.len() >= REMEMBERED_MAX {
                return None;
            }
        }
        let visits = known.entry(key).or_insert(Visits { since: now, count: 0 });
        if is_over(visits) {
            *visits = Visits { since: now, count: 0 };
        }
        visits.count = visits.count.saturating_add(1);
        (visits.count == VISITS_PER_MINUTE_MAX + 1).then_some(visits.count)
    }
}

#[cfg(test)]
mod tests {
    use access::Scope;
    use protocol::TenantId;

    use super::*;

    fn of(user: &str, role: Role) -> Identity {
        let (user, tenant) = (user.parse().unwrap(), TenantId::fallback());
        Identity { user, tenant, role, scope: Scope::Everything, expires_at: None }
    }

    #[test]
    fn a_user_who_connects_without_end_waits_and_no_other_does() {
        let arrivals = Arrivals::new(Some(60));
        let ada = of("ada", Role::User);
        let at_once = (0..100).take_while(|_| arrivals.wait_of(&ada, Timestamp(1_000)) == 0).count();
        assert_eq!(at_once, 60);
        assert_eq!(arrivals.wait_of(&of("grace", Role::User), Timestamp(1_000)), 0);
        for _ in 0..100 {
            let wait = arrivals.wait_of(&ada, Timestamp(1_000));
            assert!(wait > 0 && wait <= WAIT_MAX_MS, "{wait}");
        }
        // A quiet minute later all is forgotten.
        assert_eq!(arrivals.wait_of(&ada, Timestamp(1_000 + MINUTE_MS + WAIT_MAX_MS)), 0);
    }

    #[test]
    fn who_connects_at_an_even_pace_never_waits() {
        let arrivals = Arrivals::new(Some(60));
        let ada = of("ada", Role::User);
        assert!((0..1_000).all(|n| arrivals.wait_of(&ada, Timestamp(n * 1_000)) == 0));
    }

    #[test]
    fn back_ends_speak_for_many_and_never_wait() {
        let arrivals = Arrivals::new(Some(1));
        assert!((0..100).all(|_| arrivals.wait_of(&of("backend", Role::Service), Timestamp(0)) == 0));
        let any = Arrivals::new(None);
        assert!((0..100_000).all(|_| any.wait_of(&of("ada", Role::User), Timestamp(0)) == 0));
    }

    #[test]
    fn who_watches_one_generation_again_and_again_is_named_once_a_minute() {
        let arrivals = Arrivals::new(None);
        let (ada, generation) = (of("ada", Role::User), GenerationId::new("gen_a").unwrap());
        let named = |from: u64, every: u64, count: u64| {
            (0..count).filter(|n| arrivals.visit(&ada, &generation, Timestamp(from + n * every)).is_some()).count()
        };
        assert_eq!(named(0, 4_000, 100), 0, "fifteen a minute are a slow network");
        assert_eq!(named(1_000_000, 100, 600), 1);
        assert_eq!(named(2_000_000, 33, 3_600), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let arrivals = Arrivals::new(Some(1));
        for n in 0..REMEMBERED_MAX + 100 {
            let user = of(&format!("u{n}"), Role::User);
            let _ = arrivals.wait_of(&user, Timestamp(0));
            let _ = arrivals.visit(&user, &GenerationId::new("gen_a").unwrap(), Timestamp(0));
        }
        assert!(arrivals.users.lock().len() <= REMEMBERED_MAX);
        assert!(arrivals.visits.lock().len() <= REMEMBERED_MAX);
    }
}
