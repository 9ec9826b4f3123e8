//! The gateway as the server holds it: what it is made of, and what its connections may ask of the rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use access::{Cursors, Door, Doors, Identity, Links, TokenError, Verb, origin::OriginPolicy};
use bus::Bus;
use protocol::{CommandId, Event, GenerationId, Problem, TenantId, Timestamp, UserId, limits};
use store::{Filter, History, Latest, StoreError};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    arrivals::Arrivals,
    commands::Commands,
    counts::{Counts, Transport},
    departure::Departure,
    encode::Encoder,
    hub::Hub,
    naps::Naps,
    node::{Clock, Node, Random, may_with},
    pages::Pages,
    session::{Answer, Need},
    workers::Workers,
};

/// Half an hour: streams spread over the servers there are, and tokens are looked at again, at the cost of one reconnect that a
/// browser makes by itself.
const STREAM_AGE_MAX_MS: u64 = 1_800_000;
/// Reason given with a cancel that came over a live socket.
const CANCEL_REASON: &str = "cancelled by request";

/// Answers a plain `GET /`, given the request's headers: the server's page, which shares its path with sockets.
pub type Home = Arc<dyn Fn(&http::HeaderMap) -> axum::response::Response + Send + Sync>;

/// What a gateway is made of.
pub struct GatewayOptions {
    /// Who somebody is.
    pub doors: Arc<Doors>,
    /// Whoever shows no token; only where the server signs in by itself.
    pub guest: Option<Identity>,
    /// Writes artifact links.
    pub links: Links,
    /// Writes and reads cursors of many generations.
    pub cursors: Cursors,
    /// The log.
    pub history: Arc<dyn History>,
    /// Brings live events and takes demand away.
    pub bus: Arc<dyn Bus>,
    /// Takes commands of watchers.
    pub commands: Arc<dyn Commands>,
    /// Takes connections of workers.
    pub workers: Arc<dyn Workers>,
    /// The time of day.
    pub clock: Clock,
    /// Randomness for ids.
    pub random: Random,
    /// Which pages may talk to this server.
    pub origins: OriginPolicy,
    /// What a plain `GET /` answers.
    pub home: Option<Home>,
    /// How long a socket outlives its token, in milliseconds; `None` where expiry closes nothing. 30,000 is a good value: a client
    /// that renews late still makes it.
    pub expiry_grace_ms: Option<u64>,
    /// What holds where many come or go at once.
    pub crowds: Crowds,
    /// Every task is tracked here.
    pub tracker: TaskTracker,
    /// Fires when the server goes away.
    pub stop: CancellationToken,
}

/// What holds where many come or go at once.
#[derive(Debug, Clone, Copy)]
pub struct Crowds {
    /// Reads of the log at once: as many as the store does at once, for more would only wait there, live watchers behind
    /// newcomers.
    pub log_reads_max: usize,
    /// So many connections of one user are let in at once, and as many a minute; more wait. `None` for any number.
    pub connects_per_minute: Option<u32>,
    /// How long a server that goes away waits for its connections, in milliseconds; they leave over half of it at most.
    pub drain_ms: u64,
    /// No stream of server-sent events lives longer, in milliseconds; each ends by itself somewhere in the second half.
    pub stream_age_max_ms: u64,
    /// How long a live socket may take nothing although something is to be written, in milliseconds; then it is closed.
    pub stall_max_ms: u64,
}

impl Default for Crowds {
    /// Four reads, any number of connections, a drain of ten seconds, streams of half an hour, a minute without progress.
    fn default() -> Self {
        Self {
            log_reads_max: 4,
            connects_per_minute: None,
            drain_ms: 10_000,
            stream_age_max_ms: STREAM_AGE_MAX_MS,
            stall_max_ms: limits::WATCHER_STALL_MAX_MS,
        }
    }
}

impl std::fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayOptions").field("origins", &self.origins).finish_non_exhaustive()
    }
}

/// The gateway of one node.
pub struct Gateway {
    pub(crate) node: Arc<Node>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) pages: Pages,
    pub(crate) cursors: Cursors,
    pub(crate) crowds: Crowds,
    pub(crate) workers: Arc<dyn Workers>,
    pub(crate) origins: OriginPolicy,
    pub(crate) home: Option<Home>,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// When live connections look at their clocks.
    pub(crate) naps: Arc<Naps>,
    /// Turns until the last connection, which holds the gateway, is gone.
    _wheel: JoinSet<()>,
    commands: Arc<dyn Commands>,
    started_at: Timestamp,
    serial: AtomicU64,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Listens on the bus and begins to announce demand. Serve [`crate::routes`] of it, within [`crate::guard`].
    #[must_use]
    pub fn start(options: GatewayOptions) -> Arc<Self> {
        let hub = Hub::new(Arc::clone(&options.clock));
        options.bus.listen(Arc::clone(&hub) as Arc<dyn bus::Listener>);
        let running = Arc::clone(&hub);
        let (bus, history, stop) = (options.bus, Arc::clone(&options.history), options.stop.clone());
        options.tracker.spawn(async move { running.run(bus, history, stop).await });
        let (fanning, stop) = (Arc::clone(&hub), options.stop.clone());
        options.tracker.spawn(async move { fanning.run_fan(stop).await });
        let naps = Arc::new(Naps::new(Instant::now()));
        let (turning, stop) = (Arc::clone(&naps), options.stop.clone());
        let mut wheel = JoinSet::new();
        wheel.spawn(async move { turning.run(stop).await });
        let started_at = (options.clock)();
        let node = Node {
            hub,
            encoder: Arc::new(Encoder::new(options.history.epoch(), options.links)),
            doors: options.doors,
            guest: options.guest.map(Arc::new),
            expiry_grace_ms: options.expiry_grace_ms,
            counts: Counts::default(),
            arrivals: Arrivals::new(options.crowds.connects_per_minute),
            clock: options.clock,
            random: options.random,
        };
        Arc::new(Self {
            node: Arc::new(node),
            pages: Pages::new(Arc::clone(&options.history), options.crowds.log_reads_max),
            crowds: options.crowds,
            cursors: options.cursors,
            history: options.history,
            workers: options.workers,
            origins: options.origins,
            home: options.home,
            tracker: options.tracker,
            stop: options.stop,
            naps,
            _wheel: wheel,
            commands: options.commands,
            started_at,
            serial: AtomicU64::new(0),
        })
    }

    /// What went through.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.node.counts
    }

    /// The tails of this node.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.node.hub
    }

    /// Milliseconds since it was started.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        self.node.now().since(self.started_at)
    }

    /// Writes events with their links and positions, as all transports do.
    #[must_use]
    pub fn encoder(&self) -> &Arc<Encoder> {
        &self.node.encoder
    }

    /// Says whose `token` is; without one, the guest where there is one.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with the token.
    pub fn identify(&self, token: Option<&str>, door: Door) -> Result<Arc<Identity>, TokenError> {
        self.node.identify(token, door, self.node.now())
    }

    /// When one of the connections there are is closed, now that the server goes away.
    pub(crate) fn departure(&self) -> Departure {
        let open = [Transport::Live, Transport::Sse].map(|transport| self.counts().of(transport).connections.get());
        Departure::new(open.iter().sum(), self.crowds.drain_ms, (self.node.random)(), self.node.now())
    }

    /// A number no other connection of this process has.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Relaxed)
    }

    /// The newest event of a generation, from memory where it is there, if `identity` may do `verb` with it.
    ///
    /// # Errors
    /// The same `not_found` for unknown and foreign ids; `unavailable` when the log cannot be read.
    pub(crate) async fn newest(
        &self,
        identity: &Identity,
        verb: Verb,
        generation: &GenerationId,
    ) -> Result<Event, Problem> {
        let held = self.node.hub.tail(generation).and_then(|tail| tail.newest());
        let event = match held {
            Some(encoded) => encoded.event().clone(),
            None => self.latest(generation).await?.ok_or_else(Problem::not_found)?.event,
        };
        if may_with(identity, verb, &event) { Ok(event) } else { Err(Problem::not_found()) }
    }

    pub(crate) async fn latest(&self, generation: &GenerationId) -> Result<Option<Latest>, Problem> {
        self.history.latest(generation).await.map_err(|error| unavailable(&error))
    }

    /// Latest events of what an owner has under way, newest first, at most as many as a connection may watch.
    pub(crate) async fn mine(&self, tenant: TenantId, user: UserId) -> Result<Vec<Event>, StoreError> {
        let filter = Filter { owner: Some(user), tenant: Some(tenant), state: None, unfinished: true };
        let _place = self.pages.enter().await;
        let mut events = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.history.list(&filter, cursor, limits::PAGE_GENERATIONS_MAX).await?;
            events.extend(page.rows.into_iter().map(|row| row.latest));
            cursor = page.next;
            if cursor.is_none() || events.len() >= limits::SUBSCRIPTIONS_PER_CONNECTION_MAX {
                events.truncate(limits::SUBSCRIPTIONS_PER_CONNECTION_MAX);
                return Ok(events);
            }
        }
    }

    /// Does what a session needs.
    ///
    /// # Cancel safety
    /// Reads may be dropped. A command may or may not have been committed when its connection goes; the client repeats it
    /// under the same id.
    pub(crate) async fn fulfil(self: Arc<Self>, need: Need) -> Answer {
        match need {
            Need::Latest(generation) => Answer::Latest(self.pages.latest(&generation).await),
            Need::Page { generation, after, reader } => {
                Answer::Page(self.pages.read(&generation, after, reader, self.counts()).await)
            }
            Need::Mine { tenant, user } => Answer::Mine(self.mine(tenant, user).await),
            Need::Submit(submit) => Answer::Submitted(self.commands.submit(*submit).await),
            Need::Cancel(generation) => {
                Answer::Commanded(self.commands.cancel(&generation, self.command_id(), CANCEL_REASON).await)
            }
            Need::Prioritize(generation, priority) => {
                Answer::Commanded(self.commands.prioritize(&generation, self.command_id(), priority).await)
            }
        }
    }

    fn command_id(&self) -> CommandId {
        CommandId::generate(self.node.now(), (self.node.random)())
    }
}

pub(crate) fn unavailable(error: &StoreError) -> Problem {
    tracing::warn!(%error, "history not read");
    Problem::new(protocol::ErrorCode::Unavailable, "the server cannot read its store right now")
}
