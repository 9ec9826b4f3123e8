//! Dead letters: what failed for good, as an operator looks at it.

use std::collections::BTreeMap;

use protocol::{EventType, dead::DeadLetter};

use crate::{
    event::Event,
    state::{Failed, State},
};

/// Of a message so many bytes are compared: what comes later is rarely the cause.
const FINGERPRINT_BYTES_MAX: usize = 256;

/// The dead letter that `events` made of `after`; `None` unless it failed, and ran here.
#[must_use]
pub fn letter(after: &State, events: &[Event]) -> Option<DeadLetter> {
    let failure = after.failure.as_ref().filter(|_| events.iter().any(|event| event.show.kind == EventType::Failed))?;
    Some(DeadLetter {
        schema: DeadLetter::SCHEMA.to_owned(),
        generation_id: after.generation.clone(),
        tenant_id: after.tenant.clone(),
        user_id: after.owner.clone(),
        causal_id: after.causal.clone(),
        pipeline: after.pipeline.name.clone(),
        version: after.pipeline.version,
        stage: failure.stage.clone(),
        cause: failure.kind,
        code: failure.code.clone(),
        message: failure.message.clone(),
        hint: failure.hint.clone(),
        fingerprint: fingerprint(after, failure),
        attempts: BTreeMap::clone(&after.attempts),
        created_at: after.created_at,
        failed_at: after.updated_at,
        redriven_as: None,
        input: None,
        history: Vec::new(),
    })
}

/// The same for failures of the same cause: numbers and long words of hex digits, which differ from one failure to the
/// next, do not count.
fn fingerprint(state: &State, failure: &Failed) -> String {
    let stage = failure.stage.as_ref().map_or("", |stage| stage.as_str());
    let message = &failure.message[..failure.message.floor_char_boundary(FINGERPRINT_BYTES_MAX)];
    let words = message.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()));
    let kind = failure.kind.code();
    let parts = [state.pipeline.name.as_str(), stage, kind, failure.code.as_str()].into_iter().chain(words);
    format!("{:016x}", parts.fold(FNV_OFFSET, hash))
}

/// FNV-1a, the 64-bit form: stable over versions and machines, which the standard library's hashes do not promise.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn hash(before: u64, part: &str) -> u64 {
    // A byte no text has, so that two parts do not read as one.
    part.bytes().chain([0xff]).fold(before, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}
