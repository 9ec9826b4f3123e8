//! Sends one endpoint what is due to it, a few generations at once, each in its own order.
//!
//! A generation that fails waits by itself; the others go on. What is due is in the ledger: this task may die at any
//! moment, and the next one sends again what was not written down as taken.

use std::{collections::HashSet, sync::Arc, time::Duration};

use gateway::encode::Encoder;
use protocol::{Event, GenerationId, Sequence, Timestamp};
use store::{Ledger, Store, StoreError, ledger::Due};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Endpoint, WebhookCounts,
    call::{Caller, Failure, Outcome},
    message::Message,
    schedule,
};
use crate::{clock::Now, random::random};

/// Generations of one endpoint that are sent at once: what a small receiver bears, and one that hangs keeps no more.
const AT_ONCE: usize = 8;
/// Events read of one generation at once.
const PAGE: usize = 64;
/// A look without being told.
const LOOK: Duration = Duration::from_secs(60);
/// After a ledger or a log that did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// A stopping server waits so long for calls under way; what they sent is otherwise sent again.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What a courier carries.
pub(super) struct Bag {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) store: Arc<dyn Store>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) encoder: Arc<Encoder>,
    pub(super) caller: Arc<Caller>,
    pub(super) counts: Arc<WebhookCounts>,
    pub(super) now: Now,
}

/// One task for one endpoint.
pub(super) struct Courier {
    bag: Arc<Bag>,
    /// Being sent right now: at most [`AT_ONCE`].
    under_way: HashSet<GenerationId>,
    sending: JoinSet<GenerationId>,
}

impl Courier {
    pub(super) fn new(bag: Bag) -> Self {
        Self { bag: Arc::new(bag), under_way: HashSet::new(), sending: JoinSet::new() }
    }

    /// Runs until `stop` fires.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = self.fill().await.unwrap_or_else(|error| {
                tracing::warn!(endpoint = self.bag.name(), %error, "what is due cannot be read");
                RETRY
            });
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.sending.join_next(), if !self.sending.is_empty() => self.ended(ended),
                () = self.bag.endpoint.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
        let all = async { while self.sending.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, all).await.is_err() {
            self.sending.shutdown().await;
        }
    }

    fn ended(&mut self, ended: Result<GenerationId, tokio::task::JoinError>) {
        match ended {
            Ok(generation) => {
                self.under_way.remove(&generation);
            }
            Err(error) => {
                // Whose it was is not known any more, so none is taken for under way that is not.
                tracing::error!(endpoint = self.bag.name(), %error, "sending broke off");
                self.sending.abort_all();
                self.sending = JoinSet::new();
                self.under_way.clear();
            }
        }
    }

    /// Begins as much as there is room for; how long nothing else is due.
    async fn fill(&mut self) -> Result<Duration, StoreError> {
        if self.under_way.len() >= AT_ONCE {
            return Ok(LOOK);
        }
        let now = (self.bag.now)();
        // What is under way is still due, and comes first among the longest waiting.
        let (dues, next_at) = self.bag.ledger.due(self.bag.name(), now, AT_ONCE + self.under_way.len()).await?;
        for due in dues {
            if self.under_way.len() >= AT_ONCE || !self.under_way.insert(due.generation.clone()) {
                continue;
            }
            let bag = Arc::clone(&self.bag);
            self.sending.spawn(async move {
                let generation = due.generation.clone();
                if let Err(error) = bag.serve(due).await {
                    tracing::warn!(endpoint = bag.name(), %generation, %error, "sending waits for the store");
                    sleep(RETRY).await;
                }
                generation
            });
        }
        Ok(next_at.map_or(LOOK, |at| Duration::from_millis(at.since(now).max(1))).min(LOOK))
    }
}

impl Bag {
    fn name(&self) -> &str {
        &self.endpoint.config.name
    }

    /// Sends what is due of one generation, in order, until all of it was taken or one message was not. What lies beyond
    /// the target was not yet found by the collector, who would find it again after it was sent.
    async fn serve(&self, due: Due) -> Result<(), StoreError> {
        // `sent` is what the ledger says, `after` what was looked at.
        let Due { generation, mut sent, mut target, mut failures, .. } = due;
        let mut after = sent;
        loop {
            let page = self.store.events_after(&generation, after, PAGE).await?;
            for stored in page.iter().filter(|stored| stored.event.sequence <= target) {
                let event = &stored.event;
                if self.endpoint.config.wants(&event.tenant_id, event.kind) {
                    if !self.send(event, sent, failures).await? {
                        return Ok(());
                    }
                    (sent, failures) = (event.sequence, 0);
                }
                after = event.sequence;
            }
            // With an empty page nothing more is in the log, whatever was expected: the generation was deleted.
            let settled = if page.is_empty() { target.max(after) } else { after };
            match self.ledger.settle(self.name(), &generation, sent, settled).await? {
                Some(further) => (sent, target) = (settled, further),
                None => return Ok(()),
            }
        }
    }

    /// One try of one message, where all up to `sent` was sent; may the next one be sent?
    async fn send(&self, event: &Event, sent: Sequence, failures: u32) -> Result<bool, StoreError> {
        let (name, generation) = (self.name(), &event.generation_id);
        let message = Message::new(&self.endpoint, &self.encoder, event, (self.now)());
        let begun = Instant::now();
        let outcome = self.caller.call(&self.endpoint.config.url, &message).await;
        self.counts.call(name, &outcome, begun.elapsed());
        match outcome {
            Outcome::Taken => {
                // No when somebody disabled the endpoint meanwhile, or redrove earlier events, which come first.
                self.ledger.advance(name, generation, sent, event.sequence).await
            }
            Outcome::Gone => {
                tracing::warn!(endpoint = name, "webhook answered 410 and is disabled; `enable` it when it is back");
                self.ledger.disable(name, (self.now)(), "it answered 410 Gone").await?;
                Ok(false)
            }
            Outcome::Failed { kind, why, asked } => {
                self.failed(event, failures + 1, &Trouble { kind, why, asked }).await?;
                Ok(false)
            }
        }
    }

    async fn failed(&self, event: &Event, failures: u32, trouble: &Trouble) -> Result<(), StoreError> {
        let (name, generation, correlation) = (self.name(), &event.generation_id, &event.causal_id);
        let (now, why) = ((self.now)(), &trouble.why);
        let waits = &self.endpoint.config.retries;
        let next: Option<Timestamp> = schedule::next(waits, failures, trouble.asked, u64::from_le_bytes(random()), now);
        let Some(next) = next else {
            let dropped = self.ledger.bury(name, generation, now, why).await?;
            self.counts.buried(name, dropped);
            tracing::warn!(endpoint = name, %generation, %correlation, failures, why, "webhook given up; it is a dead letter");
            return Ok(());
        };
        let kind = trouble.kind;
        tracing::info!(endpoint = name, %generation, %correlation, failures, ?kind, why, "webhook failed and is tried again");
        self.ledger.postpone(name, generation, now, next).await
    }
}

/// Why a message was not taken.
struct Trouble {
    kind: Failure,
    why: String,
    asked: Option<Duration>,
}
