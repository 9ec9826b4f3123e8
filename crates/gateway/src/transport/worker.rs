//! The socket of a worker: messages and frames in, messages out, over the same framing.
//!
//! Workers are few and busy, so this is a plain loop. What a message means is the orchestrator's; here it is only read.

use std::{sync::Arc, time::Duration};

use access::{Door, Identity};
use axum::{
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use protocol::{
    ErrorCode, Timestamp, limits,
    worker::{ServerMessage, WorkerMessage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{refuse, stream::Stream, token, upgrade};
use crate::{
    Gateway,
    counts::Transport,
    websocket::{
        close::CloseCode,
        decoder::Decoder,
        encoder::{self, Header},
        message::Message,
    },
    workers::{Inbound, Outbound, WorkerLink},
};

const PING_INTERVAL: Duration = Duration::from_millis(limits::PING_INTERVAL_MS);
/// A worker that takes nothing for so long is gone.
const WRITE_MAX: Duration = Duration::from_millis(limits::LEASE_AFTER_CLOSE_MS);
/// A frame with its handle in one read, so that big ones are not copied in crumbs.
const READ_BYTES: usize = 64 * 1024;
/// Messages that leave in one write, at most.
const SAID_MAX: usize = 64;
/// Pongs and closes waiting for the writer; a client that floods pings waits.
const CONTROL_MAX: usize = 8;
/// Between two looks at the clock while a token lasts: it may be set, and days are long.
const CLOCK_LOOK: Duration = Duration::from_secs(60);

/// `GET /v1/worker`.
pub(super) async fn connect(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let identity = match token::identify(&gateway, request.headers(), request.uri(), Door::Worker) {
        Ok(identity) => identity,
        Err(problem) => return refuse(problem),
    };
    let upgrade = match upgrade::accept(request) {
        Ok(upgrade) => upgrade,
        Err(response) => return response,
    };
    let tracker = gateway.tracker.clone();
    let socket = upgrade.socket;
    tracker.spawn(async move {
        if let Some((stream, read)) = upgrade::take(socket).await {
            serve(&gateway, stream, read, Arc::unwrap_or_clone(identity)).await;
        }
    });
    upgrade.response
}

async fn serve(gateway: &Gateway, stream: Stream, read: Bytes, identity: Identity) {
    let counts = gateway.counts().of(Transport::Worker);
    counts.connections.enter();
    counts.opened.add(1);
    let (reader, mut writer) = tokio::io::split(stream);
    let expires_at = identity.expires_at;
    if let Some(WorkerLink { inbound, outbound }) = gateway.workers.connect(identity) {
        let (control, controls) = mpsc::channel(CONTROL_MAX);
        // Any side's end is the end of all: dropping the link tells the orchestrator.
        tokio::select! {
            biased;
            () = Box::pin(speak(gateway, &mut writer, outbound, controls)) => {}
            () = Box::pin(expire(gateway, expires_at, inbound.clone(), control.clone())) => {}
            () = Box::pin(listen(reader, read, inbound, control)) => {}
        }
    } else {
        let close = encoder::close(CloseCode::TRY_AGAIN_LATER, "Server is stopping");
        let _ = timeout(WRITE_MAX, writer.write_all(&close)).await;
    }
    // Lets what was written arrive before the reset of what was not read. Under TLS that waits for the worker's room, which
    // one that is stopped never has.
    let _ = timeout(WRITE_MAX, writer.shutdown()).await;
    counts.connections.leave(1);
}

/// Has no more offers come once the token's time is over, for no file would be taken of their runs; closes after the grace, in
/// which those in work can be handed back.
async fn expire(
    gateway: &Gateway,
    expires_at: Option<Timestamp>,
    inbound: mpsc::Sender<Inbound>,
    control: mpsc::Sender<Bytes>,
) {
    let Some((at, grace_ms)) = expires_at.zip(gateway.node.expiry_grace_ms) else {
        return std::future::pending().await;
    };
    wait_until(gateway, at).await;
    // As if the worker had said it. Where nobody takes either, the other sides are ending.
    let _ = inbound.send(Inbound::Message(Box::new(WorkerMessage::Drain))).await;
    let error = "Token expired: hand back what is held; come back with a new one".to_owned();
    let mut told = Vec::new();
    write_text(&ServerMessage::Error { code: ErrorCode::Unauthorized, error }, &mut told);
    let _ = control.send(told.into()).await;
    wait_until(gateway, at.plus(grace_ms)).await;
    let _ = control.send(encoder::close(CloseCode::AUTHENTICATION_FAILED, "Token expired")).await;
    // The writer ends the connection once the close is out.
    control.closed().await;
}

/// Waits for a time of day.
async fn wait_until(gateway: &Gateway, at: Timestamp) {
    loop {
        let left = Duration::from_millis(at.since(gateway.node.now()));
        if left.is_zero() {
            return;
        }
        sleep(left.min(CLOCK_LOOK)).await;
    }
}

/// Reads until the worker goes, breaks the protocol, or nobody listens.
async fn listen(
    mut reader: ReadHalf<Stream>,
    read: Bytes,
    inbound: mpsc::Sender<Inbound>,
    control: mpsc::Sender<Bytes>,
) {
    let mut decoder = Decoder::new(limits::MESSAGE_BYTES_WORKER_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut chunk: &[u8] = &read;
    loop {
        while !chunk.is_empty() {
            match decoder.decode(&mut chunk) {
                Ok(Some(message)) => {
                    if !hear(message, &inbound, &control).await {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let _ = control.send(encoder::close(error.code(), &error.to_string())).await;
                    // The writer ends the connection once the close is out.
                    return control.closed().await;
                }
            }
        }
        match timeout(PING_INTERVAL * 2, reader.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => chunk = &buffer[..read],
            // Closed, broken, or silent through two pings.
            _ => return,
        }
    }
}

/// Hands one message on, waiting while the orchestrator is busy. False when there is nobody to hand it to.
async fn hear(message: Message, inbound: &mpsc::Sender<Inbound>, control: &mpsc::Sender<Bytes>) -> bool {
    let message = match message {
        Message::Text(text) => match WorkerMessage::read(&text) {
            Ok(message) => Inbound::Message(Box::new(message)),
            Err(error) => Inbound::Unreadable(error.to_string()),
        },
        // Four bytes of handle before the frame.
        Message::Binary(bytes) if bytes.len() > limits::FRAME_BYTES_MAX + 4 => {
            Inbound::Unreadable(format!("frame of {} bytes: {} at most", bytes.len(), limits::FRAME_BYTES_MAX))
        }
        Message::Binary(bytes) => Inbound::Frame(bytes),
        Message::Ping(payload) => return control.send(encoder::pong(&payload)).await.is_ok(),
        Message::Pong(_) => return true,
        Message::Close(code) => {
            let code = code.map_or(CloseCode::NORMAL, |(code, _)| code);
            let _ = control.send(encoder::close(code, "")).await;
            control.closed().await;
            return false;
        }
    };
    inbound.send(message).await.is_ok()
}

fn write_text(message: &ServerMessage, frames: &mut Vec<u8>) {
    let text = protocol::json_of(message).expect("messages hold texts, numbers and JSON");
    frames.extend_from_slice(Header::text(text.len()).as_bytes());
    frames.extend_from_slice(&text);
}

/// The frames of what is `said`, up to a close. True when that is the last; nothing said means that nobody speaks.
fn encode(said: &mut Vec<Outbound>) -> (Bytes, bool) {
    let mut frames = Vec::new();
    let mut last = said.is_empty();
    if last {
        frames.extend_from_slice(&encoder::close(CloseCode::GOING_AWAY, "Server is stopping"));
    }
    for outbound in said.drain(..) {
        match outbound {
            Outbound::Message(message) => write_text(&message, &mut frames),
            Outbound::Close { code, reason } => {
                let code = CloseCode::from_wire(code).unwrap_or(CloseCode::GOING_AWAY);
                frames.extend_from_slice(&encoder::close(code, reason));
                last = true;
                break;
            }
        }
    }
    (frames.into(), last)
}

/// Writes until a close is written, the worker takes nothing, the orchestrator gives up, or the server stops: then what it
/// said before is heard before the close, for the last `ack` is what a drain waits for.
async fn speak(
    gateway: &Gateway,
    writer: &mut WriteHalf<Stream>,
    mut outbound: mpsc::Receiver<Outbound>,
    mut controls: mpsc::Receiver<Bytes>,
) {
    let counts = gateway.counts().of(Transport::Worker);
    let mut ping = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut said = Vec::with_capacity(SAID_MAX);
    loop {
        let (bytes, last) = tokio::select! {
            biased;
            Some(bytes) = controls.recv() => {
                // Opcode 8 is a close.
                let last = bytes.first() == Some(&0x88);
                counts.messages.add(1);
                (bytes, last)
            }
            // The worker keeps its runs and comes back to whoever listens next.
            () = gateway.stop.cancelled() => {
                said.extend(std::iter::from_fn(|| outbound.try_recv().ok()));
                said.push(Outbound::Close { code: CloseCode::GOING_AWAY.get(), reason: "Server is stopping" });
                (encode(&mut said).0, true)
            }
            // Whatever waits leaves in one write: acks come in crowds, as the commits do they answer.
            count = outbound.recv_many(&mut said, SAID_MAX) => {
                counts.messages.add(count as u64);
                encode(&mut said)
            }
            _ = ping.tick() => {
                counts.messages.add(1);
                (encoder::ping(b""), false)
            }
        };
        counts.bytes.add(bytes.len() as u64);
        let write = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        match timeout(WRITE_MAX, write).await {
            Ok(Ok(())) if !last => {}
            _ => return,
        }
    }
}
