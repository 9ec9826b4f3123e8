//! Rates that rise until one is not held. Over one server or several, a run is the caller's.

use std::time::Duration;

use anyhow::Result;

use super::stand::Ran;

/// How long each rung lasts.
pub(crate) const RUNG: Duration = Duration::from_secs(4);
/// People notice a tenth of a second.
const P99_MAX_MS: f64 = 100.0;

/// Climbs `rates` until one is not held. Such a rung is tried twice, for once may be a stall that any server has now and then.
/// Answers one run of each rung; only the last may not have been held.
pub(crate) async fn climb(rates: &[f64], mut run: impl AsyncFnMut(f64) -> Result<Ran>) -> Result<Vec<Ran>> {
    let mut rungs = Vec::new();
    for rate in rates {
        let mut ran = run(*rate).await?;
        tell(&ran);
        if !is_held(&ran) {
            ran = run(*rate).await?;
            tell(&ran);
        }
        let goes_on = is_held(&ran);
        rungs.push(ran);
        if !goes_on {
            break;
        }
    }
    Ok(rungs)
}

/// The best run that was held.
pub(crate) async fn highest(rates: &[f64], run: impl AsyncFnMut(f64) -> Result<Ran>) -> Result<Option<Ran>> {
    Ok(climb(rates, run).await?.into_iter().rfind(is_held))
}

/// Did everything come, in time, at the rate that was wanted?
fn is_held(ran: &Ran) -> bool {
    ran.check().is_ok() && ran.p99() < P99_MAX_MS && ran.published() > ran.rate * 0.95
}

fn tell(ran: &Ran) {
    eprintln!(
        "  {:>8.0}/s: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms{}",
        ran.rate,
        ran.published(),
        ran.tally.latency.percentile(0.5).unwrap_or(f64::NAN),
        ran.p99(),
        ran.check().err().map_or_else(String::new, |error| format!("; {error}"))
    );
}
