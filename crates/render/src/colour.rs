//! Light as three numbers, linear and unbounded, and the way from there to a screen.

use std::ops::{Add, AddAssign, Mul};

use crate::lanes::Real;

/// Linear light; 1 is a white wall in the sun, a sun's disc is far above.
///
/// Four lanes, so that one instruction does all three. The fourth may carry a number that is mixed along with them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(crate) struct Rgb {
    pub(crate) r: f32,
    pub(crate) g: f32,
    pub(crate) b: f32,
    spare: f32,
}

impl Rgb {
    pub(crate) const BLACK: Self = Self::new(0.0, 0.0, 0.0);
    pub(crate) const WHITE: Self = Self::new(1.0, 1.0, 1.0);

    pub(crate) const fn new(r: f32, g: f32, b: f32) -> Self {
        Self { r, g, b, spare: 0.0 }
    }

    /// A screen colour written as in CSS, `0xrrggbb`.
    pub(crate) fn hex(code: u32) -> Self {
        let linear = |shift: u32| {
            let value = ((code >> shift) & 255) as f32 / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        Self::new(linear(16), linear(8), linear(0))
    }

    /// The same light with another number beside it.
    #[inline]
    pub(crate) const fn carrying(self, number: f32) -> Self {
        Self { spare: number, ..self }
    }

    #[inline]
    pub(crate) const fn carried(self) -> f32 {
        self.spare
    }

    #[inline]
    pub(crate) fn mix(self, other: Self, part: f32) -> Self {
        self * (1.0 - part) + other * part
    }

    #[inline]
    pub(crate) fn luma(self) -> f32 {
        0.2126 * self.r + 0.7152 * self.g + 0.0722 * self.b
    }

    #[inline]
    pub(crate) fn tint(self, by: Self) -> Self {
        Self::new(self.r * by.r, self.g * by.g, self.b * by.b)
    }
}

impl Add for Rgb {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self { r: self.r + other.r, g: self.g + other.g, b: self.b + other.b, spare: self.spare + other.spare }
    }
}

impl AddAssign for Rgb {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f32> for Rgb {
    type Output = Self;
    #[inline]
    fn mul(self, by: f32) -> Self {
        Self { r: self.r * by, g: self.g * by, b: self.b * by, spare: self.spare * by }
    }
}

/// 0 below `low`, 1 above `high`, smooth between; turned round when `high < low`.
#[inline]
pub(crate) fn smooth(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Filmic tone and screen gamma: from light to a screen value from 0 to 1.
#[inline(always)]
pub(crate) fn screen<R: Real>(light: R) -> R {
    let light = light.at_least(0.0) * 0.8;
    // A rational curve with a soft toe and shoulder; the constants are the widely used filmic fit.
    let film = light * (light * 2.51 + 0.03) / (light * (light * 2.43 + 0.59) + 0.14);
    let film = film.at_most(1.0);
    film.below(0.003_130_8, film * 12.92, film.power(1.0 / 2.4) * 1.055 - 0.055)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_black_in_the_dark_never_darker_in_more_light_and_white_in_the_sun() {
        let mut before = 0.0;
        for step in 0..20_000 {
            let value = screen(step as f32 * 0.0008);
            assert!(value >= before - 1e-4 && value - before < 0.02, "{value} after {before}");
            before = value;
        }
        assert!(screen(0.0) < 1e-6 && screen(-1.0) < 1e-6);
        assert!((screen(1e4) - 1.0).abs() < 1e-4);
    }
}
