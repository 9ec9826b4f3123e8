//! Removing files that no row names any more, without taking one that is being named again at that moment.
//!
//! The store says which hashes nobody refers to, and a moment later somebody may upload the same content. So a removal
//! is begun before the store is asked: what is kept from then on is left alone.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    sync::Arc,
};

use super::{Blobs, Shared};

/// Files in use, for removals.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// How many removals are under way.
    removals: usize,
    /// Files being kept right now, and by how many.
    pinned: HashMap<String, usize>,
    /// Files kept since the first removal under way began. Empty while there is none, so it does not grow.
    kept: HashSet<String>,
}

/// Keeps one file from being removed.
#[derive(Debug)]
pub(crate) struct Pin {
    shared: Arc<Shared>,
    sha256: String,
}

impl Pin {
    pub(super) fn new(shared: &Arc<Shared>, sha256: &str) -> Self {
        *shared.uses.lock().pinned.entry(sha256.to_owned()).or_default() += 1;
        Self { shared: Arc::clone(shared), sha256: sha256.to_owned() }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut uses = self.shared.uses.lock();
        if let Some(count) = uses.pinned.get_mut(&self.sha256) {
            *count -= 1;
            if *count == 0 {
                uses.pinned.remove(&self.sha256);
            }
        }
        if uses.removals > 0 {
            uses.kept.insert(std::mem::take(&mut self.sha256));
        }
    }
}

/// A removal under way.
#[derive(Debug)]
pub(crate) struct Removal {
    shared: Arc<Shared>,
}

impl Blobs {
    /// Begins a removal; do this before asking the store what nobody refers to.
    pub(crate) fn removal(&self) -> Removal {
        self.shared.uses.lock().removals += 1;
        Removal { shared: Arc::clone(&self.shared) }
    }
}

impl Removal {
    /// Removes the files with these hashes, except those that came into use meanwhile. What fails is logged and stays.
    /// Answers which are not there any more.
    pub(crate) async fn remove(self, mut orphans: Vec<String>) -> Vec<String> {
        if orphans.is_empty() {
            return orphans;
        }
        let work = move || {
            orphans.retain(|sha256| self.remove_one(sha256));
            orphans
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
            tracing::warn!("a removal of files broke off");
            Vec::new()
        })
    }

    /// Is it not there any more?
    fn remove_one(&self, sha256: &str) -> bool {
        // What is no hash is no file.
        let Some(path) = self.shared.path(sha256) else { return true };
        // The lock is held over one unlink, so that nobody pins the file between the look and the removal.
        let uses = self.shared.uses.lock();
        if uses.pinned.contains_key(sha256) || uses.kept.contains(sha256) {
            return false;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "file not removed; it is tried again");
                false
            }
            _ => true,
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut uses = self.shared.uses.lock();
        uses.removals -= 1;
        if uses.removals == 0 {
            uses.kept = HashSet::new();
        }
    }
}
