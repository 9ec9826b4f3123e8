//! One WebSocket connection of the bench to its own server, with every message read: workers and whoever submits. The load
//! itself is in [`super::load`].

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};

use super::{
    frame::{self, frame_at, head_end, masked},
    wire::{Coming, Door, Wire},
};

/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;

/// One connection.
pub(crate) struct Peer {
    reader: Reader,
    writer: Writer,
}

/// The half that writes.
pub(crate) struct Writer(WriteHalf<Wire>);

/// The half that reads.
pub(crate) struct Reader {
    stream: ReadHalf<Wire>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were walked over.
    walked: usize,
}

impl Peer {
    /// Connects and shakes hands.
    pub(crate) async fn connect(door: &Door, path: &str, token: &str) -> Result<Self> {
        let mut stream = door.open(Coming::First, None).await?;
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = frame::upgrade(&door.address, &format!("{path}{separator}token={token}"));
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut buffer = Vec::new();
        loop {
            ensure!(stream.read_buf(&mut buffer).await? > 0, "closed during the handshake");
            if let Some(end) = head_end(&buffer) {
                let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
                buffer.drain(..end);
                let (stream, writer) = split(stream);
                return Ok(Self { reader: Reader { stream, buffer, walked: 0 }, writer: Writer(writer) });
            }
        }
    }

    /// Sends a text.
    pub(crate) async fn say(&mut self, message: &Value) -> Result<()> {
        self.writer.write(&masked(frame::TEXT, message.to_string().as_bytes())).await
    }

    /// The next text, read. Pings and pictures are passed over.
    pub(crate) async fn hear(&mut self) -> Result<Value> {
        loop {
            if let Some((from, to)) = self.reader.next()? {
                return Ok(serde_json::from_slice(&self.reader.buffer[from..to])?);
            }
            self.reader.fill().await?;
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

    /// Its two halves.
    pub(crate) fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Writer {
    /// Writes frames, to the last byte.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).await?;
        Ok(self.0.flush().await?)
    }
}

impl Reader {
    /// Waits for bytes, and gives each text that is whole to `take`.
    pub(crate) async fn hear_some(&mut self, take: impl Fn(&[u8])) -> Result<()> {
        while let Some((from, to)) = self.next()? {
            take(&self.buffer[from..to]);
        }
        self.fill().await
    }

    /// The next text that is whole.
    fn next(&mut self) -> Result<Option<(usize, usize)>> {
        while let Some((opcode, from, to)) = frame_at(&self.buffer, self.walked) {
            self.walked = to;
            match opcode {
                frame::TEXT => return Ok(Some((from, to))),
                frame::CLOSE => bail!("closed: {}", String::from_utf8_lossy(&self.buffer[(from + 2).min(to)..to])),
                _ => {}
            }
        }
        Ok(None)
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.walked);
        self.walked = 0;
        self.buffer.reserve(READ_BYTES);
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "closed by the server");
        Ok(())
    }
}
