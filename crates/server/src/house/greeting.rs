//! The first bytes of a connection to a TLS port: a handshake, or somebody who meant another scheme and is told so.

use std::{io, sync::Arc, time::Duration};

use protocol::{ErrorCode, Problem, error::ErrorBody};
use rustls::{ServerConfig, ServerConnection, crypto::ring, server::ResolvesServerCertUsingSni};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How every handshake begins (RFC 8446 §5.1); no HTTP method does.
const HANDSHAKE: u8 = 0x16;
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
