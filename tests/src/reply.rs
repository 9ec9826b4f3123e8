//! An HTTP answer, and what every refusal must say: a status, a code of the closed list, and what to change.

use std::{path::Path, sync::LazyLock};

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, RequestBuilder, header::HeaderMap};
use serde_json::Value;

use crate::PATIENCE;

/// The one HTTP client of most tests; making one reads the certificates of the machine each time. It keeps no connections, since each
/// test has a runtime of its own that takes them along.
#[must_use]
pub fn client() -> &'static Client {
    static CLIENT: LazyLock<Client> = LazyLock::new(|| build(Client::builder().pool_max_idle_per_host(0)));
    &CLIENT
}

/// One that keeps its connection from one request to the next, as clients of users do; for one runtime.
#[must_use]
pub fn client_that_keeps() -> Client {
    build(Client::builder())
}

/// One that trusts a certificate alone, and keeps no connections either.
///
/// # Errors
/// When the file is none.
pub fn client_trusting(authority: &Path) -> Result<Client> {
    let authority = Certificate::from_pem(&std::fs::read(authority)?)?;
    Ok(build(Client::builder().pool_max_idle_per_host(0).tls_certs_only([authority])))
}

fn build(builder: reqwest::ClientBuilder) -> Client {
    // It encrypts nothing here, and wants to know how it would all the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder.build().expect("the defaults make a client")
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Sends `request` and reads the answer.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn of(request: RequestBuilder) -> Result<Self> {
        let answer = request.timeout(PATIENCE).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Self { status, headers, body: answer.bytes().await?.to_vec() })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} {}", self.status, self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// It is a refusal with this status and code, it says what is wrong and what to do, and all of `names` stand there.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str, names: &[&str]) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let error = &body["error"];
        assert_eq!(error["code"], code, "{text}");
        assert!(error["retryable"].is_boolean(), "{text}");
        let [message, hint] = ["message", "hint"].map(|key| error[key].as_str().unwrap_or_default());
        assert!(!message.is_empty() && !hint.is_empty(), "says what is wrong and what to do: {text}");
        for name in names {
            assert!(format!("{message} {hint}").contains(name), "does not name {name:?}: {text}");
        }
    }
}
