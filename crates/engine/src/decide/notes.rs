//! What a worker leaves beside the stages: log lines, kept files, checkpoints, slots it no longer needs.

use std::sync::Arc;

use protocol::{
    ArtifactName, EventType, Metadata, PoolName, StageName, json_depth, json_length, limits, worker::Artifact,
};
use serde_json::{Value, json};

use crate::{
    decide::{Decision, draft::Draft},
    event::Fact,
    metadata,
    refusal::Refusal,
    show::Says,
    words,
};

/// How often a full history takes a checkpoint or a log line, in milliseconds: often enough to go on from, five hundred
/// at most in a stage of the longest default.
const PATIENCE_MS: u64 = 7_200;

/// A line worth keeping.
pub(super) fn log(mut draft: Draft<'_>, message: &str, facts: Option<&Arc<Metadata>>) -> Result<Decision, Refusal> {
    metadata::check("metadata", facts.map(|facts| &**facts))?;
    draft.check_room(draft.state().updated_at, PATIENCE_MS)?;
    let facts = facts.map(metadata::of_worker).filter(|facts| !facts.is_empty());
    let message = Some(message).filter(|message| !message.is_empty());
    let says = Says {
        message: message.map(|message| words::clip(message, limits::MESSAGE_BYTES_MAX)),
        metadata: facts.clone().unwrap_or_default(),
        attempt: None,
    };
    draft.push(EventType::Log, Fact::Logged { metadata: facts }, says);
    Ok(draft.finish())
}

/// A file was kept. Another file under the same name replaces the earlier one; the same file again is nothing new.
pub(super) fn artifact(mut draft: Draft<'_>, artifact: &Artifact) -> Result<Decision, Refusal> {
    let stage = stage_name(&draft)?;
    let kept = &draft.state().artifacts;
    let before = kept.iter().find(|(_, other)| other.name == artifact.name);
    if before.is_some_and(|(keeper, other)| *keeper == stage && other == artifact) {
        return Err(Refusal::NothingNew);
    }
    if before.is_none() && kept.len() >= limits::ARTIFACTS_MAX {
        return Err(Refusal::Invalid(format!("a generation keeps {} artifacts at most", limits::ARTIFACTS_MAX)));
    }
    if before.is_some() {
        draft.check_room(draft.state().updated_at, PATIENCE_MS)?;
    }
    let shown = json!({"name": artifact.name, "size": artifact.size, "sha256": artifact.sha256});
    let says = Says::default().fact("artifact", shown);
    draft.push(EventType::Artifact, Fact::Kept { stage, artifact: artifact.clone() }, says);
    Ok(draft.finish())
}

/// A point to go on from. Only the latest counts.
pub(super) fn checkpoint(
    mut draft: Draft<'_>,
    artifact: Option<&ArtifactName>,
    data: Option<&Value>,
) -> Result<Decision, Refusal> {
    let stage = stage_name(&draft)?;
    let data = data.filter(|data| !data.is_null());
    if artifact.is_none() && data.is_none() {
        return Err(Refusal::Invalid("a checkpoint needs an artifact or data".to_owned()));
    }
    if let Some(name) = artifact {
        check_kept(&draft, "the checkpoint", name.as_str())?;
    }
    let bytes = data.map_or(0, |data| json_length(data).unwrap_or(usize::MAX));
    if bytes > limits::CHECKPOINT_BYTES_MAX {
        let bound = limits::CHECKPOINT_BYTES_MAX;
        return Err(Refusal::Invalid(format!("a checkpoint of {bytes} bytes: {bound} at most, or name an artifact")));
    }
    metadata::check_depth("data", data.map_or(0, json_depth))?;
    draft.check_room(draft.state().updated_at, PATIENCE_MS)?;
    let fact = Fact::Checkpointed { stage, artifact: artifact.cloned(), data: data.cloned() };
    draft.push(EventType::Checkpoint, fact, Says::default());
    Ok(draft.finish())
}

/// A slot is free although the run goes on.
pub(super) fn release(mut draft: Draft<'_>, pool: &PoolName) -> Result<Decision, Refusal> {
    if draft.state().holder.as_ref().is_some_and(|holder| holder.released.contains(pool)) {
        return Err(Refusal::NothingNew);
    }
    if draft.state().pool_here() != Some(pool) {
        return Err(Refusal::Invalid(format!("the run holds no slot of pool {pool}")));
    }
    let says = Says::default().fact("released", pool.as_str());
    draft.push(EventType::Log, Fact::Released { pool: pool.clone() }, says);
    Ok(draft.finish())
}

/// Refuses to name a file that was never announced: it would become a link to nothing.
pub(super) fn check_kept(draft: &Draft<'_>, what: &str, name: &str) -> Result<(), Refusal> {
    if draft.state().artifacts.iter().any(|(_, artifact)| artifact.name.as_str() == name) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!("{what} names {name:?}, which was not announced: upload and announce it first")))
}

fn stage_name(draft: &Draft<'_>) -> Result<StageName, Refusal> {
    let lost = Refusal::LeaseLost { current: draft.state().fence };
    draft.state().stage_now().cloned().ok_or(lost)
}
