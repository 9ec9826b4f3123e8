//! Why a film was not made.

use std::io;

use crate::kept;
use crate::request::BadRequest;

/// Why a stage ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself; never retry it unchanged.
    #[error("bad request")]
    Refused(#[from] BadRequest),
    /// [`crate::Sink::cancelled`] said so.
    #[error("cancelled")]
    Cancelled,
    /// The work folder: full, gone or not writable. Worth a retry elsewhere.
    #[error("work file")]
    Disk(#[from] io::Error),
    /// A file of kept pictures that is damaged or belongs to another film. Resume at an earlier stage.
    #[error("kept frames")]
    Kept(#[from] kept::Damage),
    /// This build has no video encoder.
    #[error("this build has no video encoder: build with the cargo feature `h264`")]
    NoEncoder,
    /// The encoder that was asked for is not on this machine; a retry here meets the same.
    #[error("{what}: install it, or use the encoder openh264")]
    Missing {
        /// What is not there, in a few words.
        what: String,
    },
    /// An encoder refused its input. A mistake of ours or memory ran out; worth one retry.
    #[error("{encoder} encoder: {reason}")]
    Encoder {
        /// `webp`, `h264`, `mp4` or `ffmpeg`.
        encoder: &'static str,
        /// What it said.
        reason: String,
    },
}
