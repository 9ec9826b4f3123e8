//! What falls: rain and snow before the whole picture.

use super::canvas::Canvas;
use crate::colour::Rgb;
use crate::prompt::Chance;
use crate::scene::Weather;

struct Drop {
    x: f32,
    y: f32,
    /// 0 far, 1 near.
    near: f32,
    phase: f32,
}

/// Drops or flakes of one film, none in dry weather.
pub(super) struct Fall {
    drops: Vec<Drop>,
    snow: bool,
    light: Rgb,
}

impl Fall {
    pub(super) fn new(weather: Weather, seed: u64, light: Rgb) -> Self {
        let count = match weather {
            Weather::Rain => 1_100,
            Weather::Snow => 650,
            _ => 0,
        };
        let mut chance = Chance::new(seed ^ 0xfa11);
        let drops = (0..count).map(|_| Drop {
            x: chance.unit(),
            y: chance.unit(),
            near: chance.unit().powi(2),
            phase: chance.unit() * 6.3,
        });
        Self { drops: drops.collect(), snow: weather == Weather::Snow, light }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, time: f32) {
        let scale = (canvas.height as f32 * canvas.width as f32).sqrt() / 640.0;
        for drop in &self.drops {
            let (speed, slant) =
                if self.snow { (0.10 + 0.16 * drop.near, 0.05) } else { (1.5 + 1.2 * drop.near, 0.14) };
            let sway = if self.snow { (time * 1.1 + drop.phase).sin() * 0.012 } else { 0.0 };
            let y = (drop.y + time * speed).fract() * 1.2 - 0.1;
            let x = (drop.x + sway + time * speed * slant).fract() * 1.1 - 0.05;
            let (x, y) = (x * canvas.width as f32, y * canvas.height as f32);
            if self.snow {
                self.flake(canvas, x, y, (0.7 + 2.3 * drop.near) * scale, 0.30 + 0.4 * drop.near);
            } else {
                let long = (12.0 + 34.0 * drop.near) * scale;
                self.streak(
                    canvas,
                    (x, y),
                    long,
                    slant * canvas.width as f32 / canvas.height as f32,
                    (0.6 + 0.6 * drop.near) * scale,
                    0.12 + 0.20 * drop.near,
                );
            }
        }
    }

    fn flake(&self, canvas: &mut Canvas, x: f32, y: f32, radius: f32, strength: f32) {
        let reach = (radius * 1.8).ceil() as i32;
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let (px, py) = (x as i32 + dx, y as i32 + dy);
                if px >= 0 && py >= 0 && px < canvas.width as i32 && py < canvas.height as i32 {
                    let (fx, fy) = (px as f32 + 0.5 - x, py as f32 + 0.5 - y);
                    let bell = (-(fx * fx + fy * fy) / (radius * radius)).exp() * strength;
                    let pixel = &mut canvas.pixels[py as usize * canvas.width + px as usize];
                    *pixel = pixel.mix(self.light, bell);
                }
            }
        }
    }

    fn streak(&self, canvas: &mut Canvas, (x, y): (f32, f32), long: f32, slant: f32, wide: f32, strength: f32) {
        for step in 0..long as i32 {
            let row = y as i32 - step;
            let middle = x - step as f32 * slant;
            let part = 1.0 - (step as f32 / long * 2.0 - 1.0).abs();
            for column in (middle - wide).floor() as i32..=(middle + wide).ceil() as i32 {
                if row >= 0 && column >= 0 && row < canvas.height as i32 && column < canvas.width as i32 {
                    let cover = (wide + 0.5 - (column as f32 + 0.5 - middle).abs()).clamp(0.0, 1.0);
                    let pixel = &mut canvas.pixels[row as usize * canvas.width + column as usize];
                    *pixel = pixel.mix(self.light, cover * part * strength);
                }
            }
        }
    }
}
