//! What a handler holds of one run: what is to be done, and everything it can say. Says nothing itself: durable things go
//! to the owner task, progress waits in a slot for it, frames go straight to the connection when there is room.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::{
    ArtifactName, Attempt, CausalId, CommandId, ErrorCode, Fence, FrameIndex, GenerationId, Handle, LeaseId, Metadata,
    OfferId, PipelineName, PoolName, Revision, Sequence, StageName, TraceParent, TraceState,
    frame::{self, Header},
    limits,
    worker::{Artifact, Checkpoint, Deadlines, Demand, OfferedStage, RunEvent, RunInputs, WorkerMessage},
};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Settings, Stop};
use crate::{Content, TransferError, random, transfer};

/// A run to take or leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its name.
    pub id: OfferId,
    /// Whose run.
    pub generation: GenerationId,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its version.
    pub version: u32,
    /// The stages of the run, in order, those already done left out.
    pub stages: Vec<OfferedStage>,
    /// Try of the first stage, from 1.
    pub attempt: Attempt,
    /// What the client asked for and what earlier stages left.
    pub inputs: RunInputs,
    /// Where the last attempt had come to.
    pub checkpoint: Option<Checkpoint>,
    /// Constant across everything the request caused.
    pub causal_id: CausalId,
    /// What the request's sender sent of its trace; make the spans of the run its children.
    pub traceparent: Option<TraceParent>,
    /// What it sent beside it; pass it on with the spans.
    pub tracestate: Option<TraceState>,
}

/// Which previews somebody looks at; nothing means none need be encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// For a player.
    pub full: Option<Demand>,
    /// For small tiles.
    pub tile: Option<Demand>,
}

impl Wanted {
    /// Does somebody play each picture? Then show them with [`Run::frame_when_ready`], and stretch the time between them
    /// by [`Run::slow`].
    #[must_use]
    pub fn every(&self) -> bool {
        [self.full, self.tile].into_iter().flatten().any(|demand| demand.every)
    }
}

/// What a preview frame's header says, beside what the run knows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// How the picture is encoded.
    pub format: frame::Format,
    /// [`frame::FLAG_LAST_OF_REVISION`], [`frame::FLAG_LAST`], [`frame::FLAG_KEY`].
    pub flags: u16,
    /// Its place in the film.
    pub index: u32,
    /// How many pictures the film has; 0 when unknown.
    pub total: u32,
    /// How far it is refined.
    pub revision: u32,
    /// When it is shown, in microseconds of film time.
    pub pts_micros: u64,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// Why something said of a run was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// The run is over; return.
    #[error("the run is over")]
    Over,
    /// The server understood and refused. Saying the same again changes nothing.
    #[error("refused with {code}: {message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
}

/// Something durable on its way to the owner task.
#[derive(Debug)]
pub(crate) struct Saying {
    pub(crate) lease: LeaseId,
    pub(crate) event_id: CommandId,
    pub(crate) message: WorkerMessage,
    pub(crate) answer: oneshot::Sender<Result<Sequence, SayError>>,
}

/// The latest progress of one stage, waiting for its turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    pub(crate) stage: StageName,
    pub(crate) percent: f64,
    pub(crate) message: Option<String>,
    pub(crate) metadata: Option<Metadata>,
}

/// Where frames of a run go on the connection that is open.
#[derive(Debug, Clone)]
pub(crate) struct FrameLane {
    pub(crate) handle: Handle,
    pub(crate) frames: mpsc::Sender<Bytes>,
}

/// What a run and the owner task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) offer: Offer,
    pub(crate) lease: LeaseId,
    pub(crate) fence: Fence,
    pub(crate) deadlines: Deadlines,
    pub(crate) cancelled: CancellationToken,
    pub(crate) stop: Mutex<Option<Stop>>,
    pub(crate) wanted: watch::Sender<Wanted>,
    pub(crate) slow: watch::Sender<f64>,
    /// By the place of its stage in the offer: a stage that begins must not take the last word of the one before it.
    pub(crate) progress: Mutex<BTreeMap<usize, Progress>>,
    pub(crate) lane: Mutex<Option<FrameLane>>,
}

impl Shared {
    pub(crate) fn new(offer: Offer, lease: LeaseId, fence: Fence, deadlines: Deadlines) -> Self {
        Self {
            offer,
            lease,
            fence,
            deadlines,
            cancelled: CancellationToken::new(),
            stop: Mutex::new(None),
            wanted: watch::Sender::new(Wanted::default()),
            slow: watch::Sender::new(1.0),
            progress: Mutex::new(BTreeMap::new()),
            lane: Mutex::new(None),
        }
    }

    /// Keeps `progress` in place of what waits of its stage. False when no such stage was offered.
    pub(crate) fn hold(&self, progress: Progress) -> bool {
        let place = self.place(&progress.stage);
        place.map(|place| self.progress.lock().insert(place, progress)).is_some()
    }

    /// Which of the offered stages it is.
    pub(crate) fn place(&self, stage: &StageName) -> Option<usize> {
        self.offer.stages.iter().position(|offered| offered.name == *stage)
    }

    /// Tells the handler to stop; the first reason stays.
    pub(crate) fn stop(&self, why: Stop) {
        self.stop.lock().get_or_insert(why);
        self.cancelled.cancel();
    }

    pub(crate) fn stopped_for(&self) -> Option<Stop> {
        self.stop.lock().clone()
    }
}

/// One run in work. Cheap to clone; all clones speak for the same lease.
#[derive(Debug, Clone)]
pub struct Run {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    sayings: mpsc::Sender<Saying>,
    refusals: mpsc::Sender<String>,
    wake: Arc<Notify>,
}

impl Run {
    pub(crate) const fn new(
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        sayings: mpsc::Sender<Saying>,
        refusals: mpsc::Sender<String>,
        wake: Arc<Notify>,
    ) -> Self {
        Self { shared, settings, sayings, refusals, wake }
    }

    /// What is to be done.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.shared.offer
    }

    /// Under which grant: grows with every grant of the generation.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.shared.fence
    }

    /// How long the run and its first stage may take.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        self.shared.deadlines
    }

    /// Fires when the run has to stop: by request, because the lease is lost, or because the worker is stopping.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.shared.cancelled
    }

    /// Why it has to stop; `None` while it may go on.
    #[must_use]
    pub fn stop_reason(&self) -> Option<Stop> {
        self.shared.stopped_for()
    }

    /// How far `stage` is, from 0 to 100 per cent of the stage. Never blocks and never fails: what is not sent yet is
    /// replaced. The newest goes out before the stage is reported completed; progress of a stage before its predecessor
    /// was reported completed waits for its turn. Progress of a stage that was not offered is ignored.
    pub fn progress(&self, stage: &StageName, percent: f64, message: Option<String>, metadata: Option<Metadata>) {
        let progress = Progress { stage: stage.clone(), percent: percent.clamp(0.0, 100.0), message, metadata };
        if self.shared.hold(progress) {
            self.wake.notify_one();
        }
    }

    /// The stage ended well. Returns when that is durable.
    ///
    /// # Errors
    /// [`SayError`]; with `?` it becomes a [`super::Failure`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take back what was said.
    pub async fn stage_completed(&self, stage: &StageName, outputs: Option<Metadata>) -> Result<Sequence, SayError> {
        self.event(RunEvent::StageCompleted { stage: stage.clone(), outputs }).await
    }

    /// A line worth keeping, with facts that stay visible in `metadata`. Returns when it is durable.
    ///
    /// # Errors
    /// [`SayError`].
    pub async fn log(&self, message: impl Into<String>, metadata: Option<Metadata>) -> Result<Sequence, SayError> {
        self.event(RunEvent::Log { message: message.into(), metadata }).await
    }

    async fn event(&self, what: RunEvent) -> Result<Sequence, SayError> {
        self.say(|lease, event_id| WorkerMessage::Event { lease, event_id, what }).await
    }

    /// Saves a point to go on from, small enough to be sent along. A larger one is uploaded first and named.
    ///
    /// # Errors
    /// [`SayError`]; `too_large` over 64 KiB.
    pub async fn checkpoint(&self, data: Option<Value>, artifact: Option<ArtifactName>) -> Result<Sequence, SayError> {
        self.say(|lease, event_id| WorkerMessage::Checkpoint { lease, event_id, artifact, data }).await
    }

    /// A slot of `pool` is free again although the run goes on.
    ///
    /// # Errors
    /// [`SayError`].
    pub async fn release(&self, pool: &PoolName) -> Result<Sequence, SayError> {
        let pool = pool.clone();
        self.say(|lease, event_id| WorkerMessage::Release { lease, event_id, pool }).await
    }

    /// Keeps a file: uploads it, then announces it. A server that is away is waited for.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn artifact(&self, name: &ArtifactName, content: Content) -> Result<Artifact, TransferError> {
        let (size, sha256) = content.measure().await?;
        let artifact = Artifact { name: name.clone(), size, sha256 };
        let source = self.artifact_source(&self.settings.uploads, name);
        let upload = transfer::upload::upload(source, &artifact, &content);
        tokio::select! {
            biased;
            () = self.shared.cancelled.cancelled() => return Err(TransferError::Over),
            uploaded = upload => uploaded.map_err(|error| self.blame_token(error))?,
        }
        let announced = artifact.clone();
        self.say(|lease, event_id| WorkerMessage::Artifact { lease, event_id, artifact: announced }).await?;
        Ok(artifact)
    }

    /// Fetches a file that an earlier stage kept, named in [`Offer::inputs`], into the file `to`; checks its hash.
    ///
    /// # Errors
    /// [`TransferError`]; `Missing` when the offer names no such file.
    pub async fn fetch_artifact(&self, name: &ArtifactName, to: &Path) -> Result<u64, TransferError> {
        let known = self.shared.offer.inputs.artifacts.iter().find(|artifact| artifact.name == *name);
        let sha256 = known.ok_or_else(|| TransferError::Missing(name.clone()))?.sha256.clone();
        let source = self.artifact_source(&self.settings.http, name);
        tokio::select! {
            biased;
            () = self.shared.cancelled.cancelled() => Err(TransferError::Over),
            fetched = transfer::download(source, to, Some(&sha256)) => {
                fetched.map_err(|error| self.blame_token(error))
            }
        }
    }

    /// A file that is refused because of the token is not the run's fault: the worker hands back what it holds, and ends.
    fn blame_token(&self, error: TransferError) -> TransferError {
        let TransferError::Refused { code: ErrorCode::Unauthorized, message } = error else { return error };
        // At once, so that whatever the handler returns hands it back.
        self.shared.stop(Stop::Draining);
        // Full when another run has said so.
        let _ = self.refusals.try_send(message);
        TransferError::Over
    }

    fn artifact_source(&self, http: &reqwest::Client, name: &ArtifactName) -> transfer::Source {
        let path = format!("/v1/generations/{}/artifacts/{name}", self.shared.offer.generation);
        transfer::Source {
            http: http.clone(),
            url: self.settings.address.http(&path),
            token: Some(self.settings.token.clone()),
            lease: Some(self.shared.lease.clone()),
        }
    }

    /// Which previews somebody looks at.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        *self.shared.wanted.borrow()
    }

    /// Waits until [`Run::wanted`] may have changed.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn wanted_changed(&self) {
        let mut changes = self.shared.wanted.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.changed().await;
    }

    /// By how much to stretch the time between frames: 1 unless a requester that plays each of them cannot keep up.
    #[must_use]
    pub fn slow(&self) -> f64 {
        *self.shared.slow.borrow()
    }

    /// Shows a preview. Never blocks: a frame is dropped while the connection is away or behind, and when it is larger
    /// than 256 KiB. Answers whether it was taken.
    pub fn frame(&self, picture: Picture, bytes: &[u8]) -> bool {
        let Some((lane, message)) = self.encode(picture, bytes) else { return false };
        lane.frames.try_send(message).is_ok()
    }

    /// Shows a preview that must not be dropped because of a slow connection: waits for room. Answers `false` while the
    /// connection is away, because then nobody sees it.
    ///
    /// # Cancel safety
    /// Safe to drop; the frame is then not shown.
    pub async fn frame_when_ready(&self, picture: Picture, bytes: &[u8]) -> bool {
        let Some((lane, message)) = self.encode(picture, bytes) else { return false };
        tokio::select! {
            biased;
            () = self.shared.cancelled.cancelled() => false,
            sent = lane.frames.send(message) => sent.is_ok(),
        }
    }

    fn encode(&self, picture: Picture, bytes: &[u8]) -> Option<(FrameLane, Bytes)> {
        let lane = self.shared.lane.lock().clone()?;
        if frame::HEADER_BYTES + bytes.len() > limits::FRAME_BYTES_MAX {
            return None;
        }
        let header = Header {
            format: picture.format,
            flags: picture.flags,
            fence: self.shared.fence,
            index: FrameIndex(picture.index),
            total: picture.total,
            revision: Revision(picture.revision),
            pts_micros: picture.pts_micros,
            width: picture.width,
            height: picture.height,
            generation: None,
        };
        let mut message = Vec::with_capacity(4 + frame::HEADER_BYTES + bytes.len());
        message.extend_from_slice(&lane.handle.0.to_le_bytes());
        header.write(&mut message);
        message.extend_from_slice(bytes);
        Some((lane, message.into()))
    }

    async fn say(&self, message: impl FnOnce(LeaseId, CommandId) -> WorkerMessage) -> Result<Sequence, SayError> {
        let (answer, answered) = oneshot::channel();
        let (lease, event_id) = (self.shared.lease.clone(), random::command_id());
        let message = message(lease.clone(), event_id.clone());
        self.sayings.send(Saying { lease, event_id, message, answer }).await.map_err(|_| SayError::Over)?;
        answered.await.unwrap_or(Err(SayError::Over))
    }
}
