//! The life of a connection: authentication in time, pings and pongs, expiry of the token, and the end.

use protocol::{ErrorCode, Problem, Timestamp, limits, live::ServerMessage};

use super::{Ended, Session};
use crate::websocket::{close::CloseCode, encoder};

/// A client has so long to answer our close before the socket is dropped, in milliseconds.
const CLOSE_ANSWER_MAX_MS: u64 = 2_000;

/// Deadlines and the end of one connection.
#[derive(Debug)]
pub(super) struct Life {
    /// When it was opened; once it closes, when that began.
    since: Timestamp,
    ping_at: Timestamp,
    /// A ping was sent and not answered.
    asked: bool,
    ended: Ended,
}

impl Life {
    /// The first ping comes somewhere in the second half of the interval, by `spread`: never all at once.
    pub(super) const fn new(spread: u64, now: Timestamp) -> Self {
        const HALF: u64 = limits::PING_INTERVAL_MS / 2;
        // A multiplier from Knuth's hash: neighbours in `spread` land far apart.
        let first = HALF + spread.wrapping_mul(2_654_435_761) % HALF;
        Self { since: now, ping_at: now.plus(first), asked: false, ended: Ended::Not }
    }

    pub(super) const fn ended(&self) -> Ended {
        self.ended
    }

    pub(super) const fn gone(&mut self) {
        self.ended = Ended::Gone;
    }

    pub(super) const fn pong(&mut self) {
        self.asked = false;
    }

    pub(super) fn deadline(&self, authenticated: bool) -> Timestamp {
        match self.ended {
            Ended::Not if authenticated => self.ping_at,
            Ended::Not => self.ping_at.min(self.since.plus(limits::AUTHENTICATION_TIMEOUT_MS)),
            Ended::Closing => self.since.plus(CLOSE_ANSWER_MAX_MS),
            Ended::Gone => self.since,
        }
    }
}

impl Session {
    /// Says why, closes, and takes nothing more.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str, now: Timestamp) {
        if self.life.ended != Ended::Not {
            return;
        }
        self.reply(encoder::close(code, reason));
        self.life.ended = Ended::Closing;
        self.life.since = now;
        self.drop_subscriptions();
    }

    /// The server is going away: the client may come back after `after_ms`, which is spread over all clients.
    pub fn drain(&mut self, after_ms: u64, now: Timestamp) {
        if self.life.ended == Ended::Not {
            self.say(&ServerMessage::Reconnect { after_ms, reason: "drain".to_owned() }, now);
            self.close(CloseCode::GOING_AWAY, "Server is restarting", now);
        }
    }

    /// Bad token, or one whose time is over.
    pub(super) fn refuse_token(&mut self, code: CloseCode, reason: &str, now: Timestamp) {
        self.refuse(&Problem::new(ErrorCode::Unauthorized, "Invalid or expired token"), None, None, now);
        self.close(code, reason, now);
    }

    /// When the token's time and its grace are over.
    pub(super) fn expiry(&self) -> Option<Timestamp> {
        let expires_at = self.identity.as_ref()?.expires_at?;
        Some(expires_at.plus(self.node.expiry_grace_ms?))
    }

    pub(super) fn live(&mut self, now: Timestamp, flushed: bool) {
        match self.life.ended {
            Ended::Gone => return,
            Ended::Closing => {
                if now.since(self.life.since) >= CLOSE_ANSWER_MAX_MS {
                    self.life.gone();
                }
                return;
            }
            Ended::Not => {}
        }
        if !self.is_known() && now.since(self.life.since) >= limits::AUTHENTICATION_TIMEOUT_MS {
            let late = "Authentication timeout. Send authenticate message within 10 seconds.";
            self.refuse(&Problem::new(ErrorCode::Unauthorized, late), None, None, now);
            return self.close(CloseCode::AUTHENTICATION_TIMEOUT, "Authentication timeout", now);
        }
        if self.expiry().is_some_and(|at| now >= at) {
            return self.refuse_token(CloseCode::AUTHENTICATION_FAILED, "Token expired", now);
        }
        if now < self.life.ping_at {
            return;
        }
        self.life.ping_at = now.plus(limits::PING_INTERVAL_MS);
        if !flushed {
            // The last ping may not have left yet, and another would only wait. The transport watches a stuck socket.
            return;
        }
        if self.life.asked {
            // Dead: no close frame would arrive. The client sees 1006, or nothing.
            return self.life.gone();
        }
        self.life.asked = true;
        self.reply(encoder::ping(b""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_came_at_once_is_pinged_all_over_the_second_half_of_the_interval() {
        const CROWD: u64 = 10_000;
        let now = Timestamp(1_737_331_280_000);
        let half = limits::PING_INTERVAL_MS / 2;
        let mut each_second = vec![0_u64; usize::try_from(half / 1_000).unwrap()];
        for spread in 0..CROWD {
            let wait = Life::new(spread, now).deadline(true).since(now);
            assert!((half..limits::PING_INTERVAL_MS).contains(&wait), "{wait}");
            each_second[usize::try_from((wait - half) / 1_000).unwrap()] += 1;
        }
        let share = CROWD / each_second.len() as u64;
        let even = each_second.iter().all(|count| (share * 9 / 10..=share * 11 / 10).contains(count));
        assert!(even, "{each_second:?}");
    }
}
