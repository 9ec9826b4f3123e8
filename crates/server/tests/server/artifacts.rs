//! Files: put under a lease, named by their content, served in parts, and never outside their folder.

use access::{Role, digest::sha256_hex};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::bed::{Answer, Bed, Worker};

struct Film {
    bed: Bed,
    worker: Worker,
    lease: String,
    id: String,
    ada: String,
}

impl Film {
    /// A generation under a lease.
    async fn running() -> Self {
        Self::with(&[]).await
    }

    async fn with(flags: &[(&str, &str)]) -> Self {
        let bed = Bed::with(flags).await;
        let ada = bed.user("ada");
        let id = bed.submit(&ada).await;
        let mut worker = bed.worker("w1").await;
        let lease = worker.take().await;
        Self { bed, worker, lease, id, ada }
    }

    fn path(&self, name: &str) -> String {
        format!("/v1/generations/{}/artifacts/{name}", self.id)
    }

    async fn put_as(&self, token: &str, name: &str, headers: &[(&str, &str)], content: &[u8]) -> Answer {
        let mut request = self.bed.request(Method::PUT, &self.path(name), token);
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        Answer::of(request.body(content.to_vec()).send().await.unwrap()).await
    }

    async fn put(&self, name: &str, content: &[u8]) -> Answer {
        self.put_as(&self.worker.token, name, &[("x-rushes-lease", &self.lease)], content).await
    }

    async fn get(&self, name: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.bed.request(Method::GET, &self.path(name), &self.ada);
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }
}

#[tokio::test]
async fn a_film_put_under_its_lease_is_served_to_its_owner() {
    let film = Film::running().await;
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let put = film.put("film.mp4", &content).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let hash = sha256_hex(&content);
    assert_eq!(put.json(), json!({"name": "film.mp4", "size": content.len(), "sha256": hash}));
    let got = film.get("film.mp4", &[]).await;
    assert_eq!((got.status, got.bytes == content), (200, true));
    for (header, value) in [
        ("content-type", "video/mp4"),
        ("content-disposition", "inline; filename=\"film.mp4\""),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("accept-ranges", "bytes"),
        ("etag", &format!("\"{hash}\"")),
        ("content-length", "1200000"),
    ] {
        assert_eq!(got.header(header), value, "{header}");
    }
    let head = film.bed.send(Method::HEAD, &film.path("film.mp4"), &film.ada).await;
    assert_eq!((head.status, head.header("content-length"), head.bytes.len()), (200, "1200000", 0));
    let known = film.get("film.mp4", &[("if-none-match", &format!("W/\"x\", \"{hash}\""))]).await;
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    assert_eq!(film.bed.incoming(), 0);
}

#[tokio::test]
async fn a_part_of_a_film_is_served_exactly() {
    let film = Film::running().await;
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(film.put("film.mp4", &content).await.status, 201);
    let etag = format!("\"{}\"", sha256_hex(&content));
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99999", 0, 99_999),
        ("bytes=65535-65536", 65_535, 65_536),
        ("bytes=70000-", 70_000, 99_999),
        ("bytes=99999-200000", 99_999, 99_999),
        ("bytes=-10", 99_990, 99_999),
        ("bytes=-200000", 0, 99_999),
    ] {
        let got = film.get("film.mp4", &[("range", range), ("if-range", &etag)]).await;
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {first}-{last}/100000"), "{range}");
        assert_eq!(got.header("content-length"), (last - first + 1).to_string(), "{range}");
        assert!(got.bytes == content[first..=last], "{range}");
    }
    for range in ["bytes=100000-", "bytes=-0", "bytes=500000-600000"] {
        let got = film.get("film.mp4", &[("range", range)]).await;
        assert_eq!(got.refusal(), (416, "range_not_satisfiable".into()), "{range}");
        assert_eq!(got.header("content-range"), "bytes */100000", "{range}");
    }
    for (header, value) in [("range", "bytes=0-1,5-6"), ("range", "bytes=5-1"), ("range", "lines=1-2")] {
        assert_eq!(film.get("film.mp4", &[(header, value)]).await.status, 200, "{value}");
    }
    let other = film.get("film.mp4", &[("range", "bytes=0-9"), ("if-range", "\"another\"")]).await;
    assert_eq!((other.status, other.bytes.len()), (200, 100_000), "the client holds parts of another file");
}

#[tokio::test]
async fn only_the_holder_of_the_lease_writes() {
    let film = Film::running().await;
    let lease: &str = &film.lease;
    let other = film.bed.token("w2", "default", Role::Worker);
    let wrong = format!("1-{}-{}", "0".repeat(26), film.id);
    for (token, headers, status, code) in [
        (&film.worker.token, vec![], 409, "lease_required"),
        (&film.worker.token, vec![("x-rushes-lease", wrong.as_str())], 409, "lease_lost"),
        (&film.worker.token, vec![("x-rushes-lease", "nonsense, at length")], 409, "lease_lost"),
        (&other, vec![("x-rushes-lease", lease)], 409, "lease_lost"),
        (&film.ada, vec![("x-rushes-lease", lease)], 409, "lease_lost"),
        (&film.ada, vec![], 409, "lease_required"),
        (&String::new(), vec![("x-rushes-lease", lease)], 401, "unauthorized"),
    ] {
        let answer = film.put_as(token, "film.mp4", &headers, b"x").await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{headers:?}");
    }
    assert_eq!(film.get("film.mp4", &[]).await.status, 404);
    assert_eq!((film.bed.blobs(), film.bed.incoming()), (0, 0));
}

#[tokio::test]
async fn a_producer_outside_writes_the_files_of_its_own_generations() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let made = bed.post("/v1/generations", &ada, r#"{"pipeline":"external"}"#).await.json();
    let path = format!("/v1/generations/{}/artifacts/film.mp4", made["generation"]["id"].as_str().unwrap());
    let put =
        async |token: &str| Answer::of(bed.request(Method::PUT, &path, token).body("film").send().await.unwrap()).await;
    assert_eq!(put(&bed.token("w1", "default", Role::Worker)).await.refusal(), (409, "lease_required".into()));
    assert_eq!(put(&bed.user("eve")).await.refusal(), (404, "not_found".into()));
    assert_eq!(put(&ada).await.status, 201);
    assert_eq!(bed.get(&path, &ada).await.bytes, b"film");
}

#[tokio::test]
async fn a_wrong_hash_keeps_nothing() {
    let film = Film::running().await;
    let right = sha256_hex(b"film");
    let wrong = sha256_hex(b"another");
    let put = async |hash: &str| {
        let headers = [("x-rushes-lease", film.lease.as_str()), ("x-rushes-sha256", hash)];
        film.put_as(&film.worker.token, "film.mp4", &headers, b"film").await
    };
    let refused = put(&wrong).await;
    assert_eq!(refused.refusal(), (422, "hash_mismatch".into()));
    assert_eq!(refused.json()["error"]["details"], json!({"expected": wrong, "actual": right}));
    assert_eq!(put("short").await.refusal(), (400, "invalid_request".into()));
    assert_eq!((film.bed.blobs(), film.bed.incoming()), (0, 0));
    assert_eq!(put(&right).await.status, 201);
}

/// An upload takes minutes, in which a run may become somebody else's: its film is not kept for a row that never comes.
#[tokio::test]
async fn a_lease_that_is_lost_during_the_upload_keeps_nothing() {
    let film = Film::running().await;
    let (half, halves) = tokio::sync::mpsc::channel(1);
    let body = futures_util::stream::unfold(halves, async |mut halves| {
        Some((Ok::<&str, std::io::Error>(halves.recv().await?), halves))
    });
    let body = reqwest::Body::wrap_stream(body);
    let request = film.bed.request(Method::PUT, &film.path("film.mp4"), &film.worker.token);
    let mut put = JoinSet::new();
    put.spawn(request.header("x-rushes-lease", &film.lease).body(body).send());
    half.send("the first half").await.unwrap();
    while film.bed.incoming() == 0 {
        tokio::task::yield_now().await;
    }
    film.worker
        .say(json!({"type": "fail", "lease": film.lease, "eventId": "f", "kind": "fatal", "code": "X", "message": "x"}))
        .await;
    while film.bed.get(&format!("/v1/generations/{}", film.id), &film.ada).await.json()["state"] != "failed" {
        tokio::task::yield_now().await;
    }
    drop(half);
    let refused = Answer::of(put.join_next().await.unwrap().unwrap().unwrap()).await;
    assert_eq!(refused.refusal(), (409, "lease_lost".into()), "{}", refused.text());
    assert_eq!((film.bed.blobs(), film.bed.incoming()), (0, 0));
}

#[tokio::test]
async fn a_path_is_no_name() {
    let film = Film::running().await;
    let long = "a".repeat(129);
    let names = [
        "a/b",
        "a%2fb",
        "..",
        "../x",
        "../../../secret",
        "%2e%2e",
        "..%2f..%2fsecret",
        "a%5cb",
        "a%00b",
        "a%20b",
        &long,
    ];
    for name in names {
        let head = format!("{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", film.path(name));
        let put = format!(
            "PUT {head}authorization: Bearer {}\r\nx-rushes-lease: {}\r\ncontent-length: 1\r\n\r\nx",
            film.worker.token, film.lease
        );
        let refused = film.bed.raw(&put).await;
        assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("not a path"), "{name}: {refused}");
        let absent = film.bed.raw(&format!("GET {head}authorization: Bearer {}\r\n\r\n", film.ada)).await;
        assert!(absent.starts_with("HTTP/1.1 404 "), "{name}: {absent}");
    }
    assert_eq!((film.bed.blobs(), film.bed.incoming()), (0, 0));
}

#[tokio::test]
async fn a_signed_link_opens_its_file_and_no_other() {
    let film = Film::running().await;
    film.put("film.mp4", b"film").await;
    film.put("notes.html", b"<script>alert(1)</script>").await;
    let snapshot = film.bed.get(&format!("/v1/generations/{}", film.id), &film.ada).await.json();
    let links: Vec<&str> =
        snapshot["artifacts"].as_array().unwrap().iter().map(|one| one["url"].as_str().unwrap()).collect();
    let film_link = links.iter().find(|link| link.contains("film.mp4")).unwrap();
    let page_link = links.iter().find(|link| link.contains("notes.html")).unwrap();
    assert_eq!(film.bed.get(film_link, "").await.bytes, b"film");
    let page = film.bed.get(page_link, "").await;
    assert_eq!(page.header("content-type"), "application/octet-stream");
    assert!(page.header("content-disposition").starts_with("attachment"), "a page is saved, never shown");
    let (_, query) = film_link.split_once('?').unwrap();
    let swapped = format!("{}?{query}", film.path("notes.html"));
    assert_eq!(film.bed.get(&swapped, "").await.refusal(), (401, "unauthorized".into()));
    assert_eq!(film.bed.get(&film.path("film.mp4"), "").await.refusal(), (401, "unauthorized".into()));
    assert_eq!(film.bed.get(&film.path("film.mp4"), &film.bed.user("eve")).await.status, 404);
    let other_worker = film.bed.token("w2", "default", Role::Worker);
    assert_eq!(film.bed.get(&film.path("film.mp4"), &other_worker).await.bytes, b"film", "inputs of the next run");
}

#[tokio::test]
async fn the_same_content_is_one_file_until_nobody_has_it() {
    let film = Film::running().await;
    film.put("a.bin", b"same").await;
    film.put("b.bin", b"same").await;
    film.put("c.bin", b"other").await;
    assert_eq!(film.bed.blobs(), 2);
    let uploaded = film.bed.post("/v1/uploads", &film.ada, "same").await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    film.worker
        .say(json!({"type": "fail", "lease": film.lease, "eventId": "f", "kind": "fatal", "code": "X", "message": "x"}))
        .await;
    let path = format!("/v1/generations/{}", film.id);
    film.bed.get(&format!("{path}/events?after=start&limit=1"), &film.ada).await;
    while film.bed.get(&path, &film.ada).await.json()["state"] != "failed" {
        tokio::task::yield_now().await;
    }
    assert_eq!(film.bed.send(Method::DELETE, &path, &film.ada).await.status, 204);
    assert_eq!(film.bed.blobs(), 1, "the upload still has its content");
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_before_and_while_it_comes() {
    let film = Film::with(&[("limits.artifact_bytes", "1KiB")]).await;
    let announced = film.put("film.mp4", &[0; 1_025]).await;
    assert_eq!(announced.refusal(), (413, "too_large".into()));
    let pieces = futures_util::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 600])));
    let request = film.bed.request(Method::POST, "/v1/uploads", &film.ada).body(reqwest::Body::wrap_stream(pieces));
    assert_eq!(Answer::of(request.send().await.unwrap()).await.refusal(), (413, "too_large".into()));
    assert_eq!(film.put("film.mp4", &[0; 1_024]).await.status, 201);
    assert_eq!(film.bed.incoming(), 0);
}

#[tokio::test]
async fn an_upload_is_read_by_its_owner_and_by_workers() {
    let bed = Bed::start().await;
    let ada = bed.user("ada");
    let uploaded = bed.post("/v1/uploads", &ada, "picture").await.json();
    assert_eq!((&uploaded["size"], &uploaded["sha256"]), (&json!(7), &json!(sha256_hex(b"picture"))));
    let path = format!("/v1/uploads/{}", uploaded["file"].as_str().unwrap());
    let got = bed.get(&path, &ada).await;
    assert_eq!((got.status, got.bytes.as_slice()), (200, b"picture".as_slice()));
    assert!(got.header("content-disposition").starts_with("attachment"));
    assert_eq!(bed.get(&path, &bed.token("w", "default", Role::Worker)).await.status, 200);
    let unknown = bed.get("/v1/uploads/upl_unknown", &bed.user("eve")).await;
    let foreign = bed.get(&path, &bed.user("eve")).await;
    assert_eq!((foreign.status, foreign.bytes == unknown.bytes), (404, true));
    assert_eq!(bed.post("/v1/uploads", &bed.token("w", "default", Role::Worker), "x").await.status, 403);
}
