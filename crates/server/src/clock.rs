//! The system clock: the one place where the server asks what time it is.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use protocol::Timestamp;

/// Tells the time. Tests pass their own.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The time of the machine.
#[must_use]
pub fn system() -> Now {
    Arc::new(now)
}

/// The wall clock at the first look, and what has passed since by a clock nobody sets: a step of the wall clock, or a
/// machine that slept, must not end every lease at once or stop every timer.
static ANCHOR: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (wall(), Instant::now()));

/// The time of the machine as it was at the start, and what has passed since.
#[must_use]
pub fn now() -> Timestamp {
    let (start, since) = &*ANCHOR;
    start.plus(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A clock set before 1970 reads as 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The machine's clock, as the orchestrator takes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl orchestrator::Clock for System {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Tokio's timer may fire up to a millisecond late and never early.
        Box::pin(tokio::time::sleep(Duration::from_millis(at.since(now()))))
    }
}
