//! The waves of a storm: how high the water stands anywhere, and where a line of sight first meets it. Owns their shape;
//! leaves what they look like to `water`.

use super::walk::Eye;
use crate::lanes::{Lanes, Real};
use crate::noise::Noise;

/// From trough to crest, in map units: well below the eye, so that the horizon stays a line.
const HEIGHT: f32 = 3.4;
/// Two waves: how many a unit across and along the view, share of the height, and how fast they come.
const WAVES: [(f32, f32, f32, f32); 2] = [(0.017, 0.042, 0.72, 0.34), (0.052, 0.125, 0.28, 0.62)];
/// Steeper than this the water hardly ever is: a line of sight may go on this much faster than it sinks.
const STEEP: f32 = 0.6;
/// Steps along one line of sight. It begins where the one below it ended, so few are needed.
const STEPS_MAX: usize = 20;

/// A line of sight this close to the water has met it; more would stop it over a crest that it clears.
const NEAR: f32 = 0.006;

/// Storm waves of one film.
pub(super) struct Swell {
    noise: Noise,
}

/// The water at a place.
pub(super) struct Crest<R> {
    /// Above still water, and the same from 0 in the trough to 1 on the crest.
    pub(super) height: R,
    pub(super) part: R,
    /// How it rises to the right and away from the eye.
    pub(super) right: R,
    pub(super) away: R,
}

impl Swell {
    pub(super) fn new(seed: u64) -> Self {
        Self { noise: Noise::new(seed) }
    }

    /// `fine` is 1 where waves are drawn and 0 where they would be smaller than a pixel.
    #[inline(always)]
    pub(super) fn at<R: Real>(&self, x: R, z: R, time: f32, fine: R) -> Crest<R> {
        let (mut part, mut right, mut away) = (R::of(0.0), R::of(0.0), R::of(0.0));
        for (across, along, share, way) in WAVES {
            let (value, dx, dz) = self.noise.sloped(x * across + time * way * 0.2, z * along + time * way);
            // Folded in the middle: crests are sharp and troughs are wide.
            let fold = value * 2.0 - 1.0;
            part = part + (-fold.magnitude() + 1.0) * share;
            let turn = fold.below(0.0, R::of(2.0 * share), R::of(-2.0 * share));
            (right, away) = (right + dx * turn * across, away + dz * turn * along);
        }
        let tall = fine * HEIGHT;
        Crest { height: (part - 0.5) * tall, part, right: right * tall, away: away * tall }
    }

    /// How finely waves are seen at a distance, for an eye at a height and `focal` pixels a unit of slope.
    #[inline(always)]
    pub(super) fn fine<R: Real>(far: R, height: f32, focal: f32) -> R {
        (far * far * (WAVES[0].1 / (height.max(1.0) * focal))).smooth(0.9, 0.15)
    }

    /// How far away eight lines of sight that sink `down` a unit meet the water. `met` is where those below them did.
    #[inline(always)]
    pub(super) fn meet(
        &self,
        met: Lanes,
        across: Lanes,
        (down, focal): (f32, f32),
        eye: Eye,
        time: f32,
    ) -> (Lanes, Crest<Lanes>) {
        let still = eye.y / down;
        // Above the highest crest there is nothing to meet.
        let mut far = met.at_least(((eye.y - HEIGHT * 0.5) / down).min(6_000.0));
        let mut step = 0;
        loop {
            let fine = Swell::fine(far, eye.y, focal);
            let water = self.at(across * far + eye.x, far + eye.z, time, fine);
            let above = -(far * down + water.height) + eye.y;
            step += 1;
            if step >= STEPS_MAX || !above.any(|above| above > NEAR) {
                return (far, water);
            }
            far = (far + above.at_least(0.0) / (fine * STEEP + down)).at_most((still * 1.6).min(6_000.0));
        }
    }
}
