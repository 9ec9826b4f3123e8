//! `rushes render`: the reference renderer alone, without a server.

use std::path::{Path, PathBuf};

use clap::Args;
use render::{Detail, Error, Film, Folder, Preview, PreviewDemand, Request, Scene, Sink, Size, Stage};
use tokio_util::sync::CancellationToken;

use super::wide_runtime;
use crate::{
    fault::{Fault, Kind},
    screen::Screen,
    signals::Signals,
    text,
};

/// A procedural renderer that knows some words and understands no prompt.
#[derive(Debug, Args)]
pub(crate) struct Render {
    /// What to show
    prompt: String,
    /// Where the film goes
    #[arg(short, long, value_name = "FILE", default_value = "film.mp4")]
    output: PathBuf,
    /// Length of the film
    #[arg(long, value_name = "NUMBER", default_value_t = 3.0)]
    seconds: f64,
    /// Width of the film in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = Size::P480.width)]
    width: u32,
    /// Height of the film in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = Size::P480.height)]
    height: u32,
    /// Pictures a second
    #[arg(long, value_name = "NUMBER", default_value_t = 24)]
    fps: u32,
    /// Chooses what the prompt leaves open
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Save the thumbnail here too
    #[arg(long, value_name = "FILE")]
    thumbnail: Option<PathBuf>,
}

impl Render {
    fn request(&self) -> Request {
        let request = Request { fps: self.fps, seconds: self.seconds, seed: self.seed, ..Request::new(&self.prompt) };
        request.sized(Size::new(self.width, self.height))
    }

    pub(crate) fn run(self) -> Result<(), Fault> {
        let request = self.request();
        request.check().map_err(|error| Fault::usage(error.to_string()))?;
        super::watch::check_output(Some(&self.output))?;
        let film = wide_runtime()?.block_on(async {
            let signals = Signals::listen()?;
            let watcher = Watcher { screen: Screen::open(), stop: signals.stop().clone(), shown: None };
            let drawing = tokio::task::spawn_blocking(move || draw(&request, watcher));
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

fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    std::fs::write(path, bytes).map_err(|error| Fault::failed(format!("cannot write {}: {error}", path.display())))
}

fn draw(request: &Request, mut watcher: Watcher) -> Result<Film, Fault> {
    let path = std::env::temp_dir().join(format!("rushes-render-{}", std::process::id()));
    std::fs::create_dir_all(&path)
        .map_err(|error| Fault::failed(format!("cannot make the work folder {}: {error}", path.display())))?;
    let film = render::film(request, &Folder::new(&path), &mut watcher);
    watcher.screen.close();
    let removed = std::fs::remove_dir_all(&path);
    let film = film.map_err(|error| match error {
        Error::Cancelled => Fault::new(Kind::Interrupted, "stopped; no film was written"),
        other => Fault::caused(Kind::Failed, &other),
    })?;
    if let Err(error) = removed {
        eprintln!("warning: {} was not removed: {error}", path.display());
    }
    Ok(film)
}

/// Shows progress as a server's default pipeline would weigh it.
struct Watcher {
    screen: Screen,
    stop: CancellationToken,
    shown: Option<(Stage, u32)>,
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
        let percent = begin + weight * fraction;
        // A line for each per cent is enough for a pipe.
        if self.shown != Some((stage, percent as u32)) {
            self.shown = Some((stage, percent as u32));
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
