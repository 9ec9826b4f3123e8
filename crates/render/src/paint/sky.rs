//! Sky: gradient, glow, clouds, northern lights, stars and the disc. Smooth parts are computed at a quarter of the size.

use super::canvas::{BAND, Canvas};
use super::light::Light;
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::scene::{Hour, Scene};

/// Smooth parts are computed once per 4x4 pixels.
const CELL: usize = 4;
/// 900 stars over a view twice as wide as the picture.
const STARS: usize = 900;

/// Where the eye looks: everything is a slope, across and up, from the middle of the horizon.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Pixels per unit of slope.
    pub(super) focal: f32,
    /// Column of the middle.
    pub(super) centre: f32,
    /// Row of the horizon.
    pub(super) horizon: f32,
    /// Slope the view is turned to the right.
    pub(super) pan: f32,
}

impl View {
    pub(super) fn across(&self, x: f32) -> f32 {
        (x - self.centre) / self.focal + self.pan
    }

    pub(super) fn up(&self, y: f32) -> f32 {
        (self.horizon - y) / self.focal
    }

    /// The view of a sheet `times` smaller.
    pub(super) fn smaller(&self, times: f32) -> Self {
        let shrink = |pixel: f32| (pixel + 0.5) / times - 0.5;
        Self { focal: self.focal / times, centre: shrink(self.centre), horizon: shrink(self.horizon), pan: self.pan }
    }
}

struct Star {
    across: f32,
    up: f32,
    light: Rgb,
    phase: f32,
}

/// The sky of one film.
pub(super) struct Sky {
    light: Light,
    noise: Noise,
    stars: Vec<Star>,
    /// Slope of the disc to the right of the middle.
    pub(super) sun_across: f32,
    moon: bool,
    aurora: bool,
    aurora_colours: [Rgb; 3],
    drift: f32,
}

impl Sky {
    pub(super) fn new(scene: &Scene, light: &Light, drift: f32) -> Self {
        let mut chance = Chance::new(scene.seed ^ 0x5317);
        let side = chance.pick(&[-1.0, 1.0]);
        let sun_across = side * chance.within(0.06, 0.30);
        let stars: Vec<Star> = (0..STARS)
            .map(|_| {
                let bright = chance.unit().powi(5);
                let warm = chance.unit();
                let colour = Rgb::hex(0xbcd0ff).mix(Rgb::hex(0xffe2c0), warm);
                Star {
                    across: chance.within(-1.3, 1.3),
                    up: chance.unit().powf(0.8) * 1.2,
                    light: colour * (0.10 + 1.9 * bright),
                    phase: chance.unit() * 6.3,
                }
            })
            .collect();
        let aurora_colours = chance.pick(&[
            [Rgb::hex(0x2bff9a), Rgb::hex(0x20c8c0), Rgb::hex(0x9a50ff)],
            [Rgb::hex(0x40ff80), Rgb::hex(0x30e0b0), Rgb::hex(0xff4fa0)],
            [Rgb::hex(0x30f0c0), Rgb::hex(0x3090ff), Rgb::hex(0xb060ff)],
        ]);
        Self {
            light: light.clone(),
            noise: Noise::new(scene.seed ^ 0xc10d),
            stars,
            sun_across,
            moon: scene.hour == Hour::Night,
            aurora: scene.aurora,
            aurora_colours,
            drift,
        }
    }

    /// Clear air in this direction, with `glow` of the light around the disc.
    fn air(&self, across: f32, up: f32, glow: f32) -> Rgb {
        let at = (up.max(0.0) / 0.62).min(1.0).powf(0.72) * 4.0;
        let step = (at as usize).min(3);
        let part = at - step as f32;
        let part = part * part * (3.0 - 2.0 * part) * 0.5 + part * 0.5;
        let base = self.light.sky[step].mix(self.light.sky[step + 1], part);
        let (dx, dy) = (across - self.sun_across, up - self.light.elevation);
        // Wider than high near the horizon, as light through thick air is.
        let far = (dx * dx * 0.55 + dy * dy).sqrt();
        base + self.light.halo * glow * (0.55 * (-far * 5.0).exp() + 0.55 * (-far * 17.0).exp())
    }

    /// The colour distance fades to in this direction.
    pub(super) fn haze(&self, across: f32) -> Rgb {
        // Less glow than the sky itself: haze lies before the light, not around it.
        self.air(across, 0.02, 0.4).mix(self.air(across, 0.14, 0.4), 0.5)
    }

    /// [`Sky::haze`] of every column of a sheet.
    pub(super) fn hazes(&self, view: &View, width: usize) -> Vec<Rgb> {
        (0..width).map(|x| self.haze(view.across(x as f32))).collect()
    }

    /// Fills the sheet from the top to the horizon, and a little below.
    pub(super) fn paint(&self, canvas: &mut Canvas, view: &View, time: f32, halt: &Halt) -> Result<(), Error> {
        let rows = ((view.horizon.max(0.0) as usize) + CELL * 2).min(canvas.height);
        let (width, height) = (canvas.width.div_ceil(CELL) + 1, rows.div_ceil(CELL) + 1);
        let mut coarse = Canvas::new(width, height);
        for row in 0..height {
            if row % 4 == 0 {
                halt.check()?;
            }
            let up = view.up(row as f32 * CELL as f32);
            for column in 0..width {
                let across = view.across(column as f32 * CELL as f32);
                let (colour, clear) = self.smooth_part(across, up, time);
                coarse.pixels[row * width + column] = colour;
                coarse.depth[row * width + column] = clear;
            }
        }
        let mut line = vec![Rgb::BLACK; width];
        for row in 0..rows {
            if row % BAND == 0 {
                halt.check()?;
            }
            let pixels = &mut canvas.pixels[row * canvas.width..][..canvas.width];
            coarse.stretched(row as f32 / CELL as f32, CELL, 0.0, &mut line, pixels);
        }
        self.paint_stars(canvas, &coarse, view, time);
        self.paint_disc(canvas, &coarse, view);
        Ok(())
    }

    /// Gradient, aurora and clouds, and how much of what lies behind shows through.
    fn smooth_part(&self, across: f32, up: f32, time: f32) -> (Rgb, f32) {
        let air = self.air(across, up, 1.0);
        let mut colour = air;
        if self.aurora {
            colour += self.lights(across, up, time);
        }
        let (density, lit) = self.cloud(across, up, time);
        if density <= 0.0 {
            return (colour, 1.0);
        }
        let (dx, dy) = (across - self.sun_across, up - self.light.elevation);
        let near = (-(dx * dx + dy * dy) * 7.0).exp();
        let bright = self.light.clouds[0] + self.light.halo * (0.9 * near);
        let cloud = self.light.clouds[1].mix(bright, lit);
        // Low clouds take the colour of the air before them.
        let cloud = air.mix(cloud, smooth(-0.02, 0.22, up) * 0.75 + 0.2);
        (colour.mix(cloud, density), 1.0 - density)
    }

    /// Density and how much light reaches it.
    fn cloud(&self, across: f32, up: f32, time: f32) -> (f32, f32) {
        let fade = smooth(0.0, 0.10, up);
        if fade <= 0.0 {
            return (0.0, 0.0);
        }
        let far = 1.0 / (up + 0.16);
        let (x, y) = (across * far * 1.15 + time * 0.018 * self.drift, far * 1.9 + time * 0.006 * self.drift);
        let thickness = |x: f32, y: f32, octaves: u32| {
            let bend = self.noise.layers(x * 0.8 + 9.1, y * 0.8 - time * 0.01 * self.drift, 3) - 0.5;
            self.noise.layers(x + bend * 1.7, y + bend * 1.1, octaves)
        };
        let here = thickness(x, y, 5);
        let edge = 0.78 - 0.52 * self.light.cover;
        let density = smooth(edge, edge + 0.30, here) * fade * 0.94;
        if density <= 0.002 {
            return (0.0, 0.0);
        }
        let toward = (self.sun_across - across).clamp(-0.5, 0.5);
        let beyond = thickness(x + toward * 0.5, y - 0.22, 3);
        let lit = (0.62 + (here - beyond) * 2.6 - density * 0.30).clamp(0.0, 1.0);
        (density, lit)
    }

    /// Northern lights: three folded bands, each with rays above a sharp lower edge.
    fn lights(&self, across: f32, up: f32, time: f32) -> Rgb {
        let mut sum = Rgb::BLACK;
        for (band, (base, strength)) in [(0.20, 1.0), (0.30, 0.7), (0.13, 0.45)].into_iter().enumerate() {
            let shift = band as f32 * 37.7;
            let slow = time * 0.05 * self.drift;
            let wave = self.noise.layers(across * 1.3 + shift + slow * 0.6, shift + slow, 3) - 0.5;
            let fold = self.noise.value(across * 4.0 + shift - slow, shift * 2.0 + slow * 1.5) - 0.5;
            let height = up - (base + wave * 0.34 + fold * 0.035 + across * 0.05 * (1.0 - band as f32));
            let rays = self.noise.layers(across * 16.0 + wave * 7.0 + shift, slow * 1.4 + shift, 2);
            let rays = 0.45 + 1.1 * rays * rays;
            let patch = smooth(0.25, 0.62, self.noise.value(across * 1.1 - slow * 1.2 + shift, 3.3 + slow * 0.8));
            let tall = 0.10 + 0.16 * rays;
            let body = if height > 0.0 { (-height / tall).exp() * smooth(0.0, 0.03, height) } else { 0.0 };
            let foot = (-(height / 0.022).powi(2)).exp() * 0.55;
            let part = (height / 0.24).clamp(0.0, 1.0);
            let colour = self.aurora_colours[0].mix(self.aurora_colours[1], (part * 2.0).min(1.0));
            let colour = colour.mix(self.aurora_colours[2], smooth(0.35, 1.0, part));
            sum += colour * ((body * rays + foot * rays) * patch * strength * 0.36);
        }
        sum * smooth(0.0, 0.07, up)
    }

    fn paint_stars(&self, canvas: &mut Canvas, coarse: &Canvas, view: &View, time: f32) {
        if self.light.stars <= 0.01 {
            return;
        }
        // A star has a size on the sky, so that it does not fade on a finer sheet.
        let reach = (view.focal * 0.00105).clamp(0.55, 3.0);
        for star in &self.stars {
            let x = (star.across - view.pan * 0.9) * view.focal + view.centre;
            let y = view.horizon - star.up * view.focal;
            if x < 2.0 || y < 2.0 || x >= canvas.width as f32 - 3.0 || y >= view.horizon.min(canvas.height as f32 - 3.0)
            {
                continue;
            }
            let clear = coarse.depth[(y as usize / CELL) * coarse.width + x as usize / CELL];
            let twinkle = 0.8 + 0.2 * (star.phase + time * 2.2).sin();
            let low = smooth(0.0, 0.2, star.up);
            let light = star.light * (self.light.stars * clear * clear * twinkle * low);
            let box_reach = (reach * 2.5).ceil() as i32;
            for dy in -box_reach..=box_reach {
                for dx in -box_reach..=box_reach {
                    let (px, py) = (x.floor() as i32 + dx, y.floor() as i32 + dy);
                    if px < 0 || py < 0 || px >= canvas.width as i32 || py >= canvas.height as i32 {
                        continue;
                    }
                    let (fx, fy) = (px as f32 + 0.5 - x, py as f32 + 0.5 - y);
                    let bell = (-(fx * fx + fy * fy) / (reach * reach)).exp();
                    canvas.pixels[py as usize * canvas.width + px as usize] += light * bell;
                }
            }
        }
    }

    fn paint_disc(&self, canvas: &mut Canvas, coarse: &Canvas, view: &View) {
        let radius = self.light.radius * view.focal;
        if radius <= 0.0 {
            return;
        }
        let x = (self.sun_across - view.pan) * view.focal + view.centre;
        let y = view.horizon - self.light.elevation * view.focal;
        let rows = (y - radius - 2.0).max(0.0) as usize..((y + radius + 3.0).max(0.0) as usize).min(canvas.height);
        for row in rows {
            for column in (x - radius - 2.0).max(0.0) as usize..((x + radius + 3.0).max(0.0) as usize).min(canvas.width)
            {
                let (dx, dy) = (column as f32 - x, row as f32 - y);
                let cover = (radius - (dx * dx + dy * dy).sqrt() + 0.5).clamp(0.0, 1.0);
                let at = (row / CELL).min(coarse.height - 1) * coarse.width + column / CELL;
                let mut disc = self.light.disc;
                if self.moon {
                    let seas = self.noise.layers(dx / radius * 1.6 + 40.0, dy / radius * 1.6 + 40.0, 4);
                    disc = disc * (0.62 + 0.5 * smooth(0.35, 0.6, seas));
                }
                let pixel = &mut canvas.pixels[row * canvas.width + column];
                *pixel = pixel.mix(disc, cover * coarse.depth[at].powi(2));
            }
        }
    }
}
