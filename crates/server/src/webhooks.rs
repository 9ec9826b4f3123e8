//! Webhooks: a tenant's endpoints hear by HTTP of what happened, at least once, in the order of each generation.
//!
//! ```text
//! webhooks/collect.rs    the log is read by a durable cursor; what endpoints want becomes due
//! webhooks/courier.rs    one task an endpoint: what is due is sent, tried again, or buried
//! webhooks/message.rs    what is sent: body, id, signature
//! webhooks/call.rs       one HTTP call, with bounds on everything the other side decides
//! webhooks/address.rs    which addresses may be called
//! webhooks/schedule.rs   when a failed message is tried again
//! webhooks/counts.rs     metrics
//! webhooks/operate.rs    what operators see and do
//! ```
//! What is due lies in the store's ledger and never in memory, so a crash forgets nothing and a receiver that is down
//! costs rows, not a queue. Nothing of this is on the way of an event: the log is read like any watcher reads it.

mod address;
pub(crate) mod call;
mod collect;
mod counts;
mod courier;
mod message;
pub(crate) mod operate;
mod schedule;

use std::{path::Path, sync::Arc};

use access::webhook::SigningKey;
use bus::{Bus, Listener, Signal};
use gateway::encode::Encoder;
use store::{Ledger, Store, ledger::LedgerError};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Now,
    config::{Config, ConfigError, Webhook},
};
use call::Caller;
use collect::Collector;
pub(crate) use counts::WebhookCounts;
use courier::Courier;

/// What sending needs from outside.
pub(crate) struct Options<'a> {
    pub(crate) config: &'a Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: &'a dyn Bus,
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) now: Now,
    pub(crate) tracker: &'a TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Why webhooks did not start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A secret cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ledger cannot be opened; the text says what was found and what to do.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger or the log cannot be read.
    #[error("reading what webhooks still have to send")]
    Read(#[from] store::StoreError),
    /// The HTTP client cannot be made, for want of certificates most likely.
    #[error("making the client of webhooks")]
    Client(#[source] reqwest::Error),
}

/// One endpoint, with what its parts share.
#[derive(Debug)]
struct Endpoint {
    config: Webhook,
    keys: Vec<SigningKey>,
    /// Something became due, or an operator did something.
    wake: Notify,
}

/// The endpoints of this server.
#[derive(Debug)]
pub(crate) struct Webhooks {
    endpoints: Vec<Arc<Endpoint>>,
    /// Absent where there was never an endpoint.
    ledger: Option<Arc<Ledger>>,
    counts: Arc<WebhookCounts>,
}

/// Wakes the collector when something was committed. The bus may lose that; the collector looks by itself too.
struct Ears(Arc<Notify>);

impl Listener for Ears {
    fn hear(&self, signal: &Signal) {
        if let Signal::Events(_) = signal {
            self.0.notify_one();
        }
    }
}

impl Webhooks {
    /// Starts a task for the log and one for each endpoint.
    pub(crate) async fn start(options: Options<'_>) -> Result<Arc<Self>, WebhookError> {
        let counts = Arc::new(WebhookCounts::default());
        let endpoints = endpoints(options.config)?;
        if endpoints.is_empty() && !Ledger::exists(&options.config.data) {
            return Ok(Arc::new(Self { endpoints, ledger: None, counts }));
        }
        let head = options.store.log_head().await?;
        let ledger = Arc::new(open(&options.config.data, &*options.store, head).await?);
        let names = endpoints.iter().map(|endpoint| endpoint.config.name.clone()).collect();
        for forgotten in ledger.register(names, head).await? {
            tracing::warn!(
                endpoint = forgotten,
                "webhook is no longer configured; what it still had to get is forgotten"
            );
        }
        let webhooks = Arc::new(Self { endpoints, ledger: Some(Arc::clone(&ledger)), counts });
        if !webhooks.endpoints.is_empty() {
            webhooks.spawn(options, ledger).await?;
        }
        Ok(webhooks)
    }

    async fn spawn(&self, options: Options<'_>, ledger: Arc<Ledger>) -> Result<(), WebhookError> {
        let Options { config, store, bus, encoder, now, tracker, stop } = options;
        let committed = Arc::new(Notify::new());
        bus.listen(Arc::new(Ears(Arc::clone(&committed))));
        let collector = Collector {
            cursor: ledger.cursor().await?,
            store: Arc::clone(&store),
            ledger: Arc::clone(&ledger),
            endpoints: self.endpoints.clone(),
            committed,
            counts: Arc::clone(&self.counts),
            unwritten: 0,
        };
        tracker.spawn(collector.run(stop.clone()));
        let caller = Arc::new(Caller::new(&config.webhooks_allow).map_err(WebhookError::Client)?);
        for endpoint in &self.endpoints {
            let courier = Courier::new(courier::Bag {
                endpoint: Arc::clone(endpoint),
                store: Arc::clone(&store),
                ledger: Arc::clone(&ledger),
                encoder: Arc::clone(&encoder),
                caller: Arc::clone(&caller),
                counts: Arc::clone(&self.counts),
                now: Arc::clone(&now),
            });
            tracker.spawn(courier.run(stop.clone()));
        }
        Ok(())
    }

    /// The counters, for metrics.
    pub(crate) const fn counts(&self) -> &Arc<WebhookCounts> {
        &self.counts
    }

    /// How the endpoints stand, for metrics and operators; none where there is no ledger.
    pub(crate) async fn standings(&self) -> Result<Vec<store::ledger::Standing>, store::StoreError> {
        match &self.ledger {
            Some(ledger) => ledger.standings().await,
            None => Ok(Vec::new()),
        }
    }

    /// The endpoint of this name, with its ledger.
    fn find(&self, name: &str) -> Option<(&Arc<Endpoint>, &Arc<Ledger>)> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.config.name == name)?;
        Some((endpoint, self.ledger.as_ref()?))
    }
}

fn endpoints(config: &Config) -> Result<Vec<Arc<Endpoint>>, ConfigError> {
    let endpoint = |config: &Webhook| {
        Ok(Arc::new(Endpoint { keys: config.read_keys()?, config: config.clone(), wake: Notify::new() }))
    };
    config.webhooks.iter().map(endpoint).collect()
}

async fn open(folder: &Path, store: &dyn Store, head: store::LogPosition) -> Result<Ledger, WebhookError> {
    let (folder, epoch) = (folder.to_owned(), store.epoch());
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&folder, &epoch, head)).await;
    let opened = opened.map_err(|error| LedgerError::Thread(std::io::Error::other(error)))?;
    Ok(opened?)
}
