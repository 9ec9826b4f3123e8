//! `rushes render`: the reference renderer alone, without a server.

use std::path::{Path, PathBuf};

use clap::Args;
use render::{Detail, Encoder, Error, Film, Folder, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage, kept};
use tokio_util::sync::CancellationToken;

use super::wide_runtime;
use crate::{
    fault::{Fault, Kind},
    screen::Screen,
    signals::Signals,
    text,
};

/// Quality 95: no difference to see, at a tenth of a lossless file.
const FRAME_QUALITY: f32 = 95.0;

/// A procedural renderer that knows some words and understands no prompt.
#[derive(Debug, Args)]
pub(crate) struct Render {
    /// What to show
    prompt: String,
    /// Where the film goes
    #[arg(short, long, value_name = "FILE", default_value = "film.mp4")]
    output: PathBuf,
    /// Length of the film
    #[arg(long, value_name = "NUMBER", default_value_t = 3.0, value_parser = seconds, allow_negative_numbers = true)]
    seconds: f64,
    /// Size of the film: WIDTHxHEIGHT, or 480p, 720p, 1080p, 4k
    #[arg(long, value_name = "SIZE", default_value = "854x480", value_parser = size, allow_hyphen_values = true)]
    size: Size,
    /// Pictures a second
    #[arg(long, value_name = "NUMBER", default_value_t = 24, value_parser = fps, allow_negative_numbers = true)]
    fps: u32,
    /// Chooses what the prompt leaves open
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// Save each picture of the film in this folder too, as frame-0001.webp and so on
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// What makes the file; x264 and svt-av1 need an installed ffmpeg
    #[arg(long, value_name = "NAME", default_value = "openh264", value_parser = encoder)]
    encoder: Encoder,
    /// Save the thumbnail here too
    #[arg(long, value_name = "FILE")]
    thumbnail: Option<PathBuf>,
}

impl Render {
    fn request(&self) -> Request {
        let request = Request::new(&self.prompt).sized(self.size);
        Request { fps: self.fps, seconds: self.seconds, seed: self.seed, encoder: self.encoder, ..request }
    }

    pub(crate) fn run(self) -> Result<(), Fault> {
        let request = self.request();
        request.check().map_err(|error| Fault::usage(error.to_string()))?;
        render::check_encoder(request.encoder).map_err(fault)?;
        // Before minutes of drawing.
        super::watch::check_output(Some(&self.output))?;
        super::watch::check_output(self.thumbnail.as_deref())?;
        if let Some(frames) = &self.frames {
            std::fs::create_dir_all(frames)
                .map_err(|error| Fault::usage(format!("cannot make the folder {}: {error}", frames.display())))?;
        }
        let film = wide_runtime()?.block_on(async {
            let signals = Signals::listen()?;
            let watcher = Watcher { screen: Screen::open(), stop: signals.stop().clone(), shown: None };
            let frames = self.frames.clone();
            let drawing = tokio::task::spawn_blocking(move || draw(&request, watcher, frames.as_deref()));
            drawing.await.map_err(|error| Fault::failed(error.to_string()))?
        })?;
        write(&self.output, &film.mp4)?;
        match (&self.thumbnail, &film.thumbnail) {
            (Some(path), Some(picture)) => write(path, picture)?,
            (Some(_), None) => eprintln!("warning: no thumbnail could be made"),
            (None, _) => {}
        }
        eprintln!("{} ({}, {} pictures)", self.output.display(), text::size(film.mp4.len() as u64), film.plan.frames);
        Ok(())
    }
}

/// Writes a whole file or, when the disk is full, none.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    std::fs::write(path, bytes).map_err(|error| {
        if path.is_file() {
            // Half a film would be taken for a film; that it cannot be removed either changes nothing about the error.
            let _ = std::fs::remove_file(path);
        }
        Fault::failed(format!("cannot write {}: {error}", path.display()))
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "use a number of seconds, as in 2.5".to_owned())
}

fn fps(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "use a whole number from 1 to 60".to_owned())
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("use a whole number from 0 to {}", u64::MAX))
}

/// `854x480`, or what people call it.
fn size(text: &str) -> Result<Size, String> {
    let known = [("480p", Size::P480), ("720p", Size::new(1_280, 720)), ("1080p", Size::new(1_920, 1_080))];
    if let Some((_, size)) = known.into_iter().chain([("4k", Size::new(3_840, 2_160))]).find(|known| known.0 == text) {
        return Ok(size);
    }
    let sides = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let size = sides.map(|(width, height)| Size::new(width, height));
    size.ok_or_else(|| "use WIDTHxHEIGHT, as in 1920x1080, or 480p, 720p, 1080p, 4k".to_owned())
}

fn encoder(name: &str) -> Result<Encoder, String> {
    Encoder::named(name).ok_or_else(|| format!("use one of {}", Encoder::ALL.map(Encoder::name).join(", ")))
}

/// A folder of our own, gone with its holder.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} was not removed: {error}", self.0.display());
        }
    }
}

fn draw(request: &Request, mut watcher: Watcher, frames: Option<&Path>) -> Result<Film, Fault> {
    let path = std::env::temp_dir().join(format!("rushes-render-{}", std::process::id()));
    std::fs::create_dir_all(&path)
        .map_err(|error| Fault::failed(format!("cannot make the work folder {}: {error}", path.display())))?;
    let scratch = Scratch(path);
    let film = stages(request, &Folder::new(&scratch.0), &mut watcher, frames);
    watcher.screen.close();
    film
}

/// As [`render::film`], with a look at the finished pictures between scaling and encoding.
fn stages(request: &Request, folder: &Folder, watcher: &mut Watcher, frames: Option<&Path>) -> Result<Film, Fault> {
    let scene = render::analyse(request, watcher).map_err(fault)?;
    render::generate(request, &scene, folder, watcher).map_err(fault)?;
    render::interpolate(request, folder, watcher).map_err(fault)?;
    render::upscale(request, folder, watcher).map_err(fault)?;
    if let Some(frames) = frames {
        save(folder, frames, watcher)?;
    }
    render::encode(request, folder, watcher).map_err(fault)
}

fn fault(error: Error) -> Fault {
    match error {
        Error::Cancelled => Fault::new(Kind::Interrupted, "stopped; no film was written"),
        other => Fault::caused(Kind::Failed, &other),
    }
}

/// Writes each picture as a file that any viewer opens.
fn save(folder: &Folder, frames: &Path, watcher: &Watcher) -> Result<(), Fault> {
    let reader = kept::Reader::open(&folder.large()).map_err(|error| fault(Error::Kept(error)))?;
    for index in 0..reader.count() {
        if watcher.cancelled() {
            return Err(fault(Error::Cancelled));
        }
        let message = format!("Saving pictures ({}/{})", index + 1, reader.count());
        watcher.screen.local(Stage::Upscaling.name(), begins(Stage::Encoding).0, &message);
        let frame = reader.frame(index).map_err(|error| fault(Error::Kept(error)))?;
        let picture = frame.to_webp(FRAME_QUALITY).map_err(fault)?;
        write(&frames.join(format!("frame-{:04}.webp", index + 1)), &picture)?;
    }
    Ok(())
}

/// Shows progress as a server's default pipeline would weigh it.
struct Watcher {
    screen: Screen,
    stop: CancellationToken,
    shown: Option<(Stage, u32, String)>,
}

/// Where each stage begins, per cent of the whole: the default pipeline's weights.
const fn begins(stage: Stage) -> (f64, f64) {
    match stage {
        Stage::PromptAnalysis => (0.0, 5.0),
        Stage::GeneratingFrames => (5.0, 55.0),
        Stage::Interpolating => (60.0, 15.0),
        Stage::Upscaling => (75.0, 15.0),
        Stage::Encoding => (90.0, 10.0),
    }
}

impl Sink for Watcher {
    fn scene(&mut self, scene: &Scene) {
        let words: Vec<_> = scene.pairs().into_iter().map(|(key, value)| format!("{key} {value}")).collect();
        self.screen.note(&format!("scene: {}", words.join(", ")));
    }

    fn progress(&mut self, stage: Stage, fraction: f64, message: &str, _: Detail) {
        let (begin, weight) = begins(stage);
        // Rounded down: nothing is whole before it is.
        let percent = (begin + weight * fraction).floor();
        // A line for each per cent and each step is enough for a pipe; counting pictures is no step.
        let step = message.replace(|letter: char| letter.is_ascii_digit(), "");
        let shown = Some((stage, percent as u32, step));
        if self.shown != shown {
            self.shown = shown;
            self.screen.local(stage.name(), percent, message);
        }
    }

    fn wanted(&mut self) -> Option<PreviewDemand> {
        None
    }

    fn preview(&mut self, _: Preview) {}

    fn cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }
}
