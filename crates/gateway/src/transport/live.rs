//! The socket of a live connection: one task, one poll function, nothing allocated while it is idle.
//!
//! Moves bytes between the kernel and a [`Session`], brings it answers and the time. Decides only when a socket is stuck.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{extract::Request, response::Response};
use futures_util::future::BoxFuture;
use protocol::Timestamp;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::Sleep,
};

use super::{socket::bound_unsent, stream::Stream, token, upgrade};
use crate::{
    Gateway,
    counts::Transport,
    departure::Departure,
    hub::Wake,
    naps::{NAP_MIN, Nap},
    session::{Answer, Dialect, Ended, Outbox, SLICES_MAX, Session},
};

/// Bytes read at once, into a buffer all connections of a thread share.
const READ_BYTES: usize = 16 * 1024;
/// Rounds of reading and writing before other connections of the thread get a turn.
const ROUNDS_MAX: usize = 16;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
    /// Empty: what a connection gathers into and, when the socket takes all of it, gives back.
    static OUTBOX: Cell<Outbox> = Cell::default();
}

/// `GET /v1/live`, `/ws`, `/`: upgrades, and hands the socket to its own task.
pub(super) fn connect(gateway: Arc<Gateway>, dialect: Dialect, request: Request) -> Response {
    let token = token::of(request.headers(), request.uri());
    let upgrade = match upgrade::accept(request) {
        Ok(upgrade) => upgrade,
        Err(response) => return response,
    };
    let tracker = gateway.tracker.clone();
    let socket = upgrade.socket;
    // Two tasks, one after the other: the first holds what hyper needs, and is gone when the second begins.
    tracker.clone().spawn(async move {
        if let Some((stream, read)) = upgrade::take(socket).await {
            // Whoever accepted it: frames wait here, where an event passes them, and not in the kernel's buffer.
            bound_unsent(stream.tcp());
            tracker.spawn(Connection::new(gateway, stream, dialect, token.as_deref(), &read));
        }
    });
    upgrade.response
}

/// One live connection with its socket.
pub(crate) struct Connection {
    gateway: Arc<Gateway>,
    stream: Stream,
    session: Session,
    wake: Arc<Wake>,
    /// What the socket did not take at once.
    outbox: Option<Box<Outbox>>,
    /// What was written has left, as far as this process is concerned. Under TLS some may wait encrypted.
    flushed: bool,
    need: Option<BoxFuture<'static, Answer>>,
    /// Since when the socket takes nothing.
    stuck_since: Option<Timestamp>,
    /// Its place in the wheel, and the deadline for which it was taken.
    nap: Nap,
    nap_at: Timestamp,
    /// For deadlines too near for a nap; gone when the last of them is over.
    timer: Option<Pin<Box<Sleep>>>,
    timer_at: Timestamp,
    /// It has heard that the server goes away.
    called_away: bool,
    /// The server goes away: when this connection is closed.
    departure: Option<Box<Departure>>,
}

impl Connection {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        stream: Stream,
        dialect: Dialect,
        token: Option<&str>,
        read: &[u8],
    ) -> Self {
        let now = gateway.node.now();
        let wake = Arc::<Wake>::default();
        let node = Arc::clone(&gateway.node);
        let mut session = Session::new(node, Arc::clone(&wake), dialect, gateway.serial(), now);
        if token.is_some() || gateway.node.guest.is_some() {
            session.authenticate(token, now);
        }
        session.receive(read, now);
        Self {
            gateway,
            stream,
            session,
            wake,
            outbox: None,
            flushed: true,
            need: None,
            stuck_since: None,
            nap: Nap::default(),
            nap_at: now,
            timer: None,
            timer_at: now,
            called_away: false,
            departure: None,
        }
    }

    /// One round: answers, then writing, then reading, then what that needs. Says whether anything moved.
    fn round(&mut self, cx: &mut Context<'_>, now: Timestamp) -> io::Result<bool> {
        self.session.tick(now, self.is_flushed() && self.session.is_silent());
        let answered = self.poll_answer(cx, now);
        // Taken before gathering: whoever calls from here on wakes the task once more.
        self.wake.take(cx);
        let wrote = self.write(cx, now)?;
        let read = self.read(cx, now)?;
        // Last: gathering and reading are where needs come from, and nothing else would wake the task for them.
        let asked = self.ask(now);
        Ok(answered || wrote || read || asked)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(need) = &mut self.need else { return false };
        let Poll::Ready(answer) = need.as_mut().poll(cx) else { return false };
        self.need = None;
        self.session.answer(answer, now);
        true
    }

    /// Begins what the session needs next. It is polled by the next round.
    fn ask(&mut self, now: Timestamp) -> bool {
        if self.need.is_some() {
            return false;
        }
        let Some(need) = self.session.need(now) else { return false };
        self.need = Some(Box::pin(Arc::clone(&self.gateway).fulfil(need)));
        true
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp) -> io::Result<bool> {
        let mut outbox = match self.outbox.take() {
            Some(left) => *left,
            None => OUTBOX.take(),
        };
        if self.flushed && outbox.is_empty() {
            self.session.gather(&mut outbox, now);
            let messages = u64::from(outbox.take_messages());
            self.gateway.node.counts.of(Transport::Live).messages.add(messages);
        }
        let wrote = self.write_out(&mut outbox, cx, now);
        if outbox.is_empty() {
            OUTBOX.set(outbox);
        } else {
            self.outbox = Some(Box::new(outbox));
        }
        wrote
    }

    fn write_out(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>, now: Timestamp) -> io::Result<bool> {
        let mut wrote = false;
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = outbox.slices(&mut slices);
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..used])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    outbox.advance(written);
                    self.gateway.node.counts.of(Transport::Live).bytes.add(written as u64);
                    self.stuck_since = None;
                    self.flushed = false;
                    wrote = true;
                }
                Poll::Pending => {
                    self.stuck_since.get_or_insert(now);
                    return Ok(wrote);
                }
            }
        }
        if !self.flushed {
            if Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
                self.stuck_since.get_or_insert(now);
                return Ok(wrote);
            }
            self.flushed = true;
            self.stuck_since = None;
            // Under TLS nothing was left to write but to flush: what waited for that is gathered in the next round.
            wrote = true;
        }
        Ok(wrote)
    }

    const fn is_flushed(&self) -> bool {
        self.flushed && self.outbox.is_none()
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Timestamp) -> io::Result<bool> {
        if !self.session.wants_input() {
            return Ok(false);
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read)? {
                Poll::Pending => Ok(false),
                Poll::Ready(()) if read.filled().is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(()) => {
                    self.session.receive(read.filled(), now);
                    Ok(true)
                }
            }
        })
    }

    /// Is there nothing left to do?
    fn is_over(&self, now: Timestamp) -> bool {
        let stuck = self.stuck_since.is_some_and(|since| now.since(since) >= self.gateway.crowds.stall_max_ms);
        if stuck {
            self.gateway.node.counts.stalled.add(1);
        }
        // The last words are written if the socket takes them; nobody waits until it does.
        let said = self.is_flushed() && self.session.is_silent();
        stuck || (self.session.ended() == Ended::Gone && (said || self.stuck_since.is_some()))
    }

    fn deadline(&self) -> Timestamp {
        let stuck = self.stuck_since.map(|since| since.plus(self.gateway.crowds.stall_max_ms));
        let session = self.session.deadline(self.is_flushed());
        let departure = self.departure.as_ref().map(|departure| departure.at);
        stuck.into_iter().chain(departure).fold(session, Timestamp::min)
    }

    /// Has the server begun to go away since this was asked?
    fn is_called_away(&self) -> bool {
        !self.called_away && self.gateway.naps.are_over()
    }

    fn leave_in_time(&mut self, now: Timestamp) {
        if self.is_called_away() {
            self.called_away = true;
            self.departure = Some(Box::new(self.gateway.departure()));
        }
        // Until then it is served as ever.
        if let Some(departure) = self.departure.take_if(|departure| now >= departure.at) {
            self.session.drain(departure.back_after_ms, now);
        }
    }

    /// Ready when the deadline has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        let deadline = self.deadline();
        // At least a millisecond: a deadline that passed was just seen to.
        let wait = Duration::from_millis(deadline.since(now).max(1));
        // A departure has its own timer too: the wheel would close a crowd in bursts.
        let near = wait < NAP_MIN || self.departure.is_some();
        let naps = &self.gateway.naps;
        // With a near deadline any nap will do: it is how the connection hears that the server goes away.
        if !naps.hold(&self.nap) || (self.nap_at > deadline && !near) {
            naps.take(&mut self.nap, Instant::now() + wait.max(NAP_MIN), cx);
            self.nap_at = deadline;
        }
        if !near {
            // A timer that is still to come costs one look.
            self.timer.take_if(|_| self.timer_at <= now);
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        // A timer that is early costs one look; a timer that is late would cost a promise.
        if deadline < self.timer_at || self.timer_at <= now {
            timer.as_mut().reset(tokio::time::Instant::now() + wait);
            self.timer_at = now.plus(deadline.since(now).max(1));
        }
        ready!(timer.as_mut().poll(cx));
        self.timer_at = now;
        Poll::Ready(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gateway.naps.leave(&mut self.nap);
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ROUNDS_MAX {
            let now = this.gateway.node.now();
            this.leave_in_time(now);
            match this.round(cx, now) {
                Err(_) => return Poll::Ready(()),
                Ok(_) if this.is_over(now) => {
                    this.stream.say_goodbye(cx);
                    return Poll::Ready(());
                }
                Ok(true) => {}
                Ok(false) => {
                    // Asked behind the nap: from then on it is woken.
                    if this.poll_timer(cx, now).is_pending() && !this.is_called_away() {
                        return Poll::Pending;
                    }
                }
            }
        }
        // More to do, and others wait.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime adds about 112 bytes and rounds up to a multiple of 128: up to 400 a connection takes 512.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 400, "{} bytes", size_of::<Connection>());
    }
}
