//! Mountains, usually behind water. Joins sky, land, trees and water into one picture.

use super::Painter;
use super::canvas::Canvas;
use super::country::Country;
use super::fall::Fall;
use super::finish::Finish;
use super::light::{Light, Soil};
use super::sky::{Sky, View};
use super::terrain::Terrain;
use super::tree::Wood;
use super::walk::{Eye, Walk};
use super::water::{Surface, Water};
use crate::colour::Rgb;
use crate::error::Error;
use crate::frame::Frame;
use crate::noise::Noise;
use crate::pool::Halt;
use crate::request::Size;
use crate::scene::{Camera, Pace, Scene, Weather};

/// Height of the eye over water and over dry land, in map units.
const EYE_WATER: f32 = 7.0;
const EYE_LAND: f32 = 22.0;
/// How far the camera may go before it has slowed down, so that the longest film stays before the shore.
const TRAVEL_MAX: f32 = 130.0;

pub(super) struct Landscape {
    scene: Scene,
    light: Light,
    sky: Sky,
    terrain: Terrain,
    wood: Wood,
    water: Water,
    fall: Fall,
    finish: Finish,
    speed: f32,
}

impl Landscape {
    pub(super) fn new(scene: &Scene, size: Size, threads: usize, halt: &Halt) -> Result<Self, Error> {
        let light = Light::of(scene);
        let speed = match scene.pace {
            Pace::Calm => 0.75,
            Pace::Steady => 1.25,
            Pace::Fast => 2.4,
        };
        let sky = Sky::new(scene, &light, 0.5 + speed);
        let side = sky.sun_across.signum();
        let country = Country::new(scene);
        let reach = size.width as f32 * 0.5 / focal(size) + 0.08;
        let terrain = Terrain::new(&country, scene, (&light, side), reach, threads, halt)?;
        let wood = Wood::new(&country, &terrain, scene, side);
        let water = Water {
            noise: Noise::new(scene.seed ^ 0x3a7e),
            deep: Soil::of(scene).water,
            rough: if scene.weather == Weather::Rain { 0.05 } else { 0.022 },
            speed: 0.8 + 0.4 * speed,
            swell: None,
        };
        let fall = Fall::new(scene.weather, scene.seed, light.ambient.mix(Rgb::WHITE, 0.35) * 0.9);
        let finish = Finish::new(light.exposure, 0.55);
        Ok(Self { scene: scene.clone(), light, sky, terrain, wood, water, fall, finish, speed })
    }

    fn look(&self, size: Size, time: f32) -> (View, Eye) {
        let (width, height) = (size.width as f32, size.height as f32);
        let focal = focal(size);
        let gone = TRAVEL_MAX * (1.0 - (-time * self.speed * 9.0 / TRAVEL_MAX).exp());
        let mut eye = Eye { x: 0.0, y: if self.scene.water { EYE_WATER } else { EYE_LAND }, z: 0.0 };
        let mut pan = 0.0;
        match self.scene.camera {
            Camera::Forward => eye.z = gone,
            Camera::Left => (eye.x, pan) = (-gone, -0.0006 * gone),
            Camera::Right => (eye.x, pan) = (gone, 0.0006 * gone),
            Camera::Rise => (eye.y, eye.z) = (eye.y + gone * 0.5, gone * 0.4),
        }
        let tall = if height > width { 0.55 } else { 0.60 };
        (View { focal, centre: width * 0.5 - 0.5, horizon: height * tall, pan }, eye)
    }

    /// The country as the water sees it, at half the size, under the sky that was painted.
    fn mirror(&self, sky: &Canvas, view: &View, eye: Eye, halt: &Halt) -> Result<(Canvas, View), Error> {
        let small = view.smaller(2.0);
        let mut mirror = sky.halved((small.horizon.ceil() as usize + 2).max(2));
        let eye = Eye { y: -eye.y, ..eye };
        let walk = Walk { terrain: &self.terrain, sky: &self.sky, light: &self.light, view: small, eye, water: true };
        let mut none = vec![0.0; mirror.pixels.len()];
        walk.draw(&mut mirror, &mut none, halt)?;
        self.wood.draw(&mut mirror, &small, eye, &self.sky, &self.light);
        Ok((mirror, small))
    }
}

/// The same field of view by area, whatever the shape: 53 degrees across for a wide picture.
fn focal(size: Size) -> f32 {
    (size.pixels() as f32 * 16.0 / 9.0).sqrt()
}

impl Painter for Landscape {
    fn paint(&self, size: Size, time: f32, halt: &Halt) -> Result<Frame, Error> {
        let (view, eye) = self.look(size, time);
        let mut canvas = Canvas::of(size);
        self.sky.paint(&mut canvas, &view, time, halt)?;
        let mirror = if self.scene.water { Some(self.mirror(&canvas, &view, eye, halt)?) } else { None };
        let mut open = vec![0.0; canvas.pixels.len()];
        let walk =
            Walk { terrain: &self.terrain, sky: &self.sky, light: &self.light, view, eye, water: self.scene.water };
        walk.draw(&mut canvas, &mut open, halt)?;
        if let Some((mirror, mirror_view)) = mirror {
            let (water, sky, light) = (&self.water, &self.sky, &self.light);
            let surface = Surface { water, sky, light, view, eye, mirror: &mirror, mirror_view };
            surface.draw(&mut canvas, &open, time, halt)?;
        }
        self.wood.draw(&mut canvas, &view, eye, &self.sky, &self.light);
        self.fall.draw(&mut canvas, time);
        self.finish.frame(&canvas, halt)
    }
}
