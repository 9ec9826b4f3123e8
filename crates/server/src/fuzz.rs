//! Bodies for fuzzers: each takes any bytes, and must neither panic nor take long.

use http::{HeaderMap, HeaderValue, header};

use crate::{
    client,
    config::{Loaded, Mode, Sources},
    range::{self, Range},
};

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
