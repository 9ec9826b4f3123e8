//! Up: a file of any size over a path of any speed, as long as it moves. Owns what bounds an upload; `transfer` reads refusals.
//!
//! The HTTP client's own bound on silence counts from the first byte that is sent to the first that is heard, so it would bound
//! the length of the upload. Here silence is what it says: nothing was taken of the body.

use std::{io, time::Duration};

use bytes::BytesMut;
use futures_util::stream;
use protocol::worker::Artifact;
use reqwest::{Body, Method, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::watch,
    time::{sleep, timeout},
};

use super::{Content, Patience, READ_TIMEOUT, Source, TransferError, builder, chain, refusal};

/// 64 KiB: what a socket takes at once, so that even a slow path takes one every few seconds.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest that an upload may stand still.
const BOUNDS: Bounds = Bounds {
    silence: READ_TIMEOUT,
    // 10 min: the largest file the server takes, 4 GiB, written out to a slow disk.
    answer: Duration::from_secs(600),
};

/// The HTTP client of uploads: without a bound on silence of its own.
pub(crate) fn http() -> reqwest::Result<reqwest::Client> {
    builder().build()
}

/// See [`BOUNDS`].
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Until more of the body is taken.
    silence: Duration,
    /// From the end of the body to the answer.
    answer: Duration,
}

/// Uploads, again and again until it is taken or refused.
pub(crate) async fn upload(source: Source, artifact: &Artifact, content: &Content) -> Result<(), TransferError> {
    upload_within(source, artifact, content, BOUNDS).await
}

async fn upload_within(
    source: Source,
    artifact: &Artifact,
    content: &Content,
    bounds: Bounds,
) -> Result<(), TransferError> {
    let mut patience = Patience::default();
    loop {
        let (moves, watched) = watch::channel(());
        let request = source
            .request(Method::PUT)
            .header(header::CONTENT_LENGTH, artifact.size)
            .header("x-rushes-sha256", &artifact.sha256)
            .body(content.body(moves).await?);
        let sent = tokio::select! {
            biased;
            sent = request.send() => sent.map_err(|error| chain(&error)),
            why = stalled(watched, bounds) => Err(why),
        };
        let why = match sent {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => refusal(answer).await?,
            Err(why) => why,
        };
        patience.wait(why).await?;
    }
}

/// Ends when the upload has stood still for too long, and says so. The body's end of `watched` goes away with the body.
async fn stalled(mut watched: watch::Receiver<()>, bounds: Bounds) -> String {
    loop {
        match timeout(bounds.silence, watched.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                sleep(bounds.answer).await;
                return format!("no answer within {} s of the whole file", bounds.answer.as_secs());
            }
            Err(_) => return format!("nothing was taken for {} s", bounds.silence.as_secs()),
        }
    }
}

impl Content {
    /// Says in `moves` whenever more of it is taken.
    async fn body(&self, moves: watch::Sender<()>) -> Result<Body, TransferError> {
        Ok(match self {
            Self::Bytes(bytes) => chunks(io::Cursor::new(bytes.clone()), moves),
            Self::File(path) => chunks(tokio::fs::File::open(path).await.map_err(TransferError::Disk)?, moves),
        })
    }
}

fn chunks(reader: impl AsyncRead + Unpin + Send + 'static, moves: watch::Sender<()>) -> Body {
    Body::wrap_stream(stream::try_unfold((reader, moves), async |(mut reader, moves)| {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = reader.read_buf(&mut chunk).await?;
        moves.send_replace(());
        Ok::<_, io::Error>((read > 0).then(|| (chunk.freeze(), (reader, moves))))
    }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::ArtifactName;
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// More than the buffers of two sockets, so that the sender feels how fast it is read.
    const BYTES: usize = 32 * 1024 * 1024;
    const STEPS: u32 = 30;

    async fn bed() -> (TcpListener, Source, Artifact, Content) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/film", listener.local_addr().unwrap()).parse().unwrap();
        let source = Source { http: http().unwrap(), url, token: None, lease: None };
        let content = Content::Bytes(Bytes::from(vec![7; BYTES]));
        let (size, sha256) = content.measure().await.unwrap();
        (listener, source, Artifact { name: ArtifactName::new("film").unwrap(), size, sha256 }, content)
    }

    /// Takes a request at an even pace and answers it.
    async fn read_slowly(mut socket: TcpStream, pause: Duration) {
        let mut piece = vec![0; BYTES / STEPS as usize];
        let mut body = 0;
        while body < BYTES {
            let end = piece.len().min(BYTES - body);
            // The head is some hundred bytes and counts as body: the last piece is a little shorter.
            body += socket.read_exact(&mut piece[..end]).await.unwrap();
            sleep(pause).await;
        }
        socket.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // Until the client has heard it.
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }

    #[tokio::test]
    async fn an_upload_that_moves_may_take_longer_than_silence_is_borne() {
        let (listener, source, artifact, content) = bed().await;
        let bounds = Bounds { silence: Duration::from_secs(2), answer: Duration::from_secs(20) };
        let server = async {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::select! {
                () = read_slowly(socket, bounds.silence * 2 / STEPS) => {}
                _ = listener.accept() => panic!("the upload was given up and begun again"),
            }
        };
        let upload = upload_within(source, &artifact, &content, bounds);
        tokio::select! {
            uploaded = upload => uploaded.unwrap(),
            () = server => panic!("the server ended first"),
        }
    }

    #[tokio::test]
    async fn an_upload_that_stands_still_is_begun_again() {
        let (listener, source, artifact, content) = bed().await;
        let bounds = Bounds { silence: Duration::from_millis(300), answer: Duration::from_secs(20) };
        let server = async {
            // Reads nothing, and stays open.
            let (_deaf, _) = listener.accept().await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            read_slowly(socket, Duration::ZERO).await;
        };
        tokio::select! {
            uploaded = upload_within(source, &artifact, &content, bounds) => uploaded.unwrap(),
            () = server => panic!("the server ended first"),
        }
    }

    #[tokio::test]
    async fn an_upload_without_an_answer_is_begun_again() {
        let (listener, source, artifact, content) = bed().await;
        let bounds = Bounds { silence: Duration::from_secs(20), answer: Duration::from_millis(300) };
        let server = async {
            let (mut silent, _) = listener.accept().await.unwrap();
            let swallow = async {
                let mut piece = vec![0; CHUNK_BYTES];
                while silent.read(&mut piece).await.is_ok_and(|read| read > 0) {}
            };
            swallow.await;
            let (socket, _) = listener.accept().await.unwrap();
            read_slowly(socket, Duration::ZERO).await;
        };
        tokio::select! {
            uploaded = upload_within(source, &artifact, &content, bounds) => uploaded.unwrap(),
            () = server => panic!("the server ended first"),
        }
    }
}
