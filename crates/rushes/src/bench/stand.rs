//! A server with its load connected: publishes at a rate, and says what came of it.

use std::time::Duration;

use anyhow::Result;

use super::{
    Load, Wait,
    climb::{RUNG, highest},
    clock,
    crew::{Crew, Tally},
    house::House,
    load::orders::{Seat, Transport},
    mark::Mark,
    process,
    publish::{Pipes, Publisher},
    target::{Dialect, Follow, Target},
    workers::{Crowd, Workers},
};

/// What is due in so long is written at once.
const TICK: Duration = Duration::from_millis(2);
/// Connections opened at once while nothing is measured, below any listen backlog.
const OPENED_AT_ONCE: usize = 64;
/// Deliveries that are still under way at the end of a run may take so long.
const SETTLING_MAX: Duration = Duration::from_secs(20);
/// Worker sockets that publish, unless there are fewer runs.
const SOCKETS: usize = 8;

/// Whom a measurement is about.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// Ours, started anew, with what its events wait for.
    House(Wait),
    /// One that runs already.
    Peer(Box<Target>),
}

impl Subject {
    /// Ours, with every event durable before anybody sees it.
    pub(crate) const fn durable() -> Self {
        Self::House(Wait::Strict)
    }

    /// Ours, with progress that is shown and not stored.
    pub(crate) const fn relayed() -> Self {
        Self::House(Wait::Relay)
    }
}

/// How many channels with how many watchers each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) channels: usize,
    pub(crate) watchers: usize,
    /// Further connections that are known and watch nothing.
    pub(crate) idle: usize,
    /// Further watchers of each channel that stop reading when told to.
    pub(crate) stalling: usize,
}

impl Shape {
    /// Each connection watches something of its own.
    pub(crate) const fn unique(connections: usize) -> Self {
        Self { channels: connections, watchers: 1, idle: 0, stalling: 0 }
    }

    /// All watch the same.
    pub(crate) const fn broadcast(watchers: usize) -> Self {
        Self { channels: 1, watchers, idle: 0, stalling: 0 }
    }
}

/// A server with its load.
pub(crate) struct Stand {
    pub(crate) target: Target,
    pub(crate) crew: Crew,
    pub(crate) publisher: Publisher,
    shape: Shape,
    /// The last number of each channel.
    numbers: Vec<u32>,
    turn: usize,
    /// By how much the bench itself was behind its plan at worst, since the last run began, in nanoseconds.
    behind_max: u64,
    /// The server's own memory before anybody connected, in bytes.
    own_memory_before: u64,
    _house: Option<House>,
}

/// What one run did.
pub(crate) struct Ran {
    pub(crate) tally: Tally,
    /// Messages a second, as they were wanted.
    pub(crate) rate: f64,
    pub(crate) sent: u64,
    /// Deliveries of what was sent.
    expected: u64,
    /// From the first message to the last delivery.
    pub(crate) seconds: f64,
    /// From the first message to the last.
    pub(crate) sending: f64,
    /// Processor time of the server, and of what stands beside it, in seconds.
    pub(crate) cpu: f64,
    pub(crate) cpu_beside: f64,
    /// By how much the bench was behind its plan at worst, in milliseconds: latencies hold that as well.
    pub(crate) behind_max_ms: f64,
}

impl Ran {
    /// This run and another at the same time, over another server.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.tally.add(&other.tally);
        self.rate += other.rate;
        self.sent += other.sent;
        self.expected += other.expected;
        self.seconds = self.seconds.max(other.seconds);
        self.sending = self.sending.max(other.sending);
        self.cpu += other.cpu;
        self.cpu_beside += other.cpu_beside;
        self.behind_max_ms = self.behind_max_ms.max(other.behind_max_ms);
        self
    }

    /// Fails unless everything came, once, in order.
    pub(crate) fn check(&self) -> Result<()> {
        self.tally.check(self.expected)
    }

    /// Deliveries a second.
    pub(crate) fn delivered(&self) -> f64 {
        self.tally.counts.received as f64 / self.seconds
    }

    /// Messages a second, as they were published.
    pub(crate) fn published(&self) -> f64 {
        self.sent as f64 / self.sending
    }

    /// In milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.tally.latency.percentile(0.99).unwrap_or(f64::INFINITY)
    }
}

impl Stand {
    /// Starts or finds the server, connects everybody.
    pub(crate) async fn start(load: &Load, subject: &Subject, shape: Shape) -> Result<Self> {
        Self::start_over(load, subject, shape, Transport::WebSocket).await
    }

    /// The same, over one of our transports.
    pub(crate) async fn start_over(load: &Load, subject: &Subject, shape: Shape, transport: Transport) -> Result<Self> {
        let (target, publisher, channels, house) = match subject {
            Subject::House(wait) => {
                let house = House::start(load).await?;
                let target = Target::of_house(&house)?;
                let crowd = Crowd { runs: shape.channels, sockets: SOCKETS, wait: *wait };
                let workers = Workers::start(&house, crowd).await?;
                let seat = |run: &super::workers::Run| {
                    Ok(Seat { channel: run.generation.clone(), token: house.mint(&run.user)?, stalls: false })
                };
                let seats: Vec<_> = workers.runs.iter().map(seat).collect::<Result<_>>()?;
                (target, Publisher::Workers(workers), seats, Some(house))
            }
            Subject::Peer(target) => {
                let target = target.as_ref();
                let seats = target.seats(shape.channels)?;
                let names = seats.iter().map(|seat| seat.channel.clone()).collect();
                let mut pipes = Pipes::connect(target, names).await?;
                if target.dialect == Dialect::Node {
                    pipes.own().await?;
                }
                (target.clone(), Publisher::Pipes(pipes), seats, None)
            }
        };
        let mut watching = Vec::with_capacity(shape.channels * (shape.watchers + shape.stalling));
        for seat in &channels {
            watching.extend(std::iter::repeat_n(seat.clone(), shape.watchers));
            let stalling = Seat { stalls: true, ..seat.clone() };
            watching.extend(std::iter::repeat_n(stalling, shape.stalling));
        }
        let idle: Vec<_> = channels.iter().cycle().take(shape.idle).cloned().collect();
        let events = match transport {
            Transport::WebSocket => target.plan(Follow::Events, watching),
            http => target.plan_http(http, watching),
        };
        let plans = vec![events, target.plan(Follow::Nothing, idle)];
        let own_memory_before = process::own_memory(&target.processes)?;
        let mut crew = Crew::start(plans, load.load_core).await?;
        crew.open(OPENED_AT_ONCE, 0, Duration::from_secs(120)).await?;
        let numbers = vec![0; shape.channels];
        Ok(Self { target, crew, publisher, shape, numbers, turn: 0, behind_max: 0, own_memory_before, _house: house })
    }

    /// Publishes `rate` messages a second for `duration`, round about the channels, and waits until all are delivered.
    pub(crate) async fn run(&mut self, rate: f64, duration: Duration) -> Result<Ran> {
        self.crew.report().await?;
        let (before, beside) = self.processor_seconds()?;
        let start = clock::nanos();
        self.behind_max = 0;
        let sent = self.publish(rate, duration).await?;
        let sending = clock::nanos();
        let expected = sent * (self.shape.watchers + self.shape.stalling) as u64;
        self.crew.wait(0, SETTLING_MAX, |counts| counts.received >= expected).await?;
        let (cpu, cpu_beside) = self.processor_seconds()?;
        let tally = self.crew.report().await?;
        let seconds = |until: u64| until.saturating_sub(start) as f64 / 1e9;
        Ok(Ran {
            rate,
            sent,
            expected,
            seconds: seconds(tally.counts.at.max(sending)),
            sending: seconds(sending),
            tally,
            cpu: cpu - before,
            cpu_beside: cpu_beside - beside,
            behind_max_ms: self.behind_max as f64 / 1e6,
        })
    }

    /// Publishes at a rate; a message counts from when it was due, also if its turn came later.
    pub(crate) async fn publish(&mut self, rate: f64, duration: Duration) -> Result<u64> {
        let start = clock::nanos();
        let mut tick = tokio::time::interval(TICK);
        let (mut sent, mut items) = (0_u64, Vec::new());
        let ticks = duration.as_nanos() / TICK.as_nanos();
        for at in 0..u64::try_from(ticks)? {
            tick.tick().await;
            let offset = at * u64::try_from(TICK.as_nanos())?;
            self.behind_max = self.behind_max.max(clock::nanos().saturating_sub(start + offset));
            let due = (rate * (offset as f64 / 1e9 + TICK.as_secs_f64())) as u64;
            items.clear();
            for _ in sent..due {
                self.numbers[self.turn] += 1;
                items.push((self.turn, Mark { number: self.numbers[self.turn], due: start + offset }));
                self.turn = (self.turn + 1) % self.numbers.len();
            }
            sent = due.max(sent);
            self.publisher.send(&items, false).await?;
            let late = clock::nanos().saturating_sub(start + offset);
            // Twice as long as planned: what is beyond this server's means says no more by going on.
            if u128::from(late) > duration.as_nanos() {
                break;
            }
        }
        self.publisher.settle().await?;
        Ok(sent)
    }

    /// Publishes one more message on every channel, kept for whoever is away. Answers its number.
    pub(crate) async fn one_each(&mut self) -> Result<u32> {
        let next = self.numbers.iter().max().copied().unwrap_or(0) + 1;
        let due = clock::nanos();
        let channels: Vec<_> = (0..self.numbers.len()).collect();
        for some in channels.chunks(256) {
            let items: Vec<_> = some.iter().map(|channel| (*channel, Mark { number: next, due })).collect();
            self.publisher.send(&items, true).await?;
        }
        self.numbers.fill(next);
        self.publisher.settle().await?;
        Ok(next)
    }

    /// Of the server, and of what stands beside it.
    pub(crate) fn processor_seconds(&self) -> Result<(f64, f64)> {
        Ok((process::processor_seconds(&self.target.processes)?, process::processor_seconds(&self.target.beside)?))
    }

    /// The same of memory, in bytes.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        Ok((process::memory(&self.target.processes)?, process::memory(&self.target.beside)?))
    }

    /// By how much the server's own memory has grown since before there was anybody, in bytes.
    pub(crate) fn grown(&self) -> Result<u64> {
        Ok(process::own_memory(&self.target.processes)?.saturating_sub(self.own_memory_before))
    }

    /// The best run of `rates` that was held.
    pub(crate) async fn highest(&mut self, rates: &[f64]) -> Result<Option<Ran>> {
        highest(rates, async |rate| self.run(rate, RUNG).await).await
    }
}
