//! Time, passed in.

use std::{future::Future, pin::Pin};

use protocol::Timestamp;

/// A clock somebody else winds: the system's in production, a test's or a simulation's elsewhere.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Returns when it is `at`, or later.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
