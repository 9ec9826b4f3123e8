//! What covers the land and how it is lit: rock, growth, snow, shores; slopes, shadows and light from the sky. Owns the
//! colours of the map, once a film.

use super::country::Country;
use super::light::{Light, Soil};
use super::terrain::{CELL, Heights, ORIGIN_X, ORIGIN_Z, SIDE};
use crate::colour::{Rgb, smooth};
use crate::lanes::{LANES, Lanes, Real};
use crate::scene::{self, Scene};
use crate::simd;

/// Steps towards the light that are looked at for what stands before it, each a quarter longer: 170 cells in all.
const SHADE_STEPS: usize = 20;

/// Colours the map.
pub(super) struct Ground<'a> {
    country: &'a Country,
    soil: Soil,
    light: &'a Light,
    heights: &'a Heights,
    wide: &'a Heights,
    /// Where the light stands, a unit away: to one side and a little before the eye, so that every slope gets shape,
    /// whatever the sun's place.
    sun: (f32, f32, f32),
    kind: scene::Ground,
    trees: bool,
    water: bool,
}

/// What noise says about eight places.
struct Grown {
    grain: Lanes,
    patch: Lanes,
    forest: Lanes,
    snow: Lanes,
}

/// How eight places lie.
struct Lie {
    height: Lanes,
    /// 1 where the ground is flat.
    up: Lanes,
    /// How much it turns to the light, and how much of that reaches it.
    facing: Lanes,
    shade: Lanes,
}

impl<'a> Ground<'a> {
    /// `side` is -1 or 1: where the light comes from.
    pub(super) fn new(
        country: &'a Country,
        scene: &Scene,
        light: &'a Light,
        side: f32,
        heights: &'a Heights,
        wide: &'a Heights,
    ) -> Self {
        Self {
            country,
            soil: Soil::of(scene),
            light,
            heights,
            wide,
            sun: normal(side * 0.80, 0.42, -0.36),
            kind: scene.ground,
            trees: scene.trees,
            water: scene.water,
        }
    }

    /// Colours one row of the map, with the heights carried along.
    pub(super) fn paint(&self, z: usize, columns: std::ops::Range<usize>, line: &mut [Rgb]) {
        simd::run(Row { ground: self, z, columns, line });
    }

    /// The heights of eight neighbours; beyond the edge its own go on.
    #[inline(always)]
    fn heights(&self, x: isize, z: usize) -> Lanes {
        let row = &self.heights.values[z.min(SIDE - 1) * SIDE..][..SIDE];
        match usize::try_from(x).ok().and_then(|x| row.get(x..x + LANES)?.try_into().ok()) {
            Some(values) => Lanes(values),
            None => Lanes(std::array::from_fn(|lane| row[(x + lane as isize).clamp(0, SIDE as isize - 1) as usize])),
        }
    }

    #[inline(always)]
    fn lie(&self, x: usize, z: usize) -> Lie {
        let (sun, column) = (self.sun, x as isize);
        let height = self.heights(column, z);
        let dx = (self.heights(column + 1, z) - self.heights(column - 1, z)) * (0.5 / CELL);
        let dz = (self.heights(column, z + 1) - self.heights(column, z.saturating_sub(1))) * (0.5 / CELL);
        let up = Lanes::of(1.0) / (dx * dx + dz * dz + 1.0).root();
        let facing = ((dx * -sun.0 - dz * sun.2 + sun.1) * up).at_least(0.0);
        Lie { height, up, facing, shade: self.shade(column, z, height) }
    }

    /// How much of the light reaches these places: 0 in the shadow of another height.
    #[inline(always)]
    fn shade(&self, x: isize, z: usize, height: Lanes) -> Lanes {
        let sun = self.sun;
        let flat = (sun.0 * sun.0 + sun.2 * sun.2).sqrt();
        let (dx, dz, climb) = (sun.0 / flat, sun.2 / flat, sun.1 / flat * CELL);
        let mut shade = Lanes::of(1.0);
        let mut far = 2.0_f32;
        for _ in 0..SHADE_STEPS {
            let row = z as f32 + dz * far;
            if row < 0.0 || row >= SIDE as f32 - 1.0 || !shade.any(|shade| shade > 0.0) {
                break;
            }
            // All eight look as far aside: their neighbours there are neighbours too.
            let above = height + climb * far - self.heights(x + (dx * far).floor() as isize, row as usize);
            shade = shade.lesser(above * (1.0 / (far * 0.11)) + 0.5);
            far *= 1.24;
        }
        shade.smooth(0.0, 1.0)
    }

    #[inline(always)]
    fn grown(&self, x: Lanes, z: Lanes, height: Lanes) -> Grown {
        let noise = &self.country.noise;
        // Lower than the lowest place the line can reach, nothing needs to be asked.
        let snow = height.any(|height| height > self.soil.snow_line - 43.0);
        let forest = self.trees && height.any(|height| (1.0..85.0).contains(&height));
        Grown {
            grain: noise.layers(x * 0.22, z * 0.22, 4),
            patch: noise.layers(x * 0.03 + 12.0, z * 0.03, 3),
            forest: if forest { self.country.forest(x, z) } else { Lanes::of(0.0) },
            snow: if snow { noise.layers(x * 0.02 + 8.0, z * 0.02 + 30.0, 5) } else { Lanes::of(0.5) },
        }
    }

    /// What covers one of eight places, without light.
    #[inline(always)]
    fn surface(&self, grown: &Grown, lie: &Lie, lane: usize) -> Rgb {
        let soil = &self.soil;
        let (height, up) = (lie.height.0[lane], lie.up.0[lane]);
        let (grain, patch) = (grown.grain.0[lane], grown.patch.0[lane]);
        let desert = self.kind == scene::Ground::Desert;
        let mut colour = soil.rock.mix(soil.scree, smooth(0.35, 0.7, patch) * 0.8) * (0.72 + 0.56 * grain);
        if desert {
            let bands = ((height * 0.42 + patch * 5.0).wave() * 0.5 + 0.5) * 0.35;
            colour = colour.mix(soil.plants[1], bands * smooth(0.95, 0.7, up));
        }
        let growth = if desert {
            smooth(0.75, 0.92, up)
        } else {
            smooth(0.60, 0.80, up + (grain - 0.5) * 0.3) * smooth(105.0, 55.0, height + (patch - 0.5) * 50.0)
        };
        colour = colour.mix(soil.plants[0].mix(soil.plants[1], smooth(0.3, 0.7, patch)) * (0.75 + 0.5 * grain), growth);
        if self.trees && growth > 0.0 && (1.0..85.0).contains(&height) {
            let wood = grown.forest.0[lane] * smooth(85.0, 50.0, height) * smooth(1.0, 5.0, height) * growth;
            colour = colour.mix(soil.trees[0].mix(soil.trees[1], grain) * (0.6 + 0.8 * grain), wood * 0.9);
        }
        if height > soil.snow_line - 43.0 {
            let line = soil.snow_line + (grown.snow.0[lane] - 0.5) * 70.0;
            let snow = smooth(line - 8.0, line + 26.0, height) * smooth(0.46, 0.68, up + (grain - 0.5) * 0.25);
            colour = colour.mix(soil.snow * (0.9 + 0.12 * grain), snow);
        }
        let beach = if self.water { smooth(2.4, 0.9, height + (grain - 0.5) * 1.2) } else { 0.0 };
        colour.mix(soil.shore * (0.55 + 0.5 * grain), beach)
    }

    /// The light on one of eight places.
    #[inline(always)]
    fn lit(&self, lie: &Lie, lane: usize, around: f32) -> Rgb {
        let up = lie.up.0[lane];
        let open = (0.78 + (lie.height.0[lane] - around) * 0.016).clamp(0.42, 1.1);
        // Direct, from the whole sky, and a breath of light from the lit ground opposite.
        self.light.sun * (lie.facing.0[lane] * lie.shade.0[lane])
            + self.light.ambient * (open * (0.55 + 0.45 * up))
            + self.light.sun * (0.07 * (1.0 - up) * open)
    }
}

/// One row of the map.
struct Row<'a> {
    ground: &'a Ground<'a>,
    z: usize,
    columns: std::ops::Range<usize>,
    line: &'a mut [Rgb],
}

impl simd::Kernel for Row<'_> {
    #[inline(always)]
    fn run(self) {
        let (ground, z) = (self.ground, self.z);
        let away = Lanes::of(z as f32 * CELL + ORIGIN_Z);
        for x in self.columns.step_by(LANES) {
            let lie = ground.lie(x, z);
            let deep = !lie.height.any(|height| height >= -2.0);
            if deep {
                for (cell, height) in self.line[x..x + LANES].iter_mut().zip(lie.height.0) {
                    *cell = Rgb::BLACK.carrying(height);
                }
                continue;
            }
            let grown = ground.grown(Lanes::counting(x as f32 * CELL + ORIGIN_X, CELL), away, lie.height);
            for lane in 0..LANES {
                let around = ground.wide.sample((x + lane) as f32 / 16.0 - 0.47, z as f32 / 16.0 - 0.47);
                let colour = ground.surface(&grown, &lie, lane).tint(ground.lit(&lie, lane, around));
                self.line[x + lane] = colour.carrying(lie.height.0[lane]);
            }
        }
    }
}

fn normal(x: f32, y: f32, z: f32) -> (f32, f32, f32) {
    let length = (x * x + y * y + z * z).sqrt();
    (x / length, y / length, z / length)
}
