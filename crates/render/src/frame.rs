//! One finished picture: planar 4:2:0, 8 bits, BT.709, limited range, which is what the video encoder takes.
//! Owns the planes' layout; leaves colour to `canvas` and files to `kept`.

use crate::error::Error;
use crate::request::Size;
use crate::webp;

/// A picture in three planes. Sides are even; `u` and `v` have half of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Size of the luma plane, even.
    pub size: Size,
    /// Luma, 16 to 235.
    pub y: Vec<u8>,
    /// Blue difference around 128.
    pub u: Vec<u8>,
    /// Red difference around 128.
    pub v: Vec<u8>,
}

impl Frame {
    /// A black picture.
    ///
    /// # Panics
    /// If a side is odd or zero.
    #[must_use]
    pub fn new(size: Size) -> Self {
        assert!(size.even() == size && size.pixels() > 0, "frame sides must be even: {size}");
        let pixels = size.pixels() as usize;
        Self { size, y: vec![16; pixels], u: vec![128; pixels / 4], v: vec![128; pixels / 4] }
    }

    /// Size of the two colour planes.
    #[must_use]
    pub fn chroma(&self) -> Size {
        Size::new(self.size.width / 2, self.size.height / 2)
    }

    /// Bytes in all three planes of a picture of this size.
    #[must_use]
    pub const fn bytes(size: Size) -> usize {
        (size.pixels() / 2 * 3) as usize
    }

    /// Each plane with its size: luma, blue, red.
    #[must_use]
    pub fn planes(&self) -> [(&[u8], Size); 3] {
        [(&self.y, self.size), (&self.u, self.chroma()), (&self.v, self.chroma())]
    }

    /// This picture as a lossy WebP file, `quality` from 0 to 100.
    ///
    /// # Errors
    /// [`Error::Encoder`]: out of memory.
    pub fn to_webp(&self, quality: f32) -> Result<Vec<u8>, Error> {
        webp::encode(self, quality.clamp(0.0, 100.0), webp::Effort::Kept)
    }

    /// This picture as a preview: a lossy WebP file made in a quarter of the time of [`Frame::to_webp`].
    ///
    /// # Errors
    /// As [`Frame::to_webp`].
    pub fn to_preview(&self) -> Result<Vec<u8>, Error> {
        webp::encode(self, webp::PREVIEW_QUALITY, webp::Effort::Preview)
    }

    /// Likeness of two pictures' luma in decibels; infinite when equal. Pictures of different sizes have none.
    #[must_use]
    pub fn psnr(&self, other: &Self) -> f64 {
        if self.size != other.size {
            return 0.0;
        }
        let squares: u64 = self.y.iter().zip(&other.y).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        10.0 * (255.0 * 255.0 * self.y.len() as f64 / squares as f64).log10()
    }
}
