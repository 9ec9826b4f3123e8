//! What a connection of the load says and hears where its transport is HTTP: requests as they stand on the wire, and answers
//! found by their length.

use anyhow::{Context, Result, ensure};

use crate::bench::frame::head_end;

/// The request of a stream of server-sent events.
pub(super) fn stream(address: &str, path: &str, token: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

/// The request of a page; with `wait` it is a long-poll.
pub(super) fn poll(address: &str, path: &str, token: &str, wait: bool) -> Vec<u8> {
    let prefer = if wait { "prefer: wait=25\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{prefer}authorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// Where the body of the first whole answer lies, if it is there; a refusal is an error.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(from) = head_end(bytes) else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..from]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 20"), "refused: {}", String::from_utf8_lossy(bytes));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without a length")?.trim().parse()?;
    Ok((bytes.len() >= from + length).then_some((from, from + length)))
}

/// The position that a page gives.
pub(super) fn position(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    // The last one: events name none, and what stands behind them is the page's.
    let (_, rest) = text.rsplit_once(r#""position":""#)?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_whole_and_names_where_to_go_on() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"position\":\"ab:3\",\"e\":0}HTTP/1.1";
        let (from, to) = answer(whole).unwrap().unwrap();
        assert_eq!(position(&whole[from..to]), Some("ab:3"));
        assert_eq!(answer(&whole[..to - 1]).unwrap(), None);
        assert!(answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
