//! What is about to be written: whole messages, most of them shared with other watchers.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};
use protocol::limits;

/// Slices handed to one vectored write: what Linux takes at once is 1,024, and 128 of our messages fill a
/// gathering.
pub const SLICES_MAX: usize = 128;

/// Room for so many parts is kept for what is gathered next: a vectored write's worth.
const PARTS_KEPT_MAX: usize = SLICES_MAX;

/// Bytes on their way to one socket. Filled only when empty, and then with about [`limits::GATHER_BYTES_MAX`]; a frame may
/// come on top.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: VecDeque<Bytes>,
    bytes: usize,
    messages: u32,
}

impl Outbox {
    /// Appends a whole message.
    pub fn push(&mut self, message: Bytes) {
        self.messages += 1;
        self.push_part(message);
    }

    /// Appends a message's header; the rest of it follows as a message.
    pub fn push_part(&mut self, part: Bytes) {
        self.bytes += part.len();
        self.parts.push_back(part);
    }

    /// Has it enough for one write?
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.bytes >= limits::GATHER_BYTES_MAX
    }

    /// How many messages were appended since the last call.
    pub const fn take_messages(&mut self) -> u32 {
        std::mem::replace(&mut self.messages, 0)
    }

    /// Is there nothing to write?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes not yet written.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Points `slices` at what comes first, and answers how many of them it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        used
    }

    /// Forgets the first `written` bytes.
    pub fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.parts.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            self.parts.pop_front();
        }
        if self.parts.is_empty() && self.parts.capacity() > PARTS_KEPT_MAX {
            self.parts = VecDeque::new();
        }
    }
}
