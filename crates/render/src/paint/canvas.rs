//! The sheet pictures are drawn on, in linear light with depth, and how it becomes a finished frame: glow, tone,
//! vignette, dither, planes.

use crate::colour::{Rgb, Tone, smooth};
use crate::error::Error;
use crate::frame::Frame;
use crate::pool::Halt;
use crate::request::Size;

/// Rows between two looks at cancellation.
pub(super) const BAND: usize = 16;
/// Glow is computed at an eighth of the size.
const GLOW_CELL: usize = 8;

/// A picture under way.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<Rgb>,
    /// Distance from the eye along the view; infinite where there is sky.
    pub(super) depth: Vec<f32>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let pixels = width * height;
        Self { width, height, pixels: vec![Rgb::BLACK; pixels], depth: vec![f32::INFINITY; pixels] }
    }

    pub(super) fn of(size: Size) -> Self {
        Self::new(size.width as usize, size.height as usize)
    }

    /// Lays `colour` over a pixel where `cover` of it is seen at `depth`.
    pub(super) fn lay(&mut self, x: usize, y: usize, depth: f32, colour: Rgb, cover: f32) {
        let at = y * self.width + x;
        // What is as far lies on top: shapes are put together from overlapping parts.
        if depth <= self.depth[at] {
            self.pixels[at] = self.pixels[at].mix(colour, cover);
            if cover > 0.5 {
                self.depth[at] = depth;
            }
        }
    }

    /// Bilinear, clamped to the sheet; positions are pixel centres.
    pub(super) fn sample(&self, x: f32, y: f32) -> Rgb {
        let x = x.clamp(0.0, (self.width - 1) as f32);
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let (ix, iy) =
            ((x as usize).min(self.width.saturating_sub(2)), (y as usize).min(self.height.saturating_sub(2)));
        let (tx, ty) = (x - ix as f32, y - iy as f32);
        let at = iy * self.width + ix;
        let (right, down) = (usize::from(self.width > 1), if self.height > 1 { self.width } else { 0 });
        let top = self.pixels[at].mix(self.pixels[at + right], tx);
        let low = self.pixels[at + down].mix(self.pixels[at + down + right], tx);
        top.mix(low, ty)
    }

    /// One row of this sheet stretched `cell` times to each side, sampled at `y` of its own rows; `shift` is where the
    /// first pixel lies in its own columns. As [`Canvas::sample`] for a whole row at once.
    pub(super) fn stretched(&self, y: f32, cell: usize, shift: f32, line: &mut [Rgb], out: &mut [Rgb]) {
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let upper = (y as usize).min(self.height.saturating_sub(2));
        let part = y - upper as f32;
        let lower = (upper + 1).min(self.height - 1);
        let (upper, lower) = (&self.pixels[upper * self.width..], &self.pixels[lower * self.width..]);
        for ((value, a), b) in line[..self.width].iter_mut().zip(upper).zip(lower) {
            *value = a.mix(*b, part);
        }
        let last = (self.width - 1) as f32;
        let step = 1.0 / cell as f32;
        for (x, value) in out.iter_mut().enumerate() {
            let x = (x as f32 * step + shift).clamp(0.0, last);
            let left = (x as usize).min(self.width.saturating_sub(2));
            let right = (left + 1).min(self.width - 1);
            *value = line[left].mix(line[right], x - left as f32);
        }
    }

    /// This sheet at half the size, from its first rows.
    pub(super) fn halved(&self, height: usize) -> Self {
        let mut half = Self::new(self.width / 2, height);
        for (row, line) in half.pixels.chunks_exact_mut(self.width / 2).enumerate() {
            let upper = &self.pixels[(row * 2).min(self.height - 1) * self.width..];
            let lower = &self.pixels[(row * 2 + 1).min(self.height - 1) * self.width..];
            for (x, pixel) in line.iter_mut().enumerate() {
                *pixel = (upper[x * 2] + upper[x * 2 + 1] + lower[x * 2] + lower[x * 2 + 1]) * 0.25;
            }
        }
        half
    }

    /// What is brighter than paper, blurred wide.
    fn glow(&self) -> Self {
        let (width, height) = (self.width.div_ceil(GLOW_CELL), self.height.div_ceil(GLOW_CELL));
        let mut glow = Self::new(width, height);
        for (row, pixels) in self.pixels.chunks_exact(self.width).enumerate() {
            let line = &mut glow.pixels[row / GLOW_CELL * width..][..width];
            for (cell, pixels) in line.iter_mut().zip(pixels.chunks(GLOW_CELL)) {
                for pixel in pixels {
                    let luma = pixel.luma();
                    if luma > 0.7 {
                        *cell += *pixel * ((luma - 0.7) / luma).min(4.0 / luma);
                    }
                }
            }
        }
        let scale = 1.0 / (GLOW_CELL * GLOW_CELL) as f32;
        glow.pixels.iter_mut().for_each(|pixel| *pixel = *pixel * scale);
        let reach = (width.max(height) / 28).max(1);
        for _ in 0..3 {
            glow.blur(reach);
        }
        glow
    }

    /// A box of `2 * reach + 1` in both directions; three of them are nearly a bell.
    pub(super) fn blur(&mut self, reach: usize) {
        let (width, height) = (self.width, self.height);
        let mut line = vec![Rgb::BLACK; width.max(height)];
        for y in 0..height {
            line[..width].copy_from_slice(&self.pixels[y * width..][..width]);
            slide(&line[..width], reach, |x, sum| self.pixels[y * width + x] = sum);
        }
        for x in 0..width {
            for (y, value) in line[..height].iter_mut().enumerate() {
                *value = self.pixels[y * width + x];
            }
            slide(&line[..height], reach, |y, sum| self.pixels[y * width + x] = sum);
        }
    }
}

fn slide(line: &[Rgb], reach: usize, mut put: impl FnMut(usize, Rgb)) {
    let last = line.len() - 1;
    let scale = 1.0 / (2 * reach + 1) as f32;
    let mut sum = line[0] * (reach + 1) as f32;
    for step in 1..=reach {
        sum += line[step.min(last)];
    }
    for at in 0..=last {
        put(at, sum * scale);
        sum += line[(at + reach + 1).min(last)] + line[at.saturating_sub(reach)] * -1.0;
    }
}

/// How a canvas becomes a frame; the same for every picture of a film.
pub(super) struct Finish {
    tone: Tone,
    /// Exposure.
    pub(super) exposure: f32,
    /// Strength of the glow around lights.
    pub(super) glow: f32,
}

impl Finish {
    pub(super) fn new(exposure: f32, glow: f32) -> Self {
        Self { tone: Tone::new(), exposure, glow }
    }

    pub(super) fn frame(&self, canvas: &Canvas, halt: &Halt) -> Result<Frame, Error> {
        let (width, height) = (canvas.width, canvas.height);
        let mut frame = Frame::new(Size::new(width as u32, height as u32));
        let glow = canvas.glow();
        let mut colours = vec![(0.0_f32, 0.0_f32); width];
        let (mut line, mut light) = (vec![Rgb::BLACK; glow.width], vec![Rgb::BLACK; width]);
        let cell = 1.0 / GLOW_CELL as f32;
        let aside: Vec<f32> = (0..width).map(|x| (x as f32 / width as f32 - 0.5).powi(2)).collect();
        for row in 0..height {
            if row % BAND == 0 {
                halt.check()?;
            }
            if row % 2 == 0 {
                colours.fill((0.0, 0.0));
            }
            glow.stretched((row as f32 + 0.5) * cell - 0.5, GLOW_CELL, 0.5 * cell - 0.5, &mut line, &mut light);
            let off = (row as f32 / height as f32 - 0.5).powi(2);
            let pixels = &canvas.pixels[row * width..][..width];
            let lumas = &mut frame.y[row * width..][..width];
            for x in 0..width {
                let vignette = 1.0 - 0.42 * smooth(0.25, 1.1, (aside[x] + off) * 2.2);
                let pixel = (pixels[x] + light[x] * self.glow) * (self.exposure * vignette);
                let (r, g, b) = (self.tone.screen(pixel.r), self.tone.screen(pixel.g), self.tone.screen(pixel.b));
                let luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
                lumas[x] = (16.0 + 219.0 * luma + dither(x, row)) as u8;
                colours[x].0 += (b - luma) * (1.0 / 1.8556);
                colours[x].1 += (r - luma) * (1.0 / 1.5748);
            }
            if row % 2 == 1 {
                let at = row / 2 * (width / 2);
                for (x, pair) in colours.chunks_exact(2).enumerate() {
                    let grain = dither(x * 3 + 1, row / 2 + 5);
                    frame.u[at + x] = (128.0 + 56.0 * (pair[0].0 + pair[1].0) + grain) as u8;
                    frame.v[at + x] = (128.0 + 56.0 * (pair[0].1 + pair[1].1) + grain) as u8;
                }
            }
        }
        Ok(frame)
    }
}

/// From 0 to 1, evenly spread over any small patch and the same in every picture: hides the steps of 8 bits without
/// flicker, and costs an encoder almost nothing.
fn dither(x: usize, y: usize) -> f32 {
    let x = (x & 7) as u32;
    let y = (y & 7) as u32;
    let mixed = x ^ y;
    let bits = (mixed & 1) << 5 | (y & 1) << 4 | (mixed & 2) << 2 | (y & 2) << 1 | (mixed & 4) >> 1 | (y & 4) >> 2;
    (bits as f32 + 0.5) / 64.0
}
