//! The client against scripted servers on real sockets: resuming a watch, resuming a download, reading errors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use futures_util::{SinkExt as _, StreamExt as _};
use rushes_sdk::{
    Client, ClientError, TransferError, Update, WatchError,
    protocol::{ErrorCode, GenerationId, http::ArtifactLink, position::After},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(20);

struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (socket, _) = listener.accept().await.unwrap();
        Self(tokio_tungstenite::accept_async(socket).await.unwrap())
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let next = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(next.to_text().unwrap()).unwrap()
    }

    async fn event(&mut self, sequence: u64, kind: &str) {
        let data = json!({"eventId": format!("e.{sequence}"), "generationId": "gen_a", "tenantId": "t", "userId": "u",
            "causalId": "c", "sequence": sequence, "attempt": 1, "type": kind, "state": "running",
            "status": "encoding", "progress": 10, "message": "m", "timestamp": 1});
        let position = format!("k3f9:{sequence}");
        self.say(json!({"type": "status_update", "data": data, "generationId": "gen_a", "position": position, "timestamp": 1}))
            .await;
    }
}

fn generation() -> GenerationId {
    GenerationId::new("gen_a").unwrap()
}

async fn listen() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), "token").unwrap();
    (listener, client)
}

#[tokio::test]
async fn a_watch_resumes_where_the_connection_broke_and_ends_with_the_generation() {
    let (listener, client) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        assert_eq!(peer.hear().await, json!({"type": "authenticate", "token": "token"}));
        assert_eq!(peer.hear().await["after"], "start");
        peer.event(1, "queued").await;
        peer.event(2, "stage_started").await;
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        peer.hear().await;
        assert_eq!(peer.hear().await["after"], "k3f9:2");
        // What was seen already is not shown again.
        peer.event(2, "stage_started").await;
        peer.event(3, "stage_progress").await;
        peer.say(json!({"type": "subscribed", "generationId": "gen_a", "recovery": "resumed"})).await;
        peer.event(4, "complete").await;
        peer.0.next().await;
    });
    let mut sequences = Vec::new();
    let mut broken = 0;
    let mut updates = Box::pin(client.watch(&generation(), After::Start).into_stream());
    while let Some(update) = timeout(PATIENCE, updates.next()).await.expect("the watch does not end") {
        match update.unwrap() {
            Update::Event { event, .. } => sequences.push(event.sequence.0),
            Update::Reconnecting { .. } => broken += 1,
            _ => {}
        }
    }
    assert_eq!(sequences, [1, 2, 3, 4]);
    assert_eq!(broken, 1);
    server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refused_token_ends_a_watch() {
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    let (listener, client) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        let frame = CloseFrame { code: CloseCode::from(4003), reason: "Authentication failed".into() };
        peer.0.close(Some(frame)).await.unwrap();
        while peer.0.next().await.is_some() {}
    });
    let mut watch = client.watch(&generation(), After::Start);
    let error = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, WatchError::TokenRefused(_)), "{error}");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn health_goes_from_ping_to_pong_over_the_socket() {
    let (listener, client) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        assert_eq!(peer.hear().await["type"], "ping");
        peer.say(json!({"type": "pong", "timestamp": 1})).await;
    });
    assert!(client.health().await.unwrap().round_trip < PATIENCE);
    let (listener, client) = listen().await;
    drop(listener);
    assert!(matches!(client.health().await, Err(WatchError::Unreachable { .. })));
}

const FILM: &[u8] = b"a film of thirty-two bytes .....";

/// Reads a request's head and answers with these bytes, then closes.
async fn answer(listener: &TcpListener, head: &str, body: &[u8]) -> String {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(socket.read_u8().await.unwrap());
    }
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    socket.shutdown().await.unwrap();
    String::from_utf8(request).unwrap().to_ascii_lowercase()
}

async fn serve(router: Router) -> (Client, JoinSet<()>) {
    let (listener, client) = listen().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (client, tasks)
}

fn link(sha256: &str) -> ArtifactLink {
    ArtifactLink { name: "film.mp4".into(), size: 32, sha256: sha256.into(), url: "/film.mp4?sig=1".into() }
}

#[tokio::test]
async fn a_download_goes_on_where_the_connection_broke() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, client) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move {
        // Ten of 32 bytes, then nothing; the rest on request.
        let whole = "HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 32\r\n\r\n";
        answer(&listener, whole, &FILM[..10]).await;
        let rest = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 10-31/32\r\ncontent-length: 22\r\n\r\n";
        let request = answer(&listener, rest, &FILM[10..]).await;
        assert!(request.contains("range: bytes=10-\r\n") && request.contains("if-range: \"x\"\r\n"), "{request}");
    });
    let to = folder.path().join("film.mp4");
    assert_eq!(client.download("/film.mp4?sig=1", &to).await.unwrap(), 32);
    assert_eq!(std::fs::read(&to).unwrap(), FILM);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the partial file is gone");
    server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_with_another_hash_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let router = Router::new().route("/film.mp4", get(|| async { FILM }));
    let (client, _server) = serve(router).await;
    let to = folder.path().join("film.mp4");
    let wrong = "0".repeat(64);
    let error = client.download_artifact(&link(&wrong), &to).await.unwrap_err();
    assert!(matches!(error, TransferError::Damaged { .. }), "{error}");
    assert!(!to.exists());
    client
        .download_artifact(&link("d6a35dfa2fbc0ed52911bad47a98d618d32319d46d28e988cc38c0e2dddd8e4b"), &to)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), FILM);
}

#[tokio::test]
async fn an_error_of_the_list_is_read_and_another_answer_is_named() {
    let body = r#"{"error":{"code":"not_found","message":"no such generation","hint":"check","retryable":false}}"#;
    let router = Router::new()
        .route("/v1/generations/gen_a", get(move || async move { (StatusCode::NOT_FOUND, body) }))
        .route("/v1/generations/gen_b", get(|| async { "hello" }));
    let (client, _server) = serve(router).await;
    let error = client.get(&generation()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    let error = client.get(&GenerationId::new("gen_b").unwrap()).await.unwrap_err();
    assert!(matches!(error, ClientError::Strange { .. }), "{error}");
}
