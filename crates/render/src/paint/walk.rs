//! One look at the land: columns of the picture, eight at a time, from near to far, filling whatever rises above all before
//! it. Owns the way from the map to pixels; the map itself is `terrain`.

use super::canvas::Canvas;
use super::light::Light;
use super::sky::{Sky, View};
use super::terrain::{CELL, GROUP, LEVELS, Line, NEAR, Terrain};
use crate::colour::Rgb;
use crate::error::Error;
use crate::lanes::{self, LANES, Lanes, Real};
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

/// One column under way: what was gathered for each row.
struct Column {
    colour: Vec<Rgb>,
    land: Vec<f32>,
    water: Vec<f32>,
    depth: Vec<f32>,
}

impl Column {
    fn new(height: usize) -> Self {
        Self {
            colour: vec![Rgb::BLACK; height],
            land: vec![0.0; height],
            water: vec![0.0; height],
            depth: vec![f32::INFINITY; height],
        }
    }

    /// Forgets what was gathered from row `top` down.
    fn clear(&mut self, top: usize) {
        self.colour[top..].fill(Rgb::BLACK);
        self.land[top..].fill(0.0);
        self.water[top..].fill(0.0);
        self.depth[top..].fill(f32::INFINITY);
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
        hazes.resize(width.next_multiple_of(LANES), Rgb::BLACK);
        let mut columns: [Column; LANES] = std::array::from_fn(|_| Column::new(height));
        let mut top = height;
        for first in (0..width).step_by(LANES) {
            if first % 32 == 0 {
                halt.check()?;
            }
            columns.iter_mut().for_each(|column| column.clear(top));
            simd::run(Look {
                walk: self,
                steps: &steps,
                across: Lanes::counting(self.view.across(first as f32), 1.0 / self.view.focal),
                haze: std::array::from_fn(|lane| hazes[first + lane]),
                columns: &mut columns,
                top: &mut top,
            });
            let columns = &columns[..LANES.min(width - first)];
            for y in top..height {
                for (x, column) in (first..).zip(columns) {
                    let land = column.land[y];
                    let at = y * width + x;
                    water[at] = column.water[y];
                    if land > 0.0 {
                        canvas.pixels[at] = canvas.pixels[at] * (1.0 - land).max(0.0) + column.colour[y];
                        canvas.depth[at] = column.depth[y];
                    }
                }
            }
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
    columns: &'a mut [Column; LANES],
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
        let mut tops = Lanes::of(self.columns[0].land.len() as f32);
        let mut before: [Option<Rgb>; LANES] = [None; LANES];
        for group in self.steps.chunk_by(|a, b| a.group == b.group) {
            let (nearest, farthest) = (&group[0], &group[group.len() - 1]);
            let lowest = tops.0.into_iter().fold(0.0_f32, f32::max);
            if lowest <= 0.0 || horizon - lowest > ceiling * nearest.scale && ceiling >= 0.0 {
                break;
            }
            // Hidden when its highest ground, at the depth where that reaches highest, is.
            let middle = eye.x + self.across.0[LANES / 2] * (nearest.far + farthest.far) * 0.5;
            let rise = walk.terrain.ridge(nearest.group, middle) - eye.y;
            if horizon - lowest >= rise * if rise > 0.0 { nearest.scale } else { farthest.scale } {
                before = [None; LANES];
                continue;
            }
            for step in group {
                let places = Line::places(self.across * step.far + eye.x, step.level);
                let at = places.0.map(|place| place as usize);
                let heights = &step.line.heights;
                let near = Lanes(at.map(|at| heights.get(at).copied().unwrap_or_default()));
                let next = Lanes(at.map(|at| heights.get(at + 1).copied().unwrap_or_default()));
                let parts = places - Lanes(at.map(|at| at as f32));
                let height = near + (next - near) * parts;
                let ground = if walk.water { height.at_least(0.0) } else { height };
                let rows = (-(ground - eye.y) * step.scale + horizon).at_least(0.0);
                if !(tops - rows).any(|rise| rise > RISE_MIN) {
                    before = [None; LANES];
                    continue;
                }
                for lane in 0..LANES {
                    let (row, top, last) = (rows.0[lane], tops.0[lane], before[lane].take());
                    if top - row <= RISE_MIN {
                        continue;
                    }
                    let column = &mut self.columns[lane];
                    if walk.water && height.0[lane] < 0.0 {
                        // In the mirror the water itself is not seen.
                        if eye.y > 0.0 {
                            spread(&mut column.water, row, top);
                            tops.0[lane] = row;
                        }
                        continue;
                    }
                    let cells = &step.line.cells[at[lane]..at[lane] + 2];
                    let cell = cells[0].mix(cells[1], parts.0[lane]);
                    // Through the air between.
                    let fog = (step.fog * lanes::exp(-height.0[lane].max(0.0) * (1.0 / 15.0))).min(0.95);
                    let colour = cell.mix(self.haze[lane], step.haze).mix(mist[lane], fog);
                    fill(column, row, top, colour, last.unwrap_or(colour), step.far);
                    (before[lane], tops.0[lane]) = (Some(colour), row);
                }
            }
        }
        *self.top = tops.0.into_iter().fold(f32::INFINITY, f32::min) as usize;
    }
}

/// Adds the cover of rows between `from` and `to`.
#[inline(always)]
fn spread(rows: &mut [f32], from: f32, to: f32) {
    let first = from as i32 as usize;
    if to <= (first + 1) as f32 {
        rows[first] += to - from;
        return;
    }
    for (row, cover) in rows.iter_mut().enumerate().take(to.ceil() as usize).skip(first) {
        *cover += (to.min(row as f32 + 1.0) - from.max(row as f32)).max(0.0);
    }
}

/// Fills rows between `from` and `to`, from `colour` at the top to `below` at the bottom.
#[inline(always)]
fn fill(column: &mut Column, from: f32, to: f32, colour: Rgb, below: Rgb, far: f32) {
    let first = from as i32 as usize;
    if to <= (first + 1) as f32 {
        column.colour[first] += colour.mix(below, 0.5) * (to - from);
        column.land[first] += to - from;
        column.depth[first] = column.depth[first].min(far);
        return;
    }
    for row in first..(to.ceil() as usize).min(column.land.len()) {
        let (upper, lower) = (from.max(row as f32), to.min(row as f32 + 1.0));
        let cover = (lower - upper).max(0.0);
        let part = ((upper + lower) * 0.5 - from) / (to - from);
        column.colour[row] += colour.mix(below, part) * cover;
        column.land[row] += cover;
        column.depth[row] = column.depth[row].min(far);
    }
}
