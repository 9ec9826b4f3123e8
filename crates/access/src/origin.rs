//! Which pages may talk to this server: pure checks of `Origin` and `Host`.
//!
//! Two attacks are kept out. A foreign page that opens a socket to a server the browser can reach is refused by its
//! `Origin`. A page whose own name was pointed at 127.0.0.1 (DNS rebinding) looks same-origin to the browser, but its
//! `Host` is that name and not a loopback one. Answering and CORS headers belong to `server`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// The pages an operator lets in (`allowed_origins`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every page. Sound while authentication is by token alone: a page has no token unless somebody gave it one.
    Any,
    /// These pages, and those this server serves itself.
    List(Arc<[Origin]>),
}

/// What an `Origin` and a `Host` are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Let in what the operator listed.
    Allow(Origins),
    /// The demo, which signs in whoever asks: `Host` is a loopback one, and `Origin` absent or the same.
    Loopback,
}

/// A page's origin: scheme, host and port, in lower case and with the port always known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    /// Absent where the scheme has no default port and none was written, as for `tauri://localhost`.
    port: Option<u16>,
}

/// The text is no origin. Never retry with the same text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an origin: `{0}`; write scheme, host and port as in https://app.example, without a path, or `*` alone")]
pub struct InvalidOrigin(String);

impl Origins {
    /// Reads a configured list; `*` as its only entry means every page, and an empty list only this server's own.
    ///
    /// # Errors
    /// [`InvalidOrigin`] with the first entry that is none.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, InvalidOrigin> {
        if let [entry] = entries
            && entry.as_ref() == "*"
        {
            return Ok(Self::Any);
        }
        let read = |entry: &T| Origin::parse(entry.as_ref()).ok_or_else(|| InvalidOrigin(entry.as_ref().to_owned()));
        entries.iter().map(read).collect::<Result<_, _>>().map(Self::List)
    }
}

impl Origin {
    /// Reads `scheme://host[:port]` and nothing longer; `null`, which sandboxed pages send, is none.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(plain) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { host: host.to_ascii_lowercase(), port, scheme })
    }

    /// Is this the origin of a page that `host` served? The scheme is not compared: a TLS proxy hides it from us.
    fn is_of_host(&self, host: &str) -> bool {
        let Some((name, port)) = split_authority(host) else { return false };
        self.host.eq_ignore_ascii_case(name) && self.port == port.or_else(|| default_port(&self.scheme))
    }
}

/// May a request with this `Origin` and this `Host` be answered?
///
/// Programs send no `Origin`, browsers always do on sockets and across origins; hence absent is let in.
#[must_use]
pub fn origin_allowed(origin: Option<&str>, host: Option<&str>, policy: &OriginPolicy) -> bool {
    let same_host = |origin: &Origin| host.is_some_and(|host| origin.is_of_host(host));
    match policy {
        OriginPolicy::Allow(Origins::Any) => true,
        OriginPolicy::Allow(Origins::List(listed)) => origin.is_none_or(|text| {
            // The server's own pages pass without being listed. Rebinding gains nothing by this: every request needs a
            // token, and the rebound page has none.
            Origin::parse(text).is_some_and(|origin| listed.contains(&origin) || same_host(&origin))
        }),
        OriginPolicy::Loopback => {
            host.is_some_and(is_loopback_host)
                && origin.is_none_or(|text| {
                    let of_web = |origin: &Origin| matches!(origin.scheme.as_str(), "http" | "https");
                    Origin::parse(text).is_some_and(|origin| of_web(&origin) && same_host(&origin))
                })
        }
    }
}

/// Is `host`, as a `Host` header carries it with or without a port, this machine under a name nobody can rebind?
///
/// `localhost`, 127.0.0.0/8 in full dotted form, and `[::1]`. Other spellings of the same addresses are refused: no
/// browser sends them unless the page wrote them so.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let Some((name, _)) = split_authority(host) else { return false };
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// Host (an IPv6 one with its brackets) and port; nothing for a text with user, path, space or any other surplus.
fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(end);
    let well_formed = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    if !well_formed {
        return None;
    }
    match rest.strip_prefix(':') {
        // Digits only: the number parser alone would take a sign.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        None if rest.is_empty() => Some((host, None)),
        _ => None,
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(entries: &[&str]) -> OriginPolicy {
        OriginPolicy::Allow(Origins::parse(entries).unwrap())
    }

    #[test]
    fn loopback_is_localhost_and_the_loopback_addresses_with_or_without_a_port() {
        for good in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.255.255.254",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]:1",
        ] {
            assert!(is_loopback_host(good), "{good:?} was refused");
        }
    }

    #[test]
    fn what_only_looks_like_loopback_is_refused() {
        for bad in [
            "",
            ":",
            ":8080",
            "localhost:",
            "localhost:x",
            "localhost:+80",
            "localhost:-1",
            "localhost:65536",
            "localhost:80:80",
            "localhost.",
            "localhost.evil.example",
            "evil.example",
            "evil.example:8080",
            "localhost.localdomain",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.256",
            "128.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "::1",
            "::1:8080",
            "[::1",
            "::1]",
            "[::1]8080",
            "[::1]x",
            "[::1].evil.example",
            "[::ffff:127.0.0.1]",
            "[::]",
            "[::1%lo]",
            "[localhost]",
            "[127.0.0.1]",
            "user@localhost",
            "localhost@evil.example",
            "localhost/",
            "localhost#",
            "localhost\\",
            " localhost",
            "localhost ",
            "localhost\t",
            "localhost\0",
            "localhost,evil",
            "ｌocalhost",
            "http://localhost",
            "evil.example#127.0.0.1",
            "127.0.0.1@evil.example",
        ] {
            assert!(!is_loopback_host(bad), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_demo_answers_programs_and_its_own_page() {
        let demo = OriginPolicy::Loopback;
        for (origin, host) in [
            (None, "localhost:8080"),
            (None, "127.0.0.1:8080"),
            (Some("http://localhost:8080"), "localhost:8080"),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080"),
            (Some("http://[::1]:8080"), "[::1]:8080"),
            (Some("http://localhost"), "localhost"),
            (Some("http://localhost"), "localhost:80"),
        ] {
            assert!(origin_allowed(origin, Some(host), &demo), "{origin:?} {host:?}");
        }
    }

    #[test]
    fn the_demo_refuses_rebound_names_and_foreign_pages() {
        let demo = OriginPolicy::Loopback;
        for (origin, host) in [
            (None, None),
            (Some("http://localhost:8080"), None),
            (None, Some("evil.example:8080")),
            (Some("http://evil.example:8080"), Some("evil.example:8080")),
            (Some("http://evil.example"), Some("localhost:8080")),
            (Some("http://localhost:3000"), Some("localhost:8080")),
            (Some("http://localhost"), Some("localhost:8080")),
            (Some("http://127.0.0.1:8080"), Some("localhost:8080")),
            (Some("http://localhost.evil.example:8080"), Some("localhost:8080")),
            (Some("http://user@localhost:8080"), Some("localhost:8080")),
            (Some("http://localhost:8080/"), Some("localhost:8080")),
            (Some("http://localhost:8080 http://evil.example"), Some("localhost:8080")),
            (Some("ftp://localhost:8080"), Some("localhost:8080")),
            (Some("localhost:8080"), Some("localhost:8080")),
            (Some("null"), Some("localhost:8080")),
            (Some(""), Some("localhost:8080")),
        ] {
            assert!(!origin_allowed(origin, host, &demo), "{origin:?} {host:?}");
        }
    }

    #[test]
    fn a_list_lets_in_what_it_names_and_the_servers_own_pages() {
        let policy = listed(&["https://App.example", "http://localhost:3000", "tauri://localhost"]);
        let host = Some("films.example");
        for good in [
            "https://app.example",
            "HTTPS://APP.EXAMPLE:443",
            "http://localhost:3000",
            "tauri://localhost",
            "https://films.example",
            "http://films.example",
        ] {
            assert!(origin_allowed(Some(good), host, &policy), "{good:?} was refused");
        }
        assert!(origin_allowed(None, host, &policy));
        assert!(origin_allowed(None, None, &policy));
        for bad in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://xapp.example",
            "https://evil.example",
            "http://localhost",
            "tauri://localhost:1",
            "https://films.example:8443",
            "null",
            "*",
            "",
            "https://",
            "https://app.example/",
            "https://app.example@evil.example",
            "https://app.example,https://x",
        ] {
            assert!(!origin_allowed(Some(bad), host, &policy), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_empty_list_leaves_the_servers_own_pages() {
        let policy = listed(&[]);
        assert!(origin_allowed(Some("https://films.example"), Some("films.example"), &policy));
        assert!(!origin_allowed(Some("https://app.example"), Some("films.example"), &policy));
    }

    #[test]
    fn a_star_lets_everybody_in_and_only_alone() {
        let policy = listed(&["*"]);
        for origin in [None, Some("https://evil.example"), Some("null"), Some("")] {
            assert!(origin_allowed(origin, Some("films.example"), &policy));
        }
        for bad in
            [&["*", "https://app.example"][..], &["app.example"], &["https://app.example/path"], &["https://*.example"]]
        {
            assert!(Origins::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn no_random_text_panics_or_passes(origin in any::<String>(), host in any::<String>()) {
            let (origin, host) = (Some(origin.as_str()), Some(host.as_str()));
            prop_assert!(!origin_allowed(origin, host, &OriginPolicy::Loopback));
            prop_assert!(!origin_allowed(origin, host, &listed(&["https://app.example"])));
        }

        #[test]
        fn a_name_under_a_foreign_domain_is_never_loopback(
            name in "(localhost|127\\.0\\.0\\.1|\\[::1\\])[.:@/a-z0-9]{0,8}\\.example(:[0-9]{1,5})?",
        ) {
            prop_assert!(!is_loopback_host(&name));
        }
    }
}
