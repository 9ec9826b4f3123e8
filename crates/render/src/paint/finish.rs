//! How a canvas becomes a finished frame: glow, tone, vignette, dither, planes. The same for every picture of a film.

use super::canvas::{BAND, Canvas};
use crate::colour::{Rgb, Tone};
use crate::error::Error;
use crate::frame::Frame;
use crate::lanes::{LANES, Lanes, Real};
use crate::pool::Halt;
use crate::request::Size;
use crate::simd;

/// Glow is computed at an eighth of the size: eight pixels of a row lie half over one cell and half over the next.
const GLOW_CELL: usize = LANES;
/// What is darker than this does not glow.
const GLOW_FROM: f32 = 0.7;

/// The numbers of one film.
pub(super) struct Finish {
    exposure: f32,
    /// Strength of the glow around lights.
    glow: f32,
    tone: Tone,
}

impl Finish {
    pub(super) fn new(exposure: f32, glow: f32) -> Self {
        Self { exposure, glow, tone: Tone::new() }
    }

    pub(super) fn frame(&self, canvas: &Canvas, halt: &Halt) -> Result<Frame, Error> {
        let (width, height) = (canvas.width, canvas.height);
        let mut frame = Frame::new(Size::new(width as u32, height as u32));
        let glow = self.glow(canvas);
        let mut row = Row::new(width, glow.width);
        for y in 0..height {
            if y % BAND == 0 {
                halt.check()?;
            }
            row.light(&glow, y);
            let off = (y as f32 / height as f32 - 0.5).powi(2);
            simd::run(Develop { finish: self, y, off, pixels: &canvas.pixels[y * width..][..width], row: &mut row });
            frame.y[y * width..][..width].copy_from_slice(&row.lumas[..width]);
            if y % 2 == 1 {
                for (plane, sums) in [&mut frame.u, &mut frame.v].into_iter().zip(&row.colours) {
                    simd::run(Halve { sums, y: y / 2, line: &mut row.halves });
                    plane[y / 2 * (width / 2)..][..width / 2].copy_from_slice(&row.halves[..width / 2]);
                }
            }
        }
        Ok(frame)
    }

    /// What is brighter than paper, blurred wide, as strong as it is seen.
    fn glow(&self, canvas: &Canvas) -> Canvas {
        let (width, height) = (canvas.width.div_ceil(GLOW_CELL), canvas.height.div_ceil(GLOW_CELL));
        let mut glow = Canvas::new(width, height);
        for (y, pixels) in canvas.pixels.chunks_exact(canvas.width).enumerate() {
            simd::run(Gather { pixels, line: &mut glow.pixels[y / GLOW_CELL * width..][..width] });
        }
        let scale = self.glow / (GLOW_CELL * GLOW_CELL) as f32;
        glow.pixels.iter_mut().for_each(|pixel| *pixel = *pixel * scale);
        let reach = (width.max(height) / 28).max(1);
        for _ in 0..3 {
            glow.blur(reach);
        }
        glow
    }
}

/// Adds what glows of a row of pixels to the cells over it.
struct Gather<'a> {
    pixels: &'a [Rgb],
    line: &'a mut [Rgb],
}

impl simd::Kernel for Gather<'_> {
    #[inline(always)]
    fn run(self) {
        for (cell, pixels) in self.line.iter_mut().zip(self.pixels.chunks(GLOW_CELL)) {
            // Light cannot be brighter than its brightest colour; most cells have nothing that is.
            let peak = pixels.iter().fold(Rgb::BLACK, |peak, pixel| peak.greater(*pixel));
            if peak.r <= GLOW_FROM && peak.g <= GLOW_FROM && peak.b <= GLOW_FROM {
                continue;
            }
            for pixel in pixels {
                let luma = pixel.luma();
                if luma > GLOW_FROM {
                    *cell += *pixel * ((luma - GLOW_FROM) / luma).min(4.0 / luma);
                }
            }
        }
    }
}

/// A row under way, as long as whole groups of [`LANES`] need it.
struct Row {
    /// How far off the middle each column lies, squared.
    aside: Vec<f32>,
    /// The glow of the cells over it; the first and the last go on beyond the edges.
    glow: Vec<Rgb>,
    lumas: Vec<u8>,
    /// Blue and red differences: an odd row adds to the even one above.
    colours: [Vec<f32>; 2],
    halves: Vec<u8>,
}

impl Row {
    fn new(width: usize, cells: usize) -> Self {
        let wide = width.next_multiple_of(2 * LANES);
        Self {
            aside: (0..wide).map(|x| (x as f32 / width as f32 - 0.5).powi(2)).collect(),
            glow: vec![Rgb::BLACK; cells + 2],
            lumas: vec![0; wide],
            colours: [vec![0.0; wide], vec![0.0; wide]],
            halves: vec![0; wide / 2],
        }
    }

    /// Takes the glow over row `y`.
    fn light(&mut self, glow: &Canvas, y: usize) {
        let (upper, lower, part) = glow.around((y as f32 + 0.5) / GLOW_CELL as f32 - 0.5);
        let last = self.glow.len() - 1;
        for ((value, a), b) in self.glow[1..last].iter_mut().zip(upper).zip(lower) {
            *value = a.mix(*b, part);
        }
        (self.glow[0], self.glow[last]) = (self.glow[1], self.glow[last - 1]);
    }
}

/// One row on its way from light to a screen.
struct Develop<'a> {
    finish: &'a Finish,
    y: usize,
    /// How far off the middle the row lies, squared.
    off: f32,
    pixels: &'a [Rgb],
    row: &'a mut Row,
}

impl simd::Kernel for Develop<'_> {
    #[inline(always)]
    fn run(self) {
        let grain = Lanes(std::array::from_fn(|lane| dither(lane, self.y)));
        let kept = if self.y.is_multiple_of(2) { 0.0 } else { 1.0 };
        let tone = &self.finish.tone;
        let Row { aside, glow, lumas, colours: [blues, reds], .. } = self.row;
        let outs = blues.chunks_exact_mut(LANES).zip(reds.chunks_exact_mut(LANES));
        let outs = outs.zip(lumas.chunks_exact_mut(LANES));
        let lines = self.pixels.chunks(LANES).zip(aside.chunks_exact(LANES)).zip(glow.windows(3));
        let mut edge = [Rgb::BLACK; LANES];
        for (((pixels, aside), glow), ((blues, reds), lumas)) in lines.zip(outs) {
            let pixels: &[Rgb; LANES] = match pixels.try_into() {
                Ok(pixels) => pixels,
                Err(_) => {
                    edge[..pixels.len()].copy_from_slice(pixels);
                    &edge
                }
            };
            let aside = Lanes(std::array::from_fn(|lane| aside[lane]));
            let vignette = ((aside + self.off) * 2.2).smooth(0.25, 1.1) * -0.42 + 1.0;
            let exposure = vignette * self.finish.exposure;
            let [mut r, mut g, mut b] = [Lanes([0.0; LANES]); 3];
            for (lane, own) in pixels.iter().enumerate() {
                (r.0[lane], g.0[lane], b.0[lane]) = (own.r, own.g, own.b);
            }
            let r = tone.screen((r + between([glow[0].r, glow[1].r, glow[2].r])) * exposure);
            let g = tone.screen((g + between([glow[0].g, glow[1].g, glow[2].g])) * exposure);
            let b = tone.screen((b + between([glow[0].b, glow[1].b, glow[2].b])) * exposure);
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

/// What three cells beside each other are at the eight pixels under the middle one.
#[inline(always)]
fn between([before, here, after]: [f32; 3]) -> Lanes {
    let mut values = Lanes([0.0; LANES]);
    for (lane, value) in values.0.iter_mut().enumerate() {
        let left = lane < LANES / 2;
        let (from, to) = if left { (before, here) } else { (here, after) };
        let part = (lane as f32 + if left { 4.5 } else { -3.5 }) * (1.0 / GLOW_CELL as f32);
        *value = from + (to - from) * part;
    }
    values
}

/// One row of a colour plane: each value stands for four pixels.
struct Halve<'a> {
    sums: &'a [f32],
    y: usize,
    line: &'a mut [u8],
}

impl simd::Kernel for Halve<'_> {
    #[inline(always)]
    fn run(self) {
        let grain: [f32; LANES] = std::array::from_fn(|x| dither(x * 3 + 1, self.y + 5) + 128.0);
        for (values, sums) in self.line.chunks_exact_mut(LANES).zip(self.sums.chunks_exact(2 * LANES)) {
            for lane in 0..LANES {
                values[lane] = ((sums[2 * lane] + sums[2 * lane + 1]) * 56.0 + grain[lane]) as i32 as u8;
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
