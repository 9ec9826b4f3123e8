//! How long to wait before the next try: doubling, with full jitter, so that many clients of one server spread out.

use std::time::Duration;

/// 0.2 s: a restarted server is there within about a second.
const FIRST: Duration = Duration::from_millis(200);
/// 10 s: the time a lease outlives its worker's socket; longer waits would lose runs that could go on.
const LONGEST: Duration = Duration::from_secs(10);

/// Counts tries that went wrong.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait, with `unit` as the chance from 0 to 1.
    pub(crate) fn next(&mut self, unit: f64) -> Duration {
        let bound = FIRST.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX)).min(LONGEST);
        self.tries = (self.tries + 1).min(16);
        bound.mul_f64(unit.clamp(0.0, 1.0))
    }

    /// It worked.
    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_start_over() {
        let mut backoff = Backoff::default();
        let bounds: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.next(0.5).as_millis(), 100);
    }

    #[test]
    fn waits_never_overflow() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= LONGEST);
        }
    }
}
