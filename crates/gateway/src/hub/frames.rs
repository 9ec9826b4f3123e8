//! The preview frames a tail holds: the newest revision of each of the last few pictures, in two sizes.
//!
//! Workers encode for players and for small tiles, each only while somebody looks. A watcher gets the size it asked for;
//! where a worker never made that size, the other one.

use std::{collections::VecDeque, sync::Arc};

use bus::Frame;
use protocol::limits;

/// Numbers frames in the order in which they came, within one tail. Not on the wire.
pub type Serial = u64;

/// Pixels up to which a picture is a small tile.
pub(super) const TILE_WIDTH_MAX: u32 = 192;

/// What a picture is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A player.
    Full,
    /// A page of thumbnails.
    Tile,
}

impl Size {
    /// The size a watcher wants that shows at most `width` pixels, or the size of a picture of that width.
    #[must_use]
    pub const fn of(width: u32) -> Self {
        if width <= TILE_WIDTH_MAX { Self::Tile } else { Self::Full }
    }
}

/// What a tail keeps of the pictures of one index, and how many pictures in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The newest revision of each index, within one window.
    Newest,
    /// Every revision, for requesters that want each frame, within two windows: while the slowed generator's frames under
    /// way still arrive, they have room.
    Every,
}

/// A frame and its place.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its number among all frames of the tail.
    pub serial: Serial,
    /// Its number among those of its size, by which a watcher sees how many it missed.
    pub nth: u64,
    /// The frame.
    pub frame: Arc<Frame>,
}

impl Held {
    fn size(&self) -> Size {
        Size::of(u32::from(self.frame.header.width))
    }
}

/// The last frames of one generation, in the order in which they came.
#[derive(Debug, Default)]
pub struct Frames {
    held: VecDeque<Held>,
    bytes: usize,
    last: Serial,
    /// How many came of each size.
    came: [u64; 2],
}

impl Frames {
    /// Takes a frame. A newer revision of an index replaces the older ones unless [`Keep::Every`] is asked for; an older
    /// revision, or a frame of an earlier grant, is ignored; a full tail drops the oldest. Answers whether the frame was
    /// taken.
    pub fn insert(&mut self, frame: Arc<Frame>, keep: Keep) -> bool {
        let header = &frame.header;
        let size = Size::of(u32::from(header.width));
        if self.held.back().is_some_and(|newest| newest.frame.header.fence > header.fence) {
            return false;
        }
        let same = |held: &Held| held.frame.header.index == header.index && held.size() == size;
        let newer = |held: &Held| {
            let old = &held.frame.header;
            (old.fence, old.revision) > (header.fence, header.revision)
        };
        if self.held.iter().any(|held| same(held) && newer(held)) {
            return false;
        }
        // More than one only when every frame was kept until now.
        while keep == Keep::Newest
            && let Some(at) = self.held.iter().position(same)
        {
            self.remove(at);
        }
        self.last += 1;
        self.came[size as usize] += 1;
        self.bytes += frame.bytes.len();
        self.held.push_back(Held { serial: self.last, nth: self.came[size as usize], frame });
        let windows = match keep {
            Keep::Newest => 1,
            Keep::Every => 2,
        };
        while self.held.len() > limits::TAIL_FRAMES_MAX * windows
            || (self.bytes > limits::TAIL_FRAMES_BYTES_MAX * windows && self.held.len() > 1)
        {
            self.remove(0);
        }
        true
    }

    /// The newest frame for a watcher that wants this size.
    #[must_use]
    pub fn newest(&self, size: Size) -> Option<&Held> {
        self.of(size).next_back()
    }

    /// The newest frame of this size that can be shown without any other.
    #[must_use]
    pub fn newest_alone(&self, size: Size) -> Option<&Held> {
        self.of(size).rev().find(|held| held.frame.header.stands_alone())
    }

    /// The frame that comes next for a watcher who wants the newest, has seen everything up to `seen`, and can decode what
    /// follows its frame number `decoded`, if it has one. Pictures are skipped as one likes; video goes on in order, and after
    /// a gap with the next key frame.
    #[must_use]
    pub fn latest_after(&self, seen: Serial, decoded: Option<u64>, size: Size) -> Option<&Held> {
        let alone = self.newest_alone(size).filter(|held| held.serial > seen);
        alone.or_else(|| self.after(seen, size).filter(|held| decoded == Some(held.nth - 1)))
    }

    /// The first frame that came after `serial`, for a watcher that wants this size.
    #[must_use]
    pub fn after(&self, serial: Serial, size: Size) -> Option<&Held> {
        self.of(size).find(|held| held.serial > serial)
    }

    /// The number of the newest frame ever taken; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> Serial {
        self.last
    }

    /// How many frames, and how many bytes of them, came after `serial` and wait for a watcher that wants this size.
    #[must_use]
    pub fn waiting(&self, serial: Serial, size: Size) -> (usize, usize) {
        let waiting = self.of(size).filter(|held| held.serial > serial);
        waiting.fold((0, 0), |(frames, bytes), held| (frames + 1, bytes + held.frame.bytes.len()))
    }

    /// Keeps only the newest that can be shown alone: nobody watches.
    pub fn shrink(&mut self) {
        let kept = self.held.iter().rposition(|held| held.frame.header.stands_alone());
        for at in (0..self.held.len()).rev().filter(|at| Some(*at) != kept) {
            self.remove(at);
        }
        self.held.shrink_to_fit();
    }

    /// Frames of this size, or of the other one where no worker ever made this one.
    fn of(&self, size: Size) -> impl DoubleEndedIterator<Item = &Held> {
        let made = self.came[size as usize] > 0;
        self.held.iter().filter(move |held| !made || held.size() == size)
    }

    fn remove(&mut self, at: usize) {
        if let Some(held) = self.held.remove(at) {
            self.bytes -= held.frame.bytes.len();
        }
    }
}
