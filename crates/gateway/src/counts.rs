//! What went through the gateway, for `/health` and `/metrics`. Plain atomics; names and exposition belong to `server`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How somebody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// WebSocket of a watcher.
    Live,
    /// Server-sent events.
    Sse,
    /// Long-poll and plain pages.
    Poll,
    /// WebSocket of a worker.
    Worker,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Live, Self::Sse, Self::Poll, Self::Worker];

    /// The label it is counted under.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "websocket",
            Self::Sse => "sse",
            Self::Poll => "poll",
            Self::Worker => "worker",
        }
    }
}

/// Counts of one transport.
#[derive(Debug, Default)]
pub struct TransportCounts {
    /// Open now.
    pub connections: Gauge,
    /// Watched now.
    pub subscriptions: Gauge,
    /// Opened ever.
    pub opened: Counter,
    /// Messages sent, hints included.
    pub messages: Counter,
    /// Bytes handed to sockets.
    pub bytes: Counter,
}

/// All counts of this node.
#[derive(Debug, Default)]
pub struct Counts {
    transports: [TransportCounts; 4],
    /// Frames sent to watchers.
    pub frames_sent: Counter,
    /// Frames that were wanted and not sent in time.
    pub frames_dropped: Counter,
    /// Pages read from the log for watchers behind their tail.
    pub log_pages: Counter,
    /// Pages that a watcher got from the read of another.
    pub log_pages_shared: Counter,
    /// Connections that waited because their user makes too many.
    pub connects_delayed: Counter,
    /// Users who began to watch one generation more than 20 times in a minute, each counted once for that minute.
    pub churning: Counter,
    /// Streams that ended because of their age.
    pub streams_rotated: Counter,
    /// Watchers whose position was gone.
    pub snapshots: Counter,
    /// Watchers disconnected because their socket took nothing.
    pub stalled: Counter,
    /// From the decision of an event to the moment its bytes are handed to a socket, on the live transports.
    pub commit_to_socket: Histogram,
    /// How many events a watcher was behind when it was served.
    pub lag: Histogram,
}

impl Counts {
    /// Counts of one transport.
    #[must_use]
    pub const fn of(&self, transport: Transport) -> &TransportCounts {
        &self.transports[transport as usize]
    }
}

/// Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Grows and shrinks.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn enter(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// `n` fewer.
    pub fn leave(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Buckets by powers of two: below 1, 2, 4, … and one without bound.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// Up to 32,768 (half a minute in milliseconds), then without bound.
    pub const BUCKETS: usize = 17;

    /// Takes one value.
    pub fn observe(&self, value: u64) {
        let bits = usize::try_from(u64::BITS - value.leading_zeros()).unwrap_or(usize::MAX);
        self.buckets[bits.min(Self::BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// The count of each bucket, not summed up; bucket `n` holds values below `1 << n`, the last one the rest.
    #[must_use]
    pub fn buckets(&self) -> [u64; Self::BUCKETS] {
        std::array::from_fn(|at| self.buckets[at].load(Relaxed))
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }
}
