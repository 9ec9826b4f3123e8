//! A WebSocket client as thin as the load needs: it writes masked texts, and walks over frames by their headers. A full
//! client would spend the measuring core on what is not measured.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;

/// One connection.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were walked over.
    walked: usize,
}

impl Peer {
    /// Connects and shakes hands.
    pub(crate) async fn connect(address: &str, path: &str, token: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::new();
        loop {
            ensure!(stream.read_buf(&mut buffer).await? > 0, "closed during the handshake");
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
                buffer.drain(..end + 4);
                return Ok(Self { stream, buffer, walked: 0 });
            }
        }
    }

    /// Sends a text.
    pub(crate) async fn say(&mut self, message: &Value) -> Result<()> {
        Ok(self.stream.write_all(&masked(message)).await?)
    }

    /// The next text, read. Pings and pictures are passed over.
    pub(crate) async fn hear(&mut self) -> Result<Value> {
        loop {
            while let Some((opcode, from, to)) = frame_at(&self.buffer, self.walked) {
                self.walked = to;
                match opcode {
                    1 => return Ok(serde_json::from_slice(&self.buffer[from..to])?),
                    8 => bail!("closed: {}", String::from_utf8_lossy(&self.buffer[(from + 2).min(to)..to])),
                    _ => {}
                }
            }
            self.fill().await?;
        }
    }

    /// Reads until a text for which `fits` comes.
    pub(crate) async fn hear_until(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let message = self.hear().await?;
            if fits(&message) {
                return Ok(message);
            }
        }
    }

    /// Waits for bytes and answers how many whole texts came with them.
    pub(crate) async fn count(&mut self) -> Result<usize> {
        self.fill().await?;
        let mut texts = 0;
        while let Some((opcode, _, to)) = frame_at(&self.buffer, self.walked) {
            self.walked = to;
            texts += usize::from(opcode == 1);
            ensure!(opcode != 8, "closed by the server");
        }
        Ok(texts)
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        self.buffer = Vec::new();
        self.walked = 0;
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.walked);
        self.walked = 0;
        self.buffer.reserve(READ_BYTES);
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "closed by the server");
        Ok(())
    }
}

/// A masked text frame; the mask is zero, which is as good as any when nobody listens on the way.
fn masked(message: &Value) -> Vec<u8> {
    let text = message.to_string().into_bytes();
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).expect("at most 125")),
        length @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).expect("at most 65,535").to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&text);
    frame
}

/// Opcode, first and last byte of the payload of the whole frame at `at`, if it is there.
fn frame_at(buffer: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let rest = buffer.get(at..)?;
    let (first, second) = (*rest.first()?, *rest.get(1)?);
    let (length, header) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let end = at + header + length;
    (buffer.len() >= end).then_some((first & 0x0f, at + header, end))
}
