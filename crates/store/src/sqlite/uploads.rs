//! How much an owner has uploaded, and retention of uploads: which of the old ones no unfinished generation names.
//!
//! Where a generation names them is the engine's; here a state is bytes, in which ids of uploads are looked for.

use std::collections::HashSet;

use protocol::{TenantId, Timestamp, UserId};
use rusqlite::{Connection, params};

use super::{
    files, log,
    row::{integer, whole},
};
use crate::LogPosition;

/// Every id of an upload begins so.
const PREFIX: &[u8] = b"upl_";

/// Old uploads nobody needs, as a read found them.
pub(super) struct Unused {
    pub(super) files: Vec<String>,
    /// Where the log ended before the look; what was written behind it is looked at again.
    seen: LogPosition,
}

/// See [`crate::History::uploaded`]. Read from the index `upload_owner` alone.
pub(super) fn uploaded(
    connection: &Connection,
    tenant: &TenantId,
    owner: &UserId,
    least: u64,
) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT ifnull(sum(max(size, ?3)), 0) FROM upload WHERE tenant = ?1 AND owner = ?2")?
        .query_row(params![tenant.as_str(), owner.as_str(), integer(least)], |row| whole(row, 0))
}

/// Uploads from before `before` that no unfinished generation names, oldest first, at most `limit`.
pub(super) fn unused(connection: &Connection, before: Timestamp, limit: usize) -> rusqlite::Result<Unused> {
    // A generation's number is given again when the newest is deleted; a place in the log is not.
    let seen = log::head(connection)?;
    let old: Vec<String> = connection
        .prepare_cached("SELECT file FROM upload WHERE at < ?1 ORDER BY at, file")?
        .query_map([integer(before.0)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if old.is_empty() {
        return Ok(Unused { files: old, seen });
    }
    let used = named(connection, "SELECT snapshot FROM generation WHERE ended_at IS NULL AND id > ?1", 0)?;
    let files = old.into_iter().filter(|file| !used.contains(file)).take(limit).collect();
    Ok(Unused { files, seen })
}

/// Removes the rows of `unused`, but for those that a generation came to name meanwhile. Answers how many.
pub(super) fn remove(connection: &Connection, unused: &Unused) -> rusqlite::Result<usize> {
    let written = "SELECT snapshot FROM generation WHERE id IN (SELECT generation FROM event WHERE position > ?1)";
    let used = named(connection, written, integer(unused.seen.0))?;
    let mut removed = 0;
    for file in unused.files.iter().filter(|file| !used.contains(*file)) {
        let blobs: Vec<String> = connection
            .prepare_cached("DELETE FROM upload WHERE file = ?1 RETURNING sha256")?
            .query_map(params![file], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for blob in blobs {
            files::orphan(connection, &blob)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The ids of uploads in the states that `select` finds.
fn named(connection: &Connection, select: &str, after: i64) -> rusqlite::Result<HashSet<String>> {
    let mut used = HashSet::new();
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query([after])?;
    while let Some(row) = rows.next()? {
        collect(row.get_ref(0)?.as_blob()?, &mut used);
    }
    Ok(used)
}

/// Adds every id of an upload in `state`: the prefix, and what may follow it in an id.
fn collect(state: &[u8], into: &mut HashSet<String>) {
    let of_id = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut rest = state;
    while let Some(at) = rest.windows(PREFIX.len()).position(|window| window == PREFIX) {
        rest = &rest[at..];
        let length = rest.iter().take_while(|byte| of_id(byte)).count();
        into.insert(String::from_utf8_lossy(&rest[..length]).into_owned());
        // An id may begin within what looks like another.
        rest = &rest[PREFIX.len()..];
    }
}
