//! Randomness at the edge: ids that name what is said, and jitter.

use data_encoding::BASE32HEX_NOPAD;
use protocol::CommandId;

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

fn text(bytes: &[u8]) -> String {
    BASE32HEX_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// A new id for something said, 128 random bits: no two processes ever meet.
pub(crate) fn command_id() -> CommandId {
    CommandId::new(text(&bytes::<16>())).expect("base32 makes a valid id")
}

/// A name for this process, or for one request.
pub(crate) fn name() -> String {
    text(&bytes::<10>())
}

/// From 0 up to, not including, 1.
pub(crate) fn unit() -> f64 {
    let random = u64::from_le_bytes(bytes());
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
