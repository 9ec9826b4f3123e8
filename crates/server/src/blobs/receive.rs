//! A body becomes a file: hashed while it comes in, bounded, and gone again unless it is kept.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use access::digest::Sha256;
use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::StreamExt as _;
use store::{Store, StoreError};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Blobs, Shared, removal::Pin};
use crate::random::random;

/// Gathered before a blocking thread writes them: a thread hand-over costs about what hashing 16 KiB does.
const WRITE_BYTES: usize = 256 * 1024;

/// Pieces gathered at most: each costs some dozen bytes beside its own, whatever it brings.
const PIECES_MAX: usize = 1_024;

/// A body that brings nothing for so long has been given up by its sender.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Why a body did not become a file. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// It is over the limit. Never retry.
    #[error("over {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// It ended early or stood still. Send it again.
    #[error("the body ended early")]
    Ended,
    /// There is no room. Safe to repeat when there is.
    #[error("the disk is full")]
    Full,
    /// The disk failed otherwise.
    #[error("writing a file")]
    Disk(#[source] io::Error),
    /// The store did not take the note of it.
    #[error("noting a file")]
    Store(#[from] StoreError),
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Disk(error),
        }
    }
}

/// A file under its temporary name, removed when dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "temporary file not removed");
        }
    }
}

/// A file that grows.
struct Growing {
    file: File,
    hash: Sha256,
    temporary: Temporary,
}

impl Growing {
    fn create(shared: &Shared) -> io::Result<Self> {
        let path = shared.incoming.join(HEXLOWER.encode(&random::<16>()));
        let file = File::create_new(&path)?;
        Ok(Self { file, hash: Sha256::new(), temporary: Temporary(path) })
    }

    fn append(mut self, pieces: &[Bytes]) -> io::Result<Self> {
        for piece in pieces {
            self.hash.update(piece);
            self.file.write_all(piece)?;
        }
        Ok(self)
    }

    fn finish(self) -> io::Result<(Temporary, String)> {
        self.file.sync_all()?;
        Ok((self.temporary, self.hash.finish_hex()))
    }
}

/// A whole file that nobody refers to yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Received {
    shared: Arc<Shared>,
    temporary: Temporary,
    /// Hex SHA-256 of its content.
    pub(crate) sha256: String,
    /// Bytes.
    pub(crate) size: u64,
}

impl Blobs {
    /// Takes `body` in. Holds at most [`WRITE_BYTES`] and a piece of it in memory.
    ///
    /// # Cancel safety
    /// Dropped, it leaves no file behind.
    pub(crate) async fn receive(&self, body: Body) -> Result<Received, ReceiveError> {
        self.receive_within(self.shared.bytes_max, body).await
    }

    /// The same of a body that may have `max` bytes, where that is less than any may have.
    ///
    /// # Cancel safety
    /// Dropped, it leaves no file behind.
    pub(crate) async fn receive_within(&self, max: u64, body: Body) -> Result<Received, ReceiveError> {
        let max = max.min(self.shared.bytes_max);
        // What says beforehand that it is too large is not read at all.
        if body.size_hint().lower() > max {
            return Err(ReceiveError::TooLarge { max });
        }
        let shared = Arc::clone(&self.shared);
        let mut growing = blocking(move || Growing::create(&shared)).await?;
        let mut stream = body.into_data_stream();
        let (mut pieces, mut gathered, mut size) = (Vec::new(), 0, 0_u64);
        loop {
            let piece = match timeout(IDLE_MAX, stream.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(_))) | Err(_) => return Err(ReceiveError::Ended),
                Ok(None) => break,
            };
            size += piece.len() as u64;
            if size > max {
                return Err(ReceiveError::TooLarge { max });
            }
            gathered += piece.len();
            pieces.push(piece);
            if gathered >= WRITE_BYTES || pieces.len() >= PIECES_MAX {
                gathered = 0;
                let full = std::mem::take(&mut pieces);
                growing = blocking(move || growing.append(&full)).await?;
            }
        }
        let (temporary, sha256) = blocking(move || growing.append(&pieces)?.finish()).await?;
        Ok(Received { shared: Arc::clone(&self.shared), temporary, sha256, size })
    }
}

impl Received {
    /// Moves the file to its place. It stays there at least until the [`Pin`] is dropped; write down in `store` who refers
    /// to it before that. Where that does not happen, for whatever reason, a sweep of the store tells of it.
    ///
    /// # Cancel safety
    /// Dropped, it may leave the file in its place, for the next sweep.
    pub(crate) async fn keep(self, store: &dyn Store) -> Result<Pin, ReceiveError> {
        let Self { shared, temporary, sha256, .. } = self;
        let pin = Pin::new(&shared, &sha256);
        let path = shared.path(&sha256).expect("a hash we computed is a hash");
        store.expect_blob(&sha256).await?;
        // The pin goes with the work, which ends even if the caller is gone: no removal takes its note away meanwhile.
        blocking(move || {
            let folder = path.parent().expect("a blob lies in a folder");
            fs::create_dir_all(folder)?;
            fs::rename(&temporary.0, &path)?;
            // The names are durable once their folders are.
            File::open(folder)?.sync_all()?;
            File::open(&shared.blobs)?.sync_all()?;
            Ok(pin)
        })
        .await
    }
}

/// Runs `work` on a blocking thread, to its end even if the caller is gone.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ReceiveError> {
    match spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ReceiveError::Disk(io::Error::other("the blocking thread ended"))),
    }
}
