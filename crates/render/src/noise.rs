//! Smooth noise from a lattice of 256x256 chances. Owns the lattice; repeats every 256 units, which no scene shows.
//!
//! One number or eight neighbours go the same way ([`Real`]). A chance has 8 bits: what lies between two of them is smooth,
//! and with all four corners of a cell in one word a look costs one load.

use crate::lanes::{Lattice, Real};
use crate::prompt::Chance;

const SIDE: usize = 256;
/// Chances are stored from 0 to 255.
const UNIT: f32 = 1.0 / 255.0;

/// A seeded field of smooth noise.
#[derive(Debug)]
pub(crate) struct Noise {
    lattice: Box<Lattice>,
}

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let chances: Vec<u8> = (0..SIDE * SIDE).map(|_| (chance.next() >> 56) as u8).collect();
        let mut lattice = Box::new([0; SIDE * SIDE]);
        for (at, word) in lattice.iter_mut().enumerate() {
            let (x, y) = (at % SIDE, at / SIDE);
            let (right, below) = ((x + 1) % SIDE, (y + 1) % SIDE * SIDE);
            *word = u32::from_le_bytes([
                chances[at],
                chances[y * SIDE + right],
                chances[below + x],
                chances[below + right],
            ]);
        }
        Self { lattice }
    }

    /// Even chance at a whole position.
    pub(crate) fn at(&self, x: i32, y: i32) -> f32 {
        (self.lattice[((y & 255) as usize) << 8 | (x & 255) as usize] & 255) as f32 * UNIT
    }

    /// From 0 to 255.
    #[inline(always)]
    fn level<R: Real>(&self, x: R, y: R) -> R {
        let (left, up) = (x.whole(), y.whole());
        let (tx, ty) = (x - left, y - up);
        let (tx, ty) = (tx * tx * (tx * -2.0 + 3.0), ty * ty * (ty * -2.0 + 3.0));
        let [a, b, c, d] = left.corners(up, &self.lattice);
        let (top, low) = (a + (b - a) * tx, c + (d - c) * tx);
        top + (low - top) * ty
    }

    /// From 0 to 1.
    #[inline(always)]
    pub(crate) fn value<R: Real>(&self, x: R, y: R) -> R {
        self.level(x, y) * UNIT
    }

    /// Value from 0 to 1 and its two slopes.
    #[inline(always)]
    pub(crate) fn sloped<R: Real>(&self, x: R, y: R) -> (R, R, R) {
        let (left, up) = (x.whole(), y.whole());
        let (tx, ty) = (x - left, y - up);
        let curve = |t: R| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let slope = |t: R| t * t * (t * (t - 2.0) + 1.0) * (30.0 * UNIT);
        let (ux, uy, dx, dy) = (curve(tx), curve(ty), slope(tx), slope(ty));
        let [a, b, c, d] = left.corners(up, &self.lattice);
        let twist = a - b - c + d;
        let value = (a + (b - a) * ux + (c - a) * uy + twist * ux * uy) * UNIT;
        (value, dx * (b - a + twist * uy), dy * (c - a + twist * ux))
    }

    /// Octaves of [`Self::value`], from 0 to 1 around a half.
    #[inline(always)]
    pub(crate) fn layers<R: Real>(&self, mut x: R, mut y: R, octaves: u32) -> R {
        let (mut sum, mut weight, mut total) = (R::of(0.0), 0.5, 0.0);
        for _ in 0..octaves {
            sum = sum + self.level(x, y) * weight;
            total += weight;
            weight *= 0.5;
            // Turned by 37 degrees each time, so that the lattice does not show.
            (x, y) = (x * 1.6 - y * 1.2 + 17.3, x * 1.2 + y * 1.6 + 5.7);
        }
        sum * (UNIT / total)
    }

    /// Mountains: octaves that fade on steep ground, as if worn by water. About 0 to 1.4.
    #[inline(always)]
    pub(crate) fn eroded<R: Real>(&self, mut x: R, mut y: R, octaves: u32) -> R {
        let (mut sum, mut weight, mut sx, mut sy) = (R::of(0.0), 0.6, R::of(0.0), R::of(0.0));
        for _ in 0..octaves {
            let (value, dx, dy) = self.sloped(x, y);
            sx = sx + dx * 0.85;
            sy = sy + dy * 0.85;
            sum = sum + value * weight / (sx * sx + sy * sy + 1.0);
            weight *= 0.5;
            (x, y) = (x * 1.6 - y * 1.2 + 31.1, x * 1.2 + y * 1.6 + 11.9);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Lanes;
    use crate::simd;

    struct Sample<'a> {
        noise: &'a Noise,
        x: Lanes,
        y: Lanes,
        out: &'a mut [Lanes; 3],
    }

    impl simd::Kernel for Sample<'_> {
        #[inline(always)]
        fn run(self) {
            *self.out = [
                self.noise.layers(self.x, self.y, 5),
                self.noise.eroded(self.x, self.y, 8),
                self.noise.sloped(self.x, self.y).1,
            ];
        }
    }

    #[test]
    fn eight_places_at_once_give_the_same_bits_as_each_alone() {
        let seed = crate::simd::seed();
        let (noise, mut chance) = (Noise::new(seed), Chance::new(seed));
        for _ in 0..2_000 {
            let mut place = || Lanes(std::array::from_fn(|_| chance.within(-900.0, 900.0)));
            let (x, y, mut out) = (place(), place(), [Lanes([0.0; 8]); 3]);
            simd::run(Sample { noise: &noise, x, y, out: &mut out });
            for lane in 0..8 {
                let (x, y) = (x.0[lane], y.0[lane]);
                let alone = [noise.layers(x, y, 5), noise.eroded(x, y, 8), noise.sloped(x, y).1];
                assert_eq!(out.map(|value| value.0[lane].to_bits()), alone.map(f32::to_bits), "at {x}, {y}");
            }
        }
    }

    #[test]
    fn noise_has_no_seams_between_its_cells() {
        let noise = Noise::new(3);
        for step in -3_000..3_000 {
            let x = step as f32 * 0.013;
            let (here, beside) = (noise.layers(x, -x * 0.7, 4), noise.layers(x + 1e-3, -x * 0.7, 4));
            assert!((here - beside).abs() < 0.02, "a step of {} at {x}", here - beside);
            assert!((0.0..=1.0).contains(&here));
        }
    }
}
