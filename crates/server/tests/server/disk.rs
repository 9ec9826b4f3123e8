//! A full disk, on a small tmpfs.

use std::{path::Path, process::Command, sync::Arc};

use reqwest::Method;
use rushes_server::Mode;
use serde_json::json;
use tempfile::TempDir;

use crate::bed::{Answer, Bed};

/// A file system of a few megabytes, unmounted when dropped.
struct Small(Arc<TempDir>);

impl Small {
    /// `None` where this process may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(Arc::new(folder)))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}

fn unmount(path: &Path) {
    // Lazily: the server of a failed test may still have files open.
    let _ = Command::new("umount").arg("-l").arg(path).status();
}

#[tokio::test]
async fn a_full_disk_is_told_and_recovered_from_without_a_restart() {
    let Some(small) = Small::mount() else {
        eprintln!("SKIPPED: mounting a tmpfs needs root; a full disk was not tried");
        return;
    };
    let bed = Bed::in_folder(Arc::clone(&small.0), Mode::Serve, &[]).await;
    let ada = bed.user("ada");
    let id = bed.submit(&ada).await;
    let mut worker = bed.worker("w1").await;
    let lease = worker.take().await;
    let put = async |name: &str, bytes: usize| {
        let path = format!("/v1/generations/{id}/artifacts/{name}");
        let request = bed.request(Method::PUT, &path, &worker.token).header("x-rushes-lease", &lease);
        Answer::of(request.body(vec![7; bytes]).send().await.unwrap()).await
    };
    let full = put("film.mp4", 16 * 1024 * 1024).await;
    assert_eq!(full.refusal(), (507, "storage_full".into()), "{}", full.text());
    assert_ne!(full.header("retry-after"), "");
    assert_eq!((bed.incoming(), bed.blobs()), (0, 0), "the half file is gone");
    assert_eq!(put("film.mp4", 1024).await.status, 201, "there is room again, and the lease went on");
    let ballast = small.0.path().join("ballast");
    let room = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&ballast).unwrap());
    assert!(room.is_err(), "the disk is not full");
    let refused = bed.post("/v1/generations", &ada, json!({"prompt": "x".repeat(4_000)}).to_string()).await;
    assert_eq!(refused.refusal(), (507, "storage_full".into()), "{}", refused.text());
    std::fs::remove_file(&ballast).unwrap();
    bed.submit(&ada).await;
    assert_eq!(bed.get("/readyz", "").await.status, 200);
    bed.server.stop().await;
}
