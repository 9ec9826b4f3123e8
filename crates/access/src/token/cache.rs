//! Tokens that were good a moment ago, so that a reconnecting page costs a hash and not a verification.
//!
//! Keeps hashes, never tokens. What may be done with the identity is decided afresh each time by the caller.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use protocol::Timestamp;

use crate::identity::{Identity, Scope};

/// Most weight in each of two halves; a token weighs one, and one more per generation it names.
/// 14,336: what a table of 16,384 places holds before it grows, 670 KB. Both halves are more watchers than one process is meant
/// to hold, and who is connected shares the identity.
const WEIGHT_MAX: usize = 14_336;

/// SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// An approximate least-recently-used map of bounded weight.
///
/// Two halves instead of a list: what is used moves to the young half, and when that is full it becomes the old one,
/// whose rest is forgotten. An entry that was used within the last half is never lost.
pub(super) struct Cache {
    halves: Mutex<Halves>,
    weight_max: usize,
}

#[derive(Default)]
struct Halves {
    young: HashMap<TokenHash, Arc<Identity>>,
    young_weight: usize,
    old: HashMap<TokenHash, Arc<Identity>>,
}

/// What the cache knows about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Good, and whose.
    Good(Arc<Identity>),
    /// It was good and its time is over; forgotten now.
    Expired,
    /// Never seen, or long ago.
    No,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self::with_weight(WEIGHT_MAX)
    }

    fn with_weight(weight_max: usize) -> Self {
        Self { halves: Mutex::default(), weight_max }
    }

    pub(super) fn find(&self, hash: &TokenHash, now: Timestamp) -> Known {
        let mut halves = self.halves.lock();
        if let Some(identity) = halves.young.get(hash) {
            if is_alive(identity, now) {
                return Known::Good(Arc::clone(identity));
            }
            let weight = weight(identity);
            halves.young.remove(hash);
            halves.young_weight -= weight;
            return Known::Expired;
        }
        match halves.old.remove(hash) {
            Some(identity) if is_alive(&identity, now) => {
                halves.keep(*hash, Arc::clone(&identity), self.weight_max);
                Known::Good(identity)
            }
            Some(_) => Known::Expired,
            None => Known::No,
        }
    }

    /// Remembers a token that was verified.
    pub(super) fn keep(&self, hash: TokenHash, identity: Arc<Identity>) {
        self.halves.lock().keep(hash, identity, self.weight_max);
    }
}

impl Halves {
    fn keep(&mut self, hash: TokenHash, identity: Arc<Identity>, weight_max: usize) {
        let added = weight(&identity);
        if added > weight_max {
            return;
        }
        if self.young_weight + added > weight_max {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += added;
        if let Some(replaced) = self.young.insert(hash, identity) {
            self.young_weight -= weight(&replaced);
        }
    }
}

fn is_alive(identity: &Identity, now: Timestamp) -> bool {
    identity.expires_at.is_none_or(|expires_at| now < expires_at)
}

fn weight(identity: &Identity) -> usize {
    match &identity.scope {
        Scope::Everything => 1,
        Scope::Watch(named) => 1 + named.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    fn identity(user: &str, scope: Scope, expires_at: u64) -> Arc<Identity> {
        let (user, tenant) = (user.parse().unwrap(), "default".parse().unwrap());
        Arc::new(Identity { user, tenant, role: Role::User, scope, expires_at: Some(Timestamp(expires_at)) })
    }

    fn hash(n: u8) -> TokenHash {
        [n; 32]
    }

    fn entries(cache: &Cache) -> (usize, usize) {
        let halves = cache.halves.lock();
        assert_eq!(halves.young_weight, halves.young.values().map(|identity| weight(identity)).sum::<usize>());
        (halves.young.len(), halves.old.len())
    }

    #[test]
    fn an_entry_dies_at_its_expiry_in_either_half() {
        let cache = Cache::with_weight(1);
        cache.keep(hash(1), identity("ada", Scope::Everything, 1_000));
        cache.keep(hash(2), identity("bob", Scope::Everything, 1_000));
        assert_eq!(entries(&cache), (1, 1));
        assert_eq!(cache.find(&hash(1), Timestamp(1_000)), Known::Expired);
        assert_eq!(cache.find(&hash(2), Timestamp(1_000)), Known::Expired);
        assert_eq!(entries(&cache), (0, 0));
        assert_eq!(cache.find(&hash(1), Timestamp(0)), Known::No);
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_makes_room() {
        let cache = Cache::with_weight(4);
        let ada = identity("ada", Scope::Everything, 1_000);
        cache.keep(hash(0), ada.clone());
        for n in 1..=200 {
            cache.keep(hash(n), identity("bob", Scope::Everything, 1_000));
            assert_eq!(cache.find(&hash(0), Timestamp(0)), Known::Good(ada.clone()), "after {n}");
            let (young, old) = entries(&cache);
            assert!(young <= 4 && old <= 4, "{young} and {old}");
        }
        assert_eq!(cache.find(&hash(1), Timestamp(0)), Known::No);
    }

    #[test]
    fn a_token_that_names_many_generations_takes_more_room() {
        let cache = Cache::with_weight(4);
        let three: Scope = Scope::Watch((0..3).map(|n| format!("gen_{n}").parse().unwrap()).collect());
        cache.keep(hash(1), identity("ada", three.clone(), 1_000));
        cache.keep(hash(2), identity("ada", three, 1_000));
        assert_eq!(entries(&cache), (1, 1));
        let many = Scope::Watch((0..4).map(|n| format!("gen_{n}").parse().unwrap()).collect());
        cache.keep(hash(3), identity("ada", many, 1_000));
        assert_eq!(cache.find(&hash(3), Timestamp(0)), Known::No);
    }

    #[test]
    fn a_token_kept_twice_weighs_once() {
        let cache = Cache::with_weight(4);
        for _ in 0..3 {
            cache.keep(hash(1), identity("ada", Scope::Everything, 1_000));
        }
        assert_eq!(entries(&cache), (1, 0));
    }
}
