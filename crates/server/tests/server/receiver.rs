//! A receiver of webhooks that does what a test tells it, byte by byte, which no HTTP library would.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
};

/// A test waits so long for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// One message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: Vec<u8>,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub(crate) fn generation(&self) -> &str {
        self.body["data"]["generationId"].as_str().unwrap()
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.body["data"]["sequence"].as_u64().unwrap()
    }
}

/// How it answers.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// With these bytes, and then the connection ends.
    Say(String),
    /// With these bytes again and again.
    Flood(String),
    /// With status 200, when the test says so.
    Held(Arc<Notify>),
    /// Not at all, and the connection stays.
    Hang,
    /// Not at all, and the connection ends.
    Close,
}

/// An answer with this status and no body.
pub(crate) fn status(code: u16) -> Act {
    Act::Say(format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

/// Decides by the message, and by how many came before it.
type Script = dyn Fn(&Call, usize) -> Act + Send + Sync;

pub(crate) struct Receiver {
    pub(crate) port: u16,
    calls: watch::Receiver<Vec<Call>>,
    script: Arc<Mutex<Arc<Script>>>,
    _accepting: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start(script: impl Fn(&Call, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, calls) = watch::channel(Vec::new());
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let mut accepting = JoinSet::new();
        let (heard, shared) = (Arc::new(heard), Arc::clone(&script));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&*shared.lock());
                connections.spawn(serve(stream, Arc::clone(&heard), script));
            }
        });
        Self { port, calls, script, _accepting: accepting }
    }

    /// Answers otherwise from now on.
    pub(crate) fn act(&self, script: impl Fn(&Call, usize) -> Act + Send + Sync + 'static) {
        *self.script.lock() = Arc::new(script);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// Waits until what came fits.
    pub(crate) async fn until(&self, fits: impl FnMut(&Vec<Call>) -> bool) -> Vec<Call> {
        let mut calls = self.calls.clone();
        let waited = tokio::time::timeout(PATIENCE, calls.wait_for(fits)).await;
        match waited {
            Ok(calls) => calls.unwrap().clone(),
            Err(_) => panic!("it did not come; what came: {:#?}", self.calls()),
        }
    }
}

async fn serve(stream: TcpStream, heard: Arc<watch::Sender<Vec<Call>>>, script: Arc<Script>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None if line.trim_end().is_empty() => break,
            None => None,
        };
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut text = vec![0; length];
    if reader.read_exact(&mut text).await.is_err() {
        return;
    }
    let body = serde_json::from_slice(&text).unwrap_or_default();
    let call = Call { headers, text, body };
    let act = script(&call, heard.borrow().len());
    heard.send_modify(|calls| calls.push(call));
    let act = match act {
        Act::Held(until) => {
            until.notified().await;
            status(200)
        }
        act => act,
    };
    match act {
        Act::Say(bytes) => {
            // A sender that has heard enough may be gone.
            let _ = writer.write_all(bytes.as_bytes()).await;
            let _ = writer.shutdown().await;
        }
        Act::Held(_) => unreachable!("it was waited for"),
        Act::Flood(bytes) => while writer.write_all(bytes.as_bytes()).await.is_ok() {},
        Act::Hang => std::future::pending().await,
        Act::Close => {}
    }
}
