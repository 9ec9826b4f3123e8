//! How values lie in columns: the body of an event, the columns of a generation, times and sequences as integers.

use protocol::{
    Attempt, CausalId, Event, EventId, EventType, GenerationId, Metadata, Sequence, StageName, State, Status, TenantId,
    Timestamp, UserId, json_of,
};
use rusqlite::{Row as SqlRow, types::Type};
use serde::Serialize;

use crate::{Lease, Listed, QueueEntry, Row, StoreError, StoredEvent};

/// An event as it lies in the log: without its sequence, which the store assigns after the body is encoded.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    event_id: &'a EventId,
    generation_id: &'a GenerationId,
    tenant_id: &'a TenantId,
    user_id: &'a UserId,
    causal_id: &'a CausalId,
    attempt: Attempt,
    #[serde(rename = "type")]
    kind: EventType,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: &'a Option<StageName>,
    status: Status,
    progress: f64,
    message: &'a str,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: &'a Metadata,
    timestamp: Timestamp,
}

/// The bytes of an event for its `body` column.
pub(super) fn encode_body(event: &Event) -> Vec<u8> {
    // Taken apart by name, so that a new field cannot be forgotten here.
    let Event {
        event_id,
        generation_id,
        tenant_id,
        user_id,
        causal_id,
        sequence: _,
        attempt,
        kind,
        state,
        stage,
        status,
        progress,
        message,
        metadata,
        timestamp,
    } = event;
    let bytes = json_of(&Body {
        event_id,
        generation_id,
        tenant_id,
        user_id,
        causal_id,
        attempt: *attempt,
        kind: *kind,
        state: *state,
        stage,
        status: *status,
        progress: *progress,
        message,
        metadata,
        timestamp: *timestamp,
    })
    .expect("an event is text and numbers under names");
    debug_assert!(decode_body(0, &bytes, event.sequence).is_ok(), "what is written can be read: {event:?}");
    bytes
}

/// The event of a `body` column, with the `sequence` of its row.
fn decode_body(column: usize, bytes: &[u8], sequence: Sequence) -> rusqlite::Result<Event> {
    let mut event: Event = serde_json::from_slice(bytes).map_err(|error| damaged(column, Type::Blob, error))?;
    event.sequence = sequence;
    Ok(event)
}

/// An event from the columns `sequence, body` at `first`.
pub(super) fn event(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Event> {
    decode_body(first + 1, blob(row, first + 1)?, sequence(row, first)?)
}

/// An event from the columns `sequence, body, fact`.
pub(super) fn stored_event(row: &SqlRow<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent { event: event(row, 0)?.into(), fact: row.get(2)? })
}

/// What [`columns`] reads, of a `generation` called `g`.
pub(super) const COLUMNS: &str = "g.id, g.public_id, g.owner, g.tenant, g.state, g.pipeline, g.created_at, \
     g.updated_at, g.pool, g.queue_order, g.not_before, g.cost_ms, g.gates, g.lease, g.fence, g.worker, \
     g.node, g.due_at, g.snapshot_sequence, g.snapshot";

/// How many they are.
pub(super) const COLUMNS_COUNT: usize = 20;

/// A generation's key inside this file, its id, its columns, and up to which event its snapshot holds.
pub(super) struct Columns {
    pub(super) id: i64,
    pub(super) generation: GenerationId,
    pub(super) row: Row,
    pub(super) sequence: Sequence,
}

/// Reads [`COLUMNS`].
pub(super) fn columns(row: &SqlRow<'_>) -> rusqlite::Result<Columns> {
    let generation: GenerationId = id(row, 1)?;
    Ok(Columns {
        id: row.get(0)?,
        row: Row {
            owner: id(row, 2)?,
            tenant: id(row, 3)?,
            state: state(row, 4)?,
            pipeline: row.get(5)?,
            created_at: time(row, 6)?,
            updated_at: time(row, 7)?,
            queue: queue_entry(row, 8)?,
            lease: lease(row, 13, &generation)?,
            due_at: optional_time(row, 17)?,
            snapshot: row.get(19)?,
        },
        sequence: sequence(row, 18)?,
        generation,
    })
}

/// A listed generation: [`COLUMNS`], then `sequence, body` of its newest event.
pub(super) fn listed(row: &SqlRow<'_>) -> rusqlite::Result<(i64, Listed)> {
    let Columns { id, generation, row: its, .. } = columns(row)?;
    Ok((id, Listed { generation, row: its, latest: event(row, COLUMNS_COUNT)? }))
}

/// A place in the queue from `pool, queue_order, not_before, cost_ms, gates` at `first`.
pub(super) fn queue_entry(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Option<QueueEntry>> {
    if row.get_ref(first)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    Ok(Some(QueueEntry {
        pool: id(row, first)?,
        order: row.get(first + 1)?,
        not_before: time(row, first + 2)?,
        cost_ms: row.get(first + 3)?,
        gates: read_gates(row.get_ref(first + 4)?.as_str_or_null()?),
    }))
}

/// A lease from `lease, fence, worker, node` at `first`.
pub(super) fn lease(row: &SqlRow<'_>, first: usize, generation: &GenerationId) -> rusqlite::Result<Option<Lease>> {
    if row.get_ref(first)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    Ok(Some(Lease {
        generation: generation.clone(),
        lease: id(row, first)?,
        fence: protocol::Fence(row.get(first + 1)?),
        worker: row.get(first + 2)?,
        node: row.get(first + 3)?,
    }))
}

/// Gates lie one a line: their names have no control characters.
pub(super) fn write_gates(gates: &[String]) -> Option<String> {
    (!gates.is_empty()).then(|| gates.join("\n"))
}

fn read_gates(text: Option<&str>) -> Vec<String> {
    text.map(|text| text.split('\n').map(str::to_owned).collect()).unwrap_or_default()
}

/// A time from an integer column that may be empty.
pub(super) fn optional_time(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null { Ok(None) } else { time(row, column).map(Some) }
}

/// An id from a text column.
pub(crate) fn id<T>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err = protocol::InvalidId>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| damaged(column, Type::Text, error))
}

/// A sequence from an integer column.
pub(crate) fn sequence(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Sequence> {
    whole(row, column).map(Sequence)
}

/// A time from an integer column.
pub(crate) fn time(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    whole(row, column).map(Timestamp)
}

/// A number that is never below zero from an integer column.
pub(crate) fn whole(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A number for an integer column. What no column holds (292 million years of milliseconds) becomes the largest it can.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A bound for `LIMIT`.
pub(crate) fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn blob<'a>(row: &'a SqlRow<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

fn state(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<State> {
    const ALL: [State; 6] =
        [State::Queued, State::Running, State::Cancelling, State::Complete, State::Failed, State::Cancelled];
    let text = row.get_ref(column)?.as_str()?;
    ALL.into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| damaged(column, Type::Text, format!("no state is called {text}")))
}

fn damaged(
    column: usize,
    kind: Type,
    error: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
}

/// Is there no room left? SQLite says so in two ways: when a write of its files fails, and when the shared index
/// beside the log cannot grow.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _)
        if code.code == rusqlite::ErrorCode::DiskFull
            || code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Unavailable(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::conformance::sample;

    #[test]
    fn a_body_is_the_event_without_its_sequence() {
        let event = sample::event(&sample::generation("a"), "c.0");
        let mut whole = serde_json::to_value(&event).unwrap();
        whole.as_object_mut().unwrap().remove("sequence").unwrap();
        let body: serde_json::Value = serde_json::from_slice(&encode_body(&event)).unwrap();
        assert_eq!(body, whole);
    }

    proptest! {
        #[test]
        fn an_event_read_back_is_the_event_that_was_written(progress in 0.0..=100.0_f64, extra in -1e9..1e9_f64) {
            let mut event = sample::event(&sample::generation("a"), "c.0");
            event.progress = progress;
            Arc::make_mut(&mut event.metadata).insert("extra".into(), extra.into());
            let bytes = encode_body(&event);
            event.sequence = Sequence(7);
            prop_assert_eq!(decode_body(0, &bytes, Sequence(7)).unwrap(), event);
        }
    }
}
