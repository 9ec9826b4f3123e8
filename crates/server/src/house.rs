//! The wiring: opens the store, starts the parts in order, listens, and takes them down in the reverse order.
//!
//! ```text
//! house/committed.rs  what was committed: shown on the bus, told in the log
//! house/folder.rs     the data folder and the demo's own secret
//! house/listener.rs   the socket, and what keeps it from being opened
//! house/serve.rs      connections: accepted, bounded in time, drained
//! house/tls.rs        certificates, and another pair in their place
//! house/tickets.rs    what a client shows to resume a session
//! house/greeting.rs   the first bytes of a connection to a TLS port
//! house/tenants.rs    what tenants may use, for those who see to it
//! ```
//! Signals are the binary's: it calls [`Running::stop`].

mod committed;
mod folder;
pub(crate) mod greeting;
mod listener;
mod serve;
mod tenants;
mod tickets;
pub(crate) mod tls;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use access::{Cursors, Doors, Identity, Links, Role, Scope, Secret, origin::OriginPolicy};
use axum::{Router, middleware};
use bus::{Bus, Local};
use gateway::{Crowds, Gateway, GatewayOptions, Home};
use orchestrator::{Handle, Pipelines};
use protocol::{Pipeline, Problem, TenantId, UserId, WorkerId};
use store::{Store, StoreError, sqlite};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::tls::Certificates;
pub use self::tls::TlsError;
use crate::{
    blobs::Blobs,
    clock::{self, System},
    config::{Config, ConfigError, Mode, Warning},
    correlation::{self, Entrance},
    metrics::{self, Listeners, Metrics, Work},
    random::{self, random},
    retention::Sweeper,
    studio::Studio,
    surface::{Parts, Surface, no_such_method, no_such_path},
    uploads::Rooms,
    webhooks::{self, WebhookError, Webhooks},
};

/// Who a request without a token is in the demo.
const GUEST: &str = "demo";

/// A socket outlives its token so long, in milliseconds: clients of the first dialect cannot renew one without a gap.
const EXPIRY_GRACE_MS: u64 = 30_000;

/// Reads of the store at once. Live events come from memory; these serve lists, pages and catching up.
const READERS: usize = 4;

/// Workers that run something are waited for during this part of the drain: half, so that connections get the other.
const DRAIN_WORKERS_SHARE: u32 = 2;

/// Dropped connections are gone at once, live sockets within the two seconds of their close. Whoever then still writes does so
/// to somebody who reads nothing, which decisions and the store do not wait for.
const ABANDONED_MAX: Duration = Duration::from_secs(3);

/// How the server is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// For others, or for oneself.
    pub mode: Mode,
    /// The worker that lives in this process, if any: leases it held before are given back at once.
    pub in_process_worker: Option<WorkerId>,
}

/// Why a server did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not do. Change it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("{advice}")]
    Listen {
        /// What is wrong, and what to do.
        advice: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("data folder {}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database cannot be opened; the text says what was found and what to do.
    #[error(transparent)]
    Open(#[from] sqlite::OpenError),
    /// The database was opened and cannot be read.
    #[error("reading the leases of the last run")]
    Read(#[from] StoreError),
    /// The certificate or its key does not do; the text names the file.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Webhooks cannot be sent.
    #[error(transparent)]
    Webhooks(#[from] WebhookError),
    /// A configured pipeline is refused.
    #[error("{0}")]
    Pipeline(Box<Problem>),
}

/// A server that answers. Dropped without [`Running::stop`], it is abandoned, as by a crash.
pub struct Running {
    address: SocketAddr,
    url: String,
    inner: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    warnings: Vec<Warning>,
    doors: Arc<Doors>,
    orchestrator: Arc<Handle>,
    store: Arc<dyn Store>,
    drain: Duration,
    lifetimes: Lifetimes,
}

/// What stops when.
#[derive(Default)]
struct Lifetimes {
    /// Before all else: no run is offered, and those who ask hear that this server goes away.
    draining: CancellationToken,
    /// Then: no new connection, no new stream; what is under way ends.
    ears_stop: CancellationToken,
    ears: TaskTracker,
    /// Connections that did not end in time are dropped.
    abandon: CancellationToken,
    /// Then: nothing is decided any more, what was decided is written.
    hands_stop: CancellationToken,
    hands: TaskTracker,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Running {
    /// Where it listens, with the port it was given when it asked for any.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients on this machine, or behind the public address, reach it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address itself, with its scheme.
    #[must_use]
    pub fn origin(&self) -> String {
        origin(self.certificates.is_some(), self.address)
    }

    /// Where the worker in this process connects, in plain text: its own server is not known by its certificate's name.
    #[must_use]
    pub fn inner_url(&self) -> String {
        origin(false, self.inner)
    }

    /// Does it speak TLS by itself?
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.certificates.is_some()
    }

    /// Reads certificate and key again. A broken pair leaves the old one in use and is said in the log.
    ///
    /// Blocks for two small files.
    pub fn reload_certificates(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
    }

    /// What the operator should know, though it started.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Mints tokens, for the worker in this process.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Who works on what.
    #[must_use]
    pub const fn orchestrator(&self) -> &Arc<Handle> {
        &self.orchestrator
    }

    /// Stops in order: nothing is offered and workers may finish, connections end or are dropped after the configured
    /// drain, decisions are written, the store is closed.
    pub async fn stop(self) {
        let Lifetimes { draining, ears_stop, ears, abandon, hands_stop, hands } = self.lifetimes;
        let until = tokio::time::Instant::now() + self.drain;
        draining.cancel();
        if !self.orchestrator.drain(self.drain / DRAIN_WORKERS_SHARE).await {
            tracing::info!("workers keep what they run and go on with the next start");
        }
        ears_stop.cancel();
        ears.close();
        if tokio::time::timeout_at(until, ears.wait()).await.is_err() {
            tracing::warn!(connections = ears.len(), "connections dropped after the drain");
            abandon.cancel();
            if tokio::time::timeout(ABANDONED_MAX, ears.wait()).await.is_err() {
                tracing::warn!(connections = ears.len(), "connections left to the end of the process");
            }
        }
        hands_stop.cancel();
        hands.close();
        hands.wait().await;
        self.store.close().await;
        tracing::info!("stopped");
    }
}

/// Starts a server.
///
/// # Errors
/// [`StartError`] says what to change.
pub async fn start(config: Config, options: Options) -> Result<Running, StartError> {
    let warnings = config.check(options.mode)?;
    raise_descriptor_limit();
    let certificates = config.tls.files().map(|(cert, key)| Certificates::open(cert, key)).transpose()?;
    let (listener, address) = listener::listen(config.listen)?;
    folder::make(&config.data)?;
    let bus: Arc<dyn Bus> = Arc::new(Local::default());
    let store = open_store(&config, Arc::clone(&bus)).await?;
    let secret = secret(&config, options.mode)?;
    let blobs = Blobs::open(&config.data, config.limits.artifact_bytes)
        .map_err(|source| StartError::Folder { folder: config.data.clone(), source })?;
    let lifetimes = Lifetimes::default();
    let orchestrator = start_orchestrator(&config, &options, &store, &bus, &lifetimes).await?;
    // The demo's links are for its own machine; a server without a public address writes paths.
    let own_url = origin(certificates.is_some(), address);
    let public_url = config.public_url.clone().or_else(|| (options.mode == Mode::Demo).then(|| own_url.clone()));
    let house = House { config: &config, mode: options.mode, secret, public_url, store, bus, blobs, orchestrator };
    let doors = Arc::new(Doors::new(&house.secret));
    let gateway = house.gateway(&doors, &lifetimes);
    let metrics = Arc::new(Metrics::new());
    metrics.watch(Box::new(Listeners(Arc::clone(&gateway))));
    metrics.watch(Box::new(Work(Arc::clone(&house.orchestrator))));
    house.start_sweeper(&metrics, &lifetimes);
    let webhooks = house.start_webhooks(&gateway, &metrics, &lifetimes).await?;
    let entrance = Entrance { now: clock::system(), proxies: config.trusted_proxies.as_slice().into() };
    let router = router(&house.surface(&doors, &gateway, &metrics, webhooks, &lifetimes), gateway, metrics, entrance);
    let inner = serve_on((listener, address), router, &options, certificates.as_ref(), &lifetimes)?;
    let url = house.public_url.clone().unwrap_or(own_url);
    tracing::info!(%address, data = %config.data.display(), durability = ?config.durability, "listening");
    let House { store, orchestrator, .. } = house;
    let drain = config.drain;
    Ok(Running { address, url, inner, certificates, warnings, doors, orchestrator, store, drain, lifetimes })
}

/// The parts while they are put together.
struct House<'a> {
    config: &'a Config,
    mode: Mode,
    secret: Secret,
    public_url: Option<String>,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    blobs: Blobs,
    orchestrator: Arc<Handle>,
}

impl House<'_> {
    fn guest(&self) -> Option<Identity> {
        let user = UserId::new(GUEST).expect("a literal user id is valid");
        let guest = Identity {
            user,
            tenant: TenantId::fallback(),
            role: Role::Operator,
            scope: Scope::Everything,
            expires_at: None,
        };
        (self.mode == Mode::Demo).then_some(guest)
    }

    fn studio(&self) -> Studio {
        Studio::new(self.public_url.as_deref())
    }

    fn home(&self) -> Home {
        let studio = self.studio();
        Arc::new(move |headers| studio.page(headers))
    }

    fn links(&self) -> Links {
        Links::new(&self.secret, self.public_url.clone())
    }

    fn gateway(&self, doors: &Arc<Doors>, lifetimes: &Lifetimes) -> Arc<Gateway> {
        Gateway::start(GatewayOptions {
            doors: Arc::clone(doors),
            guest: self.guest(),
            links: self.links(),
            cursors: Cursors::new(&self.secret),
            history: Arc::clone(&self.store) as Arc<dyn store::History>,
            bus: Arc::clone(&self.bus),
            commands: Arc::clone(&self.orchestrator) as Arc<dyn gateway::Commands>,
            workers: Arc::clone(&self.orchestrator) as Arc<dyn gateway::Workers>,
            clock: clock::system(),
            random: Arc::new(random),
            origins: match self.mode {
                Mode::Demo => OriginPolicy::Loopback,
                Mode::Serve => OriginPolicy::Allow(self.config.allowed_origins.origins.clone()),
            },
            expiry_grace_ms: Some(EXPIRY_GRACE_MS),
            crowds: self.crowds(),
            home: Some(self.home()),
            tracker: lifetimes.ears.clone(),
            stop: lifetimes.ears_stop.clone(),
        })
    }

    fn crowds(&self) -> Crowds {
        let per_minute = self.config.limits.connects_per_user;
        Crowds {
            log_reads_max: READERS,
            connects_per_minute: per_minute.map(|many| u32::try_from(many).unwrap_or(u32::MAX)),
            drain_ms: u64::try_from(self.config.drain.as_millis()).unwrap_or(u64::MAX),
            ..Crowds::default()
        }
    }

    fn surface(
        &self,
        doors: &Arc<Doors>,
        gateway: &Gateway,
        metrics: &Arc<Metrics>,
        webhooks: Arc<Webhooks>,
        lifetimes: &Lifetimes,
    ) -> Surface {
        Surface::new(Parts {
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.bus),
            orchestrator: Arc::clone(&self.orchestrator),
            doors: Arc::clone(doors),
            links: Arc::new(self.links()),
            encoder: Arc::clone(gateway.encoder()),
            blobs: self.blobs.clone(),
            rooms: Arc::new(Rooms::new(self.config.limits.upload_bytes_per_owner)),
            now: clock::system(),
            metrics: Arc::clone(metrics),
            public_url: self.public_url.clone(),
            studio: self.studio(),
            guest: self.guest(),
            webhooks,
            draining: lifetimes.draining.clone(),
        })
    }

    async fn start_webhooks(
        &self,
        gateway: &Gateway,
        metrics: &Arc<Metrics>,
        lifetimes: &Lifetimes,
    ) -> Result<Arc<Webhooks>, WebhookError> {
        let webhooks = Webhooks::start(webhooks::Options {
            config: self.config,
            store: Arc::clone(&self.store),
            bus: &*self.bus,
            encoder: Arc::clone(gateway.encoder()),
            now: clock::system(),
            tracker: &lifetimes.hands,
            stop: lifetimes.hands_stop.clone(),
        })
        .await?;
        metrics.register(|registry| webhooks.counts().register(registry));
        Ok(webhooks)
    }

    fn start_sweeper(&self, metrics: &Arc<Metrics>, lifetimes: &Lifetimes) {
        let sweeper = Sweeper {
            store: Arc::clone(&self.store),
            blobs: self.blobs.clone(),
            bus: Arc::clone(&self.bus),
            now: clock::system(),
            metrics: Arc::clone(metrics),
            retention: self.config.retention,
        };
        lifetimes.hands.spawn(sweeper.run(lifetimes.hands_stop.clone()));
    }
}

/// Every route, with what lies over all of them.
fn router(surface: &Surface, gateway: Arc<Gateway>, metrics: Arc<Metrics>, entrance: Entrance) -> Router {
    gateway::routes(Arc::clone(&gateway))
        .merge(surface.routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(metrics, metrics::measure))
        .layer(middleware::from_fn_with_state(gateway, gateway::guard))
        .layer(middleware::from_fn_with_state(entrance, correlation::correlate))
}

/// Serves the listener, and where it speaks TLS a plain one on loopback for the worker of this process, whose address is the
/// answer.
fn serve_on(
    (listener, address): (TcpListener, SocketAddr),
    router: Router,
    options: &Options,
    certificates: Option<&Arc<Certificates>>,
    lifetimes: &Lifetimes,
) -> Result<SocketAddr, StartError> {
    let plain = serve::Connections {
        router,
        tls: None,
        tracker: lifetimes.ears.clone(),
        stop: lifetimes.ears_stop.clone(),
        abandon: lifetimes.abandon.clone(),
    };
    let Some(certificates) = certificates else {
        lifetimes.ears.spawn(plain.accept(listener));
        return Ok(address);
    };
    let encrypted = serve::Connections { tls: Some(certificates.config().into()), ..plain.clone() };
    lifetimes.ears.spawn(encrypted.accept(listener));
    lifetimes.ears.spawn(Arc::clone(certificates).watch(lifetimes.ears_stop.clone()));
    if options.in_process_worker.is_none() {
        return Ok(address);
    }
    let (listener, inner) = listener::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    lifetimes.ears.spawn(plain.accept(listener));
    Ok(inner)
}

fn origin(encrypted: bool, address: SocketAddr) -> String {
    format!("{}://{address}", if encrypted { "https" } else { "http" })
}

fn secret(config: &Config, mode: Mode) -> Result<Secret, StartError> {
    match (config.read_secret()?, mode) {
        (Some(secret), _) => Ok(secret),
        (None, Mode::Demo) => folder::own_secret(&config.data),
        (None, Mode::Serve) => unreachable!("a server without a secret does not pass its check"),
    }
}

async fn open_store(config: &Config, bus: Arc<dyn Bus>) -> Result<Arc<dyn Store>, StartError> {
    let options = sqlite::Options {
        folder: config.data.clone(),
        now: clock::now(),
        random: random(),
        on_commit: committed::show_on(bus),
        readers: READERS,
        weights: config.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.weight)).collect(),
    };
    let folder = config.data.clone();
    let opened = tokio::task::spawn_blocking(move || sqlite::Sqlite::open(options)).await;
    let store = opened.map_err(|error| StartError::Folder { folder, source: io::Error::other(error) })??;
    Ok(Arc::new(store))
}

async fn start_orchestrator(
    config: &Config,
    options: &Options,
    store: &Arc<dyn Store>,
    bus: &Arc<dyn Bus>,
    lifetimes: &Lifetimes,
) -> Result<Arc<Handle>, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let handle = orchestrator::start(orchestrator::Options {
        config: orchestrator::Config {
            in_process_worker: options.in_process_worker.clone(),
            worker_pipelines: config.worker_pipelines,
            lease_silence_ms: ms(config.lease.silence),
            lease_after_close_ms: ms(config.lease.after_close),
            external_stall_ms: ms(config.external_stall),
            breaker: orchestrator::Threshold {
                failures: config.breaker.failures.map(|failures| u32::try_from(failures).unwrap_or(u32::MAX)),
                open_ms: ms(config.breaker.open),
            },
            shares: tenants::shares(config),
            ..orchestrator::Config::default()
        },
        store: Arc::clone(store),
        bus: Arc::clone(bus),
        clock: Arc::new(System),
        random: Box::new(random::drawn_ahead()),
        pipelines: Arc::new(pipelines(config)?),
        bounds: tenants::bounds(config),
        tracker: lifetimes.hands.clone(),
        stop: lifetimes.hands_stop.clone(),
    })
    .await?;
    Ok(Arc::new(handle))
}

/// The built-in pipelines and the configured ones.
fn pipelines(config: &Config) -> Result<Pipelines, StartError> {
    let pipelines = Pipelines::default();
    let video = Pipeline { durability: config.durability, ..Pipeline::video() };
    for pipeline in [video, Pipeline::external()].into_iter().chain(config.pipelines.iter().cloned()) {
        pipelines.register(pipeline).map_err(|problem| StartError::Pipeline(Box::new(problem)))?;
    }
    Ok(pipelines)
}

/// A socket is a descriptor; the limit many systems start with is 1,024.
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) => tracing::debug!(limit, "descriptors"),
        Err(error) => tracing::warn!(%error, "descriptor limit not raised"),
    }
}
