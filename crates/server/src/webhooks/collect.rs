//! Reads the log by a durable cursor and notes what endpoints want to hear of.
//!
//! The cursor and what was found are written together, so nothing falls between two reads, whenever the process dies.

use std::{sync::Arc, time::Duration};

use store::{Ledger, LogPosition, Store, StoreError, ledger::Found};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Endpoint, WebhookCounts};

/// Events of one read: two reads of the log's cache.
const PAGE: usize = 512;
/// Between two reads while events come, so that a busy log is read in pages and not event by event.
const BREATH: Duration = Duration::from_millis(20);
/// A look without being told, since a bus may lose what it should tell.
const LOOK: Duration = Duration::from_secs(15);
/// After a read or a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// The cursor is written at the latest after so many events nobody wanted; a crash reads them again.
const UNWRITTEN_MAX: usize = 10_000;

/// Follows the log for all endpoints.
pub(super) struct Collector {
    pub(super) cursor: LogPosition,
    pub(super) store: Arc<dyn Store>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) committed: Arc<Notify>,
    pub(super) counts: Arc<WebhookCounts>,
    /// Events read since the cursor was last written.
    pub(super) unwritten: usize,
}

impl Collector {
    /// Runs until `stop` fires. The page in hand is finished first.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.page().await {
                Ok(true) => BREATH,
                Ok(false) => {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        () = self.committed.notified() => BREATH,
                        () = sleep(LOOK) => continue,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "webhooks cannot follow the log");
                    RETRY
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        if let Err(error) = self.ledger.collect(self.cursor, Vec::new()).await {
            tracing::debug!(%error, "the cursor of webhooks was not written; the next start reads a little twice");
        }
    }

    /// Reads one page; is there more?
    async fn page(&mut self) -> Result<bool, StoreError> {
        let page = self.store.log_after(self.cursor, PAGE).await?;
        let Some(last) = page.last().map(|logged| logged.position) else { return Ok(false) };
        let mut found = Vec::new();
        let mut awake = vec![false; self.endpoints.len()];
        for logged in &page {
            for (endpoint, awake) in self.endpoints.iter().zip(&mut awake) {
                if endpoint.config.wants(&logged.event.tenant_id, logged.event.kind) {
                    *awake = true;
                    found.push(Found {
                        endpoint: endpoint.config.name.clone(),
                        generation: logged.event.generation_id.clone(),
                        sequence: logged.event.sequence,
                        position: logged.position,
                    });
                }
            }
        }
        self.unwritten += page.len();
        if !found.is_empty() || self.unwritten >= UNWRITTEN_MAX {
            self.ledger.collect(last, found).await?;
            self.unwritten = 0;
        }
        self.cursor = last;
        self.counts.read_to(last);
        for (endpoint, _) in self.endpoints.iter().zip(awake).filter(|(_, awake)| *awake) {
            endpoint.wake.notify_one();
        }
        Ok(page.len() == PAGE)
    }
}
