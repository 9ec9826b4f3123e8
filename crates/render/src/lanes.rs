//! Eight numbers at once. Owns the arithmetic that is written once and runs on one number or on eight neighbours: [`Real`].
//! In a [`crate::simd::Kernel`] eight numbers are one register. There is no fused multiplication and every step is
//! rounded alike, so one and eight give the same bits; `exp` and `sin` are our own, so every machine does.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Numbers in one go.
pub(crate) const LANES: usize = 8;
/// One and a half times 2 to the 23: adding it leaves the nearest whole number in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Eight numbers, each on its own.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(32))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

/// A lattice of 256 by 256 places, each with its own chance and those of its neighbours: right, below, and both.
pub(crate) type Lattice = [u32; 65_536];

/// One number or eight.
pub(crate) trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f32, Output = Self>
    + Sub<f32, Output = Self>
    + Mul<f32, Output = Self>
{
    fn of(value: f32) -> Self;
    fn each(self, change: impl Fn(f32) -> f32) -> Self;
    fn with(self, other: Self, join: impl Fn(f32, f32) -> f32) -> Self;
    fn any(self, is: impl Fn(f32) -> bool) -> bool;
    /// The chances around a place of whole numbers as `round` gives them; from 0 to 255.
    fn corners(self, other: Self, lattice: &Lattice) -> [Self; 4];

    /// `yes` where this is below `bound`, `no` elsewhere.
    fn below(self, bound: f32, yes: Self, no: Self) -> Self;

    /// The smaller one. Unlike `f32::min` it need not care for what is no number.
    #[inline(always)]
    fn at_most(self, bound: f32) -> Self {
        self.each(|value| if value < bound { value } else { bound })
    }

    #[inline(always)]
    fn at_least(self, bound: f32) -> Self {
        self.each(|value| if value > bound { value } else { bound })
    }

    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.each(f32::abs)
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.each(f32::sqrt)
    }

    /// The whole number nearest to half below, up to four million: as good as the next one below for anything that is
    /// continuous there.
    #[inline(always)]
    fn whole(self) -> Self {
        self.each(|value| (value - 0.5) + ROUND - ROUND)
    }

    /// e to this, within three millionths.
    #[inline(always)]
    fn power_of_e(self) -> Self {
        self.each(exp)
    }

    /// The sine, within two thousandths; for ripples and bands.
    #[inline(always)]
    fn wave(self) -> Self {
        self.each(sin)
    }

    /// 0 below `low`, 1 above `high`, smooth between; turned round when `high < low`.
    #[inline(always)]
    fn smooth(self, low: f32, high: f32) -> Self {
        let t = ((self - low) * (1.0 / (high - low))).at_least(0.0).at_most(1.0);
        t * t * (t * -2.0 + 3.0)
    }
}

/// e to `x`, within three millionths; 0 and infinity become the least and the greatest number there is.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let doublings = x * std::f32::consts::LOG2_E;
    let doublings = if doublings > -126.0 { doublings } else { -126.0 };
    let doublings = if doublings < 126.0 { doublings } else { 126.0 };
    let rounded = doublings + ROUND;
    let rest = doublings - (rounded - ROUND);
    // Two to the rest, which lies within a half of zero.
    let part = 1.339_887e-3;
    let part = part * rest + 9.618_437e-3;
    let part = part * rest + 5.550_332e-2;
    let part = part * rest + 2.402_265e-1;
    let part = part * rest + 6.931_472e-1;
    let part = part * rest + 1.0;
    part * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
}

/// The sine of `x`, within two thousandths.
#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    let turns = x * (0.5 / std::f32::consts::PI);
    let rest = turns - ((turns + ROUND) - ROUND);
    let arch = rest * (8.0 - 16.0 * rest.abs());
    arch * (0.775 + 0.225 * arch.abs())
}

/// The lowest byte first: here, right, below, below and right.
#[inline(always)]
fn unpacked(word: u32) -> [f32; 4] {
    [0, 8, 16, 24].map(|shift| (word >> shift & 255) as i32 as f32)
}

#[inline(always)]
fn place(x: f32, y: f32) -> usize {
    // Adding the magic number again leaves the whole number in the lowest bits, below zero too.
    let (x, y) = ((x + ROUND).to_bits(), (y + ROUND).to_bits());
    ((y & 255) << 8 | (x & 255)) as usize
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn each(self, change: impl Fn(f32) -> f32) -> Self {
        change(self)
    }

    #[inline(always)]
    fn with(self, other: Self, join: impl Fn(f32, f32) -> f32) -> Self {
        join(self, other)
    }

    #[inline(always)]
    fn any(self, is: impl Fn(f32) -> bool) -> bool {
        is(self)
    }

    #[inline(always)]
    fn below(self, bound: f32, yes: Self, no: Self) -> Self {
        if self < bound { yes } else { no }
    }

    #[inline(always)]
    fn corners(self, other: Self, lattice: &Lattice) -> [Self; 4] {
        unpacked(lattice[place(self, other)])
    }
}

impl Real for Lanes {
    #[inline(always)]
    fn of(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn each(self, change: impl Fn(f32) -> f32) -> Self {
        Self(self.0.map(change))
    }

    #[inline(always)]
    fn with(self, other: Self, join: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| join(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn any(self, is: impl Fn(f32) -> bool) -> bool {
        self.0.into_iter().fold(false, |any, value| any | is(value))
    }

    #[inline(always)]
    fn below(self, bound: f32, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|lane| if self.0[lane] < bound { yes.0[lane] } else { no.0[lane] }))
    }

    #[inline(always)]
    fn corners(self, other: Self, lattice: &Lattice) -> [Self; 4] {
        let places: [usize; LANES] = std::array::from_fn(|lane| place(self.0[lane], other.0[lane]));
        let words = places.map(|place| lattice[place]);
        [0, 8, 16, 24].map(|shift| Self(words.map(|word| (word >> shift & 255) as i32 as f32)))
    }
}

impl Lanes {
    /// `first`, `first + step` and so on.
    #[inline(always)]
    pub(crate) fn counting(first: f32, step: f32) -> Self {
        Self(std::array::from_fn(|lane| first + lane as f32 * step))
    }
}

macro_rules! operators {
    ($($name:ident $call:ident)*) => { $(
        impl $name for Lanes {
            type Output = Self;
            #[inline(always)]
            fn $call(self, other: Self) -> Self {
                self.with(other, |a, b| a.$call(b))
            }
        }
        impl $name<f32> for Lanes {
            type Output = Self;
            #[inline(always)]
            fn $call(self, other: f32) -> Self {
                self.each(|a| a.$call(other))
            }
        }
    )* };
}
operators!(Add add Sub sub Mul mul Div div);

impl Neg for Lanes {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.each(|value| -value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_waves_are_close_to_the_library_s() {
        for step in -8_000..8_000 {
            let x = step as f32 * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 6e-6, "exp {x}: {} and {}", exp(x), x.exp());
            assert!((sin(x) - x.sin()).abs() < 2e-3, "sin {x}: {} and {}", sin(x), x.sin());
        }
        assert!(exp(-1e9) < 1e-37 && exp(1e9) > 1e37);
    }

    #[test]
    fn choosing_and_rounding_go_lane_by_lane() {
        let counted = Lanes::counting(-1.75, 0.5);
        assert_eq!(counted.whole().0, [-2.0, -2.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0]);
        let chosen = counted.below(0.0, Lanes::of(1.0), Lanes::of(2.0));
        assert_eq!(chosen.0, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
        assert!(counted.any(|value| value > 1.7) && !counted.any(|value| value > 1.8));
    }
}
