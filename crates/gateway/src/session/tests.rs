//! The dialogue, byte for byte, without a socket and with a clock moved by hand.

mod bench;
mod dialogue;
mod lanes;
mod resume;
