//! The client half: submit, look, steer and download over HTTP; [`Watch`] over the live socket.

mod live;
mod operate;
mod watch;

use std::path::Path;

use protocol::{
    ErrorCode, GenerationId, Problem, State,
    error::ErrorBody,
    http::{Accepted, ArtifactLink, EventPage, GenerationPage, Snapshot, Submission},
    live::FrameWish,
    operate::Place,
    position::After,
    timeline::Timeline,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use crate::{
    Address, InvalidAddress,
    transfer::{self, TransferError},
};

pub use live::Health;
pub use watch::{Update, Watch, WatchError};

/// Why a call was not answered with what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// Nobody answered. Repeating is safe for everything but a submission without an idempotency key.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered with an error of its list.
    #[error("{0}")]
    Refused(Problem),
    /// What answered is no server of ours, or one of another age.
    #[error("{address} answered {status} in a form this client does not know")]
    Strange {
        /// Where.
        address: String,
        /// The HTTP status.
        status: StatusCode,
    },
}

impl ClientError {
    /// The server's code, where it gave one.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}

/// Which page of generations.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Only those in this state.
    pub state: Option<State>,
    /// At most so many; the server's own default when absent.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Talks to one server with one token. Cheap to clone.
///
/// ```no_run
/// use rushes_sdk::{Client, Update, protocol::{http::Submission, position::After}};
///
/// # async fn film() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new("http://127.0.0.1:8080", "token")?;
/// let wish = Submission { prompt: Some("a lake at dawn".to_owned()), ..Submission::default() };
/// let accepted = client.submit(&wish, Some("order-17")).await?;
/// let mut watch = client.watch(&accepted.generation.id, After::Start);
/// while let Some(update) = watch.next().await {
///     if let Update::Event { event, .. } = update? {
///         println!("{} {} {}%", event.sequence, event.message, event.progress);
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    token: String,
    http: reqwest::Client,
}

impl Client {
    /// A client of the server at `url`. An empty token sends none, which a demo on the same machine allows.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(url: &str, token: impl Into<String>) -> Result<Self, ClientError> {
        let address = Address::new(url)?;
        let http =
            transfer::http().map_err(|source| ClientError::Unreachable { address: address.to_string(), source })?;
        Ok(Self { address, token: token.into(), http })
    }

    /// Where the server is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Submits. With the same `key` and the same submission, a repeat is answered as the first time.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, submission: &Submission, key: Option<&str>) -> Result<Accepted, ClientError> {
        let mut request = self.request(Method::POST, "/v1/generations").json(submission);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.call(request).await
    }

    /// A generation as it stands.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` for unknown ids and for those of others.
    pub async fn get(&self, id: &GenerationId) -> Result<Snapshot, ClientError> {
        self.call(self.request(Method::GET, &format!("/v1/generations/{id}"))).await
    }

    /// Where its time went.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` for unknown ids and for those of others.
    pub async fn timeline(&self, id: &GenerationId) -> Result<Timeline, ClientError> {
        self.call(self.request(Method::GET, &format!("/v1/generations/{id}/timeline"))).await
    }

    /// Why it is not running. For tokens of role `operator` or above.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` for unknown ids.
    pub async fn why(&self, id: &GenerationId) -> Result<Place, ClientError> {
        self.call(self.request(Method::GET, &format!("/v1/queue/{id}"))).await
    }

    /// A page of generations, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self, list: &List) -> Result<GenerationPage, ClientError> {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(list.state.map(|state| ("state", state.as_str().to_owned())));
        query.extend(list.limit.map(|limit| ("limit", limit.to_string())));
        query.extend(list.cursor.clone().map(|cursor| ("cursor", cursor)));
        self.call(self.queried("/v1/generations", &query)).await
    }

    /// Asks it to stop; answers how it stands then. Safe to repeat.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cancel(&self, id: &GenerationId) -> Result<Snapshot, ClientError> {
        self.call(self.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await
    }

    /// Runs it again, as a new generation that shares what was finished. With the same `key`, a repeat is one retry.
    ///
    /// # Errors
    /// [`ClientError`]; `state_conflict` while it has not ended.
    pub async fn retry(&self, id: &GenerationId, key: Option<&str>) -> Result<Accepted, ClientError> {
        let mut request = self.request(Method::POST, &format!("/v1/generations/{id}/retry"));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.call(request).await
    }

    /// A page of events after a position.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(
        &self,
        id: &GenerationId,
        after: &After,
        limit: Option<usize>,
    ) -> Result<EventPage, ClientError> {
        let mut query = vec![("after", after.to_string())];
        query.extend(limit.map(|limit| ("limit", limit.to_string())));
        self.call(self.queried(&format!("/v1/generations/{id}/events"), &query)).await
    }

    /// Watches a generation: every event after `after`, once and in order, to its end, across reconnects.
    #[must_use]
    pub fn watch(&self, id: &GenerationId, after: After) -> Watch {
        Watch::new(self.address.clone(), self.token.clone(), id.clone(), after, None)
    }

    /// The same, with preview frames between the events.
    #[must_use]
    pub fn watch_with_frames(&self, id: &GenerationId, after: After, frames: FrameWish) -> Watch {
        Watch::new(self.address.clone(), self.token.clone(), id.clone(), after, Some(frames))
    }

    /// Opens the live socket and asks for a `pong`: what a health check has to do, because HTTP alone may answer while
    /// sockets do not.
    ///
    /// # Errors
    /// [`WatchError`].
    pub async fn health(&self) -> Result<Health, WatchError> {
        live::health(&self.address).await
    }

    /// Downloads a link of the server (absolute, or a path) into the file `to`, going on where a broken connection
    /// stopped. Answers the length in bytes.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn download(&self, link: &str, to: &Path) -> Result<u64, TransferError> {
        transfer::download(self.source(link)?, to, None).await
    }

    /// Downloads a kept file and checks its hash.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn download_artifact(&self, artifact: &ArtifactLink, to: &Path) -> Result<u64, TransferError> {
        transfer::download(self.source(&artifact.url)?, to, Some(&artifact.sha256)).await
    }

    fn source(&self, link: &str) -> Result<transfer::Source, TransferError> {
        let url = self.address.link(link).ok_or_else(|| TransferError::Refused {
            code: ErrorCode::InvalidRequest,
            message: format!("`{link}` is no link to a file"),
        })?;
        // A signed link needs no token, and another host must not see it.
        let own = self.address.is_own(&url) && !self.token.is_empty();
        Ok(transfer::Source { http: self.http.clone(), url, token: own.then(|| self.token.clone()), lease: None })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.http.request(method, self.address.http(path)))
    }

    fn queried(&self, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.address.http(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.authorized(self.http.get(url))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    /// A call that is answered with nothing.
    async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        let address = || self.address.to_string();
        let unreachable = |source| ClientError::Unreachable { address: address(), source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        match serde_json::from_slice::<ErrorBody>(&answer.bytes().await.map_err(unreachable)?) {
            Ok(ErrorBody { error }) => Err(ClientError::Refused(error)),
            Err(_) => Err(ClientError::Strange { address: address(), status }),
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let address = || self.address.to_string();
        let unreachable = |source| ClientError::Unreachable { address: address(), source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| ClientError::Strange { address: address(), status });
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => Err(ClientError::Refused(error)),
            Err(_) => Err(ClientError::Strange { address: address(), status }),
        }
    }
}
