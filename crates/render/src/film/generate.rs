//! Stage `generating_frames`. Owns chunks, passes and previews; leaves drawing to `paint`.
//!
//! As a diffusion model refines, each chunk of pictures is drawn coarse first and sharper later: an eighth of the size
//! under strong noise, a quarter under weak noise, then in full. Coarse passes are really drawn, and only while somebody
//! looks: the kept pictures do not depend on them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Folder, identity, stop_if_cancelled};
use crate::error::Error;
use crate::frame::Frame;
use crate::kept;
use crate::paint::{self, Painter};
use crate::pool::{self, Halt, Step};
use crate::prompt::Chance;
use crate::request::{Plan, Request, Size};
use crate::resize::Resizer;
use crate::scene::Scene;
use crate::sink::{Detail, Preview, PreviewDemand, Sink, Stage};

/// The revision of a finished picture; earlier ones count up from 0.
pub const REVISION_LAST: u32 = 2;
/// Eight pictures are coarse on a screen within a tenth of a second and sharp within half a one.
const CHUNK: u32 = 8;
/// For each coarse revision: how many times smaller it is drawn, and how strong its noise is in luma levels.
const COARSE: [(u32, f32); REVISION_LAST as usize] = [(8, 15.0), (4, 5.5)];
/// 64 pixels: smaller shows nothing; screens ask for tiles of 192.
const PREVIEW_WIDTH_MIN: u32 = 64;

/// Stage `generating_frames`: draws the film's key pictures into [`Folder::frames`].
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Disk`], [`Error::Refused`], or [`Error::Encoder`] from a preview.
pub fn generate(request: &Request, scene: &Scene, folder: &Folder, sink: &mut dyn Sink) -> Result<(), Error> {
    let plan = request.plan()?;
    report(&plan, 0, sink);
    let painter = prepare(scene, &plan, sink)?;
    let mut writer = kept::Writer::create(&folder.frames(), plan.draw, plan.drawn, identity(request, &plan))?;
    let eyes = Eyes { demand: Mutex::new(None), rate: Mutex::new(None) };
    let mut start = 0;
    while start < plan.drawn {
        let end = (start + CHUNK).min(plan.drawn);
        for revision in 0..=REVISION_LAST {
            eyes.look(sink.wanted());
            if revision == REVISION_LAST || eyes.demand().is_some() {
                let pass = Pass {
                    plan: &plan,
                    painter: painter.as_ref(),
                    eyes: &eyes,
                    seed: request.seed,
                    start,
                    end,
                    revision,
                };
                pass.run(&mut writer, sink)?;
            }
        }
        start = end;
    }
    Ok(writer.finish()?)
}

/// Builds the world on a thread of its own, so that this one can see a cancellation.
fn prepare(scene: &Scene, plan: &Plan, sink: &mut dyn Sink) -> Result<Box<dyn Painter>, Error> {
    let mut painter = None;
    let work = |_: usize, halt: &Halt| paint::painter(scene, plan.draw, plan.threads, halt);
    pool::ordered(1, 1, work, |step| {
        if let Step::Done(_, made) = step {
            painter = Some(made);
        }
        stop_if_cancelled(sink)
    })?;
    painter.ok_or(Error::Cancelled)
}

fn report(plan: &Plan, current: u32, sink: &mut dyn Sink) {
    let message = format!("Generating frames ({current}/{})", plan.drawn);
    let detail = Detail { current_frame: current, total_frames: plan.drawn };
    sink.progress(Stage::GeneratingFrames, f64::from(current) / f64::from(plan.drawn), &message, detail);
}

/// What is wanted at this moment, for the threads that draw.
struct Eyes {
    demand: Mutex<Option<PreviewDemand>>,
    /// When the last preview was begun.
    rate: Mutex<Option<Instant>>,
}

impl Eyes {
    fn look(&self, demand: Option<PreviewDemand>) {
        *self.demand.lock().unwrap_or_else(PoisonError::into_inner) = demand;
    }

    fn demand(&self) -> Option<PreviewDemand> {
        *self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The width wanted for a preview now, if one is due. `must` passes the rate.
    fn due(&self, must: bool) -> Option<u32> {
        let demand = self.demand()?;
        let now = Instant::now();
        let mut last = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = if demand.max_fps.is_finite() { demand.max_fps.max(0.1) } else { 0.1 };
        let pause = Duration::from_secs_f32(1.0 / rate);
        if must || demand.every || last.is_none_or(|last| now.duration_since(last) >= pause) {
            *last = Some(now);
            return Some(demand.max_width);
        }
        None
    }
}

/// One revision of one chunk.
struct Pass<'a> {
    plan: &'a Plan,
    painter: &'a dyn Painter,
    eyes: &'a Eyes,
    seed: u64,
    start: u32,
    end: u32,
    revision: u32,
}

impl Pass<'_> {
    fn run(&self, writer: &mut kept::Writer, sink: &mut dyn Sink) -> Result<(), Error> {
        let count = (self.end - self.start) as usize;
        let work = |offset: usize, halt: &Halt| self.draw(self.start + offset as u32, halt);
        pool::ordered(self.plan.threads, count, work, |step| {
            if let Step::Done(offset, (packed, preview)) = step {
                if let Some(packed) = packed {
                    writer.append(&packed)?;
                    report(self.plan, self.start + offset as u32 + 1, sink);
                }
                if let Some(preview) = preview {
                    sink.preview(preview);
                }
            }
            self.eyes.look(sink.wanted());
            stop_if_cancelled(sink)
        })
    }

    /// Draws one picture: packed when it is the finished one, and as a preview when one is due.
    fn draw(&self, index: u32, halt: &Halt) -> Result<(Option<kept::Packed>, Option<Preview>), Error> {
        let width = self.eyes.due(index + 1 == self.end);
        let time = self.plan.drawn_at(index);
        if self.revision == REVISION_LAST {
            let frame = self.painter.paint(self.plan.draw, time, halt)?;
            let preview = width.map(|width| self.preview(index, &frame, width, halt)).transpose()?;
            return Ok((Some(kept::pack(&frame)), preview));
        }
        let Some(width) = width else { return Ok((None, None)) };
        let (divisor, noise) = COARSE[self.revision as usize];
        let side = |side: u32| (side / divisor).max(16);
        let size = Size::new(side(self.plan.draw.width), side(self.plan.draw.height)).even();
        let mut frame = self.painter.paint(size, time, halt)?;
        let chance = Chance::new(self.seed ^ u64::from(index) << 8 ^ u64::from(self.revision));
        disturb(&mut frame, noise, chance);
        self.preview(index, &frame, width, halt).map(|preview| (None, Some(preview)))
    }

    fn preview(&self, index: u32, frame: &Frame, width: u32, halt: &Halt) -> Result<Preview, Error> {
        let size = preview_size(self.plan.draw, width);
        let webp = if frame.size == size {
            frame.to_preview()?
        } else {
            Resizer::new(frame.size, size).run(frame, halt)?.to_preview()?
        };
        let last_of_revision = index + 1 == self.end;
        Ok(Preview {
            index,
            total: self.plan.drawn,
            revision: self.revision,
            last_of_revision,
            last: self.revision == REVISION_LAST && index + 1 == self.plan.drawn,
            pts_micros: self.plan.drawn_at_micros(index),
            width: size.width as u16,
            height: size.height as u16,
            webp,
        })
    }
}

/// At most 480p and at most `width` across, in the shape of the drawing.
fn preview_size(draw: Size, width: u32) -> Size {
    let size = draw.within(Size::P480.pixels());
    if size.width <= width {
        return size;
    }
    let width = width.max(PREVIEW_WIDTH_MIN) & !1;
    let height = u64::from(width) * u64::from(size.height) / u64::from(size.width);
    Size::new(width, (height as u32).max(2)).even()
}

/// Adds noise of about `strength` luma levels, a third of it to the colours.
fn disturb(frame: &mut Frame, strength: f32, mut chance: Chance) {
    for (plane, strength) in [(&mut frame.y, strength), (&mut frame.u, strength / 3.0), (&mut frame.v, strength / 3.0)]
    {
        for value in plane.iter_mut() {
            // The sum of three even chances is close enough to a bell.
            let bell = (chance.unit() + chance.unit() + chance.unit() - 1.5) * 2.0;
            *value = (f32::from(*value) + bell * strength).clamp(16.0, 240.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_keep_the_shape_and_never_exceed_480p() {
        assert_eq!(preview_size(Size::P480, 854), Size::P480);
        assert_eq!(preview_size(Size::P480, 192), Size::new(192, 108));
        assert_eq!(preview_size(Size::new(1920, 1080), 4000).pixels() / 1000, Size::P480.pixels() / 1000);
        assert_eq!(preview_size(Size::P480, 0).width, PREVIEW_WIDTH_MIN);
    }
}
