//! Connections: accepted one by one, each in a task of its own, none of them for ever silent.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use protocol::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::greeting;
use crate::client::Peer;

/// A request's head must arrive within so long: honest clients send it in one packet, and who trickles it holds a descriptor.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait before accepting again when there are no descriptors left: some connection ends meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two pings of an HTTP/2 connection, and until an answer: its streams may be silent for long.
const KEEP_ALIVE: Duration = Duration::from_millis(limits::PING_INTERVAL_MS);

/// HTTP/2 streams of one connection at once: a page of thumbnails, twice.
const STREAMS_MAX: u32 = 256;

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) router: Router,
    /// Encrypts, or plain text is spoken.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) abandon: CancellationToken,
}

impl Connections {
    /// Accepts until stopped.
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted, // Cancel-safe.
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.tracker.spawn(self.clone().serve(stream, Peer(peer)));
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "connections are not accepted for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection until it ends, is taken over by a WebSocket, or the server stops.
    async fn serve(self, stream: TcpStream, peer: Peer) {
        let Some(socket) = self.greet(stream).await else { return };
        let spoke = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&spoke);
        let router = self.router.map_request(move |mut request: Request<Incoming>| {
            heard.store(true, Relaxed);
            request.extensions_mut().insert(peer);
            request.map(axum::body::Body::new)
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
        http2.keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), TowerToHyperService::new(router));
        let mut connection = std::pin::pin!(connection);
        // The builder waits without a bound to learn which HTTP is spoken.
        let mut silence = std::pin::pin!(tokio::time::sleep(HEAD_TIMEOUT));
        let (mut stopping, mut listening) = (false, true);
        let ended = loop {
            tokio::select! {
                biased;
                () = self.abandon.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = silence.as_mut(), if listening => {
                    listening = false;
                    if !spoke.load(Relaxed) {
                        return;
                    }
                }
                ended = connection.as_mut() => break ended,
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended early");
        }
    }

    /// The socket HTTP is spoken on: who takes nothing of an answer or of a stream is dropped like who says nothing. Nothing
    /// for who does not shake hands in time, or did not come for TLS.
    async fn greet(&self, stream: TcpStream) -> Option<gateway::Socket> {
        let Some(tls) = &self.tls else { return Some(gateway::Socket::new(stream)) };
        let shaken = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            shaken = tokio::time::timeout(HEAD_TIMEOUT, greeting::shake_hands(tls, stream)) => shaken.ok()?,
        };
        match shaken {
            Ok(encrypted) => encrypted.map(gateway::Socket::new),
            Err(error) => {
                tracing::debug!(%error, "no TLS handshake");
                None
            }
        }
    }
}

/// Errors that belong to the connection which was about to be accepted, not to the listener.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
