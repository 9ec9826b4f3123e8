//! The binary frame, read and written by the page of `spec/protocol.md` and by nothing of ours.

use anyhow::{Context, Result, ensure};

/// Bytes of a header without an id.
const HEADER: usize = 37;

/// A frame as a watcher gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 1 is WebP.
    pub format: u8,
    /// 1 last of its revision, 2 last of the generation.
    pub flags: u16,
    /// Under which grant it was made.
    pub fence: u32,
    /// Its place in the film.
    pub index: u32,
    /// How many there will be.
    pub total: u32,
    /// How far it is refined.
    pub revision: u32,
    /// Microseconds of film time.
    pub pts: u64,
    /// Pixels across and down.
    pub size: (u16, u16),
    /// Whose it is.
    pub generation: String,
    /// The picture.
    pub picture: Vec<u8>,
}

impl Frame {
    /// Takes a binary message apart.
    ///
    /// # Errors
    /// When it is not as the page says.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() > HEADER && bytes.starts_with(b"RF") && bytes[2] == 1, "no frame of version 1: {bytes:?}");
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let (length, id_length) = (usize::from(u16_at(4)), usize::from(bytes[36]));
        ensure!(length >= HEADER + id_length, "a header of {length} bytes with an id of {id_length}");
        let generation = bytes.get(HEADER..HEADER + id_length).context("an id")?;
        Ok(Self {
            format: bytes[3],
            flags: u16_at(6),
            fence: u32_at(8),
            index: u32_at(12),
            total: u32_at(16),
            revision: u32_at(20),
            pts: u64::from(u32_at(24)) | u64::from(u32_at(28)) << 32,
            size: (u16_at(32), u16_at(34)),
            generation: String::from_utf8(generation.to_vec())?,
            picture: bytes.get(length..).context("a picture")?.to_vec(),
        })
    }

    /// As a worker sends it, behind the handle of its lease.
    #[must_use]
    pub fn of_worker(&self, handle: u32) -> Vec<u8> {
        let mut bytes = handle.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[b'R', b'F', 1, self.format]);
        for short in [HEADER as u16, self.flags] {
            bytes.extend_from_slice(&short.to_le_bytes());
        }
        for number in [self.fence, self.index, self.total, self.revision] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.pts.to_le_bytes());
        bytes.extend_from_slice(&self.size.0.to_le_bytes());
        bytes.extend_from_slice(&self.size.1.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.picture);
        bytes
    }

    /// A picture of a worker with this fence at this place. It begins as a WebP does, which is all a relay looks at.
    #[must_use]
    pub fn sample(fence: u32, index: u32) -> Self {
        let mut picture = b"RIFF\x0c\0\0\0WEBPVP8 ".to_vec();
        picture.extend_from_slice(&index.to_le_bytes());
        let (generation, size) = (String::new(), (320, 180));
        let pts = u64::from(index) * 40_000;
        Self { format: 1, flags: 0, fence, index, total: 100, revision: 0, pts, size, generation, picture }
    }

    /// The RIFF container is a WebP and as long as it says.
    ///
    /// # Errors
    /// When it is not.
    pub fn ensure_webp(&self) -> Result<()> {
        let picture = &self.picture;
        ensure!(self.format == 1 && picture.starts_with(b"RIFF") && picture.get(8..12) == Some(b"WEBP"), "no WebP");
        let length =
            picture.get(4..8).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes).context("a size")?;
        ensure!(length as usize + 8 == picture.len(), "{length} bytes announced, {} there", picture.len());
        Ok(())
    }
}
