//! The picture half-way between two others, by following motion. Owns the search and the blend; knows nothing of films.
//!
//! For each 8x8 block of the *middle* picture the search looks for the vector `v` for which the earlier picture at
//! `p - v` and the later one at `p + v` agree best, from an eighth of the size down to half pixels. Symmetric vectors need
//! no occlusion logic, and the zero vector is a plain blend, so a block that matches nowhere blends.

use crate::error::Error;
use crate::frame::Frame;
use crate::pool::Halt;
use crate::request::Size;

/// Block side in pixels at every level.
const BLOCK: i32 = 8;
/// Eighth, quarter, half and full size.
const LEVELS: usize = 4;
/// Symmetric steps searched at the eighth: 4 * 8 * 2 = 64 pixels between the two pictures.
const REACH: i32 = 4;
/// What a step away from the neighbourhood's vector must gain, in luma levels summed over a block.
const STRAY_COST: u32 = 10;
/// A vector must beat the plain blend by an eighth, or the block blends.
const GAIN: (u32, u32) = (7, 8);

/// Half of the motion between the two pictures, in half pixels.
type Vector = (i32, i32);

struct Plane {
    width: i32,
    height: i32,
    values: Vec<u8>,
}

impl Plane {
    fn halved(&self) -> Self {
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let mut values = Vec::with_capacity((width * height) as usize);
        for y in 0..height {
            let upper = &self.values[(y * 2 * self.width) as usize..];
            let lower = &self.values[((y * 2 + 1).min(self.height - 1) * self.width) as usize..];
            for x in 0..width as usize {
                let right = (x * 2 + 1).min(self.width as usize - 1);
                let sum = u16::from(upper[x * 2]) + u16::from(upper[right]) + u16::from(lower[x * 2]) + u16::from(lower[right]);
                values.push(((sum + 2) / 4) as u8);
            }
        }
        Self { width, height, values }
    }

    fn holds(&self, x: i32, y: i32) -> bool {
        x >= 0 && y >= 0 && x + BLOCK <= self.width && y + BLOCK <= self.height
    }

    fn clamped(&self, x: i32, y: i32) -> i32 {
        let (x, y) = (x.clamp(0, self.width - 1), y.clamp(0, self.height - 1));
        i32::from(self.values[(y * self.width + x) as usize])
    }

    /// Bilinear, in quarter pixels, 4 bits of fraction kept in the result.
    fn quarter(&self, x4: i32, y4: i32) -> i32 {
        let (x, y, right, down) = (x4 >> 2, y4 >> 2, x4 & 3, y4 & 3);
        if x >= 0 && y >= 0 && x + 1 < self.width && y + 1 < self.height {
            let at = (y * self.width + x) as usize;
            if right | down == 0 {
                return i32::from(self.values[at]) << 4;
            }
            let (upper, lower) = (&self.values[at..at + 2], &self.values[at + self.width as usize..][..2]);
            let top = i32::from(upper[0]) * (4 - right) + i32::from(upper[1]) * right;
            let bottom = i32::from(lower[0]) * (4 - right) + i32::from(lower[1]) * right;
            return top * (4 - down) + bottom * down;
        }
        let top = self.clamped(x, y) * (4 - right) + self.clamped(x + 1, y) * right;
        let bottom = self.clamped(x, y + 1) * (4 - right) + self.clamped(x + 1, y + 1) * right;
        top * (4 - down) + bottom * down
    }
}

/// How badly two blocks differ: sum of absolute differences.
fn difference(a: &Plane, b: &Plane, (x, y): (i32, i32), (vx, vy): Vector) -> u32 {
    let (ax, ay, bx, by) = (x - vx, y - vy, x + vx, y + vy);
    let mut sum = 0;
    if a.holds(ax, ay) && b.holds(bx, by) {
        for row in 0..BLOCK {
            let left = &a.values[((ay + row) * a.width + ax) as usize..][..BLOCK as usize];
            let right = &b.values[((by + row) * b.width + bx) as usize..][..BLOCK as usize];
            sum += left.iter().zip(right).map(|(p, q)| u32::from(p.abs_diff(*q))).sum::<u32>();
        }
        return sum;
    }
    for row in 0..BLOCK {
        for column in 0..BLOCK {
            sum += a.clamped(ax + column, ay + row).abs_diff(b.clamped(bx + column, by + row));
        }
    }
    sum
}

/// As [`difference`], with the vector in half pixels.
fn fine_difference(a: &Plane, b: &Plane, (x, y): (i32, i32), (vx, vy): Vector) -> u32 {
    if vx & 1 == 0 && vy & 1 == 0 {
        return difference(a, b, (x, y), (vx / 2, vy / 2));
    }
    let mut sum = 0;
    for row in 0..BLOCK {
        for column in 0..BLOCK {
            let (x4, y4) = ((x + column) * 4, (y + row) * 4);
            sum += a.quarter(x4 - vx * 2, y4 - vy * 2).abs_diff(b.quarter(x4 + vx * 2, y4 + vy * 2));
        }
    }
    sum >> 4
}

/// One vector a block, row by row.
struct Field {
    across: i32,
    down: i32,
    vectors: Vec<Vector>,
}

impl Field {
    fn of(plane: &Plane) -> Self {
        let (across, down) = ((plane.width + BLOCK - 1) / BLOCK, (plane.height + BLOCK - 1) / BLOCK);
        Self { across, down, vectors: vec![(0, 0); (across * down) as usize] }
    }

    fn get(&self, x: i32, y: i32) -> Vector {
        self.vectors[(y.clamp(0, self.down - 1) * self.across + x.clamp(0, self.across - 1)) as usize]
    }

    /// Each vector becomes the median of its neighbourhood, which removes single stray blocks.
    fn smoothed(&self) -> Self {
        let mut out = Self { across: self.across, down: self.down, vectors: self.vectors.clone() };
        for y in 0..self.down {
            for x in 0..self.across {
                let (mut xs, mut ys) = ([0; 9], [0; 9]);
                for (slot, (xs, ys)) in xs.iter_mut().zip(&mut ys).enumerate() {
                    (*xs, *ys) = self.get(x + slot as i32 % 3 - 1, y + slot as i32 / 3 - 1);
                }
                xs.sort_unstable();
                ys.sort_unstable();
                out.vectors[(y * self.across + x) as usize] = (xs[4], ys[4]);
            }
        }
        out
    }
}

fn search_coarsest(a: &Plane, b: &Plane) -> Field {
    let mut field = Field::of(a);
    for y in 0..field.down {
        for x in 0..field.across {
            let at = (x * BLOCK, y * BLOCK);
            let mut best = (difference(a, b, at, (0, 0)), (0, 0));
            for vy in -REACH..=REACH {
                for vx in -REACH..=REACH {
                    let cost = difference(a, b, at, (vx, vy)) + STRAY_COST / 2 * (vx.abs() + vy.abs()) as u32;
                    best = best.min((cost, (vx, vy)));
                }
            }
            field.vectors[(y * field.across + x) as usize] = best.1;
        }
    }
    field
}

fn refine(a: &Plane, b: &Plane, coarse: &Field, halt: &Halt) -> Result<Field, Error> {
    let mut field = Field::of(a);
    for y in 0..field.down {
        halt.check()?;
        for x in 0..field.across {
            let at = (x * BLOCK, y * BLOCK);
            let twice = |(vx, vy): Vector| (vx * 2, vy * 2);
            // The parent, and the parents on the side this block lies on.
            let (side_x, side_y) = ((x & 1) * 2 - 1, (y & 1) * 2 - 1);
            let parent = twice(coarse.get(x / 2, y / 2));
            let guesses = [
                parent,
                twice(coarse.get(x / 2 + side_x, y / 2)),
                twice(coarse.get(x / 2, y / 2 + side_y)),
                twice(coarse.get(x / 2 + side_x, y / 2 + side_y)),
                (0, 0),
            ];
            let cost = |v: Vector| {
                let stray = ((v.0 - parent.0).abs() + (v.1 - parent.1).abs()).min(4) as u32;
                difference(a, b, at, v) + STRAY_COST * stray
            };
            let mut best = (u32::MAX, (0, 0));
            for (i, guess) in guesses.iter().enumerate() {
                if !guesses[..i].contains(guess) {
                    best = best.min((cost(*guess), *guess));
                }
            }
            let middle = best.1;
            for step in 0..9 {
                if step != 4 {
                    let v = (middle.0 + step % 3 - 1, middle.1 + step / 3 - 1);
                    best = best.min((cost(v), v));
                }
            }
            field.vectors[(y * field.across + x) as usize] = best.1;
        }
    }
    Ok(field)
}

/// Goes to half pixels, and back to the blend where following motion gains too little.
fn settle(a: &Plane, b: &Plane, field: &Field, halt: &Halt) -> Result<Field, Error> {
    let mut out = Field::of(a);
    for y in 0..out.down {
        halt.check()?;
        for x in 0..out.across {
            let at = (x * BLOCK, y * BLOCK);
            let (vx, vy) = field.get(x, y);
            let middle = (vx * 2, vy * 2);
            let mut best = (fine_difference(a, b, at, middle), middle);
            for step in 0..9 {
                let v = (middle.0 + step % 3 - 1, middle.1 + step / 3 - 1);
                best = best.min((fine_difference(a, b, at, v) + STRAY_COST / 4, v));
            }
            let blend = difference(a, b, at, (0, 0));
            let follows = best.0 * GAIN.1 <= blend * GAIN.0;
            out.vectors[(y * out.across + x) as usize] = if follows { best.1 } else { (0, 0) };
        }
    }
    Ok(out)
}

/// Blends along the vectors of the four nearest blocks, weighted by nearness, so that block edges do not show.
/// `scale` is 2 for luma (half pixels to quarters) and 1 for colour, whose planes have half the size.
fn blend(a: &Plane, b: &Plane, field: &Field, scale: i32, halt: &Halt) -> Result<Vec<u8>, Error> {
    let block = BLOCK * scale / 2;
    let mut out = vec![0; a.values.len()];
    for (y, row) in (0..).zip(out.chunks_exact_mut(a.width as usize)) {
        if y % 16 == 0 {
            halt.check()?;
        }
        let upper = (y - block / 2).div_euclid(block);
        let down = (y - block / 2).rem_euclid(block);
        for (x, value) in (0..).zip(row) {
            let left = (x - block / 2).div_euclid(block);
            let right = (x - block / 2).rem_euclid(block);
            let follow = |(vx, vy): Vector| {
                let (x4, y4) = (x * 4, y * 4);
                a.quarter(x4 - vx * scale, y4 - vy * scale) + b.quarter(x4 + vx * scale, y4 + vy * scale)
            };
            let near = [
                (field.get(left, upper), (block - right) * (block - down)),
                (field.get(left + 1, upper), right * (block - down)),
                (field.get(left, upper + 1), (block - right) * down),
                (field.get(left + 1, upper + 1), right * down),
            ];
            let sum = if near.iter().all(|(vector, _)| *vector == near[0].0) {
                follow(near[0].0)
            } else {
                near.iter().map(|(vector, weight)| follow(*vector) * weight).sum::<i32>() / (block * block)
            };
            *value = ((sum + 16) >> 5) as u8;
        }
    }
    Ok(out)
}

/// The picture half-way in time between `a` and `b`, which have one size.
pub(crate) fn middle(a: &Frame, b: &Frame, halt: &Halt) -> Result<Frame, Error> {
    let plane = |values: &[u8], size: Size| Plane {
        width: size.width as i32,
        height: size.height as i32,
        values: values.to_vec(),
    };
    let [[ya, yb], [ua, ub], [va, vb]] = [0, 1, 2].map(|i| [a, b].map(|frame| plane(frame.planes()[i].0, frame.planes()[i].1)));
    let mut pyramid = vec![(ya, yb)];
    for level in 1..LEVELS {
        let (a, b) = &pyramid[level - 1];
        pyramid.push((a.halved(), b.halved()));
    }
    let (smallest_a, smallest_b) = &pyramid[LEVELS - 1];
    let mut field = search_coarsest(smallest_a, smallest_b).smoothed();
    for (a, b) in pyramid[..LEVELS - 1].iter().rev() {
        field = refine(a, b, &field, halt)?.smoothed();
    }
    let (ya, yb) = &pyramid[0];
    let field = settle(ya, yb, &field, halt)?;
    Ok(Frame {
        size: a.size,
        y: blend(ya, yb, &field, 2, halt)?,
        u: blend(&ua, &ub, &field, 1, halt)?,
        v: blend(&va, &vb, &field, 1, halt)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texture(shift: f64) -> Frame {
        let mut frame = Frame::new(Size::new(192, 128));
        for (i, value) in frame.y.iter_mut().enumerate() {
            let (x, y) = ((i % 192) as f64 - shift, (i / 192) as f64);
            let wave = (x * 0.31).sin() * (y * 0.23 + x * 0.05).cos() + (x * 0.11 + y * 0.17).sin();
            *value = (126.0 + 45.0 * wave) as u8;
        }
        frame
    }

    #[test]
    fn a_moving_texture_is_found_half_way() {
        for motion in [3.0, 9.0, 22.0] {
            let made = middle(&texture(0.0), &texture(motion), &Halt::default()).unwrap();
            let psnr = made.psnr(&texture(motion / 2.0));
            assert!(psnr > 34.0, "motion of {motion}: {psnr:.1} dB");
        }
    }

    #[test]
    fn between_equal_pictures_lies_the_same_picture() {
        assert_eq!(middle(&texture(0.0), &texture(0.0), &Halt::default()).unwrap(), texture(0.0));
    }
}
