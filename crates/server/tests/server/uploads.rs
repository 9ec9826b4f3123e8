//! Uploads: what one owner may keep and have under way, so that nobody fills the disk of all.

use access::Role;
use futures_util::stream;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use crate::bed::{Answer, Bed};

/// An upload of a size that nobody announced, until the sender is dropped.
struct Open {
    sender: mpsc::Sender<Vec<u8>>,
    answer: JoinSet<Response>,
}

impl Open {
    /// Begins one; the server is taking it in, or the sender gave up.
    async fn begin(bed: &Bed, token: &str) -> Self {
        let before = bed.incoming();
        let (sender, pieces) = mpsc::channel(1);
        let pieces = stream::unfold(pieces, async |mut pieces: mpsc::Receiver<Vec<u8>>| {
            Some((Ok::<_, std::io::Error>(pieces.recv().await?), pieces))
        });
        let request = bed.request(Method::POST, "/v1/uploads", token).body(reqwest::Body::wrap_stream(pieces));
        let mut answer = JoinSet::new();
        answer.spawn(async move { request.send().await.unwrap() });
        sender.send(b"x".to_vec()).await.unwrap();
        while bed.incoming() == before && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
        Self { sender, answer }
    }

    async fn end(mut self) -> Answer {
        drop(self.sender);
        Answer::of(self.answer.join_next().await.unwrap().unwrap()).await
    }
}

async fn upload(bed: &Bed, token: &str, bytes: usize) -> Answer {
    bed.post("/v1/uploads", token, vec![7; bytes]).await
}

#[tokio::test]
async fn an_owner_keeps_so_much_and_hears_what_to_do_about_more() {
    let bed = Bed::with(&[("limits.upload_bytes_per_owner", "1MiB")]).await;
    let ada = bed.user("ada");
    assert_eq!(upload(&bed, &ada, 600_000).await.status, 201);
    let refused = upload(&bed, &ada, 600_000).await;
    assert_eq!(refused.refusal(), (413, "too_large".into()));
    let error = &refused.json()["error"];
    assert_eq!(error["details"], json!({"kept": 600_000, "max": 1_048_576}));
    assert!(error["hint"].as_str().unwrap().contains("limits.upload_bytes_per_owner"), "{error}");
    let open = Open::begin(&bed, &ada).await;
    // It may be refused before it is sent whole.
    let _ = open.sender.send(vec![7; 600_000]).await;
    assert_eq!(open.end().await.refusal(), (413, "too_large".into()), "of a size that was not announced");
    assert_eq!((bed.blobs(), bed.incoming()), (1, 0));
    assert_eq!(upload(&bed, &ada, 400_000).await.status, 201, "what fits is taken");
    assert_eq!(upload(&bed, &bed.user("eve"), 600_000).await.status, 201, "the bound is an owner's own");
    let service = bed.token("shop", "default", Role::Service);
    assert_eq!(upload(&bed, &service, 600_000).await.status, 201);
    assert_eq!(upload(&bed, &service, 600_000).await.status, 201, "who uploads for many is not bounded");
}

/// A file costs an inode and a row however small it is.
#[tokio::test]
async fn small_uploads_count_for_what_a_file_costs() {
    let bed = Bed::with(&[("limits.upload_bytes_per_owner", "1MiB")]).await;
    let ada = bed.user("ada");
    for _ in 0..16 {
        assert_eq!(upload(&bed, &ada, 1).await.status, 201);
    }
    assert_eq!(upload(&bed, &ada, 1).await.refusal(), (413, "too_large".into()));
}

#[tokio::test]
async fn what_is_under_way_counts_until_it_ends() {
    let bed = Bed::with(&[("limits.upload_bytes_per_owner", "1MiB")]).await;
    let ada = bed.user("ada");
    let open = Open::begin(&bed, &ada).await;
    let refused = upload(&bed, &ada, 600_000).await;
    assert_eq!(refused.refusal(), (429, "rate_limited".into()), "it fits when the other has ended: {}", refused.text());
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(upload(&bed, &ada, 1_100_000).await.refusal(), (413, "too_large".into()), "it never fits");
    assert_eq!(upload(&bed, &bed.user("eve"), 600_000).await.status, 201);
    assert_eq!(open.end().await.status, 201);
    assert_eq!(upload(&bed, &ada, 600_000).await.status, 201);
}

#[tokio::test]
async fn one_owner_has_so_many_uploads_under_way() {
    let bed = Bed::with(&[("limits.artifact_bytes", "64KiB")]).await;
    let ada = bed.user("ada");
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(Open::begin(&bed, &ada).await);
    }
    assert_eq!(upload(&bed, &ada, 1).await.refusal(), (429, "rate_limited".into()));
    // One whose sender goes away makes room as well.
    drop(open.pop());
    while upload(&bed, &ada, 1).await.status == 429 {
        tokio::task::yield_now().await;
    }
    assert_eq!(upload(&bed, &ada, 1).await.status, 201);
    for one in open {
        assert_eq!(one.end().await.status, 201);
    }
}
