//! What the bench tells a process of its load, and what that answers: one JSON object a line, over its standard input and
//! output.

use serde::{Deserialize, Serialize};

use crate::bench::histogram::Sparse;

/// One order. Every order is answered by one [`Answer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// First of all: whom to follow, and how.
    Plan(Plan),
    /// Opens every seat that is not open, so many at once.
    Open(usize),
    /// Cuts every connection.
    Drop,
    /// Seats that stall stop reading, or read again.
    Stall(bool),
    /// What is there; a seat has caught up when it is ready and has seen this number.
    Count(u32),
    /// The same with the histograms, which begin anew.
    Report,
}

/// Whom to follow, and how a connection gets ready: the whole of a dialect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    /// The certificate to trust, where the server speaks TLS; as PEM.
    pub(crate) authority: Option<String>,
    pub(crate) transport: Transport,
    /// Where the socket is; `{channel}` and `{token}` are filled in, as in every step.
    pub(crate) path: String,
    /// What is said after the handshake, when a seat is opened first.
    pub(crate) first: Vec<Step>,
    /// What is said when it comes back; `{seen}` is the greatest number it saw, plus `base`.
    pub(crate) again: Vec<Step>,
    /// Added to `{seen}`: where the numbers of the load begin among the server's own.
    pub(crate) base: u64,
    /// Are payloads pieces of one stream of bytes, rather than messages?
    pub(crate) stream: bool,
    /// Pictures follow their own count.
    pub(crate) pictures: bool,
    /// One for each connection.
    pub(crate) seats: Vec<Seat>,
}

/// What carries it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    #[default]
    WebSocket,
    /// Server-sent events: one answer without an end.
    Stream,
    /// One answer after another, each asked for with the position of the last.
    Poll,
}

/// One thing to say, and what its answer contains.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) say: String,
    pub(crate) until: String,
}

/// One connection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) channel: String,
    pub(crate) token: String,
    /// Does it stop reading when told to?
    pub(crate) stalls: bool,
}

/// What is there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Seats that are through their steps.
    pub(crate) ready: usize,
    /// Those that have also seen the number asked for.
    pub(crate) caught_up: usize,
    /// When the last of them got there, on the bench's clock.
    pub(crate) at: u64,
    /// TLS handshakes that were short, because a ticket was shown.
    pub(crate) resumed: usize,
    /// Connections that broke, and why the first did.
    pub(crate) broken: usize,
    pub(crate) why: Option<String>,
    /// Messages with a mark, and the bytes of everything read.
    pub(crate) received: u64,
    pub(crate) bytes: u64,
    /// Messages of seats that stall.
    pub(crate) received_stalled: u64,
    /// Passed over and not made good, come twice, come late.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) late: u64,
    /// Pictures.
    pub(crate) pictures: u64,
    /// Due → read, of messages of seats that never stall; of pictures.
    pub(crate) latency: Sparse,
    pub(crate) picture_latency: Sparse,
}

impl Answer {
    /// Puts the answer of another process to this one; histograms are added by whoever asked.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.caught_up += other.caught_up;
        self.at = self.at.max(other.at);
        self.resumed += other.resumed;
        self.broken += other.broken;
        self.why = self.why.take().or_else(|| other.why.clone());
        self.received += other.received;
        self.bytes += other.bytes;
        self.received_stalled += other.received_stalled;
        self.lost += other.lost;
        self.twice += other.twice;
        self.late += other.late;
        self.pictures += other.pictures;
    }
}
