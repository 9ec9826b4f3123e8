//! A server in a temporary folder, a client, and a worker that speaks through the orchestrator's own door.

use std::{path::Path, sync::Arc};

use access::{Door, Role};
use gateway::{Inbound, Outbound, WorkerLink, Workers as _};
use protocol::{TenantId, Timestamp, UserId};
use reqwest::{Method, RequestBuilder, Response};
use rushes_server::{Config, Loaded, Mode, Options, Running, Sources, StartError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SECRET: &str = "the secret of these tests, 32 bytes or more";

pub(crate) struct Bed {
    pub(crate) server: Running,
    pub(crate) folder: Arc<TempDir>,
    http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of an error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap_or("no code").to_owned())
    }
}

/// The configuration of `flags`, with a data folder below `folder`.
pub(crate) fn config(folder: &Path, mode: Mode, flags: &[(&str, &str)]) -> Config {
    config_of(folder, mode, "", flags)
}

/// The same, over what `file` says.
pub(crate) fn config_of(folder: &Path, mode: Mode, file: &str, flags: &[(&str, &str)]) -> Config {
    let data = folder.join("data");
    let mut all = vec![("listen".to_owned(), "0".to_owned()), ("data".to_owned(), data.to_str().unwrap().to_owned())];
    if mode == Mode::Serve {
        all.push(("secret".to_owned(), SECRET.to_owned()));
    }
    all.extend(flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let file = Some(("rushes.toml".into(), file.to_owned()));
    Loaded::read(&Sources { file, flags: all, ..Sources::default() }, mode).unwrap().config
}

pub(crate) async fn start(config: Config, mode: Mode) -> Result<Running, StartError> {
    rushes_server::start(config, Options { mode, in_process_worker: None }).await
}

impl Bed {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(flags: &[(&str, &str)]) -> Self {
        Self::in_folder(Arc::new(tempfile::tempdir().unwrap()), Mode::Serve, flags).await
    }

    /// A server with a configuration file.
    pub(crate) async fn with_file(folder: Arc<TempDir>, file: &str, flags: &[(&str, &str)]) -> Self {
        let server = start(config_of(folder.path(), Mode::Serve, file, flags), Mode::Serve).await.unwrap();
        Self { server, folder, http: http() }
    }

    pub(crate) async fn in_folder(folder: Arc<TempDir>, mode: Mode, flags: &[(&str, &str)]) -> Self {
        let server = start(config(folder.path(), mode, flags), mode).await.unwrap();
        Self { server, folder, http: http() }
    }

    pub(crate) fn blobs(&self) -> usize {
        files(&self.folder.path().join("data/blobs"))
    }

    pub(crate) fn incoming(&self) -> usize {
        files(&self.folder.path().join("data/incoming"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    pub(crate) fn token(&self, user: &str, tenant: &str, role: Role) -> String {
        let (user, tenant): (UserId, TenantId) = (user.parse().unwrap(), tenant.parse().unwrap());
        self.server.doors().mint(&user, &tenant, role, Timestamp(rushes_server::now().0 + 600_000))
    }

    pub(crate) fn user(&self, user: &str) -> String {
        self.token(user, "default", Role::User)
    }

    /// A request, not yet sent; an empty token sends none.
    pub(crate) fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, token: &str) -> Answer {
        Answer::of(self.request(method, path, token).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.request(Method::POST, path, token).body(body).send().await.unwrap()).await
    }

    /// Sends bytes as they are, which no client library would, and reads until the server closes.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(self.server.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well: bytes were left that nobody reads.
        match socket.read_to_end(&mut answer).await {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => {}
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Submits a film; its id.
    pub(crate) async fn submit(&self, token: &str) -> String {
        let answer = self.post("/v1/generations", token, json!({"prompt": "a lake"}).to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["generation"]["id"].as_str().unwrap().to_owned()
    }

    /// A worker with one slot in pool `gpu`.
    pub(crate) async fn worker(&self, name: &str) -> Worker {
        let token = self.token(name, "default", Role::Worker);
        let identity = self.server.doors().identify(&token, Door::Worker, rushes_server::now()).unwrap();
        let link = self.server.orchestrator().connect(Arc::unwrap_or_clone(identity)).unwrap();
        let worker = Worker { link, token };
        worker.say(json!({"type": "hello", "worker": name, "instance": "1", "pools": {"gpu": 1}})).await;
        worker.say(json!({"type": "heartbeat", "tokens": 10})).await;
        worker
    }
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

pub(crate) struct Worker {
    link: WorkerLink,
    pub(crate) token: String,
}

impl Worker {
    pub(crate) async fn say(&self, message: Value) {
        let message = serde_json::from_value(message).unwrap();
        self.link.inbound.send(Inbound::Message(Box::new(message))).await.unwrap();
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let Some(Outbound::Message(message)) = self.link.outbound.recv().await else { panic!("no {kind}") };
            let message = serde_json::to_value(message).unwrap();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Takes the next offer; the lease.
    pub(crate) async fn take(&mut self) -> String {
        let offer = self.hear("offer").await;
        self.say(json!({"type": "accept", "offer": offer["offer"]})).await;
        self.hear("granted").await["lease"].as_str().unwrap().to_owned()
    }
}

/// A client for plain HTTP. It wants to know how it would encrypt all the same.
pub(crate) fn http() -> reqwest::Client {
    // Refused when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
