//! Water that mirrors: waves bend a picture of the country seen from below the surface.

use super::canvas::{BAND, Canvas};
use super::light::Light;
use super::sky::{Sky, View};
use super::swell::Swell;
use super::walk::Eye;
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::lanes::{LANES, Lanes, Real};
use crate::noise::Noise;
use crate::pool::Halt;
use crate::simd;

/// Waves of one height together: how many a unit, weight, and units a second towards the eye.
const WAVES: [(f32, f32, f32); 5] =
    [(0.055, 0.55, 0.32), (0.17, 0.75, -0.55), (0.52, 0.62, 0.95), (1.45, 0.60, -1.3), (3.9, 0.42, 2.1)];
/// The last of them are ripples that only a storm draws: without them its near water looks like glass.
const CALM_WAVES: usize = 3;
/// Far away a storm's waves are smaller than a pixel; of what their faces lean to the eye, this much is left on average.
const FAR_LEAN: f32 = 0.05;
/// Gusts, and waves across the view, are wide: they are computed once per 4 pixels of a row.
const CELL: usize = 4;

/// The water of one film.
pub(super) struct Water {
    pub(super) noise: Noise,
    /// Colour of the depth.
    pub(super) deep: Rgb,
    /// Steepness of waves; 0.02 is a calm lake, 0.1 a sea.
    pub(super) rough: f32,
    /// How fast waves go.
    pub(super) speed: f32,
    /// Waves that stand before each other, in a storm.
    pub(super) swell: Option<Swell>,
}

/// What the water is drawn with.
pub(super) struct Surface<'a> {
    pub(super) water: &'a Water,
    pub(super) sky: &'a Sky,
    pub(super) light: &'a Light,
    pub(super) view: View,
    pub(super) eye: Eye,
    /// The mirrored country and the view it was drawn in.
    pub(super) mirror: &'a Canvas,
    pub(super) mirror_view: View,
}

/// What all water of one row shares.
struct Row {
    /// Slope down to the water, and how far away it is.
    down: f32,
    far: f32,
    deep: Rgb,
    foam: Rgb,
    time: f32,
    /// The waves that can be drawn this far away, scale, weight and way of each; and the share of those that cannot.
    waves: [(f32, f32, f32); WAVES.len()],
    lost: f32,
    /// Share of the view that is haze and fog.
    air: f32,
}

impl Surface<'_> {
    /// Draws water where `cover` says there is some.
    pub(super) fn draw(&self, canvas: &mut Canvas, cover: &[f32], time: f32, halt: &Halt) -> Result<(), Error> {
        let deep = self.water.deep.tint(self.light.ambient + self.light.sun * 0.35) + self.light.sky[3] * 0.02;
        let airs = self.sky.hazes(&self.view, canvas.width);
        let cells = (canvas.width.next_multiple_of(LANES) / CELL + 1).next_multiple_of(LANES);
        let mut bends: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; cells]);
        let mut met = vec![1.0; cells];
        let first = (self.view.horizon.max(0.0)) as usize;
        // From below, as waves hide what is behind them.
        for y in (first..canvas.height).rev() {
            if y % BAND == 0 {
                halt.check()?;
            }
            let line = y * canvas.width..(y + 1) * canvas.width;
            if cover[line.clone()].iter().all(|part| *part <= 0.0) {
                continue;
            }
            let row = self.row(y, deep, time);
            simd::run(Bend { surface: self, row: &row, bends: &mut bends, met: &mut met });
            canvas.depth[line.clone()].iter_mut().zip(&cover[line.clone()]).for_each(|(depth, part)| {
                *depth = if *part > 0.0 { row.far } else { *depth };
            });
            simd::run(Mirror {
                surface: self,
                row: &row,
                bends: &bends,
                cover: &cover[line.clone()],
                airs: &airs,
                pixels: &mut canvas.pixels[line],
            });
        }
        Ok(())
    }

    fn row(&self, y: usize, deep: Rgb, time: f32) -> Row {
        let down = ((y as f32 + 0.5 - self.view.horizon) / self.view.focal).max(0.0008);
        let far = (self.eye.y / down).min(6_000.0);
        let haze = (1.0 - (-far / self.light.haze).exp()) * 0.85;
        let fog = self.light.fog * (1.0 - (-far / 700.0).exp()) * 0.75;
        // A wave narrower than two pixels in depth is only shimmer; it goes into blur.
        let depth_pixel = far * far / (self.eye.y.max(1.0) * self.view.focal);
        let seen = |scale: f32| smooth(0.9, 0.2, depth_pixel * scale);
        let count = if self.water.swell.is_some() { WAVES.len() } else { CALM_WAVES };
        let mut waves = [(0.0, 0.0, 0.0); WAVES.len()];
        for (wave, (scale, weight, way)) in waves.iter_mut().zip(WAVES).take(count) {
            *wave = (scale, weight * seen(scale), way);
        }
        Row {
            down,
            far,
            deep,
            foam: self.light.sun * 0.12 + self.light.ambient * 0.75,
            time,
            waves,
            lost: WAVES[..CALM_WAVES].iter().map(|(scale, weight, _)| weight * (1.0 - seen(*scale))).sum(),
            air: 1.0 - (1.0 - haze) * (1.0 - fog),
        }
    }
}

/// How rough the water is, and how it leans to the right and away, at the cells of one row.
struct Bend<'a> {
    surface: &'a Surface<'a>,
    row: &'a Row,
    bends: &'a mut [Vec<f32>; 4],
    /// How far away the row below met the water.
    met: &'a mut [f32],
}

impl simd::Kernel for Bend<'_> {
    #[inline(always)]
    fn run(self) {
        let (surface, row) = (self.surface, self.row);
        let (water, eye, view) = (surface.water, surface.eye, surface.view);
        let time = row.time * water.speed;
        let [rough, right, away, foam] = self.bends;
        let outs = right.chunks_exact_mut(LANES).zip(away.chunks_exact_mut(LANES)).zip(foam.chunks_exact_mut(LANES));
        let lines = rough.chunks_exact_mut(LANES).zip(self.met.chunks_exact_mut(LANES)).zip(outs);
        for (group, ((rough, met), ((right, away), foam))) in lines.enumerate() {
            let across = Lanes::counting(view.across((group * LANES * CELL) as f32), CELL as f32 / view.focal);
            let mut far = Lanes::of(row.far);
            let (mut leans, mut white) = ([Lanes::of(0.0); 2], Lanes::of(0.0));
            if let Some(swell) = &water.swell {
                let mut before = far;
                before.0.copy_from_slice(met);
                let (found, crest) = swell.meet(before, across, (row.down, view.focal), eye, time);
                met.copy_from_slice(&found.0);
                far = found;
                // The back of a crest, met at a graze, would mirror all of the bright horizon in a line a pixel thin.
                let fine = Swell::fine(far, eye.y, view.focal);
                let least = fine * 0.14 - row.down;
                leans = [crest.right, crest.away.greater(least) + (-fine + 1.0) * FAR_LEAN];
                let (x, z) = (across * far + eye.x, far + eye.z + time * 0.5);
                let torn = water.noise.layers(x * 0.16, z * 0.36, 4);
                // On the crests, and in streaks that the wind draws down from them.
                white = crest.part.smooth(0.74, 0.98) * torn.smooth(0.38, 0.62) * 0.75
                    + crest.part.smooth(0.35, 0.9) * torn.smooth(0.60, 0.80) * 0.22;
            }
            let (x, z) = (across * far + eye.x, far + eye.z);
            // Patches of rougher and stiller water.
            let gust = water.noise.layers(x * 0.006 + row.time * 0.02, z * 0.011, 3).smooth(0.35, 0.7);
            let roughness = (gust * 1.3 + 0.35) * water.rough;
            let (mut aside, mut along) = (Lanes::of(0.0), Lanes::of(0.0));
            for (scale, weight, way) in row.waves {
                if weight > 0.0 {
                    // Longer across than along the view, as waves that come towards the eye.
                    let (wide, deep) = (x * (scale * 0.55) + time * way * 0.25, z * scale + time * way);
                    let (_, a, b) = water.noise.sloped(wide, deep);
                    (aside, along) = (aside + a * weight, along + b * weight);
                }
            }
            rough.copy_from_slice(&roughness.0);
            right.copy_from_slice(&(aside * roughness + leans[0]).0);
            away.copy_from_slice(&(along * roughness + leans[1]).0);
            foam.copy_from_slice(&white.0);
        }
    }
}

/// What the water of one row shows of the country above it.
struct Mirror<'a> {
    surface: &'a Surface<'a>,
    row: &'a Row,
    bends: &'a [Vec<f32>; 4],
    cover: &'a [f32],
    airs: &'a [Rgb],
    pixels: &'a mut [Rgb],
}

impl simd::Kernel for Mirror<'_> {
    #[inline(always)]
    fn run(self) {
        let surface = self.surface;
        let (row, mirror, view) = (self.row, surface.mirror, &surface.mirror_view);
        let lines = self.pixels.chunks_mut(LANES).zip(self.cover.chunks(LANES)).zip(self.airs.chunks(LANES));
        for (group, ((pixels, cover), airs)) in lines.enumerate() {
            if cover.iter().all(|part| *part <= 0.0) {
                continue;
            }
            let [roughs, rights, aways, foams] = self.bends;
            let (rough, right, away) = (bent(roughs, group), bent(rights, group), bent(aways, group));
            let first = (group * LANES) as f32;
            let across = Lanes::counting(surface.view.across(first) - view.pan, 1.0 / surface.view.focal);
            let columns = Places::of((across + right * 0.5) * view.focal + view.centre, mirror.width);
            let foam = bent(foams, group);
            let (up, blur) = ((away * 2.0 + row.down).magnitude(), rough * ((0.35 + row.lost) * 1.1));
            let rows = |up: Lanes| Places::of(-up.magnitude() * view.focal + view.horizon, mirror.height);
            let lines = [rows(up - blur), rows(up), rows(up + blur)];
            let steep = -((away + row.down).at_least(0.0).at_most(1.0)) + 1.0;
            let still = steep * steep;
            let shown = still * still * 0.86 + 0.10;
            for (lane, pixel) in pixels.iter_mut().enumerate() {
                let cover = cover[lane].min(1.0);
                if cover <= 0.0 {
                    continue;
                }
                let (column, aside) = (columns.at[lane], columns.parts.0[lane]);
                // The three rows are mixed first, so that only the two columns are left to mix.
                let (mut near, mut next) = (Rgb::BLACK, Rgb::BLACK);
                for (line, weight) in lines.iter().zip([0.25, 0.5, 0.25]) {
                    let part = line.parts.0[lane] * weight;
                    let upper = line.at[lane] * mirror.width + column;
                    let (upper, lower) =
                        (&mirror.pixels[upper..upper + 2], &mirror.pixels[upper + mirror.width..][..2]);
                    near += upper[0] * (weight - part) + lower[0] * part;
                    next += upper[1] * (weight - part) + lower[1] * part;
                }
                let seen = near.mix(next, aside);
                let water = row.deep.mix(seen, shown.0[lane]).mix(row.foam, foam.0[lane]);
                let colour = water.mix(airs[lane], row.air);
                *pixel = pixel.mix(colour, cover);
            }
        }
    }
}

/// A line of cells at eight neighbouring pixels.
#[inline(always)]
fn bent(line: &[f32], group: usize) -> Lanes {
    let mut values = Lanes([0.0; LANES]);
    let first = group * (LANES / CELL);
    for (lane, value) in values.0.iter_mut().enumerate() {
        let (near, next) = (line[first + lane / CELL], line[first + lane / CELL + 1]);
        *value = near + (next - near) * ((lane % CELL) as f32 * (1.0 / CELL as f32));
    }
    values
}

/// Eight places between the rows or the columns of a sheet; its edge goes on beyond it.
struct Places {
    at: [usize; LANES],
    parts: Lanes,
}

impl Places {
    #[inline(always)]
    fn of(at: Lanes, length: usize) -> Self {
        let at = at.at_least(0.0).at_most((length - 1) as f32);
        let whole = at.whole().at_least(0.0).at_most(length.saturating_sub(2) as f32);
        let mut places = Self { at: [0; LANES], parts: at - whole };
        for (at, whole) in places.at.iter_mut().zip(whole.0) {
            *at = whole as i32 as usize;
        }
        places
    }
}
