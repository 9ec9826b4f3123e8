//! The doors to the network: routes, and what is the same on each of them.
//!
//! Only these modules name axum and hyper, with one exception: [`crate::Home`] answers `GET /` with a response of axum.

mod cors;
mod events;
mod frames;
pub(crate) mod fuzz;
mod live;
mod many;
mod newcomers;
mod places;
mod poll;
mod socket;
mod sse;
mod status;
mod stream;
mod token;
mod upgrade;
mod worker;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use protocol::{ErrorCode, Problem, error::ErrorBody};

pub use self::{socket::Socket, stream::Stream};
use crate::{Gateway, session::Dialect};

/// Everything the gateway answers, to be merged into the server's router.
///
/// [`guard`] is not applied: put it outermost, once, around these and all other routes, or foreign pages are answered.
///
/// Sockets leave hyper after the handshake, which works for connections served as `hyper_util::rt::TokioIo` around a
/// [`Socket`], which ends those that take nothing, or around a bare `tokio::net::TcpStream`, as `axum::serve` does. Whoever
/// accepts them sets `TCP_NODELAY`: small messages must not wait for each other's acknowledgement.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    let live = |dialect| {
        get(move |State(gateway): State<Arc<Gateway>>, request: Request| async move {
            live::connect(gateway, dialect, request)
        })
    };
    Router::new()
        .route("/v1/live", live(Dialect::Native))
        .route("/ws", live(Dialect::First))
        .route("/v1/worker", get(worker::connect))
        .route("/v1/generations/{id}/events", get(events::of_one))
        .route("/v1/generations/{id}/frames/latest", get(frames::latest))
        .route("/v1/events", get(events::of_many))
        .route("/api/generations/{id}/status", get(status::of_one))
        .route("/health", get(status::health))
        .route("/", get(root))
        .with_state(gateway)
}

/// The layer around all routes: refuses foreign pages and hosts, answers preflights, adds CORS headers. To be applied once,
/// for it looks at no header that is there already.
pub async fn guard(gateway: State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    cors::guard(gateway, request, next).await
}

/// `/` is a socket of the first dialect for whoever asks for one, and the server's page for everybody else.
async fn root(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if request.headers().contains_key(header::UPGRADE) {
        return live::connect(gateway, Dialect::First, request);
    }
    match &gateway.home {
        Some(home) => home(request.headers()),
        None => refuse(Problem::new(ErrorCode::NotFound, "no page here")),
    }
}

/// Seconds to wait where nobody knows better: what is restarting or overloaded for a moment is back by then.
const RETRY_AFTER_S: u64 = 1;

/// An error as every HTTP client sees it.
#[must_use]
pub fn refuse(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let wait = matches!(problem.code, ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::QueueFull);
    let after_s = problem.retry_after_s().unwrap_or(RETRY_AFTER_S);
    let mut response = (status, Json(ErrorBody { error: problem })).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after_s));
    }
    response
}
