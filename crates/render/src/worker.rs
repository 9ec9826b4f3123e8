//! The reference renderer as a worker: runs the offered stages of pipeline `video` for a server.
//!
//! Owns which files a run starts from, keeps and leaves, and how an error of a stage becomes a failure. Drawing is the
//! stages' own ([`crate::film`]); connection, leases and repetition are the SDK's.
//!
//! ```text
//! worker/bridge.rs   what a stage tells its sink, as what a run says
//! worker/input.rs    the client's `input` as a request
//! worker/workplace.rs   a folder for a worker process, and what killed ones left
//! ```
//! The film runs on a thread of its own and never waits for the network: it hands its edges to the task beside it, which
//! uploads and announces them while the next stage is drawn.

mod bridge;
mod input;
mod workplace;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use sdk::{
    Content, Failure, Handler, Offer, Run,
    protocol::{ArtifactName, Metadata, StageName, worker::FailureKind},
    worker::Outputs,
};
use tokio::sync::{Semaphore, mpsc};

use self::bridge::{Bridge, Said};
pub use self::workplace::Workplace;
use crate::{Error, Film, Folder, Plan, Request, Stage, film};

/// The film, as clients know it.
const VIDEO: &str = "film.mp4";
/// The picture that stands for it.
const THUMBNAIL: &str = "thumbnail.webp";
/// The drawn pictures: with them a later attempt goes on at `interpolating`, on any machine.
const FRAMES: &str = "frames.rushes";
/// 30 s to keep a thumbnail of some 20 KB: after that the film does not wait for it.
const THUMBNAIL_UPLOAD_MAX: Duration = Duration::from_secs(30);
/// 16 edges between the film's thread and its task; a film has ten.
const SAID_MAX: usize = 16;

/// Draws films for a server.
#[derive(Debug)]
pub struct Reference {
    folder: PathBuf,
    threads: usize,
    films: Arc<Semaphore>,
}

impl Reference {
    /// Work files go below `folder`, a folder of their own for each run. At most `films` are drawn at once, sharing the
    /// machine's processors.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, films: usize) -> Self {
        let films = films.max(1);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (processors / films).clamp(1, crate::THREADS_MAX);
        Self { folder: folder.into(), threads, films: Arc::new(Semaphore::new(films)) }
    }
}

#[async_trait]
impl Handler for Reference {
    async fn run(&self, run: Run) -> Result<Outputs, Failure> {
        let stages = stages(run.offer()).ok_or_else(|| Failure::fatal("stages this renderer does not know"))?;
        let request = input::request(run.offer(), self.threads)?;
        let plan = request.plan().map_err(|error| failure(Error::from(error)))?;
        let permit = tokio::select! {
            biased;
            () = run.cancelled().cancelled() => return Err(Failure::cancelled()),
            permit = Arc::clone(&self.films).acquire_owned() => permit,
        };
        let scratch = Scratch::make(&self.folder, &run).map_err(|error| failure(Error::Disk(error)))?;
        let kept = fetch_frames(&run, &stages, &scratch.folder()).await?;
        let (tx, rx) = mpsc::channel(SAID_MAX);
        let job = Job { request, folder: scratch.folder(), stages, kept };
        let sink = Bridge::new(run.clone(), tx);
        let drawing = tokio::task::spawn_blocking(move || {
            // Held by the thread itself: a run that was given up draws until it notices.
            let _permit = permit;
            job.draw(sink)
        });
        let told = tokio::select! {
            biased;
            // What is being said may wait for a server that is away; a cancellation does not.
            () = run.cancelled().cancelled() => Err(Failure::cancelled()),
            told = tell(&run, rx, &scratch) => told,
        };
        // The thread ends within 50 ms of a cancellation, and at once when nobody listens to it any more.
        let drawn = drawing.await.map_err(|error| Failure::retryable(error.to_string()).code("PANIC"))?;
        let kept = told?;
        drawn.map_err(failure)?;
        Ok(outputs(&plan, &kept))
    }

    fn accepts(&self, offer: &Offer) -> bool {
        stages(offer).is_some()
    }
}

/// The offered stages, if each is one of ours and they follow each other.
fn stages(offer: &Offer) -> Option<Vec<Stage>> {
    let known = |name: &StageName| Stage::ALL.into_iter().find(|stage| stage.name() == name.as_str());
    let stages: Vec<Stage> = offer.stages.iter().map(|stage| known(&stage.name)).collect::<Option<_>>()?;
    let in_order = stages.windows(2).all(|pair| pair[0] < pair[1]);
    (in_order && !stages.is_empty()).then_some(stages)
}

/// Gets the drawn pictures of an earlier attempt, when the run begins behind them.
async fn fetch_frames(run: &Run, stages: &[Stage], folder: &Folder) -> Result<bool, Failure> {
    let begins_behind = stages.first().is_some_and(|first| *first > Stage::GeneratingFrames);
    let name = artifact(FRAMES);
    if !begins_behind || !run.offer().inputs.artifacts.iter().any(|artifact| artifact.name == name) {
        return Ok(false);
    }
    run.fetch_artifact(&name, &folder.frames()).await?;
    Ok(true)
}

/// What was kept of the finished film.
#[derive(Default)]
struct Kept {
    video: bool,
    thumbnail: bool,
    encoder: &'static str,
}

/// Says what the film's thread tells, in order, until it ends.
async fn tell(run: &Run, mut said: mpsc::Receiver<Said>, scratch: &Scratch) -> Result<Kept, Failure> {
    let mut kept = Kept::default();
    let last = run.offer().stages.last().map(|stage| stage.name.clone());
    while let Some(said) = said.recv().await {
        match said {
            Said::Scene(scene) => {
                let metadata = Metadata::from_iter([("scene".to_owned(), scene.into())]);
                run.log("Scene chosen", Some(metadata)).await?;
            }
            Said::Film(film) => kept = keep_film(run, film).await?,
            Said::StageDone(stage) => {
                let offered = run.offer().stages.iter().find(|offered| offered.name.as_str() == stage.name());
                let Some(offered) = offered else { continue };
                if stage == Stage::GeneratingFrames && offered.keep {
                    run.artifact(&artifact(FRAMES), Content::File(scratch.folder().frames())).await?;
                }
                // The run's end completes its last stage.
                if Some(&offered.name) != last.as_ref() {
                    run.stage_completed(&offered.name, None).await?;
                }
            }
        }
    }
    Ok(kept)
}

async fn keep_film(run: &Run, film: Box<Film>) -> Result<Kept, Failure> {
    let Film { mp4, thumbnail, encoder, .. } = *film;
    run.artifact(&artifact(VIDEO), Content::Bytes(mp4.into())).await?;
    let mut kept = Kept { video: true, thumbnail: false, encoder };
    if let Some(picture) = thumbnail {
        let name = artifact(THUMBNAIL);
        let upload = run.artifact(&name, Content::Bytes(picture.into()));
        match tokio::time::timeout(THUMBNAIL_UPLOAD_MAX, upload).await {
            Ok(Ok(_)) => kept.thumbnail = true,
            Ok(Err(sdk::TransferError::Over)) => return Err(Failure::cancelled()),
            Ok(Err(error)) => tracing::warn!(%error, "thumbnail not kept"),
            Err(_) => tracing::warn!("thumbnail not kept in time"),
        }
    }
    Ok(kept)
}

/// Facts for the terminal event; nothing when the run ended before the film did.
fn outputs(plan: &Plan, kept: &Kept) -> Outputs {
    let mut outputs = Outputs::new();
    if !kept.video {
        return outputs;
    }
    outputs.insert("video".to_owned(), VIDEO.into());
    if kept.thumbnail {
        outputs.insert("thumbnail".to_owned(), THUMBNAIL.into());
    }
    outputs.insert("seconds".to_owned(), (f64::from(plan.frames) / f64::from(plan.fps)).into());
    outputs.insert("width".to_owned(), plan.output.width.into());
    outputs.insert("height".to_owned(), plan.output.height.into());
    outputs.insert("fps".to_owned(), plan.fps.into());
    outputs.insert("frames".to_owned(), plan.frames.into());
    outputs.insert("encoder".to_owned(), kept.encoder.into());
    outputs
}

/// One run on the film's thread.
struct Job {
    request: Request,
    folder: Folder,
    stages: Vec<Stage>,
    /// The drawn pictures are there already.
    kept: bool,
}

impl Job {
    fn draw(self, mut sink: Bridge) -> Result<(), Error> {
        if self.stages.contains(&Stage::Encoding) {
            // Before minutes of drawing.
            film::check_encoder(self.request.encoder)?;
        }
        self.catch_up(&mut sink)?;
        let mut scene = None;
        for stage in &self.stages {
            match stage {
                Stage::PromptAnalysis => scene = Some(film::analyse(&self.request, &mut sink)?),
                Stage::GeneratingFrames => {
                    let scene = match scene.take() {
                        Some(scene) => scene,
                        None => film::analyse(&self.request, &mut bridge::Quiet(&sink))?,
                    };
                    film::generate(&self.request, &scene, &self.folder, &mut sink)?;
                }
                Stage::Interpolating => film::interpolate(&self.request, &self.folder, &mut sink)?,
                Stage::Upscaling => film::upscale(&self.request, &self.folder, &mut sink)?,
                Stage::Encoding => {
                    let film = film::encode(&self.request, &self.folder, &mut sink)?;
                    sink.tell(Said::Film(Box::new(film)))?;
                }
            }
            sink.tell(Said::StageDone(*stage))?;
        }
        Ok(())
    }

    /// Makes what the first offered stage reads and nobody kept: another machine had it, and the same request gives the
    /// same pictures.
    fn catch_up(&self, sink: &mut Bridge) -> Result<(), Error> {
        let Some(first) = self.stages.first().copied() else { return Ok(()) };
        let quiet = &mut bridge::Quiet(sink);
        if first > Stage::GeneratingFrames && !self.kept {
            let scene = film::analyse(&self.request, quiet)?;
            film::generate(&self.request, &scene, &self.folder, quiet)?;
        }
        if first > Stage::Interpolating {
            film::interpolate(&self.request, &self.folder, quiet)?;
        }
        if first > Stage::Upscaling {
            film::upscale(&self.request, &self.folder, quiet)?;
        }
        Ok(())
    }
}

/// What an error of a stage means for the run.
fn failure(error: Error) -> Failure {
    let kind = match error {
        Error::Refused(refused) => return Failure::invalid_input(refused.to_string()),
        Error::Cancelled => return Failure::cancelled(),
        Error::NoEncoder | Error::Missing { .. } => FailureKind::Fatal,
        Error::Disk(_) | Error::Kept(_) | Error::Encoder { .. } => FailureKind::Retryable,
    };
    let code = match error {
        Error::Disk(_) => "DISK",
        Error::Kept(_) => "KEPT_FRAMES",
        Error::NoEncoder | Error::Missing { .. } => "NO_ENCODER",
        _ => "ENCODER",
    };
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    Failure::new(kind, format!("{error}{cause}")).code(code)
}

fn artifact(name: &str) -> ArtifactName {
    ArtifactName::new(name).expect("a literal file name is valid")
}

/// The work folder of one run, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn make(below: &Path, run: &Run) -> std::io::Result<Self> {
        let path = below.join(format!("{}-{}", run.offer().generation, run.fence()));
        // What a killed process left under the same grant is of no use.
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn folder(&self) -> Folder {
        Folder::new(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "work folder not removed");
        }
    }
}

#[cfg(test)]
mod tests;
