//! A histogram of durations in little memory: log-linear buckets, 128 to an octave, so that a value is known to within 0.8 %.
//! Histograms of several processes add up to the one of all.

use serde::{Deserialize, Serialize};

/// Buckets of one octave, as a power of two.
const OCTAVE_BITS: u32 = 7;
const OCTAVE: u64 = 1 << OCTAVE_BITS;
/// Octaves above the first: up to 2^47 ns, which is a day and a half.
const OCTAVES: u64 = 40;

/// Counts of nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    greatest: u64,
}

/// As it travels between processes: what is not zero.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sparse {
    counts: Vec<(u32, u64)>,
    greatest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = usize::try_from((OCTAVES + 1) * OCTAVE).expect("a few thousand");
        Self { counts: vec![0; buckets], total: 0, greatest: 0 }
    }
}

/// The bucket of `value`: exact below [`OCTAVE`], then the leading bits.
fn bucket(value: u64) -> usize {
    let octave = value.max(OCTAVE).ilog2() - OCTAVE_BITS;
    let at = u64::from(octave) * OCTAVE + (value >> octave);
    usize::try_from(at.min((OCTAVES + 1) * OCTAVE - 1)).expect("a few thousand")
}

/// The middle of a bucket.
fn middle(bucket: u64) -> u64 {
    if bucket < 2 * OCTAVE {
        return bucket;
    }
    let octave = bucket / OCTAVE - 1;
    ((bucket - octave * OCTAVE) << octave) + (1 << octave) / 2
}

impl Histogram {
    /// Takes one value, in nanoseconds.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.greatest = self.greatest.max(nanos);
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> u64 {
        self.total
    }

    /// The value below which `share` of all lie, in milliseconds; none without values.
    pub(crate) fn percentile(&self, share: f64) -> Option<f64> {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut passed = 0;
        for (at, count) in self.counts.iter().enumerate() {
            passed += count;
            if passed >= wanted {
                return Some(middle(at as u64).min(self.greatest) as f64 / 1e6);
            }
        }
        None
    }

    /// The greatest value, in milliseconds.
    pub(crate) fn max(&self) -> f64 {
        self.greatest as f64 / 1e6
    }

    /// What travels.
    pub(crate) fn sparse(&self) -> Sparse {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let counts = counts.map(|(at, count)| (u32::try_from(at).expect("a few thousand"), *count)).collect();
        Sparse { counts, greatest: self.greatest }
    }

    /// Adds what another process counted. A bucket that does not exist here counts as the last.
    pub(crate) fn add(&mut self, other: &Sparse) {
        let last = self.counts.len() - 1;
        for (at, count) in &other.counts {
            self.counts[(*at as usize).min(last)] += count;
            self.total += count;
        }
        self.greatest = self.greatest.max(other.greatest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_known_to_within_a_hundredth() {
        for value in (0..47).flat_map(|power| [1_u64 << power, (1 << power) + 1, (1 << power) * 3 / 2]) {
            let read = middle(bucket(value) as u64);
            let off = read.abs_diff(value) as f64 / value as f64;
            assert!(off <= 0.008, "{value} is read as {read}");
        }
    }

    #[test]
    fn percentiles_of_parts_are_those_of_the_whole() {
        let (mut whole, mut odd, mut even) = (Histogram::default(), Histogram::default(), Histogram::default());
        for value in 1..=10_000_u64 {
            whole.record(value * 1_000);
            if value % 2 == 1 { odd.record(value * 1_000) } else { even.record(value * 1_000) }
        }
        let mut sum = Histogram::default();
        sum.add(&odd.sparse());
        sum.add(&even.sparse());
        for share in [0.5, 0.95, 0.99, 0.999, 1.0] {
            assert_eq!(sum.percentile(share), whole.percentile(share));
            let off = (whole.percentile(share).unwrap() - 10.0 * share).abs();
            assert!(off < 0.1, "{share}: off by {off} ms");
        }
        assert_eq!((sum.len(), sum.max()), (10_000, 10.0));
        assert_eq!(Histogram::default().percentile(0.5), None);
    }
}
