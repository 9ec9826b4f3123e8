//! A planet before stars and clouds of gas.

use super::Painter;
use super::canvas::{BAND, Canvas, Finish};
use crate::colour::{Rgb, smooth};
use crate::error::Error;
use crate::frame::Frame;
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::request::Size;
use crate::scene::{Camera, Pace, Scene};

/// Gas is computed once per 4x4 pixels.
const CELL: usize = 4;
/// 1,600 stars over half again the picture.
const STARS: usize = 1_600;

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
    light: (f32, f32, f32),
    finish: Finish,
    drift: (f32, f32, f32),
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
        let gas_giants = ["saturn", "jupiter"].iter().any(|word| scene.understood.contains(word));
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
        let rings = (palette.2 || scene.understood.contains(&"saturn")).then(|| Rings {
            inner: 1.38,
            outer: 2.25,
            flat: chance.within(0.18, 0.30),
            tilt: planet.tilt,
            colour: planet.colours[0].mix(planet.colours[2], 0.5),
        });
        let speed = match scene.pace {
            Pace::Calm => 0.7,
            Pace::Steady => 1.0,
            Pace::Fast => 2.2,
        };
        let drift = match scene.camera {
            Camera::Left => (0.022 * speed, 0.0, 0.0),
            Camera::Right => (-0.022 * speed, 0.0, 0.0),
            Camera::Rise => (0.0, 0.02 * speed, 0.0),
            Camera::Forward => (0.004 * speed, 0.0, 0.035 * speed),
        };
        Self {
            noise: Noise::new(scene.seed ^ 0x6a5),
            stars,
            gas: gas.map(Rgb::hex),
            planet,
            moon,
            rings,
            light: (-side * 0.78, -0.42, 0.46),
            finish: Finish::new(1.05, 0.7),
            drift,
        }
    }

    /// Clouds of gas and how much of the stars they hide.
    fn gas_at(&self, x: f32, y: f32, time: f32) -> (Rgb, f32) {
        let noise = &self.noise;
        let slow = time * 0.006;
        let (wx, wy) = (
            noise.layers(x * 1.3 + 3.0, y * 1.3 + slow, 4) - 0.5,
            noise.layers(x * 1.3 + 50.0 - slow, y * 1.3 + 20.0, 4) - 0.5,
        );
        let (px, py) = (x * 1.5 + wx * 2.2, y * 1.5 + wy * 2.2);
        let body = noise.layers(px + 7.0, py + 2.0, 6);
        let band = (-(y * 0.8 + x * 0.45 + wx * 0.7).powi(2) * 3.0).exp();
        let thick = smooth(0.38, 0.85, body * (0.62 + 0.55 * band));
        let dust = smooth(0.50, 0.72, noise.layers(px * 1.9 + 30.0, py * 1.9 + 11.0, 5)) * band;
        let hue = noise.layers(px * 0.7 + 90.0, py * 0.7 + 40.0, 3);
        let colour =
            self.gas[1].mix(self.gas[0], smooth(0.42, 0.66, hue)).mix(self.gas[2], smooth(0.52, 0.36, hue) * 0.8);
        let glow = colour * (thick * thick * 1.1 + 0.06 * band + 0.006) + Rgb::WHITE * (thick.powi(5) * 0.35);
        (glow * (1.0 - dust * 0.75), (1.0 - dust * 0.8) * (1.0 - thick * 0.4))
    }

    fn paint_back(&self, canvas: &mut Canvas, time: f32, halt: &Halt) -> Result<(), Error> {
        let (width, height) = (canvas.width.div_ceil(CELL) + 1, canvas.height.div_ceil(CELL) + 1);
        let unit = canvas.height.min(canvas.width * 9 / 16) as f32;
        let mut coarse = Canvas::new(width, height);
        let zoom = 1.0 / (1.0 + self.drift.2 * time * 0.25);
        for row in 0..height {
            halt.check()?;
            for column in 0..width {
                let x = ((column * CELL) as f32 - canvas.width as f32 / 2.0) / unit * zoom - self.drift.0 * time * 0.2;
                let y = ((row * CELL) as f32 - canvas.height as f32 / 2.0) / unit * zoom - self.drift.1 * time * 0.2;
                let (colour, clear) = self.gas_at(x, y, time);
                (coarse.pixels[row * width + column], coarse.depth[row * width + column]) = (colour, clear);
            }
        }
        let mut line = vec![Rgb::BLACK; width];
        for (row, pixels) in canvas.pixels.chunks_exact_mut(canvas.width).enumerate() {
            coarse.stretched(row as f32 / CELL as f32, CELL, 0.0, &mut line, pixels);
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
        for row in rows {
            if row % BAND == 0 {
                halt.check()?;
            }
            for column in (place.x - reach).max(0.0) as usize..((place.x + reach).max(0.0) as usize).min(canvas.width) {
                let (dx, dy) = ((column as f32 - place.x) / place.radius, (row as f32 - place.y) / place.radius);
                let far = (dx * dx + dy * dy).sqrt();
                let pixel = &mut canvas.pixels[row * canvas.width + column];
                let cover = ((1.0 - far) * place.radius + 0.5).clamp(0.0, 1.0);
                let toward = (dx * self.light.0 + dy * self.light.1) / far.max(0.3);
                if cover < 1.0 {
                    *pixel += ball.air * ((-(far - 1.0).max(0.0) * 16.0).exp() * 0.55 * smooth(-0.35, 1.0, toward));
                }
                if cover > 0.0 {
                    *pixel = pixel.mix(self.skin(ball, dx, dy, time), cover);
                }
            }
        }
        Ok(())
    }

    /// What a ball looks like at a place on its disc.
    fn skin(&self, ball: &Ball, dx: f32, dy: f32, time: f32) -> Rgb {
        let up = (1.0 - (dx * dx + dy * dy).min(1.0)).sqrt();
        let (turn, lift) = (ball.tilt.cos(), ball.tilt.sin());
        let (sx, sy) = (dx * turn + dy * lift, dy * turn - dx * lift);
        let around = sx.atan2(up.max(1e-3)) + time * 0.05;
        let height = sy.clamp(-1.0, 1.0).asin();
        let noise = &self.noise;
        let base = if ball.bands {
            let swirl = noise.layers(around * 3.0 + ball.offset, height * 9.0, 5) - 0.5;
            let fine = noise.layers(around * 7.0 + ball.offset, height * 30.0 + swirl * 6.0, 4) - 0.5;
            let band = noise.layers(ball.offset, (height + swirl * 0.10) * 7.0 + 30.0, 3) + fine * 0.22;
            let colour = ball.colours[1].mix(ball.colours[0], smooth(0.30, 0.55, band));
            colour.mix(ball.colours[2], smooth(0.52, 0.72, band)).mix(ball.colours[3], smooth(0.36, 0.24, band) * 0.7)
        } else {
            // Bent, so that coasts do not follow the noise's own lattice.
            let bend = noise.layers(around * 3.1 + ball.offset, height * 3.1 + 33.0, 4) - 0.5;
            let land = noise.layers(around * 2.2 + bend * 1.6 + ball.offset, height * 2.2 - bend * 1.2 + 9.0, 7);
            let fine = noise.layers(around * 5.0 + bend * 5.0 + ball.offset, height * 5.0 + bend * 3.0, 6);
            let ground = ball.colours[1].mix(ball.colours[2], smooth(0.38, 0.66, fine));
            let colour = ball.colours[0].mix(ground, smooth(0.50, 0.54, land));
            let cloud = noise.layers(
                around * 3.4 + bend * 3.0 + ball.offset + time * 0.02,
                height * 6.0 + bend * 2.0 + 60.0,
                6,
            );
            colour.mix(ball.colours[3], smooth(0.52, 0.74, cloud) * 0.85)
        };
        let facing = dx * self.light.0 + dy * self.light.1 + up * self.light.2;
        let lit = smooth(-0.12, 1.0, facing) * 1.9;
        // Air brightens the lit edge.
        let edge = (1.0 - up).powi(3) * smooth(-0.2, 0.7, facing);
        base * (lit + 0.004) + ball.air * (edge * 0.9)
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
                let grain = self.noise.layers(far * 26.0, 7.5, 4);
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
