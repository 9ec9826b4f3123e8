//! Randomness from the operating system, for ids. Drawn at the edge and passed inward as bytes.

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes for as long as it runs");
    bytes
}

/// Words drawn at once: a call of the operating system for 128 ids of events, not for each.
const AHEAD: usize = 256;

/// One random word after another, from the operating system like [`random`], drawn ahead.
pub(crate) fn drawn_ahead() -> impl FnMut() -> u64 + Send {
    let mut words = Vec::with_capacity(AHEAD);
    move || {
        if words.is_empty() {
            let drawn = random::<{ AHEAD * 8 }>();
            words
                .extend(drawn.chunks_exact(8).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))));
        }
        // Each word is used once.
        words.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_word_comes_twice() {
        let mut next = super::drawn_ahead();
        let words: HashSet<u64> = (0..3 * super::AHEAD).map(|_| next()).collect();
        assert_eq!(words.len(), 3 * super::AHEAD);
        assert!(!words.contains(&0));
    }
}
