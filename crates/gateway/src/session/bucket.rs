//! How often a connection may subscribe: a bucket that refills with time.

use protocol::{Timestamp, limits};

/// Milliseconds that earn one more.
const REFILL_MS: u64 = 60_000 / limits::SUBSCRIBES_PER_MINUTE as u64;

/// Starts full, at [`limits::SUBSCRIBES_BURST`], and refills at [`limits::SUBSCRIBES_PER_MINUTE`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    left: u32,
    counted_at: Timestamp,
}

impl Bucket {
    pub(super) const fn full(now: Timestamp) -> Self {
        Self { left: limits::SUBSCRIBES_BURST, counted_at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let earned = now.since(self.counted_at) / REFILL_MS;
        self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(limits::SUBSCRIBES_BURST);
        // Only whole tokens are counted; the rest of the time goes on counting.
        self.counted_at = self.counted_at.plus(earned * REFILL_MS);
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_five_a_second() {
        let mut bucket = Bucket::full(Timestamp(0));
        let passed = (0..200).filter(|_| bucket.take(Timestamp(0))).count();
        assert_eq!(passed, usize::try_from(limits::SUBSCRIBES_BURST).unwrap());
        let passed = (0..100).filter(|_| bucket.take(Timestamp(1_000))).count();
        assert_eq!(passed, 5);
    }
}
