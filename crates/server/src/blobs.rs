//! Files on disk, named by the SHA-256 of their content, each there whole or not at all.
//!
//! ```text
//! DATA/incoming/…        being received; emptied at start
//! DATA/blobs/ab/cdef…    kept: synced, then renamed into place
//! ```
//! Which generation has which file is the store's affair. Writing, hashing and syncing run on blocking threads.

mod receive;
mod removal;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

pub(crate) use receive::{ReceiveError, Received};
use removal::Uses;

/// Hex digits of a SHA-256.
const NAME_LENGTH: usize = 64;

/// The files below one data folder. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    blobs: PathBuf,
    incoming: PathBuf,
    bytes_max: u64,
    uses: Mutex<Uses>,
}

impl Blobs {
    /// Opens the folders below `data`, making them where they are missing, and removes what a crash left half received.
    /// No file may have more than `bytes_max` bytes.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(crate) fn open(data: &Path, bytes_max: u64) -> io::Result<Self> {
        let (blobs, incoming) = (data.join("blobs"), data.join("incoming"));
        fs::create_dir_all(&blobs)?;
        fs::create_dir_all(&incoming)?;
        for entry in fs::read_dir(&incoming)? {
            let path = entry?.path();
            tracing::debug!(path = %path.display(), "half received file removed");
            fs::remove_file(path)?;
        }
        let uses = Mutex::new(Uses::default());
        Ok(Self { shared: Arc::new(Shared { blobs, incoming, bytes_max, uses }) })
    }

    /// Most bytes of one file.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.shared.bytes_max
    }

    /// The file with this hash and its size, or `None` when there is none.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub(crate) async fn read(&self, sha256: &str) -> io::Result<Option<(tokio::fs::File, u64)>> {
        let Some(path) = self.shared.path(sha256) else { return Ok(None) };
        match tokio::fs::File::open(path).await {
            Ok(file) => {
                let size = file.metadata().await?.len();
                Ok(Some((file, size)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Shared {
    /// Where the file with this hash lies; nowhere for a text that is no hash, so that no text becomes a path.
    fn path(&self, sha256: &str) -> Option<PathBuf> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let good = sha256.len() == NAME_LENGTH && sha256.bytes().all(hex);
        good.then(|| self.blobs.join(&sha256[..2]).join(&sha256[2..]))
    }
}

#[cfg(test)]
mod tests;
