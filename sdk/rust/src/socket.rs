//! Opening a WebSocket: the handshake with its deadline, and what its refusal means.

use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream,
    tungstenite::{
        self, ClientRequestBuilder,
        http::{StatusCode, Uri},
        protocol::WebSocketConfig,
    },
};

use crate::tls;

/// An open connection.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// 10 s: a server that has not answered a handshake by then will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// 1 MiB: four times the largest frame; a server never sends more at once.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// 16 KiB: what a connection costs in memory when nothing happens.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The server does not want this token. Never retry with the same one.
    #[error("the server refused the token ({0})")]
    Refused(StatusCode),
    /// Not now.
    #[error("{0}")]
    Unreachable(String),
}

/// Connects. `token` goes into the handshake when given.
pub(crate) async fn connect(url: &Url, token: Option<&str>) -> Result<Socket, ConnectError> {
    let uri: Uri = url.as_str().parse().map_err(|error| ConnectError::Unreachable(format!("{url}: {error}")))?;
    let mut request = ClientRequestBuilder::new(uri);
    if let Some(token) = token {
        request = request.with_header("Authorization", format!("Bearer {token}"));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let connector = (url.scheme() == "wss").then(|| Connector::Rustls(tls::config()));
    let connecting = tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, connector);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(answer))) => match answer.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(ConnectError::Refused(status)),
            status => Err(ConnectError::Unreachable(format!("the server answered {status}"))),
        },
        Ok(Err(error)) => Err(ConnectError::Unreachable(error.to_string())),
        Err(_) => Err(ConnectError::Unreachable("no answer within 10 seconds".to_owned())),
    }
}
