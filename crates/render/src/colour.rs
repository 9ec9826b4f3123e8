//! Light as three numbers, linear and unbounded, and the way from there to a screen.

use std::ops::{Add, AddAssign, Mul};

use crate::lanes::{LANES, Lanes, Real};

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

    /// Of each colour the brighter one.
    #[inline]
    pub(crate) fn greater(self, other: Self) -> Self {
        let greater = |a: f32, b: f32| if a > b { a } else { b };
        Self {
            r: greater(self.r, other.r),
            g: greater(self.g, other.g),
            b: greater(self.b, other.b),
            spare: greater(self.spare, other.spare),
        }
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
fn screen(light: f32) -> f32 {
    let light = light.at_least(0.0) * 0.8;
    // A rational curve with a soft toe and shoulder; the constants are the widely used filmic fit.
    let film = light * (light * 2.51 + 0.03) / (light * (light * 2.43 + 0.59) + 0.14);
    let film = film.at_most(1.0);
    film.below(0.003_130_8, film * 12.92, film.power(1.0 / 2.4) * 1.055 - 0.055)
}

/// Light below this is black on a screen; that times [`OCTAVES`] doublings is white.
const LIGHT_MIN: f32 = 1.0 / 4_096.0;
/// From [`LIGHT_MIN`] to 16.
const OCTAVES: usize = 16;
/// Straight lines from one to the next of these are within a hundredth of a level of 8 bits of the curve.
const OCTAVE_STEPS: usize = 64;
/// Bits of a number's fraction that lie within a step.
const PART_BITS: u32 = 23 - OCTAVE_STEPS.trailing_zeros();

/// [`screen`] looked up: a third of the time.
#[derive(Debug)]
pub(crate) struct Tone {
    /// For each step of the bits of a number, the screen value in the lower half and in the upper half how much is added
    /// until the next one; of 65,535.
    steps: Box<[u32; OCTAVES * OCTAVE_STEPS]>,
}

impl Tone {
    pub(crate) fn new() -> Self {
        let at = |step: usize| {
            let light = f32::from_bits(LIGHT_MIN.to_bits() + ((step as u32) << PART_BITS));
            if step == 0 { 0 } else { (screen(light) * 65_535.0 + 0.5) as u32 }
        };
        let mut steps = Box::new([0; OCTAVES * OCTAVE_STEPS]);
        for (step, word) in steps.iter_mut().enumerate() {
            *word = at(step) | at(step + 1).saturating_sub(at(step)) << 16;
        }
        Self { steps }
    }

    /// Filmic tone and screen gamma: from light to a screen value from 0 to 1.
    #[inline(always)]
    pub(crate) fn screen(&self, light: Lanes) -> Lanes {
        let white = f32::from_bits(LIGHT_MIN.to_bits() + ((self.steps.len() as u32) << PART_BITS) - 1);
        let light = light.at_least(LIGHT_MIN).at_most(white);
        let (mut words, mut parts) = ([0_u32; LANES], Lanes([0.0; LANES]));
        for ((word, part), light) in words.iter_mut().zip(&mut parts.0).zip(light.0) {
            let bits = light.to_bits() - LIGHT_MIN.to_bits();
            *word = self.steps[(bits >> PART_BITS) as usize % (OCTAVES * OCTAVE_STEPS)];
            *part = (bits & ((1 << PART_BITS) - 1)) as i32 as f32 * (1.0 / (1 << PART_BITS) as f32);
        }
        let (mut values, mut rises) = (Lanes([0.0; LANES]), Lanes([0.0; LANES]));
        for ((value, rise), word) in values.0.iter_mut().zip(&mut rises.0).zip(words) {
            (*value, *rise) = ((word & 0xffff) as i32 as f32, (word >> 16) as i32 as f32);
        }
        (values + rises * parts) * (1.0 / 65_535.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looked_up_tones_are_within_a_twentieth_of_a_level_of_the_curve_for_any_light() {
        let mut chance = crate::prompt::Chance::new(crate::simd::seed());
        let tone = Tone::new();
        let mut lights: Vec<f32> = (0..80_000).map(|_| chance.within(-20.0, 5.0).exp2()).collect();
        lights.extend([0.0, -0.0, -1.0, -1e30, 1e30, 15.999, 16.0, f32::MIN_POSITIVE, f32::INFINITY, LIGHT_MIN]);
        for lights in lights.chunks_exact(LANES) {
            let light = Lanes(std::array::from_fn(|lane| lights[lane]));
            for (light, value) in lights.iter().zip(tone.screen(light).0) {
                // Near black the curve is a straight line that the first step begins later.
                let bound = if *light < LIGHT_MIN * 1.02 { 0.15 } else { 0.05 };
                let off = (value - screen(*light)).abs() * 255.0;
                assert!(off < bound && (0.0..=1.0).contains(&value), "{light} became {value}, off by {off} levels");
            }
        }
    }

    #[test]
    fn a_screen_is_black_in_the_dark_never_darker_in_more_light_and_white_in_the_sun() {
        let mut before = 0.0;
        for step in 0..20_000_u16 {
            let value = screen(f32::from(step) * 0.0008);
            assert!(value >= before - 1e-4 && value - before < 0.02, "{value} after {before}");
            before = value;
        }
        assert!(screen(0.0) < 1e-6 && screen(-1.0) < 1e-6);
        assert!((screen(1e4) - 1.0).abs() < 1e-4);
    }
}
