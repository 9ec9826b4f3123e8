//! What happens while a film is made, told to whoever asked for it. Owns the names of stages and the shape of previews;
//! leaves headers, events and transport to the caller.

use crate::scene::Scene;

/// The stages of the default `video` pipeline, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Words become a scene.
    PromptAnalysis,
    /// The scene becomes pictures.
    GeneratingFrames,
    /// Pictures between the pictures.
    Interpolating,
    /// The film's own size.
    Upscaling,
    /// One file that plays.
    Encoding,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 5] =
        [Self::PromptAnalysis, Self::GeneratingFrames, Self::Interpolating, Self::Upscaling, Self::Encoding];

    /// The pipeline's own name of this stage.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PromptAnalysis => "prompt_analysis",
            Self::GeneratingFrames => "generating_frames",
            Self::Interpolating => "interpolating",
            Self::Upscaling => "upscaling",
            Self::Encoding => "encoding",
        }
    }
}

/// How far a stage is, in pictures. `Detail::default()` where a stage does not count pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail {
    /// Pictures finished.
    pub current_frame: u32,
    /// Pictures in all.
    pub total_frames: u32,
}

/// Who looks, and how closely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreviewDemand {
    /// Pictures a second that are of use, in wall-clock time. The last picture of each pass is given regardless.
    pub max_fps: f32,
    /// Widest picture of use, in pixels; previews are never larger than 480p.
    pub max_width: u32,
    /// Give every picture of every revision: `max_fps` is not applied.
    pub every: bool,
}

/// One preview picture. `index` and `revision` are two axes: a picture comes coarse first and sharper later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Which drawn picture, from 0.
    pub index: u32,
    /// Drawn pictures in all.
    pub total: u32,
    /// How often this picture was refined: 0 is the coarsest, [`crate::REVISION_LAST`] the finished one.
    pub revision: u32,
    /// The last picture of this pass. Pictures come in chunks, and each chunk takes one pass per revision.
    pub last_of_revision: bool,
    /// The last preview of the film.
    pub last: bool,
    /// When the picture is shown in the film.
    pub pts_micros: u64,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
    /// A lossy WebP file.
    pub webp: Vec<u8>,
}

/// Receives what happens. Every call comes from the thread that called the stage, in order.
pub trait Sink {
    /// What was understood of the prompt.
    fn scene(&mut self, scene: &Scene);

    /// `fraction` of `stage` is done, from 0 to 1 and never falling within a stage.
    fn progress(&mut self, stage: Stage, fraction: f64, message: &str, detail: Detail);

    /// Which previews are of use. `None`: nobody looks, and no preview is drawn or encoded.
    fn wanted(&mut self) -> Option<PreviewDemand>;

    /// A preview that was wanted.
    fn preview(&mut self, preview: Preview);

    /// Whether to stop. Asked at least every 50 ms in every stage, while encoding after each picture (30 ms at 1080p,
    /// 120 ms at 4K); must answer at once.
    fn cancelled(&self) -> bool;
}
