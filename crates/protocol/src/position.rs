//! Where a watcher is: `<epoch>:<sequence>`, the same text in SSE ids, `Last-Event-ID`, `after=` and JSON.

use std::{fmt, str::FromStr, sync::Arc};

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{id::InvalidId, number::Sequence};

/// Identity of a store's history. Positions of another epoch say nothing about this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Longest text, in bytes; ours are 6.
    pub const BYTES_MAX: usize = 16;

    /// Checks `text`: 1 to 16 lower-case letters and digits.
    ///
    /// # Errors
    /// [`InvalidId`] when it is anything else.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let ok = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { kind: "position", rule: "an epoch has 1 to 16 lower-case letters and digits" })
        }
    }

    /// A new epoch of 30 random bits in six characters.
    #[must_use]
    pub fn generate(random: [u8; 6]) -> Self {
        // 32 symbols without 0, 1, l and o, which people confuse when they read positions aloud.
        const SYMBOLS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        Self(random.iter().map(|b| char::from(SYMBOLS[usize::from(b % 32)])).collect::<String>().into())
    }

    /// The epoch as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a generation's history: everything up to and including `sequence` has been seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history the sequence counts in.
    pub epoch: Epoch,
    /// The last event seen.
    pub sequence: Sequence,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.sequence)
    }
}

impl FromStr for Position {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bad = InvalidId { kind: "position", rule: "`<epoch>:<sequence>`, for example `k3f9:12`" };
        let (epoch, sequence) = text.split_once(':').ok_or_else(|| bad.clone())?;
        Ok(Self { epoch: Epoch::new(epoch)?, sequence: parse_sequence(sequence).ok_or(bad)? })
    }
}

/// Digits only: `u64::from_str` would also take a leading `+`.
fn parse_sequence(text: &str) -> Option<Sequence> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().map(Sequence)
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Position {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Position".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[a-z0-9]{1,16}:[0-9]{1,20}$"})
    }
}

/// From where a watcher wants to hear: what `after=` and `Last-Event-ID` may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Everything after this position.
    Position(Position),
    /// A bare number: everything after this sequence of the current epoch.
    Sequence(Sequence),
    /// Everything there is.
    Start,
    /// Only what comes from here on.
    Now,
}

impl FromStr for After {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "start" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            _ => match parse_sequence(text) {
                Some(sequence) if !text.is_empty() => Ok(Self::Sequence(sequence)),
                _ => text.parse().map(Self::Position),
            },
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => position.fmt(f),
            Self::Sequence(sequence) => sequence.fmt(f),
            Self::Start => f.write_str("start"),
            Self::Now => f.write_str("now"),
        }
    }
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for After {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "After".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "`start`, `now`, a sequence of the current epoch, or `<epoch>:<sequence>`"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        let position: Position = "k3f9:12".parse().unwrap();
        assert_eq!(position.to_string(), "k3f9:12");
        assert_eq!("12".parse(), Ok(After::Sequence(Sequence(12))));
        assert_eq!("start".parse(), Ok(After::Start));
        assert_eq!("k3f9:12".parse(), Ok(After::Position(position)));
    }

    #[test]
    fn garbage_is_no_position() {
        for bad in ["", ":", "k3f9:", ":12", "k3f9:+1", "K3:1", "k3f9:99999999999999999999", "-1", "+1", "a:b:c"] {
            assert!(bad.parse::<After>().is_err(), "{bad:?} was taken");
        }
    }
}
