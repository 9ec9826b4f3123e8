//! Pictures kept in one file, without loss. A retry resumes from it, and stages hand pictures on through it, so memory
//! does not grow with the film. Owns the file format; knows nothing of stages.
//!
//! Little-endian throughout:
//! ```text
//! header   "RUSHFRMS" · u16 version = 1 · u16 0 · u32 width · u32 height · u32 count · u64 hash of the film · u64 check
//! picture  u32 payload length · u32 0 · u64 check of the payload · payload      (count times)
//! trailer  "FRMSDONE"
//! ```
//! A payload is the three planes, each predicted from the row above, in blocks of 32 residuals packed at the block's
//! own width (one byte of width, then `4 * width` bytes). A file without its trailer was not finished.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::frame::Frame;
use crate::request::{FPS_MAX, SECONDS_MAX, SIDE_MAX, Size};

mod pack;

const MAGIC: &[u8; 8] = b"RUSHFRMS";
const TRAILER: &[u8; 8] = b"FRMSDONE";
const VERSION: u16 = 1;
const HEADER_BYTES: u64 = 40;
const PICTURE_HEADER_BYTES: u64 = 16;
/// As many pictures as the longest film has, and the one beyond its end.
const COUNT_MAX: u32 = SECONDS_MAX as u32 * FPS_MAX + 1;

/// What is wrong with a file of kept pictures.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Not such a file, or of another version.
    #[error("not a file of kept frames (version {VERSION})")]
    NotFrames,
    /// The header contradicts itself or our limits.
    #[error("header is damaged")]
    Header,
    /// The file ends early.
    #[error("file ends within frame {index}")]
    Truncated {
        /// The first picture that is not whole.
        index: u32,
    },
    /// A picture's bytes are not those that were written.
    #[error("frame {index} is damaged")]
    Picture {
        /// Which one.
        index: u32,
    },
    /// A sound file of another film.
    #[error("frames belong to another film")]
    Foreign,
    /// The file could not be read.
    #[error("reading")]
    Io(#[from] io::Error),
}

/// Writes pictures one after another; the file takes its name only when all are there.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    size: Size,
    left: u32,
}

impl Writer {
    /// Starts a file of `count` pictures. `film` is any number that identifies the film they belong to.
    ///
    /// # Errors
    /// What creating or writing the file answers.
    pub fn create(path: &Path, size: Size, count: u32, film: u64) -> io::Result<Self> {
        let part = path.with_extension("part");
        let mut file = BufWriter::with_capacity(1 << 18, File::create(&part)?);
        file.write_all(&header(size, count, film))?;
        Ok(Self { file, part, path: path.to_owned(), size, left: count })
    }

    /// Appends a picture packed by [`pack`].
    ///
    /// # Errors
    /// What writing answers.
    ///
    /// # Panics
    /// If more pictures come than were announced.
    pub fn append(&mut self, packed: &Packed) -> io::Result<()> {
        assert!(self.left > 0 && packed.size == self.size, "an unannounced frame");
        self.left -= 1;
        self.file.write_all(&(packed.bytes.len() as u32).to_le_bytes())?;
        self.file.write_all(&[0; 4])?;
        self.file.write_all(&packed.check.to_le_bytes())?;
        self.file.write_all(&packed.bytes)
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// What writing or renaming answers.
    ///
    /// # Panics
    /// If pictures are missing.
    pub fn finish(mut self) -> io::Result<()> {
        assert!(self.left == 0, "{} frames missing", self.left);
        self.file.write_all(TRAILER)?;
        self.file.flush()?;
        fs::rename(&self.part, &self.path)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` the name is gone already; otherwise an unfinished file is of use to nobody.
        let _ = fs::remove_file(&self.part);
    }
}

fn header(size: Size, count: u32, film: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    for number in [size.width, size.height, count] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&film.to_le_bytes());
    let check = check(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}

/// A picture ready to be written.
#[derive(Debug, Clone)]
pub struct Packed {
    size: Size,
    check: u64,
    bytes: Vec<u8>,
}

/// Packs a picture without loss; about 0.4 of its size for drawn pictures.
#[must_use]
pub fn pack(frame: &Frame) -> Packed {
    let mut bytes = Vec::with_capacity(Frame::bytes(frame.size) / 2);
    for (plane, size) in frame.planes() {
        pack::plane(plane, size.width as usize, &mut bytes);
    }
    Packed { size: frame.size, check: check(&bytes), bytes }
}

/// Reads pictures in any order, from any thread. The whole structure is checked when opened, each picture when read.
#[derive(Debug)]
pub struct Reader {
    file: Mutex<File>,
    size: Size,
    film: u64,
    /// Where each payload starts, its length and its check.
    pictures: Vec<(u64, usize, u64)>,
}

impl Reader {
    /// Opens a finished file.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Damage> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = [0_u8; HEADER_BYTES as usize];
        file.read_exact(&mut bytes).map_err(|_| Damage::NotFrames)?;
        if &bytes[..8] != MAGIC || bytes[8..10] != VERSION.to_le_bytes() {
            return Err(Damage::NotFrames);
        }
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (size, count) = (Size::new(number(12), number(16)), number(20));
        let film = u64::from(number(24)) | u64::from(number(28)) << 32;
        let sound = header(size, count, film) == bytes
            && size.even() == size
            && size.width.min(size.height) > 0
            && size.width.max(size.height) <= SIDE_MAX
            && (1..=COUNT_MAX).contains(&count);
        if !sound {
            return Err(Damage::Header);
        }
        let pictures = walk(&mut file, length, size, count)?;
        Ok(Self { file: Mutex::new(file), size, film, pictures })
    }

    /// Size of every picture.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Number of pictures.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.pictures.len() as u32
    }

    /// Refuses pictures of another film.
    ///
    /// # Errors
    /// [`Damage::Foreign`].
    pub fn expect(&self, film: u64, size: Size, count: u32) -> Result<(), Damage> {
        if (self.film, self.size, self.count()) == (film, size, count) { Ok(()) } else { Err(Damage::Foreign) }
    }

    /// Reads one picture.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn frame(&self, index: u32) -> Result<Frame, Damage> {
        let &(at, length, expected) = self.pictures.get(index as usize).ok_or(Damage::Truncated { index })?;
        let mut bytes = vec![0; length];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut bytes)?;
        }
        if check(&bytes) != expected {
            return Err(Damage::Picture { index });
        }
        let mut frame = Frame::new(self.size);
        let (width, half) = (self.size.width as usize, self.size.width as usize / 2);
        let rest = pack::unplane(&bytes, width, &mut frame.y)
            .and_then(|rest| pack::unplane(rest, half, &mut frame.u))
            .and_then(|rest| pack::unplane(rest, half, &mut frame.v));
        if rest.is_some_and(<[u8]>::is_empty) { Ok(frame) } else { Err(Damage::Picture { index }) }
    }
}

fn walk(file: &mut File, length: u64, size: Size, count: u32) -> Result<Vec<(u64, usize, u64)>, Damage> {
    let payload_max = Frame::bytes(size) as u64 * 33 / 32 + 3 * 33;
    let mut pictures = Vec::with_capacity(count as usize);
    let mut at = HEADER_BYTES;
    for index in 0..count {
        let mut head = [0_u8; PICTURE_HEADER_BYTES as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head).map_err(|_| Damage::Truncated { index })?;
        let payload = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
        let mut expected = [0; 8];
        expected.copy_from_slice(&head[8..]);
        at += PICTURE_HEADER_BYTES;
        if payload > payload_max {
            return Err(Damage::Picture { index });
        }
        if at + payload > length {
            return Err(Damage::Truncated { index });
        }
        pictures.push((at, payload as usize, u64::from_le_bytes(expected)));
        at += payload;
    }
    let mut trailer = [0; 8];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut trailer).map_err(|_| Damage::Truncated { index: count })?;
    if &trailer == TRAILER { Ok(pictures) } else { Err(Damage::Truncated { index: count }) }
}

/// FNV-1a over words of eight bytes with a final mix: finds damage, proves nothing about origin.
fn check(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        hash ^= hash >> 29;
    }
    for &byte in chunks.remainder() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^ (hash >> 32) ^ bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picture(seed: u64) -> Frame {
        let mut state = seed | 1;
        let mut frame = Frame::new(Size::new(70, 46));
        for plane in [&mut frame.y, &mut frame.u, &mut frame.v] {
            for (i, value) in plane.iter_mut().enumerate() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let noise = if seed.is_multiple_of(2) { state >> 62 } else { state >> 56 };
                *value = ((i / 70) as u8).wrapping_add(noise as u8);
            }
        }
        frame
    }

    fn file(folder: &Path) -> PathBuf {
        let path = folder.join("frames.rushes");
        let mut writer = Writer::create(&path, Size::new(70, 46), 3, 42).unwrap();
        for seed in 0..3 {
            writer.append(&pack(&picture(seed))).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn pictures_come_back_as_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(&file(folder.path())).unwrap();
        for seed in [2, 0, 1] {
            assert_eq!(reader.frame(seed).unwrap(), picture(u64::from(seed)));
        }
        assert!(reader.expect(42, Size::new(70, 46), 3).is_ok());
        assert!(matches!(reader.expect(43, Size::new(70, 46), 3), Err(Damage::Foreign)));
        assert!(matches!(reader.frame(3), Err(Damage::Truncated { index: 3 })));
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames.rushes");
        let mut writer = Writer::create(&path, Size::new(70, 46), 3, 42).unwrap();
        writer.append(&pack(&picture(0))).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_file_cut_anywhere_is_refused(part in 0.0..1.0_f64) {
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path());
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
            prop_assert!(Reader::open(&path).is_err());
        }

        #[test]
        fn a_flipped_bit_is_an_error_and_never_a_wrong_picture(part in 0.0..1.0_f64, bit in 0..8_u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path());
            let mut bytes = fs::read(&path).unwrap();
            let at = (bytes.len() as f64 * part) as usize;
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            if let Ok(reader) = Reader::open(&path) {
                for index in 0..3 {
                    if let Ok(frame) = reader.frame(index) {
                        prop_assert_eq!(frame, picture(u64::from(index)));
                    }
                }
            }
        }
    }
}
