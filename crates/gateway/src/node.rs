//! What every connection of this node shares: the tails, the doors, the way events are written, and the counts.
//!
//! All of it is in memory. What has to wait (the log, commands) is asked for by the transports.

use std::sync::Arc;

use access::{Door, Doors, Identity, Subject, TokenError, Verb, may};
use protocol::{Event, Timestamp};

use crate::{arrivals::Arrivals, counts::Counts, encode::Encoder, hub::Hub};

/// The time of day, as the server reads it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Ten random bytes for a new id.
pub type Random = Arc<dyn Fn() -> [u8; 10] + Send + Sync>;

/// Shared by all connections.
pub struct Node {
    /// The tails.
    pub hub: Arc<Hub>,
    /// How events are written.
    pub encoder: Arc<Encoder>,
    /// Who somebody is.
    pub doors: Arc<Doors>,
    /// Whoever shows no token, where that is allowed.
    pub guest: Option<Arc<Identity>>,
    /// How long a socket outlives its token, in milliseconds; `None` where expiry closes nothing.
    pub expiry_grace_ms: Option<u64>,
    /// Who comes, and how often.
    pub arrivals: Arrivals,
    /// What went through.
    pub counts: Counts,
    /// The time of day.
    pub clock: Clock,
    /// Randomness for ids.
    pub random: Random,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Node {
    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Says whose `token` is; without one, the guest where there is one.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with the token.
    pub fn identify(&self, token: Option<&str>, door: Door, now: Timestamp) -> Result<Arc<Identity>, TokenError> {
        match (token, &self.guest) {
            (Some(token), _) => self.doors.identify(token, door, now),
            (None, Some(guest)) if door != Door::Worker => Ok(Arc::clone(guest)),
            (None, _) => Err(TokenError::Missing),
        }
    }
}

/// May `identity` do this with the generation whose event this is?
#[must_use]
pub fn may_with(identity: &Identity, verb: Verb, event: &Event) -> bool {
    let subject = Subject { generation: &event.generation_id, owner: &event.user_id, tenant: &event.tenant_id };
    may(identity, verb, Some(subject))
}
