//! Land: a height map with its colours lit in advance, and the walk along each column that draws it. Owns the shape of
//! the country; leaves sky, trees and water to their own modules.

use super::canvas::Canvas;
use super::light::{Light, Soil};
use super::sky::{Sky, View};
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::scene::{Ground, Scene};

/// 1,024 cells a side: 32 MB, and fine enough that a cell at the far shore is two pixels of 480p.
const SIDE: usize = 1_024;
/// Map units per cell. The country is 1,229 units deep.
const CELL: f32 = 1.2;
const ORIGIN_X: f32 = -614.0;
const ORIGIN_Z: f32 = -90.0;
/// Land is made this much farther to the sides than the view reaches: 130 of travel, and its surroundings.
const MARGIN: f32 = 170.0;
/// Nearest and farthest land drawn.
const NEAR: f32 = 5.0;
const FAR: f32 = 1_120.0;
/// Cells a side of the blocks whose highest point is known.
const BLOCK: usize = 16;
/// Steps of a column that are looked at together first.
const GROUP: usize = 8;
/// Columns drawn side by side before they go to the sheet, a cache line of it at a time.
const COLUMNS: usize = 8;
/// Steps along a column: at least this far, growing with distance.
const STEP_MIN: f32 = 0.55;
const STEP_GROWTH: f32 = 0.0048;

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    colour: Rgb,
    height: f32,
}

impl Cell {
    fn mix(self, other: Self, part: f32) -> Self {
        Self { colour: self.colour.mix(other.colour, part), height: self.height + (other.height - self.height) * part }
    }
}

struct Level {
    side: usize,
    cells: Vec<Cell>,
}

impl Level {
    /// Bilinear; beyond the edge the map is mirrored.
    fn sample(&self, x: f32, z: f32) -> Cell {
        let (x, z) = (fold(x, self.side), fold(z, self.side));
        let (ix, iz) = (x as usize, z as usize);
        let (tx, tz) = (x - ix as f32, z - iz as f32);
        let at = iz * self.side + ix;
        let (a, b) = (self.cells[at], self.cells[at + 1]);
        let (c, d) = (self.cells[at + self.side], self.cells[at + self.side + 1]);
        a.mix(b, tx).mix(c.mix(d, tx), tz)
    }

    fn halved(&self) -> Self {
        let side = self.side / 2;
        let mut cells = Vec::with_capacity(side * side);
        for z in 0..side {
            for x in 0..side {
                let at = z * 2 * self.side + x * 2;
                let top = self.cells[at].mix(self.cells[at + 1], 0.5);
                cells.push(top.mix(self.cells[at + self.side].mix(self.cells[at + self.side + 1], 0.5), 0.5));
            }
        }
        Self { side, cells }
    }
}

/// A position inside `0..side - 1`, mirrored at both ends.
fn fold(at: f32, side: usize) -> f32 {
    let last = side as f32 - 1.001;
    let at = at.abs();
    let at = if at > last { 2.0 * last - at } else { at };
    at.clamp(0.0, last)
}

/// Where things are: heights without colours.
pub(super) struct Country {
    noise: Noise,
    ground: Ground,
    water: bool,
    lake: (f32, f32, f32),
    massif: (f32, f32),
}

impl Country {
    pub(super) fn new(scene: &Scene) -> Self {
        let mut chance = Chance::new(scene.seed ^ 0x7e44);
        Self {
            noise: Noise::new(scene.seed ^ 0x1a4d),
            ground: scene.ground,
            water: scene.water,
            lake: (chance.within(-60.0, 60.0), chance.within(250.0, 330.0), chance.within(175.0, 225.0)),
            massif: (chance.within(-160.0, 160.0), chance.within(0.85, 1.15)),
        }
    }

    /// 1 at the shore, less on the lake, more on land; without water everything is land.
    fn inland(&self, x: f32, z: f32) -> f32 {
        let (centre, across, deep) = self.lake;
        let (dx, dz) = ((x - centre) / across, (z - 70.0) / deep);
        let bays = self.noise.layers(x * 0.013 + 70.0, z * 0.013 + 20.0, 4) - 0.5;
        let inland = (dx * dx + dz * dz).sqrt() + bays * 0.42;
        if self.water { inland } else { inland.max(1.0) }
    }

    /// Height above the water.
    pub(super) fn height(&self, x: f32, z: f32) -> f32 {
        let inland = self.inland(x, z);
        if self.water && inland < 0.9 {
            return (inland - 1.0) * 20.0;
        }
        let shore = (inland - 1.0) * 14.0;
        let rise = smooth(1.0, 2.6, inland);
        // Low along the shore, so that the mountains behind have the sky to themselves.
        let hills = if rise > 0.0 {
            let hills = self.noise.layers(x * 0.011 + 5.0, z * 0.011 + 9.0, 6) - 0.28;
            hills * (20.0 + 62.0 * smooth(230.0, 620.0, z)) * rise
        } else {
            0.0
        };
        let far = smooth(330.0, 860.0, z + (x - self.massif.0).abs() * 0.16);
        let tall = if far > 0.0 { self.mountains(x, z) * far } else { 0.0 };
        let height = shore.min(5.0 + rise * 6.0) + hills.max(-2.0) + tall;
        if self.water { height } else { height.max(self.noise.layers(x * 0.02, z * 0.02, 4) * 9.0) }
    }

    fn mountains(&self, x: f32, z: f32) -> f32 {
        let mountains = match self.ground {
            Ground::Desert => self.mesas(x, z),
            _ => self.noise.eroded(x * 0.0050 + 11.0, z * 0.0050 + 3.0, 10) * 172.0 * self.massif.1 - 26.0,
        };
        let crest = 1.0 + 0.35 * (-((x - self.massif.0) / 210.0).powi(2)).exp();
        (mountains * crest).max(0.0)
    }

    /// Table mountains and dunes.
    fn mesas(&self, x: f32, z: f32) -> f32 {
        let raw = self.noise.layers(x * 0.0075 + 3.0, z * 0.0075 + 8.0, 5);
        let worn = self.noise.layers(x * 0.05, z * 0.05, 4) * 0.05;
        let table = smooth(0.50, 0.56, raw + worn) * 0.45 + smooth(0.60, 0.65, raw + worn) * 0.4;
        let strata = ((raw + worn) * 40.0).sin() * 0.012;
        let dunes = self.noise.layers(x * 0.018 + raw * 2.0, z * 0.009, 3);
        (table + strata * table.min(0.5)) * 120.0 + (1.0 - (dunes * 2.0 - 1.0).abs()) * 20.0
    }

    /// How thickly trees stand here, 0 to 1.
    pub(super) fn forest(&self, x: f32, z: f32) -> f32 {
        smooth(0.40, 0.58, self.noise.layers(x * 0.017 + 44.0, z * 0.017 + 66.0, 3))
    }
}

/// The lit land of one film.
pub(super) struct Terrain {
    levels: Vec<Level>,
    highest: f32,
    /// Depths at which columns are sampled. They stand still in the country: if they moved with the eye, edges would
    /// shimmer as samples pass over them.
    steps: Vec<f32>,
    /// The highest point in each block of cells and around it: most of a column's steps lie behind a nearer ridge, and
    /// one look here spares the four of a sample.
    peaks: Vec<f32>,
    /// The same for each [`GROUP`] of steps and block of columns: one look spares eight.
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
        let seen = |x: usize, z: usize| {
            let (x, z) = (x as f32 * CELL + ORIGIN_X, z as f32 * CELL + ORIGIN_Z);
            x.abs() < z.max(0.0) * reach + MARGIN
        };
        let mut cells = vec![Cell::default(); SIDE * SIDE];
        rows(&mut cells, threads, halt, |z, line| {
            for (x, cell) in line.iter_mut().enumerate() {
                if seen(x, z) {
                    cell.height = country.height(x as f32 * CELL + ORIGIN_X, z as f32 * CELL + ORIGIN_Z);
                }
            }
        })?;
        let bare = Level { side: SIDE, cells };
        // A sixteenth of the detail: what lies lower than its surroundings is darker.
        let wide = bare.halved().halved().halved().halved();
        let painter = Painter { country, soil: Soil::of(scene), light, bare: &bare, wide: &wide, side, scene };
        let mut cells = bare.cells.clone();
        rows(&mut cells, threads, halt, |z, line| {
            for (x, cell) in line.iter_mut().enumerate() {
                if seen(x, z) {
                    cell.colour = painter.colour(x, z);
                }
            }
        })?;
        let highest = cells.iter().fold(1.0_f32, |highest, cell| highest.max(cell.height));
        let mut levels = vec![Level { side: SIDE, cells }];
        for level in 0..3 {
            levels.push(levels[level].halved());
        }
        let mut steps = vec![NEAR];
        while let Some(&far) = steps.last().filter(|far| **far < FAR) {
            steps.push(far + (far * STEP_GROWTH).max(STEP_MIN));
        }
        let peaks = peaks(&levels[0]);
        let ridges = ridges(&peaks, &steps);
        Ok(Self { levels, highest, steps, peaks, ridges })
    }

    /// Height of the drawn land, for whatever stands on it.
    pub(super) fn height(&self, x: f32, z: f32) -> f32 {
        self.levels[0].sample((x - ORIGIN_X) / CELL, (z - ORIGIN_Z) / CELL).height
    }

    fn sample(&self, x: f32, z: f32, level: usize) -> Cell {
        let scale = CELL * (1 << level) as f32;
        let shift = 0.5 - 0.5 / (1 << level) as f32; // Cells of a halved map lie between those of the full one.
        self.levels[level].sample((x - ORIGIN_X) / scale - shift, (z - ORIGIN_Z) / scale - shift)
    }
}

/// The block of cells a place lies in, along one side.
fn block(at: f32, origin: f32) -> usize {
    fold((at - origin) / CELL, SIDE) as usize / BLOCK
}

fn peaks(level: &Level) -> Vec<f32> {
    let across = SIDE / BLOCK;
    let mut peaks = vec![f32::MIN; across * across];
    // Samples of a quartered map reach six cells beyond their own.
    let near = |at: usize| (at.saturating_sub(6) / BLOCK)..=((at + 6).min(SIDE - 1) / BLOCK);
    for (at, cell) in level.cells.iter().enumerate() {
        for z in near(at / SIDE) {
            for x in near(at % SIDE) {
                peaks[z * across + x] = peaks[z * across + x].max(cell.height);
            }
        }
    }
    peaks
}

/// For each group of steps: the highest of the peaks it passes, for each block of columns it may be in, and two beside it,
/// which is as far as a line of sight goes aside within a group.
fn ridges(peaks: &[f32], steps: &[f32]) -> Vec<f32> {
    let across = SIDE / BLOCK;
    let mut ridges = Vec::with_capacity(steps.len().div_ceil(GROUP) * across);
    for group in steps.chunks(GROUP) {
        let rows = block(group[0], ORIGIN_Z)..=block(group[group.len() - 1], ORIGIN_Z);
        for x in 0..across {
            let columns = x.saturating_sub(2)..=(x + 2).min(across - 1);
            let blocks = rows.clone().flat_map(|row| peaks[row * across..][columns.clone()].iter());
            ridges.push(blocks.fold(0.0_f32, |highest, peak| highest.max(*peak)));
        }
    }
    ridges
}

/// Runs `paint` on each row of the map, on several threads.
fn rows(
    cells: &mut [Cell],
    threads: usize,
    halt: &Halt,
    paint: impl Fn(usize, &mut [Cell]) + Sync,
) -> Result<(), Error> {
    let share = SIDE.div_ceil(threads.max(1));
    std::thread::scope(|scope| {
        for (part, cells) in cells.chunks_mut(share * SIDE).enumerate() {
            let paint = &paint;
            scope.spawn(move || {
                for (row, line) in cells.chunks_exact_mut(SIDE).enumerate() {
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

/// Colours the map.
struct Painter<'a> {
    country: &'a Country,
    soil: Soil,
    light: &'a Light,
    bare: &'a Level,
    wide: &'a Level,
    /// -1 or 1: the side the light comes from.
    side: f32,
    scene: &'a Scene,
}

impl Painter<'_> {
    fn colour(&self, x: usize, z: usize) -> Rgb {
        let height = |x: usize, z: usize| self.bare.cells[z.min(SIDE - 1) * SIDE + x.min(SIDE - 1)].height;
        let here = height(x, z);
        if here < -2.0 {
            return Rgb::BLACK;
        }
        let dx = (height(x + 1, z) - height(x.saturating_sub(1), z)) / (2.0 * CELL);
        let dz = (height(x, z + 1) - height(x, z.saturating_sub(1))) / (2.0 * CELL);
        let up = 1.0 / (1.0 + dx * dx + dz * dz).sqrt();
        // The light stands to one side and a little before the eye: every slope gets shape, whatever the sun's place.
        let sun = normal(self.side * 0.80, 0.42, -0.36);
        let facing = ((-dx * sun.0 + sun.1 - dz * sun.2) * up).max(0.0);
        let shade = if facing > 0.0 { self.shade(x as f32, z as f32, here, sun) } else { 0.0 };
        let around = self.wide.sample(x as f32 / 16.0 - 0.47, z as f32 / 16.0 - 0.47).height;
        let open = (0.78 + (here - around) * 0.016).clamp(0.42, 1.1);
        let light = self.light.sun * (facing * shade) + self.light.ambient * (open * (0.55 + 0.45 * up));
        // A breath of light from the lit ground opposite.
        let bounce = self.light.sun * (0.07 * (1.0 - up) * open);
        self.surface(x as f32 * CELL + ORIGIN_X, z as f32 * CELL + ORIGIN_Z, here, up).tint(light + bounce)
    }

    /// How much of the light reaches this place: 0 in the shadow of another height.
    fn shade(&self, x: f32, z: f32, height: f32, sun: (f32, f32, f32)) -> f32 {
        let flat = (sun.0 * sun.0 + sun.2 * sun.2).sqrt();
        let (dx, dz, climb) = (sun.0 / flat, sun.2 / flat, sun.1 / flat * CELL);
        let mut shade = 1.0_f32;
        let mut far = 2.0_f32;
        for _ in 0..20 {
            let (px, pz) = (x + dx * far, z + dz * far);
            if px < 0.0 || pz < 0.0 || px >= SIDE as f32 - 1.0 || pz >= SIDE as f32 - 1.0 {
                break;
            }
            let above = height + climb * far - self.bare.cells[pz as usize * SIDE + px as usize].height;
            shade = shade.min(0.5 + above / (far * 0.11));
            if shade <= 0.0 {
                return 0.0;
            }
            far *= 1.24;
        }
        smooth(0.0, 1.0, shade)
    }

    /// What covers the ground, without light.
    fn surface(&self, x: f32, z: f32, height: f32, up: f32) -> Rgb {
        let (soil, noise) = (&self.soil, &self.country.noise);
        let grain = noise.layers(x * 0.22, z * 0.22, 4);
        let patch = noise.layers(x * 0.03 + 12.0, z * 0.03, 3);
        let mut colour = soil.rock.mix(soil.scree, smooth(0.35, 0.7, patch) * 0.8) * (0.72 + 0.56 * grain);
        if self.scene.ground == Ground::Desert {
            let bands = ((height * 0.42 + patch * 5.0).sin() * 0.5 + 0.5) * 0.35;
            colour = colour.mix(soil.plants[1], bands * smooth(0.95, 0.7, up));
        }
        let growth = smooth(0.60, 0.80, up + (grain - 0.5) * 0.3) * smooth(105.0, 55.0, height + (patch - 0.5) * 50.0);
        let growth = if self.scene.ground == Ground::Desert { smooth(0.75, 0.92, up) } else { growth };
        colour = colour.mix(soil.plants[0].mix(soil.plants[1], smooth(0.3, 0.7, patch)) * (0.75 + 0.5 * grain), growth);
        if self.scene.trees && growth > 0.0 && (1.0..85.0).contains(&height) {
            let wood = self.country.forest(x, z) * smooth(85.0, 50.0, height) * smooth(1.0, 5.0, height) * growth;
            colour = colour.mix(soil.trees[0].mix(soil.trees[1], grain) * (0.6 + 0.8 * grain), wood * 0.9);
        }
        // Lower than the lowest place the line can reach, nothing needs to be asked.
        if height > soil.snow_line - 43.0 {
            let line = soil.snow_line + (noise.layers(x * 0.02 + 8.0, z * 0.02 + 30.0, 5) - 0.5) * 70.0;
            let snow = smooth(line - 8.0, line + 26.0, height) * smooth(0.46, 0.68, up + (grain - 0.5) * 0.25);
            colour = colour.mix(soil.snow * (0.9 + 0.12 * grain), snow);
        }
        let beach = smooth(2.4, 0.9, height + (grain - 0.5) * 1.2);
        colour.mix(soil.shore * (0.55 + 0.5 * grain), if self.scene.water { beach } else { 0.0 })
    }
}

fn normal(x: f32, y: f32, z: f32) -> (f32, f32, f32) {
    let length = (x * x + y * y + z * z).sqrt();
    (x / length, y / length, z / length)
}

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

    fn clear(&mut self) {
        self.colour.fill(Rgb::BLACK);
        self.land.fill(0.0);
        self.water.fill(0.0);
        self.depth.fill(f32::INFINITY);
    }
}

/// What all columns share at one step.
struct Step {
    far: f32,
    /// Pixels per unit of height.
    scale: f32,
    /// Share of the view that is haze, and the same of fog where the ground is at zero.
    haze: f32,
    fog: f32,
    level: usize,
    /// Row of blocks in the map of peaks.
    peaks: usize,
    /// Group it belongs to.
    group: usize,
    z: f32,
}

impl Walk<'_> {
    /// Draws all land over the sky. `water` receives how much of each pixel is open water.
    pub(super) fn draw(&self, canvas: &mut Canvas, water: &mut [f32], halt: &Halt) -> Result<(), Error> {
        let (width, height) = (canvas.width, canvas.height);
        let (steps, hazes) = (self.steps(), self.sky.hazes(&self.view, width));
        let mut columns: [Column; COLUMNS] = std::array::from_fn(|_| Column::new(height));
        for first in (0..width).step_by(COLUMNS) {
            if first % 32 == 0 {
                halt.check()?;
            }
            let columns = &mut columns[..COLUMNS.min(width - first)];
            let mut top = height;
            for (x, column) in (first..).zip(columns.iter_mut()) {
                column.clear();
                top = top.min(self.walk(&steps, self.view.across(x as f32), hazes[x], column) as usize);
            }
            for y in top..height {
                for (x, column) in (first..).zip(columns.iter()) {
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

    fn steps(&self) -> Vec<Step> {
        let focal = self.view.focal;
        let step = |(number, depth): (usize, &f32)| {
            let far = depth - self.eye.z;
            let footprint = far / (focal * CELL);
            Step {
                far,
                scale: focal / far,
                haze: 1.0 - (-far / self.light.haze).exp(),
                fog: self.light.fog * (1.0 - (-far / 700.0).exp()),
                level: if footprint > 2.8 { 2 } else { usize::from(footprint > 1.4) },
                peaks: block(*depth, ORIGIN_Z) * (SIDE / BLOCK),
                group: number / GROUP,
                z: *depth,
            }
        };
        self.terrain.steps.iter().enumerate().map(step).filter(|step| step.far >= NEAR).collect()
    }

    /// From near to far along one column, filling whatever rises above all before it. Returns the highest row filled.
    fn walk(&self, steps: &[Step], across: f32, haze: Rgb, column: &mut Column) -> f32 {
        let horizon = self.view.horizon;
        let mut top = column.land.len() as f32;
        let mut before: Option<Rgb> = None;
        for group in steps.chunk_by(|a, b| a.group == b.group) {
            let (nearest, farthest) = (&group[0], &group[group.len() - 1]);
            let ceiling = self.terrain.highest - self.eye.y;
            if top <= 0.0 || horizon - top > ceiling * nearest.scale && ceiling >= 0.0 {
                break;
            }
            // Hidden when its highest ground, at the depth where that reaches highest, is.
            let middle = block(self.eye.x + across * (nearest.far + farthest.far) * 0.5, ORIGIN_X);
            let rise = self.terrain.ridges[nearest.group * (SIDE / BLOCK) + middle] - self.eye.y;
            if horizon - top >= rise * if rise > 0.0 { nearest.scale } else { farthest.scale } {
                before = None;
                continue;
            }
            for step in group {
                self.take(step, across, haze, column, &mut top, &mut before);
            }
        }
        top
    }

    /// One step of a column; `before` is the colour of the step before it, where it was seen.
    fn take(&self, step: &Step, across: f32, haze: Rgb, column: &mut Column, top: &mut f32, before: &mut Option<Rgb>) {
        let x = self.eye.x + across * step.far;
        let peak = self.terrain.peaks[step.peaks + block(x, ORIGIN_X)];
        let last = before.take();
        if self.view.horizon - *top >= (peak.max(0.0) - self.eye.y) * step.scale {
            return;
        }
        let lake = self.water && peak < 0.0;
        let cell =
            if lake { Cell { height: peak, ..Cell::default() } } else { self.terrain.sample(x, step.z, step.level) };
        let under = self.water && cell.height < 0.0;
        let rise = if under { 0.0 } else { cell.height } - self.eye.y;
        let row = (self.view.horizon - rise * step.scale).max(0.0);
        if row >= *top {
            return;
        }
        if under {
            // In the mirror the water itself is not seen.
            if self.eye.y > 0.0 {
                spread(&mut column.water, row, *top);
                *top = row;
            }
            return;
        }
        let colour = self.air(cell, step, haze);
        fill(column, row, *top, colour, last.unwrap_or(colour), step.far);
        (*before, *top) = (Some(colour), row);
    }

    /// Colour through the air between.
    fn air(&self, cell: Cell, step: &Step, haze: Rgb) -> Rgb {
        let fog = step.fog * (-cell.height.max(0.0) / 15.0).exp();
        let fog_colour = haze.mix(self.light.ambient, 0.25);
        cell.colour.mix(haze, step.haze).mix(fog_colour, fog.min(0.95))
    }
}

/// Adds the cover of rows between `from` and `to`.
fn spread(rows: &mut [f32], from: f32, to: f32) {
    for (row, cover) in rows.iter_mut().enumerate().take(to.ceil() as usize).skip(from as usize) {
        *cover += (to.min(row as f32 + 1.0) - from.max(row as f32)).max(0.0);
    }
}

/// Fills rows between `from` and `to`, from `colour` at the top to `below` at the bottom.
fn fill(column: &mut Column, from: f32, to: f32, colour: Rgb, below: Rgb, far: f32) {
    for row in from as usize..(to.ceil() as usize).min(column.land.len()) {
        let (upper, lower) = (from.max(row as f32), to.min(row as f32 + 1.0));
        let cover = (lower - upper).max(0.0);
        let part = ((upper + lower) * 0.5 - from) / (to - from);
        column.colour[row] += colour.mix(below, part) * cover;
        column.land[row] += cover;
        column.depth[row] = column.depth[row].min(far);
    }
}
