//! From an HTTP request to a bare socket: the handshake's answer, and the socket taken out of hyper.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use protocol::{ErrorCode, Problem};
use tokio::net::TcpStream;

use super::{refuse, socket::Socket, stream::Stream};
use crate::websocket::handshake::{self, Refused};

/// A handshake that was answered: the answer, and the socket to come.
pub(super) struct Upgrade {
    pub(super) response: Response,
    pub(super) socket: OnUpgrade,
}

/// Checks the handshake and prepares its answer.
#[expect(clippy::result_large_err, reason = "the refusal is the whole answer, made once per bad request")]
pub(super) fn accept(mut request: Request) -> Result<Upgrade, Response> {
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let accepted = match handshake::accept(headers) {
        Ok(accepted) => accepted,
        Err(refused) => return Err(refuse_handshake(&refused)),
    };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let out = response.headers_mut();
    out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accepted.accept).expect("base64 is header text");
    out.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = accepted.subprotocol {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    Ok(Upgrade { response, socket: hyper::upgrade::on(&mut request) })
}

/// Waits until the answer is written, and gives the socket with what was already read from it. `None` when the client
/// went away meanwhile.
pub(super) async fn take(socket: OnUpgrade) -> Option<(Stream, Bytes)> {
    unwrap(socket.await.ok()?)
}

fn unwrap(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    let upgraded = match upgraded.downcast::<TokioIo<Socket>>() {
        Ok(parts) => return Some((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(other) => other,
    };
    // `axum::serve` lets hyper find out which HTTP is spoken, which wraps the stream once more.
    let upgraded = match downcast::<TokioIo<Socket>>(upgraded) {
        Ok(parts) => return Some((parts.io.into_inner().into_inner(), parts.read_buf)),
        Err(other) => other,
    };
    let Ok(parts) = downcast::<TokioIo<TcpStream>>(upgraded) else {
        tracing::error!("connections are served as something unknown; sockets cannot be taken over");
        return None;
    };
    Some((parts.io.into_inner().into(), parts.read_buf))
}

fn refuse_handshake(refused: &Refused) -> Response {
    let problem = Problem::new(ErrorCode::InvalidRequest, refused.to_string()).hint("this path speaks WebSocket");
    let mut response = refuse(problem);
    if *refused == Refused::Version {
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        let version = HeaderValue::from_static(handshake::VERSION);
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
    }
    response
}
