//! Files over HTTP: up with a hash (`transfer/upload.rs`), down with `Range` when a connection breaks. Used by both halves.

pub(crate) mod upload;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use protocol::{ArtifactName, ErrorCode, LeaseId, error::ErrorBody};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use tokio::io::AsyncWriteExt as _;

use crate::{backoff::Backoff, digest, random, tls, worker::SayError};

/// 10 s: a server that has not taken a connection by then will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// 30 s without a byte: the path is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// 10 tries without a byte gained, about 45 s with jitter: longer than a restart, shorter than a person's patience.
const TRIES_MAX: u32 = 10;

/// The HTTP client of both halves, for everything but uploads.
pub(crate) fn http() -> reqwest::Result<reqwest::Client> {
    builder().read_timeout(READ_TIMEOUT).build()
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config().as_ref().clone())
        .user_agent(crate::SDK)
        .connect_timeout(CONNECT_TIMEOUT)
}

/// Where a file lies, and with what right.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) http: reqwest::Client,
    pub(crate) url: Url,
    pub(crate) token: Option<String>,
    pub(crate) lease: Option<LeaseId>,
}

impl Source {
    fn request(&self, method: Method) -> RequestBuilder {
        let mut request = self.http.request(method, self.url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(lease) = &self.lease {
            request = request.header("x-rushes-lease", lease.as_str());
        }
        request
    }
}

/// What is uploaded.
#[derive(Debug, Clone)]
pub enum Content {
    /// From memory.
    Bytes(Bytes),
    /// From a file, which must not change meanwhile.
    File(PathBuf),
}

impl Content {
    /// Length and hash.
    pub(crate) async fn measure(&self) -> Result<(u64, String), TransferError> {
        match self {
            Self::Bytes(bytes) => Ok((bytes.len() as u64, digest::of_bytes(bytes))),
            Self::File(path) => digest::of_file(path).await.map_err(TransferError::Disk),
        }
    }
}

/// Why a file was not moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The run is over; return.
    #[error("the run is over")]
    Over,
    /// The offer names no such file.
    #[error("no file {0} was kept for this run")]
    Missing(ArtifactName),
    /// The server refused. Repeating the same changes nothing.
    #[error("refused with {code}: {message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// What arrived is not what was promised, twice.
    #[error("the file does not have the hash {expected}")]
    Damaged {
        /// The hash promised.
        expected: String,
    },
    /// The server could not be reached for about a minute. Worth a retry later.
    #[error("server unreachable: {0}")]
    Unreachable(String),
    /// The local file.
    #[error("local file")]
    Disk(#[source] std::io::Error),
}

impl From<SayError> for TransferError {
    fn from(error: SayError) -> Self {
        match error {
            SayError::Over => Self::Over,
            SayError::Refused { code, message } => Self::Refused { code, message },
        }
    }
}

/// Counts tries that brought nothing, and waits between them.
#[derive(Default)]
struct Patience {
    tries: u32,
    backoff: Backoff,
}

impl Patience {
    async fn wait(&mut self, why: String) -> Result<(), TransferError> {
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            return Err(TransferError::Unreachable(why));
        }
        tracing::debug!(why, "transfer interrupted");
        tokio::time::sleep(self.backoff.next(random::unit())).await;
        Ok(())
    }
}

/// Reads why the server did not: an error when it never will, else what to say about it.
async fn refusal(answer: Response) -> Result<String, TransferError> {
    let status = answer.status();
    let body = tokio::time::timeout(READ_TIMEOUT, answer.bytes()).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    let Ok(ErrorBody { error }) = serde_json::from_slice(&body) else {
        return refusal_of_another(status);
    };
    match error.code {
        ErrorCode::LeaseLost => Err(TransferError::Over),
        _ if error.retryable => Ok(error.to_string()),
        code => Err(TransferError::Refused { code, message: error.to_string() }),
    }
}

/// Something in between answered: a proxy, or no server of ours.
fn refusal_of_another(status: StatusCode) -> Result<String, TransferError> {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(format!("the server answered {status}"));
    }
    let code = match status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        _ => ErrorCode::InvalidRequest,
    };
    Err(TransferError::Refused { code, message: format!("the server answered {status}") })
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Downloads into `to`, by way of a file beside it, and goes on where a broken connection stopped. Answers the length.
pub(crate) async fn download(source: Source, to: &Path, sha256: Option<&str>) -> Result<u64, TransferError> {
    let part = beside(to);
    let mut damaged = false;
    loop {
        let length = fetch(&source, &part).await?;
        let good = match sha256 {
            Some(expected) => digest::of_file(&part).await.map_err(TransferError::Disk)?.1 == expected,
            None => true,
        };
        if good {
            tokio::fs::rename(&part, to).await.map_err(TransferError::Disk)?;
            return Ok(length);
        }
        // Once may be the network; twice is the file.
        let expected = sha256.unwrap_or_default().to_owned();
        if std::mem::replace(&mut damaged, true) {
            return Err(TransferError::Damaged { expected });
        }
    }
}

fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    to.with_file_name(name)
}

/// The file on disk and where it came from.
struct Partial {
    file: tokio::fs::File,
    length: u64,
    etag: Option<String>,
}

async fn fetch(source: &Source, part: &Path) -> Result<u64, TransferError> {
    let file = tokio::fs::File::create(part).await.map_err(TransferError::Disk)?;
    let mut partial = Partial { file, length: 0, etag: None };
    let mut patience = Patience::default();
    loop {
        let before = partial.length;
        let why = match partial.ask(source).await {
            Ok(answer) => match partial.take(answer).await? {
                None => {
                    partial.file.flush().await.map_err(TransferError::Disk)?;
                    return Ok(partial.length);
                }
                Some(why) => why,
            },
            Err(why) => why?,
        };
        if partial.length > before {
            patience = Patience::default();
        }
        patience.wait(why).await?;
    }
}

impl Partial {
    /// Asks for what is missing. The inner error never passes; the outer text may.
    async fn ask(&self, source: &Source) -> Result<Response, Result<String, TransferError>> {
        let mut request = source.request(Method::GET);
        if let (Some(etag), true) = (&self.etag, self.length > 0) {
            request = request.header(header::RANGE, format!("bytes={}-", self.length)).header(header::IF_RANGE, etag);
        }
        let answer = request.send().await.map_err(|error| Ok(chain(&error)))?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// Writes what comes; `Some` says why it ended early.
    async fn take(&mut self, mut answer: Response) -> Result<Option<String>, TransferError> {
        let disk = TransferError::Disk;
        if answer.status() != StatusCode::PARTIAL_CONTENT && self.length > 0 {
            // The server sends the whole of it, perhaps of another file: start over.
            self.file.set_len(0).await.map_err(disk)?;
            tokio::io::AsyncSeekExt::rewind(&mut self.file).await.map_err(disk)?;
            self.length = 0;
        }
        self.etag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    self.file.write_all(&chunk).await.map_err(disk)?;
                    self.length += chunk.len() as u64;
                }
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(chain(&error))),
            }
        }
    }
}
