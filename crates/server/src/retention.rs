//! Retention: what is older than the operator wants is removed, in batches small enough that nobody waits for them.

use std::{sync::Arc, time::Duration};

use bus::{Bus, Signal};
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{blobs::Blobs, clock::Now, config::Retention, metrics::Metrics};

/// Between two looks, when there was nothing left to remove: retention is set in days, a minute late is on time.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two batches, so that commits come first.
const BREATH: Duration = Duration::from_millis(50);
/// Generations of one batch: about what one group commit writes.
const BATCH: usize = 100;

/// Removes what is too old. Owned by the server's tracker.
pub(crate) struct Sweeper {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Blobs,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) now: Now,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) retention: Retention,
}

impl Sweeper {
    /// Runs until `stop` fires. The batch in hand is finished first.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let pause = match self.batch().await {
                Ok(0) => PAUSE,
                Ok(_) => BREATH,
                Err(error) => {
                    tracing::warn!(%error, "retention found no store");
                    PAUSE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One batch; how much it removed.
    async fn batch(&self) -> Result<usize, StoreError> {
        let now = (self.now)();
        let before = |age: Option<Duration>| {
            age.map(|age| protocol::Timestamp(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))))
        };
        let removal = self.blobs.removal();
        let uploads = match before(self.retention.uploads) {
            Some(before) => self.store.sweep_uploads(before, BATCH).await?,
            None => 0,
        };
        let swept = self.store.sweep(before(self.retention.events), before(self.retention.artifacts), BATCH).await?;
        let removed = uploads + swept.generations.len();
        self.metrics.swept(swept.generations.len());
        for generation in swept.generations {
            self.bus.publish(Signal::Deleted(generation));
        }
        let gone = removal.remove(swept.blobs).await;
        // What stays is told of again, and does not hasten the next batch.
        let removed = removed + gone.len();
        if !gone.is_empty() {
            self.store.forget_blobs(gone).await?;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;
