//! What is due: found in the log, sent, postponed, settled. Each function runs inside one transaction.

use protocol::{GenerationId, Sequence, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Due, Found, Standing};
use crate::{
    LogPosition,
    sqlite::{bound, id, integer, sequence, time, whole},
};

pub(super) fn register(
    connection: &Connection,
    endpoints: &[String],
    head: LogPosition,
) -> rusqlite::Result<Vec<String>> {
    let known: Vec<String> = connection
        .prepare("SELECT name FROM endpoint ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    // With nobody to hear of it, nothing was read from the log; the first endpoint does not begin at its beginning.
    if known.is_empty() {
        connection.execute("UPDATE meta SET value = ?1 WHERE key = 'cursor'", [integer(head.0)])?;
    }
    for name in endpoints.iter().filter(|name| !known.contains(name)) {
        connection.execute("INSERT INTO endpoint(name, since) VALUES (?1, ?2)", params![name, integer(head.0)])?;
    }
    let forgotten: Vec<String> = known.into_iter().filter(|name| !endpoints.contains(name)).collect();
    for name in &forgotten {
        connection.execute("DELETE FROM endpoint WHERE name = ?1", [name])?;
    }
    Ok(forgotten)
}

pub(super) fn cursor(connection: &Connection) -> rusqlite::Result<LogPosition> {
    connection.query_row("SELECT value FROM meta WHERE key = 'cursor'", [], |row| whole(row, 0).map(LogPosition))
}

pub(super) fn collect(connection: &Connection, cursor: LogPosition, found: &[Found]) -> rusqlite::Result<()> {
    let mut note = connection.prepare_cached(
        "INSERT INTO due(endpoint, generation, sent, target)
         SELECT name, ?2, ?3 - 1, ?3 FROM endpoint WHERE name = ?1 AND disabled_at IS NULL AND since < ?4
         ON CONFLICT(endpoint, generation) DO UPDATE SET target = max(target, excluded.target)",
    )?;
    for Found { endpoint, generation, sequence, position } in found {
        note.execute(params![endpoint, generation.as_str(), integer(sequence.0), integer(position.0)])?;
    }
    connection.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'cursor'")?.execute([integer(cursor.0)]).map(drop)
}

pub(super) fn due(
    connection: &Connection,
    endpoint: &str,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Due>, Option<Timestamp>)> {
    let dues = connection
        .prepare_cached(
            "SELECT generation, sent, target, failures, failing_since FROM due
             WHERE endpoint = ?1 AND next_at <= ?2 ORDER BY next_at, generation LIMIT ?3",
        )?
        .query_map(params![endpoint, integer(now.0), bound(limit)], |row| {
            Ok(Due {
                generation: id(row, 0)?,
                sent: sequence(row, 1)?,
                target: sequence(row, 2)?,
                failures: row.get(3)?,
                failing_since: row.get::<_, Option<i64>>(4)?.map(|at| Timestamp(at.unsigned_abs())),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let next = connection
        .prepare_cached("SELECT min(next_at) FROM due WHERE endpoint = ?1 AND next_at > ?2")?
        .query_row(params![endpoint, integer(now.0)], |row| row.get::<_, Option<i64>>(0))?;
    Ok((dues, next.map(|at| Timestamp(at.unsigned_abs()))))
}

pub(super) fn advance(
    connection: &Connection,
    endpoint: &str,
    generation: &GenerationId,
    from: Sequence,
    sent: Sequence,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "UPDATE due SET sent = ?4, failures = 0, failing_since = NULL, next_at = 0
             WHERE endpoint = ?1 AND generation = ?2 AND sent = ?3",
        )?
        .execute(params![endpoint, generation.as_str(), integer(from.0), integer(sent.0)])
        .map(|updated| updated > 0)
}

pub(super) fn settle(
    connection: &Connection,
    endpoint: &str,
    generation: &GenerationId,
    from: Sequence,
    sent: Sequence,
) -> rusqlite::Result<Option<Sequence>> {
    let updated = connection
        .prepare_cached("UPDATE due SET sent = ?4 WHERE endpoint = ?1 AND generation = ?2 AND sent = ?3")?
        .execute(params![endpoint, generation.as_str(), integer(from.0), integer(sent.0)])?;
    if updated == 0 {
        return Ok(None);
    }
    connection
        .prepare_cached("DELETE FROM due WHERE endpoint = ?1 AND generation = ?2 AND sent >= target")?
        .execute(params![endpoint, generation.as_str()])?;
    connection
        .prepare_cached("SELECT target FROM due WHERE endpoint = ?1 AND generation = ?2")?
        .query_row(params![endpoint, generation.as_str()], |row| sequence(row, 0))
        .optional()
}

pub(super) fn postpone(
    connection: &Connection,
    endpoint: &str,
    generation: &GenerationId,
    now: Timestamp,
    next_at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE due SET failures = failures + 1, failing_since = ifnull(failing_since, ?3), next_at = ?4
             WHERE endpoint = ?1 AND generation = ?2",
        )?
        .execute(params![endpoint, generation.as_str(), integer(now.0), integer(next_at.0)])
        .map(drop)
}

pub(super) fn enable(connection: &Connection, endpoint: &str, head: LogPosition) -> rusqlite::Result<bool> {
    let enabled = connection.execute(
        "UPDATE endpoint SET since = iif(disabled_at IS NULL, since, ?2), disabled_at = NULL, disabled_why = NULL
         WHERE name = ?1",
        params![endpoint, integer(head.0)],
    )?;
    Ok(enabled > 0)
}

pub(super) fn standings(connection: &Connection) -> rusqlite::Result<Vec<Standing>> {
    connection
        .prepare_cached(
            "SELECT name, since, disabled_at, disabled_why,
                    (SELECT count(*) FROM due WHERE endpoint = name),
                    (SELECT count(*) FROM due WHERE endpoint = name AND failures > 0),
                    (SELECT min(next_at) FROM due WHERE endpoint = name),
                    (SELECT count(*) FROM letter WHERE endpoint = name)
             FROM endpoint ORDER BY name",
        )?
        .query_map([], |row| {
            let disabled_at: Option<i64> = row.get(2)?;
            let why: Option<String> = row.get(3)?;
            let next_at: Option<i64> = row.get(6)?;
            Ok(Standing {
                endpoint: row.get(0)?,
                since: LogPosition(whole(row, 1)?),
                disabled: match disabled_at {
                    Some(_) => Some((time(row, 2)?, why.unwrap_or_default())),
                    None => None,
                },
                due: whole(row, 4)?,
                failing: whole(row, 5)?,
                next_at: next_at.map(|at| Timestamp(at.unsigned_abs())),
                dead_letters: whole(row, 7)?,
            })
        })?
        .collect()
}
