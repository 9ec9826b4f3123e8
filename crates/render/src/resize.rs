//! Lanczos3 scaling of pictures, up and down. Separable, in 32-bit floats so that the compiler vectorises it.

use crate::error::Error;
use crate::frame::Frame;
use crate::pool::Halt;
use crate::request::Size;
use crate::simd;

/// Rows between two looks at cancellation; about 2 ms at 4K.
const BAND: usize = 32;

/// For each output position: the first input position and the weights from there on, `taps` of them.
#[derive(Debug)]
struct Kernel {
    taps: usize,
    first: Vec<usize>,
    weights: Vec<f32>,
}

impl Kernel {
    fn new(from: usize, to: usize) -> Self {
        let ratio = from as f64 / to as f64;
        let stretch = ratio.max(1.0); // Scaling down, the filter widens to cover every input pixel.
        let taps = ((6.0 * stretch).ceil() as usize + 1).min(from);
        let mut kernel = Self { taps, first: Vec::with_capacity(to), weights: Vec::with_capacity(to * taps) };
        for position in 0..to {
            let centre = (position as f64 + 0.5) * ratio - 0.5;
            let start = (centre - 3.0 * stretch).ceil() as i64;
            let first = start.clamp(0, (from - taps) as i64);
            let at = kernel.weights.len();
            kernel.weights.resize(at + taps, 0.0);
            // Weight beyond the edge goes to the edge pixel.
            for tap in start..start + (6.0 * stretch).ceil() as i64 + 1 {
                let slot = (tap.clamp(0, from as i64 - 1) - first).clamp(0, taps as i64 - 1) as usize;
                kernel.weights[at + slot] += lanczos((tap as f64 - centre) / stretch) as f32;
            }
            let sum: f32 = kernel.weights[at..].iter().sum();
            kernel.weights[at..].iter_mut().for_each(|weight| *weight /= sum);
            kernel.first.push(first as usize);
        }
        kernel
    }

    fn weights(&self, position: usize) -> &[f32] {
        &self.weights[position * self.taps..(position + 1) * self.taps]
    }
}

fn lanczos(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        return 1.0;
    }
    if x.abs() >= 3.0 {
        return 0.0;
    }
    let angle = std::f64::consts::PI * x;
    3.0 * angle.sin() * (angle / 3.0).sin() / (angle * angle)
}

/// Scales pictures from one size to another; the weights are computed once.
#[derive(Debug)]
pub(crate) struct Resizer {
    from: Size,
    to: Size,
    luma: [Kernel; 2],
    chroma: [Kernel; 2],
}

impl Resizer {
    /// Both sizes must be even.
    pub(crate) fn new(from: Size, to: Size) -> Self {
        let pair = |divisor: u32| {
            [
                Kernel::new((from.width / divisor) as usize, (to.width / divisor) as usize),
                Kernel::new((from.height / divisor) as usize, (to.height / divisor) as usize),
            ]
        };
        Self { from, to, luma: pair(1), chroma: pair(2) }
    }

    pub(crate) fn run(&self, frame: &Frame, halt: &Halt) -> Result<Frame, Error> {
        assert!(frame.size == self.from, "a resizer for {} was given {}", self.from, frame.size);
        if self.from == self.to {
            return Ok(frame.clone());
        }
        let mut out = Frame::new(self.to);
        plane(&frame.y, &self.luma, &mut out.y, halt)?;
        plane(&frame.u, &self.chroma, &mut out.u, halt)?;
        plane(&frame.v, &self.chroma, &mut out.v, halt)?;
        Ok(out)
    }
}

/// Rows scaled across at once, side by side, so that one instruction does all of them.
const LANES: usize = 8;

fn plane(input: &[u8], [across, down]: &[Kernel; 2], out: &mut [u8], halt: &Halt) -> Result<(), Error> {
    let width = across.first.len();
    let rows = down.first.last().map_or(0, |first| first + down.taps);
    let width_in = input.len() / rows;
    // Rows already scaled across: as many as one output row needs and a batch more, used round and round.
    let ring = down.taps.next_multiple_of(LANES) + LANES;
    let mut middle = vec![0_f32; width * ring];
    let mut side_by_side = vec![[0_f32; LANES]; width_in];
    let mut ready = 0;
    for (row, line) in out.chunks_exact_mut(width).enumerate() {
        if row % BAND == 0 {
            halt.check()?;
        }
        let first = down.first[row];
        while ready < first + down.taps {
            let source = &input[ready * width_in..];
            let wide = &mut middle[ready % ring * width..][..width * LANES];
            simd::run(Across { source, width_in, kernel: across, side_by_side: &mut side_by_side, wide });
            ready += LANES;
        }
        simd::run(Down { middle: &middle, ring, first, weights: down.weights(row), line });
    }
    Ok(())
}

/// Scales up to eight rows across.
struct Across<'a> {
    source: &'a [u8],
    width_in: usize,
    kernel: &'a Kernel,
    side_by_side: &'a mut [[f32; LANES]],
    wide: &'a mut [f32],
}

impl simd::Kernel for Across<'_> {
    #[inline(always)]
    fn run(self) {
        for (lane, row) in self.source.chunks_exact(self.width_in).take(LANES).enumerate() {
            for (value, byte) in self.side_by_side.iter_mut().zip(row) {
                value[lane] = f32::from(*byte);
            }
        }
        let width = self.kernel.first.len();
        let mut rows = self.wide.chunks_exact_mut(width);
        let mut row = || rows.next().unwrap_or_default();
        let lanes: [&mut [f32]; LANES] = [row(), row(), row(), row(), row(), row(), row(), row()];
        let taps = self.kernel.taps;
        for (position, &first) in self.kernel.first.iter().enumerate() {
            let weights = self.kernel.weights(position);
            let values = &self.side_by_side[first..first + taps];
            let mut sums = [0_f32; LANES];
            // Seven taps, which is every enlargement: without a loop.
            if let (Ok(values), Ok(weights)) = (<&[[f32; LANES]; 7]>::try_from(values), <&[f32; 7]>::try_from(weights))
            {
                for tap in 0..7 {
                    for lane in 0..LANES {
                        sums[lane] += values[tap][lane] * weights[tap];
                    }
                }
            } else {
                for (values, weight) in values.iter().zip(weights) {
                    for lane in 0..LANES {
                        sums[lane] += values[lane] * weight;
                    }
                }
            }
            for lane in 0..LANES {
                lanes[lane][position] = sums[lane];
            }
        }
    }
}

/// Makes one output row of the rows scaled across.
struct Down<'a> {
    middle: &'a [f32],
    ring: usize,
    first: usize,
    weights: &'a [f32],
    line: &'a mut [u8],
}

impl simd::Kernel for Down<'_> {
    #[inline(always)]
    fn run(self) {
        let width = self.line.len();
        let row = |tap: usize| &self.middle[(self.first + tap) % self.ring * width..][..width];
        // Seven taps, which is every enlargement: all of a pixel's sum in registers.
        if let Ok(w) = <&[f32; 7]>::try_from(self.weights) {
            let [a, b, c, d, e, f, g] = [row(0), row(1), row(2), row(3), row(4), row(5), row(6)];
            for (x, byte) in self.line.iter_mut().enumerate() {
                let sum = 0.5
                    + a[x] * w[0]
                    + b[x] * w[1]
                    + c[x] * w[2]
                    + d[x] * w[3]
                    + e[x] * w[4]
                    + f[x] * w[5]
                    + g[x] * w[6];
                *byte = sum as u8; // Saturates.
            }
            return;
        }
        let mut sums = vec![0.5_f32; width]; // Rounds to nearest below.
        for (tap, weight) in self.weights.iter().enumerate() {
            for (sum, value) in sums.iter_mut().zip(row(tap)) {
                *sum += value * weight;
            }
        }
        for (byte, sum) in self.line.iter_mut().zip(&sums) {
            *byte = *sum as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves(size: Size) -> Frame {
        let mut frame = Frame::new(size);
        for (i, value) in frame.y.iter_mut().enumerate() {
            let x = (i as u32 % size.width) as f64 + 0.5;
            let y = (i as u32 / size.width) as f64 + 0.5;
            let (x, y) = (x / f64::from(size.width), y / f64::from(size.height));
            *value = (128.0 + 50.0 * (x * 30.0).sin() + 40.0 * (y * 25.0 + x * 8.0).cos()).round() as u8;
        }
        frame
    }

    #[test]
    fn smooth_pictures_survive_any_change_of_size() {
        let halt = Halt::default();
        for (from, to) in
            [((854, 480), (1920, 1080)), ((854, 480), (192, 108)), ((106, 60), (854, 480)), ((64, 64), (66, 62))]
        {
            let (from, to) = (Size::new(from.0, from.1), Size::new(to.0, to.1));
            let scaled = Resizer::new(from, to).run(&waves(from), &halt).unwrap();
            let psnr = scaled.psnr(&waves(to));
            assert!(psnr > 44.0, "{from} to {to}: {psnr:.1} dB");
        }
    }

    /// The sum as it is defined, in 64 bits, each output pixel on its own.
    fn exact(input: &[u8], from: Size, to: Size) -> Vec<u8> {
        let weights = |from: u32, to: u32, position: u32| {
            let ratio = f64::from(from) / f64::from(to);
            let (stretch, centre) = (ratio.max(1.0), (f64::from(position) + 0.5) * ratio - 0.5);
            let reach = (centre - 3.0 * stretch).floor() as i64..=(centre + 3.0 * stretch).ceil() as i64;
            let all: Vec<(usize, f64)> = reach
                .map(|tap| (tap.clamp(0, i64::from(from) - 1) as usize, lanczos((tap as f64 - centre) / stretch)))
                .collect();
            let sum: f64 = all.iter().map(|(_, weight)| weight).sum();
            all.into_iter().map(move |(at, weight)| (at, weight / sum)).collect::<Vec<_>>()
        };
        let columns: Vec<_> = (0..to.width).map(|x| weights(from.width, to.width, x)).collect();
        let mut out = Vec::new();
        for y in 0..to.height {
            let rows = weights(from.height, to.height, y);
            for column in &columns {
                let mut sum = 0.0;
                for (row, down) in &rows {
                    for (x, across) in column {
                        sum += f64::from(input[row * from.width as usize + x]) * down * across;
                    }
                }
                out.push((sum + 0.5).clamp(0.0, 255.0) as u8);
            }
        }
        out
    }

    #[test]
    fn scaling_is_within_fifty_decibels_of_the_exact_sum() {
        let noise = crate::noise::Noise::new(9);
        for (from, to) in [((214, 120), (480, 270)), ((214, 120), (192, 108)), ((66, 90), (150, 64))] {
            let (from, to) = (Size::new(from.0, from.1), Size::new(to.0, to.1));
            let mut frame = Frame::new(from);
            for (i, value) in frame.y.iter_mut().enumerate() {
                let (x, y) = (i as u32 % from.width, i as u32 / from.width);
                // Fine detail, and full black and white, where sums overshoot.
                let fine = noise.layers(x as f32 * 0.7, y as f32 * 0.7, 3);
                *value = if (x / 9 + y / 7) % 5 == 0 { (x as u8 & 1) * 255 } else { (fine * 255.0) as u8 };
            }
            let made = Resizer::new(from, to).run(&frame, &Halt::default()).unwrap();
            let mut truth = Frame::new(to);
            truth.y = exact(&frame.y, from, to);
            assert!(made.psnr(&truth) > 50.0, "{from} to {to}: {:.1} dB", made.psnr(&truth));
        }
    }

    #[test]
    fn wide_registers_give_the_same_bytes() {
        let mut chance = crate::prompt::Chance::new(simd::seed());
        for round in 0..40 {
            let width = 1 + (chance.next() % 90) as usize;
            let taps = 1 + (chance.next() % 9) as usize;
            let ring = taps.next_multiple_of(LANES) + LANES;
            let middle: Vec<f32> = (0..width * ring).map(|_| chance.within(-20.0, 280.0)).collect();
            let weights: Vec<f32> = (0..taps).map(|_| chance.within(-0.2, 0.5)).collect();
            let first = (chance.next() % 50) as usize;
            let (mut wide, mut plain) = (vec![0; width], vec![0; width]);
            simd::run(Down { middle: &middle, ring, first, weights: &weights, line: &mut wide });
            simd::Kernel::run(Down { middle: &middle, ring, first, weights: &weights, line: &mut plain });
            assert_eq!(wide, plain, "round {round}: {width} pixels, {taps} taps");
            let kernel = Kernel::new(width, 1 + (chance.next() % 200) as usize);
            let source: Vec<u8> = (0..width * 5).map(|_| chance.next() as u8).collect();
            let run = |wide: bool| {
                let mut side_by_side = vec![[0.0; LANES]; width];
                let mut out = vec![0.0; kernel.first.len() * LANES];
                let across = Across {
                    source: &source,
                    width_in: width,
                    kernel: &kernel,
                    side_by_side: &mut side_by_side,
                    wide: &mut out,
                };
                if wide {
                    simd::run(across)
                } else {
                    simd::Kernel::run(across)
                }
                out
            };
            assert_eq!(run(true), run(false), "round {round}: {width} pixels across");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let from = Size::new(70, 64);
        let scaled = Resizer::new(from, Size::new(222, 130)).run(&Frame::new(from), &Halt::default()).unwrap();
        assert_eq!(scaled, Frame::new(Size::new(222, 130)));
    }
}
