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
    within(PATIENCE, move || draw(&reader, index), sink)
}

/// What `work` makes, unless it fails or takes longer than `patience`.
fn within(
    patience: Duration,
    work: impl FnOnce() -> Result<Vec<u8>, Error> + Send + 'static,
    sink: &dyn Sink,
) -> Result<Option<Vec<u8>>, Error> {
    let (tx, result) = mpsc::sync_channel(1);
    // Detached on purpose: a thread that hangs cannot be joined, only left. It owns all it touches.
    let spawned = std::thread::Builder::new().name("thumbnail".into()).spawn(move || {
        let _ = tx.send(work());
    });
    if spawned.is_err() {
        return Ok(None);
    }
    let deadline = Instant::now() + patience;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use crate::sink::{Detail, Preview, PreviewDemand, Stage};

    /// Whether the film is cancelled.
    struct Ear(bool);

    impl Sink for Ear {
        fn scene(&mut self, _: &Scene) {}
        fn progress(&mut self, _: Stage, _: f64, _: &str, _: Detail) {}
        fn wanted(&mut self) -> Option<PreviewDemand> {
            None
        }
        fn preview(&mut self, _: Preview) {}
        fn cancelled(&self) -> bool {
            self.0
        }
    }

    /// Work that never ends by itself, until the sender is dropped.
    fn hanging() -> (mpsc::Sender<()>, impl FnOnce() -> Result<Vec<u8>, Error> + Send + 'static) {
        let (tx, rx) = mpsc::channel::<()>();
        (tx, move || {
            let _ = rx.recv();
            Ok(vec![1])
        })
    }

    #[test]
    fn one_that_hangs_is_left_behind_when_its_own_time_is_over() {
        let (_open, work) = hanging();
        let (start, patience) = (Instant::now(), Duration::from_millis(90));
        assert_eq!(within(patience, work, &Ear(false)).unwrap(), None);
        assert!(start.elapsed() >= patience);
        assert_eq!(PATIENCE, Duration::from_secs(30));
    }

    #[test]
    fn a_cancellation_does_not_wait_for_one_that_hangs() {
        let (_open, work) = hanging();
        let start = Instant::now();
        assert!(matches!(within(PATIENCE, work, &Ear(true)), Err(Error::Cancelled)));
        assert!(start.elapsed() < PATIENCE / 10);
    }

    #[test]
    fn one_that_fails_or_panics_is_none_and_never_the_film_s_fault() {
        assert_eq!(within(PATIENCE, || Err(Error::NoEncoder), &Ear(false)).unwrap(), None);
        assert_eq!(within(PATIENCE, || panic!("out of memory, say"), &Ear(false)).unwrap(), None);
        assert_eq!(within(PATIENCE, || Ok(vec![7]), &Ear(false)).unwrap(), Some(vec![7]));
    }
}
