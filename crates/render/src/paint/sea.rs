//! Open water to the horizon, and a boat on it.

use super::Painter;
use super::canvas::Canvas;
use super::fall::Fall;
use super::finish::Finish;
use super::light::{Light, Soil};
use super::sky::{Sky, View};
use super::swell::Swell;
use super::walk::Eye;
use super::water::{Surface, Water};
use crate::colour::Rgb;
use crate::error::Error;
use crate::frame::Frame;
use crate::noise::Noise;
use crate::pool::Halt;
use crate::prompt::Chance;
use crate::request::Size;
use crate::scene::{Camera, Hour, Pace, Scene, Weather};

const EYE_HEIGHT: f32 = 6.5;

struct Boat {
    x: f32,
    z: f32,
    length: f32,
    speed: f32,
}

pub(super) struct Sea {
    light: Light,
    sky: Sky,
    water: Water,
    fall: Fall,
    finish: Finish,
    boats: Vec<Boat>,
    camera: Camera,
    speed: f32,
    swell: f32,
}

impl Sea {
    pub(super) fn new(scene: &Scene) -> Self {
        let mut light = Light::of(scene);
        light.cover += 0.10; // Over the sea the sky is most of the picture.
        if scene.hour != Hour::Day {
            light.elevation = light.elevation.min(0.16);
        }
        let storm = ["storm", "stormy", "thunder", "blizzard"].iter().any(|word| scene.understood.contains(word));
        if storm {
            light.storm();
        }
        let speed = match scene.pace {
            Pace::Calm => 0.8,
            Pace::Steady => 1.2,
            Pace::Fast => 2.4,
        };
        let mut chance = Chance::new(scene.seed ^ 0xb0a7);
        let side = chance.pick(&[-1.0, 1.0]);
        let mut boats = vec![Boat {
            x: side * chance.within(8.0, 24.0),
            z: chance.within(95.0, 125.0),
            length: 17.0,
            speed: -side * chance.within(1.5, 2.6),
        }];
        for _ in 0..2 {
            let (x, z) = (chance.within(-150.0, 150.0), chance.within(420.0, 700.0));
            boats.push(Boat { x, z, length: 18.0, speed: chance.within(-1.5, 1.5) });
        }
        let rough = match scene.weather {
            _ if storm => 0.12,
            Weather::Rain => 0.10,
            _ => 0.055,
        };
        Self {
            sky: Sky::new(scene, &light, 0.6 + speed),
            water: Water {
                noise: Noise::new(scene.seed ^ 0x3a7e),
                deep: Soil::of(scene).water,
                rough,
                speed: 0.9 + 0.4 * speed,
                swell: storm.then(|| Swell::new(scene.seed ^ 0x5e11)),
            },
            fall: Fall::new(scene.weather, scene.seed, light.ambient.mix(Rgb::WHITE, 0.35) * 0.9),
            finish: Finish::new(light.exposure, 0.6),
            boats,
            camera: scene.camera,
            speed,
            swell: rough * 14.0,
            light,
        }
    }

    fn look(&self, size: Size, time: f32) -> (View, Eye) {
        let (width, height) = (size.width as f32, size.height as f32);
        let focal = (width * height * 16.0 / 9.0).sqrt();
        let gone = 40.0 * (1.0 - (-time * self.speed * 3.0 / 40.0).exp());
        let (x, z) = match self.camera {
            Camera::Left => (-gone, 0.0),
            Camera::Right => (gone, 0.0),
            Camera::Forward | Camera::Rise => (0.0, gone),
        };
        let view = View { focal, centre: width * 0.5 - 0.5, horizon: height * 0.57, pan: 0.0 };
        // The eye floats too, a little.
        (view, Eye { x, y: EYE_HEIGHT + (time * 0.7).sin() * 0.25 * self.swell, z })
    }

    fn draw_boats(&self, canvas: &mut Canvas, view: &View, eye: Eye, time: f32) {
        for (number, boat) in self.boats.iter().enumerate().rev() {
            let far = boat.z - eye.z;
            let scale = view.focal / far;
            let phase = time * 1.1 + number as f32 * 2.0;
            let roll = (phase * 0.8 + 1.0).sin() * 0.035 * (1.0 + self.swell);
            let (x, way) = (boat.x + boat.speed * self.speed * time, boat.speed.signum());
            let lift = match &self.water.swell {
                Some(swell) => {
                    let fine = Swell::fine(far, eye.y.abs(), view.focal);
                    swell.at(x, boat.z, time * self.water.speed, fine).height
                }
                None => phase.sin() * 0.35 * self.swell,
            };
            let across = view.centre + ((x - eye.x) / far - view.pan) * view.focal;
            let base = view.horizon - (lift - 0.3 - eye.y) * scale;
            let unit = boat.length * scale / 10.0;
            let place = |(px, py): (f32, f32)| {
                let (px, py) = (px * way, py);
                (across + (px + py * roll) * unit, base - (py - px * roll) * unit)
            };
            let air = self.sky.haze(view.across(across));
            let haze = 1.0 - (-far / self.light.haze).exp();
            let lit = |albedo: Rgb, sun: f32| {
                (self.light.sun.tint(albedo) * sun + self.light.ambient.tint(albedo) * 0.8).mix(air, haze)
            };
            let (cloth, shade) = (lit(Rgb::hex(0xf6ead4), 0.36), lit(Rgb::hex(0xd8c4a8), 0.14));
            let (wood, dark) = (lit(Rgb::hex(0x5a3320), 0.35), lit(Rgb::hex(0x2a1c18), 0.2));
            let mut shape = |corners: [(f32, f32); 3], colour: Rgb| triangle(canvas, corners.map(place), far, colour);
            // Mast, main sail in two bent halves, jib, hull.
            shape([(0.35, 0.8), (0.55, 0.8), (0.46, 13.2)], dark);
            shape([(0.2, 1.9), (0.35, 12.8), (-4.4, 2.1)], cloth);
            shape([(0.3, 12.8), (-2.6, 6.4), (-4.4, 2.1)], cloth);
            shape([(0.9, 1.9), (0.7, 11.0), (4.9, 1.5)], shade);
            shape([(-5.0, 1.3), (5.6, 1.5), (-4.4, 0.0)], wood);
            shape([(5.6, 1.5), (3.8, 0.0), (-4.4, 0.0)], wood);
            // Over the seam of the two.
            shape([(-4.8, 1.1), (4.9, 1.2), (-3.6, 0.1)], wood);
            shape([(5.2, 1.4), (3.6, 0.1), (-4.7, 0.6)], wood);
            shape([(-5.0, 1.3), (5.6, 1.5), (-4.9, 1.05)], cloth);
        }
    }
}

/// A filled triangle with soft edges.
fn triangle(canvas: &mut Canvas, corners: [(f32, f32); 3], depth: f32, colour: Rgb) {
    let [a, b, c] = corners;
    let turn = ((b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)).signum();
    let bound = |pick: fn((f32, f32)) -> f32, limit: usize| {
        let (low, high) = (pick(a).min(pick(b)).min(pick(c)), pick(a).max(pick(b)).max(pick(c)));
        ((low - 1.0).max(0.0) as usize)..(((high + 2.0).max(0.0)) as usize).min(limit)
    };
    for y in bound(|corner| corner.1, canvas.height) {
        for x in bound(|corner| corner.0, canvas.width) {
            let mut cover = 1.0_f32;
            for (from, to) in [(a, b), (b, c), (c, a)] {
                let (ex, ey) = (to.0 - from.0, to.1 - from.1);
                let length = (ex * ex + ey * ey).sqrt().max(1e-3);
                let inside = (ex * (y as f32 - from.1) - ey * (x as f32 - from.0)) / length * turn;
                cover = cover.min(inside + 0.5);
            }
            if cover > 0.0 {
                canvas.lay(x, y, depth, colour, cover.min(1.0));
            }
        }
    }
}

impl Painter for Sea {
    fn paint(&self, size: Size, time: f32, halt: &Halt) -> Result<Frame, Error> {
        let (view, eye) = self.look(size, time);
        let mut canvas = Canvas::of(size);
        self.sky.paint(&mut canvas, &view, time, halt)?;
        let mirror_view = view.smaller(2.0);
        let mut mirror = canvas.halved(mirror_view.horizon.ceil() as usize + 2);
        self.draw_boats(&mut mirror, &mirror_view, Eye { y: -eye.y, ..eye }, time);
        let open: Vec<f32> = (0..canvas.pixels.len())
            .map(|at| ((at / canvas.width) as f32 + 1.0 - view.horizon).clamp(0.0, 1.0))
            .collect();
        let (water, sky, light) = (&self.water, &self.sky, &self.light);
        Surface { water, sky, light, view, eye, mirror: &mirror, mirror_view }.draw(&mut canvas, &open, time, halt)?;
        self.draw_boats(&mut canvas, &view, eye, time);
        self.fall.draw(&mut canvas, time);
        self.finish.frame(&canvas, halt)
    }
}
