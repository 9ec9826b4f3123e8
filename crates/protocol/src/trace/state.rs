//! The `tracestate` that travels beside a `traceparent`: what tracing systems on the way noted for themselves. It means
//! nothing to us; it is kept and handed on so that their spans stay connected.

use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::InvalidId;

/// Members of a list, as the specification has it; with more, all of it is dropped.
const MEMBERS_MAX: usize = 32;
/// Bytes of a list that everybody passes on, as the specification has it; what is longer loses whole members.
const BYTES_MAX: usize = 512;
/// Bytes of a member that goes first when a list is too long.
const MEMBER_BYTES_MAX: usize = 128;
/// Bytes of a key, and of a value.
const PART_BYTES_MAX: usize = 256;

/// A `tracestate` that can be passed on: at least one member, and at most 512 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// Reads the header; of several, their values joined by commas, in their order. A list that is too long is shortened as
    /// the specification wants it: members of more than 128 bytes go first, then the last ones, which are the oldest.
    ///
    /// # Errors
    /// [`InvalidId`] when it is malformed, says one key twice, or has no member. Whoever took it from a request goes on
    /// without one.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { kind: "tracestate", rule: "1 to 32 members <key>=<value>, each key once" };
        let mut members: Vec<&str> = Vec::new();
        let mut keys = HashSet::new();
        // Empty members are allowed, and say nothing.
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|one| !one.is_empty()) {
            let (key, value) = member.split_once('=').ok_or_else(invalid)?;
            if members.len() == MEMBERS_MAX || !is_key(key) || !is_value(value) || !keys.insert(key) {
                return Err(invalid());
            }
            members.push(member);
        }
        shorten(&mut members);
        if members.is_empty() { Err(invalid()) } else { Ok(Self(members.join(",").into())) }
    }

    /// As it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower case, digits and a few signs; `@` stands between a customer and their system.
fn is_key(key: &str) -> bool {
    let of_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    let begins = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    key.len() <= PART_BYTES_MAX && key.as_bytes().first().is_some_and(begins) && key.bytes().all(of_key)
}

/// Printable, without commas and equal signs. A space at its end was taken for one around the member.
fn is_value(value: &str) -> bool {
    let of_value = |b: u8| (b' '..=b'~').contains(&b) && b != b',' && b != b'=';
    (1..=PART_BYTES_MAX).contains(&value.len()) && value.bytes().all(of_value)
}

fn shorten(members: &mut Vec<&str>) {
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    while length(members) > BYTES_MAX {
        match members.iter().rposition(|member| member.len() > MEMBER_BYTES_MAX) {
            Some(at) => members.remove(at),
            None => members.remove(members.len() - 1),
        };
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceState({})", self.0)
    }
}

impl FromStr for TraceState {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl Serialize for TraceState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TraceState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for TraceState {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceState".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 3,
            "maxLength": BYTES_MAX,
            "description": "A `tracestate` of W3C Trace Context."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        TraceState::new(text).ok().map(|state| state.to_string())
    }

    #[test]
    fn members_are_passed_on_in_their_order_and_what_is_around_them_is_not() {
        for (text, expected) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            (" a=1 ,\tb=2 , ,,c=x y", "a=1,b=2,c=x y"),
            ("tenant@system=v,0a-_*/z= lead", "tenant@system=v,0a-_*/z= lead"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        let longest = format!("{}={}", "k".repeat(256), "v".repeat(255));
        assert_eq!(read(&longest).as_deref(), Some(longest.as_str()));
    }

    #[test]
    fn what_is_malformed_is_dropped_whole() {
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert!(read(&many[..many.rfind(',').unwrap()]).is_some(), "32 are no more than there may be");
        let (long_key, long_value) = (format!("{}=v", "k".repeat(257)), format!("k={}", "v".repeat(257)));
        for bad in [
            "",
            " , ",
            "a",
            "a=",
            "=b",
            "A=1",
            "a b=1",
            "@a=1",
            "a=1,a=2",
            "a=1=2",
            "a=ü",
            "a=1,\u{7f}=2",
            "a=\x01",
            "good=1,bad",
            &many,
            &long_key,
            &long_value,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_loses_long_members_first_and_then_the_last() {
        let member = |key: char, bytes: usize| format!("{key}={}", "v".repeat(bytes - 2));
        let of = |members: &[(char, usize)]| members.iter().map(|(k, n)| member(*k, *n)).collect::<Vec<_>>().join(",");
        assert_eq!(of(&[('a', 128), ('b', 128), ('c', 128), ('d', 125)]).len(), 512);
        let fits = of(&[('a', 128), ('b', 128), ('c', 128), ('d', 125)]);
        assert_eq!(read(&fits), Some(fits));
        let long = of(&[('a', 129), ('b', 128), ('c', 128), ('d', 128)]);
        assert_eq!(read(&long), Some(of(&[('b', 128), ('c', 128), ('d', 128)])));
        let many = of(&[('a', 128), ('b', 128), ('c', 128), ('d', 126)]);
        assert_eq!(read(&many), Some(of(&[('a', 128), ('b', 128), ('c', 128)])));
        assert_eq!(read(&member('a', 258)).map(|state| state.len()), Some(258), "alone it fits");
    }
}
