//! The sheet pictures are drawn on, in linear light with depth, and how it becomes a finished frame: glow, tone,
//! vignette, dither, planes.

use crate::colour::{Rgb, screen};
use crate::error::Error;
use crate::frame::Frame;
use crate::lanes::{LANES, Lanes, Real};
use crate::pool::Halt;
use crate::request::Size;
use crate::simd;

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

    /// Whether something nearer than `depth` is seen at a pixel.
    pub(super) fn hides(&self, x: usize, y: usize, depth: f32) -> bool {
        depth > self.depth[y * self.width + x]
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

    /// A row of this sheet between two of its own, at `y`, into the places of `stretch`, linear both ways.
    pub(super) fn stretched(&self, y: f32, stretch: &mut Stretch, out: &mut [Rgb]) {
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let upper = (y as usize).min(self.height.saturating_sub(2));
        let part = y - upper as f32;
        let lower = (upper + 1).min(self.height - 1);
        let (upper, lower) = (&self.pixels[upper * self.width..], &self.pixels[lower * self.width..]);
        let (line, edge) = stretch.line.split_at_mut(self.width);
        for ((value, a), b) in line.iter_mut().zip(upper).zip(lower) {
            *value = a.mix(*b, part);
        }
        edge.fill(line[self.width - 1]);
        let (before, out) = out.split_at_mut(stretch.before.min(out.len()));
        before.fill(stretch.line[0]);
        for (pair, out) in stretch.line.windows(2).zip(out.chunks_mut(stretch.cell)) {
            let step = pair[1] + pair[0] * -1.0;
            for (value, part) in out.iter_mut().zip(&stretch.parts) {
                *value = pair[0] + step * *part;
            }
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

/// Where the pixels of a row lie in a smaller sheet.
pub(super) struct Stretch {
    /// Pixels to the left of the sheet's first column.
    before: usize,
    /// Pixels from one column to the next, and how far each of them is on the way.
    cell: usize,
    parts: Vec<f32>,
    /// A row of the smaller sheet, and its edge going on as far as there are pixels.
    line: Vec<Rgb>,
}

impl Stretch {
    /// For `width` pixels over a sheet of `columns`, `cell` times smaller, whose first column lies over the first pixel.
    pub(super) fn corners(width: usize, columns: usize, cell: usize) -> Self {
        Self::new(width, columns, (cell, 0), 0.0)
    }

    /// The same where each column lies in the middle of the pixels it was made of; an even number of them.
    fn middles(width: usize, columns: usize, cell: usize) -> Self {
        Self::new(width, columns, (cell, cell / 2), 0.5)
    }

    fn new(width: usize, columns: usize, (cell, before): (usize, usize), shift: f32) -> Self {
        let parts = (0..cell).map(|step| (step as f32 + shift) / cell as f32).collect();
        let reached = width.saturating_sub(before).div_ceil(cell) + 1;
        Self { before, cell, parts, line: vec![Rgb::BLACK; columns.max(reached)] }
    }
}

/// How a canvas becomes a frame; the same for every picture of a film.
pub(super) struct Finish {
    /// Exposure.
    pub(super) exposure: f32,
    /// Strength of the glow around lights.
    pub(super) glow: f32,
}

impl Finish {
    pub(super) fn new(exposure: f32, glow: f32) -> Self {
        Self { exposure, glow }
    }

    pub(super) fn frame(&self, canvas: &Canvas, halt: &Halt) -> Result<Frame, Error> {
        let (width, height) = (canvas.width, canvas.height);
        let mut frame = Frame::new(Size::new(width as u32, height as u32));
        let glow = canvas.glow();
        let wide = width.next_multiple_of(LANES);
        let mut colours = [vec![0.0_f32; wide], vec![0.0_f32; wide]];
        let (mut pixels, mut light) = (vec![Rgb::BLACK; wide], vec![Rgb::BLACK; wide]);
        let (mut lumas, cell) = (vec![0_u8; wide], 1.0 / GLOW_CELL as f32);
        let mut stretch = Stretch::middles(width, glow.width, GLOW_CELL);
        let aside: Vec<f32> = (0..wide).map(|x| (x as f32 / width as f32 - 0.5).powi(2)).collect();
        for row in 0..height {
            if row % BAND == 0 {
                halt.check()?;
            }
            glow.stretched((row as f32 + 0.5) * cell - 0.5, &mut stretch, &mut light[..width]);
            pixels[..width].copy_from_slice(&canvas.pixels[row * width..][..width]);
            simd::run(Develop {
                finish: self,
                row,
                off: (row as f32 / height as f32 - 0.5).powi(2),
                aside: &aside,
                pixels: &pixels,
                light: &light,
                lumas: &mut lumas,
                colours: &mut colours,
            });
            frame.y[row * width..][..width].copy_from_slice(&lumas[..width]);
            if row % 2 == 1 {
                for (plane, sums) in [&mut frame.u, &mut frame.v].into_iter().zip(&colours) {
                    let line = &mut plane[row / 2 * (width / 2)..][..width / 2];
                    for (x, (value, pair)) in line.iter_mut().zip(sums.chunks_exact(2)).enumerate() {
                        *value = (128.0 + 56.0 * (pair[0] + pair[1]) + dither(x * 3 + 1, row / 2 + 5)) as u8;
                    }
                }
            }
        }
        Ok(frame)
    }
}

/// One row on its way from light to a screen. All rows are of one length, a multiple of [`LANES`].
struct Develop<'a> {
    finish: &'a Finish,
    row: usize,
    /// How far off the middle the row and each column lie, squared.
    off: f32,
    aside: &'a [f32],
    pixels: &'a [Rgb],
    light: &'a [Rgb],
    lumas: &'a mut [u8],
    /// Blue and red differences: an odd row adds to the even one above.
    colours: &'a mut [Vec<f32>; 2],
}

impl simd::Kernel for Develop<'_> {
    #[inline(always)]
    fn run(self) {
        let grain = Lanes(std::array::from_fn(|lane| dither(lane, self.row)));
        let kept = if self.row.is_multiple_of(2) { 0.0 } else { 1.0 };
        let [blues, reds] = self.colours;
        let lines = self.pixels.chunks_exact(LANES).zip(self.light.chunks_exact(LANES));
        let outs = blues.chunks_exact_mut(LANES).zip(reds.chunks_exact_mut(LANES));
        let lines = lines.zip(self.lumas.chunks_exact_mut(LANES)).zip(self.aside.chunks_exact(LANES));
        for ((((pixels, light), lumas), aside), (blues, reds)) in lines.zip(outs) {
            let aside = Lanes(std::array::from_fn(|lane| aside[lane]));
            let vignette = ((aside + self.off) * 2.2).smooth(0.25, 1.1) * -0.42 + 1.0;
            let exposure = vignette * self.finish.exposure;
            // Joined while the three colours are beside each other, so that they are taken apart once.
            let [mut r, mut g, mut b] = [Lanes([0.0; LANES]); 3];
            for (lane, (own, glow)) in pixels.iter().zip(light).enumerate() {
                let sum = *own + *glow * self.finish.glow;
                (r.0[lane], g.0[lane], b.0[lane]) = (sum.r, sum.g, sum.b);
            }
            let (r, g, b) = (screen(r * exposure), screen(g * exposure), screen(b * exposure));
            let luma = r * 0.2126 + g * 0.7152 + b * 0.0722;
            let levels = luma * 219.0 + 16.0 + grain;
            let (blue, red) = ((b - luma) * (1.0 / 1.8556), (r - luma) * (1.0 / 1.5748));
            for lane in 0..LANES {
                lumas[lane] = levels.0[lane] as i32 as u8;
                blues[lane] = blues[lane] * kept + blue.0[lane];
                reds[lane] = reds[lane] * kept + red.0[lane];
            }
        }
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
