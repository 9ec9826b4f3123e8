//! Land: a map of heights and colours lit in advance, laid out in the lines that are looked along. Owns the map; leaves the
//! shape of the country to `country`, what covers it to `ground` and looking at it to `walk`.

use super::country::Country;
use super::ground::Ground;
use super::light::Light;
use crate::colour::Rgb;
use crate::error::Error;
use crate::lanes::{LANES, Lanes, Real};
use crate::pool::Halt;
use crate::scene::Scene;
use crate::simd;

/// 1,024 cells a side: 16 MB, and fine enough that a cell at the far shore is two pixels of 480p.
pub(super) const SIDE: usize = 1_024;
/// Map units per cell. The country is 1,229 units deep.
pub(super) const CELL: f32 = 1.2;
pub(super) const ORIGIN_X: f32 = -614.0;
pub(super) const ORIGIN_Z: f32 = -90.0;
/// Land is made this much farther to the sides than the view reaches: 130 of travel, and its surroundings.
const MARGIN: f32 = 170.0;
/// Nearest and farthest land drawn.
pub(super) const NEAR: f32 = 5.0;
const FAR: f32 = 1_120.0;
/// Cells side by side whose highest point is known.
const BLOCK: usize = 16;
/// Lines whose highest points are known together.
pub(super) const GROUP: usize = 8;
/// Lines stand this far apart at least, farther with distance.
const STEP_MIN: f32 = 0.55;
const STEP_GROWTH: f32 = 0.0048;
/// The map, and a half and a quarter of its detail for land that is far or for small pictures.
pub(super) const LEVELS: usize = 3;

/// A map of heights alone.
pub(super) struct Heights {
    side: usize,
    pub(super) values: Vec<f32>,
}

impl Heights {
    /// Bilinear; beyond the edge the map is mirrored.
    pub(super) fn sample(&self, x: f32, z: f32) -> f32 {
        let (x, z) = (fold(x, self.side), fold(z, self.side));
        let (ix, iz) = (x as usize, z as usize);
        let (tx, tz) = (x - ix as f32, z - iz as f32);
        let at = iz * self.side + ix;
        let (upper, lower) = (&self.values[at..at + 2], &self.values[at + self.side..at + self.side + 2]);
        let (near, far) = (upper[0] + (upper[1] - upper[0]) * tx, lower[0] + (lower[1] - lower[0]) * tx);
        near + (far - near) * tz
    }

    fn halved(&self) -> Self {
        let side = self.side / 2;
        let rows = self.values.chunks_exact(self.side * 2);
        let values = rows.flat_map(|rows| {
            let (upper, lower) = rows.split_at(self.side);
            upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(a, b)| (a[0] + a[1] + b[0] + b[1]) * 0.25)
        });
        Self { side, values: values.collect() }
    }
}

/// A position inside `0..side - 1`, mirrored at both ends.
fn fold(at: f32, side: usize) -> f32 {
    let last = side as f32 - 1.001;
    let at = at.abs();
    let at = if at > last { 2.0 * last - at } else { at };
    at.clamp(0.0, last)
}

/// Land across the view at one depth: each place's height, and its colour with the height once more.
pub(super) struct Line {
    pub(super) heights: Vec<f32>,
    pub(super) cells: Vec<Rgb>,
}

impl Line {
    /// Between the rows of a map of colours.
    fn of(map: &[Rgb], side: usize, z: f32) -> Self {
        let z = fold(z, side);
        let (row, part) = (z as usize, z - z.floor());
        let rows = map[row * side..][..side].iter().zip(&map[(row + 1) * side..][..side]);
        let cells: Vec<Rgb> = rows.map(|(near, far)| near.mix(*far, part)).collect();
        Self { heights: cells.iter().map(|cell| cell.carried()).collect(), cells }
    }

    /// Where places across lie in a line of this level: cells of a halved map lie between those of the full one.
    #[inline(always)]
    pub(super) fn places(x: Lanes, level: usize) -> Lanes {
        let scale = 1.0 / (CELL * (1 << level) as f32);
        let last = (SIDE >> level) as f32 - 1.001;
        let at = ((x - ORIGIN_X) * scale - (0.5 - 0.5 / (1 << level) as f32)).magnitude();
        at.lesser(-at + 2.0 * last).at_least(0.0)
    }
}

/// The lit land of one film.
pub(super) struct Terrain {
    heights: Heights,
    pub(super) highest: f32,
    /// Depths of the lines. They stand still in the country: if they moved with the eye, edges would shimmer as they pass
    /// over the land.
    pub(super) steps: Vec<f32>,
    /// For each level, a line for each step.
    pub(super) lines: [Vec<Line>; LEVELS],
    /// The highest point of each [`GROUP`] of lines within each block of columns and the two beside it, which is as far as a
    /// line of sight goes aside within a group. Most of the land lies behind a nearer ridge: one look here spares eight.
    ridges: Vec<f32>,
}

impl Terrain {
    /// `reach` is the widest slope the view has to either side: land beyond it is left out.
    pub(super) fn new(
        country: &Country,
        scene: &Scene,
        (light, side): (&Light, f32),
        reach: f32,
        threads: usize,
        halt: &Halt,
    ) -> Result<Self, Error> {
        // The camera moves sideways, and shadows and trees come from a little farther off.
        let seen = |z: usize| {
            let reach = (z as f32 * CELL + ORIGIN_Z).max(0.0) * reach + MARGIN;
            let column = |x: f32| ((x - ORIGIN_X) / CELL).clamp(0.0, SIDE as f32) as usize / LANES * LANES;
            column(-reach)..column(reach + CELL * LANES as f32)
        };
        let mut values = vec![0.0_f32; SIDE * SIDE];
        rows(&mut values, threads, halt, |z, line| simd::run(Rise { country, z, columns: seen(z), line }))?;
        let heights = Heights { side: SIDE, values };
        // A sixteenth of the detail: what lies lower than its surroundings is darker.
        let wide = heights.halved().halved().halved().halved();
        let ground = Ground::new(country, scene, light, side, &heights, &wide);
        let mut cells = vec![Rgb::BLACK; SIDE * SIDE];
        rows(&mut cells, threads, halt, |z, line| ground.paint(z, seen(z), line))?;
        let highest = heights.values.iter().fold(1.0_f32, |highest, height| highest.max(*height));
        let mut steps = vec![NEAR];
        while let Some(&far) = steps.last().filter(|far| **far < FAR) {
            steps.push(far + (far * STEP_GROWTH).max(STEP_MIN));
        }
        let lines = lines(cells, &steps, halt)?;
        let ridges = ridges(&lines[0]);
        Ok(Self { heights, highest, steps, lines, ridges })
    }

    /// Height of the land, for whatever stands on it.
    pub(super) fn height(&self, x: f32, z: f32) -> f32 {
        self.heights.sample((x - ORIGIN_X) / CELL, (z - ORIGIN_Z) / CELL)
    }

    /// The highest land of a group of lines around a place across.
    pub(super) fn ridge(&self, group: usize, x: f32) -> f32 {
        self.ridges[group * (SIDE / BLOCK) + fold((x - ORIGIN_X) / CELL, SIDE) as usize / BLOCK]
    }
}

/// Lays the map and its coarser levels out along the steps.
fn lines(mut map: Vec<Rgb>, steps: &[f32], halt: &Halt) -> Result<[Vec<Line>; LEVELS], Error> {
    let mut lines: [Vec<Line>; LEVELS] = std::array::from_fn(|_| Vec::with_capacity(steps.len()));
    for (level, lines) in lines.iter_mut().enumerate() {
        let side = SIDE >> level;
        if level > 0 {
            let rows = map.chunks_exact(side * 4);
            map = rows
                .flat_map(|rows| {
                    let (upper, lower) = rows.split_at(side * 2);
                    upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(a, b)| (a[0] + a[1] + b[0] + b[1]) * 0.25)
                })
                .collect();
        }
        let (scale, shift) = (CELL * (1 << level) as f32, 0.5 - 0.5 / (1 << level) as f32);
        for depth in steps {
            halt.check()?;
            lines.push(Line::of(&map, side, (depth - ORIGIN_Z) / scale - shift));
        }
    }
    Ok(lines)
}

fn ridges(lines: &[Line]) -> Vec<f32> {
    let across = SIDE / BLOCK;
    let mut ridges = Vec::with_capacity(lines.len().div_ceil(GROUP) * across);
    for group in lines.chunks(GROUP) {
        let mut peaks = vec![0.0_f32; across];
        for line in group {
            for (peak, block) in peaks.iter_mut().zip(line.heights.chunks_exact(BLOCK)) {
                *peak = block.iter().fold(*peak, |peak, height| peak.max(*height));
            }
        }
        for x in 0..across {
            let around = &peaks[x.saturating_sub(2)..=(x + 2).min(across - 1)];
            ridges.push(around.iter().fold(0.0_f32, |highest, peak| highest.max(*peak)));
        }
    }
    ridges
}

/// The heights of one row of the map.
struct Rise<'a> {
    country: &'a Country,
    z: usize,
    columns: std::ops::Range<usize>,
    line: &'a mut [f32],
}

impl simd::Kernel for Rise<'_> {
    #[inline(always)]
    fn run(self) {
        let z = Lanes::of(self.z as f32 * CELL + ORIGIN_Z);
        for x in self.columns.step_by(LANES) {
            let across = Lanes::counting(x as f32 * CELL + ORIGIN_X, CELL);
            self.line[x..x + LANES].copy_from_slice(&self.country.height(across, z).0);
        }
    }
}

/// Runs `paint` on each row of the map, on several threads.
fn rows<T: Send>(
    values: &mut [T],
    threads: usize,
    halt: &Halt,
    paint: impl Fn(usize, &mut [T]) + Sync,
) -> Result<(), Error> {
    let share = SIDE.div_ceil(threads.max(1));
    std::thread::scope(|scope| {
        for (part, values) in values.chunks_mut(share * SIDE).enumerate() {
            let paint = &paint;
            scope.spawn(move || {
                for (row, line) in values.chunks_exact_mut(SIDE).enumerate() {
                    if halt.check().is_err() {
                        break;
                    }
                    paint(part * share + row, line);
                }
            });
        }
    });
    halt.check()
}
