//! Randomness from the operating system, for ids. Drawn at the edge and passed inward as bytes.

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes for as long as it runs");
    bytes
}
