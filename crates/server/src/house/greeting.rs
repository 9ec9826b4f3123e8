//! The first bytes of a connection: which HTTP is spoken, and to a TLS port a handshake, or somebody who meant another scheme
//! and is told so.

use std::{io, sync::Arc, time::Duration};

use http::Version;
use protocol::{ErrorCode, Problem, error::ErrorBody};
use rustls::{ServerConfig, ServerConnection, crypto::ring, server::ResolvesServerCertUsingSni};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How every handshake begins (RFC 8446 §5.1); no HTTP method does.
const HANDSHAKE: u8 = 0x16;
/// How HTTP/2 begins where nobody agreed on it before (RFC 9113 §3.4); no request of HTTP/1.1 begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// Before the second look at a preface that comes in pieces. Doubled each time, for whoever sends a letter and waits is no
/// client.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
/// Encrypted bytes that wait for a socket: what is in there counts as progress only when all of it has left, and a client that
/// takes 16 KiB a minute is slow and not gone.
const ENCRYPTED_BYTES_MAX: usize = 16 * 1024;
/// What is read of a request that is refused, so that the answer arrives before a reset; a head fits.
const REFUSED_BYTES_MAX: u64 = 16 * 1024;
/// How long the refused may take to read and to go.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The encrypted stream; nothing for whoever did not come for one. To be given a deadline by the caller.
pub(super) async fn shake_hands(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] == HANDSHAKE {
        let bound = |session: &mut ServerConnection| session.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
        return tls.accept_with(stream, bound).await.map(Some);
    }
    // Too slow to hear it is as good as gone.
    let _ = tokio::time::timeout(GOODBYE_MAX, refuse(stream)).await;
    Ok(None)
}

/// What they agreed on: HTTP/2 is chosen by ALPN alone.
pub(super) fn agreed(encrypted: &TlsStream<TcpStream>) -> Version {
    match encrypted.get_ref().1.alpn_protocol() {
        Some(b"h2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    }
}

/// Which HTTP is spoken in plain text, without taking anything off the stream; nothing for who went away. To be given a
/// deadline by the caller.
///
/// hyper can find out as well, but reads the first bytes by themselves for that, and then keeps twice the buffer for as long as
/// the connection lives.
pub(super) async fn version(stream: &TcpStream) -> io::Result<Option<Version>> {
    let mut first = [0; PREFACE.len()];
    let mut pause = PREFACE_PAUSE;
    loop {
        let seen = stream.peek(&mut first).await?;
        match &first[..seen] {
            [] => return Ok(None),
            seen if seen == PREFACE => return Ok(Some(Version::HTTP_2)),
            seen if !PREFACE.starts_with(seen) => return Ok(Some(Version::HTTP_11)),
            // The first of its letters alone: looking again does not wait for more by itself.
            _ => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
}

/// Plain HTTP where TLS is spoken.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::new(ErrorCode::InvalidRequest, "plain HTTP was sent to a port that speaks TLS")
        .hint("use https:// or wss:// with this port");
    let body = serde_json::to_string(&ErrorBody { error: problem }).map_err(io::Error::other)?;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(REFUSED_BYTES_MAX);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map(drop)
}

/// A body for fuzzers: what comes to a TLS port, read by a server that has no certificate for any name.
///
/// # Panics
/// When it is taken for a whole handshake.
pub(crate) fn fuzz(bytes: &[u8]) {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let mut session = ServerConnection::new(Arc::new(config)).expect("it has what it needs");
    session.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
    let mut rest = bytes;
    while !rest.is_empty() && session.read_tls(&mut rest).is_ok_and(|read| read > 0) {
        if session.process_new_packets().is_err() {
            break;
        }
    }
    assert!(session.is_handshaking());
    // The alert that says why.
    let _ = session.write_tls(&mut io::sink());
}
