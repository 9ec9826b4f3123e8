//! The header of a client's frame (RFC 6455, section 5.2), read from however many of its bytes have come.
//!
//! Only what one header says by itself is checked here. Whether the frame fits the message under way, and its size
//! the endpoint, is the decoder's to say.

use super::mask::Mask;

/// Longest header of a masked frame: two bytes, eight of length, four of masking key.
const HEADER_BYTES_MAX: usize = 14;
/// Longest payload of a close, ping or pong.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// A 7-bit length that says: 16 bits of length follow.
pub(super) const LENGTH_IS_16_BITS: u8 = 126;
/// A 7-bit length that says: 64 bits of length follow.
pub(super) const LENGTH_IS_64_BITS: u8 = 127;

pub(super) const FIN: u8 = 0b1000_0000;
const RESERVED: u8 = 0b0111_0000;
const OPCODE: u8 = 0b0000_1111;
const MASKED: u8 = 0b1000_0000;

/// How a client broke RFC 6455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Section 5.2: no extension was agreed on that gives them a meaning.
    #[error("reserved bits are set")]
    ReservedBits,
    /// Section 5.2.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// Section 5.1.
    #[error("frame is not masked")]
    Unmasked,
    /// Section 5.2.
    #[error("length {0} is not in its shortest form")]
    LengthNotShortest(u64),
    /// Section 5.2.
    #[error("length has its top bit set")]
    LengthTopBit,
    /// Section 5.5.
    #[error("control frame is fragmented")]
    ControlFragmented,
    /// Section 5.5.
    #[error("control frame is longer than 125 bytes")]
    ControlTooLong,
    /// Section 5.4.
    #[error("continuation without a message to continue")]
    NothingToContinue,
    /// Section 5.4.
    #[error("new message before the last fragment of the one under way")]
    MessageUnderWay,
    /// Section 5.5.1.
    #[error("close frame holds half a code")]
    CloseCodeHalf,
    /// Section 7.4.
    #[error("close code {0} may not be sent")]
    CloseCodeInvalid(u16),
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn from_wire(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn to_wire(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Is it the last frame of its message?
    pub(super) fin: bool,
    pub(super) mask: Mask,
    /// Bytes of payload that follow.
    pub(super) length: u64,
}

/// A header of which some bytes may have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partial {
    bytes: [u8; HEADER_BYTES_MAX],
    have: u8,
}

impl Partial {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; HEADER_BYTES_MAX], have: 0 }
    }

    /// Takes what belongs to the header from `input`. `None`: all was taken and more must come.
    ///
    /// # Errors
    /// At the first byte that cannot be right, however little of the header is there.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Violation> {
        loop {
            let need = match parse(&self.bytes[..usize::from(self.have)])? {
                Parsed::Header(header) => return Ok(Some(header)),
                Parsed::Needs(need) => need,
            };
            let start = usize::from(self.have);
            let taken = input.len().min(need - start);
            if taken == 0 {
                return Ok(None);
            }
            let (head, rest) = input.split_at(taken);
            self.bytes[start..start + taken].copy_from_slice(head);
            self.have += taken as u8; // At most 14.
            *input = rest;
        }
    }
}

enum Parsed {
    Header(Header),
    /// This many bytes, from the first on, before anything more can be said.
    Needs(usize),
}

fn parse(bytes: &[u8]) -> Result<Parsed, Violation> {
    let Some(&first) = bytes.first() else { return Ok(Parsed::Needs(2)) };
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::from_wire(first & OPCODE).ok_or(Violation::ReservedOpcode(first & OPCODE))?;
    let fin = first & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::ControlFragmented);
    }

    let Some(&second) = bytes.get(1) else { return Ok(Parsed::Needs(2)) };
    if second & MASKED == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & !MASKED;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::ControlTooLong);
    }

    let (length, rest) = match (short, &bytes[2..]) {
        (LENGTH_IS_16_BITS, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (LENGTH_IS_16_BITS, _) => return Ok(Parsed::Needs(4)),
        (LENGTH_IS_64_BITS, [a, b, c, d, e, f, g, h, rest @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
        }
        (LENGTH_IS_64_BITS, _) => return Ok(Parsed::Needs(10)),
        (length, rest) => (u64::from(length), rest),
    };
    check_length(short, length)?;
    match rest.first_chunk::<4>() {
        Some(key) => Ok(Parsed::Header(Header { opcode, fin, mask: Mask::new(*key), length })),
        None => Ok(Parsed::Needs(bytes.len() - rest.len() + 4)),
    }
}

const fn check_length(short: u8, length: u64) -> Result<(), Violation> {
    if length >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    let shortest = match short {
        LENGTH_IS_16_BITS => length > CONTROL_BYTES_MAX as u64,
        LENGTH_IS_64_BITS => length > u16::MAX as u64,
        _ => true,
    };
    if shortest { Ok(()) } else { Err(Violation::LengthNotShortest(length)) }
}
