//! Runs numbered pieces of work on a bounded number of threads and hands the results back in order. Owns halting;
//! knows nothing of pictures. Every stage goes through it, so every stage stops the same way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Error;

/// 20 ms between two looks at cancellation while results are awaited.
const TICK: Duration = Duration::from_millis(20);

/// Tells workers to stop; looked at between bands of a picture.
#[derive(Debug, Default)]
pub(crate) struct Halt(AtomicBool);

impl Halt {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What the calling thread is told.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// The next result, in order.
    Done(usize, T),
    /// Nothing new; a chance to stop.
    Tick,
}

/// How far the results have been taken. Workers stay within a window of it, which bounds the results in memory.
#[derive(Debug, Default)]
struct Taken {
    count: Mutex<usize>,
    moved: Condvar,
}

impl Taken {
    fn advance(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.moved.notify_all();
    }

    fn wait(&self, index: usize, window: usize, halt: &Halt) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while index >= *count + window && halt.check().is_ok() {
            count = self.moved.wait_timeout(count, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Halts the others when a worker leaves early, by error or by panic.
struct Alarm<'a>(&'a Halt, bool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.set();
        }
    }
}

/// Runs `work(0..count)` on `threads` threads and calls `step` on this thread with each result in order, and with a
/// tick at least every [`TICK`]. At most `2 * threads` results exist at once. The first error stops everything.
pub(crate) fn ordered<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize, &Halt) -> Result<T, Error> + Sync,
    mut step: impl FnMut(Step<T>) -> Result<(), Error>,
) -> Result<(), Error> {
    let threads = threads.clamp(1, count.max(1));
    let window = threads * 2;
    let (halt, next, taken) = (Halt::default(), AtomicUsize::new(0), Taken::default());
    std::thread::scope(|scope| {
        let (tx, results) = mpsc::sync_channel(window);
        for _ in 0..threads {
            let (tx, halt, next, taken, work) = (tx.clone(), &halt, &next, &taken, &work);
            scope.spawn(move || {
                let mut alarm = Alarm(halt, true);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || halt.check().is_err() {
                        break;
                    }
                    taken.wait(index, window, halt);
                    if halt.check().is_err() || tx.send((index, work(index, halt))).is_err() {
                        break;
                    }
                }
                alarm.1 = false;
            });
        }
        drop(tx);
        let outcome = take(&results, count, &taken, &mut step);
        halt.set();
        drop(results); // A worker blocked in `send` wakes with an error.
        outcome
    })
}

fn take<T>(
    results: &mpsc::Receiver<(usize, Result<T, Error>)>,
    count: usize,
    taken: &Taken,
    step: &mut impl FnMut(Step<T>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut early = BTreeMap::new(); // At most a window of results.
    let mut due = 0;
    while due < count {
        match results.recv_timeout(TICK) {
            Ok((index, result)) => {
                early.insert(index, result?);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Cancelled), // A panic; the scope repeats it.
        }
        while let Some(result) = early.remove(&due) {
            step(Step::Done(due, result))?;
            taken.advance();
            due += 1;
        }
        step(Step::Tick)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_arrive_in_order_and_within_the_window() {
        let (started, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seen = Vec::new();
        let work = |index: usize, _: &Halt| {
            let ahead = started.fetch_add(1, Ordering::SeqCst) - done.load(Ordering::SeqCst).min(index);
            assert!(ahead <= 9, "{ahead} pieces in flight");
            Ok(index)
        };
        ordered(4, 200, work, |step| {
            if let Step::Done(index, value) = step {
                assert_eq!(index, value);
                seen.push(value);
                done.store(seen.len(), Ordering::SeqCst);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_in_a_worker_ends_the_run_with_it() {
        let work = |index: usize, _: &Halt| if index == 7 { Err(Error::NoEncoder) } else { Ok(()) };
        assert!(matches!(ordered(3, 50, work, |_| Ok(())), Err(Error::NoEncoder)));
    }

    #[test]
    fn cancelling_halts_workers_that_check() {
        let work = |_: usize, halt: &Halt| {
            while halt.check().is_ok() {
                std::hint::spin_loop();
            }
            halt.check()
        };
        let mut ticks = 0;
        let outcome = ordered(2, 2, work, |_: Step<()>| {
            ticks += 1;
            if ticks > 2 { Err(Error::Cancelled) } else { Ok(()) }
        });
        assert!(matches!(outcome, Err(Error::Cancelled)));
    }
}
