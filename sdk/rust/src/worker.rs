//! The worker half: takes runs from a server, hands them to a [`Handler`], and carries back what it says of them.
//!
//! ```text
//! worker/life.rs   the owner task: connection, handlers, shutdown
//! worker/desk.rs   what is held and what is still to be said; pure
//! worker/line.rs   one connection after another
//! worker/run.rs    what a handler holds
//! ```
//! A connection that breaks does not disturb a run: it goes on, what it says waits, and the lease is resumed.

mod desk;
mod life;
mod line;
mod run;
mod stop;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use protocol::{Metadata, Pipeline, PoolName, WorkerId, limits, worker::FailureKind};
use tokio_util::sync::CancellationToken;

use crate::{Address, random};

pub use crate::transfer::{Content, TransferError};
pub use run::{Offer, Picture, Run, SayError, Wanted};
pub use stop::Stop;

/// Facts for the terminal event, or for later runs. `video` and `thumbnail` name artifacts.
pub type Outputs = Metadata;

/// 10 s: as long as a stopping server waits for its connections.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Runs what a server offers.
///
/// ```no_run
/// use rushes_sdk::{Failure, Handler, Run, Worker, worker::Outputs};
/// use tokio_util::sync::CancellationToken;
///
/// struct Model;
///
/// #[async_trait::async_trait]
/// impl Handler for Model {
///     async fn run(&self, run: Run) -> Result<Outputs, Failure> {
///         for stage in &run.offer().stages {
///             for step in 0..=50_u32 {
///                 if run.cancelled().is_cancelled() {
///                     return Err(Failure::cancelled());
///                 }
///                 run.progress(&stage.name, f64::from(step * 2), Some(format!("step {step}")), None);
///             }
///             run.stage_completed(&stage.name, None).await?;
///         }
///         Ok(Outputs::new())
///     }
/// }
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::builder("https://films.example", "token").name("w1").pool("gpu", 1).build()?;
/// worker.run(CancellationToken::new(), Model).await?;
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Executes one run. When [`Run::cancelled`] fires, return soon; what is returned then decides little.
    ///
    /// # Errors
    /// [`Failure`] ends the run badly; its kind decides whether it is tried again.
    async fn run(&self, run: Run) -> Result<Outputs, Failure>;

    /// Should this offer be taken? Must answer at once.
    fn accepts(&self, offer: &Offer) -> bool {
        let _ = offer;
        true
    }
}

/// Why a run ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Decides whether it is tried again.
    pub kind: FailureKind,
    /// For programs; empty takes the kind's own.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure of this kind, with a sentence for people.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, code: String::new(), message: message.into() }
    }

    /// Another try may succeed.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Retryable, message)
    }

    /// No try will succeed.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Fatal, message)
    }

    /// The request cannot be done; the fault is the client's.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidInput, message)
    }

    /// It did not fit.
    pub fn out_of_memory(message: impl Into<String>) -> Self {
        Self::new(FailureKind::OutOfMemory, message)
    }

    /// What to return when [`Run::cancelled`] fired.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(FailureKind::Retryable, "stopped on request").code("CANCELLED")
    }

    /// The same, with a code for programs.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }
}

impl From<SayError> for Failure {
    fn from(error: SayError) -> Self {
        match error {
            SayError::Over => Self::cancelled(),
            SayError::Refused { code, message } => Self::retryable(format!("{code}: {message}")),
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Over => Self::cancelled(),
            other => Self::retryable(other.to_string()).code("TRANSFER"),
        }
    }
}

/// Why a worker ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The server does not want this token. Never retry with the same one.
    #[error("the server refused the token: {0}")]
    TokenRefused(String),
}

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] crate::InvalidAddress),
    /// A name is none.
    #[error("invalid name")]
    Name(#[from] protocol::InvalidId),
    /// Nothing could be offered to it.
    #[error("pool `{pool}` has {slots} slots: give it 1 to {max}", max = limits::SLOTS_MAX)]
    Slots {
        /// Which pool.
        pool: String,
        /// Slots given.
        slots: u32,
    },
    /// No TLS roots, or the like.
    #[error("http client")]
    Http(#[source] reqwest::Error),
}

/// A worker that is ready to connect.
#[derive(Debug)]
pub struct Worker {
    settings: Arc<Settings>,
}

/// What a worker is and can.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) token: String,
    pub(crate) http: reqwest::Client,
    pub(crate) uploads: reqwest::Client,
    pub(crate) name: WorkerId,
    pub(crate) instance: String,
    pub(crate) pools: BTreeMap<PoolName, u32>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) drain_max: Duration,
}

impl Settings {
    /// Runs it works on at once.
    pub(crate) fn slots(&self) -> usize {
        self.pools.values().map(|slots| *slots as usize).sum()
    }
}

impl Worker {
    /// A worker for the server at `url`, which enters with `token` (role `worker`).
    pub fn builder(url: &str, token: impl Into<String>) -> Builder {
        Builder {
            url: url.to_owned(),
            token: token.into(),
            name: None,
            pools: Vec::new(),
            labels: BTreeMap::new(),
            pipelines: Vec::new(),
            drain_max: DRAIN_MAX,
        }
    }

    /// Takes runs until `stop` fires, then hands back what it has and returns. Connects for ever: a server that is away
    /// is waited for.
    ///
    /// # Errors
    /// [`WorkerError::TokenRefused`] is the only end that is not asked for.
    pub async fn run(&self, stop: CancellationToken, handler: impl Handler) -> Result<(), WorkerError> {
        life::Life::new(Arc::clone(&self.settings), Arc::new(handler)).run(stop).await
    }
}

/// Collects what a worker is.
#[derive(Debug)]
pub struct Builder {
    url: String,
    token: String,
    name: Option<String>,
    pools: Vec<(String, u32)>,
    labels: BTreeMap<String, String>,
    pipelines: Vec<Pipeline>,
    drain_max: Duration,
}

impl Builder {
    /// Its name, kept across restarts and unique among the workers of one token. Without one it gets a random name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Works on `slots` runs of `pool` at once. Without any pool it is one slot of `gpu`.
    #[must_use]
    pub fn pool(mut self, pool: impl Into<String>, slots: u32) -> Self {
        self.pools.push((pool.into(), slots));
        self
    }

    /// A pipeline it brings, where the server allows it.
    #[must_use]
    pub fn pipeline(mut self, pipeline: Pipeline) -> Self {
        self.pipelines.push(pipeline);
        self
    }

    /// A fact for operators.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How long a stopping worker waits for its handlers and for the server's answers; 10 seconds by default.
    #[must_use]
    pub const fn drain_max(mut self, drain_max: Duration) -> Self {
        self.drain_max = drain_max;
        self
    }

    /// The worker.
    ///
    /// # Errors
    /// [`BuildError`] names what is wrong.
    pub fn build(self) -> Result<Worker, BuildError> {
        let mut pools = BTreeMap::new();
        let named = if self.pools.is_empty() { vec![("gpu".to_owned(), 1)] } else { self.pools };
        for (pool, slots) in named {
            if slots == 0 || slots > limits::SLOTS_MAX {
                return Err(BuildError::Slots { pool, slots });
            }
            pools.insert(PoolName::new(pool)?, slots);
        }
        let name = self.name.unwrap_or_else(|| format!("worker-{}", random::name()));
        let settings = Settings {
            address: Address::new(&self.url)?,
            token: self.token,
            http: crate::transfer::http().map_err(BuildError::Http)?,
            uploads: crate::transfer::upload::http().map_err(BuildError::Http)?,
            name: WorkerId::new(name)?,
            instance: random::name(),
            pools,
            labels: self.labels,
            pipelines: self.pipelines,
            drain_max: self.drain_max,
        };
        Ok(Worker { settings: Arc::new(settings) })
    }
}
