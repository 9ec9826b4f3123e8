//! How a value is read from text, the same from file, environment and flag, and how it is written back as TOML.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Is `address` one of it? An IPv4 address written as IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) if self.address.is_ipv4() => {
                let differ = u32::from(ours) ^ u32::from(theirs);
                differ.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (_, theirs) if self.address.is_ipv6() => {
                let wide = |address: IpAddr| match address {
                    IpAddr::V4(four) => four.to_ipv6_mapped().to_bits(),
                    IpAddr::V6(six) => six.to_bits(),
                };
                let differ = wide(self.address) ^ wide(theirs);
                differ.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    let rule = "write addresses or networks such as 10.0.0.7 or 10.0.0.0/8";
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| rule.to_owned())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), str::parse).map_err(|_| rule.to_owned())?;
    if bits > most { Err(rule.to_owned()) } else { Ok(Network { address, bits }) }
}

/// An address with a port; a port alone means loopback.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let rule = "write an address and a port such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080";
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| rule.to_owned())
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".to_owned())
}

/// A whole number of milliseconds, seconds, minutes, hours or days.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let rule = || "write a number and a unit such as 500ms, 30s, 10m, 12h or 30d".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| rule())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(rule()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(rule)
}

pub(super) fn duration_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = duration(text)?;
    if value < least || value > most {
        return Err(format!("from {} to {}", shown(least), shown(most)));
    }
    Ok(value)
}

/// A duration in the largest unit that writes it whole.
pub(super) fn shown(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Bytes, plain or in KiB, MiB or GiB.
pub(super) fn bytes_within(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let rule = || format!("write bytes such as 500MiB or 4GiB, from {} to {}", shown_bytes(least), shown_bytes(most));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| rule())?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(rule()),
    };
    number.checked_mul(factor).filter(|value| (least..=most).contains(value)).ok_or_else(rule)
}

pub(super) fn shown_bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

pub(super) fn number_within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    text.parse().ok().filter(|value| (least..=most).contains(value)).ok_or_else(|| format!("from {least} to {most}"))
}

/// Entries between commas; none for an empty text.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// A text as TOML writes it. A JSON string is one, but for the escape of the delete character, which no value has.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn quoted_list<T: fmt::Display>(entries: &[T]) -> String {
    let entries: Vec<_> = entries.iter().map(|entry| quoted(&entry.to_string())).collect();
    format!("[{}]", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_what_it_writes() {
        for text in ["0ms", "1500ms", "30s", "10m", "12h", "30d"] {
            assert_eq!(shown(duration(text).unwrap()), text);
        }
        for bad in ["", "30", "d", "-1s", "+1s", "1.5h", "30 d", "1w", "99999999999999999999d", "999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn bytes_read_what_they_write() {
        for text in ["0", "1000", "1KiB", "500MiB", "4GiB"] {
            assert_eq!(shown_bytes(bytes_within(text, 0, u64::MAX).unwrap()), text);
        }
        for bad in ["", "GiB", "4GB", "-1", "99999999999GiB"] {
            assert!(bytes_within(bad, 0, u64::MAX).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_network_contains_the_addresses_that_share_its_bits() {
        let inside = |of: &str, address: &str| network(of).unwrap().contains(address.parse().unwrap());
        for (of, address) in [
            ("10.0.0.0/8", "10.255.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3"),
            ("10.0.0.7", "10.0.0.7"),
            ("0.0.0.0/0", "203.0.113.9"),
            ("fd00::/8", "fdab::1"),
            ("::1", "::1"),
            ("::/0", "2001:db8::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9"),
        ] {
            assert!(inside(of, address), "{address} is in {of}");
        }
        for (of, address) in [
            ("10.0.0.0/8", "11.0.0.0"),
            ("10.0.0.7", "10.0.0.6"),
            ("10.0.0.0/8", "fd00::1"),
            ("fd00::/8", "fe00::1"),
            ("::1", "::2"),
            ("0.0.0.0/0", "::1"),
        ] {
            assert!(!inside(of, address), "{address} is not in {of}");
        }
    }

    #[test]
    fn a_network_is_an_address_with_or_without_its_bits() {
        for (text, shown) in
            [("10.0.0.0/8", "10.0.0.0/8"), ("10.0.0.7", "10.0.0.7/32"), ("fd00::/8", "fd00::/8"), ("::1", "::1/128")]
        {
            assert_eq!(network(text).unwrap().to_string(), shown);
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/", "proxy"] {
            assert!(network(bad).is_err(), "{bad:?} was taken");
        }
    }
}
