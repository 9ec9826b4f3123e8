//! Clients that take nothing: an event passes the frames that wait for them, and they do not hold on for ever.

use std::{net::SocketAddr, time::Duration};

use axum::serve::Listener;
use bus::{Bus, Signal};
use protocol::{GenerationId, frame::Header};
use rushes_gateway::{Crowds, Socket, Transport};
use serde_json::Value;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use tokio_tungstenite::tungstenite::Message;

use crate::bed::{Bed, PATIENCE, USER, hear, next, picture, say};

/// What a client with a small receive buffer and the segment under way hold, whatever the server does: two of the largest
/// segments.
#[cfg(target_os = "linux")]
const ON_THE_WAY_BYTES_MAX: usize = 128 * 1024;
#[cfg(target_os = "linux")]
const FRAME_BYTES: usize = 200 * 1024;
/// As many as a tail keeps for whoever wants every frame.
#[cfg(target_os = "linux")]
const FRAMES: u32 = 10;

/// A client that reads when it is told to, byte by byte if need be.
struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// Bytes of messages taken so far.
    taken: usize,
}

impl Reader {
    /// Says `request`, with a receive buffer as small as it can be.
    async fn open(address: SocketAddr, request: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self { stream, bytes: Vec::new(), taken: 0 };
        while !reader.bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            reader.fill().await;
        }
        let head = reader.bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        reader.bytes.drain(..head);
        reader
    }

    async fn live(bed: &Bed) -> Self {
        let token = bed.token(USER, access::Role::User);
        let request = format!(
            "GET /v1/live?token={token} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            bed.address
        );
        Self::open(bed.address, &request).await
    }

    async fn fill(&mut self) {
        let mut buffer = vec![0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("more").unwrap();
        assert!(read > 0, "closed");
        self.bytes.extend_from_slice(&buffer[..read]);
    }

    /// The next message: its text, or nothing for a frame.
    async fn message(&mut self) -> Option<String> {
        loop {
            if let [first, length, ..] = self.bytes[..] {
                let (head, length) = match length {
                    126 => (4, self.bytes.get(2..4).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))),
                    127 => (10, self.bytes.get(2..10).map(|b| u64::from_be_bytes(b.try_into().unwrap()) as usize)),
                    short => (2, Some(usize::from(short))),
                };
                if let Some(whole) = length.map(|length| head + length).filter(|whole| *whole <= self.bytes.len()) {
                    let message: Vec<u8> = self.bytes.drain(..whole).collect();
                    self.taken += whole;
                    return (first == 0x81).then(|| String::from_utf8(message[head..].to_vec()).unwrap());
                }
            }
            self.fill().await;
        }
    }

    async fn say(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("a short text");
        let mut frame = vec![0x81];
        frame.extend_from_slice(if length < 126 { &[0x80] } else { &[0xfe, 0] });
        *frame.last_mut().unwrap() |= length;
        // Masked with zeros.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }
}

#[cfg(target_os = "linux")]
fn frame(generation: &GenerationId, index: u32) -> Signal {
    Signal::Frame(std::sync::Arc::new(picture(generation, index, FRAME_BYTES)))
}

/// The kernel would take megabytes of frames for a reader that stands still; an event behind them would be seconds late.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_waits_for_at_most_one_frame_however_slow_the_reader() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    let mut slow = Reader::live(&bed).await;
    let frames = r#"{"maxFps":60,"maxWidth":854,"delivery":"all"}"#;
    let subscribe = format!(r#"{{"type":"subscribe","generationId":"{generation}","frames":{frames}}}"#);
    slow.say(&subscribe).await;
    while !slow.message().await.is_some_and(|text| text.contains(r#""type":"subscribed""#)) {}
    let mut quick = bed.live().await;
    say(&mut quick, &subscribe).await;
    while hear(&mut quick).await["type"] != "subscribed" {}
    for index in 0..FRAMES {
        bed.bus.publish(frame(&generation, index));
    }
    // Once the quick one has them all, the slow one's socket had every chance to take too many.
    for index in 0..FRAMES {
        let Message::Binary(bytes) = next(&mut quick).await else { panic!("no frame {index}") };
        assert_eq!(Header::read(&bytes).unwrap().0.index.0, index);
    }
    slow.taken = 0;
    bed.append(&generation, 1, 1, None).await;
    while !slow.message().await.is_some_and(|text| text.contains(r#""sequence":2"#)) {}
    // What came before the event: what the client's own kernel held, at most one frame, and what is on the way.
    assert!(slow.taken <= FRAME_BYTES + ON_THE_WAY_BYTES_MAX, "{} bytes", slow.taken);
    // The frames were not lost for it.
    let mut left = FRAMES as usize - slow.taken / FRAME_BYTES;
    while left > 0 {
        assert_eq!(slow.message().await, None, "frames and nothing else");
        left -= 1;
    }
}

/// More than all buffers between the server and a client hold.
async fn fill(bed: &Bed, generation: &GenerationId) {
    for batch in 0..120 {
        bed.append(generation, 1 + batch * 200, 200, None).await;
    }
}

/// The bound is on standing still: whoever takes a little now and then is served however far behind it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_socket_is_let_go_for_taking_nothing_and_not_for_taking_little() {
    const STALL_MAX: Duration = Duration::from_millis(1_500);
    /// A little: eight looks at it are less than a hundredth of what waits.
    const LITTLE_BYTES: usize = 4 * 1024;
    let stall_max_ms = u64::try_from(STALL_MAX.as_millis()).unwrap();
    let bed = Bed::with_crowds(Crowds { stall_max_ms, ..Crowds::default() }).await;
    let generation = bed.create("a").await;
    fill(&bed, &generation).await;
    let subscribe = format!(r#"{{"type":"subscribe","generationId":"{generation}","after":"start"}}"#);
    let (mut silent, mut little) = (Reader::live(&bed).await, Reader::live(&bed).await);
    silent.say(&subscribe).await;
    little.say(&subscribe).await;
    let live = bed.gateway.counts().of(Transport::Live);
    assert_eq!((live.opened.get(), live.connections.get()), (2, 2));
    let began = std::time::Instant::now();
    let mut now_and_then = tokio::time::interval(STALL_MAX / 8);
    // Each look is a read: for three times the bound at least, and until the silent one is gone.
    while began.elapsed() < STALL_MAX * 3 || live.connections.get() == 2 {
        now_and_then.tick().await;
        let enough = little.bytes.len() + LITTLE_BYTES;
        while little.bytes.len() < enough {
            little.fill().await;
        }
        assert!(began.elapsed() < PATIENCE, "the silent one is still there");
    }
    assert_eq!((live.connections.get(), bed.gateway.counts().stalled.get()), (1, 1));
    // It has missed nothing and goes on.
    let mut sequence = 0;
    while sequence < 24_001 {
        let text = little.message().await.expect("no frames were asked for");
        let said: Value = serde_json::from_str(&text).unwrap();
        if said["type"] == "status_update" {
            sequence += 1;
            assert_eq!(said["data"]["sequence"], sequence);
        }
    }
    drop(silent);
}

/// Accepts as a server does, with less patience.
struct Impatient(TcpListener);

impl Listener for Impatient {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (Socket::with_stall_max(stream, Duration::from_millis(200)), address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_client_reads_nothing_is_dropped() {
    let bed = Bed::start().await;
    let generation = bed.create("a").await;
    fill(&bed, &generation).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = rushes_gateway::routes(std::sync::Arc::clone(&bed.gateway));
    let stopped = bed.stop.clone().cancelled_owned();
    bed.tracker.spawn(async move {
        axum::serve(Impatient(listener), routes).with_graceful_shutdown(stopped).await.unwrap();
    });
    let token = bed.token(USER, access::Role::User);
    let request = format!(
        "GET /v1/generations/{generation}/events?token={token} HTTP/1.1\r\nhost: {address}\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    let silent = Reader::open(address, &request).await;
    let streams = || bed.gateway.counts().of(Transport::Sse).connections.get();
    let gone = async {
        while streams() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(bed.gateway.counts().of(Transport::Sse).opened.get(), 1);
    tokio::time::timeout(PATIENCE, gone).await.expect("the stream is dropped");
    // Sockets still leave HTTP through it.
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{address}/v1/live?token={token}")).await.unwrap();
    assert_eq!(hear(&mut socket).await["type"], "authenticated");
    drop(silent);
}
