//! Which addresses webhooks may call: public ones, and the networks that an operator allowed. Pure.
//!
//! A name is judged by what it resolves to, at each connection, and the connection goes to an address that was judged:
//! see `call`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Network;

/// Which addresses may be called.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Networks that may be called whatever they are.
    pub(super) allowed: Vec<Network>,
    /// Plain text goes to those alone: to anybody else it could be read on the way.
    pub(super) plain: bool,
}

impl Rule {
    /// Why `address` may not be called; `None` when it may.
    pub(super) fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        if self.allowed.iter().any(|network| network.contains(address)) {
            return None;
        }
        if self.plain {
            return Some("plain text goes only to networks in `webhooks.allow`: use https");
        }
        let public = match address.to_canonical() {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        (!public).then_some("not a public address: an operator may add it to `webhooks.allow`")
    }
}

/// The special-purpose registry of IANA, and what clouds keep for themselves among public addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127 | 224..=255, ..) => true,
        (100, 64..=127, _) => true,
        (169, 254, _) => true,
        (172, 16..=31, _) => true,
        (192, 0, 0 | 2) => true,
        (192, 31, 196) | (192, 52, 193) | (192, 88, 99) | (192, 175, 48) => true,
        (192, 168, _) => true,
        (198, 18 | 19, _) => true,
        (198, 51, 100) | (203, 0, 113) => true,
        // Azure's platform, which answers from inside every virtual machine.
        (168, 63, 129) => true,
        _ => false,
    };
    !special
}

/// Global unicast, less what carries an IPv4 address inside it or is for documents and protocols.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xe000 == 0x2000;
    let special = matches!((a, b), (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff));
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allowed: &[&str], plain: bool) -> Rule {
        let allow = allowed.join(",");
        let sources = crate::config::Sources {
            flags: vec![("webhooks.allow".to_owned(), allow)],
            ..crate::config::Sources::default()
        };
        let loaded = crate::config::Loaded::read(&sources, crate::config::Mode::Demo).unwrap();
        Rule { allowed: loaded.config.webhooks_allow, plain }
    }

    fn refused(rule: &Rule, address: &str) -> bool {
        rule.refusal(address.parse().unwrap()).is_some()
    }

    #[test]
    fn inward_addresses_are_refused_in_every_spelling() {
        let rule = rule(&[], false);
        for inward in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "198.18.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "3fff::1",
        ] {
            assert!(refused(&rule, inward), "{inward}");
        }
    }

    #[test]
    fn public_addresses_are_called() {
        let rule = rule(&[], false);
        for public in ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
        {
            assert!(!refused(&rule, public), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_is_called_and_only_that_in_plain_text() {
        let some = rule(&["10.0.0.0/8", "::1"], false);
        assert!(!refused(&some, "10.1.2.3") && !refused(&some, "::ffff:10.1.2.3") && !refused(&some, "::1"));
        assert!(refused(&some, "192.168.0.1") && refused(&some, "127.0.0.1"));
        let plain = rule(&["10.0.0.0/8"], true);
        assert!(!refused(&plain, "10.1.2.3"));
        assert!(refused(&plain, "1.1.1.1") && refused(&plain, "127.0.0.1"));
    }
}
