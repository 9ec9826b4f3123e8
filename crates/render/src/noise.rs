//! Smooth noise from a table of 256x256 chances. Owns the table; repeats every 256 units, which no scene shows.

use crate::prompt::Chance;

const SIDE: usize = 256;

/// The next whole number below. `f32::floor` is a call into the C library on a baseline x86-64; this is three instructions.
fn below(x: f32) -> i32 {
    let cut = x as i32;
    cut - i32::from((cut as f32) > x)
}

/// A seeded field of smooth noise.
#[derive(Debug)]
pub(crate) struct Noise {
    table: Vec<f32>,
}

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        Self { table: (0..SIDE * SIDE).map(|_| chance.unit()).collect() }
    }

    fn corner(&self, x: i32, y: i32) -> f32 {
        self.table[((y & 255) as usize) << 8 | (x & 255) as usize]
    }

    /// Even chance at a whole position.
    pub(crate) fn at(&self, x: i32, y: i32) -> f32 {
        self.corner(x, y)
    }

    /// From 0 to 1.
    pub(crate) fn value(&self, x: f32, y: f32) -> f32 {
        let (ix, iy) = (below(x), below(y));
        let (tx, ty) = (x - ix as f32, y - iy as f32);
        let (tx, ty) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
        let top = self.corner(ix, iy) + (self.corner(ix + 1, iy) - self.corner(ix, iy)) * tx;
        let low = self.corner(ix, iy + 1) + (self.corner(ix + 1, iy + 1) - self.corner(ix, iy + 1)) * tx;
        top + (low - top) * ty
    }

    /// Value from 0 to 1 and its two slopes.
    pub(crate) fn sloped(&self, x: f32, y: f32) -> (f32, f32, f32) {
        let (ix, iy) = (below(x), below(y));
        let (tx, ty) = (x - ix as f32, y - iy as f32);
        let curve = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let slope = |t: f32| 30.0 * t * t * (t * (t - 2.0) + 1.0);
        let (ux, uy, dx, dy) = (curve(tx), curve(ty), slope(tx), slope(ty));
        let (a, b) = (self.corner(ix, iy), self.corner(ix + 1, iy));
        let (c, d) = (self.corner(ix, iy + 1), self.corner(ix + 1, iy + 1));
        let twist = a - b - c + d;
        (a + (b - a) * ux + (c - a) * uy + twist * ux * uy, dx * (b - a + twist * uy), dy * (c - a + twist * ux))
    }

    /// Octaves of [`Self::value`], from 0 to 1 around a half.
    pub(crate) fn layers(&self, mut x: f32, mut y: f32, octaves: u32) -> f32 {
        let (mut sum, mut weight, mut total) = (0.0, 0.5, 0.0);
        for _ in 0..octaves {
            sum += weight * self.value(x, y);
            total += weight;
            weight *= 0.5;
            // Turned by 37 degrees each time, so that the lattice does not show.
            (x, y) = (1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y + 5.7);
        }
        sum / total
    }

    /// Mountains: octaves that fade on steep ground, as if worn by water. About 0 to 1.4.
    pub(crate) fn eroded(&self, mut x: f32, mut y: f32, octaves: u32) -> f32 {
        let (mut sum, mut weight, mut sx, mut sy) = (0.0, 0.6, 0.0_f32, 0.0_f32);
        for _ in 0..octaves {
            let (value, dx, dy) = self.sloped(x, y);
            sx += dx * 0.85;
            sy += dy * 0.85;
            sum += weight * value / (1.0 + sx * sx + sy * sy);
            weight *= 0.5;
            (x, y) = (1.6 * x - 1.2 * y + 31.1, 1.2 * x + 1.6 * y + 11.9);
        }
        sum
    }
}
