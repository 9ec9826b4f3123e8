//! W3C Trace Context: the `traceparent` that ties what a request causes to the trace of whoever sent it, and the
//! `tracestate` beside it.
//!
//! Nothing here makes spans. What came in is kept, and handed to workers as it came, so that their spans are children of
//! the sender's.

mod state;

use std::{fmt, str::FromStr, sync::Arc};

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use state::TraceState;

use crate::id::InvalidId;

/// Bytes of a `traceparent` of version 00: `00-<trace>-<parent>-<flags>`.
const BYTES: usize = 55;
/// The flag that this version knows: the sender recorded its span.
const SAMPLED: u8 = 1;

/// A `traceparent` that can be used, in the form of version 00.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceParent(Arc<str>);

impl TraceParent {
    /// Reads the header. A version to come is read as far as this one goes, as the specification wants it; flags that are
    /// not known are not passed on.
    ///
    /// # Errors
    /// [`InvalidId`] when it is none. Whoever took it from a request goes on without one.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { kind: "traceparent", rule: "00-<32 hex digits>-<16 hex digits>-<2 hex digits>" };
        let known = text.get(..BYTES).ok_or_else(invalid)?;
        let mut parts = known.split('-');
        let (version, trace, parent, flags) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(version), Some(trace), Some(parent), Some(flags)) if parts.next().is_none() => {
                (version, trace, parent, flags)
            }
            _ => return Err(invalid()),
        };
        let hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let something = |part: &str| part.bytes().any(|b| b != b'0');
        let further = &text[BYTES..];
        let whole = if version == "00" { further.is_empty() } else { further.is_empty() || further.starts_with('-') };
        let good = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
        if !good || !whole || !something(trace) || !something(parent) {
            return Err(invalid());
        }
        let flags = u8::from_str_radix(flags, 16).map_err(|_| invalid())? & SAMPLED;
        Ok(Self(format!("00-{trace}-{parent}-{flags:02x}").into()))
    }

    /// As it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What all spans of the trace share: 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The sender's span: 16 hex digits.
    #[must_use]
    pub fn parent_id(&self) -> &str {
        &self.0[36..52]
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceParent({})", self.0)
    }
}

impl FromStr for TraceParent {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for TraceParent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceParent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$",
            "description": "A `traceparent` of W3C Trace Context."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_specification_allows_is_taken() {
        let parent = TraceParent::new(GOOD).unwrap();
        assert_eq!(parent.as_str(), GOOD);
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.parent_id(), "b7ad6b7169203331");
        // A version to come, with more behind it, is read as this one; flags nobody knows are dropped.
        let newer = format!("cc{}-what-comes", &GOOD[2..]);
        assert_eq!(TraceParent::new(&newer).unwrap().as_str(), GOOD);
        let flagged = format!("{}ff", &GOOD[..53]);
        assert_eq!(TraceParent::new(&flagged).unwrap().as_str(), GOOD);
        let unsampled = format!("{}02", &GOOD[..53]);
        assert!(TraceParent::new(&unsampled).unwrap().as_str().ends_with("-00"));
    }

    #[test]
    fn what_it_forbids_is_refused() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_parent = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-x"),
            &format!("{GOOD}0"),
            &format!("ff{}", &GOOD[2..]),
            &format!("0x{}", &GOOD[2..]),
            &format!("cc{}.", &GOOD[2..]),
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &GOOD.replacen("0af7", "0aä7", 1),
            &zero_trace,
            &zero_parent,
        ] {
            assert!(TraceParent::new(bad).is_err(), "{bad}");
        }
    }
}
