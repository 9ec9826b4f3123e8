//! Dead letters: what an endpoint never got. Each function runs inside one transaction.

use protocol::{GenerationId, Timestamp};
use rusqlite::{Connection, params};

use super::DeadLetter;
use crate::sqlite::{bound, id, integer, sequence, time, whole};

/// Dead letters kept of one endpoint; the oldest make room. A week of a product with a film a minute.
pub const DEAD_LETTERS_PER_ENDPOINT_MAX: u64 = 10_000;

/// Which dead letters of an endpoint are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those with these numbers.
    Ids(Vec<u64>),
    /// Those of one generation.
    Of(GenerationId),
    /// All of them.
    All,
}

pub(super) fn bury(
    connection: &Connection,
    endpoint: &str,
    generation: &GenerationId,
    now: Timestamp,
    error: &str,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "INSERT INTO letter(endpoint, generation, first, last, failures, failing_since, buried_at, error)
             SELECT endpoint, generation, sent + 1, target, failures + 1, ifnull(failing_since, ?3), ?3, ?4
             FROM due WHERE endpoint = ?1 AND generation = ?2",
        )?
        .execute(params![endpoint, generation.as_str(), integer(now.0), error])?;
    connection
        .prepare_cached("DELETE FROM due WHERE endpoint = ?1 AND generation = ?2")?
        .execute(params![endpoint, generation.as_str()])?;
    make_room(connection, endpoint)
}

pub(super) fn disable(connection: &Connection, endpoint: &str, now: Timestamp, why: &str) -> rusqlite::Result<bool> {
    let known = connection.execute(
        "UPDATE endpoint SET disabled_at = ifnull(disabled_at, ?2), disabled_why = ifnull(disabled_why, ?3)
         WHERE name = ?1",
        params![endpoint, integer(now.0), why],
    )?;
    connection.execute(
        "INSERT INTO letter(endpoint, generation, first, last, failures, failing_since, buried_at, error)
         SELECT endpoint, generation, sent + 1, target, failures, ifnull(failing_since, ?2), ?2, ?3
         FROM due WHERE endpoint = ?1",
        params![endpoint, integer(now.0), why],
    )?;
    connection.execute("DELETE FROM due WHERE endpoint = ?1", [endpoint])?;
    make_room(connection, endpoint)?;
    Ok(known > 0)
}

fn make_room(connection: &Connection, endpoint: &str) -> rusqlite::Result<u64> {
    let removed = connection
        .prepare_cached(
            "DELETE FROM letter WHERE endpoint = ?1 AND id <=
                 (SELECT id FROM letter WHERE endpoint = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![endpoint, integer(DEAD_LETTERS_PER_ENDPOINT_MAX)])?;
    Ok(removed as u64)
}

pub(super) fn list(
    connection: &Connection,
    endpoint: &str,
    before: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    connection
        .prepare_cached(
            "SELECT id, generation, first, last, failures, failing_since, buried_at, error FROM letter
             WHERE endpoint = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )?
        .query_map(params![endpoint, integer(before.unwrap_or(u64::MAX)), bound(limit)], |row| {
            Ok(DeadLetter {
                id: whole(row, 0)?,
                generation: id(row, 1)?,
                first: sequence(row, 2)?,
                last: sequence(row, 3)?,
                failures: row.get(4)?,
                failing_since: time(row, 5)?,
                buried_at: time(row, 6)?,
                error: row.get(7)?,
            })
        })?
        .collect()
}

/// The letters meant, in `chosen`, a table of this transaction.
fn choose(connection: &Connection, endpoint: &str, which: &Which) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS chosen(id INTEGER PRIMARY KEY) WITHOUT ROWID; DELETE FROM chosen;",
    )?;
    match which {
        Which::Ids(ids) => {
            let mut insert = connection
                .prepare_cached("INSERT OR IGNORE INTO chosen SELECT id FROM letter WHERE endpoint = ?1 AND id = ?2")?;
            for id in ids {
                insert.execute(params![endpoint, integer(*id)])?;
            }
            Ok(())
        }
        Which::Of(generation) => connection
            .prepare_cached("INSERT INTO chosen SELECT id FROM letter WHERE endpoint = ?1 AND generation = ?2")?
            .execute(params![endpoint, generation.as_str()])
            .map(drop),
        Which::All => connection
            .prepare_cached("INSERT INTO chosen SELECT id FROM letter WHERE endpoint = ?1")?
            .execute([endpoint])
            .map(drop),
    }
}

/// Where later events of the generation wait already, or were sent meanwhile, they follow again behind the letter: the
/// order is kept, and a receiver knows a repeat by its id.
pub(super) fn redrive(connection: &Connection, endpoint: &str, which: &Which) -> rusqlite::Result<u64> {
    choose(connection, endpoint, which)?;
    connection
        .prepare_cached(
            "INSERT INTO due(endpoint, generation, sent, target)
             SELECT endpoint, generation, min(first) - 1, max(last) FROM letter
             WHERE id IN (SELECT id FROM chosen) GROUP BY endpoint, generation
             ON CONFLICT(endpoint, generation) DO UPDATE SET sent = min(sent, excluded.sent),
                 target = max(target, excluded.target), failures = 0, failing_since = NULL, next_at = 0",
        )?
        .execute([])?;
    forget(connection)
}

pub(super) fn purge(connection: &Connection, endpoint: &str, which: &Which) -> rusqlite::Result<u64> {
    choose(connection, endpoint, which)?;
    forget(connection)
}

fn forget(connection: &Connection) -> rusqlite::Result<u64> {
    let removed = connection.prepare_cached("DELETE FROM letter WHERE id IN (SELECT id FROM chosen)")?.execute([])?;
    Ok(removed as u64)
}
