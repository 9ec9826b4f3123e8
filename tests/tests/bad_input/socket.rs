//! Bytes that are no WebSocket, or too much of one: closed with the code that says which.

use access::Role;
use anyhow::Result;
use rushes_tests::{
    Reply, Server, Socket,
    program::token,
    raw::{BINARY, CLOSE, Raw, TEXT, frame, head},
};
use serde_json::json;

use super::goes_on;

/// Every socket there is, with what lets one in.
fn sockets() -> [(&'static str, String); 3] {
    let (user, worker) = (token("ada", Role::User), token("w1", Role::Worker));
    [("/v1/live", user.clone()), ("/ws", user), ("/v1/worker", worker)]
}

#[tokio::test]
async fn a_message_over_the_limit_is_closed_with_1009() -> Result<()> {
    let server = Server::start()?;
    let before = [("/v1/live", 8 * 1024), ("/ws", 8 * 1024)].map(|(path, limit)| (path, None, limit));
    let [live, ws, worker] = sockets();
    let after = [(live, 32 * 1024), (ws, 1024), (worker, 512 * 1024)];
    let after = after.iter().map(|((path, token), limit)| (*path, Some(token.as_str()), *limit));
    for (path, token, limit) in before.into_iter().chain(after) {
        let mut socket = Raw::open(&server.url, path, token).await?;
        let padding = " ".repeat(limit - r#"{"type":"ping"}"#.len());
        socket.send(&frame(TEXT, format!(r#"{{"type":"ping"}}{padding}"#).as_bytes())).await?;
        // As long as may be is heard; one byte more is not.
        socket.send(&head(TEXT, limit + 1)).await?;
        let (code, reason) = socket.closed().await?;
        assert_eq!(code, 1009, "{path}: {reason}");
        assert!(!reason.is_empty(), "{path}");
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_message_over_the_limit_in_pieces_is_closed_with_1009() -> Result<()> {
    let server = Server::start()?;
    for (path, token) in sockets() {
        let mut socket = Raw::open(&server.url, path, Some(&token)).await?;
        socket.send(&frame(0x01, &[b' '; 900])).await?;
        for _ in 0..600 {
            // The server may have closed already and take no more.
            let _ = socket.send(&frame(0x00, &[b' '; 900])).await;
        }
        assert_eq!(socket.closed().await?.0, 1009, "{path}");
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_length_nobody_could_send_is_closed_with_1009_before_it_is_sent() -> Result<()> {
    let server = Server::start()?;
    for (path, token) in sockets() {
        let mut socket = Raw::open(&server.url, path, Some(&token)).await?;
        socket.send(&head(TEXT, usize::MAX >> 1)).await?;
        assert_eq!(socket.closed().await?.0, 1009, "{path}");
    }
    goes_on(&server).await
}

#[tokio::test]
async fn broken_framing_is_closed_with_1002() -> Result<()> {
    let server = Server::start()?;
    let whole = frame(TEXT, b"{}");
    let mut unmasked = whole.clone();
    unmasked[1] &= 0x7f;
    unmasked.drain(2..6);
    let cases: [(&str, Vec<u8>); 9] = [
        ("without a mask", unmasked),
        ("a reserved bit", frame(0xc1, b"{}")),
        ("an unknown opcode", frame(0x83, b"{}")),
        ("an unknown control opcode", frame(0x8b, b"")),
        ("a ping in pieces", frame(0x09, b"")),
        ("a ping of 126 bytes", frame(0x89, &[0; 126])),
        ("a continuation of nothing", frame(0x80, b"{}")),
        ("a message inside a message", [frame(0x01, b"{"), frame(TEXT, b"}")].concat()),
        (
            "a length in a longer form than it needs",
            [vec![TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0], b"{}".to_vec()].concat(),
        ),
    ];
    for (path, token) in sockets() {
        for (name, bytes) in &cases {
            let mut socket = Raw::open(&server.url, path, Some(&token)).await?;
            socket.send(bytes).await?;
            let (code, reason) = socket.closed().await?;
            assert_eq!(code, 1002, "{path}, {name}: {reason}");
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_broken_close_is_closed_with_1002() -> Result<()> {
    let server = Server::start()?;
    for (path, token) in sockets() {
        for payload in [&b"\x03"[..], &1005_u16.to_be_bytes(), &999_u16.to_be_bytes(), &2000_u16.to_be_bytes()] {
            let mut socket = Raw::open(&server.url, path, Some(&token)).await?;
            socket.send(&frame(CLOSE, payload)).await?;
            assert_eq!(socket.closed().await?.0, 1002, "{path} {payload:?}");
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_text_that_is_not_utf8_is_closed_with_1007() -> Result<()> {
    let server = Server::start()?;
    for (path, token) in sockets() {
        for bytes in [frame(TEXT, b"\xc3\x28"), frame(TEXT, b"\xed\xa0\x80"), frame(CLOSE, b"\x03\xe8\xff")] {
            let mut socket = Raw::open(&server.url, path, Some(&token)).await?;
            socket.send(&bytes).await?;
            assert_eq!(socket.closed().await?.0, 1007, "{path} {bytes:?}");
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_message_that_stops_in_the_middle_ends_its_connection_and_nothing_else() -> Result<()> {
    let server = Server::start()?;
    for (path, token) in sockets() {
        for whole in [frame(TEXT, br#"{"type":"ping"}"#), frame(BINARY, &[0; 900]), head(TEXT, 900)] {
            for cut in [1, 2, 5, whole.len() - 1] {
                let mut socket = Raw::open(&server.url, path, Some(&token)).await?;
                socket.send(&whole[..cut]).await?;
                socket.end().await?;
                socket.gone().await?;
            }
        }
    }
    goes_on(&server).await
}

#[tokio::test]
async fn a_handshake_that_is_none_says_what_is_missing() -> Result<()> {
    let server = Server::start()?;
    for (path, token) in sockets() {
        let ask = async |headers: &[(&str, &str)]| {
            let mut request = server.http("GET", path)?.bearer_auth(&token);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            Reply::of(request).await
        };
        ask(&[]).await?.assert_refused(400, "invalid_request", &["WebSocket"]);
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
        let versioned = |version| [upgrade[0], upgrade[1], ("sec-websocket-version", version)];
        ask(&versioned("13")).await?.assert_refused(400, "invalid_request", &["key"]);
        let [a, b, c] = versioned("8");
        let old = ask(&[a, b, c, ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")]).await?;
        assert_eq!((old.status, old.header("sec-websocket-version")), (426, "13"), "{}", old.text());
    }
    goes_on(&server).await
}

#[tokio::test]
async fn too_many_subscribes_at_once_are_answered_and_close_nothing() -> Result<()> {
    let server = Server::start()?;
    let mut socket = Socket::live(&server.url, "ada").await?;
    for _ in 0..200 {
        socket.say(&json!({"type": "unsubscribe", "generationId": "gen_a"})).await?;
    }
    let error = socket.until("error").await?;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)), "{error}");
    socket.say(&json!({"type": "ping"})).await?;
    socket.until("pong").await?;
    goes_on(&server).await
}
