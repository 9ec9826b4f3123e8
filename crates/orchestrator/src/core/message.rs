//! What a worker says, as commands of the engine.

use std::sync::Arc;

use engine::Action;
use protocol::{
    CommandId, GenerationId, LeaseId, limits,
    worker::{RunEvent, WorkerMessage},
};

/// A durable message of a worker: where it belongs, its id, and what it asks.
pub(super) struct Addressed {
    pub(super) generation: GenerationId,
    pub(super) event_id: CommandId,
    pub(super) action: Action,
}

/// Why a message cannot be addressed.
pub(super) enum Unaddressed {
    /// It is not a durable message; somebody else handles it.
    NotDurable(Box<WorkerMessage>),
    /// Its lease names no generation.
    NoSuchLease(CommandId),
    /// Its checkpoint is over the limit.
    TooLarge(CommandId),
}

/// Reads a durable message.
pub(super) fn address(message: Box<WorkerMessage>) -> Result<Addressed, Unaddressed> {
    let (lease, event_id) = match &*message {
        WorkerMessage::Event { lease, event_id, .. }
        | WorkerMessage::Checkpoint { lease, event_id, .. }
        | WorkerMessage::Artifact { lease, event_id, .. }
        | WorkerMessage::Release { lease, event_id, .. }
        | WorkerMessage::Done { lease, event_id, .. }
        | WorkerMessage::Fail { lease, event_id, .. }
        | WorkerMessage::HandBack { lease, event_id } => (lease.clone(), event_id.clone()),
        _ => return Err(Unaddressed::NotDurable(message)),
    };
    let Some((fence, generation)) = lease.address() else { return Err(Unaddressed::NoSuchLease(event_id)) };
    if checkpoint_bytes(&message) > limits::CHECKPOINT_BYTES_MAX {
        return Err(Unaddressed::TooLarge(event_id));
    }
    let Some(action) = action(*message, lease, fence) else { return Err(Unaddressed::NoSuchLease(event_id)) };
    Ok(Addressed { generation, event_id, action })
}

fn checkpoint_bytes(message: &WorkerMessage) -> usize {
    match message {
        WorkerMessage::Checkpoint { data: Some(data), .. } => protocol::json_length(data).unwrap_or(0),
        _ => 0,
    }
}

fn action(message: WorkerMessage, lease: LeaseId, fence: protocol::Fence) -> Option<Action> {
    Some(match message {
        WorkerMessage::Event { what: RunEvent::StageCompleted { stage, outputs }, .. } => {
            Action::StageCompleted { lease, fence, stage, outputs }
        }
        WorkerMessage::Event { what: RunEvent::Log { message, metadata }, .. } => {
            Action::Log { lease, fence, message, metadata: metadata.map(Arc::new) }
        }
        WorkerMessage::Checkpoint { artifact, data, .. } => Action::Checkpoint { lease, fence, artifact, data },
        WorkerMessage::Artifact { artifact, .. } => Action::Artifact { lease, fence, artifact },
        WorkerMessage::Release { pool, .. } => Action::Release { lease, fence, pool },
        WorkerMessage::Done { outputs, .. } => Action::Done { lease, fence, outputs: outputs.into() },
        WorkerMessage::Fail { kind, code, message, .. } => Action::Fail { lease, fence, kind, code, message },
        WorkerMessage::HandBack { .. } => Action::HandBack { lease, fence },
        _ => return None,
    })
}
