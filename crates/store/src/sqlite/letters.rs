//! Dead letters, and what operators decided: rows beside the generations, written and read here.

use protocol::{
    GenerationId,
    dead::{DeadLetter, DeadLetterFilter, DeadLetterGroup},
};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::row::{bound, id, integer, time, whole};
use crate::{LetterPage, StoreError};

/// Keeps the letter of the generation `key`.
pub(super) fn keep(connection: &Connection, key: i64, letter: &DeadLetter) -> rusqlite::Result<()> {
    let body = serde_json::to_vec(letter).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO letter(generation, tenant, owner, pipeline, stage, cause, code, fingerprint,
                 failed_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            key,
            letter.tenant_id.as_str(),
            letter.user_id.as_str(),
            letter.pipeline.as_str(),
            letter.stage.as_ref().map(|stage| stage.as_str()),
            cause(letter.cause),
            letter.code,
            letter.fingerprint,
            integer(letter.failed_at.0),
            body,
        ])
        .map(drop)
}

fn cause(kind: protocol::worker::FailureKind) -> String {
    serde_json::to_value(kind).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Notes what was made of the letter of `generation`.
pub(super) fn redriven(connection: &Connection, generation: &GenerationId, by: &GenerationId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE letter SET redriven_as = ?2
             WHERE generation = (SELECT id FROM generation WHERE public_id = ?1)",
        )?
        .execute([generation.as_str(), by.as_str()])
        .map(drop)
}

/// Conditions of a filter, with the values of their question marks in order.
fn conditions(filter: &DeadLetterFilter) -> (String, Vec<Box<dyn ToSql>>) {
    let DeadLetterFilter {
        generation,
        tenant,
        owner,
        pipeline,
        stage,
        cause: kind,
        code,
        fingerprint,
        before,
        redriven,
    } = filter;
    let text = |text: &str| Some(Box::new(text.to_owned()) as Box<dyn ToSql>);
    let pairs = [
        (
            "l.generation = (SELECT id FROM generation WHERE public_id = ?)",
            generation.as_ref().and_then(|id| text(id.as_str())),
        ),
        ("l.tenant = ?", tenant.as_ref().and_then(|id| text(id.as_str()))),
        ("l.owner = ?", owner.as_ref().and_then(|id| text(id.as_str()))),
        ("l.pipeline = ?", pipeline.as_ref().and_then(|id| text(id.as_str()))),
        ("l.stage = ?", stage.as_ref().and_then(|id| text(id.as_str()))),
        ("l.cause = ?", kind.and_then(|kind| text(&cause(kind)))),
        ("l.code = ?", code.as_ref().and_then(|code| text(code))),
        ("l.fingerprint = ?", fingerprint.as_ref().and_then(|print| text(print))),
        ("l.failed_at < ?", before.map(|at| Box::new(integer(at.0)) as Box<dyn ToSql>)),
        ("(l.redriven_as IS NOT NULL) = ?", redriven.map(|truth| Box::new(truth) as Box<dyn ToSql>)),
    ];
    let (texts, values): (Vec<_>, Vec<_>) =
        pairs.into_iter().filter_map(|(text, value)| value.map(|value| (text, value))).unzip();
    (texts.iter().map(|text| format!(" AND {text}")).collect(), values)
}

/// Reads `redriven_as, body`.
fn read(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<DeadLetter> {
    let bytes = row.get_ref(first + 1)?.as_blob()?;
    let mut letter: DeadLetter = serde_json::from_slice(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(first + 1, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    if row.get_ref(first)? != rusqlite::types::ValueRef::Null {
        letter.redriven_as = Some(id(row, first)?);
    }
    Ok(letter)
}

/// See [`crate::History::letters`].
pub(super) fn page(
    connection: &Connection,
    filter: &DeadLetterFilter,
    cursor: Option<u64>,
    limit: usize,
) -> rusqlite::Result<LetterPage> {
    let (conditions, mut values) = conditions(filter);
    values.insert(0, Box::new(cursor.map_or(i64::MAX, integer)));
    values.push(Box::new(bound(limit.saturating_add(1))));
    let mut rows: Vec<(i64, DeadLetter)> = connection
        .prepare_cached(&format!(
            "SELECT l.generation, l.redriven_as, l.body FROM letter l
             WHERE l.generation < ?{conditions} ORDER BY l.generation DESC LIMIT ?"
        ))?
        .query_map(params_from_iter(values), |row| Ok((row.get(0)?, read(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(key, _)| key.unsigned_abs());
    Ok(LetterPage { letters: rows.into_iter().map(|(_, letter)| letter).collect(), next })
}

/// See [`crate::History::letter`].
pub(super) fn one(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Option<DeadLetter>> {
    connection
        .prepare_cached(
            "SELECT redriven_as, body FROM letter
             WHERE generation = (SELECT id FROM generation WHERE public_id = ?1)",
        )?
        .query_row([generation.as_str()], |row| read(row, 0))
        .optional()
}

/// See [`crate::History::letter_groups`]. SQLite takes the other columns of a group from the row that has the `max`.
pub(super) fn groups(
    connection: &Connection,
    filter: &DeadLetterFilter,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetterGroup>> {
    let (conditions, mut values) = conditions(filter);
    values.push(Box::new(bound(limit)));
    connection
        .prepare_cached(&format!(
            "SELECT count(*), min(l.failed_at), max(l.failed_at), l.redriven_as, l.body FROM letter l
             WHERE true{conditions} GROUP BY l.fingerprint ORDER BY count(*) DESC, l.fingerprint LIMIT ?"
        ))?
        .query_map(params_from_iter(values), |row| {
            let newest = read(row, 3)?;
            Ok(DeadLetterGroup {
                fingerprint: newest.fingerprint,
                count: whole(row, 0)?,
                first_at: time(row, 1)?,
                last_at: time(row, 2)?,
                pipeline: newest.pipeline,
                stage: newest.stage,
                code: newest.code,
                message: newest.message,
                generation_id: newest.generation_id,
            })
        })?
        .collect()
}

/// See [`crate::Store::purge_letters`].
pub(super) fn purge(connection: &Connection, filter: &DeadLetterFilter, limit: usize) -> Result<u64, StoreError> {
    let (conditions, mut values) = conditions(filter);
    values.push(Box::new(bound(limit)));
    let purged = connection
        .prepare_cached(&format!(
            "DELETE FROM letter WHERE generation IN
                 (SELECT l.generation FROM letter l WHERE true{conditions} ORDER BY l.generation LIMIT ?)"
        ))?
        .execute(params_from_iter(values))?;
    Ok(purged as u64)
}

/// See [`crate::Store::put_switch`].
pub(super) fn put_switch(connection: &Connection, name: &str, value: Option<&str>) -> Result<(), StoreError> {
    match value {
        Some(value) => connection
            .prepare_cached(
                "INSERT INTO switch(name, value) VALUES (?1, ?2)
                 ON CONFLICT(name) DO UPDATE SET value = excluded.value",
            )?
            .execute([name, value])?,
        None => connection.prepare_cached("DELETE FROM switch WHERE name = ?1")?.execute([name])?,
    };
    Ok(())
}

/// See [`crate::Store::switches`].
pub(super) fn switches(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection.prepare_cached("SELECT name, value FROM switch ORDER BY name")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
