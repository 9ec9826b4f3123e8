//! Previews beside events: many watchers of one generation, ten pictures a second, and whether an event comes late behind them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use protocol::{
    Handle,
    frame::{FLAG_KEY, Format, Header},
    number::{Fence, FrameIndex, Revision},
};
use serde_json::json;

use super::{
    Load, Row, Wait,
    crew::{Crew, Tally},
    house::House,
    load::orders::Seat,
    mark::Mark,
    process,
    rows::megabytes,
    target::{Follow, Target},
    workers::{Crowd, Workers},
};

/// Pictures a second, as a player wants them.
const PICTURES_PER_SECOND: u64 = 10;
/// Bytes of a picture: a 480p preview.
const PICTURE_BYTES: usize = 20 * 1024;
/// Events a second beside them, more than any stage reports.
const EVENTS_PER_SECOND: u64 = 20;

/// A worker's message: handle, header, and a picture that begins as WebP does, its mark first.
pub(crate) fn message(handle: u32, mark: Mark, bytes: usize) -> Vec<u8> {
    let header = Header {
        format: Format::Webp,
        flags: FLAG_KEY,
        fence: Fence(1),
        index: FrameIndex(mark.number),
        total: 0,
        revision: Revision(0),
        pts_micros: u64::from(mark.number) * 1_000_000 / PICTURES_PER_SECOND,
        width: 854,
        height: 480,
        generation: None,
    };
    let mut message = Handle(handle).0.to_le_bytes().to_vec();
    header.write(&mut message);
    let picture = message.len();
    message.extend_from_slice(b"RIFF");
    message.extend_from_slice(&u32::try_from(bytes.saturating_sub(8)).unwrap_or(u32::MAX).to_le_bytes());
    message.extend_from_slice(b"WEBPVP8 ");
    message.extend_from_slice(mark.to_string().as_bytes());
    message.resize(picture + bytes, 0);
    message
}

/// What was found.
pub(crate) struct Frames {
    alone: Ran,
    beside: Ran,
}

struct Ran {
    tally: Tally,
    cpu: f64,
    seconds: f64,
    pictures: u64,
}

impl Frames {
    /// By how much the latest event beside pictures is behind the median without, in milliseconds.
    pub(crate) fn latest_behind_ms(&self) -> f64 {
        self.beside.tally.latency.max() - self.alone.tally.latency.percentile(0.5).unwrap_or(0.0)
    }

    /// Of the server's processor time for each picture that was delivered.
    pub(crate) fn micros(&self) -> f64 {
        self.beside.cpu * 1e6 / self.beside.tally.counts.pictures.max(1) as f64
    }
}

/// One run without pictures, one with them.
pub(crate) async fn run(load: &Load) -> Result<Frames> {
    Ok(Frames { alone: once(load, false).await?, beside: once(load, true).await? })
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let frames = run(load).await?;
    let (late, each) = (frames.latest_behind_ms(), frames.micros());
    let Frames { alone, beside } = &frames;
    let (delivered, watchers) = (beside.tally.counts.pictures, load.watchers);
    let sent = beside.pictures * watchers as u64;
    let cores = beside.cpu / beside.seconds;
    let mut last =
        Row::latency("frames: events beside them", &beside.tally.latency).with("latest_behind_ms", json!(late));
    last.value += &format!("; the latest {late:.1} ms behind the median without");
    Ok(vec![
        Row::new(
            "frames: delivered",
            format!(
                "{delivered} of {sent} ({watchers} watchers, {PICTURES_PER_SECOND} fps of {} KB; the rest conflated), {:.0} MB/s",
                PICTURE_BYTES / 1024,
                megabytes(beside.tally.counts.bytes) / beside.seconds
            ),
            json!({"delivered": delivered, "sent": sent, "watchers": watchers}),
        ),
        Row::new(
            "frames: server CPU for each delivered",
            format!("{each:.1} µs  ({:.0} % of a core)", 100.0 * cores),
            json!({"microseconds": each, "cores": cores}),
        ),
        Row::latency("frames: sent → watcher", &beside.tally.pictures),
        Row::latency("frames: events without them", &alone.tally.latency),
        last,
    ])
}

async fn once(load: &Load, with_pictures: bool) -> Result<Ran> {
    let house = House::start(load).await?;
    let crowd = Crowd { runs: 1, sockets: 1, wait: Wait::Strict };
    let mut workers = Workers::start(&house, crowd).await?;
    let target = Target::of_house(&house)?;
    let follow = if with_pictures { Follow::Pictures } else { Follow::Events };
    let run = &workers.runs[0];
    let seat = Seat { channel: run.generation.clone(), token: house.mint(&run.user)?, stalls: false };
    let mut crew = Crew::start(vec![target.plan(follow, vec![seat; load.watchers])], load.load_core).await?;
    crew.open(64, 0, Duration::from_secs(60)).await?;
    // Demand reaches the worker once a look has been taken at who watches.
    tokio::time::sleep(Duration::from_millis(500)).await;
    crew.report().await?;
    let before = process::processor_seconds(&target.processes)?;
    let start = Instant::now();
    let step = Duration::from_secs(1) / u32::try_from(EVENTS_PER_SECOND).context("a small number")?;
    let mut tick = tokio::time::interval(step);
    let (mut events, mut pictures) = (0_u32, 0_u32);
    let due = || super::clock::nanos();
    while start.elapsed() < load.duration() {
        tick.tick().await;
        if with_pictures && u64::from(events) % (EVENTS_PER_SECOND / PICTURES_PER_SECOND) == 0 {
            pictures += 1;
            workers.picture(0, Mark { number: pictures, due: due() }, PICTURE_BYTES).await?;
        }
        events += 1;
        workers.send(&[(0, Mark { number: events, due: due() })]).await?;
    }
    let expected = u64::from(events) * load.watchers as u64;
    crew.wait(0, Duration::from_secs(20), |counts| counts.received >= expected).await?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = process::processor_seconds(&target.processes)? - before;
    let tally = crew.report().await?;
    tally.check(expected)?;
    Ok(Ran { tally, cpu, seconds, pictures: u64::from(pictures) })
}
