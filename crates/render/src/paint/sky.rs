//! Sky: gradient, glow, clouds, northern lights, stars and the disc. Smooth parts are computed at a quarter of the size.

use super::canvas::{BAND, Canvas, Stretch};
use super::light::Light;
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::lanes::{LANES, Lanes, Real};
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::scene::{Hour, Scene};
use crate::simd;

/// Smooth parts are computed once per 4x4 pixels.
const CELL: usize = 4;
/// 900 stars over a view twice as wide as the picture.
const STARS: usize = 900;

/// Haze has the colours of the sky at these two heights.
const HAZE_UP: [f32; 2] = [0.02, 0.14];

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

    /// Air at this height, without what glows around the disc.
    fn gradient(&self, up: f32) -> Rgb {
        let at = (up.max(0.0) / 0.62).min(1.0).powf(0.72) * 4.0;
        let step = (at as usize).min(3);
        let part = at - step as f32;
        let part = part * part * (3.0 - 2.0 * part) * 0.5 + part * 0.5;
        self.light.sky[step].mix(self.light.sky[step + 1], part)
    }

    /// How strongly the air glows in this direction.
    #[inline(always)]
    fn halo<R: Real>(&self, across: R, up: f32) -> R {
        let (dx, dy) = (across - self.sun_across, up - self.light.elevation);
        // Wider than high near the horizon, as light through thick air is.
        let far = (dx * dx * 0.55 + dy * dy).root();
        (far * -5.0).power_of_e() * 0.55 + (far * -17.0).power_of_e() * 0.55
    }

    /// The colour distance fades to in this direction.
    pub(super) fn haze(&self, across: f32) -> Rgb {
        self.hazy(self.far_air(), across)
    }

    /// [`Sky::haze`] of every column of a sheet.
    pub(super) fn hazes(&self, view: &View, width: usize) -> Vec<Rgb> {
        let air = self.far_air();
        (0..width).map(|x| self.hazy(air, view.across(x as f32))).collect()
    }

    /// Clear air close above the horizon, without glow.
    fn far_air(&self) -> Rgb {
        self.gradient(HAZE_UP[0]).mix(self.gradient(HAZE_UP[1]), 0.5)
    }

    fn hazy(&self, air: Rgb, across: f32) -> Rgb {
        // Less glow than the sky itself: haze lies before the light, not around it.
        air + self.light.halo * (0.2 * (self.halo(across, HAZE_UP[0]) + self.halo(across, HAZE_UP[1])))
    }

    /// Fills the sheet from the top to the horizon, and a little below.
    pub(super) fn paint(&self, canvas: &mut Canvas, view: &View, time: f32, halt: &Halt) -> Result<(), Error> {
        let rows = ((view.horizon.max(0.0) as usize) + CELL * 2).min(canvas.height);
        let (width, height) = (canvas.width.div_ceil(CELL) + 1, rows.div_ceil(CELL) + 1);
        let mut coarse = Canvas::new(width, height);
        let wide = width.next_multiple_of(LANES);
        let (mut colours, mut clear) = (vec![Rgb::BLACK; wide], vec![1.0; wide]);
        for row in 0..height {
            if row % 4 == 0 {
                halt.check()?;
            }
            let (across, step) = (view.across(0.0), CELL as f32 / view.focal);
            let up = view.up(row as f32 * CELL as f32);
            simd::run(Smooth { sky: self, across, step, up, time, colours: &mut colours, clear: &mut clear });
            coarse.pixels[row * width..][..width].copy_from_slice(&colours[..width]);
            coarse.depth[row * width..][..width].copy_from_slice(&clear[..width]);
        }
        let mut stretch = Stretch::new(canvas.width, width, CELL);
        for row in 0..rows {
            if row % BAND == 0 {
                halt.check()?;
            }
            let pixels = &mut canvas.pixels[row * canvas.width..][..canvas.width];
            coarse.stretched(row as f32 / CELL as f32, &mut stretch, pixels);
        }
        self.paint_stars(canvas, &coarse, view, time);
        self.paint_disc(canvas, &coarse, view);
        Ok(())
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

/// Gradient, aurora and clouds of one row of cells, and how much of what lies behind shows through.
struct Smooth<'a> {
    sky: &'a Sky,
    across: f32,
    step: f32,
    up: f32,
    time: f32,
    colours: &'a mut [Rgb],
    clear: &'a mut [f32],
}

impl simd::Kernel for Smooth<'_> {
    #[inline(always)]
    fn run(mut self) {
        let (sky, light, up) = (self.sky, &self.sky.light, self.up);
        let (gradient, low) = (sky.gradient(up), smooth(-0.02, 0.22, up) * 0.75 + 0.2);
        let (colours, clear) = (std::mem::take(&mut self.colours), std::mem::take(&mut self.clear));
        let outs = colours.chunks_exact_mut(LANES).zip(clear.chunks_exact_mut(LANES));
        for (group, (colours, clear)) in outs.enumerate() {
            let across = Lanes::counting(self.across + (group * LANES) as f32 * self.step, self.step);
            let halo = sky.halo(across, up);
            let lights = if sky.aurora { self.lights(across) } else { [Rgb::BLACK; LANES] };
            let (density, lit) = self.cloud(across);
            let (dx, dy) = (across - sky.sun_across, up - light.elevation);
            let near = ((dx * dx + dy * dy) * -7.0).power_of_e() * 0.9;
            for lane in 0..LANES {
                let air = gradient + light.halo * halo.0[lane];
                let bright = light.clouds[0] + light.halo * near.0[lane];
                // Low clouds take the colour of the air before them.
                let cloud = air.mix(light.clouds[1].mix(bright, lit.0[lane]), low);
                colours[lane] = (air + lights[lane]).mix(cloud, density.0[lane]);
                clear[lane] = 1.0 - density.0[lane];
            }
        }
    }
}

impl Smooth<'_> {
    /// Density of clouds and how much light reaches them.
    #[inline(always)]
    fn cloud(&self, across: Lanes) -> (Lanes, Lanes) {
        let (sky, time, none) = (self.sky, self.time, Lanes::of(0.0));
        let fade = smooth(0.0, 0.10, self.up);
        if fade <= 0.0 {
            return (none, none);
        }
        let far = 1.0 / (self.up + 0.16);
        let (x, y) = (across * (far * 1.15) + time * 0.018 * sky.drift, far * 1.9 + time * 0.006 * sky.drift);
        let here = self.thickness(x, y, 5);
        let edge = 0.78 - 0.52 * sky.light.cover;
        let density = here.smooth(edge, edge + 0.30) * (fade * 0.94);
        if !density.any(|density| density > 0.002) {
            return (none, none);
        }
        let toward = (-across + sky.sun_across).at_least(-0.5).at_most(0.5);
        let beyond = self.thickness(x + toward * 0.5, y - 0.22, 3);
        let lit = ((here - beyond) * 2.6 - density * 0.30 + 0.62).at_least(0.0).at_most(1.0);
        (density, lit)
    }

    /// Clouds in a plane above.
    #[inline(always)]
    fn thickness(&self, x: Lanes, y: f32, octaves: u32) -> Lanes {
        let (noise, y) = (&self.sky.noise, Lanes::of(y));
        let bend = noise.layers(x * 0.8 + 9.1, y * 0.8 - self.time * 0.01 * self.sky.drift, 3) - 0.5;
        noise.layers(x + bend * 1.7, y + bend * 1.1, octaves)
    }

    /// Northern lights: three folded bands, each with rays above a sharp lower edge.
    #[inline(always)]
    fn lights(&self, across: Lanes) -> [Rgb; LANES] {
        let (noise, colours, up) = (&self.sky.noise, &self.sky.aurora_colours, self.up);
        let mut sums = [Rgb::BLACK; LANES];
        let low = smooth(0.0, 0.07, up) * 0.46;
        for (band, (base, strength)) in (0_u8..).zip([(0.20, 1.0), (0.30, 0.7), (0.13, 0.45)]) {
            let shift = f32::from(band) * 37.7;
            let slow = self.time * 0.05 * self.sky.drift;
            let wave = noise.layers(across * 1.3 + (shift + slow * 0.6), Lanes::of(shift + slow), 3) - 0.5;
            let fold = noise.value(across * 4.0 + (shift - slow), Lanes::of(shift * 2.0 + slow * 1.5)) - 0.5;
            let slant = 0.05 * (1.0 - f32::from(band));
            let height = -(wave * 0.34 + fold * 0.035 + across * slant + (base - up));
            let rays = noise.layers(across * 16.0 + wave * 7.0 + shift, Lanes::of(slow * 1.4 + shift), 2);
            let rays = rays * rays * 1.1 + 0.45;
            let patch =
                noise.value(across * 1.1 + (shift - slow * 1.2), Lanes::of(3.3 + slow * 0.8)).smooth(0.25, 0.62);
            let tall = rays * 0.16 + 0.10;
            // Nothing below the edge: there it is zero.
            let body = (-height / tall).at_most(0.0).power_of_e() * height.smooth(0.0, 0.03);
            let edge = height * (1.0 / 0.022);
            let foot = (-(edge * edge)).power_of_e() * 0.55;
            let strong = (body + foot) * rays * patch * (strength * low);
            let part = (height * (1.0 / 0.24)).at_least(0.0).at_most(1.0);
            let (middle, top) = ((part * 2.0).at_most(1.0), part.smooth(0.35, 1.0));
            for (lane, sum) in sums.iter_mut().enumerate() {
                let colour = colours[0].mix(colours[1], middle.0[lane]).mix(colours[2], top.0[lane]);
                *sum += colour * strong.0[lane];
            }
        }
        sums
    }
}
