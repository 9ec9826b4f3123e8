//! Bodies for fuzzers: each takes any bytes, and must neither panic nor take long.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    artifacts, client,
    config::{Loaded, Mode, Sources},
    correlation,
    house::{greeting, tls},
    range::{self, Range},
    webhooks::call,
};

/// As many headers as hyper takes.
const HEADERS_MAX: usize = 100;

/// `Range` of a file of 1,000 bytes, and of an empty one.
///
/// # Panics
/// When a part is answered that the file does not have.
pub fn range(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::RANGE, value);
    for size in [0, 1_000] {
        if let Range::Part { first, last } = range::wanted(&headers, size, "\"etag\"") {
            assert!(first <= last && last < size, "{first} to {last} of {size}");
        }
    }
}

/// `rushes.toml`.
///
/// # Panics
/// When it is refused without a word.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let sources = Sources { file: Some(("rushes.toml".into(), text)), ..Sources::default() };
    if let Err(error) = Loaded::read(&sources, Mode::Serve) {
        assert!(error.problems.iter().all(|problem| !problem.is_empty()) && !error.problems.is_empty());
    }
}

/// `X-Forwarded-For` and `Forwarded`, from a proxy that is believed.
pub fn forwarded(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let sources =
        Sources { flags: vec![("trusted_proxies".to_owned(), "10.0.0.0/8".to_owned())], ..Sources::default() };
    let Ok(loaded) = Loaded::read(&sources, Mode::Demo) else { return };
    for name in ["x-forwarded-for", "forwarded"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.clone());
        let _ = client::address([10, 0, 0, 1].into(), &headers, &loaded.config.trusted_proxies);
    }
}

/// Headers of a request, a line each: its correlation, its trace, and the hash of its body.
///
/// # Panics
/// When a hash is promised that is none, or a `tracestate` without its `traceparent`.
pub fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(HEADERS_MAX) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..at]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[at + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let _ = correlation::taken(headers.get(&correlation::HEADER));
    let trace = correlation::traced(&headers);
    assert!(trace.parent.is_some() || trace.state.is_none());
    if let Ok(Some(hash)) = artifacts::expected_hash(&headers) {
        assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{hash}");
    }
}

/// What comes to a port that speaks TLS.
///
/// # Panics
/// When it is taken for a whole handshake.
pub fn tls_greeting(bytes: &[u8]) {
    greeting::fuzz(bytes);
}

/// A certificate and its key as PEM, apart by a NUL.
///
/// # Panics
/// When they are refused without a word.
pub fn tls_pair(bytes: &[u8]) {
    tls::fuzz(bytes);
}

/// The URL of a webhook's endpoint.
///
/// # Panics
/// When one leads to this machine and may be called.
pub fn webhook_url(bytes: &[u8]) {
    call::fuzz(bytes);
}
