//! The socket below HTTP: a stream that gives up on a peer which takes nothing.
//!
//! A body is asked for more only when there is room for it, so a stream of events cannot notice that its client reads
//! nothing; the socket can. Live sockets leave it at their upgrade and keep that bound themselves.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use protocol::limits;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::stream::Stream;

/// A connection that ends with [`io::ErrorKind::TimedOut`] when the peer takes nothing for
/// [`limits::WATCHER_STALL_MAX_MS`] although something is to be written.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    stall_max: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
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
        Self { stream: stream.into(), stall_max, stalled: None }
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

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair(stall_max: Duration) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::with_stall_max(listener.accept().await.unwrap().0, stall_max), peer)
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
}
