//! The worker against a scripted server on a real socket: what it says, and what it says again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use rushes_sdk::{
    Content, Failure, Handler, Picture, Run, SayError, Stop, Worker,
    protocol::{ArtifactName, StageName, frame},
    worker::Outputs,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One accepted connection of the worker.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (socket, _) = timeout(PATIENCE, listener.accept()).await.expect("no connection").unwrap();
        Self(tokio_tungstenite::accept_async(socket).await.unwrap())
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message of this type; heartbeats, pings and others are passed over.
    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.unwrap_or_else(|_| panic!("no `{kind}` came"));
            if let Message::Text(text) = next.expect("the worker closed").unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == kind {
                    return message;
                }
            }
        }
    }

    async fn frame(&mut self) -> Vec<u8> {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("no frame came");
            if let Message::Binary(bytes) = next.expect("the worker closed").unwrap() {
                return bytes.to_vec();
            }
        }
    }

    async fn greet(&mut self, leases: Value) -> Value {
        let hello = self.hear("hello").await;
        self.say(json!({"type": "welcome", "heartbeatMs": 2_000, "leaseMs": 30_000, "clock": 1, "leases": leases}))
            .await;
        hello
    }

    async fn grant(&mut self) {
        self.say(json!({"type": "offer", "offer": "off_1", "generation": "gen_a", "pipeline": "video", "version": 1,
            "stages": [{"name": "one", "keep": false, "timeoutMs": 1000}, {"name": "two", "keep": false, "timeoutMs": 1000}],
            "attempt": 1, "inputs": {"input": {"prompt": "x"}}, "causalId": "c"}))
            .await;
        self.hear("accept").await;
        self.say(json!({"type": "granted", "offer": "off_1", "lease": LEASE, "fence": 1, "handle": 3,
            "deadlines": {"leaseMs": 30000, "stallMs": 1000, "stageMs": 1000}}))
            .await;
    }

    async fn ack(&mut self, message: &Value, sequence: u64) {
        self.say(json!({"type": "ack", "eventId": message["eventId"], "sequence": sequence})).await;
    }
}

const LEASE: &str = "1-abc-gen_a";

fn resumed() -> Value {
    json!([{"lease": LEASE, "handle": 9, "result": "resumed"}])
}

/// Completes stage one, works until told to go on, and ends well.
struct TwoStages {
    go_on: Arc<Notify>,
}

#[async_trait::async_trait]
impl Handler for TwoStages {
    async fn run(&self, run: Run) -> Result<Outputs, Failure> {
        let stage = |name: &str| StageName::new(name).unwrap();
        run.stage_completed(&stage("one"), None).await?;
        self.go_on.notified().await;
        run.progress(&stage("two"), 50.0, None, None);
        let mut outputs = Outputs::new();
        outputs.insert("video".to_owned(), "film.mp4".into());
        Ok(outputs)
    }
}

struct Bed {
    listener: TcpListener,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), rushes_sdk::WorkerError>>,
}

impl Bed {
    async fn start(handler: impl Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let worker = Worker::builder(&url, "token").name("w1").pool("gpu", 1).build().unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        tasks.spawn(async move { worker.run(stopped, handler).await });
        Self { listener, stop, tasks }
    }

    async fn ended(&mut self) -> Result<(), rushes_sdk::WorkerError> {
        timeout(PATIENCE, self.tasks.join_next()).await.expect("the worker did not end").unwrap().unwrap()
    }
}

/// A server that is killed in the middle: the run goes on, the lease is resumed, and what was not acknowledged is said
/// again under the same id.
#[tokio::test]
async fn a_run_outlives_the_connection_it_was_granted_on() {
    let go_on = Arc::new(Notify::new());
    let mut bed = Bed::start(TwoStages { go_on: Arc::clone(&go_on) }).await;
    let mut peer = Peer::accept(&bed.listener).await;
    let hello = peer.greet(json!([])).await;
    assert_eq!(hello["pools"], json!({"gpu": 1}));
    peer.grant().await;
    let edge = peer.hear("event").await;
    assert_eq!((edge["event"].as_str(), edge["stage"].as_str()), (Some("stage_completed"), Some("one")));
    // Dropped without an answer, and without a closing handshake.
    drop(peer);

    let mut peer = Peer::accept(&bed.listener).await;
    let again = peer.greet(resumed()).await;
    assert_eq!(again["instance"], hello["instance"]);
    assert_eq!(again["leases"], json!([{"lease": LEASE, "fence": 1}]));
    let repeated = peer.hear("event").await;
    assert_eq!(repeated, edge);
    peer.ack(&repeated, 3).await;
    // The handler works on while nobody listens.
    drop(peer);
    go_on.notify_one();

    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(resumed()).await;
    let done = peer.hear("done").await;
    assert_eq!(done["outputs"]["video"], "film.mp4");
    drop(peer);

    // Its end is repeated as well, even under a lease that is gone: it may have been committed.
    let mut peer = Peer::accept(&bed.listener).await;
    let hello = peer.greet(json!([{"lease": LEASE, "result": "lease_lost"}])).await;
    assert_eq!(hello["leases"][0]["lease"], LEASE);
    assert_eq!(peer.hear("done").await, done);
    peer.ack(&done, 9).await;
    bed.stop.cancel();
    peer.hear("drain").await;
    bed.ended().await.unwrap();
}

/// Says why it was stopped, in what it fails with.
struct UntilStopped;

#[async_trait::async_trait]
impl Handler for UntilStopped {
    async fn run(&self, run: Run) -> Result<Outputs, Failure> {
        run.cancelled().cancelled().await;
        assert_eq!(run.log("too late", None).await.is_ok(), run.stop_reason() != Some(Stop::LeaseLost));
        Err(Failure::fatal(format!("{:?}", run.stop_reason())))
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_handler_and_its_end_the_server() {
    let bed = Bed::start(UntilStopped).await;
    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(json!([])).await;
    peer.grant().await;
    peer.say(json!({"type": "cancel", "lease": LEASE, "reason": "enough", "graceMs": 10_000})).await;
    let log = peer.hear("event").await;
    peer.ack(&log, 4).await;
    let fail = peer.hear("fail").await;
    assert!(fail["message"].as_str().unwrap().contains("enough"), "{fail}");
}

#[tokio::test]
async fn a_stopping_worker_hands_its_run_back_before_it_ends() {
    let mut bed = Bed::start(UntilStopped).await;
    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(json!([])).await;
    peer.grant().await;
    bed.stop.cancel();
    peer.hear("drain").await;
    let log = peer.hear("event").await;
    peer.ack(&log, 4).await;
    let back = peer.hear("hand_back").await;
    assert_eq!(back["lease"], LEASE);
    peer.ack(&back, 5).await;
    bed.ended().await.unwrap();
}

#[tokio::test]
async fn a_lost_lease_stops_the_handler_and_the_slot_is_free_again() {
    let bed = Bed::start(UntilStopped).await;
    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(json!([])).await;
    peer.grant().await;
    peer.say(json!({"type": "lease_lost", "lease": LEASE})).await;
    // The next offer is declined while the slot is taken, and accepted once the handler has returned.
    for n in 0.. {
        peer.say(json!({"type": "offer", "offer": format!("off_x{n}"), "generation": "gen_b", "pipeline": "video",
            "version": 1, "stages": [], "attempt": 1, "inputs": {"input": {}}, "causalId": "c"}))
            .await;
        let answer = loop {
            let next = timeout(PATIENCE, peer.0.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = next {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "accept" || message["type"] == "decline" {
                    break message;
                }
            }
        };
        if answer["type"] == "accept" {
            break;
        }
    }
}

/// Shows one picture as soon as somebody looks.
struct Painter;

#[async_trait::async_trait]
impl Handler for Painter {
    async fn run(&self, run: Run) -> Result<Outputs, Failure> {
        while run.wanted().full.is_none() {
            tokio::select! {
                () = run.wanted_changed() => {}
                () = run.cancelled().cancelled() => return Err(Failure::cancelled()),
            }
        }
        let picture = Picture {
            format: frame::Format::Webp,
            flags: 0,
            index: 7,
            total: 8,
            revision: 2,
            pts_micros: 1,
            width: 4,
            height: 2,
        };
        assert!(run.frame_when_ready(picture, b"RIFF\x10\0\0\0WEBPVP8 ").await);
        assert!(!run.frame(picture, &vec![0; 300_000]), "a frame over the limit was taken");
        assert!(matches!(run.checkpoint(Some(json!(1)), None).await, Err(SayError::Refused { .. })));
        Ok(Outputs::new())
    }
}

#[tokio::test]
async fn a_frame_carries_the_handle_of_its_connection_and_its_fence() {
    let bed = Bed::start(Painter).await;
    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(json!([])).await;
    peer.grant().await;
    // The wish may come before the handler waits for it or after: both must do.
    peer.say(json!({"type": "wanted", "lease": LEASE, "full": {"maxFps": 12, "maxWidth": 854}})).await;
    let bytes = peer.frame().await;
    let (handle, rest) = frame::split_handle(&bytes).unwrap();
    let (header, picture) = frame::Header::read(rest).unwrap();
    assert_eq!((handle.0, header.fence.0, header.index.0, header.generation), (3, 1, 7, None));
    assert!(picture.starts_with(b"RIFF"));
    let checkpoint = peer.hear("checkpoint").await;
    peer.say(json!({"type": "refused", "eventId": checkpoint["eventId"], "code": "too_large", "message": "no"})).await;
    peer.hear("done").await;
}

#[tokio::test]
async fn a_token_that_is_refused_ends_the_worker() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bed = Bed::start(UntilStopped).await;
    let (mut socket, _) = timeout(PATIENCE, bed.listener.accept()).await.unwrap().unwrap();
    let mut request = vec![0; 4096];
    let length = socket.read(&mut request).await.unwrap();
    let text = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
    assert!(text.starts_with("get /v1/worker ") && text.contains("authorization: bearer token"), "{text}");
    socket.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert!(bed.ended().await.unwrap_err().to_string().contains("401"));
}

#[tokio::test]
async fn a_token_whose_time_is_over_has_the_run_handed_back_before_the_worker_ends() {
    let mut bed = Bed::start(UntilStopped).await;
    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(json!([])).await;
    peer.grant().await;
    peer.say(json!({"type": "error", "code": "unauthorized", "error": "Token expired"})).await;
    timeout(PATIENCE, peer.hear("drain")).await.expect("the worker works on");
    let log = peer.hear("event").await;
    peer.ack(&log, 4).await;
    let back = peer.hear("hand_back").await;
    assert_eq!(back["lease"], LEASE);
    peer.ack(&back, 5).await;
    assert!(bed.ended().await.unwrap_err().to_string().contains("Token expired"));
}

/// Keeps a file, and blames the run for whatever stops it.
struct Keeper;

#[async_trait::async_trait]
impl Handler for Keeper {
    async fn run(&self, run: Run) -> Result<Outputs, Failure> {
        let name = ArtifactName::new("film.mp4").unwrap();
        let kept = run.artifact(&name, Content::Bytes(b"film"[..].into())).await;
        kept.map_err(|error| Failure::fatal(error.to_string()))?;
        Ok(Outputs::new())
    }
}

#[tokio::test]
async fn a_file_that_is_refused_because_of_the_token_is_no_fault_of_the_run() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bed = Bed::start(Keeper).await;
    let mut peer = Peer::accept(&bed.listener).await;
    peer.greet(json!([])).await;
    peer.grant().await;
    let (mut upload, _) = timeout(PATIENCE, bed.listener.accept()).await.expect("no upload").unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"film") {
        assert_ne!(upload.read_buf(&mut request).await.unwrap(), 0, "the upload broke off");
    }
    let body = json!({"error": {"code": "unauthorized", "message": "token expired", "retryable": false}}).to_string();
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    upload.write_all(answer.as_bytes()).await.unwrap();
    let end = loop {
        let next = timeout(PATIENCE, peer.0.next()).await.expect("no end came").unwrap().unwrap();
        let Message::Text(text) = next else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "fail" || message["type"] == "hand_back" {
            break message;
        }
    };
    assert_eq!(end["type"], "hand_back", "{end}");
    peer.ack(&end, 4).await;
    assert!(bed.ended().await.unwrap_err().to_string().contains("token expired"));
}
