//! Reads: one statement each where it can be, so that a page is one consistent look and no reader holds the log back.

use protocol::{ArtifactName, CommandId, FileId, GenerationId, Sequence, Timestamp};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::row::{
    COLUMNS, Columns, bound, columns, event, id, integer, lease, listed, sequence, stored_event, time, whole,
};
use crate::{Artifact, Claim, Filter, Latest, Lease, ListPage, Listed, Loaded, StoredEvent, Upload};

/// Joins the newest event to a `generation` called `g`.
const NEWEST: &str = "JOIN event e ON e.generation = g.id
    AND e.sequence = (SELECT max(sequence) FROM event WHERE generation = g.id)";

/// What is being removed in steps has given its name away.
const NOT_REMOVED: &str = "g.public_id < '~'";

pub(super) fn events_after(
    connection: &Connection,
    generation: &GenerationId,
    after: Sequence,
    limit: usize,
) -> rusqlite::Result<Vec<StoredEvent>> {
    connection
        .prepare_cached(
            "SELECT sequence, body, fact FROM event
             WHERE generation = (SELECT id FROM generation WHERE public_id = ?1) AND sequence > ?2
             ORDER BY sequence LIMIT ?3",
        )?
        .query_map(params![generation.as_str(), integer(after.0), bound(limit)], stored_event)?
        .collect()
}

pub(super) fn latest(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Option<Latest>> {
    connection
        .prepare_cached(
            "SELECT e.sequence, e.body, (SELECT min(sequence) FROM event WHERE generation = e.generation)
             FROM event e WHERE e.generation = (SELECT id FROM generation WHERE public_id = ?1)
             ORDER BY e.sequence DESC LIMIT 1",
        )?
        .query_row([generation.as_str()], |row| Ok(Latest { event: event(row, 0)?, oldest: sequence(row, 2)? }))
        .optional()
}

pub(super) fn latest_of(
    connection: &Connection,
    generations: &[GenerationId],
) -> rusqlite::Result<Vec<Option<Latest>>> {
    // In one transaction, which takes the file's lock once and not for each.
    let reading = connection.unchecked_transaction()?;
    let found = generations.iter().map(|generation| latest(&reading, generation)).collect::<rusqlite::Result<_>>()?;
    reading.commit()?;
    Ok(found)
}

pub(super) fn heads(
    connection: &Connection,
    generations: &[GenerationId],
) -> rusqlite::Result<Vec<(GenerationId, Sequence)>> {
    let mut head = connection.prepare_cached(
        "SELECT sequence FROM event WHERE generation = (SELECT id FROM generation WHERE public_id = ?1)
         ORDER BY sequence DESC LIMIT 1",
    )?;
    let mut heads = Vec::new();
    for generation in generations {
        let found = head.query_row([generation.as_str()], |row| sequence(row, 0)).optional()?;
        heads.extend(found.map(|head| (generation.clone(), head)));
    }
    Ok(heads)
}

pub(super) fn get(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Option<Listed>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, e.sequence, e.body FROM generation g {NEWEST} WHERE g.public_id = ?1"
        ))?
        .query_row([generation.as_str()], |row| listed(row).map(|(_, listed)| listed))
        .optional()
}

/// One more row than asked for tells whether there is a next page.
pub(super) fn list(
    connection: &Connection,
    filter: &Filter,
    cursor: Option<u64>,
    limit: usize,
) -> rusqlite::Result<ListPage> {
    let (mut conditions, mut values) = conditions(filter);
    conditions.push(NOT_REMOVED);
    if let Some(cursor) = cursor {
        conditions.push("g.id < ?");
        values.push(Box::new(integer(cursor)));
    }
    values.push(Box::new(bound(limit.saturating_add(1))));
    let mut rows: Vec<(i64, Listed)> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, e.sequence, e.body FROM generation g {NEWEST} {} ORDER BY g.id DESC LIMIT ?",
            clause(&conditions)
        ))?
        .query_map(params_from_iter(values), listed)?
        .collect::<rusqlite::Result<_>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(id, _)| id.unsigned_abs());
    Ok(ListPage { rows: rows.into_iter().map(|(_, listed)| listed).collect(), next })
}

pub(super) fn count(connection: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<usize> {
    let (conditions, mut values) = conditions(filter);
    values.push(Box::new(bound(limit)));
    connection
        .prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 FROM generation g {} LIMIT ?)", clause(&conditions)))?
        .query_row(params_from_iter(values), |row| whole(row, 0))
        .map(|counted| usize::try_from(counted).unwrap_or(usize::MAX))
}

/// The conditions of a filter with the values of their question marks, in order.
fn conditions(filter: &Filter) -> (Vec<&'static str>, Vec<Box<dyn ToSql>>) {
    let Filter { owner, tenant, state, unfinished } = filter;
    let mut conditions = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(owner) = owner {
        conditions.push("g.owner = ?");
        values.push(Box::new(owner.as_str().to_owned()));
    }
    if let Some(tenant) = tenant {
        conditions.push("g.tenant = ?");
        values.push(Box::new(tenant.as_str().to_owned()));
    }
    if let Some(state) = state {
        conditions.push("g.state = ?");
        values.push(Box::new(state.as_str()));
    }
    if *unfinished {
        conditions.push("g.ended_at IS NULL");
    }
    (conditions, values)
}

fn clause(conditions: &[&str]) -> String {
    if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) }
}

/// Two statements in one read transaction: the events must be those that came after this snapshot.
pub(super) fn load(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Option<Loaded>> {
    let look = connection.unchecked_transaction()?;
    let Some(found) = look
        .prepare_cached(&format!("SELECT {COLUMNS} FROM generation g WHERE g.public_id = ?1"))?
        .query_row([generation.as_str()], columns)
        .optional()?
    else {
        return Ok(None);
    };
    let Columns { id, row, sequence, .. } = found;
    let after = look
        .prepare_cached(
            "SELECT sequence, body, fact FROM event WHERE generation = ?1 AND sequence > ?2 ORDER BY sequence",
        )?
        .query_map([id, integer(sequence.0)], stored_event)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Loaded { row, sequence, after }))
}

pub(super) fn find(
    connection: &Connection,
    generation: &GenerationId,
    command: &CommandId,
) -> rusqlite::Result<Option<Sequence>> {
    connection
        .prepare_cached(
            "SELECT sequence FROM event
             WHERE generation = (SELECT id FROM generation WHERE public_id = ?1) AND command = ?2
             ORDER BY ordinal DESC LIMIT 1",
        )?
        .query_row([generation.as_str(), command.as_str()], |row| sequence(row, 0))
        .optional()
}

pub(super) fn is_claimed(connection: &Connection, claim: &Claim) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM claim WHERE scope = ?1 AND key = ?2)")?
        .query_row([&claim.scope, &claim.key], |row| row.get(0))
}

pub(super) fn leased(connection: &Connection) -> rusqlite::Result<Vec<Lease>> {
    let mut select = connection.prepare_cached(
        "SELECT public_id, lease, fence, worker, node FROM generation INDEXED BY generation_leased
         WHERE lease IS NOT NULL ORDER BY id",
    )?;
    let leases = select.query_map([], |row| lease(row, 1, &id(row, 0)?))?;
    leases.filter_map(Result::transpose).collect()
}

pub(super) fn deadlines(connection: &Connection) -> rusqlite::Result<Vec<(GenerationId, Timestamp)>> {
    let mut select = connection.prepare_cached(
        "SELECT public_id, due_at FROM generation INDEXED BY generation_due
         WHERE due_at IS NOT NULL AND ended_at IS NULL ORDER BY due_at",
    )?;
    select.query_map([], |row| Ok((id(row, 0)?, time(row, 1)?)))?.collect()
}

pub(super) fn artifact(
    connection: &Connection,
    generation: &GenerationId,
    name: &ArtifactName,
) -> rusqlite::Result<Option<Artifact>> {
    connection
        .prepare_cached(
            "SELECT name, size, sha256, at FROM artifact
             WHERE generation = (SELECT id FROM generation WHERE public_id = ?1) AND name = ?2",
        )?
        .query_row([generation.as_str(), name.as_str()], kept)
        .optional()
}

pub(super) fn artifacts(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Vec<Artifact>> {
    connection
        .prepare_cached(
            "SELECT name, size, sha256, at FROM artifact
             WHERE generation = (SELECT id FROM generation WHERE public_id = ?1) ORDER BY name",
        )?
        .query_map([generation.as_str()], kept)?
        .collect()
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Artifact> {
    Ok(Artifact { name: id(row, 0)?, size: whole(row, 1)?, sha256: row.get(2)?, at: time(row, 3)? })
}

pub(super) fn upload(connection: &Connection, file: &FileId) -> rusqlite::Result<Option<Upload>> {
    connection
        .prepare_cached("SELECT file, owner, tenant, size, sha256, at FROM upload WHERE file = ?1")?
        .query_row([file.as_str()], |row| {
            let at: Timestamp = time(row, 5)?;
            Ok(Upload {
                file: id(row, 0)?,
                owner: id(row, 1)?,
                tenant: id(row, 2)?,
                size: whole(row, 3)?,
                sha256: row.get(4)?,
                at,
            })
        })
        .optional()
}
