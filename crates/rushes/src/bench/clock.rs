//! The one clock of a run: nanoseconds that all processes of this machine count alike.
//!
//! It is the wall clock, because that needs neither a library nor `unsafe`; if somebody sets it during a run, an absurd
//! maximum says so.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the bench is its own clock")]
pub(crate) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
