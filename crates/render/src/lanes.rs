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

    /// e to this, within a fifty-thousandth.
    #[inline(always)]
    fn power_of_e(self) -> Self {
        self.each(exp)
    }

    /// This to the power of `exponent`, within a ten-thousandth; 0 and less become nearly 0.
    #[inline(always)]
    fn power(self, exponent: f32) -> Self {
        self.each(|value| exp(log2(value) * (exponent * std::f32::consts::LN_2)))
    }

    /// The angle with this sine, within a ten-thousandth.
    #[inline(always)]
    fn arc(self) -> Self {
        let x = self.magnitude().at_most(1.0);
        let bow = ((x * -0.018_729_3 + 0.074_261) * x - 0.212_114_4) * x + 1.570_728_8;
        let angle = (-x + 1.0).root() * -bow + std::f32::consts::FRAC_PI_2;
        self.below(0.0, -angle, angle)
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

/// e to `x`, within a fifty-thousandth; 0 and infinity become the least and the greatest number there is.
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

/// The logarithm of `x` to the base of two, within a fifty-thousandth; of 0 and less it is -126.
#[inline(always)]
fn log2(x: f32) -> f32 {
    let bits = (if x > f32::MIN_POSITIVE { x } else { f32::MIN_POSITIVE }).to_bits();
    let whole = (bits >> 23) as i32 as f32 - 127.0;
    let part = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    let t = (part - 1.0) / (part + 1.0);
    let square = t * t;
    whole + t * (2.0 * std::f32::consts::LOG2_E) * (1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0))))
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

// Loops, not `array::map` and `from_fn`: those leave a call behind where a closure is long, which no wide register survives.
impl Real for Lanes {
    #[inline(always)]
    fn of(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn each(mut self, change: impl Fn(f32) -> f32) -> Self {
        for value in &mut self.0 {
            *value = change(*value);
        }
        self
    }

    #[inline(always)]
    fn with(mut self, other: Self, join: impl Fn(f32, f32) -> f32) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value = join(*value, other);
        }
        self
    }

    #[inline(always)]
    fn any(self, is: impl Fn(f32) -> bool) -> bool {
        let mut any = false;
        for value in self.0 {
            any |= is(value);
        }
        any
    }

    #[inline(always)]
    fn below(self, bound: f32, mut yes: Self, no: Self) -> Self {
        for ((value, chosen), no) in self.0.into_iter().zip(&mut yes.0).zip(no.0) {
            *chosen = if value < bound { *chosen } else { no };
        }
        yes
    }

    #[inline(always)]
    fn corners(self, other: Self, lattice: &Lattice) -> [Self; 4] {
        let mut words = [0; LANES];
        for ((word, x), y) in words.iter_mut().zip(self.0).zip(other.0) {
            *word = lattice[place(x, y)];
        }
        let mut corners = [Self([0.0; LANES]); 4];
        for (shift, corner) in (0..).step_by(8).zip(&mut corners) {
            for (value, word) in corner.0.iter_mut().zip(words) {
                *value = (word >> shift & 255) as i32 as f32;
            }
        }
        corners
    }
}

impl Lanes {
    /// `first`, `first + step` and so on.
    #[inline(always)]
    pub(crate) fn counting(first: f32, step: f32) -> Self {
        let mut lanes = Self([0.0; LANES]);
        for (lane, value) in lanes.0.iter_mut().enumerate() {
            *value = first + lane as f32 * step;
        }
        lanes
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
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-5, "exp {x}: {} and {}", exp(x), x.exp());
            assert!((sin(x) - x.sin()).abs() < 2e-3, "sin {x}: {} and {}", sin(x), x.sin());
        }
        assert!(exp(-1e9) < 1e-37 && exp(1e9) > 1e37);
        for step in 1..4_000 {
            let x = step as f32 * 0.004;
            let (ours, library) = (x.power(1.0 / 2.4), x.powf(1.0 / 2.4));
            assert!((ours / library - 1.0).abs() < 1e-4, "{x} to a power: {ours} and {library}");
        }
        for step in -1_000..=1_000 {
            let x = step as f32 * 0.001;
            assert!((x.arc() - x.asin()).abs() < 1e-4, "arc of {x}: {} and {}", x.arc(), x.asin());
        }
        assert!(0.0.power(0.5) < 1e-18 && (-1.0).power(0.5) < 1e-18);
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
