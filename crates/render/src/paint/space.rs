//! A planet before stars and clouds of gas.

use super::Painter;
use super::canvas::{BAND, Canvas, Stretch};
use super::finish::Finish;
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::frame::Frame;
use crate::lanes::{LANES, Lanes, Real};
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::request::Size;
use crate::scene::{Camera, Pace, Scene};
use crate::simd;

/// Gas is computed once per 4x4 pixels.
const CELL: usize = 4;
/// 1,600 stars over half again the picture.
const STARS: usize = 1_600;

/// Radii of the rings in those of the planet, and the steps at which their thickness is known: a fifth of a pixel.
const RINGS: (f32, f32) = (1.36, 2.27);
const RING_STEP: f32 = 0.0012;

struct Star {
    x: f32,
    y: f32,
    light: Rgb,
    far: f32,
    size: f32,
}

/// A ball; lengths are in heights of the picture, from its middle.
struct Ball {
    x: f32,
    y: f32,
    radius: f32,
    colours: [Rgb; 4],
    air: Rgb,
    bands: bool,
    tilt: f32,
    offset: f32,
}

struct Rings {
    /// How thick they are, from the inner to the outer edge and a little beyond.
    grains: Vec<f32>,
    inner: f32,
    outer: f32,
    /// How flat they look.
    flat: f32,
    tilt: f32,
    colour: Rgb,
}

pub(super) struct Space {
    noise: Noise,
    stars: Vec<Star>,
    gas: [Rgb; 3],
    planet: Ball,
    moon: Ball,
    rings: Option<Rings>,
    /// Clouds of gas are all there is to see.
    empty: bool,
    light: (f32, f32, f32),
    finish: Finish,
    drift: (f32, f32, f32),
}

/// How the camera moves: across, up and ahead, in picture heights a second.
fn drift(scene: &Scene) -> (f32, f32, f32) {
    let speed = match scene.pace {
        Pace::Calm => 0.7,
        Pace::Steady => 1.0,
        Pace::Fast => 2.2,
    };
    match scene.camera {
        Camera::Left => (0.022 * speed, 0.0, 0.0),
        Camera::Right => (-0.022 * speed, 0.0, 0.0),
        Camera::Rise => (0.0, 0.02 * speed, 0.0),
        Camera::Forward => (0.004 * speed, 0.0, 0.035 * speed),
    }
}

impl Space {
    pub(super) fn new(scene: &Scene) -> Self {
        let mut chance = Chance::new(scene.seed ^ 0x57a2);
        let stars = stars(&mut chance);
        let gas = chance.pick(&[
            [0xff5a7a, 0x6a3aff, 0x20b8e8],
            [0x20d8c0, 0x2a5aff, 0xc050ff],
            [0xff8a40, 0xd03a70, 0x5a30c0],
            [0x50a0ff, 0x8a40e0, 0xff6ab0],
        ]);
        let side = chance.pick(&[-1.0, 1.0]);
        let said = |word: &&str| scene.understood.contains(word);
        let gas_giants = ["saturn", "jupiter"].iter().any(said);
        let palettes = [
            ([0xe8c890, 0xb87a4a, 0xf4e4c0, 0x8a5030], 0xffd8a0, true),
            ([0x88a8d8, 0x4a6ab0, 0xc8dcf0, 0x2a3a80], 0x90c0ff, true),
            ([0x1a4a8a, 0x3a7a4a, 0x9a8a5a, 0xf0f4f8], 0x70b8ff, false),
            ([0xc05a38, 0x8a3a28, 0xe09060, 0xf0d0b0], 0xff9a70, false),
        ];
        let palette = chance.pick(if gas_giants { &palettes[..2] } else { &palettes[..] });
        let planet = Ball {
            x: side * chance.within(0.18, 0.38),
            y: chance.within(-0.03, 0.12),
            radius: chance.within(0.25, 0.33),
            colours: palette.0.map(Rgb::hex),
            air: Rgb::hex(palette.1),
            bands: palette.2,
            tilt: chance.within(-0.4, 0.4),
            offset: chance.within(0.0, 90.0),
        };
        let moon = Ball {
            x: -side * chance.within(0.30, 0.55),
            y: chance.within(-0.30, -0.12),
            radius: chance.within(0.035, 0.06),
            colours: [0x8a8680, 0x5a5854, 0xb8b2a8, 0xd8d4cc].map(Rgb::hex),
            air: Rgb::BLACK,
            bands: false,
            tilt: 0.0,
            offset: 50.0,
        };
        let noise = Noise::new(scene.seed ^ 0x6a5);
        let grain = |step: usize| noise.layers((RINGS.0 + step as f32 * RING_STEP) * 26.0, 7.5, 4);
        let rings = (palette.2 || scene.understood.contains(&"saturn")).then(|| Rings {
            grains: (0..((RINGS.1 - RINGS.0) / RING_STEP) as usize + 20).map(grain).collect(),
            inner: RINGS.0 + 0.02,
            outer: RINGS.1 - 0.02,
            flat: chance.within(0.18, 0.30),
            tilt: planet.tilt,
            colour: planet.colours[0].mix(planet.colours[2], 0.5),
        });
        Self {
            noise,
            // Words for planets come first in the vocabulary: with one of them none of these is heard.
            empty: ["nebula", "galaxy", "cosmos", "cosmic", "universe"].iter().any(said),
            stars,
            gas: gas.map(Rgb::hex),
            planet,
            moon,
            rings,
            light: (-side * 0.78, -0.42, 0.46),
            finish: Finish::new(1.05, 0.7),
            drift: drift(scene),
        }
    }

    fn paint_back(&self, canvas: &mut Canvas, time: f32, halt: &Halt) -> Result<(), Error> {
        let (width, height) = (canvas.width.div_ceil(CELL) + 1, canvas.height.div_ceil(CELL) + 1);
        let unit = canvas.height.min(canvas.width * 9 / 16) as f32;
        let mut coarse = Canvas::new(width, height);
        let zoom = 1.0 / (1.0 + self.drift.2 * time * 0.25);
        let (step, wide) = (CELL as f32 / unit * zoom, width.next_multiple_of(LANES));
        let (mut colours, mut clear) = (vec![Rgb::BLACK; wide], vec![0.0; wide]);
        for row in 0..height {
            halt.check()?;
            let left = -(canvas.width as f32) / 2.0 / unit * zoom - self.drift.0 * time * 0.2;
            let y = ((row * CELL) as f32 - canvas.height as f32 / 2.0) / unit * zoom - self.drift.1 * time * 0.2;
            simd::run(Gas { space: self, left, step, y, time, colours: &mut colours, clear: &mut clear });
            coarse.pixels[row * width..][..width].copy_from_slice(&colours[..width]);
            coarse.depth[row * width..][..width].copy_from_slice(&clear[..width]);
        }
        let mut stretch = Stretch::new(canvas.width, width, CELL);
        for (row, pixels) in canvas.pixels.chunks_exact_mut(canvas.width).enumerate() {
            coarse.stretched(row as f32 / CELL as f32, &mut stretch, pixels);
        }
        for star in &self.stars {
            let zoom = 1.0 + self.drift.2 * time * star.far;
            let x = (star.x + self.drift.0 * time * star.far) * zoom * unit + canvas.width as f32 / 2.0;
            let y = (star.y + self.drift.1 * time * star.far) * zoom * unit + canvas.height as f32 / 2.0;
            if x < 0.0 || y < 0.0 || x >= canvas.width as f32 || y >= canvas.height as f32 {
                continue;
            }
            let clear = coarse.depth[y as usize / CELL * width + x as usize / CELL];
            dot(canvas, x, y, (star.size * unit).max(0.55), star.light * clear);
        }
        Ok(())
    }

    /// Draws a ball over what is there.
    fn paint_ball(&self, canvas: &mut Canvas, ball: &Ball, time: f32, halt: &Halt) -> Result<(), Error> {
        let place = Place::of(canvas, ball, self.drift, time);
        let reach = place.radius * 1.35 + 2.0;
        let rows = (place.y - reach).max(0.0) as usize..((place.y + reach).max(0.0) as usize).min(canvas.height);
        let columns = (place.x - reach).max(0.0) as usize..((place.x + reach).max(0.0) as usize).min(canvas.width);
        for row in rows {
            if row % BAND == 0 {
                halt.check()?;
            }
            let pixels = &mut canvas.pixels[row * canvas.width..][columns.clone()];
            simd::run(Disc { space: self, ball, place: &place, time, row, first: columns.start, pixels });
        }
        Ok(())
    }

    /// The half of the rings behind the planet, or the half before it.
    fn paint_rings(&self, canvas: &mut Canvas, rings: &Rings, before: bool, time: f32) {
        let place = Place::of(canvas, &self.planet, self.drift, time);
        let reach = rings.outer * place.radius + 2.0;
        let (turn, lift) = (rings.tilt.cos(), rings.tilt.sin());
        for row in (place.y - reach).max(0.0) as usize..((place.y + reach).max(0.0) as usize).min(canvas.height) {
            for column in (place.x - reach).max(0.0) as usize..((place.x + reach).max(0.0) as usize).min(canvas.width) {
                let (dx, dy) = ((column as f32 - place.x) / place.radius, (row as f32 - place.y) / place.radius);
                let (rx, ry) = (dx * turn + dy * lift, (dy * turn - dx * lift) / rings.flat);
                let far = (rx * rx + ry * ry).sqrt();
                if (ry > 0.0) != before || far < rings.inner - 0.02 || far > rings.outer + 0.02 {
                    continue;
                }
                let ends = smooth(rings.inner, rings.inner + 0.05, far) * smooth(rings.outer, rings.outer - 0.08, far);
                let at = (far - RINGS.0).max(0.0) * (1.0 / RING_STEP);
                let (step, part) = (at as usize, at.fract());
                let grain = rings.grains[step] + (rings.grains[step + 1] - rings.grains[step]) * part;
                let gap = 1.0 - 0.9 * smooth(0.035, 0.012, (far - 1.92).abs());
                let cover = ends * gap * (0.25 + 0.75 * smooth(0.25, 0.7, grain));
                // The planet's shadow lies on the side away from the light.
                let along = rx * self.light.0 + ry * self.light.1 * rings.flat;
                let beside = (rx * self.light.1 * rings.flat - ry * self.light.0).abs();
                let shadow = if along < 0.0 { smooth(0.85, 1.05, beside) } else { 1.0 };
                let pixel = &mut canvas.pixels[row * canvas.width + column];
                *pixel = pixel.mix(rings.colour * (0.9 * shadow + 0.02) * (0.55 + 0.6 * grain), cover * 0.85);
            }
        }
    }
}

/// Clouds of gas along one row of cells, and how much of the stars they leave.
struct Gas<'a> {
    space: &'a Space,
    left: f32,
    step: f32,
    y: f32,
    time: f32,
    colours: &'a mut [Rgb],
    clear: &'a mut [f32],
}

impl simd::Kernel for Gas<'_> {
    #[inline(always)]
    fn run(self) {
        let (noise, gas, slow) = (&self.space.noise, &self.space.gas, self.time * 0.006);
        let y = Lanes::of(self.y);
        let outs = self.colours.chunks_exact_mut(LANES).zip(self.clear.chunks_exact_mut(LANES));
        for (group, (colours, clear)) in outs.enumerate() {
            let x = Lanes::counting(self.left + (group * LANES) as f32 * self.step, self.step);
            let wx = noise.layers(x * 1.3 + 3.0, y * 1.3 + slow, 4) - 0.5;
            let wy = noise.layers(x * 1.3 + (50.0 - slow), y * 1.3 + 20.0, 4) - 0.5;
            let (px, py) = (x * 1.5 + wx * 2.2, y * 1.5 + wy * 2.2);
            let body = noise.layers(px + 7.0, py + 2.0, 6);
            let aside = y * 0.8 + x * 0.45 + wx * 0.7;
            let band = (aside * aside * -3.0).power_of_e();
            // Where there is nothing else the gas reaches farther and glows from within.
            let (thin, full) = if self.space.empty { (0.33, 0.80) } else { (0.38, 0.85) };
            let thick = (body * (band * 0.55 + 0.62)).smooth(thin, full);
            let dust = noise.layers(px * 1.9 + 30.0, py * 1.9 + 11.0, 5).smooth(0.50, 0.72) * band;
            let hue = noise.layers(px * 0.7 + 90.0, py * 0.7 + 40.0, 3);
            let (first, last) = (hue.smooth(0.42, 0.66), hue.smooth(0.52, 0.36) * 0.8);
            let left = (-dust * 0.8 + 1.0) * (-thick * 0.4 + 1.0);
            clear.copy_from_slice(&left.0);
            let (glow, white) =
                (thick * thick * 1.1 + band * 0.06 + 0.006, thick * thick * thick * thick * thick * 0.35);
            let shown = -dust * 0.75 + 1.0;
            for (lane, out) in colours.iter_mut().enumerate() {
                let colour = gas[1].mix(gas[0], first.0[lane]).mix(gas[2], last.0[lane]);
                *out = (colour * glow.0[lane] + Rgb::WHITE * white.0[lane]) * shown.0[lane];
            }
        }
    }
}

/// One row of a ball and the air around it, over what is there.
struct Disc<'a> {
    space: &'a Space,
    ball: &'a Ball,
    place: &'a Place,
    time: f32,
    row: usize,
    first: usize,
    pixels: &'a mut [Rgb],
}

impl simd::Kernel for Disc<'_> {
    #[inline(always)]
    fn run(mut self) {
        let (place, light) = (self.place, self.space.light);
        let unit = 1.0 / place.radius;
        let y = Lanes::of((self.row as f32 - place.y) * unit);
        for (group, pixels) in std::mem::take(&mut self.pixels).chunks_mut(LANES).enumerate() {
            let x = Lanes::counting(((self.first + group * LANES) as f32 - place.x) * unit, unit);
            let far = (x * x + y * y).root();
            if !far.any(|far| far < 1.35) {
                continue;
            }
            let cover = ((-far + 1.0) * place.radius + 0.5).at_least(0.0).at_most(1.0);
            let toward = ((x * light.0 + y * light.1) / far.at_least(0.3)).smooth(-0.35, 1.0);
            let halo = ((far - 1.0).at_least(0.0) * -16.0).power_of_e() * 0.55 * toward;
            let skin = if cover.any(|cover| cover > 0.0) { self.skin(x, y) } else { [Rgb::BLACK; LANES] };
            for (lane, pixel) in pixels.iter_mut().enumerate() {
                if cover.0[lane] < 1.0 {
                    *pixel += self.ball.air * halo.0[lane];
                }
                *pixel = pixel.mix(skin[lane], cover.0[lane]);
            }
        }
    }
}

impl Disc<'_> {
    /// What a ball looks like at eight places on its disc.
    #[inline(always)]
    fn skin(&self, x: Lanes, y: Lanes) -> [Rgb; LANES] {
        let (ball, light) = (self.ball, self.space.light);
        let up = (-(x * x + y * y).at_most(1.0) + 1.0).root();
        let (turn, lift) = (ball.tilt.cos(), ball.tilt.sin());
        let (sx, sy) = (x * turn + y * lift, y * turn - x * lift);
        let across = up.at_least(1e-3);
        let around = (sx / (sx * sx + across * across).root()).arc() + self.time * 0.05;
        let height = sy.at_least(-1.0).at_most(1.0).arc();
        let mut skin = if ball.bands { self.bands(around, height) } else { self.land(around, height) };
        let facing = x * light.0 + y * light.1 + up * light.2;
        let lit = facing.smooth(-0.12, 1.0) * 1.9 + 0.004;
        // Air brightens the lit edge.
        let thin = -up + 1.0;
        let edge = thin * thin * thin * facing.smooth(-0.2, 0.7) * 0.9;
        for (lane, colour) in skin.iter_mut().enumerate() {
            *colour = *colour * lit.0[lane] + ball.air * edge.0[lane];
        }
        skin
    }

    /// Bands of cloud.
    #[inline(always)]
    fn bands(&self, around: Lanes, height: Lanes) -> [Rgb; LANES] {
        let (noise, colours, offset) = (&self.space.noise, &self.ball.colours, self.ball.offset);
        let swirl = noise.layers(around * 3.0 + offset, height * 9.0, 5) - 0.5;
        let fine = noise.layers(around * 7.0 + offset, height * 30.0 + swirl * 6.0, 4) - 0.5;
        let band = noise.layers(Lanes::of(offset), (height + swirl * 0.10) * 7.0 + 30.0, 3) + fine * 0.22;
        let (first, second, third) = (band.smooth(0.30, 0.55), band.smooth(0.52, 0.72), band.smooth(0.36, 0.24) * 0.7);
        let mut skin = [Rgb::BLACK; LANES];
        for (lane, colour) in skin.iter_mut().enumerate() {
            let base = colours[1].mix(colours[0], first.0[lane]);
            *colour = base.mix(colours[2], second.0[lane]).mix(colours[3], third.0[lane]);
        }
        skin
    }

    /// Land, seas and clouds.
    #[inline(always)]
    fn land(&self, around: Lanes, height: Lanes) -> [Rgb; LANES] {
        let (noise, colours, offset) = (&self.space.noise, &self.ball.colours, self.ball.offset);
        // Bent, so that coasts do not follow the noise's own lattice.
        let bend = noise.layers(around * 3.1 + offset, height * 3.1 + 33.0, 4) - 0.5;
        let land = noise.layers(around * 2.2 + bend * 1.6 + offset, height * 2.2 - bend * 1.2 + 9.0, 7);
        let fine = noise.layers(around * 5.0 + bend * 5.0 + offset, height * 5.0 + bend * 3.0, 6);
        let cloud_across = around * 3.4 + bend * 3.0 + (offset + self.time * 0.02);
        let cloud = noise.layers(cloud_across, height * 6.0 + bend * 2.0 + 60.0, 6);
        let (ground, coast, cloud) =
            (fine.smooth(0.38, 0.66), land.smooth(0.50, 0.54), cloud.smooth(0.52, 0.74) * 0.85);
        let mut skin = [Rgb::BLACK; LANES];
        for (lane, colour) in skin.iter_mut().enumerate() {
            let dry = colours[1].mix(colours[2], ground.0[lane]);
            *colour = colours[0].mix(dry, coast.0[lane]).mix(colours[3], cloud.0[lane]);
        }
        skin
    }
}

fn stars(chance: &mut Chance) -> Vec<Star> {
    (0..STARS)
        .map(|_| {
            let bright = chance.unit().powi(7);
            let colour = Rgb::hex(0xaec8ff).mix(Rgb::hex(0xffd8b0), chance.unit());
            Star {
                x: chance.within(-1.35, 1.35),
                y: chance.within(-0.8, 0.8),
                light: colour * (0.08 + 3.0 * bright),
                far: chance.within(0.15, 0.5),
                size: 0.0011 + 0.0012 * bright,
            }
        })
        .collect()
}

/// Where a ball lies on the sheet.
struct Place {
    x: f32,
    y: f32,
    radius: f32,
}

impl Place {
    fn of(canvas: &Canvas, ball: &Ball, drift: (f32, f32, f32), time: f32) -> Self {
        let unit = canvas.height.min(canvas.width * 9 / 16) as f32;
        // Eases out, so that the longest film still shows the planet.
        let time = 9.0 * (1.0 - (-time / 9.0).exp());
        let zoom = 1.0 + drift.2 * time;
        Self {
            x: (ball.x + drift.0 * time) * zoom * unit + canvas.width as f32 / 2.0,
            y: (ball.y + drift.1 * time) * zoom * unit + canvas.height as f32 / 2.0,
            radius: ball.radius * zoom * unit,
        }
    }
}

fn dot(canvas: &mut Canvas, x: f32, y: f32, size: f32, light: Rgb) {
    let reach = (size * 2.6).ceil() as i32;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let (px, py) = (x as i32 + dx, y as i32 + dy);
            if px >= 0 && py >= 0 && px < canvas.width as i32 && py < canvas.height as i32 {
                let (fx, fy) = (px as f32 + 0.5 - x, py as f32 + 0.5 - y);
                canvas.pixels[py as usize * canvas.width + px as usize] +=
                    light * (-(fx * fx + fy * fy) / (size * size)).exp();
            }
        }
    }
}

impl Painter for Space {
    fn paint(&self, size: Size, time: f32, halt: &Halt) -> Result<Frame, Error> {
        let mut canvas = Canvas::of(size);
        self.paint_back(&mut canvas, time, halt)?;
        if self.empty {
            return self.finish.frame(&canvas, halt);
        }
        self.paint_ball(&mut canvas, &self.moon, time, halt)?;
        if let Some(rings) = &self.rings {
            self.paint_rings(&mut canvas, rings, false, time);
        }
        self.paint_ball(&mut canvas, &self.planet, time, halt)?;
        if let Some(rings) = &self.rings {
            self.paint_rings(&mut canvas, rings, true, time);
        }
        self.finish.frame(&canvas, halt)
    }
}
