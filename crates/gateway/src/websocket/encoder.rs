//! Writing the server's frames: one unmasked frame a message, never fragmented.
//!
//! A payload many watchers share is either framed once ([`encode_text`], [`encode_binary`]) or sent vectored behind
//! a [`Header`] that lives on the stack. What is sent when is the transport's business.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    close::CloseCode,
    frame::{CONTROL_BYTES_MAX, FIN, LENGTH_IS_16_BITS, LENGTH_IS_64_BITS, Opcode},
};

/// Longest header of an unmasked frame: two bytes and eight of length.
pub const HEADER_BYTES_MAX: usize = 10;
/// Longest reason of a close: a control frame's payload behind the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - size_of::<u16>();

/// The header of a server's frame. The payload follows it on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Header {
    /// Of a text of `length` bytes.
    #[must_use]
    pub fn text(length: usize) -> Self {
        Self::new(Opcode::Text, length)
    }

    /// Of a binary message of `length` bytes.
    #[must_use]
    pub fn binary(length: usize) -> Self {
        Self::new(Opcode::Binary, length)
    }

    /// The bytes to send before the payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn new(opcode: Opcode, length: usize) -> Self {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = FIN | opcode.to_wire();
        let len = if length <= CONTROL_BYTES_MAX {
            bytes[1] = length as u8;
            2
        } else if let Ok(length) = u16::try_from(length) {
            bytes[1] = LENGTH_IS_16_BITS;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            bytes[1] = LENGTH_IS_64_BITS;
            bytes[2..].copy_from_slice(&(length as u64).to_be_bytes());
            10
        };
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// A whole text frame, to be shared by all who get it. `payload` is UTF-8.
#[must_use]
pub fn encode_text(payload: &[u8]) -> Bytes {
    debug_assert!(std::str::from_utf8(payload).is_ok(), "a text frame holds UTF-8");
    frame(Opcode::Text, &[payload])
}

/// A whole binary frame, to be shared by all who get it.
#[must_use]
pub fn encode_binary(payload: &[u8]) -> Bytes {
    frame(Opcode::Binary, &[payload])
}

/// A whole ping frame.
///
/// # Panics
/// When `payload` is longer than 125 bytes.
#[must_use]
pub fn ping(payload: &[u8]) -> Bytes {
    control(Opcode::Ping, &[payload])
}

/// A whole pong frame. A ping's payload, given back, always fits.
///
/// # Panics
/// When `payload` is longer than 125 bytes.
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, &[payload])
}

/// A whole close frame; the server's last. A reason past [`REASON_BYTES_MAX`] is cut at the end of a character.
#[must_use]
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    control(Opcode::Close, &[&code.get().to_be_bytes(), &reason.as_bytes()[..end]])
}

fn control(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    assert!(length <= CONTROL_BYTES_MAX, "a control frame holds at most 125 bytes, not {length}");
    frame(opcode, parts)
}

fn frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum();
    let header = Header::new(opcode, length);
    let mut out = BytesMut::with_capacity(header.as_bytes().len() + length);
    out.put_slice(header.as_bytes());
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::{CloseCode, Header, REASON_BYTES_MAX, close, encode_binary, encode_text, ping, pong};

    #[test]
    fn section_5_7_the_examples_are_written_as_printed() {
        assert_eq!(encode_text(b"Hello")[..], *b"\x81\x05Hello");
        assert_eq!(ping(b"Hello")[..], *b"\x89\x05Hello");
        assert_eq!(pong(b"Hello")[..], *b"\x8a\x05Hello");
        assert_eq!(encode_binary(&[7; 256])[..5], [0x82, 0x7e, 0x01, 0x00, 7]);
        assert_eq!(encode_binary(&[7; 65536])[..11], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
    }

    #[test]
    fn section_5_2_a_length_takes_its_shortest_form() {
        for (length, expected) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(Header::binary(length).as_bytes(), expected, "{length}");
        }
        assert_eq!(Header::text(3).as_ref(), [0x81, 3]);
    }

    #[test]
    fn a_header_and_its_payload_are_the_whole_frame() {
        let payload = vec![b'a'; 300];
        let vectored = [Header::text(payload.len()).as_bytes(), &payload].concat();
        assert_eq!(encode_text(&payload)[..], vectored);
    }

    #[test]
    fn section_5_5_1_a_close_holds_its_code_and_reason() {
        assert_eq!(close(CloseCode::NORMAL, "")[..], *b"\x88\x02\x03\xe8");
        assert_eq!(close(CloseCode::AUTHENTICATION_FAILED, "expired")[..], *b"\x88\x09\x0f\xa3expired");
    }

    #[test]
    fn section_5_5_a_long_reason_is_cut_at_the_end_of_a_character() {
        // 122 bytes and a character of three: the 123rd byte would cut it.
        let reason = format!("{}€ and more", "a".repeat(REASON_BYTES_MAX - 1));
        let frame = close(CloseCode::POLICY, &reason);
        assert_eq!(frame.len(), 2 + 2 + REASON_BYTES_MAX - 1);
        assert!(frame[4..].iter().all(|byte| *byte == b'a'));
        assert_eq!(close(CloseCode::POLICY, &"a".repeat(500)).len(), 2 + 125);
    }

    #[test]
    #[should_panic(expected = "at most 125 bytes, not 126")]
    fn section_5_5_a_ping_that_is_too_long_is_our_own_mistake() {
        let _ = ping(&[0; 126]);
    }
}
