//! Changes and events to write, small and complete. Tests alter what they are about.

use protocol::{
    Attempt, CausalId, CommandId, Durability, Event, EventType, GenerationId, Metadata, PoolName, Sequence, State,
    Status, TenantId, Timestamp, UserId,
};

use crate::{Change, Claim, NewEvent, QueueEntry, Row};

/// An id of a kind that is checked; `text` must pass the check.
#[must_use]
pub fn id<T: std::str::FromStr<Err = protocol::InvalidId>>(text: &str) -> T {
    text.parse().expect("the test's own text")
}

/// A generation called `gen_<name>`.
#[must_use]
pub fn generation(name: &str) -> GenerationId {
    id(&format!("gen_{name}"))
}

/// The pool all samples wait for.
#[must_use]
pub fn pool() -> PoolName {
    id("default")
}

/// A progress event of `generation` with the id `event`.
#[must_use]
pub fn event(generation: &GenerationId, event: &str) -> Event {
    let mut metadata = Metadata::new();
    metadata.insert("currentFrame".into(), 7.into());
    Event {
        event_id: id(event),
        generation_id: generation.clone(),
        tenant_id: TenantId::fallback(),
        user_id: id::<UserId>("user_456"),
        causal_id: id::<CausalId>("cause"),
        sequence: Sequence(0),
        attempt: Attempt(1),
        kind: EventType::StageProgress,
        state: State::Running,
        stage: Some(id("generating_frames")),
        status: Status::GeneratingFrames,
        progress: 45.5,
        message: "Generating frames (7/48)".into(),
        metadata: metadata.into(),
        timestamp: Timestamp(1_000),
    }
}

/// Columns of a generation of `tenant` in `state`.
#[must_use]
pub fn row(tenant: &str, state: State) -> Row {
    Row {
        owner: id("user_456"),
        tenant: id(tenant),
        state,
        pipeline: "default@1".into(),
        snapshot: b"snapshot".to_vec(),
        created_at: Timestamp(1_000),
        updated_at: Timestamp(1_000),
        queue: None,
        lease: None,
        due_at: None,
    }
}

/// A place in the queue of [`pool`].
#[must_use]
pub fn entry(order: i64, cost_ms: i64) -> QueueEntry {
    QueueEntry { pool: pool(), order, not_before: Timestamp(0), cost_ms, gates: Vec::new() }
}

/// A change of `events` progress events, decided on `expected`, that leaves the columns as they are.
#[must_use]
pub fn change(generation: &GenerationId, command: &str, expected: u64, events: usize) -> Change {
    let command: CommandId = id(command);
    let new = |n| {
        let mut event = event(generation, command.event(n).as_str());
        event.message = format!("{command} {n}");
        NewEvent { event: event.into(), fact: format!("fact {command} {n}").into_bytes() }
    };
    Change {
        generation: generation.clone(),
        events: (0..events).map(new).collect(),
        command,
        expected: Sequence(expected),
        row: None,
        claim: None,
        charge: None,
        shares: None,
        letter: None,
        redrives: None,
        durability: Durability::Strict,
    }
}

/// The change that creates `generation` with one event and these columns.
#[must_use]
pub fn create(generation: &GenerationId, row: Row) -> Change {
    Change { row: Some(row), ..change(generation, "create", 0, 1) }
}

/// A claim of `key` with a digest of one repeated byte.
#[must_use]
pub fn claim(key: &str, digest: u8) -> Claim {
    Claim { scope: "default/user_456/submit".into(), key: key.into(), digest: [digest; 32] }
}
