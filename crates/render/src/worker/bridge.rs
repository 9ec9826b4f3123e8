//! What a stage tells its sink, as what a run says. Progress and previews go straight to the run, which never blocks
//! (but for a requester that plays every picture, whose pace is the film's); edges go to the task beside the film's thread.

use std::time::{Duration, Instant};

use sdk::{
    Picture, Run,
    protocol::{Metadata, StageName, frame},
};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use crate::{Detail, Error, Film, Preview, PreviewDemand, Scene, Sink, Stage};

/// 854 pixels: previews for a player are 480p.
const FULL_WIDTH_MAX: u32 = 854;
/// 192 pixels: the widest small tile.
const TILE_WIDTH_MAX: u32 = 192;

/// 1 s: the longest pause for a requester that cannot follow; longer ones would look like a stall.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Something the film's thread tells its task.
pub(super) enum Said {
    /// What was understood of the prompt.
    Scene(Metadata),
    /// A stage is over; its files are in the folder.
    StageDone(Stage),
    /// The film, before its stage is over.
    Film(Box<Film>),
}

/// See the module.
pub(super) struct Bridge {
    run: Run,
    said: mpsc::Sender<Said>,
    runtime: Handle,
    /// Somebody plays every picture: none is dropped.
    every: bool,
    shown_at: Instant,
}

impl Bridge {
    /// To be made on the runtime, and used on a thread outside it.
    pub(super) fn new(run: Run, said: mpsc::Sender<Said>) -> Self {
        Self { run, said, runtime: Handle::current(), every: false, shown_at: Instant::now() }
    }

    /// Shows a picture that must not be dropped, and stretches the time since the last one as asked.
    fn show_each(&mut self, picture: Picture, webp: &[u8]) {
        let pause = pause(self.shown_at.elapsed(), self.run.slow());
        let run = &self.run;
        self.runtime.block_on(async {
            run.frame_when_ready(picture, webp).await;
            // A pause that a cancellation cuts short.
            let _ = timeout(pause, run.cancelled().cancelled()).await;
        });
        self.shown_at = Instant::now();
    }

    /// Tells the task; waits while too much is told. Nobody listens once the run is over.
    pub(super) fn tell(&self, said: Said) -> Result<(), Error> {
        self.said.blocking_send(said).map_err(|_| Error::Cancelled)
    }
}

impl Sink for Bridge {
    fn scene(&mut self, scene: &Scene) {
        let pairs = scene.pairs().into_iter().map(|(key, value)| (key.to_owned(), value.into()));
        // Nobody listens once the run is over, which the stage hears from `cancelled`.
        let _ = self.tell(Said::Scene(pairs.collect()));
    }

    fn progress(&mut self, stage: Stage, fraction: f64, message: &str, detail: Detail) {
        let name = StageName::new(stage.name()).expect("a literal stage name is valid");
        let mut metadata = Metadata::new();
        if detail.total_frames > 0 {
            metadata.insert("currentFrame".to_owned(), detail.current_frame.into());
            metadata.insert("totalFrames".to_owned(), detail.total_frames.into());
        }
        let metadata = (!metadata.is_empty()).then_some(metadata);
        self.run.progress(&name, fraction * 100.0, Some(message.to_owned()), metadata);
    }

    fn wanted(&mut self) -> Option<PreviewDemand> {
        let demand = demand(self.run.wanted(), self.run.slow());
        self.every = demand.is_some_and(|demand| demand.every);
        demand
    }

    fn preview(&mut self, preview: Preview) {
        let mut flags = frame::FLAG_KEY;
        flags |= if preview.last_of_revision { frame::FLAG_LAST_OF_REVISION } else { 0 };
        flags |= if preview.last { frame::FLAG_LAST } else { 0 };
        let picture = Picture {
            format: frame::Format::Webp,
            flags,
            index: preview.index,
            total: preview.total,
            revision: preview.revision,
            pts_micros: preview.pts_micros,
            width: preview.width,
            height: preview.height,
        };
        if self.every {
            self.show_each(picture, &preview.webp);
        } else {
            self.run.frame(picture, &preview.webp);
        }
    }

    fn cancelled(&self) -> bool {
        self.run.cancelled().is_cancelled() || self.said.is_closed()
    }
}

/// How much longer than `taken` a picture waits for a requester that plays each one and is `slow` times too slow for that.
pub(super) fn pause(taken: Duration, slow: f64) -> Duration {
    taken.mul_f64((slow - 1.0).clamp(0.0, 16.0)).min(PAUSE_MAX)
}

/// What is wanted, as the stages understand it. A tail keeps one picture of each index, so one size is made: the player's
/// when there is one, else the tiles'.
pub(super) fn demand(wanted: sdk::Wanted, slow: f64) -> Option<PreviewDemand> {
    let (demand, width_max) = match (wanted.full, wanted.tile) {
        (Some(full), _) => (full, FULL_WIDTH_MAX),
        (None, Some(tile)) => (tile, TILE_WIDTH_MAX),
        (None, None) => return None,
    };
    Some(PreviewDemand {
        max_fps: (f64::from(demand.max_fps) / slow.max(1.0)) as f32,
        max_width: demand.max_width.min(width_max),
        every: wanted.every(),
    })
}

/// Makes again what was made before: nobody is told, and nobody looks.
pub(super) struct Quiet<'a>(pub(super) &'a Bridge);

impl Sink for Quiet<'_> {
    fn scene(&mut self, _: &Scene) {}

    fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}

    fn wanted(&mut self) -> Option<PreviewDemand> {
        None
    }

    fn preview(&mut self, _: Preview) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
