//! A body for fuzzers: any bytes as a prompt, which must neither panic nor take long.

use crate::scene::Scene;

/// A prompt, and a seed of its length.
///
/// # Panics
/// When one prompt and seed are understood in two ways.
pub fn prompt(bytes: &[u8]) {
    let (prompt, seed) = (String::from_utf8_lossy(bytes), bytes.len() as u64);
    assert_eq!(Scene::understand(&prompt, seed), Scene::understand(&prompt, seed));
}
