//! When a failed message is tried again: a bounded list of waits, each drawn at random up to its bound, so that a
//! receiver that comes back is not met by everything at once. Pure.

use std::time::Duration;

use protocol::Timestamp;

/// A receiver may ask for so much patience at most: a day, as the longest wait there is.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// When the message is tried again after `failures` tries that ended badly, the last of them at `now`; `None` when that
/// was the last. What the receiver asked for (`Retry-After`) is a lower bound.
pub(super) fn next(
    waits: &[Duration],
    failures: u32,
    asked: Option<Duration>,
    random: u64,
    now: Timestamp,
) -> Option<Timestamp> {
    let bound = waits.get(usize::try_from(failures).ok()?.checked_sub(1)?)?;
    let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
    let asked_ms = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
    // The highest 64 bits of the product are spread evenly below the bound.
    let wait_ms = ((u128::from(random) * u128::from(bound_ms)) >> 64) as u64;
    Some(now.plus(wait_ms.max(asked_ms).max(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn after_the_last_wait_there_is_no_next_try() {
        let waits = [Duration::from_secs(1), Duration::from_secs(10)];
        assert!(next(&waits, 1, None, u64::MAX, NOW) >= Some(NOW.plus(999)));
        assert!(next(&waits, 2, None, u64::MAX, NOW) >= Some(NOW.plus(9_999)));
        assert_eq!(next(&waits, 3, None, 7, NOW), None);
        assert_eq!(next(&[], 1, None, 7, NOW), None);
        let asked = Some(Duration::from_secs(30));
        assert_eq!(next(&waits, 1, asked, 7, NOW), Some(NOW.plus(30_000)));
        let for_ever = Some(Duration::from_secs(u64::MAX));
        assert_eq!(next(&waits, 1, for_ever, 7, NOW), Some(NOW.plus(86_400_000)));
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_at_once_and_its_bound(random: u64, seconds in 1..86_400_u64) {
            let at = next(&[Duration::from_secs(seconds)], 1, None, random, NOW).unwrap();
            prop_assert!(at > NOW && at <= NOW.plus(seconds * 1_000));
        }
    }
}
