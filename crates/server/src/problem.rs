//! How a handler fails: a [`Problem`], answered as the gateway answers it, and which problem each failure below is.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use protocol::{ErrorCode, Problem};
use store::StoreError;

/// Seconds after which a full disk is worth another try: somebody has to make room first.
const RETRY_AFTER_FULL_S: HeaderValue = HeaderValue::from_static("30");

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Box<Problem>);

/// What a handler answers.
pub(crate) type Answer<T = Response> = Result<T, Failure>;

impl Failure {
    /// A problem with a sentence and what to do.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Problem::new(code, message).hint(hint).into()
    }

    /// What unknown and foreign ids get.
    pub(crate) fn not_found() -> Self {
        Problem::not_found().into()
    }

    /// A bug of ours. `what` goes to the log, not to the client.
    pub(crate) fn internal(what: &str) -> Self {
        tracing::error!(what, "internal error");
        Self::new(ErrorCode::Internal, "a bug of the server", "report it with the x-correlation-id of this answer")
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => storage_full(),
            StoreError::Unavailable(why) => {
                tracing::warn!(why, "store unavailable");
                Self::new(
                    ErrorCode::Unavailable,
                    "the store does not answer",
                    "try again; the operator finds the reason in the log",
                )
            }
        }
    }
}

/// The disk is full, and nothing was stored.
pub(crate) fn storage_full() -> Failure {
    Failure::new(
        ErrorCode::StorageFull,
        "the disk is full; nothing was stored",
        "try again when the operator has made room",
    )
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let full = self.0.code == ErrorCode::StorageFull;
        let mut response = gateway::refuse(*self.0);
        if full {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_FULL_S);
        }
        response
    }
}
