//! The five stages, one function each, and `film` that runs them all. Owns which file each stage reads and writes;
//! leaves drawing to `paint`, matching to `motion`, scaling to `resize`. Called by workers, stage by stage.
//!
//! Pictures pass from stage to stage in files of the caller's folder (see `kept`), so memory holds a few pictures per
//! thread whatever the film's length; only the finished MP4 (about 1 MB for 3 s of 1080p) is held whole.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::ffmpeg;
use crate::frame::Frame;
use crate::kept;
use crate::motion;
use crate::pool::{self, Halt, Step};
use crate::request::{Encoder, Plan, Request};
use crate::resize::Resizer;
use crate::scene::Scene;
use crate::sink::{Detail, Sink, Stage};
use crate::thumbnail;

mod generate;

/// Two seconds between key frames: how far back a player must go after a seek.
pub(crate) const KEY_SECONDS: u32 = 2;
/// The index and the thumbnail take about a twentieth of the time of a three-second film's encoding.
const ENCODING_SHARE: f64 = 0.95;
/// The index takes milliseconds; what is left is the thumbnail.
const INDEX_SHARE: f64 = 0.96;

pub use generate::{REVISION_LAST, generate};

/// A finished film.
#[derive(Debug, Clone)]
pub struct Film {
    /// A fast-start MP4 file: H.264 or AV1, 4:2:0, BT.709.
    pub mp4: Vec<u8>,
    /// A WebP picture at most 480 pixels wide; `None` when making it went wrong, which never fails the film.
    pub thumbnail: Option<Vec<u8>>,
    /// The numbers of this film.
    pub plan: Plan,
    /// Which encoder made it: [`Encoder::name`].
    pub encoder: &'static str,
}

/// Where the work files of one film lie. The folder must exist and belong to this film alone.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Work files in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The drawn pictures, kept after `generating_frames`: with this file alone a retry resumes at `interpolating`.
    #[must_use]
    pub fn frames(&self) -> PathBuf {
        self.0.join("frames.rushes")
    }

    /// All pictures of the film at drawing size, after `interpolating`.
    #[must_use]
    pub fn smooth(&self) -> PathBuf {
        self.0.join("smooth.rushes")
    }

    /// All pictures at the film's size, after `upscaling`.
    #[must_use]
    pub fn large(&self) -> PathBuf {
        self.0.join("large.rushes")
    }
}

/// Makes a whole film. The kept frames stay in `folder`, the later work files are removed; after an error whatever was
/// finished stays, so that single stages can go on from it.
///
/// # Errors
/// As the stages.
pub fn film(request: &Request, folder: &Folder, sink: &mut dyn Sink) -> Result<Film, Error> {
    request.check()?;
    check_encoder(request.encoder)?;
    let scene = analyse(request, sink)?;
    generate(request, &scene, folder, sink)?;
    interpolate(request, folder, sink)?;
    upscale(request, folder, sink)?;
    remove(&folder.smooth())?;
    let film = encode(request, folder, sink)?;
    remove(&folder.large())?;
    Ok(film)
}

/// Says whether this machine can encode, before anything is drawn for it.
///
/// # Errors
/// [`Error::NoEncoder`] or [`Error::Missing`].
pub fn check_encoder(encoder: Encoder) -> Result<(), Error> {
    match encoder {
        Encoder::OpenH264 if cfg!(feature = "h264") => Ok(()),
        Encoder::OpenH264 => Err(Error::NoEncoder),
        Encoder::X264 | Encoder::SvtAv1 => ffmpeg::find(),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    Ok(std::fs::remove_file(path)?)
}

/// Stage `prompt_analysis`: what the words say. Microseconds, and the same every time, so a resumed run may repeat it.
///
/// # Errors
/// [`Error::Refused`] or [`Error::Cancelled`].
pub fn analyse(request: &Request, sink: &mut dyn Sink) -> Result<Scene, Error> {
    let stage = Stage::PromptAnalysis;
    sink.progress(stage, 0.0, "Analyzing prompt...", Detail::default());
    request.check()?;
    let scene = Scene::understand(&request.prompt, request.seed);
    stop_if_cancelled(sink)?;
    sink.scene(&scene);
    sink.progress(stage, 1.0, "Analyzing prompt...", Detail::default());
    Ok(scene)
}

/// Stage `interpolating`: the pictures between the drawn ones, by following motion.
///
/// # Errors
/// [`Error::Kept`] when the drawn pictures are damaged or another film's; else as any stage.
pub fn interpolate(request: &Request, folder: &Folder, sink: &mut dyn Sink) -> Result<(), Error> {
    let plan = request.plan()?;
    let reader = open(request, &plan, &folder.frames(), plan.draw, plan.drawn)?;
    let mut progress = Progress::new(Stage::Interpolating, "Interpolating between keyframes...", plan.frames);
    progress.at(0, sink);
    let mut writer = kept::Writer::create(&folder.smooth(), plan.draw, plan.frames, identity(request, &plan))?;
    let gaps = (plan.drawn - 1).max(1) as usize;
    let work = |gap: usize, halt: &Halt| {
        let first = reader.frame(gap as u32)?;
        let mut frames = vec![first];
        if plan.drawn > 1 {
            fill(&mut frames, reader.frame(gap as u32 + 1)?, plan.factor, halt)?;
        }
        // Every picture belongs to the gap it opens; the very last one to the last gap.
        if gap + 1 < gaps {
            frames.pop();
        }
        Ok(frames.iter().map(kept::pack).collect::<Vec<_>>())
    };
    let mut written = 0;
    pool::ordered(plan.threads, gaps, work, |step| {
        if let Step::Done(_, frames) = step {
            for packed in frames {
                if written < plan.frames {
                    writer.append(&packed)?;
                    written += 1;
                }
            }
            progress.at(written, sink);
        }
        stop_if_cancelled(sink)
    })?;
    Ok(writer.finish()?)
}

/// Puts `factor - 1` pictures between the last of `frames` and `next`, then `next`.
fn fill(frames: &mut Vec<Frame>, next: Frame, factor: u32, halt: &Halt) -> Result<(), Error> {
    if factor > 1
        && let Some(before) = frames.last()
    {
        let middle = motion::middle(before, &next, halt)?;
        fill(frames, middle, factor / 2, halt)?;
        return fill(frames, next, factor / 2, halt);
    }
    frames.push(next);
    Ok(())
}

/// Stage `upscaling`: Lanczos3 to the film's size.
///
/// # Errors
/// As [`interpolate`].
pub fn upscale(request: &Request, folder: &Folder, sink: &mut dyn Sink) -> Result<(), Error> {
    let plan = request.plan()?;
    let reader = open(request, &plan, &folder.smooth(), plan.draw, plan.frames)?;
    let message = format!("Upscaling to {}p...", plan.output.width.min(plan.output.height));
    let mut progress = Progress::new(Stage::Upscaling, &message, plan.frames);
    progress.at(0, sink);
    let resizer = Resizer::new(plan.draw, plan.output);
    let mut writer = kept::Writer::create(&folder.large(), plan.output, plan.frames, identity(request, &plan))?;
    let work = |index: usize, halt: &Halt| Ok(kept::pack(&resizer.run(&reader.frame(index as u32)?, halt)?));
    pool::ordered(plan.threads, plan.frames as usize, work, |step| {
        if let Step::Done(index, packed) = step {
            writer.append(&packed)?;
            progress.at(index as u32 + 1, sink);
        }
        stop_if_cancelled(sink)
    })?;
    Ok(writer.finish()?)
}

/// Stage `encoding`: one file that plays, and a thumbnail.
///
/// # Errors
/// [`Error::NoEncoder`] when openh264 is asked for in a build without the feature `h264`; [`Error::Missing`] when there is
/// no ffmpeg or it lacks the encoder, [`Error::Encoder`] when it dies or hangs; else as [`interpolate`].
pub fn encode(request: &Request, folder: &Folder, sink: &mut dyn Sink) -> Result<Film, Error> {
    let plan = request.plan()?;
    let reader = open(request, &plan, &folder.large(), plan.output, plan.frames)?;
    let mut progress = Progress::new(Stage::Encoding, "Encoding final video...", plan.frames);
    progress.share = ENCODING_SHARE;
    let mp4 = match request.encoder {
        Encoder::OpenH264 => compress(&plan, &reader, &mut progress, sink)?,
        Encoder::X264 | Encoder::SvtAv1 => {
            let program = Path::new("ffmpeg");
            let process = ffmpeg::Process::start(program, request.encoder, &plan, folder.0.join("film.mp4.part"))?;
            hand_over(process, &plan, &reader, &mut progress, sink)?
        }
    };
    let detail = Detail { current_frame: plan.frames, total_frames: plan.frames };
    sink.progress(Stage::Encoding, INDEX_SHARE, "Creating thumbnail", detail);
    let thumbnail = thumbnail::make(reader, plan.frames / 3, sink)?;
    sink.progress(Stage::Encoding, 1.0, "Encoding final video...", detail);
    Ok(Film { mp4, thumbnail, plan, encoder: request.encoder.name() })
}

#[cfg(feature = "h264")]
fn compress(
    plan: &Plan,
    reader: &kept::Reader,
    progress: &mut Progress,
    sink: &mut dyn Sink,
) -> Result<Vec<u8>, Error> {
    use crate::h264::{Compressor, Reel};
    progress.at(0, sink);
    let mut compressor = Compressor::new(plan.fps)?;
    let mut reel = Reel::new(plan.output, plan.fps)?;
    // A picture needs its predecessor, so this thread compresses; the others unpack ahead of it.
    let work = |index: usize, _: &Halt| Ok(reader.frame(index as u32)?);
    pool::ordered(plan.threads, plan.frames as usize, work, |step| {
        if let Step::Done(index, frame) = step {
            reel.push(&compressor.push(&frame)?)?;
            progress.at(index as u32 + 1, sink);
        }
        stop_if_cancelled(sink)
    })?;
    progress.say("Generating metadata", sink);
    reel.finish()
}

#[cfg(not(feature = "h264"))]
fn compress(_: &Plan, _: &kept::Reader, _: &mut Progress, _: &mut dyn Sink) -> Result<Vec<u8>, Error> {
    Err(Error::NoEncoder)
}

fn hand_over(
    mut process: ffmpeg::Process,
    plan: &Plan,
    reader: &kept::Reader,
    progress: &mut Progress,
    sink: &mut dyn Sink,
) -> Result<Vec<u8>, Error> {
    progress.at(0, sink);
    let work = |index: usize, _: &Halt| Ok(reader.frame(index as u32)?);
    pool::ordered(plan.threads, plan.frames as usize, work, |step| {
        if let Step::Done(index, frame) = step {
            process.push(&frame, sink)?;
            progress.at(index as u32 + 1, sink);
        }
        stop_if_cancelled(sink)
    })?;
    progress.say("Generating metadata", sink);
    process.finish(sink)
}

fn open(request: &Request, plan: &Plan, path: &Path, size: crate::Size, count: u32) -> Result<kept::Reader, Error> {
    let reader = kept::Reader::open(path)?;
    reader.expect(identity(request, plan), size, count)?;
    Ok(reader)
}

/// Identifies the film that kept pictures belong to: everything that decides how they look.
fn identity(request: &Request, plan: &Plan) -> u64 {
    let words = format!(
        "{}\n{}\n{} {} {} {} {}",
        request.prompt, request.seed, plan.draw, plan.output, plan.fps, plan.factor, plan.frames
    );
    crate::prompt::hash(&words)
}

fn stop_if_cancelled(sink: &dyn Sink) -> Result<(), Error> {
    if sink.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Counts pictures of a stage towards its fraction.
struct Progress {
    stage: Stage,
    message: String,
    total: u32,
    /// How much of the stage these pictures are; the rest comes after them.
    share: f64,
}

impl Progress {
    fn new(stage: Stage, message: &str, total: u32) -> Self {
        Self { stage, message: message.to_owned(), total, share: 1.0 }
    }

    fn at(&mut self, current: u32, sink: &mut dyn Sink) {
        let detail = Detail { current_frame: current, total_frames: self.total };
        sink.progress(self.stage, self.share * f64::from(current) / f64::from(self.total), &self.message, detail);
    }
    /// All pictures are done; `message` is what comes after them.
    fn say(&self, message: &str, sink: &mut dyn Sink) {
        let detail = Detail { current_frame: self.total, total_frames: self.total };
        sink.progress(self.stage, self.share, message, detail);
    }
}
