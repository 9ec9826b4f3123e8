//! One connection of the load: gets ready as the plan says, then takes what comes and answers pings. It owns no buffer while
//! nothing is cut in half.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Context as Waking, Poll},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{
    board::Board,
    http,
    orders::{Step, Transport},
};
use crate::bench::{
    clock,
    frame::{self, frame_at, head_end, masked},
    mark::{MARK_BYTES, Mark},
    wire::{Coming, Wire},
};

/// What one read takes at most, with the rest of the largest picture in front of it.
const READ_BYTES: usize = 512 * 1024;
/// What the kernel keeps for a connection that stalls: a phone's, not loopback's megabytes, behind which nobody stalls soon.
const STALLED_RECEIVE_BYTES: u32 = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A connection with what it still has to say.
struct Follower<'a> {
    board: &'a Board,
    seat: usize,
    steps: std::vec::IntoIter<Step>,
    until: Option<String>,
    upgraded: bool,
    /// The beginning of what was not read whole.
    rest: Vec<u8>,
    /// The end of a frame of a stream, where a mark may be cut.
    carry: Vec<u8>,
    reply: Vec<u8>,
}

/// Connects, gets ready, gives its turn back, and follows until the connection breaks.
pub(super) async fn follow(board: &Board, seat: usize, turn: OwnedSemaphorePermit) -> Result<()> {
    let receive_bytes = board.plan.seats[seat].stalls.then_some(STALLED_RECEIVE_BYTES);
    let coming = if board.before(seat).is_some() { Coming::Back } else { Coming::First };
    let mut wire = board.door.open(coming, receive_bytes).await?;
    board.shook_hands(wire.is_resumed());
    let steps = if coming == Coming::Back { board.plan.again.clone() } else { board.plan.first.clone() };
    let mut follower = Follower {
        board,
        seat,
        steps: steps.into_iter(),
        until: None,
        upgraded: false,
        rest: Vec::new(),
        carry: Vec::new(),
        reply: Vec::new(),
    };
    follower.reply = match board.plan.transport {
        Transport::WebSocket => frame::upgrade(&board.plan.address, &fill(board, seat, &board.plan.path)),
        Transport::Stream => {
            http::stream(&board.plan.address, &fill(board, seat, &board.plan.path), token(board, seat))
        }
        Transport::Poll => follower.ask("now"),
    };
    let mut turn = Some(turn);
    loop {
        follower.write(&mut wire).await?;
        if board.is_ready(seat) {
            turn = None;
        }
        if turn.is_none() {
            board.may_read(seat).await;
        }
        poll_fn(|cx| follower.poll_read(&mut wire, cx)).await?;
    }
}

fn token(board: &Board, seat: usize) -> &str {
    &board.plan.seats[seat].token
}

/// Fills in what a seat has of its own.
fn fill(board: &Board, seat: usize, text: &str) -> String {
    let place = &board.plan.seats[seat];
    let seen = u64::from(board.before(seat).unwrap_or(0)) + board.plan.base;
    text.replace("{channel}", &place.channel).replace("{token}", &place.token).replace("{seen}", &seen.to_string())
}

impl Follower<'_> {
    async fn write(&mut self, wire: &mut Wire) -> Result<()> {
        if !self.reply.is_empty() {
            wire.write_all(&self.reply).await?;
            wire.flush().await?;
            // An idle connection keeps nothing.
            self.reply = Vec::new();
        }
        Ok(())
    }

    /// Waits for bytes and takes what is there, once. The buffer belongs to all connections and is held within a poll only.
    fn poll_read(&mut self, wire: &mut Wire, cx: &mut Waking<'_>) -> Poll<Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let kept = self.rest.len();
            buffer[..kept].copy_from_slice(&self.rest);
            let mut free = ReadBuf::new(&mut buffer[kept..]);
            match Pin::new(wire).poll_read(cx, &mut free) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) => {}
            }
            let read = free.filled().len();
            Poll::Ready(if read == 0 {
                Err(anyhow::anyhow!("closed by the server"))
            } else {
                self.take_bytes(&buffer[..kept + read], read)
            })
        })
    }

    /// Walks over what was kept and what was read.
    fn take_bytes(&mut self, bytes: &[u8], read: usize) -> Result<()> {
        self.board.read(read);
        let walked = match self.board.plan.transport {
            Transport::WebSocket => self.walk(bytes)?,
            Transport::Stream => self.walk_stream(bytes)?,
            Transport::Poll => self.walk_answers(bytes)?,
        };
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[walked..]);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        Ok(())
    }

    /// Takes all that is whole, and says how far that was.
    fn walk(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut walked = 0;
        if !self.upgraded {
            let Some(end) = head_end(bytes) else { return Ok(0) };
            let head = String::from_utf8_lossy(&bytes[..end]);
            ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
            (self.upgraded, walked) = (true, end);
            self.step();
        }
        let now = clock::nanos();
        while let Some((opcode, from, to)) = frame_at(bytes, walked) {
            walked = to;
            let payload = &bytes[from..to];
            match opcode {
                frame::CLOSE => {
                    anyhow::bail!("closed: {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default()))
                }
                frame::PING => self.reply.extend_from_slice(&masked(frame::PONG, payload)),
                frame::PONG => {}
                frame::BINARY if self.board.plan.pictures => self.picture(payload, now),
                _ if self.board.plan.stream => self.take_all(payload, now)?,
                _ => self.take(payload, now)?,
            }
        }
        Ok(walked)
    }

    /// An answer without an end: its head, then a stream.
    fn walk_stream(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut from = 0;
        if !self.upgraded {
            let Some(end) = head_end(bytes) else { return Ok(0) };
            let head = String::from_utf8_lossy(&bytes[..end]);
            ensure!(head.starts_with("HTTP/1.1 200"), "no stream: {head}");
            (self.upgraded, from) = (true, end);
            self.step();
        }
        self.take_all(&bytes[from..], clock::nanos())?;
        Ok(bytes.len())
    }

    /// Whole answers; each names the position from which the next is asked for.
    fn walk_answers(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut walked = 0;
        while let Some((from, to)) = http::answer(&bytes[walked..])? {
            let body = &bytes[walked + from..walked + to];
            walked += to;
            self.carry.clear();
            self.take_all(body, clock::nanos())?;
            let position = http::position(body).context("an answer without a position")?.to_owned();
            if !self.upgraded {
                self.upgraded = true;
                self.step();
            }
            self.reply = self.ask(&position);
        }
        Ok(walked)
    }

    /// The first question waits for nothing, so that its answer says where to go on.
    fn ask(&self, after: &str) -> Vec<u8> {
        let path = fill(self.board, self.seat, &self.board.plan.path);
        http::poll(
            &self.board.plan.address,
            &format!("{path}?after={after}"),
            token(self.board, self.seat),
            self.upgraded,
        )
    }

    fn take(&mut self, payload: &[u8], now: u64) -> Result<()> {
        let mut hint = self.board.hint.get();
        if let Some((mark, _)) = Mark::find(payload, &mut hint) {
            self.board.hint.set(hint);
            self.board.take(self.seat, mark, now);
        }
        self.hear(payload)
    }

    /// Of a stream a frame holds many messages, and may end within one.
    fn take_all(&mut self, payload: &[u8], now: u64) -> Result<()> {
        let mut hint = self.board.hint.get();
        let joined = [&self.carry, payload].concat();
        let mut rest = joined.as_slice();
        while let Some((mark, end)) = Mark::find(rest, &mut hint) {
            self.board.take(self.seat, mark, now);
            rest = &rest[end..];
        }
        self.board.hint.set(hint);
        self.carry = rest[rest.len().saturating_sub(MARK_BYTES - 1)..].to_vec();
        self.hear(payload)
    }

    fn picture(&self, payload: &[u8], now: u64) {
        let mut hint = self.board.picture_hint.get();
        // The mark stands in the first bytes of the picture; the rest is long.
        let found = Mark::find(&payload[..payload.len().min(512)], &mut hint);
        self.board.picture_hint.set(hint);
        self.board.picture(found.map(|(mark, _)| mark), now);
    }

    /// Is it what the step waits for?
    fn hear(&mut self, payload: &[u8]) -> Result<()> {
        let Some(until) = &self.until else { return Ok(()) };
        let contains = |what: &[u8]| payload.windows(what.len()).any(|window| window == what);
        if contains(until.as_bytes()) {
            self.step();
        } else {
            ensure!(!contains(br#""type":"error""#), "refused: {}", String::from_utf8_lossy(payload));
        }
        Ok(())
    }

    /// Says what comes next; behind the last step the seat is ready.
    fn step(&mut self) {
        let Some(step) = self.steps.next() else {
            self.until = None;
            return self.board.ready(self.seat);
        };
        let opcode = if self.board.plan.stream { frame::BINARY } else { frame::TEXT };
        self.reply.extend_from_slice(&masked(opcode, fill(self.board, self.seat, &step.say).as_bytes()));
        self.until = Some(step.until);
    }
}
