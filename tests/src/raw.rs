//! A WebSocket as bytes, for clients that break the rules: nothing is checked on the way out.

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

/// The first byte of a whole text message.
pub const TEXT: u8 = 0x81;
/// The first byte of a whole binary message.
pub const BINARY: u8 = 0x82;
/// The first byte of a close.
pub const CLOSE: u8 = 0x88;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Raw(TcpStream);

/// A frame as a client sends it. Masked with zeros, which is a mask like any other and leaves the bytes readable.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a frame that promises `length` bytes.
#[must_use]
pub fn head(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => bytes.push(0x80 | short),
        (_, Ok(medium)) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

impl Raw {
    /// Shakes hands on `path` with the server at `url`.
    ///
    /// # Errors
    /// When the server does not switch protocols.
    pub async fn open(url: &str, path: &str, token: Option<&str>) -> Result<Self> {
        let host = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).await?;
        let bearer = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{bearer}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await??);
        }
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Ok(Self(stream))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// Says nothing more, and leaves the other direction open.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn end(&mut self) -> Result<()> {
        Ok(self.0.shutdown().await?)
    }

    /// The code and reason of the server's close, past everything before it.
    ///
    /// # Errors
    /// When the connection ends without one.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        timeout(PATIENCE, async {
            loop {
                let (first, payload) = self.next().await.context("no close came")?;
                if first == CLOSE {
                    let (code, reason) = payload.split_first_chunk::<2>().context("a close without a code")?;
                    return Ok((u16::from_be_bytes(*code), String::from_utf8(reason.to_vec())?));
                }
            }
        })
        .await?
    }

    /// Reads until the server has closed the connection.
    ///
    /// # Errors
    /// When it does not.
    pub async fn gone(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.context("the server keeps the connection")?;
        Ok(())
    }

    async fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        let [first, length] = [self.0.read_u8().await?, self.0.read_u8().await?];
        let length = match length {
            126 => usize::from(self.0.read_u16().await?),
            127 => usize::try_from(self.0.read_u64().await?)?,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok((first, payload))
    }
}
