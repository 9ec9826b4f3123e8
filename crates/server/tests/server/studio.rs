//! The studio: the page, its files, and the headers that bound what it may do.

use std::sync::Arc;

use reqwest::Method;
use rushes_server::Mode;

use crate::bed::{Answer, Bed};

/// Every `/assets/…` that `page` names.
fn assets(page: &str) -> Vec<String> {
    let named = page.split('"').filter(|text| text.starts_with("./assets/"));
    named.map(|text| text.trim_start_matches('.').to_owned()).collect()
}

#[tokio::test]
async fn demo_and_server_show_the_studio_and_its_files() {
    let demo = Bed::in_folder(Arc::new(tempfile::tempdir().unwrap()), Mode::Demo, &[]).await;
    for bed in [demo, Bed::start().await] {
        let page = bed.get("/", "").await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert_eq!(page.header("cache-control"), "no-cache");
        let policy = page.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "no {part} in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let assets = assets(&page.text());
        assert!(assets.len() >= 3, "{}", page.text());
        for path in assets {
            let file = bed.get(&path, "").await;
            let media = match path.rsplit('.').next() {
                Some("js") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("svg") => "image/svg+xml",
                other => panic!("{other:?}"),
            };
            assert_eq!((file.status, file.header("content-type")), (200, media), "{path}");
            assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
            assert_eq!(file.header("x-content-type-options"), "nosniff", "{path}");
        }
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let bed = Bed::start().await;
    let page = bed.get("/", "").await;
    let script = assets(&page.text()).remove(0);
    for path in ["/".to_owned(), script] {
        let etag = bed.get(&path, "").await.header("etag").to_owned();
        let again = bed.request(Method::GET, &path, "").header("if-none-match", &etag).send().await.unwrap();
        let again = Answer::of(again).await;
        assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, etag.as_str()), "{path}");
        let other = bed.request(Method::GET, &path, "").header("if-none-match", "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), 200, "{path}");
        let head = bed.send(Method::HEAD, &path, "").await;
        let length: usize = head.header("content-length").parse().unwrap();
        assert_eq!((head.status, head.bytes.len(), head.header("etag")), (200, 0, etag.as_str()), "{path}");
        assert!(length > 100, "{path}: {length}");
    }
}

#[tokio::test]
async fn a_file_the_studio_does_not_have_is_not_found() {
    let bed = Bed::start().await;
    for path in ["/assets/none.js", "/assets/index.html", "/assets/..%2Findex.html", "/assets/", "/index.html"] {
        assert_eq!(bed.get(path, "").await.refusal(), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(bed.post("/assets/none.js", "", "x").await.status, 405);
}

#[tokio::test]
async fn a_page_at_localhost_may_show_films_that_are_linked_by_address() {
    let demo = Bed::in_folder(Arc::new(tempfile::tempdir().unwrap()), Mode::Demo, &[]).await;
    let policy = demo.get("/", "").await.header("content-security-policy").to_owned();
    let origin = format!("http://{}", demo.server.address());
    assert!(policy.contains(&format!("media-src 'self' blob: {origin};")), "{policy}");
}
