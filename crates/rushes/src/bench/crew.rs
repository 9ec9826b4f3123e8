//! The processes of the load, as the bench holds them: starts them, splits the connections among them, and adds up what they
//! answer.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    histogram::Histogram,
    load::orders::{Answer, Order, Plan},
};

/// Connections of one process: a descriptor each, and a default hard limit of 20,000 leaves some for the rest.
pub(crate) const SEATS_MAX: usize = 19_000;
/// Between two looks at how far the load is.
const LOOK: Duration = Duration::from_millis(20);

/// All of the load.
pub(crate) struct Crew {
    hands: Vec<Hand>,
    seats: usize,
}

struct Hand {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// Counts of all processes, with their histograms as one.
pub(crate) struct Tally {
    pub(crate) counts: Answer,
    pub(crate) latency: Histogram,
    pub(crate) pictures: Histogram,
}

impl Hand {
    fn start(core: Option<usize>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = pinned(core, &program);
        let mut child = command
            .args(["bench", "load"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is the bench's to hear.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting a process of the load")?;
        let orders = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?).lines();
        Ok(Self { _child: child, orders, answers })
    }

    async fn obey(&mut self, order: &Order) -> Result<Answer> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes()).await?;
        let answer =
            self.answers.next_line().await?.context("a process of the load ended; its last words are above")?;
        Ok(serde_json::from_str(&answer)?)
    }
}

/// A command on one core, if one is named.
pub(crate) fn pinned(core: Option<usize>, program: &std::path::Path) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Crew {
    /// Starts as many processes as `plans` wants, on `core` if one is named. Each plan is of one server; each is split.
    pub(crate) async fn start(plans: Vec<Plan>, core: Option<usize>) -> Result<Self> {
        let mut crew = Self { hands: Vec::new(), seats: 0 };
        for mut plan in plans {
            while !plan.seats.is_empty() {
                let rest = plan.seats.split_off(plan.seats.len().min(SEATS_MAX));
                crew.seats += plan.seats.len();
                let mut hand = Hand::start(core)?;
                hand.obey(&Order::Plan(plan.clone())).await?;
                crew.hands.push(hand);
                plan.seats = rest;
            }
        }
        Ok(crew)
    }

    async fn order(&mut self, order: &Order) -> Result<Vec<Answer>> {
        futures_util::future::try_join_all(self.hands.iter_mut().map(|hand| hand.obey(order))).await
    }

    /// Gives an order to all, and adds up what they answer.
    pub(crate) async fn tell(&mut self, order: &Order) -> Result<Answer> {
        let mut sum = Answer::default();
        for answer in self.order(order).await? {
            sum.add(&answer);
        }
        Ok(sum)
    }

    /// Opens everything, so many at once, and waits until all are ready and have seen `number`. Says how long that took.
    pub(crate) async fn open(&mut self, at_once: usize, number: u32, patience: Duration) -> Result<Duration> {
        let start = super::clock::nanos();
        self.tell(&Order::Open(at_once)).await?;
        let seats = self.seats;
        let counts = self.wait(number, patience, |counts| counts.caught_up == seats).await?;
        ensure!(
            counts.caught_up == seats,
            "{} of {seats} connections got ready, {} have seen everything; {} broke: {}",
            counts.ready,
            counts.caught_up,
            counts.broken,
            counts.why.unwrap_or_default()
        );
        Ok(Duration::from_nanos(counts.at.saturating_sub(start)))
    }

    /// Looks until `enough`, or until patience ends; answers what was there last.
    pub(crate) async fn wait(
        &mut self,
        number: u32,
        patience: Duration,
        enough: impl Fn(&Answer) -> bool,
    ) -> Result<Answer> {
        let end = Instant::now() + patience;
        loop {
            let counts = self.tell(&Order::Count(number)).await?;
            if enough(&counts) || Instant::now() >= end {
                return Ok(counts);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What came since the last report.
    pub(crate) async fn report(&mut self) -> Result<Tally> {
        let (mut latency, mut pictures, mut counts) = (Histogram::default(), Histogram::default(), Answer::default());
        for answer in self.order(&Order::Report).await? {
            latency.add(&answer.latency);
            pictures.add(&answer.picture_latency);
            counts.add(&answer);
        }
        Ok(Tally { counts, latency, pictures })
    }
}

impl Tally {
    /// Puts another load's to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.latency.add(&other.latency.sparse());
        self.pictures.add(&other.pictures.sparse());
    }

    /// Fails unless everything came, once, in order.
    pub(crate) fn check(&self, expected: u64) -> Result<()> {
        let counts = &self.counts;
        if counts.received == expected
            && counts.lost == 0
            && counts.twice == 0
            && counts.late == 0
            && counts.broken == 0
        {
            return Ok(());
        }
        bail!(
            "{} of {expected} deliveries came; {} passed over, {} twice, {} late; {} connections broke{}",
            counts.received,
            counts.lost,
            counts.twice,
            counts.late,
            counts.broken,
            counts.why.as_ref().map_or_else(String::new, |why| format!(": {why}"))
        )
    }
}
