//! A disk that is soon full: a tmpfs of a few megabytes, and ballast to fill it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// Written at once while filling.
const PIECE: usize = 64 * 1024;

/// A mounted tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct Small(TempDir);

impl Small {
    /// Mounts one of so many megabytes; `None` where this process may not mount.
    ///
    /// # Errors
    /// When there is no folder to mount it on.
    pub fn mount(megabytes: u32) -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        Ok(mounted.is_ok_and(|status| status.success()).then(|| Self(folder)))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits.
    ///
    /// # Errors
    /// When writing fails for another reason than a full disk.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        for piece in [PIECE, 1024, 1] {
            let bytes = vec![0; piece];
            let error = loop {
                // A single write, so that what fits is known to be written.
                if let Err(error) = file.write_all(&bytes) {
                    break error;
                }
            };
            ensure!(error.kind() == io::ErrorKind::StorageFull, "{error}");
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When there was no ballast.
    pub fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the server of a failed test may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
