//! The small picture that stands for a film. It has its own clock, and its failure is never the film's.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::kept::Reader;
use crate::pool::Halt;
use crate::request::Size;
use crate::resize::Resizer;
use crate::sink::Sink;
use crate::webp;

/// 30 s: making one takes a tenth of a second, so by then it hangs and the film should not wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// 480 pixels: twice the width of a list entry.
const WIDTH_MAX: u32 = 480;
/// Quality 82: kept and looked at longer than a preview.
const QUALITY: f32 = 82.0;
const TICK: Duration = Duration::from_millis(20);

/// Makes a thumbnail of picture `index`; `None` when that goes wrong or takes too long.
///
/// # Errors
/// Only [`Error::Cancelled`].
pub(crate) fn make(reader: Reader, index: u32, sink: &dyn Sink) -> Result<Option<Vec<u8>>, Error> {
    let (tx, result) = mpsc::sync_channel(1);
    // Detached on purpose: a thread that hangs cannot be joined, only left. It owns all it touches.
    let spawned = std::thread::Builder::new().name("thumbnail".into()).spawn(move || {
        let _ = tx.send(draw(&reader, index));
    });
    if spawned.is_err() {
        return Ok(None);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match result.recv_timeout(TICK) {
            Ok(picture) => return Ok(picture.ok()),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if sink.cancelled() => return Err(Error::Cancelled),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn draw(reader: &Reader, index: u32) -> Result<Vec<u8>, Error> {
    let frame = reader.frame(index)?;
    let width = frame.size.width.min(WIDTH_MAX);
    let height = u64::from(frame.size.height) * u64::from(width) / u64::from(frame.size.width);
    let size = Size::new(width, (height as u32).max(2)).even();
    let small = Resizer::new(frame.size, size).run(&frame, &Halt::default())?;
    webp::encode(&small, QUALITY, webp::Effort::Kept)
}
