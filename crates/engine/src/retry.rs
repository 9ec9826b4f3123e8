//! Where a generation goes on after a run that did not end well, and how long it waits first.

use protocol::Stage;

use crate::state::State;

/// The earliest stage whose inputs another worker can get: the one after the last stage before `stage` that was completed
/// and whose files were uploaded. Whatever was only in the lost worker's memory is made again.
pub(crate) fn resume_at(state: &State, stage: usize) -> usize {
    if state.ending.is_some() {
        // A clean-up goes on from nothing but itself.
        return stage;
    }
    (0..stage).rev().find(|&earlier| is_kept(state, earlier)).map_or(0, |kept| kept + 1)
}

fn is_kept(state: &State, stage: usize) -> bool {
    let (Some(known), Some(definition)) = (state.stages.get(stage), state.pipeline.stages.get(stage)) else {
        return false;
    };
    known.completed && definition.keep && state.artifacts.iter().any(|(keeper, _)| *keeper == definition.name)
}

/// Milliseconds to wait after `failures` earlier failures of `stage`: exponential with full jitter, so that work that
/// failed together does not come back together; at least one, so that a retry is never the same instant.
pub(crate) fn wait_ms(stage: &Stage, failures: u32, random: u64) -> u64 {
    let doubled = stage.backoff_ms.saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX));
    1 + random % doubled.min(stage.backoff_max_ms).max(1)
}

#[cfg(test)]
mod tests {
    use protocol::limits::RETRY_DELAY_MAX_MS;

    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_is_never_zero() {
        let stage = Stage::new(protocol::StageName::new("draw").unwrap());
        let longest = |failures| wait_ms(&stage, failures, u64::MAX - u64::MAX % RETRY_DELAY_MAX_MS - 1);
        assert_eq!(wait_ms(&stage, 0, 0), 1);
        assert_eq!((0..3).map(|n| wait_ms(&stage, n, 199)).collect::<Vec<_>>(), [200, 200, 200]);
        assert_eq!(wait_ms(&stage, 2, 799), 800);
        for failures in [0, 1, 8, 9, 63, 64, 65, u32::MAX] {
            assert!((1..=RETRY_DELAY_MAX_MS).contains(&longest(failures)));
        }
        assert_eq!(longest(64), RETRY_DELAY_MAX_MS);
        let own = Stage { backoff_ms: 1_000, backoff_max_ms: 3_000, ..stage };
        assert_eq!((0..4).map(|n| wait_ms(&own, n, 999_999 * 3 + 2)).max(), Some(3_000));
    }
}
