//! The picture half-way between two others, by following motion. Owns the search and the blend; knows nothing of films.
//!
//! For each 8x8 block of the *middle* picture the search looks for the vector `v` for which the earlier picture at
//! `p - v` and the later one at `p + v` agree best, from an eighth of the size down to quarter pixels. Symmetric vectors need
//! no occlusion logic, and the zero vector is a plain blend, so a block that matches nowhere blends.

use crate::error::Error;
use crate::frame::Frame;
use crate::pool::Halt;
use crate::request::Size;
use crate::simd;

/// Block side in pixels at every level.
const BLOCK: i32 = 8;
/// Eighth, quarter, half and full size.
const LEVELS: usize = 4;
/// Symmetric steps searched at the eighth: 4 * 8 * 2 = 64 pixels between the two pictures.
const REACH: i32 = 4;
/// What a step away from the neighbourhood's vector must gain, in luma levels summed over a block.
const STRAY_COST: u32 = 10;
/// Three quarters of a level for each pixel of a block: no finer step improves on that visibly.
const GOOD: u32 = 48;
/// A vector must beat the plain blend by three eighths, and by one level for each pixel, or the block blends: water and
/// northern lights change rather than move, and what matches in them by accident looks torn.
const GAIN: (u32, u32) = (5, 8);
const GAIN_MIN: u32 = 64;

/// Half of the motion between the two pictures: in the level's pixels while searching, in quarters of a pixel at the end.
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
                let sum = u16::from(upper[x * 2])
                    + u16::from(upper[right])
                    + u16::from(lower[x * 2])
                    + u16::from(lower[right]);
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

    /// The same picture half a pixel to the right and down. A long filter, because a short one blurs more than slow
    /// motion does and a blend would win.
    fn fine(&self) -> Fine {
        let (width, height) = (self.width as usize, self.height as usize);
        let mut right = vec![0; self.values.len()];
        let mut padded = vec![0; width + 7];
        for (row, out) in self.values.chunks_exact(width).zip(right.chunks_exact_mut(width)) {
            padded[..3].fill(row[0]);
            padded[3..width + 3].copy_from_slice(row);
            padded[width + 3..].fill(row[width - 1]);
            let taps: [&[u8]; 8] = std::array::from_fn(|tap| &padded[tap..][..width]);
            simd::run(Halfway { taps, out });
        }
        let lowered = |values: &[u8]| {
            let mut out = vec![0; values.len()];
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                let taps =
                    std::array::from_fn(|tap| &values[(y + tap).saturating_sub(3).min(height - 1) * width..][..width]);
                simd::run(Halfway { taps, out });
            }
            out
        };
        let (down, both) = (lowered(&self.values), lowered(&right));
        Fine { width: self.width, height: self.height, phases: [self.values.clone(), right, down, both] }
    }
}

/// A picture with the samples between its own, each kind in a plane of its own.
struct Fine {
    width: i32,
    height: i32,
    /// At whole positions, half a pixel to the right, half a pixel down, both.
    phases: [Vec<u8>; 4],
}

impl Fine {
    /// A run of neighbours to the right from a position in quarters of a pixel; 4 bits of fraction in the result.
    #[inline]
    fn quarters(&self, x4: i32, y4: i32, out: &mut [u16]) {
        let (x, y) = (x4 >> 2, y4 >> 2);
        let length = out.len();
        if x < 0 || y < 0 || x + 1 + length as i32 > self.width || y + 1 >= self.height {
            for (i, value) in (0..).zip(out) {
                *value = self.quarter(x4 + i * 4, y4);
            }
            return;
        }
        let row = |up: i32, aside: i32| {
            let phase = ((aside & 1) + (up & 1) * 2) as usize;
            let at = ((y + (up >> 1)) * self.width + x + (aside >> 1)) as usize;
            &self.phases[phase][at..at + length]
        };
        // Half positions before and after, and how far between them.
        let (aside, up, right, down) = (x4 >> 1 & 1, y4 >> 1 & 1, (x4 & 1) as u16, (y4 & 1) as u16);
        let (near, far) = (row(up, aside), row(up, aside + right as i32));
        let (under, across) = (row(up + down as i32, aside), row(up + down as i32, aside + right as i32));
        for (i, value) in out.iter_mut().enumerate() {
            *value = (u16::from(near[i]) + u16::from(far[i]) + u16::from(under[i]) + u16::from(across[i])) << 2;
        }
    }

    /// As [`Fine::quarters`] for one position anywhere; beyond the edge the edge goes on.
    fn quarter(&self, x4: i32, y4: i32) -> u16 {
        let (x2, y2, right, down) = (x4 >> 1, y4 >> 1, x4 & 1, y4 & 1);
        let half = |x2: i32, y2: i32| {
            let (x2, y2) = (x2.clamp(0, self.width * 2 - 1), y2.clamp(0, self.height * 2 - 1));
            u16::from(self.phases[((x2 & 1) + (y2 & 1) * 2) as usize][((y2 >> 1) * self.width + (x2 >> 1)) as usize])
        };
        (half(x2, y2) + half(x2 + right, y2) + half(x2, y2 + down) + half(x2 + right, y2 + down)) << 2
    }
}

/// The values half-way between the middle two of eight rows or columns.
struct Halfway<'a> {
    taps: [&'a [u8]; 8],
    out: &'a mut [u8],
}

impl simd::Kernel for Halfway<'_> {
    #[inline(always)]
    fn run(self) {
        let length = self.out.len();
        let taps = self.taps.map(|tap| &tap[..length]);
        for (x, value) in self.out.iter_mut().enumerate() {
            // At most 40 * 510 + 4 * 510: it fits in 16 bits.
            let pair = |near: usize| i16::from(taps[near][x]) + i16::from(taps[7 - near][x]);
            let sum = 40 * pair(3) - 11 * pair(2) + 4 * pair(1) - pair(0);
            *value = ((sum + 32) >> 6).clamp(0, 255) as u8;
        }
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

/// As [`difference`], between pixels and with the vector in quarter pixels.
fn fine_difference(a: &Fine, b: &Fine, (x, y): (i32, i32), (vx, vy): Vector) -> u32 {
    let mut sum = 0;
    let (mut earlier, mut later) = ([0; BLOCK as usize], [0; BLOCK as usize]);
    for row in 0..BLOCK {
        a.quarters(x * 4 - vx, (y + row) * 4 - vy, &mut earlier);
        b.quarters(x * 4 + vx, (y + row) * 4 + vy, &mut later);
        sum += u32::from(earlier.iter().zip(&later).map(|(p, q)| p.abs_diff(*q) >> 2).sum::<u16>());
    }
    sum >> 2
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

/// Goes to quarter pixels, and back to the blend where following motion gains too little.
fn settle([a, b]: [&Plane; 2], [fine_a, fine_b]: [&Fine; 2], field: &Field, halt: &Halt) -> Result<Field, Error> {
    let mut out = Field::of(a);
    for y in 0..out.down {
        halt.check()?;
        for x in 0..out.across {
            let at = (x * BLOCK, y * BLOCK);
            let (vx, vy) = field.get(x, y);
            let mut best = (difference(a, b, at, (vx, vy)), (vx * 4, vy * 4));
            for stride in [2, 1] {
                let middle = best.1;
                for step in if best.0 > GOOD { 0..9 } else { 0..0 } {
                    if step == 4 {
                        continue;
                    }
                    let v = (middle.0 + (step % 3 - 1) * stride, middle.1 + (step / 3 - 1) * stride);
                    best = best.min((fine_difference(fine_a, fine_b, at, v) + STRAY_COST / 4, v));
                }
            }
            let blend = difference(a, b, at, (0, 0));
            let follows = best.0 * GAIN.1 <= blend * GAIN.0 && best.0 + GAIN_MIN <= blend;
            out.vectors[(y * out.across + x) as usize] = if follows { best.1 } else { (0, 0) };
        }
    }
    Ok(out)
}

/// Blends along the vectors of the four nearest blocks, weighted by nearness, so that block edges do not show.
/// `scale` is 1 for luma and 2 for colour, whose planes have half the size.
fn blend([a, b]: [&Plane; 2], fine: [&Fine; 2], field: &Field, scale: i32, halt: &Halt) -> Result<Vec<u8>, Error> {
    let block = BLOCK / scale;
    let mut out = vec![0; a.values.len()];
    for (y, row) in (0..).zip(out.chunks_exact_mut(a.width as usize)) {
        if y % 16 == 0 {
            halt.check()?;
        }
        let upper = (y - block / 2).div_euclid(block);
        let down = (y - block / 2).rem_euclid(block);
        let (mut left, mut start) = (-1, 0);
        while start < a.width {
            let end = (left * block + block / 2 + block).min(a.width);
            let corners = [(left, upper), (left + 1, upper), (left, upper + 1), (left + 1, upper + 1)];
            let near = corners.map(|(x, y)| field.get(x, y)).map(|(vx, vy)| (vx / scale, vy / scale));
            let values = &mut row[start as usize..end as usize];
            if near.iter().all(|vector| *vector == near[0]) {
                follow([a, b], fine, near[0], (start, y), values);
            } else {
                let mut sums = [0; BLOCK as usize];
                let heights = [block - down, block - down, down, down];
                for (corner, vector) in near.into_iter().enumerate().filter(|(corner, _)| heights[*corner] > 0) {
                    let pairs = pairs(fine, vector, (start, y), values.len());
                    for ((x, sum), pair) in (start..).zip(&mut sums).zip(&pairs) {
                        let right = (x - block / 2).rem_euclid(block);
                        let side = if corner % 2 == 0 { block - right } else { right };
                        *sum += pair * side * heights[corner];
                    }
                }
                for (value, sum) in values.iter_mut().zip(&sums) {
                    *value = ((sum / (block * block) + 16) >> 5) as u8;
                }
            }
            (left, start) = (left + 1, end);
        }
    }
    Ok(out)
}

/// Both pictures' values along a vector in quarter pixels, added, for at most a block's width; 5 bits of fraction.
fn pairs([a, b]: [&Fine; 2], (vx, vy): Vector, (x, y): (i32, i32), count: usize) -> [i32; BLOCK as usize] {
    let (mut earlier, mut later) = ([0; BLOCK as usize], [0; BLOCK as usize]);
    a.quarters(x * 4 - vx, y * 4 - vy, &mut earlier[..count]);
    b.quarters(x * 4 + vx, y * 4 + vy, &mut later[..count]);
    std::array::from_fn(|i| i32::from(earlier[i] + later[i]))
}

/// A run of pixels of one row that all follow one vector in quarter pixels.
fn follow([a, b]: [&Plane; 2], fine: [&Fine; 2], (vx, vy): Vector, (x, y): (i32, i32), values: &mut [u8]) {
    let (dx, dy, end) = (vx / 4, vy / 4, x + values.len() as i32);
    let inside = |plane: &Plane, dx: i32, dy: i32| {
        x + dx >= 0 && end + dx <= plane.width && y + dy >= 0 && y + dy < plane.height
    };
    if vx % 4 == 0 && vy % 4 == 0 && inside(a, -dx, -dy) && inside(b, dx, dy) {
        let earlier = &a.values[((y - dy) * a.width + x - dx) as usize..];
        let later = &b.values[((y + dy) * b.width + x + dx) as usize..];
        for ((value, p), q) in values.iter_mut().zip(earlier).zip(later) {
            *value = (u16::from(*p) + u16::from(*q)).div_ceil(2) as u8;
        }
        return;
    }
    let pairs = pairs(fine, (vx, vy), (x, y), values.len());
    for (value, pair) in values.iter_mut().zip(&pairs) {
        *value = ((pair + 16) >> 5) as u8;
    }
}

/// The picture half-way in time between two pictures of one size, by following motion.
///
/// # Panics
/// If the sizes differ.
#[must_use]
pub fn between(a: &Frame, b: &Frame) -> Frame {
    assert!(a.size == b.size, "frames of {} and {}", a.size, b.size);
    middle(a, b, &Halt::default()).expect("nothing halts it")
}

/// As [`between`], until halted.
pub(crate) fn middle(a: &Frame, b: &Frame, halt: &Halt) -> Result<Frame, Error> {
    let plane = |values: &[u8], size: Size| Plane {
        width: size.width as i32,
        height: size.height as i32,
        values: values.to_vec(),
    };
    let [[ya, yb], [ua, ub], [va, vb]] =
        [0, 1, 2].map(|i| [a, b].map(|frame| plane(frame.planes()[i].0, frame.planes()[i].1)));
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
    let fine = [&ya.fine(), &yb.fine()];
    let field = settle([ya, yb], fine, &field, halt)?;
    Ok(Frame {
        size: a.size,
        y: blend([ya, yb], fine, &field, 1, halt)?,
        u: blend([&ua, &ub], [&ua.fine(), &ub.fine()], &field, 2, halt)?,
        v: blend([&va, &vb], [&va.fine(), &vb.fine()], &field, 2, halt)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texture(shift: f32) -> Frame {
        let noise = crate::noise::Noise::new(4);
        let mut frame = Frame::new(Size::new(192, 128));
        for (i, value) in frame.y.iter_mut().enumerate() {
            let (x, y) = ((i % 192) as f32 - shift, (i / 192) as f32);
            *value = (40.0 + 170.0 * noise.layers(x * 0.06 + 9.0, y * 0.06, 3)) as u8;
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
    fn wide_registers_give_the_same_samples() {
        let mut chance = crate::prompt::Chance::new(simd::seed());
        for round in 0..60 {
            let length = 1 + (chance.next() % 70) as usize;
            let rows: Vec<Vec<u8>> = (0..8)
                .map(|_| {
                    (0..length)
                        .map(|_| if round % 3 == 0 { (chance.next() & 1) as u8 * 255 } else { chance.next() as u8 })
                        .collect()
                })
                .collect();
            let (mut wide, mut plain) = (vec![0; length], vec![0; length]);
            simd::run(Halfway { taps: std::array::from_fn(|tap| rows[tap].as_slice()), out: &mut wide });
            simd::Kernel::run(Halfway { taps: std::array::from_fn(|tap| rows[tap].as_slice()), out: &mut plain });
            assert_eq!(wide, plain, "round {round}");
        }
    }

    #[test]
    fn between_equal_pictures_lies_the_same_picture() {
        assert_eq!(middle(&texture(0.0), &texture(0.0), &Halt::default()).unwrap(), texture(0.0));
    }
}
