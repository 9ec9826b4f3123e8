//! The binary frame: a header of 37 bytes and an id, then the picture. Little-endian throughout.
//!
//! ```text
//!  0 "RF"   2 u8 version   3 u8 format   4 u16 header length   6 u16 flags
//!  8 u32 fence   12 u32 index   16 u32 total   20 u32 revision   24 u64 pts µs
//! 32 u16 width   34 u16 height   36 u8 id length   37 id   … picture
//! ```
//! Index and revision are two axes: a diffusion model refines all frames at each step, an autoregressive one appends.
//! A worker sends an id of length 0 behind a u32 lease handle; the server fills the id in.

use serde::{Deserialize, Serialize};

use crate::{
    id::GenerationId,
    limits,
    number::{Fence, FrameIndex, Handle, Revision},
};

/// The first two bytes of each frame.
pub const MAGIC: [u8; 2] = *b"RF";
/// The version of the header written here.
pub const VERSION: u8 = 1;
/// Bytes of the header before the id.
pub const HEADER_BYTES: usize = 37;

/// The picture is the last of its revision.
pub const FLAG_LAST_OF_REVISION: u16 = 1;
/// The picture is the last of the generation.
pub const FLAG_LAST: u16 = 2;
/// The picture can be decoded without any other.
pub const FLAG_KEY: u16 = 4;

/// How the picture is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `RIFF….WEBP`
    Webp,
    /// `FF D8 FF`
    Jpeg,
    /// `89 50 4E 47`
    Png,
    /// ISO BMFF with an `avif` brand.
    Avif,
    /// H.264 in Annex B.
    H264,
}

impl Format {
    const fn code(self) -> u8 {
        match self {
            Self::Webp => 1,
            Self::Jpeg => 2,
            Self::Png => 3,
            Self::Avif => 4,
            Self::H264 => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Webp,
            2 => Self::Jpeg,
            3 => Self::Png,
            4 => Self::Avif,
            5 => Self::H264,
            _ => return None,
        })
    }

    /// The media type of the picture alone.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Avif => "image/avif",
            Self::H264 => "video/h264",
        }
    }

    /// Does `picture` begin as this format does? A relay must not become a way to serve anything else.
    #[must_use]
    pub fn matches(self, picture: &[u8]) -> bool {
        match self {
            Self::Webp => picture.len() > 12 && picture.starts_with(b"RIFF") && &picture[8..12] == b"WEBP",
            Self::Jpeg => picture.starts_with(&[0xff, 0xd8, 0xff]),
            Self::Png => picture.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Avif => picture.len() > 12 && &picture[4..8] == b"ftyp" && picture[8..12].starts_with(b"avi"),
            Self::H264 => picture.starts_with(&[0, 0, 1]) || picture.starts_with(&[0, 0, 0, 1]),
        }
    }
}

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How the picture is encoded.
    pub format: Format,
    /// [`FLAG_LAST_OF_REVISION`], [`FLAG_LAST`], [`FLAG_KEY`]; unknown bits are kept.
    pub flags: u16,
    /// Under which grant it was made.
    pub fence: Fence,
    /// Its place in the film.
    pub index: FrameIndex,
    /// How many pictures the film has; 0 when unknown.
    pub total: u32,
    /// How far it is refined.
    pub revision: Revision,
    /// When it is shown, in microseconds of film time.
    pub pts_micros: u64,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Whose it is; absent from a worker.
    pub generation: Option<GenerationId>,
}

/// Why bytes are not a frame. The sender has a bug; the frame is dropped, the connection goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// Shorter than its header says.
    Truncated,
    /// Does not start with `RF`.
    Magic,
    /// A version this reader does not know.
    Version(u8),
    /// A format code nobody defined.
    Format(u8),
    /// The id is not an id.
    Id,
    /// Larger than [`limits::FRAME_BYTES_MAX`].
    TooLarge(usize),
    /// The picture does not begin as its format does.
    Picture(Format),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("frame is shorter than its header says"),
            Self::Magic => f.write_str("frame does not start with `RF`"),
            Self::Version(version) => write!(f, "frame version {version}: this server reads {VERSION}"),
            Self::Format(code) => write!(f, "frame format {code}: 1 webp, 2 jpeg, 3 png, 4 avif, 5 h264"),
            Self::Id => f.write_str("frame id is not a generation id"),
            Self::TooLarge(bytes) => write!(f, "frame of {bytes} bytes: {} at most", limits::FRAME_BYTES_MAX),
            Self::Picture(format) => write!(f, "picture does not begin as {} does", format.media_type()),
        }
    }
}

impl std::error::Error for FrameError {}

impl Header {
    /// Can the picture be decoded without any other? Of video, key frames alone can.
    #[must_use]
    pub const fn stands_alone(&self) -> bool {
        !matches!(self.format, Format::H264) || self.flags & FLAG_KEY != 0
    }

    /// Appends the header to `out`; the picture goes behind it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let id = self.generation.as_ref().map_or("", GenerationId::as_str).as_bytes();
        let id_length = u8::try_from(id.len()).expect("ids have at most 128 bytes");
        let length = u16::try_from(HEADER_BYTES + id.len()).expect("37 and at most 128 bytes");
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.format.code()]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.fence.0.to_le_bytes());
        out.extend_from_slice(&self.index.0.to_le_bytes());
        out.extend_from_slice(&self.total.to_le_bytes());
        out.extend_from_slice(&self.revision.0.to_le_bytes());
        out.extend_from_slice(&self.pts_micros.to_le_bytes());
        out.extend_from_slice(&self.width.to_le_bytes());
        out.extend_from_slice(&self.height.to_le_bytes());
        out.push(id_length);
        out.extend_from_slice(id);
    }

    /// Reads a header; the rest of `bytes` is the picture, checked to begin as its format does.
    ///
    /// # Errors
    /// [`FrameError`] names what is wrong; nothing panics on any input.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        if bytes.len() > limits::FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(bytes.len()));
        }
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(FrameError::Truncated)?;
        if fixed[..2] != MAGIC {
            return Err(FrameError::Magic);
        }
        if fixed[2] != VERSION {
            return Err(FrameError::Version(fixed[2]));
        }
        let format = Format::from_code(fixed[3]).ok_or(FrameError::Format(fixed[3]))?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let length = usize::from(u16_at(4));
        let id_end = HEADER_BYTES + usize::from(fixed[36]);
        // A later version may lengthen the header behind the id; what lies between is skipped.
        if length < id_end || bytes.len() < length {
            return Err(FrameError::Truncated);
        }
        let id = std::str::from_utf8(&bytes[HEADER_BYTES..id_end]).map_err(|_| FrameError::Id)?;
        let generation = if id.is_empty() { None } else { Some(GenerationId::new(id).map_err(|_| FrameError::Id)?) };
        let header = Self {
            format,
            flags: u16_at(6),
            fence: Fence(u32_at(8)),
            index: FrameIndex(u32_at(12)),
            total: u32_at(16),
            revision: Revision(u32_at(20)),
            pts_micros: u64::from(u32_at(24)) | u64::from(u32_at(28)) << 32,
            width: u16_at(32),
            height: u16_at(34),
            generation,
        };
        let picture = &bytes[length..];
        if format.matches(picture) { Ok((header, picture)) } else { Err(FrameError::Picture(format)) }
    }
}

/// Splits what a worker sends: the lease handle, then the frame.
///
/// # Errors
/// [`FrameError::Truncated`] when not even the handle is there.
pub fn split_handle(bytes: &[u8]) -> Result<(Handle, &[u8]), FrameError> {
    let (handle, frame) = bytes.split_first_chunk().ok_or(FrameError::Truncated)?;
    Ok((Handle(u32::from_le_bytes(*handle)), frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Header, Vec<u8>) {
        let header = Header {
            format: Format::Webp,
            flags: FLAG_KEY | FLAG_LAST,
            fence: Fence(3),
            index: FrameIndex(7),
            total: 48,
            revision: Revision(2),
            pts_micros: u64::from(u32::MAX) + 5,
            width: 854,
            height: 480,
            generation: Some(GenerationId::new("gen_a").unwrap()),
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(b"RIFF\x10\0\0\0WEBPVP8 ");
        (header, bytes)
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let (header, bytes) = sample();
        let (read, picture) = Header::read(&bytes).unwrap();
        assert_eq!(read, header);
        assert!(picture.starts_with(b"RIFF"));
    }

    #[test]
    fn every_truncation_is_refused_without_a_panic() {
        let (_, bytes) = sample();
        for length in 0..bytes.len() - 4 {
            assert!(Header::read(&bytes[..length]).is_err(), "{length} bytes were taken");
        }
    }

    #[test]
    fn a_script_is_not_relayed_as_a_picture() {
        let (header, _) = sample();
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(b"<script>alert(1)</script>");
        assert_eq!(Header::read(&bytes), Err(FrameError::Picture(Format::Webp)));
    }
}
