//! What a caller may ask for, and the exact numbers that follow from it. Owns every bound on sizes and lengths;
//! knows nothing of prompts' meaning (`prompt`) or of drawing.

use std::fmt;

/// 4,000 characters: the protocol's own bound on a prompt.
pub const PROMPT_CHARS_MAX: usize = 4_000;
/// 64 pixels: below this neither the block matcher nor a person has anything to look at.
pub const SIDE_MIN: u32 = 64;
/// 3,840 pixels: 4K. openh264 stops at level 5.2, which is 4096 wide.
pub const SIDE_MAX: u32 = 3_840;
/// 1080p: pictures are drawn at most this large and upscaled beyond it, because drawing costs far more than scaling.
pub const DRAW_PIXELS_MAX: u64 = 1_920 * 1_088;
/// Four to one, lying or standing.
pub const SHAPE_MAX: f64 = 4.0;
/// A tenth of a second: two or three pictures.
pub const SECONDS_MIN: f64 = 0.1;
/// One minute: what the MP4 in memory and the work files on disk are bounded for.
pub const SECONDS_MAX: f64 = 60.0;
/// 60 a second: the fastest common display.
pub const FPS_MAX: u32 = 60;
/// A minute of 1080p at 30: about 3 GB of work files and 100 MB of film in memory at the worst.
pub const FILM_PIXELS_MAX: u64 = 1_920 * 1_088 * 30 * 60;
/// 64 threads: each holds two pictures under way, so this bounds memory.
pub const THREADS_MAX: usize = 64;
/// Below 12 pictures a second motion becomes too large to match between two of them.
const DRAWN_FPS_MIN: u32 = 12;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// 854x480, what pictures are drawn at unless asked otherwise.
    pub const P480: Self = Self { width: 854, height: 480 };

    /// A size of `width` by `height` pixels.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// This size with odd sides raised by one: 4:2:0 pictures share one colour sample between two pixels.
    #[must_use]
    pub const fn even(self) -> Self {
        Self { width: self.width.saturating_add(self.width & 1), height: self.height.saturating_add(self.height & 1) }
    }

    /// Pixels in all.
    #[must_use]
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The largest size of the same shape, no larger than this one, with at most `pixels` pixels, even.
    #[must_use]
    pub fn within(self, pixels: u64) -> Self {
        if self.pixels() <= pixels {
            return self.even();
        }
        let scale = (pixels as f64 / self.pixels() as f64).sqrt();
        let side = |length: u32| (((f64::from(length) * scale / 2.0).round() as u32) * 2).max(2);
        Self { width: side(self.width), height: side(self.height) }
    }

    fn shape(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What makes one file of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoder {
    /// H.264 inside this program.
    #[default]
    OpenH264,
    /// H.264 by an installed `ffmpeg`: fewer bytes.
    X264,
    /// AV1 by an installed `ffmpeg`: the fewest bytes, and no patent pool.
    SvtAv1,
}

impl Encoder {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::OpenH264, Self::X264, Self::SvtAv1];

    /// The choice with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoder| encoder.name() == name)
    }

    /// The word for this choice.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenH264 => "openh264",
            Self::X264 => "x264",
            Self::SvtAv1 => "svt-av1",
        }
    }
}

/// One film to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to show, in words.
    pub prompt: String,
    /// The size pictures are drawn at; odd sides are raised by one.
    pub draw: Size,
    /// The size of the film; odd sides are raised by one. Its shape must be that of `draw`.
    pub output: Size,
    /// Pictures a second in the film.
    pub fps: u32,
    /// Length of the film.
    pub seconds: f64,
    /// Chooses among everything the prompt leaves open. Same prompt and seed, same film.
    pub seed: u64,
    /// Drawing threads; 0 takes what the machine offers.
    pub threads: usize,
    /// What makes the file.
    pub encoder: Encoder,
}

impl Request {
    /// Three seconds at 480p and 24 pictures a second.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            draw: Size::P480,
            output: Size::P480,
            fps: 24,
            seconds: 3.0,
            seed: 0,
            threads: 0,
            encoder: Encoder::default(),
        }
    }

    /// The same request for a film of this size, drawn at the same shape with at most 480p's number of pixels.
    #[must_use]
    pub fn sized(mut self, output: Size) -> Self {
        self.output = output;
        self.draw = output.within(Size::P480.pixels());
        self
    }

    /// Says whether the film can be made.
    ///
    /// # Errors
    /// Names the first thing to change.
    pub fn check(&self) -> Result<(), BadRequest> {
        let chars = self.prompt.chars().count();
        if self.prompt.trim().is_empty() {
            return Err(BadRequest::PromptEmpty);
        }
        if chars > PROMPT_CHARS_MAX {
            return Err(BadRequest::PromptLong { chars });
        }
        check_size("film", self.output)?;
        check_size("drawing", self.draw)?;
        if self.draw.even().pixels() > DRAW_PIXELS_MAX {
            return Err(BadRequest::DrawLarge { draw: self.draw });
        }
        if (self.draw.even().shape() / self.output.even().shape()).ln().abs() > 0.05 {
            return Err(BadRequest::ShapesDiffer { draw: self.draw, output: self.output });
        }
        if self.fps == 0 || self.fps > FPS_MAX {
            return Err(BadRequest::Fps { fps: self.fps });
        }
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&self.seconds) {
            return Err(BadRequest::Seconds { seconds: self.seconds });
        }
        if self.threads > THREADS_MAX {
            return Err(BadRequest::Threads { threads: self.threads });
        }
        let pixels = self.output.even().pixels();
        if pixels * u64::from(self.frames()) > FILM_PIXELS_MAX {
            let seconds = FILM_PIXELS_MAX as f64 / (pixels * u64::from(self.fps)) as f64;
            return Err(BadRequest::Work { output: self.output, fps: self.fps, seconds_max: seconds.floor() });
        }
        Ok(())
    }

    /// The exact numbers of this film.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn plan(&self) -> Result<Plan, BadRequest> {
        self.check()?;
        let mut factor = 1;
        while self.fps / (factor * 2) >= DRAWN_FPS_MIN {
            factor *= 2;
        }
        let frames = self.frames();
        let threads = match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX)),
            n => n,
        };
        Ok(Plan {
            draw: self.draw.even(),
            output: self.output.even(),
            fps: self.fps,
            factor,
            drawn: (frames - 1).div_ceil(factor) + 1,
            frames,
            threads,
        })
    }

    fn frames(&self) -> u32 {
        ((self.seconds * f64::from(self.fps)).round() as u32).max(1)
    }
}

fn check_size(what: &'static str, size: Size) -> Result<(), BadRequest> {
    let even = size.even();
    if even.width.min(even.height) < SIDE_MIN || even.width.max(even.height) > SIDE_MAX {
        return Err(BadRequest::Size { what, size });
    }
    if even.shape() > SHAPE_MAX || even.shape() < 1.0 / SHAPE_MAX {
        return Err(BadRequest::Shape { what, size });
    }
    Ok(())
}

/// The numbers of a film that a checked request stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Size pictures are drawn at, even.
    pub draw: Size,
    /// Size of the film, even.
    pub output: Size,
    /// Pictures a second in the film.
    pub fps: u32,
    /// Film pictures for each drawn one: a power of two, 1 where nothing is interpolated.
    pub factor: u32,
    /// Pictures drawn.
    pub drawn: u32,
    /// Pictures in the film.
    pub frames: u32,
    /// Threads to use.
    pub threads: usize,
}

impl Plan {
    /// When drawn picture `index` is shown, in microseconds from the film's start.
    #[must_use]
    pub fn drawn_at_micros(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.factor) * 1_000_000 / u64::from(self.fps)
    }

    /// When drawn picture `index` is shown, in seconds.
    pub(crate) fn drawn_at(&self, index: u32) -> f32 {
        (f64::from(index) * f64::from(self.factor) / f64::from(self.fps)) as f32
    }
}

/// Why a request cannot become a film. Every text names what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadRequest {
    /// Nothing to draw.
    #[error("prompt is empty: say what to show")]
    PromptEmpty,
    /// Over the protocol's bound.
    #[error("prompt has {chars} characters: shorten it to at most {PROMPT_CHARS_MAX}")]
    PromptLong {
        /// Characters given.
        chars: usize,
    },
    /// A side out of bounds.
    #[error("{what} size {size} is out of range: use sides from {SIDE_MIN} to {SIDE_MAX} pixels")]
    Size {
        /// `film` or `drawing`.
        what: &'static str,
        /// Size given.
        size: Size,
    },
    /// Too long or too tall a strip.
    #[error("{what} size {size} is too narrow: keep the longer side within {SHAPE_MAX} times the shorter")]
    Shape {
        /// `film` or `drawing`.
        what: &'static str,
        /// Size given.
        size: Size,
    },
    /// Larger than pictures are drawn.
    #[error("drawing size {draw} is too large: draw at 1920x1080 or less and ask for a larger film size instead")]
    DrawLarge {
        /// Size given.
        draw: Size,
    },
    /// Upscaling would stretch.
    #[error("drawing size {draw} and film size {output} differ in shape: give both the same width to height ratio")]
    ShapesDiffer {
        /// Drawing size given.
        draw: Size,
        /// Film size given.
        output: Size,
    },
    /// Out of bounds.
    #[error("fps {fps} is out of range: use 1 to {FPS_MAX}")]
    Fps {
        /// Rate given.
        fps: u32,
    },
    /// Out of bounds, or not a number.
    #[error("length {seconds} s is out of range: use {SECONDS_MIN} to {SECONDS_MAX} seconds")]
    Seconds {
        /// Length given.
        seconds: f64,
    },
    /// More than can be used.
    #[error("{threads} threads are too many: use at most {THREADS_MAX}, or 0 for the machine's own number")]
    Threads {
        /// Threads given.
        threads: usize,
    },
    /// Sizes and length that are each fine and together too much.
    #[error("{output} at {fps} fps is too much work for this length: use at most {seconds_max} s, or a smaller size")]
    Work {
        /// Film size given.
        output: Size,
        /// Rate given.
        fps: u32,
        /// The length that would pass.
        seconds_max: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new("a lake")
    }

    #[test]
    fn odd_sides_are_raised_by_one() {
        let plan = request().sized(Size::new(321, 181)).plan().unwrap();
        assert_eq!(plan.output, Size::new(322, 182));
        assert_eq!(plan.draw, Size::new(322, 182));
    }

    #[test]
    fn portrait_and_4k_are_drawn_small_in_their_own_shape() {
        let portrait = request().sized(Size::new(1080, 1920)).plan().unwrap();
        assert!(portrait.draw.pixels() <= Size::P480.pixels() + 2_000, "{}", portrait.draw);
        assert!(portrait.draw.height > portrait.draw.width);
        let large = request().sized(Size::new(3840, 2160)).plan().unwrap();
        assert_eq!(large.output, Size::new(3840, 2160));
    }

    #[test]
    fn absurd_requests_are_refused_by_name() {
        let refused = |change: fn(&mut Request)| {
            let mut request = request();
            change(&mut request);
            request.check().unwrap_err()
        };
        assert!(matches!(refused(|r| r.output = Size::new(1, 1)), BadRequest::Size { what: "film", .. }));
        assert!(matches!(refused(|r| r.output = Size::new(0, 480)), BadRequest::Size { .. }));
        assert!(matches!(refused(|r| r.output = Size::new(u32::MAX, u32::MAX)), BadRequest::Size { .. }));
        assert!(matches!(refused(|r| r.output = Size::new(3000, 100)), BadRequest::Shape { .. }));
        assert!(matches!(refused(|r| r.output = Size::new(480, 854)), BadRequest::ShapesDiffer { .. }));
        assert!(matches!(
            refused(|r| (r.draw, r.output) = (Size::new(3840, 2160), Size::new(3840, 2160))),
            BadRequest::DrawLarge { .. }
        ));
        assert!(matches!(refused(|r| r.fps = 0), BadRequest::Fps { .. }));
        assert!(matches!(refused(|r| r.fps = 61), BadRequest::Fps { .. }));
        assert!(matches!(refused(|r| r.seconds = 600.0), BadRequest::Seconds { .. }));
        assert!(matches!(refused(|r| r.seconds = f64::NAN), BadRequest::Seconds { .. }));
        assert!(matches!(refused(|r| r.prompt = "  ".into()), BadRequest::PromptEmpty));
        assert!(matches!(refused(|r| r.prompt = "x".repeat(4001)), BadRequest::PromptLong { chars: 4001 }));
        let long = Request { seconds: 60.0, ..request().sized(Size::new(3840, 2160)) };
        assert!(long.check().unwrap_err().to_string().contains("use at most 18 s"), "{}", long.check().unwrap_err());
    }

    #[test]
    fn every_film_picture_lies_between_two_drawn_ones() {
        for (fps, factor) in [(1, 1), (12, 1), (23, 1), (24, 2), (25, 2), (30, 2), (48, 4), (60, 4)] {
            let plan = Request { fps, seconds: 2.0, ..request() }.plan().unwrap();
            assert_eq!(plan.factor, factor);
            assert_eq!(plan.frames, fps * 2);
            assert!((plan.drawn - 1) * factor + 1 >= plan.frames);
            assert!((plan.drawn - 1) * factor < plan.frames + factor);
        }
        assert_eq!(Request { seconds: 0.1, ..request() }.plan().unwrap().frames, 2);
    }
}
