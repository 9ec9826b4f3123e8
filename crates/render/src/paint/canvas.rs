//! The sheet pictures are drawn on, in linear light with depth. Owns laying, stretching and blurring; leaves the way to a
//! finished frame to `finish`.

use std::ops::Range;

use crate::colour::Rgb;
use crate::request::Size;
use crate::simd;

/// Rows between two looks at cancellation.
pub(super) const BAND: usize = 16;

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

    /// Pixels of a row, each with its column and its depth.
    pub(super) fn line(
        &mut self,
        y: usize,
        columns: Range<usize>,
    ) -> impl Iterator<Item = (usize, &mut Rgb, &mut f32)> {
        let places =
            if columns.is_empty() { 0..0 } else { y * self.width + columns.start..y * self.width + columns.end };
        let pixels = self.pixels[places.clone()].iter_mut().zip(&mut self.depth[places]);
        columns.zip(pixels).map(|(column, (pixel, depth))| (column, pixel, depth))
    }

    /// Whether something nearer than `depth` is seen at each of these pixels of a row.
    pub(super) fn hides_all(&self, y: usize, columns: Range<usize>, depth: f32) -> bool {
        self.depth[y * self.width..][columns].iter().all(|seen| depth > *seen)
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
        simd::run(Widen { sheet: self, y, stretch, out });
    }

    /// The two rows of this sheet around `y`, and how far it is from the upper to the lower.
    pub(super) fn around(&self, y: f32) -> (&[Rgb], &[Rgb], f32) {
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let upper = (y as usize).min(self.height.saturating_sub(2));
        let lower = (upper + 1).min(self.height - 1);
        let row = |row: usize| &self.pixels[row * self.width..][..self.width];
        (row(upper), row(lower), y - upper as f32)
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

/// Where the pixels of a row lie in a smaller sheet, whose first column lies over the first of them.
pub(super) struct Stretch {
    /// How far each pixel between two columns is on the way.
    parts: Vec<f32>,
    /// A row of the smaller sheet, and its edge going on as far as there are pixels.
    line: Vec<Rgb>,
}

impl Stretch {
    /// For `width` pixels over a sheet of `columns`, `cell` times smaller.
    pub(super) fn new(width: usize, columns: usize, cell: usize) -> Self {
        let parts = (0..cell).map(|step| step as f32 / cell as f32).collect();
        Self { parts, line: vec![Rgb::BLACK; columns.max(width.div_ceil(cell) + 1)] }
    }
}

/// A row of a sheet made wider.
struct Widen<'a> {
    sheet: &'a Canvas,
    y: f32,
    stretch: &'a mut Stretch,
    out: &'a mut [Rgb],
}

impl simd::Kernel for Widen<'_> {
    #[inline(always)]
    fn run(self) {
        let (upper, lower, part) = self.sheet.around(self.y);
        let (line, edge) = self.stretch.line.split_at_mut(upper.len());
        for ((value, a), b) in line.iter_mut().zip(upper).zip(lower) {
            *value = a.mix(*b, part);
        }
        edge.fill(line[line.len() - 1]);
        let parts = &self.stretch.parts;
        for (pair, out) in self.stretch.line.windows(2).zip(self.out.chunks_mut(parts.len())) {
            let step = pair[1] + pair[0] * -1.0;
            for (value, part) in out.iter_mut().zip(parts) {
                *value = pair[0] + step * *part;
            }
        }
    }
}
