//! The socket below HTTP: a stream that gives up on a peer which takes nothing, and notices one that takes a little.
//!
//! A body is asked for more only when there is room for it, so a stream of events cannot notice that its client reads
//! nothing; the socket can. Live sockets leave it at their upgrade and keep that bound themselves.
//!
//! A request may be refused before its body has come, or any of it. Closed over what still comes, the connection would be
//! reset, and the answer lost with it; so who spoke just now is listened to for a moment, and what comes is discarded for a
//! while.
//!
//! The kernel would take megabytes ahead of a slow peer, and say that there is room again only when a third of them has
//! left: to tell slow from dead, and for an event to pass the frames that wait, what it may hold unsent is bounded for all.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use protocol::limits;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::stream::Stream;

/// Bytes the kernel may hold that it has not sent, beyond the segment it fills: so much of what was written before is sent
/// ahead of an event, and the rest of at most one frame. 16 KiB keep the path busy until the task has written more.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// A connection whose peer said nothing for so long is closed at once: none of a request is under way any more. A slow uplink has
/// a second between a head and its body; an idle connection was heard longer ago, and is not kept when the server stops.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// How long what still comes is discarded after the last word. A client that hears the answer stops sooner.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// Bytes discarded at once.
const DISCARDED_BYTES: usize = 16 * 1024;

/// A connection that ends with [`io::ErrorKind::TimedOut`] when the peer takes nothing for
/// [`limits::WATCHER_STALL_MAX_MS`] although something is to be written.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    stall_max: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// When the peer last said something.
    heard_at: Option<Instant>,
    /// Runs after the last word.
    lingers: Option<Linger>,
}

/// The rest of a request is waited for, and once some of it came discarded.
#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    discards: bool,
}

impl Socket {
    /// Around an accepted connection.
    #[must_use]
    pub fn new(stream: impl Into<Stream>) -> Self {
        Self::with_stall_max(stream, Duration::from_millis(limits::WATCHER_STALL_MAX_MS))
    }

    /// With another bound.
    #[must_use]
    pub fn with_stall_max(stream: impl Into<Stream>, stall_max: Duration) -> Self {
        let stream = stream.into();
        bound_unsent(stream.tcp());
        Self { stream, stall_max, stalled: None, heard_at: None, lingers: None }
    }

    /// The stream itself, without a bound.
    #[must_use]
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    fn bound<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall_max = self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// What waits waits here and not in the kernel's buffer. A system that has no such bound keeps its buffer.
pub(super) fn bound_unsent(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%error, "the kernel's buffer is not bounded");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, UNSENT_BYTES_MAX);
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.heard_at = Some(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Under TLS a write ends in memory, and it is the flush that waits for the peer.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingers.is_none() {
            // Under TLS the goodbye is bytes, for which the peer may have no room.
            let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.bound(cx, shut))?;
        }
        let heard_at = this.heard_at;
        let lingers = this.lingers.get_or_insert_with(|| {
            let until = heard_at.map_or_else(Instant::now, |at| at + QUIET_MAX);
            Linger { until: Box::pin(tokio::time::sleep_until(until)), discards: false }
        });
        loop {
            let mut discarded = [0; DISCARDED_BYTES];
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer);
            let is_rest = !buffer.filled().is_empty();
            if is_rest && !lingers.discards {
                lingers.discards = true;
                lingers.until.as_mut().reset(Instant::now() + LINGER_MAX);
            }
            // The end, no connection any more, or time is over.
            if read.is_ready() && !is_rest || lingers.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpSocket},
    };
    use tokio_rustls::{
        TlsAcceptor, TlsConnector, client,
        rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::ServerName},
    };

    use super::*;

    async fn pair(stall_max: Duration) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::with_stall_max(listener.accept().await.unwrap().0, stall_max), peer)
    }

    /// The same two under TLS.
    async fn encrypted_pair(stall_max: Duration) -> (Socket, client::TlsStream<TcpStream>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let name = ServerName::try_from("localhost").unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let (stream, peer) = tokio::join!(acceptor.accept(stream), connector.connect(name, peer));
        (Socket::with_stall_max(stream.unwrap(), stall_max), peer.unwrap())
    }

    #[tokio::test]
    async fn a_peer_behind_tls_that_has_no_room_for_the_goodbye_is_given_up() {
        let (mut socket, _silent) = encrypted_pair(Duration::from_millis(50)).await;
        let chunk = vec![0; 1024 * 1024];
        while socket.write(&chunk).now_or_never().is_some() {}
        let shut = tokio::time::timeout(Duration::from_secs(20), socket.shutdown()).await.expect("it is waited for");
        assert_eq!(shut.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut socket, _silent) = pair(Duration::from_millis(50)).await;
        let chunk = vec![0; 1024 * 1024];
        let error = loop {
            if let Err(error) = socket.write_all(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// The bound is on standing still, not on the whole: whoever takes some of it in time gets all of it.
    #[tokio::test]
    async fn a_peer_that_goes_on_reading_is_served_however_long_it_takes() {
        const BYTES: usize = 64 * 1024 * 1024;
        let (mut socket, mut peer) = pair(Duration::from_secs(20)).await;
        let write = async { socket.write_all(&vec![0; BYTES]).await };
        let read = async {
            let (mut read, mut buffer) = (0, vec![0; 16 * 1024]);
            while read < BYTES {
                read += peer.read(&mut buffer).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(write, read);
        written.unwrap();
        assert!(socket.stalled.is_none());
    }

    /// A mobile network at its edge: what it takes within the bound is less than what the kernel would wait for.
    #[tokio::test]
    async fn a_peer_that_takes_little_is_not_one_that_takes_nothing() {
        const STALL_MAX: Duration = Duration::from_millis(800);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let slow = TcpSocket::new_v4().unwrap();
        slow.set_recv_buffer_size(64 * 1024).unwrap();
        let mut peer = slow.connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::with_stall_max(listener.accept().await.unwrap().0, STALL_MAX);
        let write = async {
            let chunk = vec![0; 64 * 1024];
            loop {
                socket.write_all(&chunk).await.unwrap();
            }
        };
        // Three bounds long, eight times within each.
        let read = async {
            let mut buffer = vec![0; 20 * 1024];
            for _ in 0..24 {
                tokio::time::sleep(STALL_MAX / 8).await;
                peer.read_exact(&mut buffer).await.unwrap();
            }
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    }

    #[tokio::test]
    async fn who_is_refused_while_still_sending_hears_why() {
        let (mut socket, mut peer) = pair(Duration::from_secs(20)).await;
        let refuse = async {
            let mut head = [0; 1_024];
            socket.read_exact(&mut head).await.unwrap();
            socket.write_all(b"no room").await.unwrap();
            socket.shutdown().await.unwrap();
            drop(socket);
        };
        let send = async {
            peer.write_all(&vec![0; 8 * 1024 * 1024]).await.unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.unwrap();
            drop(peer);
            answer
        };
        let ((), answer) = tokio::join!(refuse, send);
        assert_eq!(answer, b"no room");
    }

    #[tokio::test]
    async fn who_has_been_idle_is_not_waited_for() {
        let (mut socket, mut idle) = pair(Duration::from_secs(20)).await;
        idle.write_all(b"head").await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        let began = Instant::now();
        socket.heard_at = began.checked_sub(QUIET_MAX);
        socket.shutdown().await.unwrap();
        assert!(began.elapsed() < QUIET_MAX / 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_says_nothing_more_is_not_waited_for_long() {
        let (mut socket, mut silent) = pair(Duration::from_secs(20)).await;
        silent.write_all(b"head").await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        tokio::time::timeout(Duration::from_secs(4), socket.shutdown()).await.expect("no lingering").unwrap();
    }

    #[tokio::test]
    async fn who_hears_the_end_and_goes_is_not_waited_for() {
        let (mut socket, mut peer) = pair(Duration::from_secs(20)).await;
        peer.write_all(b"head").await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        let go = async {
            assert_eq!(peer.read(&mut [0; 4]).await.unwrap(), 0);
            drop(peer);
        };
        let began = Instant::now();
        let (shut, ()) = tokio::join!(socket.shutdown(), go);
        shut.unwrap();
        assert!(began.elapsed() < QUIET_MAX / 2, "{:?}", began.elapsed());
    }
}
