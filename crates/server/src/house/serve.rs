//! Connections: accepted one by one, each in a task of its own, none of them for ever silent.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use http::{Request, Version};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
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

/// HTTP/2 streams of one connection at once: four pages of 64 tiles, each tile with a stream of its own.
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
        let Some((socket, version)) = self.greet(stream).await else { return };
        let spoke = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&spoke);
        let router = self.router.clone().map_request(move |mut request: Request<Incoming>| {
            heard.store(true, Relaxed);
            request.extensions_mut().insert(peer);
            request.map(axum::body::Body::new)
        });
        let (io, service) = (TokioIo::new(socket), TowerToHyperService::new(router));
        if version == Version::HTTP_2 {
            let mut http2 = http2::Builder::new(TokioExecutor::new());
            http2.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
            http2.keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
            let connection = http2.serve_connection(io, service);
            // Boxed: the many connections of HTTP/1.1 are not to have room for it.
            Box::pin(self.drive(connection, http2::Connection::graceful_shutdown, &spoke)).await;
        } else {
            let mut http1 = http1::Builder::new();
            http1.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            let connection = http1.serve_connection(io, service).with_upgrades();
            self.drive(connection, http1::UpgradeableConnection::graceful_shutdown, &spoke).await;
        }
    }

    /// Serves until the connection ends, with `shut_down` once the server stops. Who has not said a request in time is dropped.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        connection: C,
        shut_down: fn(Pin<&mut C>),
        spoke: &AtomicBool,
    ) {
        let mut connection = std::pin::pin!(connection);
        let mut silence = std::pin::pin!(tokio::time::sleep(HEAD_TIMEOUT));
        let (mut stopping, mut listening) = (false, true);
        let ended = loop {
            tokio::select! {
                biased;
                () = self.abandon.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    shut_down(connection.as_mut());
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
            tracing::debug!(%error, "connection ended early");
        }
    }

    /// The socket HTTP is spoken on: who takes nothing of an answer or of a stream is dropped like who says nothing. Nothing
    /// for who does not shake hands in time, did not come for TLS, or says nothing at all.
    async fn greet(&self, stream: TcpStream) -> Option<(gateway::Socket, Version)> {
        let greeted = async {
            let Some(tls) = &self.tls else {
                let version = greeting::version(&stream).await?;
                return Ok(version.map(|version| (gateway::Socket::new(stream), version)));
            };
            let encrypted = greeting::shake_hands(tls, stream).await?;
            Ok(encrypted.map(|encrypted| {
                let version = greeting::agreed(&encrypted);
                (gateway::Socket::new(encrypted), version)
            }))
        };
        let greeted: Result<_, io::Error> = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            greeted = tokio::time::timeout(HEAD_TIMEOUT, greeted) => greeted.ok()?,
        };
        greeted.inspect_err(|error| tracing::debug!(%error, "a connection ended before it spoke")).ok().flatten()
    }
}

/// Errors that belong to the connection which was about to be accepted, not to the listener.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
