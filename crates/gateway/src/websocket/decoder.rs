//! Reading a client's frames: bytes cut anywhere in, whole messages out.
//!
//! Payloads are copied once, unmasked, and handed over. Between messages a decoder owns no heap memory, and within
//! one never more than twice what came, whatever length a header declares. Answering pings and closes, and counting
//! them, is the transport's.

use std::{mem, str};

pub use super::frame::Violation;
use super::{
    close::CloseCode,
    frame::{Header, Opcode, Partial},
    mask::Mask,
    message::Message,
};

/// Why a client is not read any further. The connection is to be closed with [`DecodeError::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frames break RFC 6455.
    #[error(transparent)]
    Protocol(#[from] Violation),
    /// A header declares more than the endpoint takes. Nothing was allocated for it.
    #[error("message of {declared} bytes is larger than {max}")]
    TooBig {
        /// Bytes of the message up to the end of the frame.
        declared: u64,
        /// The most that is taken.
        max: usize,
    },
    /// A text or a close reason is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
}

impl DecodeError {
    /// The code to close with.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Protocol(_) => CloseCode::PROTOCOL_ERROR,
            Self::TooBig { .. } => CloseCode::TOO_BIG,
            Self::NotUtf8 => CloseCode::INVALID_PAYLOAD,
        }
    }
}

/// The reading half of one connection.
#[derive(Debug)]
pub struct Decoder {
    step: Step,
    message_bytes_max: usize,
    /// What came of a frame or a message that is not complete. A frame that comes in one piece passes it by.
    held: Option<Box<Held>>,
}

#[derive(Debug)]
enum Step {
    Header(Partial),
    Payload(Frame),
    /// After a close frame or an error.
    Ended,
}

/// A frame whose header was read and allowed.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    /// Of the message it belongs to; none for a control frame.
    kind: Option<Kind>,
    fin: bool,
    mask: Mask,
    /// Bytes of payload still to come.
    remaining: usize,
}

#[derive(Debug, Default)]
struct Held {
    /// The kind of the message that further frames continue.
    kind: Option<Kind>,
    /// Its payload so far, unmasked.
    message: Vec<u8>,
    /// Bytes of it known to be UTF-8: a cut character stays outside until it is whole.
    message_valid: usize,
    /// The control frame under way; it may come between two fragments of the message.
    control: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Decoder {
    /// A decoder that takes messages of at most `message_bytes_max` bytes, all fragments together.
    #[must_use]
    pub const fn new(message_bytes_max: usize) -> Self {
        Self { step: Step::Header(Partial::new()), message_bytes_max, held: None }
    }

    /// Takes another size from the next frame header on. Called between two messages, it holds for the second.
    pub const fn set_max(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Bytes of heap memory held for a message or control frame that is not complete; otherwise 0.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.message.capacity() + held.control.capacity())
    }

    /// Takes bytes from `input` up to the end of a message. `None`: all were taken and more must come.
    ///
    /// To be called until it gives `None`. After a close frame or an error all further input is discarded.
    ///
    /// # Errors
    /// As soon as the bytes seen cannot become a message that is taken here.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, DecodeError> {
        let result = self.advance(input);
        if matches!(result, Err(_) | Ok(Some(Message::Close(_)))) {
            *self = Self { step: Step::Ended, ..Self::new(self.message_bytes_max) };
            *input = &[];
        }
        result
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Message>, DecodeError> {
        loop {
            match &mut self.step {
                Step::Header(partial) => match partial.read(input)? {
                    Some(header) => self.step = Step::Payload(self.admit(header)?),
                    None => return Ok(None),
                },
                Step::Payload(frame) => {
                    let mut frame = *frame;
                    if let Some(payload) = self.take_whole(frame, input) {
                        self.step = Step::Header(Partial::new());
                        return message(frame, payload).map(Some);
                    }
                    self.take_payload(&mut frame, input);
                    if frame.remaining > 0 {
                        self.step = Step::Payload(frame);
                        self.check_text(frame)?;
                        return Ok(None);
                    }
                    self.step = Step::Header(Partial::new());
                    if let Some(message) = self.finish(frame)? {
                        return Ok(Some(message));
                    }
                }
                Step::Ended => {
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Checks a header against the message under way and the size that is taken.
    fn admit(&self, header: Header) -> Result<Frame, DecodeError> {
        let Header { opcode, fin, mask, length } = header;
        let kind = match (opcode, self.held.as_ref().and_then(|held| held.kind)) {
            (Opcode::Text, None) => Some(Kind::Text),
            (Opcode::Binary, None) => Some(Kind::Binary),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::MessageUnderWay.into()),
            (Opcode::Continuation, None) => return Err(Violation::NothingToContinue.into()),
            (Opcode::Continuation, Some(kind)) => Some(kind),
            // Its length was bounded with its header; the limit is for messages.
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => None,
        };
        let came = self.held.as_ref().map_or(0, |held| held.message.len() as u64);
        let declared = if kind.is_some() { came + length } else { 0 };
        let too_big = DecodeError::TooBig { declared, max: self.message_bytes_max };
        if declared > self.message_bytes_max as u64 {
            return Err(too_big);
        }
        let remaining = usize::try_from(length).map_err(|_| too_big)?;
        Ok(Frame { opcode, kind, fin, mask, remaining })
    }

    /// The payload of a frame that is a message by itself and here with its last byte.
    fn take_whole(&self, mut frame: Frame, input: &mut &[u8]) -> Option<Vec<u8>> {
        if !frame.fin || self.held.is_some() {
            return None;
        }
        let (payload, rest) = input.split_at_checked(frame.remaining)?;
        let mut payload = payload.to_vec();
        frame.mask.apply(&mut payload);
        *input = rest;
        Some(payload)
    }

    /// Copies and unmasks what there is of the frame's payload.
    fn take_payload(&mut self, frame: &mut Frame, input: &mut &[u8]) {
        let (payload, rest) = input.split_at(input.len().min(frame.remaining));
        if payload.is_empty() {
            return;
        }
        let held = self.held.get_or_insert_default();
        let buffer = if frame.kind.is_some() { &mut held.message } else { &mut held.control };
        if buffer.capacity() - buffer.len() < payload.len() {
            // Doubling, so that crumbs are not copied over and over; never on the word of the header alone. The last
            // frame ends in a buffer of its own size, which may be kept for long.
            let room = payload.len().max(buffer.len());
            buffer.reserve_exact(if frame.fin { room.min(frame.remaining) } else { room });
        }
        let start = buffer.len();
        buffer.extend_from_slice(payload);
        frame.mask.apply(&mut buffer[start..]);
        frame.remaining -= payload.len();
        *input = rest;
    }

    /// What a frame completes whose payload is all here; `None` when more fragments follow.
    fn finish(&mut self, frame: Frame) -> Result<Option<Message>, DecodeError> {
        if !frame.fin {
            self.check_text(frame)?;
            self.held.get_or_insert_default().kind = frame.kind;
            return Ok(None);
        }
        let payload = match &mut self.held {
            None => Vec::new(),
            Some(held) if frame.kind.is_none() => mem::take(&mut held.control),
            Some(held) => {
                (held.kind, held.message_valid) = (None, 0);
                mem::take(&mut held.message)
            }
        };
        self.held.take_if(|held| held.kind.is_none());
        message(frame, payload).map(Some)
    }

    /// Fails as soon as a text that is not complete can no longer become UTF-8. Each byte is looked at once, but for
    /// those of a cut character.
    fn check_text(&mut self, frame: Frame) -> Result<(), DecodeError> {
        let Some(held) = self.held.as_mut().filter(|_| frame.kind == Some(Kind::Text)) else { return Ok(()) };
        match str::from_utf8(&held.message[held.message_valid..]) {
            Ok(text) => held.message_valid += text.len(),
            Err(error) if error.error_len().is_none() => held.message_valid += error.valid_up_to(),
            Err(_) => return Err(DecodeError::NotUtf8),
        }
        Ok(())
    }
}

/// The message that ends with this frame.
fn message(last: Frame, payload: Vec<u8>) -> Result<Message, DecodeError> {
    Ok(match (last.opcode, last.kind) {
        (Opcode::Ping, _) => Message::Ping(payload.into()),
        (Opcode::Pong, _) => Message::Pong(payload.into()),
        (Opcode::Close, _) => Message::Close(parse_close(&payload)?),
        (_, Some(Kind::Text)) => Message::Text(String::from_utf8(payload).map_err(|_| DecodeError::NotUtf8)?),
        _ => Message::Binary(payload.into()),
    })
}

fn parse_close(payload: &[u8]) -> Result<Option<(CloseCode, String)>, DecodeError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseCodeHalf.into()) };
    };
    let code = u16::from_be_bytes(*code);
    let code = CloseCode::from_wire(code).ok_or(Violation::CloseCodeInvalid(code))?;
    let reason = str::from_utf8(reason).map_err(|_| DecodeError::NotUtf8)?;
    Ok(Some((code, reason.to_owned())))
}

#[cfg(test)]
mod tests;
