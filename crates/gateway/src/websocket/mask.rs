//! Masking (RFC 6455, section 5.3): the payload of a client's frame, XORed with four bytes it chose.

/// The masking key, turned so that its first byte meets the next byte of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Masks or unmasks the next part of the payload in place.
    pub(super) fn apply(&mut self, payload: &mut [u8]) {
        let half = u64::from(u32::from_ne_bytes(self.0));
        let word = half << 32 | half;
        let (words, rest) = payload.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        self.0.rotate_left(rest.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn section_5_7_the_masked_hello_is_unmasked() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        Mask::new(KEY).apply(&mut payload);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn section_5_3_a_payload_cut_anywhere_unmasks_as_if_it_were_whole() {
        let plain: Vec<u8> = (0..67).collect();
        let expected: Vec<u8> = plain.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for first in 0..=plain.len() {
            for second in first..=plain.len() {
                let mut payload = plain.clone();
                let mut mask = Mask::new(KEY);
                mask.apply(&mut payload[..first]);
                mask.apply(&mut payload[first..second]);
                mask.apply(&mut payload[second..]);
                assert_eq!(payload, expected, "cut at {first} and {second}");
            }
        }
    }
}
