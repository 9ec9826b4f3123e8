//! One connection after another: dialling, waiting, reading, and a task that writes. Knows messages as texts with a shape,
//! not what they mean.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use protocol::{
    live::close,
    worker::{ServerMessage, WorkerMessage},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::Settings;
use crate::{
    backoff::Backoff,
    random,
    socket::{self, ConnectError, Socket},
};

/// 15 s without any sign of life, though we ask every 2 s: the peer or the path is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// 15 s for one write: the peer reads nothing.
const WRITE_MAX: Duration = Duration::from_secs(15);
/// 4 messages between the owner and the socket: what is not written yet can still be replaced.
const MESSAGES_MAX: usize = 4;
/// 8 frames, 2 MiB at most: a third of a second of previews; more would only be late.
const FRAMES_MAX: usize = 8;
/// 1 s for the last messages and the closing handshake.
const CLOSE_MAX: Duration = Duration::from_secs(1);

type Dialling = Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>;

/// What happened to the line.
#[derive(Debug)]
pub(super) enum Event {
    /// It is up; say hello.
    Up,
    /// It is down and will come back by itself.
    Down(String),
    /// The server does not want this token.
    Refused(String),
    /// The server says.
    Message(Box<ServerMessage>),
}

/// See the module.
pub(super) struct Line {
    settings: Arc<Settings>,
    backoff: Backoff,
    state: State,
}

enum State {
    Waiting(Instant),
    Dialling(Dialling),
    Up(Up),
}

struct Up {
    reader: SplitStream<Socket>,
    heard_at: Instant,
    messages: mpsc::Sender<Message>,
    frames: mpsc::Sender<Bytes>,
    writer: JoinSet<()>,
}

impl Line {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, backoff: Backoff::default(), state: State::Waiting(Instant::now()) }
    }

    /// What happens next. Dials when there is no connection.
    ///
    /// # Cancel safety
    /// Safe to drop: what was begun goes on with the next call.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    self.state = State::Dialling(dial(Arc::clone(&self.settings)));
                }
                State::Dialling(dialling) => match dialling.await {
                    Ok(socket) => {
                        self.state = State::Up(Up::new(socket));
                        return Event::Up;
                    }
                    Err(ConnectError::Refused(status)) => return Event::Refused(status.to_string()),
                    Err(ConnectError::Unreachable(why)) => return self.down(why),
                },
                State::Up(up) => match up.read().await {
                    Ok(Some(message)) => return Event::Message(message),
                    Ok(None) => {}
                    Err(Lost::Refused(why)) => return Event::Refused(why),
                    Err(Lost::Gone(why)) => return self.down(why),
                },
            }
        }
    }

    /// Gives the connection up and waits a moment before the next.
    pub(super) fn down(&mut self, why: String) -> Event {
        self.state = State::Waiting(Instant::now() + self.backoff.next(random::unit()));
        Event::Down(why)
    }

    /// The server greeted: the next loss starts with short waits again.
    pub(super) const fn good(&mut self) {
        self.backoff.reset();
    }

    /// Where messages go, while there is a connection.
    pub(super) fn messages(&self) -> Option<mpsc::Sender<Message>> {
        match &self.state {
            State::Up(up) => Some(up.messages.clone()),
            _ => None,
        }
    }

    /// Where frames go, while there is a connection.
    pub(super) fn frames(&self) -> Option<&mpsc::Sender<Bytes>> {
        match &self.state {
            State::Up(up) => Some(&up.frames),
            _ => None,
        }
    }

    /// Writes what is left and closes, within a second.
    pub(super) async fn close(self) {
        let State::Up(mut up) = self.state else { return };
        let farewell = async {
            // Both end when the writer does, so neither waits for ever; the timeout is for a peer that reads nothing.
            let _ = up.messages.send(Message::Close(None)).await;
            while up.writer.join_next().await.is_some() {}
        };
        let _ = timeout(CLOSE_MAX, farewell).await;
    }
}

fn dial(settings: Arc<Settings>) -> Dialling {
    Box::pin(async move {
        let url = settings.address.socket("/v1/worker");
        socket::connect(&url, Some(&settings.token)).await
    })
}

/// A message as it travels.
pub(super) fn encode(message: &WorkerMessage) -> Message {
    Message::text(serde_json::to_string(message).expect("messages have text keys and finite numbers"))
}

enum Lost {
    Refused(String),
    Gone(String),
}

impl Up {
    fn new(socket: Socket) -> Self {
        let (sink, reader) = socket.split();
        let (messages, messages_out) = mpsc::channel(MESSAGES_MAX);
        let (frames, frames_out) = mpsc::channel(FRAMES_MAX);
        let mut writer = JoinSet::new();
        writer.spawn(write(sink, messages_out, frames_out));
        Self { reader, heard_at: Instant::now(), messages, frames, writer }
    }

    async fn read(&mut self) -> Result<Option<Box<ServerMessage>>, Lost> {
        let Ok(next) = timeout_at(self.heard_at + SILENCE_MAX, self.reader.next()).await else {
            return Err(Lost::Gone(format!("nothing heard for {} s", SILENCE_MAX.as_secs())));
        };
        let message = match next {
            None => return Err(Lost::Gone("the connection ended".to_owned())),
            Some(Err(error)) => return Err(Lost::Gone(error.to_string())),
            Some(Ok(message)) => message,
        };
        self.heard_at = Instant::now();
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => Ok(Some(message)),
                Err(error) => {
                    // A later server may say things this version does not know; none of them is needed to go on.
                    tracing::debug!(%error, "a message that is not understood");
                    Ok(None)
                }
            },
            Message::Close(Some(frame)) => Err(closed(frame.code, frame.reason.as_str())),
            Message::Close(None) => Err(Lost::Gone("closed".to_owned())),
            _ => Ok(None),
        }
    }
}

fn closed(code: CloseCode, reason: &str) -> Lost {
    let why = format!("closed with {code}: {reason}");
    match u16::from(code) {
        close::AUTHENTICATION_FAILED | close::AUTHENTICATION_TIMEOUT => Lost::Refused(why),
        _ => Lost::Gone(why),
    }
}

/// Messages go before frames: a frame delays a message by at most itself.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut messages: mpsc::Receiver<Message>,
    mut frames: mpsc::Receiver<Bytes>,
) {
    loop {
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            Some(frame) = frames.recv() => Some(Message::Binary(frame)),
        };
        let Some(message) = message else { return };
        let last = message.is_close();
        let written = timeout(WRITE_MAX, sink.send(message)).await;
        if last || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}
