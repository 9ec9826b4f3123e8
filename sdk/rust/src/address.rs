//! Where a server is. Owns how paths and the two schemes of one address are made; opens no connection.

use reqwest::Url;

/// The text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the address of a server: write it as http://host:port or https://host")]
pub struct InvalidAddress {
    /// The text.
    pub text: String,
}

/// A server's address, `http` or `https`, with or without a path it is mounted under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address. `ws` and `wss` mean the same server; without a scheme it is `http`.
    ///
    /// # Errors
    /// [`InvalidAddress`] when it has another scheme, no host, a query, or a name that is not written in ASCII.
    pub fn new(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        // Without tables of Unicode a name is written in its xn-- form, and the parser takes that for granted.
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // It takes any number of slashes, of either kind, before a host, and drops tabs and ends of lines anywhere.
        let rest = whole.split_once(':').map_or("", |(_, rest)| rest).trim_start_matches(['/', '\\']);
        let host = rest.split(['/', '?', '#', '\\']).next();
        let is_plain = text.is_ascii() && !text.contains(|c: char| c.is_ascii_control());
        if !is_plain || host.is_some_and(|host| host.contains('%')) {
            return Err(invalid());
        }
        let mut url = Url::parse(&whole).map_err(|_| invalid())?;
        let scheme = match url.scheme() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            _ => return Err(invalid()),
        };
        if scheme != url.scheme() {
            // `Url` refuses to turn `ws` into `http` only where ports differ by kind, which these do not.
            url.set_scheme(scheme).map_err(|()| invalid())?;
        }
        if url.host_str().is_none_or(str::is_empty) || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Is the server on this machine, by its address alone?
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }

    /// The address of `path` below the server, for HTTP.
    pub(crate) fn http(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let whole = format!("{}{path}", self.0.path().trim_end_matches('/'));
        url.set_path(&whole);
        url
    }

    /// The address of `path` below the server, for WebSocket.
    pub(crate) fn socket(&self, path: &str) -> Url {
        let mut url = self.http(path);
        let scheme = if self.0.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).expect("http and ws are schemes of the same kind");
        url
    }

    /// A link the server gave: absolute, or a path with its query below the server.
    pub(crate) fn link(&self, link: &str) -> Option<Url> {
        self.0.join(link).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
    }

    /// Is `url` on this server, so that it may see the token?
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.0.origin()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl std::str::FromStr for Address {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_serves_both_schemes() {
        let address = Address::new("https://films.example/base/").unwrap();
        assert_eq!(address.http("/v1/generations").as_str(), "https://films.example/base/v1/generations");
        assert_eq!(address.socket("/v1/live").as_str(), "wss://films.example/base/v1/live");
        assert_eq!(Address::new("127.0.0.1:8080").unwrap().to_string(), "http://127.0.0.1:8080");
        assert_eq!(Address::new("ws://h:1").unwrap().socket("/x").as_str(), "ws://h:1/x");
    }

    #[test]
    fn links_are_absolute_or_paths_and_only_ours_see_the_token() {
        let address = Address::new("http://h:1").unwrap();
        let own = address.link("/v1/generations/a/artifacts/film.mp4?sig=x").unwrap();
        assert_eq!(own.as_str(), "http://h:1/v1/generations/a/artifacts/film.mp4?sig=x");
        assert!(address.is_own(&own));
        assert!(!address.is_own(&address.link("https://cdn.example/film.mp4").unwrap()));
        assert_eq!(address.link("file:///etc/passwd"), None);
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for own in ["http://127.0.0.1:8080", "127.0.0.1:1", "http://localhost/", "ws://[::1]:80", "localhost"] {
            assert!(Address::new(own).unwrap().is_loopback(), "{own}");
        }
        let others = [
            "http://10.0.0.1:8080",
            "https://films.example",
            "http://localhost.example",
            "http://localhost:80@films.example",
        ];
        for other in others {
            assert!(!Address::new(other).unwrap().is_loopback(), "{other}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_by_name() {
        let names = [
            "http://Grüße.example",
            "Gr%C3%BC%C3%9Fe.example",
            "https://12NaN\u{3002}0",
            "http:///Gr%C3%BC%C3%9Fe.example",
        ];
        for bad in ["", "ftp://h", "http://", "http://h/?q=1", "http://h:99999"].into_iter().chain(names) {
            assert_eq!(Address::new(bad).unwrap_err().text, bad);
        }
    }
}
