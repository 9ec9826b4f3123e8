//! Lanczos3 scaling of pictures, up and down. Separable, in 32-bit floats so that the compiler vectorises it.

use crate::error::Error;
use crate::frame::Frame;
use crate::pool::Halt;
use crate::request::Size;

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

fn plane(input: &[u8], [across, down]: &[Kernel; 2], out: &mut [u8], halt: &Halt) -> Result<(), Error> {
    let width = across.first.len();
    let rows = down.first.last().map_or(0, |first| first + down.taps);
    let width_in = input.len() / rows;
    let mut middle = vec![0_f32; width * rows];
    let mut source = vec![0_f32; width_in];
    for (row, (narrow, wide)) in input.chunks_exact(width_in).zip(middle.chunks_exact_mut(width)).enumerate() {
        if row % BAND == 0 {
            halt.check()?;
        }
        for (value, byte) in source.iter_mut().zip(narrow) {
            *value = f32::from(*byte);
        }
        for (position, value) in wide.iter_mut().enumerate() {
            let first = across.first[position];
            let taps = &source[first..first + across.taps];
            *value = taps.iter().zip(across.weights(position)).map(|(value, weight)| value * weight).sum();
        }
    }
    let mut sums = vec![0_f32; width];
    for (row, line) in out.chunks_exact_mut(width).enumerate() {
        if row % BAND == 0 {
            halt.check()?;
        }
        sums.fill(0.5); // Rounds to nearest below.
        let first = down.first[row];
        for (weight, values) in down.weights(row).iter().zip(middle[first * width..].chunks_exact(width)) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value * weight;
            }
        }
        for (byte, sum) in line.iter_mut().zip(&sums) {
            *byte = *sum as u8; // Saturates.
        }
    }
    Ok(())
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

    #[test]
    fn a_flat_picture_stays_flat() {
        let from = Size::new(70, 64);
        let scaled = Resizer::new(from, Size::new(222, 130)).run(&Frame::new(from), &Halt::default()).unwrap();
        assert_eq!(scaled, Frame::new(Size::new(222, 130)));
    }
}
