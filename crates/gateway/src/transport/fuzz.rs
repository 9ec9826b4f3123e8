//! A body for fuzzers of what a request for events says. The others are in `crate::fuzz`; this one needs the words of HTTP.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use protocol::limits;

use super::{
    events::{self, Way},
    many, token,
};

/// As many headers as hyper takes.
const HEADERS_MAX: usize = 100;

/// A request for events: its path with the query in the first line, headers a line each behind it.
///
/// # Panics
/// When a page is promised that is larger than a page may be, or a wait that is longer.
pub fn request(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(HEADERS_MAX) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..at]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[at + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let _ = token::of(&headers, &uri);
    let _ = many::named(&uri);
    if let Ok((Way::Page { limit, wait }, _)) = events::asked(&headers, &uri) {
        assert!((1..=limits::PAGE_EVENTS_MAX).contains(&limit) && wait.as_secs() <= limits::LONG_POLL_WAIT_MAX_S);
    }
}
