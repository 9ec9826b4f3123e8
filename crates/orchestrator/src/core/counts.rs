//! What happened, counted: read by metrics, never by a rule.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use engine::{Event as Decided, Fact, Loss, State};
use parking_lot::Mutex;
use protocol::{EventType, Timestamp};

/// Upper bounds of the stage-duration histogram, in seconds: the first document's ranges, halved and doubled.
pub const STAGE_SECONDS: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 600.0];
/// Most stage names that get their own series; the names of the rest are folded into `other`.
const STAGES_COUNTED_MAX: usize = 64;

/// How long stages of one name took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageCounts {
    /// Completed, by upper bound of [`STAGE_SECONDS`], not cumulative; the last is beyond all.
    pub buckets: [u64; 11],
    /// Seconds of all completed ones.
    pub seconds: f64,
    /// Tries that ended badly.
    pub failed: u64,
}

/// Counters since start.
#[derive(Debug, Default)]
pub struct Counts {
    submitted: AtomicU64,
    granted: AtomicU64,
    retried: AtomicU64,
    handed_back: AtomicU64,
    stalled: AtomicU64,
    silent: AtomicU64,
    parked: AtomicU64,
    cleaned_up: AtomicU64,
    lost: AtomicU64,
    complete: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    events: AtomicU64,
    frames: AtomicU64,
    frame_bytes: AtomicU64,
    bad_frames: AtomicU64,
    stages: Mutex<BTreeMap<String, StageCounts>>,
}

impl Counts {
    pub(super) fn granted(&self) {
        self.granted.fetch_add(1, Relaxed);
    }

    pub(super) fn frame(&self, bytes: usize) {
        self.frames.fetch_add(1, Relaxed);
        self.frame_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn bad_frame(&self) {
        self.bad_frames.fetch_add(1, Relaxed);
    }

    pub(super) fn silent(&self) {
        self.silent.fetch_add(1, Relaxed);
    }

    pub(super) fn lost(&self, loss: Loss) {
        match loss {
            Loss::WorkerLost => self.lost.fetch_add(1, Relaxed),
            Loss::Stalled | Loss::TimedOut => self.stalled.fetch_add(1, Relaxed),
            Loss::CancelGraceOver | Loss::Released => 0,
        };
    }

    pub(super) fn follow(&self, before: Option<&State>, events: &[Decided], now: Timestamp) {
        self.events.fetch_add(events.len() as u64, Relaxed);
        if before.is_none() {
            self.submitted.fetch_add(1, Relaxed);
        }
        for event in events {
            let counter = match event.show.kind {
                EventType::RetryScheduled => &self.retried,
                EventType::HandedBack => &self.handed_back,
                EventType::Parked => &self.parked,
                EventType::CleanUpStarted => &self.cleaned_up,
                EventType::Complete => &self.complete,
                EventType::Failed => &self.failed,
                EventType::Cancelled => &self.cancelled,
                EventType::StageCompleted | EventType::StageFailed => {
                    self.stage(before, event, now);
                    continue;
                }
                _ => continue,
            };
            counter.fetch_add(1, Relaxed);
        }
    }

    fn stage(&self, before: Option<&State>, event: &Decided, now: Timestamp) {
        let (name, completed) = match &event.fact {
            Fact::StageCompleted { stage, .. } => (stage, true),
            Fact::StageFailed { stage, .. } => (stage, false),
            _ => return,
        };
        let started = before.and_then(|state| {
            let index = state.pipeline.stages.iter().position(|stage| stage.name == *name)?;
            state.stages.get(index)?.started_at
        });
        let mut stages = self.stages.lock();
        let known = stages.len() < STAGES_COUNTED_MAX || stages.contains_key(name.as_str());
        let counts = stages.entry(if known { name.to_string() } else { "other".to_owned() }).or_default();
        if !completed {
            counts.failed += 1;
            return;
        }
        let Some(started) = started else { return };
        let seconds = now.since(started) as f64 / 1_000.0;
        let bucket = STAGE_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(STAGE_SECONDS.len());
        counts.buckets[bucket] += 1;
        counts.seconds += seconds;
    }

    /// All counters, by the name a metric has.
    #[must_use]
    pub fn values(&self) -> [(&'static str, u64); 16] {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        [
            ("generations_submitted", of(&self.submitted)),
            ("leases_granted", of(&self.granted)),
            ("retries", of(&self.retried)),
            ("hand_backs", of(&self.handed_back)),
            ("stages_stalled", of(&self.stalled)),
            ("stages_reported_silent", of(&self.silent)),
            ("generations_parked", of(&self.parked)),
            ("clean_ups_started", of(&self.cleaned_up)),
            ("leases_lost", of(&self.lost)),
            ("generations_complete", of(&self.complete)),
            ("generations_failed", of(&self.failed)),
            ("generations_cancelled", of(&self.cancelled)),
            ("events_committed", of(&self.events)),
            ("frames_received", of(&self.frames)),
            ("frame_bytes_received", of(&self.frame_bytes)),
            ("frames_refused", of(&self.bad_frames)),
        ]
    }

    /// How long stages took, by name.
    #[must_use]
    pub fn stages(&self) -> BTreeMap<String, StageCounts> {
        self.stages.lock().clone()
    }
}
