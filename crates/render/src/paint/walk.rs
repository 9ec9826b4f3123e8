//! One look at the land: columns of the picture, eight at a time, from near to far, filling whatever rises above all before
//! it. Owns the way from the map to pixels; the map itself is `terrain`.

use super::canvas::Canvas;
use super::light::Light;
use super::sky::{Sky, View};
use super::terrain::{CELL, GROUP, LEVELS, Line, NEAR, Terrain};
use crate::colour::Rgb;
use crate::error::Error;
use crate::lanes::{LANES, Lanes, Real};
use crate::pool::Halt;
use crate::simd;

/// The detail of the map's lines suits a view of 480p; a smaller one takes every second or fourth.
const FOCAL_FULL: f32 = 854.0;

/// Land that rises less than a fifth of a pixel above what is before it waits for the next step: nobody sees the difference.
const RISE_MIN: f32 = 0.2;

/// Where the eye is, in map units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eye {
    pub(super) x: f32,
    /// Above the water; negative sees the country mirrored in it.
    pub(super) y: f32,
    pub(super) z: f32,
}

/// One look at the land.
pub(super) struct Walk<'a> {
    pub(super) terrain: &'a Terrain,
    pub(super) sky: &'a Sky,
    pub(super) light: &'a Light,
    pub(super) view: View,
    pub(super) eye: Eye,
    /// Whether land below zero is under water.
    pub(super) water: bool,
}

/// Columns that are laid over the picture together.
const STRIP: usize = LANES;
/// Rows between the one that is laid and the one that is asked for: about what memory takes.
const AHEAD: usize = 12;

/// Columns under way: what was gathered for each row of them, side by side as the picture has it.
struct Strip {
    /// The light of the land, with how much of the pixel is land carried beside it.
    land: Vec<[Rgb; STRIP]>,
    water: Vec<[f32; STRIP]>,
    depth: Vec<[f32; STRIP]>,
    /// The lowest row with land, and the highest with water.
    foot: usize,
    shore: usize,
}

impl Strip {
    fn new(height: usize) -> Self {
        Self {
            land: vec![[Rgb::BLACK; STRIP]; height],
            water: vec![[0.0; STRIP]; height],
            depth: vec![[f32::INFINITY; STRIP]; height],
            foot: 0,
            shore: height,
        }
    }

    /// Lays the rows from `top` down over the picture, from its column `first` on, and forgets them.
    fn lay(&mut self, canvas: &mut Canvas, water: &mut [f32], first: usize, top: usize) {
        let width = canvas.width;
        let count = STRIP.min(width - first);
        let rows = top..(self.foot + 1).min(canvas.height).max(top);
        for y in rows.clone() {
            // Each row lies in another page of memory; without this most of the time would go into waiting for them.
            let ahead = (y + AHEAD).min(canvas.height - 1) * width + first;
            simd::prefetch(&canvas.pixels[ahead]);
            simd::prefetch(&canvas.pixels[ahead + count / 2]);
            simd::prefetch(&canvas.depth[ahead]);
            let line = y * width + first..y * width + first + count;
            let pixels = canvas.pixels[line.clone()].iter_mut().zip(&mut canvas.depth[line]);
            for ((pixel, depth), (land, far)) in pixels.zip(self.land[y].iter().zip(&self.depth[y])) {
                *pixel = *pixel * (1.0 - land.carried()).max(0.0) + *land;
                *depth = depth.min(*far);
            }
        }
        self.land[rows.clone()].fill([Rgb::BLACK; STRIP]);
        self.depth[rows].fill([f32::INFINITY; STRIP]);
        for y in self.shore..canvas.height {
            simd::prefetch(&water[(y + AHEAD).min(canvas.height - 1) * width + first]);
            water[y * width + first..][..count].copy_from_slice(&self.water[y][..count]);
        }
        self.water[self.shore..].fill([0.0; STRIP]);
        (self.foot, self.shore) = (0, canvas.height);
    }

    /// Adds open water to the rows between `from` and `to`.
    #[inline(always)]
    fn flood(&mut self, lane: usize, from: f32, to: f32) {
        let first = from as i32 as usize;
        self.shore = self.shore.min(first);
        if to <= (first + 1) as f32 {
            self.water[first][lane] += to - from;
            return;
        }
        for (row, cover) in self.water.iter_mut().enumerate().take(to.ceil() as usize).skip(first) {
            cover[lane] += (to.min(row as f32 + 1.0) - from.max(row as f32)).max(0.0);
        }
    }

    /// Adds open water to each column up to `row`, which becomes its top.
    #[inline(always)]
    fn flood_to(&mut self, aside: usize, row: f32, tops: &mut Lanes) {
        let row = row.max(0.0);
        for (lane, top) in tops.0.iter_mut().enumerate().filter(|(_, top)| row < **top) {
            self.flood(aside + lane, row, *top);
            *top = row;
        }
    }

    /// Fills rows between `from` and `to`, from `colour` at the top to `below` at the bottom.
    #[inline(always)]
    fn fill(&mut self, lane: usize, (from, to): (f32, f32), (colour, below): (Rgb, Rgb), far: f32) {
        let first = from as i32 as usize;
        self.foot = self.foot.max(first);
        if to <= (first + 1) as f32 {
            self.put(first, lane, colour.mix(below, 0.5), to - from, far);
            return;
        }
        let slope = 1.0 / (to - from);
        for row in first..(to.ceil() as usize).min(self.land.len()) {
            self.foot = self.foot.max(row);
            let (upper, lower) = (from.max(row as f32), to.min(row as f32 + 1.0));
            let part = ((upper + lower) * 0.5 - from) * slope;
            self.put(row, lane, colour.mix(below, part), (lower - upper).max(0.0), far);
        }
    }

    #[inline(always)]
    fn put(&mut self, row: usize, lane: usize, colour: Rgb, cover: f32, far: f32) {
        self.land[row][lane] += colour.carrying(1.0) * cover;
        let depth = &mut self.depth[row][lane];
        *depth = if far < *depth { far } else { *depth };
    }
}

/// What all columns share at one step.
struct Step<'a> {
    far: f32,
    /// Pixels per unit of height.
    scale: f32,
    /// Share of the view that is haze, and the same of fog where the ground is at zero.
    haze: f32,
    fog: f32,
    level: usize,
    line: &'a Line,
    group: usize,
}

impl Walk<'_> {
    /// Draws all land over the sky. `water` receives how much of each pixel is open water.
    pub(super) fn draw(&self, canvas: &mut Canvas, water: &mut [f32], halt: &Halt) -> Result<(), Error> {
        let (width, height) = (canvas.width, canvas.height);
        let (steps, mut hazes) = (self.steps(), self.sky.hazes(&self.view, width));
        hazes.resize(width.next_multiple_of(STRIP), Rgb::BLACK);
        let mut strip = Strip::new(height);
        for first in (0..width).step_by(STRIP) {
            if first % (2 * STRIP) == 0 {
                halt.check()?;
            }
            let mut top = height;
            for aside in (0..STRIP).step_by(LANES) {
                simd::run(Look {
                    walk: self,
                    steps: &steps,
                    across: Lanes::counting(self.view.across((first + aside) as f32), 1.0 / self.view.focal),
                    haze: std::array::from_fn(|lane| hazes[first + aside + lane]),
                    strip: &mut strip,
                    aside,
                    top: &mut top,
                });
            }
            strip.lay(canvas, water, first, top);
        }
        Ok(())
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let focal = self.view.focal;
        let stride = if focal > FOCAL_FULL * 0.7 {
            1
        } else if focal > FOCAL_FULL * 0.35 {
            2
        } else {
            4
        };
        let step = |(number, depth): (usize, &f32)| {
            let far = depth - self.eye.z;
            let footprint = far / (focal * CELL);
            let level = if footprint > 2.8 { LEVELS - 1 } else { usize::from(footprint > 1.4) };
            Step {
                far,
                scale: focal / far,
                haze: 1.0 - (-far / self.light.haze).exp(),
                fog: self.light.fog * (1.0 - (-far / 700.0).exp()),
                level,
                line: &self.terrain.lines[level][number],
                group: number / GROUP,
            }
        };
        let steps = self.terrain.steps.iter().enumerate().step_by(stride).map(step);
        steps.filter(|step| step.far >= NEAR).collect()
    }
}

/// Eight columns beside each other.
struct Look<'a> {
    walk: &'a Walk<'a>,
    steps: &'a [Step<'a>],
    across: Lanes,
    haze: [Rgb; LANES],
    /// Where they are kept, and how far to the right in it.
    strip: &'a mut Strip,
    aside: usize,
    /// The highest row filled in any of them.
    top: &'a mut usize,
}

impl simd::Kernel for Look<'_> {
    #[inline(always)]
    fn run(self) {
        let (walk, horizon, eye) = (self.walk, self.walk.view.horizon, self.walk.eye);
        let ambient = walk.light.ambient;
        let mist = self.haze.map(|haze| haze.mix(ambient, 0.25));
        let ceiling = walk.terrain.highest - eye.y;
        let mut tops = Lanes::of(self.strip.land.len() as f32);
        let mut before: [Option<Rgb>; LANES] = [None; LANES];
        // Open water is flat: what lies before the next land is flooded in one go.
        let mut wet = None;
        for group in self.steps.chunk_by(|a, b| a.group == b.group) {
            let (nearest, farthest) = (&group[0], &group[group.len() - 1]);
            let middle = eye.x + self.across.0[LANES / 2] * (nearest.far + farthest.far) * 0.5;
            let ridge = walk.terrain.ridge(nearest.group, middle);
            if walk.water && ridge <= 0.0 {
                (wet, before) = (Some(farthest.scale), [None; LANES]);
                continue;
            }
            if let Some(scale) = wet.take().filter(|_| eye.y > 0.0) {
                self.strip.flood_to(self.aside, horizon + eye.y * scale, &mut tops);
            }
            let lowest = tops.0.into_iter().fold(0.0_f32, f32::max);
            if lowest <= 0.0 || horizon - lowest > ceiling * nearest.scale && ceiling >= 0.0 {
                break;
            }
            // Hidden when its highest ground, at the depth where that reaches highest, is.
            let rise = ridge - eye.y;
            if horizon - lowest >= rise * if rise > 0.0 { nearest.scale } else { farthest.scale } {
                before = [None; LANES];
                continue;
            }
            for step in group {
                let places = Line::places(self.across * step.far + eye.x, step.level);
                let whole = places.whole();
                let (parts, at) = (places - whole, whole.0.map(|place| place as i32 as u32 as usize));
                let heights = &step.line.heights;
                let (mut near, mut next) = (Lanes([0.0; LANES]), Lanes([0.0; LANES]));
                for ((near, next), at) in near.0.iter_mut().zip(&mut next.0).zip(at) {
                    if let Some(pair) = heights.get(at..at + 2) {
                        (*near, *next) = (pair[0], pair[1]);
                    }
                }
                let height = near + (next - near) * parts;
                let ground = if walk.water { height.at_least(0.0) } else { height };
                let rows = (-(ground - eye.y) * step.scale + horizon).at_least(0.0);
                if !(tops - rows).any(|rise| rise > RISE_MIN) {
                    before = [None; LANES];
                    continue;
                }
                // Through the air between.
                let fogs = ((height.at_least(0.0) * (-1.0 / 15.0)).power_of_e() * step.fog).at_most(0.95);
                for lane in 0..LANES {
                    let (row, top, last) = (rows.0[lane], tops.0[lane], before[lane].take());
                    if top - row <= RISE_MIN {
                        continue;
                    }
                    if walk.water && height.0[lane] < 0.0 {
                        // In the mirror the water itself is not seen.
                        if eye.y > 0.0 {
                            self.strip.flood(self.aside + lane, row, top);
                            tops.0[lane] = row;
                        }
                        continue;
                    }
                    let cells = &step.line.cells[at[lane]..at[lane] + 2];
                    let cell = cells[0].mix(cells[1], parts.0[lane]);
                    let colour = cell.mix(self.haze[lane], step.haze).mix(mist[lane], fogs.0[lane]);
                    self.strip.fill(self.aside + lane, (row, top), (colour, last.unwrap_or(colour)), step.far);
                    (before[lane], tops.0[lane]) = (Some(colour), row);
                }
            }
        }
        if let Some(scale) = wet.filter(|_| eye.y > 0.0) {
            self.strip.flood_to(self.aside, horizon + eye.y * scale, &mut tops);
        }
        *self.top = (*self.top).min(tops.0.into_iter().fold(f32::INFINITY, f32::min) as usize);
    }
}
