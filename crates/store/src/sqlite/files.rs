//! Rows that name blobs, and retention: what is removed, and which blobs nobody names any more.
//!
//! The blobs themselves are the caller's. A blob that has no row yet, or has lost its last one, is noted in `orphan`, so
//! that a crash between file and row, or between removing the row and removing the file, leaves it to a later sweep. The
//! note stays until a row names the blob or its file is gone. Each function runs inside the writer's transaction.

use protocol::{ArtifactName, GenerationId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    known, log,
    row::{bound, id, integer},
    writer::Desk,
};
use crate::{Artifact, Shares, StoreError, Swept, Upload};

/// Most pages given back to the file system after one sweep: 4 MiB, a few milliseconds of the writer's time.
const PAGES_FREED_MAX: u32 = 1_024;

pub(super) fn put_artifact(
    connection: &Connection,
    generation: &GenerationId,
    artifact: &Artifact,
) -> Result<(), StoreError> {
    let Some(key) = known::find(connection, generation)? else {
        return Err(StoreError::Unavailable(format!("no generation {generation}")));
    };
    let name = artifact.name.as_str();
    let replaced: Option<String> = connection
        .prepare_cached("SELECT sha256 FROM artifact WHERE generation = ?1 AND name = ?2")?
        .query_row(params![key, name], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached(
            "INSERT INTO artifact(generation, name, size, sha256, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT(generation, name) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256, at = excluded.at",
        )?
        .execute(params![key, name, integer(artifact.size), artifact.sha256, integer(artifact.at.0)])?;
    connection.prepare_cached("UPDATE generation SET kept = 1 WHERE id = ?1")?.execute([key])?;
    adopt(connection, &artifact.sha256)?;
    if let Some(replaced) = replaced {
        orphan(connection, &replaced)?;
    }
    Ok(())
}

/// The first of `shares` that is no longer there.
pub(super) fn missing(connection: &Connection, shares: &Shares) -> rusqlite::Result<Option<ArtifactName>> {
    let from = known::find(connection, &shares.from)?;
    let mut select = connection.prepare_cached("SELECT 1 FROM artifact WHERE generation = ?1 AND name = ?2")?;
    for name in &shares.names {
        if !select.exists(params![from, name.as_str()])? {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// Names files of one generation under another as well.
pub(super) fn share(connection: &Connection, key: i64, shares: &Shares, at: Timestamp) -> rusqlite::Result<()> {
    let Some(from) = known::find(connection, &shares.from)? else { return Ok(()) };
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO artifact(generation, name, size, sha256, at)
         SELECT ?1, name, size, sha256, ?4 FROM artifact WHERE generation = ?2 AND name = ?3",
    )?;
    let mut shared = 0;
    for name in &shares.names {
        shared += insert.execute(params![key, from, name.as_str(), integer(at.0)])?;
    }
    if shared > 0 {
        connection.prepare_cached("UPDATE generation SET kept = 1 WHERE id = ?1")?.execute([key])?;
    }
    Ok(())
}

pub(super) fn put_upload(connection: &Connection, upload: &Upload) -> Result<(), StoreError> {
    let Upload { file, owner, tenant, size, sha256, at } = upload;
    connection
        .prepare_cached("INSERT INTO upload(file, owner, tenant, size, sha256, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![file.as_str(), owner.as_str(), tenant.as_str(), integer(*size), sha256, integer(at.0)])?;
    adopt(connection, sha256)?;
    Ok(())
}

/// See [`crate::Store::delete`].
pub(super) fn delete(desk: &mut Desk, generation: &GenerationId) -> Result<Option<Vec<String>>, StoreError> {
    let connection = &desk.connection;
    let found: Option<(i64, bool)> = connection
        .prepare_cached("SELECT id, ended_at IS NOT NULL FROM generation WHERE public_id = ?1")?
        .query_row([generation.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, false)) => {
            Err(StoreError::Unavailable(format!("generation {generation} has not ended; cancel it first")))
        }
        Some((key, true)) => Ok(Some(bury(desk, key, generation)?)),
    }
}

/// See [`crate::Store::sweep`].
pub(super) fn sweep(
    desk: &mut Desk,
    events_before: Option<Timestamp>,
    artifacts_before: Option<Timestamp>,
    limit: usize,
) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    if let Some(before) = events_before {
        let ended: Vec<(i64, GenerationId)> = desk
            .connection
            .prepare_cached(
                "SELECT id, public_id FROM generation WHERE ended_at < ?1 AND public_id < '~'
                 ORDER BY ended_at, id LIMIT ?2",
            )?
            .query_map([integer(before.0), bound(limit)], |row| Ok((row.get(0)?, id(row, 1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (key, generation) in ended {
            bury(desk, key, &generation)?;
            swept.generations.push(generation);
        }
    }
    let connection = &desk.connection;
    if let Some(before) = artifacts_before {
        let kept: Vec<i64> = connection
            .prepare_cached(
                "SELECT id FROM generation WHERE kept = 1 AND ended_at IS NOT NULL AND ended_at < ?1
                 ORDER BY ended_at, id LIMIT ?2",
            )?
            .query_map([integer(before.0), bound(limit)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for key in kept {
            remove_artifacts(connection, key)?;
            connection.prepare_cached("UPDATE generation SET kept = 0 WHERE id = ?1")?.execute([key])?;
        }
    }
    dig(desk, EVENTS_REMOVED_MAX)?;
    let connection = &desk.connection;
    swept.blobs = orphans(connection, &mut desk.told)?;
    connection
        .prepare_cached("DELETE FROM lane WHERE clock <= (SELECT clock FROM pool WHERE name = lane.pool)")?
        .execute([])?;
    // Where nobody waits and no lane is ahead, all clocks may begin anew.
    for pool in desk.lanes.lock().prune() {
        connection.prepare_cached("DELETE FROM pool WHERE name = ?1")?.execute([pool.as_str()])?;
    }
    give_back(connection)?;
    Ok(swept)
}

/// Gives free pages back to the file system. The pragma frees one page with each step.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut pragma = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_FREED_MAX})"))?;
    let mut freed = pragma.query([])?;
    while freed.next()?.is_some() {}
    Ok(())
}

/// Blobs nobody names, in order. They are told of again until the caller says that their files are gone, see [`forget`].
fn orphans(connection: &Connection, told: &mut Vec<String>) -> rusqlite::Result<Vec<String>> {
    *told = connection
        .prepare_cached("SELECT sha256 FROM orphan ORDER BY sha256 LIMIT ?1")?
        .query_map([bound(BLOBS_TOLD_MAX)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(told.clone())
}

/// See [`crate::Store::expect_blob`].
pub(super) fn expect(desk: &mut Desk, blob: &str) -> rusqlite::Result<()> {
    orphan(&desk.connection, blob)?;
    // Who removes what was told may have removed the file that is there, and says so after this one came.
    desk.told.retain(|told| told != blob);
    Ok(())
}

/// See [`crate::Store::forget_blobs`].
pub(super) fn forget(desk: &mut Desk, gone: &[String]) -> rusqlite::Result<()> {
    for blob in gone.iter().filter(|blob| desk.told.binary_search(blob).is_ok()) {
        adopt(&desk.connection, blob)?;
    }
    Ok(())
}

/// Most blobs one sweep tells of: removing as many files takes about a tenth of a second.
const BLOBS_TOLD_MAX: usize = 1_024;

/// Most events removed in one transaction: some twenty milliseconds of the writer's time.
pub(super) const EVENTS_REMOVED_MAX: usize = 4_096;

/// Takes a generation out of sight, with its files, keys and letter; its events go in steps, see [`dig`]. Its name is given
/// away: `~` is in no id.
fn bury(desk: &mut Desk, key: i64, generation: &GenerationId) -> rusqlite::Result<Vec<String>> {
    desk.known.forget(generation);
    desk.lanes.lock().forget(generation);
    let connection = &desk.connection;
    log::keep_head(connection)?;
    let blobs = remove_artifacts(connection, key)?;
    for statement in [
        "DELETE FROM claim WHERE generation = ?1",
        "DELETE FROM letter WHERE generation = ?1",
        "UPDATE generation SET public_id = '~' || id, kept = 0, pool = NULL, lease = NULL, due_at = NULL,
             snapshot = x'' WHERE id = ?1",
    ] {
        connection.prepare_cached(statement)?.execute([key])?;
    }
    Ok(blobs)
}

/// Removes up to `limit` events of what was buried, and whatever has none left. Answers whether there is more.
pub(super) fn dig(desk: &Desk, limit: usize) -> Result<bool, StoreError> {
    let connection = &desk.connection;
    let mut left = limit;
    let mut next = connection.prepare_cached("SELECT id FROM generation WHERE public_id >= '~' LIMIT 1")?;
    while left > 0 {
        let Some(key): Option<i64> = next.query_row([], |row| row.get(0)).optional()? else { return Ok(false) };
        let removed = connection
            .prepare_cached(
                "DELETE FROM event WHERE position IN (SELECT position FROM event WHERE generation = ?1 LIMIT ?2)",
            )?
            .execute(params![key, bound(left)])?;
        if removed < left {
            connection.prepare_cached("DELETE FROM generation WHERE id = ?1")?.execute([key])?;
        }
        // A generation without events costs a step too, so that a thousand of them do not hold the writer.
        left = left.saturating_sub(removed.max(1));
    }
    Ok(true)
}

/// Removes the artifact rows of a generation and answers the blobs that nobody names any more.
fn remove_artifacts(connection: &Connection, key: i64) -> rusqlite::Result<Vec<String>> {
    let blobs: Vec<String> = connection
        .prepare_cached("SELECT DISTINCT sha256 FROM artifact WHERE generation = ?1 ORDER BY sha256")?
        .query_map([key], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    connection.prepare_cached("DELETE FROM artifact WHERE generation = ?1")?.execute([key])?;
    let mut orphans = Vec::new();
    for blob in blobs {
        if orphan(connection, &blob)? {
            orphans.push(blob);
        }
    }
    Ok(orphans)
}

/// Notes `blob` if no row names it.
pub(super) fn orphan(connection: &Connection, blob: &str) -> rusqlite::Result<bool> {
    let noted = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO orphan(sha256) SELECT ?1
             WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE sha256 = ?1)
               AND NOT EXISTS (SELECT 1 FROM upload WHERE sha256 = ?1)",
        )?
        .execute([blob])?;
    Ok(noted > 0)
}

/// A row names `blob`, or there is no such file: it is nobody's concern any more.
fn adopt(connection: &Connection, blob: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM orphan WHERE sha256 = ?1")?.execute([blob]).map(drop)
}

/// Does a write go through, new pages included? What is added is taken back at once.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    // A few pages, so that a file that cannot grow is noticed; one small row is then really written and synced.
    connection.prepare_cached("INSERT INTO meta(key, value) VALUES ('probe', zeroblob(16384))")?.execute([])?;
    connection.prepare_cached("DELETE FROM meta WHERE key = 'probe'")?.execute([])?;
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES ('probes', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1",
        )?
        .execute([])
        .map(drop)
}
