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
mod finish;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Chance;
    use crate::simd;

    /// Every kernel at once, with whatever numbers a film gives it.
    #[test]
    fn wide_registers_draw_the_same_bytes_in_every_world() {
        let mut chance = Chance::new(simd::seed());
        let words =
            ["mountain lake", "aurora forest", "desert", "neon mountains", "city rain", "storm at sea", "calm sea"];
        for prompt in words.into_iter().chain(["ringed planet", "nebula", "snow mountains", "mars"]) {
            let scene = Scene::understand(prompt, chance.next());
            let side = |chance: &mut Chance, most: u64| (64 + chance.next() % most) as u32 & !1;
            let size = Size::new(side(&mut chance, 260), side(&mut chance, 120));
            let time = chance.within(0.0, 9.0);
            let draw = || {
                let painter = painter(&scene, size, 2, &Halt::default()).unwrap();
                painter.paint(size, time, &Halt::default()).unwrap()
            };
            let (wide, plain) = (draw(), simd::plainly(draw));
            let differing = wide.y.iter().zip(&plain.y).filter(|(a, b)| a != b).count();
            assert!(wide == plain, "{prompt} at {size}, {time} s: {differing} pixels differ");
        }
    }
}
