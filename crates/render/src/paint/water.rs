//! Water that mirrors: waves bend a picture of the country seen from below the surface.

use super::canvas::{BAND, Canvas};
use super::light::Light;
use super::sky::{Sky, View};
use super::walk::Eye;
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::noise::Noise;
use crate::pool::Halt;

/// Waves of one height together: how many a unit, weight, and units a second towards the eye.
const WAVES: [(f32, f32, f32); 3] = [(0.055, 0.55, 0.32), (0.17, 0.75, -0.55), (0.52, 0.62, 0.95)];
/// Gusts are wide: they are computed once per 4 pixels of a row.
const GUST_CELL: usize = 4;

/// The water of one film.
pub(super) struct Water {
    pub(super) noise: Noise,
    /// Colour of the depth.
    pub(super) deep: Rgb,
    /// Steepness of waves; 0.02 is a calm lake, 0.1 a sea.
    pub(super) rough: f32,
    /// How fast waves go.
    pub(super) speed: f32,
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
    down: f32,
    far: f32,
    deep: Rgb,
    time: f32,
    waves: ([(f32, f32, f32); WAVES.len()], f32),
}

impl Surface<'_> {
    /// Draws water where `cover` says there is some.
    pub(super) fn draw(&self, canvas: &mut Canvas, cover: &[f32], time: f32, halt: &Halt) -> Result<(), Error> {
        let View { focal, horizon, .. } = self.view;
        let deep = self.water.deep.tint(self.light.ambient + self.light.sun * 0.35) + self.light.sky[3] * 0.02;
        let airs = self.sky.hazes(&self.view, canvas.width);
        let mut gusts = vec![0.0; canvas.width.div_ceil(GUST_CELL) + 1];
        let first = (horizon.max(0.0)) as usize;
        for y in first..canvas.height {
            if y % BAND == 0 {
                halt.check()?;
            }
            let cover = &cover[y * canvas.width..][..canvas.width];
            if cover.iter().all(|part| *part <= 0.0) {
                continue;
            }
            let down = ((y as f32 + 0.5 - horizon) / focal).max(0.0008);
            let far = (self.eye.y / down).min(6_000.0);
            let haze = (1.0 - (-far / self.light.haze).exp()) * 0.85;
            let fog = self.light.fog * (1.0 - (-far / 700.0).exp()) * 0.75;
            let row = Row { down, far, deep, time, waves: self.waves(far) };
            for (cell, gust) in gusts.iter_mut().enumerate() {
                *gust = self.gust(self.view.across((cell * GUST_CELL) as f32), far, time);
            }
            for x in 0..canvas.width {
                let part = cover[x].min(1.0);
                if part <= 0.0 {
                    continue;
                }
                let (cell, between) = (x / GUST_CELL, (x % GUST_CELL) as f32 / GUST_CELL as f32);
                let gust = gusts[cell] + (gusts[cell + 1] - gusts[cell]) * between;
                let colour = self.colour(&row, self.view.across(x as f32), gust);
                let at = y * canvas.width + x;
                let colour = colour.mix(airs[x], haze).mix(airs[x], fog);
                canvas.pixels[at] = canvas.pixels[at].mix(colour, part);
                canvas.depth[at] = far;
            }
        }
        Ok(())
    }

    /// The waves that can be drawn this far away: scale, weight and way of each; and the share of those that cannot.
    fn waves(&self, far: f32) -> ([(f32, f32, f32); WAVES.len()], f32) {
        // A wave narrower than two pixels in depth is only shimmer; it goes into blur.
        let depth_pixel = far * far / (self.eye.y.max(1.0) * self.view.focal);
        let seen = |scale: f32| smooth(0.9, 0.2, depth_pixel * scale);
        let lost = WAVES.iter().map(|(scale, weight, _)| weight * (1.0 - seen(*scale))).sum();
        (WAVES.map(|(scale, weight, way)| (scale, weight * seen(scale), way)), lost)
    }

    /// Patches of rougher and stiller water.
    fn gust(&self, across: f32, far: f32, time: f32) -> f32 {
        let (x, z) = (self.eye.x + across * far, self.eye.z + far);
        0.35 + 1.3 * smooth(0.35, 0.7, self.water.noise.layers(x * 0.006 + time * 0.02, z * 0.011, 3))
    }

    fn colour(&self, row: &Row, across: f32, gust: f32) -> Rgb {
        let (x, z) = (self.eye.x + across * row.far, self.eye.z + row.far);
        let time = row.time * self.water.speed;
        let (mut right, mut away) = (0.0, 0.0);
        for (scale, weight, way) in row.waves.0 {
            if weight > 0.0 {
                // Longer across than along the view, as waves that come towards the eye.
                let (_, a, b) = self.water.noise.sloped(x * scale * 0.55 + time * way * 0.25, z * scale + time * way);
                right += a * weight;
                away += b * weight;
            }
        }
        let rough = self.water.rough * gust;
        let (right, away) = (right * rough, away * rough);
        let up = (row.down + away * 2.0).abs();
        let blur = rough * (0.35 + row.waves.1) * 1.1;
        let view = &self.mirror_view;
        let column = (across + right * 0.5 - view.pan) * view.focal + view.centre;
        let mut seen = Rgb::BLACK;
        for (shift, weight) in [(-1.0, 0.25), (0.0, 0.5), (1.0, 0.25)] {
            let row = view.horizon - (up + shift * blur).abs() * view.focal;
            seen += self.mirror.sample(column, row) * weight;
        }
        let facing = (row.down + away).clamp(0.0, 1.0);
        let still = (1.0 - facing) * (1.0 - facing);
        row.deep.mix(seen, 0.10 + 0.86 * still * still)
    }
}
