//! One HTTP call: to an address that was judged, without redirects, bounded in time and in what is read of the answer.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, StatusCode, header};
use reqwest::{
    Client, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::time::timeout;

use super::{address::Rule, message::Message};
use crate::config::Network;

/// A receiver answers within so long; Standard Webhooks asks senders for 15 to 30 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection stands within so long: three lost packets of a far network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The body of an answer says nothing to us; it is read, up to here, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// And for so long.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Headers of an answer: more than any honest receiver sends.
const HEADERS_MAX: usize = 64;
/// Idle connections kept to a receiver, and for how long: between two events of a busy tenant.
const IDLE_MAX: usize = 2;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Addresses of one name that are looked at; a list that is longer is no load balancer.
const ADDRESSES_MAX: usize = 16;

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken.
    Taken,
    /// 410: the receiver wants no more of it, ever.
    Gone,
    /// It was not taken; worth another try.
    Failed {
        /// Which way, for metrics.
        kind: Failure,
        /// A sentence for operators, without anything the receiver wrote.
        why: String,
        /// `Retry-After`.
        asked: Option<Duration>,
    },
}

/// The ways a call fails; labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Failure {
    /// The address may not be called.
    Refused,
    /// No connection, or it broke.
    Connection,
    /// No answer in time.
    Timeout,
    /// An answer that is not 2xx.
    Status,
}

/// Calls endpoints. Shared by all of them.
pub(super) struct Caller {
    rule: Rule,
    secure: Client,
    plain: Client,
}

impl Caller {
    /// A caller that may also call `allowed`.
    pub(super) fn new(allowed: &[Network]) -> Result<Self, reqwest::Error> {
        let rule = Rule { allowed: allowed.to_vec(), plain: false };
        let secure = client(rule.clone())?;
        let plain = client(Rule { plain: true, ..rule.clone() })?;
        Ok(Self { rule, secure, plain })
    }

    /// Sends `message` to `url`.
    pub(super) async fn call(&self, url: &Url, message: &Message) -> Outcome {
        let plain = url.scheme() == "http";
        // Literal addresses are never resolved, so nobody else would judge them.
        if let Some(address) = literal(url)
            && let Some(why) = (Rule { plain, ..self.rule.clone() }).refusal(address)
        {
            return failed(Failure::Refused, format!("{address} is {why}"));
        }
        let client = if plain { &self.plain } else { &self.secure };
        let request = client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", &message.signature)
            .header(crate::correlation::HEADER, &message.correlation)
            .body(message.body.clone());
        match timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(Ok(answer)) => judge(answer).await,
            Ok(Err(error)) => broken(&error),
            Err(_) => failed(Failure::Timeout, format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
        }
    }
}

fn client(rule: Rule) -> Result<Client, reqwest::Error> {
    // Refused where this process has chosen already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("rushes/", env!("CARGO_PKG_VERSION")))
        // A proxy of the environment would connect for us, to addresses nobody judged.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Judged(Arc::new(rule)))
        .build()
}

/// A body for fuzzers: the URL of an endpoint.
///
/// # Panics
/// When one leads to this machine and may be called.
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(url) = crate::config::webhook::url(&String::from_utf8_lossy(bytes)) else { return };
    let Some(address) = literal(&url) else { return };
    let rule = Rule { allowed: Vec::new(), plain: false };
    let inward = address.to_canonical().is_loopback() || address.is_unspecified();
    assert!(!inward || rule.refusal(address).is_some(), "{url}");
}

/// The address, where the host is one. The URL was normalised: `0x7f.1` and `2130706433` are written as addresses.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// The head alone says whether it was taken. A receiver that lies about the length of what follows, or never ends it,
/// has read the message all the same.
async fn judge(mut answer: Response) -> Outcome {
    let status = answer.status();
    let asked = retry_after(answer.headers());
    let read = async {
        let mut bytes = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes += chunk.len();
            if bytes > ANSWER_BYTES_MAX {
                break;
            }
        }
    };
    // Out of time or broken, the connection is dropped with the answer.
    let _ = timeout(BODY_TIMEOUT, read).await;
    match status {
        status if status.is_success() => Outcome::Taken,
        StatusCode::GONE => Outcome::Gone,
        status if status.is_redirection() => Outcome::Failed {
            kind: Failure::Status,
            why: format!("status {}: redirects are not followed; set `url` to where it leads", status.as_u16()),
            asked: None,
        },
        status => Outcome::Failed { kind: Failure::Status, why: format!("status {}", status.as_u16()), asked },
    }
}

/// Seconds; dates are not worth a parser, and the schedule waits anyway.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

const fn failed(kind: Failure, why: String) -> Outcome {
    Outcome::Failed { kind, why, asked: None }
}

fn broken(error: &reqwest::Error) -> Outcome {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return failed(Failure::Refused, refused.to_string());
        }
        last = inner.to_string();
        cause = inner.source();
    }
    if error.is_timeout() {
        return failed(Failure::Timeout, format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()));
    }
    // The innermost cause, which neither holds the URL nor anything the receiver wrote.
    failed(Failure::Connection, if error.is_connect() { format!("no connection: {last}") } else { last })
}

/// Resolves a name and lets through only what may be called; the connection goes to one of these and nowhere else.
struct Judged(Arc<Rule>);

/// All addresses of a name were refused.
#[derive(Debug)]
struct Refused {
    host: String,
    address: IpAddr,
    why: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leads to {}, which is {}", self.host, self.address, self.why)
    }
}

impl Error for Refused {}

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await??;
            let mut refused = None;
            let mut good: Vec<SocketAddr> = Vec::new();
            for address in found.take(ADDRESSES_MAX) {
                match rule.refusal(address.ip()) {
                    Some(why) => refused = Some(Refused { host: host.clone(), address: address.ip(), why }),
                    None => good.push(address),
                }
            }
            match refused {
                Some(refused) if good.is_empty() => Err(refused.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let [id, signature, correlation] = ["msg_a", "v1,x", "c"].map(str::to_owned);
        Message { id, timestamp: 1, signature, correlation, body: b"{}".to_vec() }
    }

    async fn call(allowed: &str, url: &str) -> Outcome {
        let sources = crate::config::Sources {
            flags: vec![("webhooks.allow".to_owned(), allowed.to_owned())],
            ..crate::config::Sources::default()
        };
        let loaded = crate::config::Loaded::read(&sources, crate::config::Mode::Demo).unwrap();
        let caller = Caller::new(&loaded.config.webhooks_allow).unwrap();
        caller.call(&url.parse().unwrap(), &message()).await
    }

    /// A listener nobody may reach, and every way of writing its address.
    #[tokio::test]
    async fn no_spelling_of_an_inward_address_is_called() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "017700000001",
            "localhost",
            "LOCALHOST",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0.0.0.0",
            "169.254.169.254",
        ] {
            for scheme in ["http", "https"] {
                let outcome = call("", &format!("{scheme}://{host}:{port}/")).await;
                let refused = matches!(outcome, Outcome::Failed { kind: Failure::Refused, .. });
                assert!(refused, "{scheme}://{host}: {outcome:?}");
            }
        }
        let nobody = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "somebody called");
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do() {
        let Outcome::Failed { why, .. } = call("", "https://localhost:1/").await else { panic!("it was called") };
        assert!(why.contains("localhost leads to") && why.contains("webhooks.allow"), "{why}");
        // Allowed, and nobody listens there.
        let outcome = call("127.0.0.0/8", "http://127.0.0.1:1/").await;
        assert!(matches!(outcome, Outcome::Failed { kind: Failure::Connection, .. }), "{outcome:?}");
    }
}
