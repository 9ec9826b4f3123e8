//! A WebSocket client that knows only the wire: says JSON, hears JSON, pictures and the end.

use std::{path::Path, sync::Arc};

use access::Role;
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config, connect_async,
    connect_async_tls_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::client::Request},
};

use crate::{PATIENCE, program::token};

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message.
    Message(Value),
    /// A binary message.
    Frame(Vec<u8>),
    /// The end, with its code and reason.
    Closed(u16, String),
}

/// An open socket.
#[derive(Debug)]
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects to `path` of the server at `url`, with `token` in a header where there is one.
    ///
    /// # Errors
    /// When the server does not take the connection.
    pub async fn open(url: &str, path: &str, token: Option<&str>) -> Result<Self> {
        let (socket, _) = timeout(PATIENCE, connect_async(request(url, path, token)?)).await??;
        Ok(Self(socket))
    }

    /// The same over TLS, trusting one certificate alone.
    ///
    /// # Errors
    /// When the server does not take the connection, or has another certificate.
    pub async fn open_trusting(url: &str, path: &str, token: Option<&str>, authority: &Path) -> Result<Self> {
        let connector = Some(connector(authority)?);
        let connecting = connect_async_tls_with_config(request(url, path, token)?, None, true, connector);
        let (socket, _) = timeout(PATIENCE, connecting).await??;
        Ok(Self(socket))
    }

    /// The same with a receive buffer as small as it can be: what is not heard waits with the server.
    ///
    /// # Errors
    /// As above.
    pub async fn open_narrow(url: &str, path: &str, token: Option<&str>, authority: &Path) -> Result<Self> {
        let (_, address) = url.split_once("://").context("an address")?;
        let stream = TcpSocket::new_v4()?;
        stream.set_recv_buffer_size(4_096)?;
        let stream = stream.connect(address.parse()?).await?;
        let connector = Some(connector(authority)?);
        let connecting = client_async_tls_with_config(request(url, path, token)?, stream, None, connector);
        let (socket, _) = timeout(PATIENCE, connecting).await??;
        Ok(Self(socket))
    }

    /// A live socket that has authenticated as `user`.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn live(url: &str, user: &str) -> Result<Self> {
        Self::open(url, "/v1/live", None).await?.authenticated(user).await
    }

    /// Says who it is.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn authenticated(mut self, user: &str) -> Result<Self> {
        self.say(&json!({"type": "authenticate", "token": token(user, Role::User)})).await?;
        let answer = self.message().await?;
        anyhow::ensure!(answer["type"] == "authenticated", "{answer}");
        Ok(self)
    }

    /// Says a message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&mut self, message: &Value) -> Result<()> {
        self.say_text(&message.to_string()).await
    }

    /// Says many, in one write where they fit.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say_all(&mut self, messages: &[Value]) -> Result<()> {
        for message in messages {
            self.0.feed(Message::text(message.to_string())).await?;
        }
        Ok(self.0.flush().await?)
    }

    /// Says any text.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say_text(&mut self, text: &str) -> Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// Says bytes.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.send(Message::binary(bytes.to_vec())).await?)
    }

    /// Whatever comes next. Pings are answered and not told.
    ///
    /// # Errors
    /// When nothing comes in time, or the connection breaks without a close.
    pub async fn hear(&mut self) -> Result<Heard> {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.context("silence")?;
            return Ok(match next.context("the connection broke without a close")?? {
                Message::Text(text) => Heard::Message(serde_json::from_str(&text)?),
                Message::Binary(bytes) => Heard::Frame(bytes.to_vec()),
                Message::Close(Some(close)) => Heard::Closed(close.code.into(), close.reason.to_string()),
                Message::Close(None) => bail!("a close without a code"),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            });
        }
    }

    /// The next message, past any pictures.
    ///
    /// # Errors
    /// When the connection ends instead.
    pub async fn message(&mut self) -> Result<Value> {
        loop {
            match self.hear().await? {
                Heard::Message(message) => return Ok(message),
                Heard::Frame(_) => {}
                Heard::Closed(code, reason) => bail!("closed: {code} {reason}"),
            }
        }
    }

    /// The next message of this type, past all others.
    ///
    /// # Errors
    /// When the connection ends instead.
    pub async fn until(&mut self, kind: &str) -> Result<Value> {
        loop {
            let message = self.message().await?;
            if message["type"] == kind {
                return Ok(message);
            }
        }
    }

    /// Says goodbye and waits for the server's.
    ///
    /// # Errors
    /// When the connection breaks without one.
    pub async fn close(mut self) -> Result<()> {
        timeout(PATIENCE, self.0.close(None)).await??;
        while let Some(message) = timeout(PATIENCE, self.0.next()).await? {
            message?;
        }
        Ok(())
    }

    /// The code and reason of the end, past everything before it.
    ///
    /// # Errors
    /// When the connection breaks without one.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        loop {
            if let Heard::Closed(code, reason) = self.hear().await? {
                return Ok((code, reason));
            }
        }
    }
}

/// Trusts one certificate alone.
fn connector(authority: &Path) -> Result<Connector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Rustls(Arc::new(config)))
}

fn request(url: &str, path: &str, token: Option<&str>) -> Result<Request> {
    let mut request = format!("{}{path}", url.replacen("http", "ws", 1)).into_client_request()?;
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    Ok(request)
}
