//! Files are there whole or not at all, and are not removed under somebody's hands.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::io::AsyncReadExt as _;

use protocol::Timestamp;
use store::sqlite::{self, Sqlite};

use super::*;

struct Folder {
    root: tempfile::TempDir,
    blobs: Blobs,
    store: Sqlite,
}

fn folder(bytes_max: u64) -> Folder {
    let root = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(root.path(), bytes_max).unwrap();
    let options = sqlite::Options {
        folder: root.path().to_owned(),
        now: Timestamp(0),
        random: [1; 6],
        on_commit: Arc::new(|_| {}),
        readers: 1,
        weights: std::collections::HashMap::new(),
    };
    Folder { blobs, store: Sqlite::open(options).unwrap(), root }
}

impl Folder {
    fn incoming(&self) -> usize {
        fs::read_dir(self.root.path().join("incoming")).unwrap().count()
    }

    async fn content(&self, sha256: &str) -> Option<Vec<u8>> {
        let (mut file, size) = self.blobs.read(sha256).await.unwrap()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).await.unwrap();
        assert_eq!(content.len() as u64, size);
        Some(content)
    }
}

#[tokio::test]
async fn what_was_kept_reads_back_under_its_hash() {
    let folder = folder(u64::MAX);
    let content = vec![7_u8; 700_000];
    let pieces =
        content.chunks(1_000).map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    let received = folder.blobs.receive(Body::from_stream(stream::iter(pieces))).await.unwrap();
    assert_eq!(received.sha256, access::digest::sha256_hex(&content));
    assert_eq!(received.size, 700_000);
    let sha256 = received.sha256.clone();
    assert!(folder.content(&sha256).await.is_none(), "visible before it was kept");
    drop(received.keep(&folder.store).await.unwrap());
    assert_eq!(folder.content(&sha256).await.unwrap(), content);
    assert_eq!(folder.incoming(), 0);
}

/// Each piece costs memory beside its bytes: a body of single bytes is not gathered as one of large pieces is.
#[tokio::test]
async fn a_body_in_tiny_pieces_is_written_before_many_are_gathered() {
    let folder = folder(u64::MAX);
    let incoming = folder.root.path().join("incoming");
    let written = move || fs::read_dir(&incoming).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let pieces = (0..10_000_u64).map(move |sent| {
        let written: u64 = written();
        assert!(sent - written <= 1_024, "{} pieces in memory", sent - written);
        Ok::<_, io::Error>(Bytes::from_static(b"x"))
    });
    let received = folder.blobs.receive(Body::from_stream(stream::iter(pieces))).await.unwrap();
    assert_eq!((received.size, received.sha256), (10_000, access::digest::sha256_hex(&[b'x'; 10_000])));
}

#[tokio::test]
async fn what_is_not_kept_leaves_nothing() {
    let folder = folder(1_000);
    drop(folder.blobs.receive(Body::from("x")).await.unwrap());
    let announced = folder.blobs.receive(Body::from(vec![0; 1_001])).await;
    assert!(matches!(announced, Err(ReceiveError::TooLarge { max: 1_000 })));
    let pieces = (0..3).map(|_| Ok::<_, io::Error>(Bytes::from(vec![0; 400])));
    let streamed = folder.blobs.receive(Body::from_stream(stream::iter(pieces))).await;
    assert!(matches!(streamed, Err(ReceiveError::TooLarge { max: 1_000 })));
    let broken = [Ok(Bytes::from("x")), Err(io::Error::other("gone"))];
    let ended = folder.blobs.receive(Body::from_stream(stream::iter(broken))).await;
    assert!(matches!(ended, Err(ReceiveError::Ended)));
    assert_eq!(folder.incoming(), 0);
    assert_eq!(fs::read_dir(folder.root.path().join("blobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_crash_left_half_received_is_removed_at_start() {
    let folder = folder(1_000);
    fs::write(folder.root.path().join("incoming/half"), "half").unwrap();
    Blobs::open(folder.root.path(), 1_000).unwrap();
    assert_eq!(folder.incoming(), 0);
}

#[tokio::test]
async fn no_text_but_a_hash_becomes_a_path() {
    let folder = folder(1_000);
    fs::write(folder.root.path().join("secret"), "secret").unwrap();
    for bad in ["", "..", "../secret", "a/../../secret", &"A".repeat(64), &"../".repeat(21)] {
        assert!(folder.blobs.read(bad).await.unwrap().is_none(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_file_that_comes_into_use_during_a_removal_stays() {
    let folder = folder(1_000);
    let keep = async |content: &'static str| {
        let received = folder.blobs.receive(Body::from(content)).await.unwrap();
        received.keep(&folder.store).await.unwrap()
    };
    let hash = |content: &str| access::digest::sha256_hex(content.as_bytes());
    drop(keep("orphan").await);
    drop(keep("again").await);
    drop(keep("held").await);
    let removal = folder.blobs.removal();
    drop(keep("again").await);
    let held = keep("held").await;
    let gone = removal.remove(vec![hash("orphan"), hash("again"), hash("held")]).await;
    assert_eq!(gone, [hash("orphan")]);
    assert!(folder.content(&hash("orphan")).await.is_none());
    assert!(folder.content(&hash("again")).await.is_some(), "kept since the removal began");
    assert!(folder.content(&hash("held")).await.is_some(), "being kept");
    drop(held);
    folder.blobs.removal().remove(vec![hash("again"), hash("held")]).await;
    assert!(folder.content(&hash("again")).await.is_none());
    assert!(folder.content(&hash("held")).await.is_none());
}
