//! Whose address a request comes from: the peer's, or what trusted proxies say of it. Pure but for the extension.
//!
//! Each proxy adds the address it was called from at the end. So the list is read from its end, and the first address
//! that is no trusted proxy is the client: whatever stands before it was written by the client itself, and proves nothing.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::Network;

/// What most proxies write.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies in a row that are looked through; a longer list was made up.
const HOPS_MAX: usize = 16;

/// The other end of the connection, put into each request where the connection is accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The client's address.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
    let peer = peer.to_canonical();
    if !is_proxy(&peer) {
        return peer;
    }
    let forwarded = (headers.contains_key(X_FORWARDED_FOR), headers.contains_key(header::FORWARDED));
    let hops = match forwarded {
        (true, false) => hops(headers, &X_FORWARDED_FOR, whole),
        (false, true) => hops(headers, &header::FORWARDED, of_forwarded),
        // A proxy writes one of the two and may pass on the other as the client wrote it; nobody knows which.
        (true, true) | (false, false) => Vec::new(),
    };
    let mut client = peer;
    for hop in hops {
        let Some(address) = hop else { break };
        client = address;
        if !is_proxy(&address) {
            break;
        }
    }
    client
}

/// The addresses of a list, the last one first; nothing where an entry is no address.
fn hops(headers: &HeaderMap, name: &HeaderName, part: fn(&str) -> Option<&str>) -> Vec<Option<IpAddr>> {
    let texts = headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or(""));
    let entries: Vec<&str> = texts.flat_map(|text| text.split(',')).collect();
    entries.into_iter().rev().take(HOPS_MAX).map(|entry| part(entry.trim()).and_then(read)).collect()
}

/// An entry of `X-Forwarded-For` is an address and nothing else.
const fn whole(entry: &str) -> Option<&str> {
    Some(entry)
}

/// What `for=` says in one element of RFC 7239.
fn of_forwarded(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("for")).map(|(_, value)| value)
}

/// An address, maybe quoted, bracketed or with a port.
fn read(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let address = text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, trusted: &str, headers: &[(&str, &str)]) -> String {
        let sources = crate::config::Sources {
            flags: vec![("trusted_proxies".to_owned(), trusted.to_owned())],
            ..crate::config::Sources::default()
        };
        let loaded = crate::config::Loaded::read(&sources, crate::config::Mode::Demo).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        address(peer.parse().unwrap(), &map, &loaded.config.trusted_proxies).to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let lie = [("x-forwarded-for", "9.9.9.9")];
        assert_eq!(seen("8.8.8.8", "", &lie), "8.8.8.8");
        assert_eq!(seen("8.8.8.8", "10.0.0.0/8", &lie), "8.8.8.8");
        assert_eq!(seen("10.0.0.1", "10.0.0.0/8", &lie), "9.9.9.9");
        assert_eq!(seen("::ffff:10.0.0.1", "10.0.0.0/8", &lie), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", "10.0.0.0/8", &[]), "10.0.0.1");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        let trusted = "10.0.0.0/8,fd00::/8";
        let of = |value: &str| seen("10.0.0.1", trusted, &[("x-forwarded-for", value)]);
        assert_eq!(of("1.2.3.4, 9.9.9.9, 10.0.0.2"), "9.9.9.9", "what the client wrote before it proves nothing");
        assert_eq!(of("10.0.0.3, 10.0.0.2"), "10.0.0.3", "a request from within");
        assert_eq!(of("9.9.9.9:4711"), "9.9.9.9");
        assert_eq!(of("[2001:db8::7]:80, fd00::1"), "2001:db8::7");
        assert_eq!(of("evil, 10.0.0.2"), "10.0.0.2", "what cannot be read ends the list");
        assert_eq!(of(""), "10.0.0.1");
        let two = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "9.9.9.9")];
        assert_eq!(seen("10.0.0.1", trusted, &two), "9.9.9.9", "two headers are one list");
    }

    #[test]
    fn rfc_7239_is_read_and_two_kinds_at_once_are_not() {
        let of = |headers: &[(&str, &str)]| seen("10.0.0.1", "10.0.0.0/8", headers);
        assert_eq!(of(&[("forwarded", "for=9.9.9.9;proto=https, for=10.0.0.2")]), "9.9.9.9");
        assert_eq!(of(&[("forwarded", "proto=https;For=\"[2001:db8::7]:80\"")]), "2001:db8::7");
        assert_eq!(of(&[("forwarded", "for=_hidden")]), "10.0.0.1");
        assert_eq!(of(&[("forwarded", "for=9.9.9.9"), ("x-forwarded-for", "1.2.3.4")]), "10.0.0.1");
    }
}
