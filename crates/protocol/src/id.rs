//! Textual identities. Each is its own type, checked when it enters, cheap to clone, and never empty.
//!
//! Numbers that count or order things live in [`crate::number`]; positions in [`crate::position`].

use std::{
    borrow::Borrow,
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use data_encoding::BASE32HEX_NOPAD;
#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    limits,
    number::{Fence, Timestamp},
};

/// Why a text is not an id of the wanted kind. Never retry with the same text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// What was expected, for example `generation id`.
    pub kind: &'static str,
    /// The rule that was broken, in words a caller can act on.
    pub rule: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a {}: {}", self.kind, self.rule)
    }
}

impl std::error::Error for InvalidId {}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as an id.
            ///
            /// # Errors
            /// [`InvalidId`] names the rule that `text` breaks.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, InvalidId> {
                let text = text.into();
                if $allowed(&text) { Ok(Self(text)) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }

            /// The id as it travels on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        #[cfg(feature = "schema")]
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $rule})
            }
        }
    };
}

fn is_public_id(text: &str) -> bool {
    (1..=limits::ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_lease_id(text: &str) -> bool {
    (1..=limits::LEASE_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_file_name(text: &str) -> bool {
    (1..=limits::ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !text.bytes().all(|b| b == b'.')
}

/// A stage's name, a colon, a backend's name.
fn is_breaker_name(text: &str) -> bool {
    text.split_once(':').is_some_and(|(stage, backend)| is_public_id(stage) && is_public_id(backend))
}

fn is_command_id(text: &str) -> bool {
    (1..=limits::ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

fn is_event_id(text: &str) -> bool {
    (1..=limits::EVENT_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

/// Identities of other systems (users, tenants, workers) are theirs to choose: any printable text of bounded length.
fn is_foreign_id(text: &str) -> bool {
    (1..=limits::ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

text_id!(
    /// One generation: a request for a film and everything that happens to it.
    GenerationId, "generation id", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// One durable event; doubles as its idempotency key.
    EventId, "event id", is_event_id, "1 to 136 letters, digits, `_`, `-`, `.` or `:`"
);
text_id!(
    /// One command of a client, worker or timer. Events it causes are called `<command>.<n>`.
    CommandId, "command id", is_command_id, "1 to 128 letters, digits, `_`, `-`, `.` or `:`"
);
text_id!(
    /// What a client calls a request on a live connection, to find its answer again.
    RequestId, "request id", is_command_id, "1 to 128 letters, digits, `_`, `-`, `.` or `:`"
);
text_id!(
    /// Constant across everything one request caused; the correlation id of its first hop.
    CausalId, "causal id", is_foreign_id, "1 to 128 printable characters"
);
text_id!(
    /// Who owns a generation, as the identity provider names them.
    UserId, "user id", is_foreign_id, "1 to 128 printable characters"
);
text_id!(
    /// The customer an owner belongs to; `default` where nobody says.
    TenantId, "tenant id", is_foreign_id, "1 to 128 printable characters"
);
text_id!(
    /// A worker, as it names itself in `hello`.
    WorkerId, "worker id", is_foreign_id, "1 to 128 printable characters"
);
text_id!(
    /// Workers that can run the same stages.
    PoolName, "pool name", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// What a stage leans on and may find broken: a vendor, a model server; the pool where nobody names one.
    BackendName, "backend name", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// The circuit breaker of one stage on one backend: `<stage>:<backend>`.
    BreakerName, "breaker name", is_breaker_name, "a stage, a colon, a backend: `upscaling:gpu`"
);
text_id!(
    /// A stage of a pipeline.
    StageName, "stage name", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// A pipeline: ordered stages with a version.
    PipelineName, "pipeline name", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// A kept file of a generation. Never a path.
    ArtifactName, "artifact name", is_file_name, "1 to 128 letters, digits, `.`, `_` or `-`, not only dots"
);
text_id!(
    /// An uploaded input file, `upl_…`.
    FileId, "file id", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// One offer of a run to one worker.
    OfferId, "offer id", is_public_id, "1 to 128 letters, digits, `_` or `-`"
);
text_id!(
    /// The right to run, bound to one worker's token: `<fence>-<128 random bits>-<generation>`.
    LeaseId, "lease id", is_lease_id, "1 to 256 letters, digits, `_` or `-`"
);

/// Sixteen bytes of UUIDv7 (RFC 9562): milliseconds first, so that ids sort by the time they were made.
#[must_use]
pub fn uuid_v7(at: Timestamp, random: [u8; 10]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&at.0.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

/// `prefix`, and up to sixteen bytes in lower-case base32hex, which keeps their order.
fn base32(prefix: &str, bytes: &[u8]) -> Arc<str> {
    // Made thousands of times a second: nothing is allocated but the result. 26 letters hold sixteen bytes.
    let mut text = [0; 4 + 26];
    let text = &mut text[..prefix.len() + BASE32HEX_NOPAD.encode_len(bytes.len())];
    let (start, letters) = text.split_at_mut(prefix.len());
    start.copy_from_slice(prefix.as_bytes());
    BASE32HEX_NOPAD.encode_mut(bytes, letters);
    letters.make_ascii_lowercase();
    std::str::from_utf8(text).expect("letters and digits").into()
}

impl GenerationId {
    /// A new id, `gen_` and a UUIDv7 in base32.
    #[must_use]
    pub fn generate(at: Timestamp, random: [u8; 10]) -> Self {
        Self(base32("gen_", &uuid_v7(at, random)))
    }
}

impl FileId {
    /// A new id, `upl_` and a UUIDv7 in base32.
    #[must_use]
    pub fn generate(at: Timestamp, random: [u8; 10]) -> Self {
        Self(base32("upl_", &uuid_v7(at, random)))
    }
}

impl CommandId {
    /// A new id for a command that came without one.
    #[must_use]
    pub fn generate(at: Timestamp, random: [u8; 10]) -> Self {
        Self(base32("", &uuid_v7(at, random)))
    }

    /// The id of the `n`-th event (from 0) that this command causes.
    #[must_use]
    pub fn event(&self, n: usize) -> EventId {
        // Nearly every command causes one event: its id is made without a text in between.
        let mut text = [0; limits::ID_BYTES_MAX + 2];
        match text.get_mut(..self.0.len() + 2) {
            Some(text) if n == 0 => {
                text[..self.0.len()].copy_from_slice(self.0.as_bytes());
                text[self.0.len()..].copy_from_slice(b".0");
                EventId(std::str::from_utf8(text).expect("a text and an ASCII ending").into())
            }
            _ => EventId(format!("{}.{n}", self.0).into()),
        }
    }
}

impl CausalId {
    /// A new id for a request that came without one.
    #[must_use]
    pub fn generate(at: Timestamp, random: [u8; 10]) -> Self {
        Self(base32("", &uuid_v7(at, random)))
    }
}

impl OfferId {
    /// A new id, `off_` and 80 random bits.
    #[must_use]
    pub fn generate(random: [u8; 10]) -> Self {
        Self(base32("off_", &random))
    }
}

impl LeaseId {
    /// A new id: the fence, 128 random bits, and the generation, so that a write finds its generation on any node and
    /// after any restart. The random part is what makes it a right; the rest is only an address.
    #[must_use]
    pub fn generate(fence: Fence, random: [u8; 16], generation: &GenerationId) -> Self {
        Self(format!("{fence}-{}-{generation}", base32("", &random)).into())
    }

    /// Where a write under this lease belongs. Says nothing about whether the lease is good.
    #[must_use]
    pub fn address(&self) -> Option<(Fence, GenerationId)> {
        let mut parts = self.0.splitn(3, '-');
        let fence = parts.next()?.parse().ok()?;
        let generation = parts.nth(1)?;
        Some((Fence(fence), GenerationId::new(generation).ok()?))
    }
}

impl TenantId {
    /// The tenant of a deployment that knows only one: `default`.
    #[must_use]
    pub fn fallback() -> Self {
        // One text for all who have it: in most deployments that is everybody.
        static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| "default".into());
        Self(Arc::clone(&DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_ids_sort_by_the_time_they_were_made() {
        let early = GenerationId::generate(Timestamp(1_000), [255; 10]);
        let late = GenerationId::generate(Timestamp(1_001), [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_str().len(), "gen_".len() + 26);
        assert!(GenerationId::new(early.as_str()).is_ok());
    }

    #[test]
    fn a_lease_says_where_it_belongs() {
        let generation = GenerationId::new("gen_a-b").unwrap();
        let lease = LeaseId::generate(Fence(7), [9; 16], &generation);
        assert_eq!(lease.address(), Some((Fence(7), generation)));
        assert_eq!(LeaseId::new("nonsense").unwrap().address(), None);
    }

    #[test]
    fn the_events_of_the_longest_command_can_be_read_back() {
        let command = CommandId::new("c".repeat(limits::ID_BYTES_MAX)).unwrap();
        for n in [0, 1, 9_999_999] {
            let event = command.event(n);
            assert_eq!(EventId::new(event.as_str()), Ok(event));
        }
    }

    #[test]
    fn a_path_is_no_artifact_name() {
        for bad in ["", "a/b", "..", ".", "a\\b", "a b", "ä"] {
            assert!(ArtifactName::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(ArtifactName::new("film.mp4").is_ok());
    }

    #[test]
    fn a_refused_id_names_the_rule() {
        let refused = serde_json::from_str::<GenerationId>("\"a/b\"").unwrap_err().to_string();
        assert!(refused.starts_with("not a generation id: 1 to 128 letters"), "{refused}");
    }
}
