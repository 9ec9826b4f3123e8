//! A stored file as an answer: ranges, validators, and headers that keep it from acting as a page of this server.

use std::io::SeekFrom;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use protocol::{ErrorCode, Problem};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::{
    blobs::Blobs,
    problem::{Answer, Failure},
    range::{self, Range},
};

/// Read and sent at once. A slow reader holds one of them.
const PIECE_BYTES: usize = 64 * 1024;

/// Media types shown in place; every other file is saved, whatever it claims to be.
const MEDIA: [(&str, &str); 10] = [
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
];

/// What is to be sent.
pub(crate) struct File<'a> {
    /// Under which name it is saved. Letters, digits, `.`, `_` and `-` only.
    pub(crate) name: &'a str,
    /// Where its content is.
    pub(crate) sha256: &'a str,
    /// May a browser show it?
    pub(crate) inline: bool,
}

/// Answers with `file`, or the part of it that `headers` ask for.
pub(crate) async fn send(blobs: &Blobs, file: &File<'_>, headers: &HeaderMap) -> Answer {
    let opened =
        blobs.read(file.sha256).await.map_err(|error| Failure::internal(&format!("{}: {error}", file.sha256)))?;
    // A row whose file is gone was deleted a moment ago.
    let (mut content, size) = opened.ok_or_else(gone)?;
    let etag = format!("\"{}\"", file.sha256);
    let mut answer = Response::new(Body::empty());
    describe(answer.headers_mut(), file, &etag);
    if is_known(headers, &etag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(answer);
    }
    let (first, length) = match range::wanted(headers, size, &etag) {
        Range::Whole => (0, size),
        Range::Part { first, last } => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            (first, last - first + 1)
        }
        Range::Unsatisfiable => return Ok(unsatisfiable(size)),
    };
    if first > 0 {
        content.seek(SeekFrom::Start(first)).await.map_err(|error| Failure::internal(&error.to_string()))?;
    }
    set(answer.headers_mut(), header::CONTENT_LENGTH, &length.to_string());
    *answer.body_mut() = Body::from_stream(ReaderStream::with_capacity(content.take(length), PIECE_BYTES));
    Ok(answer)
}

fn describe(headers: &mut HeaderMap, file: &File<'_>, etag: &str) {
    let extension = file.name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    let media = MEDIA.iter().find(|(known, _)| file.inline && *known == extension).map(|(_, media)| *media);
    let fixed = [
        (header::ACCEPT_RANGES, "bytes"),
        (header::CONTENT_TYPE, media.unwrap_or("application/octet-stream")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox"),
        // A name can be written again by a later attempt: keep it, and ask before using it.
        (header::CACHE_CONTROL, "private, no-cache"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let disposition = if media.is_some() { "inline" } else { "attachment" };
    set(headers, header::CONTENT_DISPOSITION, &format!("{disposition}; filename=\"{}\"", file.name));
    set(headers, header::ETAG, etag);
}

/// Does the asker have it already?
pub(crate) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let listed = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed
        .flat_map(|list| list.split(','))
        .any(|one| matches!(one.trim().trim_start_matches("W/"), "*") || one.trim().trim_start_matches("W/") == etag)
}

fn unsatisfiable(size: u64) -> Response {
    use axum::response::IntoResponse as _;
    let problem = Problem::new(ErrorCode::RangeNotSatisfiable, format!("the file has {size} bytes"))
        .hint("ask for a range inside it");
    let mut answer = Failure::from(problem).into_response();
    set(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
    answer
}

/// For values made of digits, names and hashes, which every header takes.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// There is no such file.
pub(crate) fn gone() -> Failure {
    Failure::new(ErrorCode::NotFound, "no such file", "read the generation for the files it has")
}
