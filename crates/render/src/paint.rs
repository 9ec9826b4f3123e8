//! From a scene to pictures. Owns the choice of painter; each world is a module of its own.

use crate::error::Error;
use crate::frame::Frame;
use crate::pool::Halt;
use crate::request::Size;
use crate::scene::{Kind, Scene};

mod canvas;
mod city;
mod country;
mod fall;
mod ground;
mod landscape;
mod light;
mod sea;
mod sky;
mod space;
mod swell;
mod terrain;
mod tree;
mod walk;
mod water;

/// A world that can be looked at. Pictures depend on nothing but size and time, so they can be drawn in any order.
pub(crate) trait Painter: Send + Sync {
    /// Draws the moment `time` seconds into the film.
    fn paint(&self, size: Size, time: f32, halt: &Halt) -> Result<Frame, Error>;
}

/// Builds the world of `scene`: a quarter of a second at most, on `threads` threads.
pub(crate) fn painter(scene: &Scene, size: Size, threads: usize, halt: &Halt) -> Result<Box<dyn Painter>, Error> {
    Ok(match scene.kind {
        Kind::Landscape => Box::new(landscape::Landscape::new(scene, size, threads, halt)?),
        Kind::Space => Box::new(space::Space::new(scene)),
        Kind::City => Box::new(city::City::new(scene)),
        Kind::Sea => Box::new(sea::Sea::new(scene)),
    })
}
