//! SHA-256 of files and bytes, in hex. Files are read in pieces on a thread of their own.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256, digest};
use std::io::Read as _;

/// 64 KiB: a few hundred reads for a film, and nothing next to the hashing.
const PIECE_BYTES: usize = 64 * 1024;

/// The hash of `bytes`.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// The length and hash of the file at `path`.
pub(crate) async fn of_file(path: &Path) -> std::io::Result<(u64, String)> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path)).await.map_err(std::io::Error::other)?
}

fn read(path: &PathBuf) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE_BYTES];
    let mut length = 0_u64;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((length, HEXLOWER.encode(context.finish().as_ref())));
        }
        context.update(&piece[..read]);
        length += read as u64;
    }
}
