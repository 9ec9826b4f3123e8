//! JSON and its length: written without growing a buffer byte by byte, or only counted.

use std::cell::RefCell;

use serde::Serialize;
use serde_json::Value;

use crate::event::Metadata;

/// A thread keeps a scratch of so many bytes; a longer one is given back, for such texts are rare. An event has about 600.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `value` as JSON, exactly as long as it is: written into a scratch of the thread first. What is written thousands of times
/// a second is so allocated once, and nothing that is kept has room to spare.
///
/// # Errors
/// [`serde_json::Error`] when `value` cannot be JSON.
pub fn json_of(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    in_scratch(|scratch| serde_json::to_writer(&mut *scratch, value).map(|()| scratch.as_slice().to_vec()))
}

/// What `write` makes of the thread's scratch, which it gets empty: for texts of several parts that end up in one piece.
pub fn in_scratch<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    // Not held meanwhile, for what is written may itself come here.
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let made = write(&mut scratch);
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    made
}

/// Bytes that `value` takes as JSON; `None` when it cannot be written.
#[must_use]
pub fn json_length(value: &impl Serialize) -> Option<usize> {
    let mut written = Written(0);
    serde_json::to_writer(&mut written, value).ok().map(|()| written.0)
}

/// How deep the JSON of `value` nests: 0 for a text or a number, 1 for a list of these.
#[must_use]
pub fn json_depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => depth_of(values.iter()),
        Value::Object(values) => depth_of(values.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The same for what is always an object.
#[must_use]
pub fn json_depth_of(values: &Metadata) -> usize {
    depth_of(values.values())
}

fn depth_of<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    1 + values.map(json_depth).max().unwrap_or(0)
}

/// Counts what is written to it, and keeps nothing.
struct Written(usize);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_where_it_is_deepest() {
        for (depth, json) in [(0, "7"), (1, "[]"), (1, r#"{"a":"[[["}"#), (3, r#"{"a":1,"b":[2,{"c":null}],"d":[]}"#)] {
            assert_eq!(json_depth(&serde_json::from_str(json).unwrap()), depth, "{json}");
        }
    }

    /// Writes another value while it is written itself.
    struct Nested;

    impl Serialize for Nested {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let inner = json_of(&[1, 2]).map_err(serde::ser::Error::custom)?;
            serializer.serialize_str(&String::from_utf8_lossy(&inner))
        }
    }

    #[test]
    fn what_is_written_is_what_serde_writes_whatever_was_written_before() {
        let long = "ä".repeat(SCRATCH_BYTES_MAX);
        for text in ["", "a\"\n", &long, "short again"] {
            let (written, expected) = (json_of(&text).unwrap(), serde_json::to_vec(&text).unwrap());
            assert_eq!((written.len(), json_length(&text)), (written.capacity(), Some(expected.len())));
            assert_eq!(written, expected);
        }
        assert_eq!(json_of(&Nested).unwrap(), br#""[1,2]""#);
        json_of(&std::collections::HashMap::from([([1], 1)])).unwrap_err();
    }
}
