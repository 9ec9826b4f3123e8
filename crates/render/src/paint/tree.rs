//! Trees: where they stand, and how one looks.

use super::canvas::Canvas;
use super::country::Country;
use super::light::{Light, Soil};
use super::sky::{Sky, View};
use super::terrain::Terrain;
use super::walk::Eye;
use crate::colour::{Rgb, smooth};
use crate::lanes::{self, Real};
use crate::prompt::Chance;
use crate::scene::{Ground, Scene};

/// 2,600 trees: a full shore and the slopes behind it. Drawing them takes a few milliseconds at 480p.
const TREES_MAX: usize = 2_600;
/// Beyond this a tree is smaller than three pixels and the ground's own colour does.
const FAR: f32 = 560.0;

struct Tree {
    x: f32,
    z: f32,
    ground: f32,
    height: f32,
    radius: f32,
    colour: Rgb,
    tiers: f32,
    phase: f32,
    round: bool,
}

/// All trees of one film, far ones first.
pub(super) struct Wood {
    trees: Vec<Tree>,
    snow: f32,
    side: f32,
}

impl Wood {
    pub(super) fn new(country: &Country, terrain: &Terrain, scene: &Scene, side: f32) -> Self {
        let soil = Soil::of(scene);
        let mut chance = Chance::new(scene.seed ^ 0x7ee5);
        let mut trees = Vec::new();
        let leafy = match scene.ground {
            Ground::Autumn => 0.55,
            Ground::Forest => 0.35,
            _ => 0.0,
        };
        for _ in 0..if scene.trees { 26_000 } else { 0 } {
            let (x, z) = (chance.within(-420.0, 420.0), chance.within(60.0, FAR));
            let (thick, tall, tone, kind) = (chance.unit(), chance.unit(), chance.unit(), chance.unit());
            let (tiers, phase) = (chance.within(5.0, 9.0), chance.unit());
            let ground = terrain.height(x, z);
            // Thickest along the shore, thinner where the ground climbs.
            let likely = country.forest(x, z) * smooth(80.0, 30.0, ground) + 0.12 * smooth(14.0, 3.0, ground);
            if ground < 1.1 || thick > likely || trees.len() >= TREES_MAX {
                continue;
            }
            let round = kind < leafy;
            let height = if round { 5.0 + 4.5 * tall } else { 6.0 + 9.0 * tall * tall + 2.0 * tone };
            let radius = height * if round { 0.36 } else { 0.17 + 0.05 * tone };
            let colour = soil.trees[0].mix(soil.trees[1], tone) * (0.75 + 0.5 * thick);
            trees.push(Tree { x, z, ground, height, radius, colour, tiers, phase, round });
        }
        trees.sort_by(|a, b| b.z.total_cmp(&a.z));
        Self { trees, snow: if scene.ground == Ground::Arctic { 0.75 } else { 0.0 }, side }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, view: &View, eye: Eye, sky: &Sky, light: &Light) {
        let hazes = sky.hazes(view, canvas.width);
        for tree in &self.trees {
            let far = tree.z - eye.z;
            if far < 12.0 {
                continue;
            }
            let scale = view.focal / far;
            let height = tree.height * scale;
            let x = view.centre + ((tree.x - eye.x) / far - view.pan) * view.focal;
            if x < -height || x > canvas.width as f32 + height || height < 1.2 {
                continue;
            }
            let base = view.horizon - (tree.ground - 0.4 - eye.y) * scale;
            let haze_colour = hazes[(x.max(0.0) as usize).min(canvas.width - 1)];
            let haze = 1.0 - (-far / light.haze).exp();
            let fog = light.fog * (-tree.ground.max(0.0) / 15.0).exp() * (1.0 - (-far / 700.0).exp());
            let air = |colour: Rgb| colour.mix(haze_colour, haze).mix(haze_colour, (fog * 0.8).min(0.9));
            self.draw_one(canvas, tree, (x, base, scale), far, &air, light);
        }
    }

    fn draw_one(
        &self,
        canvas: &mut Canvas,
        tree: &Tree,
        (x, base, scale): (f32, f32, f32),
        far: f32,
        air: &dyn Fn(Rgb) -> Rgb,
        light: &Light,
    ) {
        let (height, radius) = (tree.height * scale, tree.radius * scale);
        let bright = light.sun.tint(tree.colour) * 0.62 + light.ambient.tint(tree.colour) * 0.8;
        let dark = light.ambient.tint(tree.colour) * 0.62;
        let snow = light.sun * 0.5 + light.ambient * 0.8;
        let (bright, dark, snow) = (air(bright), air(dark), air(snow));
        let (top, depth) = (base - height, far - 5.0);
        // Tiers thinner than two pixels are only noise, and noise cannot be followed from picture to picture.
        let detail = smooth(1.6, 3.6, height / tree.tiers);
        let widest = (x - radius * 1.05 - 1.0).max(0.0) as usize
            ..((x + radius * 1.05 + 2.0).max(0.0) as usize).min(canvas.width);
        for row in top.floor().max(0.0) as usize..(base.ceil().max(0.0) as usize).min(canvas.height) {
            // Most trees stand behind others or behind a hill.
            if widest.is_empty() || canvas.hides_all(row, widest.clone(), depth) {
                continue;
            }
            let part = ((row as f32 + 0.5 - top) / height).clamp(0.0, 1.0);
            let ends = (row as f32 + 1.0 - top).min(base - row as f32).clamp(0.0, 1.0);
            let tier = 0.55 + ((part * tree.tiers + tree.phase).fract() - 0.55) * detail;
            let half = if tree.round {
                let around = ((part - 0.42) / 0.46).clamp(-1.0, 1.0);
                let crown = radius
                    * (1.0 - around * around).sqrt()
                    * (0.86 + 0.14 * lanes::sin(part * 23.0 + tree.phase * 9.0));
                crown.max(if part > 0.8 { radius * 0.10 } else { 0.0 })
            } else if part > 0.94 {
                radius * 0.14
            } else {
                radius * (0.04 + 0.96 * (0.25 * part.sqrt() + 0.75 * part)) * (0.62 + 0.38 * tier)
            };
            let middle = x + lanes::sin(part * 17.0 + tree.phase * 40.0) * radius * 0.05;
            let across = self.side / half.max(0.5);
            let lean = (0.5 - tier) * 0.8;
            let snow_part = self.snow * smooth(0.55, 0.95, tier);
            let columns =
                (middle - half - 1.0).max(0.0) as usize..((middle + half + 2.0).max(0.0) as usize).min(canvas.width);
            for (column, pixel, seen) in canvas.line(row, columns) {
                let side = column as f32 + 0.5 - middle;
                let cover = (half - side.abs() + 0.5).clamp(0.0, 1.0).min(half * 2.0) * ends;
                if cover <= 0.0 || depth > *seen {
                    continue;
                }
                let turned = side * across;
                let mut colour = dark.mix(bright, (turned + lean).smooth(-0.9, 1.0));
                if snow_part > 0.0 {
                    colour = colour.mix(snow, snow_part * turned.smooth(-0.8, 0.6));
                }
                *pixel = pixel.mix(colour, cover);
                if cover > 0.5 {
                    *seen = depth;
                }
            }
        }
    }
}
