//! Water that mirrors: waves bend a picture of the country seen from below the surface.

use super::canvas::{BAND, Canvas};
use super::light::Light;
use super::sky::{Sky, View};
use super::terrain::Eye;
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::noise::Noise;
use crate::pool::Halt;

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

impl Surface<'_> {
    /// Draws water where `cover` says there is some.
    pub(super) fn draw(&self, canvas: &mut Canvas, cover: &[f32], time: f32, halt: &Halt) -> Result<(), Error> {
        let View { focal, horizon, .. } = self.view;
        let deep = self.water.deep.tint(self.light.ambient + self.light.sun * 0.35) + self.light.sky[3] * 0.02;
        let first = (horizon.max(0.0)) as usize;
        for y in first..canvas.height {
            if y % BAND == 0 {
                halt.check()?;
            }
            let down = ((y as f32 + 0.5 - horizon) / focal).max(0.0008);
            let far = (self.eye.y / down).min(6_000.0);
            let haze = (1.0 - (-far / self.light.haze).exp()) * 0.85;
            let fog = self.light.fog * (1.0 - (-far / 700.0).exp()) * 0.75;
            for x in 0..canvas.width {
                let part = cover[y * canvas.width + x].min(1.0);
                if part <= 0.0 {
                    continue;
                }
                let across = self.view.across(x as f32);
                let colour = self.colour(across, down, far, deep, time);
                let air = self.sky.haze(across);
                let pixel = &mut canvas.pixels[y * canvas.width + x];
                *pixel = pixel.mix(colour.mix(air, haze).mix(air, fog), part);
                canvas.depth[y * canvas.width + x] = far;
            }
        }
        Ok(())
    }

    /// Slope of the surface here, towards the right and away, and the share of it too fine to be drawn.
    fn slope(&self, x: f32, z: f32, far: f32, time: f32) -> (f32, f32, f32) {
        let time = time * self.water.speed;
        let (mut right, mut away, mut lost) = (0.0, 0.0, 0.0);
        for (scale, weight, way) in [(0.055, 0.55, 0.32), (0.17, 0.75, -0.55), (0.52, 0.62, 0.95)] {
            // A wave narrower than two pixels in depth is only shimmer; it goes into blur.
            let depth_pixel = far * far / (self.eye.y.max(1.0) * self.view.focal);
            let seen = smooth(0.9, 0.2, depth_pixel * scale);
            lost += weight * (1.0 - seen);
            if seen > 0.0 {
                // Longer across than along the view, as waves that come towards the eye.
                let (_, a, b) = self.water.noise.sloped(x * scale * 0.55 + time * way * 0.25, z * scale + time * way);
                right += a * weight * seen;
                away += b * weight * seen;
            }
        }
        (right, away, lost)
    }

    fn colour(&self, across: f32, down: f32, far: f32, deep: Rgb, time: f32) -> Rgb {
        let (x, z) = (self.eye.x + across * far, self.eye.z + far);
        let (right, away, lost) = self.slope(x, z, far, time);
        // Gusts: patches of rougher and stiller water.
        let gust = 0.35 + 1.3 * smooth(0.35, 0.7, self.water.noise.layers(x * 0.006 + time * 0.02, z * 0.011, 3));
        let rough = self.water.rough * gust;
        let (right, away) = (right * rough, away * rough);
        let up = (down + away * 2.0).abs();
        let blur = rough * (0.35 + lost) * 1.1;
        let mut seen = Rgb::BLACK;
        for (shift, weight) in [(-1.0, 0.25), (0.0, 0.5), (1.0, 0.25)] {
            let view = &self.mirror_view;
            let column = (across + right * 0.5 - view.pan) * view.focal + view.centre;
            let row = view.horizon - (up + shift * blur).abs() * view.focal;
            seen += self.mirror.sample(column, row) * weight;
        }
        let facing = (down + away).clamp(0.0, 1.0);
        let mirror = 0.10 + 0.86 * (1.0 - facing).powi(4);
        deep.mix(seen, mirror)
    }
}
