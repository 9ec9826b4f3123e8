//! How the connections of a server that goes away are spread: when each is closed, and when it may come back.
//!
//! Closed all at once, ten thousand clients would come back at once, and the next server would spend its first seconds on
//! handshakes. Nobody is told to come back before the last one has left: until then nobody listens.

use protocol::Timestamp;

/// Microseconds that one client costs who leaves and comes back: handshake, token, state, on one of two cores.
const RETURN_COST_US: u64 = 300;
/// A restart takes about a second; half of it has passed when the last connection is closed.
const RESTART_MS: u64 = 500;
/// Clients come back over at least so long, in milliseconds, however few there are.
const RETURN_SPREAD_MIN_MS: u64 = 500;

/// The end of one connection of a server that goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Departure {
    /// When it is closed.
    pub(crate) at: Timestamp,
    /// What its client is told: how long after that it may come back, in milliseconds.
    pub(crate) back_after_ms: u64,
}

impl Departure {
    /// Of one among so many `connections`, of a server that waits `drain_ms` for all of them.
    pub(crate) fn new(connections: u64, drain_ms: u64, random: [u8; 10], now: Timestamp) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = random;
        let (first, second) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let needed = connections.saturating_mul(RETURN_COST_US) / 1_000;
        // The other half of the drain is for what has been said to arrive.
        let spread = needed.min(drain_ms / 2);
        let wait = u64::from(first) % (spread + 1);
        let back = u64::from(second) % needed.max(RETURN_SPREAD_MIN_MS);
        Self { at: now.plus(wait), back_after_ms: (spread - wait) + RESTART_MS + back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// Departures of a crowd, by numbers that are spread as random ones are.
    fn crowd(connections: u64, drain_ms: u64) -> Vec<Departure> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let one = |_| {
            let mut bytes = [0; 10];
            bytes[..4].copy_from_slice(&random().to_le_bytes());
            bytes[4..8].copy_from_slice(&random().to_le_bytes());
            Departure::new(connections, drain_ms, bytes, NOW)
        };
        (0..connections).map(one).collect()
    }

    #[test]
    fn a_crowd_leaves_over_seconds_within_half_the_drain() {
        let crowd = crowd(10_000, 10_000);
        let first = crowd.iter().map(|one| one.at).min().unwrap();
        let last = crowd.iter().map(|one| one.at).max().unwrap();
        assert!(last.since(first) > 2_900 && last.since(NOW) <= 3_000, "{first} to {last}");
        // No tenth of a second sees more than a few times its share.
        let busiest = (0..30).map(|n| crowd.iter().filter(|one| one.at.since(NOW) / 100 == n).count()).max().unwrap();
        assert!(busiest < 500, "{busiest}");
    }

    #[test]
    fn nobody_is_told_to_come_back_before_the_last_one_has_left() {
        for (connections, drain_ms) in [(1, 10_000), (100, 0), (10_000, 10_000), (1_000_000, 10_000)] {
            let crowd = crowd(connections.min(5_000), drain_ms);
            let last = crowd.iter().map(|one| one.at).max().unwrap();
            assert!(last.since(NOW) <= drain_ms / 2);
            let back = |one: &Departure| one.at.plus(one.back_after_ms);
            assert!(crowd.iter().all(|one| back(one) >= last.plus(RESTART_MS)));
            let spread = crowd.iter().map(back).max().unwrap().since(crowd.iter().map(back).min().unwrap());
            assert!(crowd.len() < 100 || spread > RETURN_SPREAD_MIN_MS / 2, "{spread}");
        }
    }

    #[test]
    fn few_leave_and_return_within_a_second() {
        let crowd = crowd(3, 10_000);
        assert!(crowd.iter().all(|one| one.at == NOW && one.back_after_ms <= 1_000), "{crowd:?}");
    }
}
