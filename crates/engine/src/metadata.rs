//! Facts beside an event: what a worker may put there, what stays visible afterwards, and how much of it.

use std::sync::Arc;

use protocol::{Metadata, json_depth_of, json_length, limits};

use serde_json::Value;

use crate::refusal::Refusal;

/// Keys the engine alone writes: a worker that could would fake an error or speak for the client.
const ENGINE_KEYS: [&str; 12] = [
    "client",
    "attempt",
    "retryAt",
    "queuePosition",
    "errorCode",
    "errorMessage",
    "errorHint",
    "retryable",
    "parkedBy",
    "breaker",
    "cleanUp",
    "silentMs",
];
/// Keys that are true for a moment only; kept visible they would be wrong in the next event.
const MOMENT_KEYS: [&str; 3] = ["currentFrame", "totalFrames", "estimatedSecondsRemaining"];

/// Refuses what is too large to be repeated to each watcher, or too deep.
pub(crate) fn check(what: &str, metadata: Option<&Metadata>) -> Result<(), Refusal> {
    let bytes = metadata.map_or(0, json_bytes);
    if bytes > limits::METADATA_BYTES_MAX {
        return Err(Refusal::Invalid(format!(
            "{what} has {bytes} bytes of JSON: {} at most",
            limits::METADATA_BYTES_MAX
        )));
    }
    check_depth(what, metadata.map_or(0, json_depth_of))
}

/// Refuses what would nest too deep once an event is around it: it could be written, and never be read again.
pub(crate) fn check_depth(what: &str, depth: usize) -> Result<(), Refusal> {
    if depth > limits::JSON_DEPTH_MAX {
        let bound = limits::JSON_DEPTH_MAX;
        return Err(Refusal::Invalid(format!("{what} nests {depth} levels deep: {bound} at most")));
    }
    Ok(())
}

/// What a worker put beside its event, without the keys that are not its to write: the same map, if it wrote none of them.
pub(crate) fn of_worker(metadata: &Arc<Metadata>) -> Arc<Metadata> {
    let mut own = Arc::clone(metadata);
    let foreign = |key: &str| ENGINE_KEYS.contains(&key);
    if own.keys().any(|key| foreign(key)) {
        Arc::make_mut(&mut own).retain(|key, _| !foreign(key));
    }
    own
}

/// Keeps `new` visible from here on. What no longer fits is shown once, with its own event, and left out afterwards: a
/// talkative worker loses facts, not its run.
pub(crate) fn remember(facts: &mut Arc<Metadata>, new: &Metadata) {
    let stays = |key: &str| !ENGINE_KEYS.contains(&key) && !MOMENT_KEYS.contains(&key);
    let lasting = || new.iter().filter(|(key, _)| stays(key));
    if lasting().all(|(key, value)| facts.get(key) == Some(value)) {
        return;
    }
    let facts = Arc::make_mut(facts);
    let mut bytes = json_bytes(facts);
    for (key, value) in lasting() {
        let before = facts.get(key).map_or(0, |old| entry_bytes(key, old));
        let after = bytes - before + entry_bytes(key, value);
        if after <= limits::METADATA_BYTES_MAX {
            facts.insert(key.clone(), value.clone());
            bytes = after;
        }
    }
}

fn json_bytes(metadata: &Metadata) -> usize {
    // The braces, less the comma the last entry does not have; one byte too many when there is none.
    1 + metadata.iter().map(|(key, value)| entry_bytes(key, value)).sum::<usize>()
}

/// `"key":value,`
fn entry_bytes(key: &str, value: &Value) -> usize {
    text_bytes(&key) + text_bytes(value) + 2
}

fn text_bytes(value: &impl serde::Serialize) -> usize {
    json_length(value).unwrap_or(usize::MAX / 4)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(value: &Value) -> Metadata {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_stays() {
        let mut facts = Arc::new(metadata(&json!({"scene": "sea"})));
        remember(&mut facts, &metadata(&json!({"a": "x".repeat(9_000), "z": 1})));
        assert_eq!(*facts, metadata(&json!({"scene": "sea", "z": 1})));
        let before = Arc::clone(&facts);
        remember(&mut facts, &metadata(&json!({"z": 1, "currentFrame": 2})));
        assert!(Arc::ptr_eq(&before, &facts), "nothing new, and nothing copied");
    }

    #[test]
    fn bytes_are_counted_as_json_writes_them() {
        let facts = metadata(&json!({"a": "\"\n", "b": [1, 2.5], "ä": null}));
        assert_eq!(json_bytes(&facts), serde_json::to_vec(&facts).unwrap().len());
    }

    #[test]
    fn a_worker_cannot_write_the_keys_of_the_engine() {
        let said = metadata(&json!({"errorCode": "X", "client": {}, "scene": "sea", "currentFrame": 3}));
        let said = Arc::new(said);
        let own = of_worker(&said);
        assert_eq!(*own, metadata(&json!({"scene": "sea", "currentFrame": 3})));
        assert!(Arc::ptr_eq(&own, &of_worker(&own)), "what holds none of them is not copied");
        let mut facts = Arc::default();
        remember(&mut facts, &said);
        assert_eq!(*facts, metadata(&json!({"scene": "sea"})));
    }
}
