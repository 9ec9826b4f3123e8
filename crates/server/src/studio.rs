//! The studio: the page at `/` and its files below `/assets/`, which `scripts/studio` built into `web/dist` and `build.rs`
//! made part of the program.
//!
//! Names of assets carry a hash of what is in them, so a browser keeps them for good and asks for the page alone. What the
//! page may do is written here as its `Content-Security-Policy`; what it does is `web/src`.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{
    body::Body,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use protocol::ErrorCode;

use crate::{
    download::is_known,
    problem::{Answer, Failure},
    surface::Surface,
};

/// Names and contents, made by `build.rs`.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/studio.rs"));
const PAGE: &str = "index.html";

/// What files of a page are; anything else would be saved instead of used.
const MEDIA: [(&str, &str); 9] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("woff2", "font/woff2"),
    ("json", "application/json"),
];

/// A file as it is answered.
struct File {
    bytes: &'static [u8],
    media: &'static str,
    etag: HeaderValue,
}

/// By name, hashed once.
static BY_NAME: LazyLock<BTreeMap<&'static str, File>> = LazyLock::new(|| {
    let file = |(name, bytes): &(&'static str, &'static [u8])| {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let media = MEDIA.iter().find(|(known, _)| *known == extension).map(|(_, media)| *media);
        let etag = format!("\"{}\"", access::digest::sha256_hex(bytes));
        let etag = HeaderValue::from_str(&etag).expect("hex digits and quotes are a header value");
        (*name, File { bytes, media: media.unwrap_or("application/octet-stream"), etag })
    };
    FILES.iter().map(file).collect()
});

/// The page and its policy.
#[derive(Debug, Clone)]
pub(crate) struct Studio {
    policy: HeaderValue,
}

impl Studio {
    /// `public_url` is where links to films and thumbnails lead, which may be another origin than the one that is asked: a
    /// demo that is opened as `localhost` links to 127.0.0.1.
    pub(crate) fn new(public_url: Option<&str>) -> Self {
        let elsewhere = public_url.and_then(origin_of).map(|origin| format!(" {origin}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; \
             worker-src 'self'; img-src 'self' data: blob:{elsewhere}; media-src 'self' blob:{elsewhere}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { policy: HeaderValue::from_str(&policy).expect("an origin is plain ASCII") }
    }

    /// The page.
    pub(crate) fn page(&self, headers: &HeaderMap) -> Response {
        // `build.rs` refuses a folder without it.
        let page = BY_NAME.get(PAGE).expect("there is a page");
        let mut answer = self.answer(page, headers);
        // The next program brings the next page, and that names other assets.
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }

    /// A file of the page.
    fn asset(&self, name: &str, headers: &HeaderMap) -> Option<Response> {
        let file = BY_NAME.get(format!("assets/{name}").as_str())?;
        let mut answer = self.answer(file, headers);
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        answer.headers_mut().insert(header::CACHE_CONTROL, kept);
        Some(answer)
    }

    fn answer(&self, file: &File, headers: &HeaderMap) -> Response {
        let mut answer = Response::new(Body::empty());
        let described = answer.headers_mut();
        described.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media));
        described.insert(header::ETAG, file.etag.clone());
        described.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A worker goes by the policy of its own file, so all of them carry it.
        described.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        described.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        described.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        if is_known(headers, file.etag.to_str().unwrap_or_default()) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *answer.body_mut() = Body::from(file.bytes);
        }
        answer
    }
}

/// `GET /assets/{name}`.
pub(crate) async fn asset(State(surface): State<Surface>, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    surface.studio.asset(&name, &headers).ok_or_else(|| {
        Failure::new(ErrorCode::NotFound, "the studio has no such file", "load `/` again: a newer page has other files")
    })
}

/// Scheme, host and port, if a policy can name them: it has no form for IPv6 addresses.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-' | b'_'))
    };
    (plain(scheme) && plain(host)).then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_public_origin_and_nothing_that_could_end_a_directive() {
        let policy = |url| Studio::new(url).policy.to_str().unwrap().to_owned();
        assert!(policy(Some("https://video.example/films")).contains("media-src 'self' blob: https://video.example;"));
        assert!(policy(Some("http://127.0.0.1:8080")).contains("img-src 'self' data: blob: http://127.0.0.1:8080;"));
        for none in [None, Some("http://[::1]:8080"), Some("https://a b"), Some("https://a;script-src *"), Some("x")] {
            assert_eq!(policy(none), policy(None), "{none:?}");
        }
    }

    #[test]
    fn each_file_is_of_a_known_kind() {
        for (name, file) in BY_NAME.iter() {
            assert_ne!(file.media, "application/octet-stream", "{name}: add its kind to MEDIA");
        }
    }
}
