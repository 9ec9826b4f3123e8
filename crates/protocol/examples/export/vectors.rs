//! Test vectors that every SDK runs. The samples are written here by hand; what they decode to and encode as is computed
//! by the protocol's types, so that a change of the wire shows as a change of a committed file.
//!
//! JSON vectors: `cases[].wire` is what may arrive, `cases[].canonical` what encoding the decoded value gives (the same,
//! with defaults filled in and unknown fields gone); `bad[].wire` is refused; `unknown[].wire` may come from a later version:
//! whoever does not know it skips it or shows it as unknown, and goes on.

#[path = "vectors/frames.rs"]
mod frames;
#[path = "vectors/messages.rs"]
mod messages;
#[path = "vectors/words.rs"]
mod words;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// File name without its ending, and content.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("events", messages::events()),
        ("live-client-messages", messages::live_client()),
        ("live-server-messages", messages::live_server()),
        ("worker-messages", messages::worker()),
        ("worker-server-messages", messages::worker_server()),
        ("submissions", messages::submissions()),
        ("positions", words::positions()),
        ("ids", words::ids()),
        ("leases", words::leases()),
        ("status-words", words::status_words()),
        ("errors", words::errors()),
        ("frames", frames::frames()),
    ]
}

type Samples<'a> = &'a [(&'a str, Value)];

/// Decodes each good sample as `T` and adds what it encodes as; the others are only named.
fn decoded<T: Serialize + DeserializeOwned>(
    about: &str,
    good: Samples<'_>,
    bad: Samples<'_>,
    unknown: Samples<'_>,
) -> Value {
    let cases: Vec<_> = good
        .iter()
        .map(|(name, wire)| {
            let value: T = serde_json::from_value(wire.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let canonical = serde_json::to_value(value).expect("what was decoded can be encoded");
            json!({"name": name, "wire": wire, "canonical": canonical})
        })
        .collect();
    let named = |samples: Samples<'_>| -> Value {
        samples.iter().map(|(name, wire)| json!({"name": name, "wire": wire})).collect()
    };
    json!({"about": about, "cases": cases, "bad": named(bad), "unknown": named(unknown)})
}
